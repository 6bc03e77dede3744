//! Holding quota for calls that begin at the same time, many in one commit: the store may have one writer, and on another
//! the counter of the operator's money is one row for all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anteroom_domain::billing::QuotaKey;
use anteroom_ports::billing::Reserved;
use anteroom_ports::{Durability, StoreError, StoreResult};
use tokio::sync::oneshot;

use super::Chat;
use crate::billing::Wanted;

/// How many are held in one commit at most.
const MOST: usize = 64;

/// Calls that wait for what they may use: whoever has the turn holds it for all of them.
#[derive(Default)]
pub(super) struct Asking {
    waiting: Mutex<Vec<Ask>>,
    turn: tokio::sync::Mutex<()>,
}

impl Asking {
    /// Those that wait, the first to come first.
    fn waiting(&self) -> MutexGuard<'_, Vec<Ask>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next for whom it is held.
    fn take(&self) -> Vec<Ask> {
        let mut waiting = self.waiting();
        let many = waiting.len().min(MOST);
        waiting.drain(..many).collect()
    }
}

/// A call that waits for what it may use.
struct Ask {
    wanted: Wanted,
    reply: oneshot::Sender<StoreResult<Reserved>>,
}

impl Ask {
    fn holds_on(&self, key: &QuotaKey) -> bool {
        self.wanted.reservation.holds.iter().any(|hold| hold.key == *key)
    }
}

impl Chat {
    /// Holds quota in a unit of work of its own, which it shares with others that ask at the same time.
    pub(super) async fn hold_together(&self, wanted: Wanted) -> StoreResult<Reserved> {
        let (reply, mut answer) = oneshot::channel();
        self.asking.waiting().push(Ask { wanted, reply });
        loop {
            let turn = tokio::select! {
                biased;
                // Whoever had the turn has taken this call along.
                answer = &mut answer => return answer.unwrap_or_else(|_| Err(given_up())),
                turn = self.asking.turn.lock() => turn,
            };
            // Those that are about to ask may come along.
            tokio::task::yield_now().await;
            // Without those that nobody waits for any more.
            self.asking.waiting().retain(|ask| !ask.reply.is_closed());
            self.hold_all(self.asking.take()).await;
            drop(turn);
        }
    }

    async fn hold_all(&self, mut asks: Vec<Ask>) {
        // Last, so that one who has nothing left keeps nobody waiting.
        let mut alone = Vec::new();
        while !asks.is_empty() {
            let wanted: Vec<&Wanted> = asks.iter().map(|ask| &ask.wanted).collect();
            match self.hold_once(&wanted).await {
                // Together they ask for more than there is: those that hold something there are looked at one by one.
                Ok(Reserved::Denied { key, .. }) if asks.len() > 1 => {
                    let (there, rest): (Vec<Ask>, Vec<Ask>) = asks.into_iter().partition(|ask| ask.holds_on(&key));
                    alone.extend(there);
                    asks = rest;
                }
                // One that the store will never take must not stand in the others' way.
                Err(
                    StoreError::Conflict { .. }
                    | StoreError::Corrupt { .. }
                    | StoreError::SchemaNotCurrent { .. }
                    | StoreError::Stale,
                ) if asks.len() > 1 => {
                    alone.append(&mut asks);
                }
                held => {
                    // Who asked meanwhile would only wait as long for the same.
                    if matches!(held, Err(StoreError::Unavailable { .. })) {
                        asks.append(&mut self.asking.waiting());
                    }
                    for ask in std::mem::take(&mut asks) {
                        // Where nobody waits any more it lasts until its lease is over, as that of a dead process does.
                        let _ = ask.reply.send(held.clone());
                    }
                }
            }
        }
        for ask in alone {
            let held = self.hold_once(&[&ask.wanted]).await;
            let _ = ask.reply.send(held);
        }
    }

    async fn hold_once(&self, wanted: &[&Wanted]) -> StoreResult<Reserved> {
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        let held = self.billing.reserve_quota(&mut *unit, wanted, self.clock.now()).await?;
        if held == Reserved::Held {
            unit.commit().await?;
        }
        Ok(held)
    }
}

fn given_up() -> StoreError {
    StoreError::Unavailable {
        reason: "whoever was to hold the quota was stopped".into(),
    }
}
