//! Booking calls that have ended, many in one commit: waiting for the disk once for each would make every next call
//! wait as well, since a store may have one writer.
//!
//! Whoever drives a call hands it over when it has ended; one task for all of them books it.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anteroom_domain::billing::Owner;
use anteroom_domain::chat::Outcome;
use anteroom_ports::{Durability, StoreError, StoreResult};
use tokio::sync::{Notify, watch};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Span, error, warn};

use super::Chat;
use super::call::{Call, Record};
use crate::ops::Lease;

/// How many are booked in one commit at most: a statement takes no more values than it can count.
const MOST: usize = 200;
/// For how long others are gathered. A process that dies meanwhile leaves their reservations to the sweep.
const GATHER: Duration = Duration::from_millis(10);
/// How long somebody who would be refused waits for what has ended to be booked.
const AT_MOST: Duration = Duration::from_secs(1);
/// Tries, with growing pauses, before calls are left to the sweep: about 50 seconds.
const TRIES: u32 = 9;

/// Calls that have ended.
#[derive(Default)]
pub(super) struct Books {
    open: Mutex<Open>,
    /// Has what waits booked at once.
    hurry: Notify,
    /// How many have been booked, or left to the sweep.
    done: watch::Sender<u64>,
}

#[derive(Default)]
struct Open {
    /// The first to end first; one that is being booked still waits.
    waiting: VecDeque<Arc<Ended>>,
    /// Whether somebody books them.
    kept: bool,
}

/// A call that waits to be booked. Until then what it holds is renewed, and it counts as running.
struct Ended {
    record: Record,
    /// To whose log it belongs.
    span: Span,
    _lease: Arc<Lease>,
    _running: TaskTrackerToken,
}

/// A call under way. It is booked when it has ended, and if whoever drives it is dropped before: with the worker that it
/// ran on, or by a panic.
pub(super) struct Driven {
    chat: Arc<Chat>,
    call: Call,
    ended: bool,
}

impl Driven {
    pub(super) fn new(chat: &Arc<Chat>, call: Call) -> Self {
        Self {
            chat: Arc::clone(chat),
            call,
            ended: false,
        }
    }

    /// Has it booked, off the answer's path.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.ended = true;
        self.chat.settle(&self.call, outcome);
    }
}

impl Deref for Driven {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl DerefMut for Driven {
    fn deref_mut(&mut self) -> &mut Call {
        &mut self.call
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        if !self.ended {
            self.chat.settle(&self.call, Outcome::Cancelled);
        }
    }
}

impl Books {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next to be booked.
    fn next(&self) -> Vec<Arc<Ended>> {
        self.open().waiting.iter().take(MOST).cloned().collect()
    }

    /// Notes that the first so many have been booked. Whether any are left; if not, the books are not kept any more.
    fn booked(&self, many: usize) -> bool {
        let mut open = self.open();
        open.waiting.drain(..many);
        open.kept = !open.waiting.is_empty();
        // Under the lock, so that nobody sees one without the other.
        self.done.send_modify(|done| *done += many as u64);
        open.kept
    }
}

impl Chat {
    /// Has a call booked that has ended.
    fn settle(self: &Arc<Self>, call: &Call, outcome: Outcome) {
        self.observe(call, outcome);
        let ended = Ended {
            record: self.record(call, outcome),
            span: Span::current(),
            _lease: Arc::clone(&call.lease),
            _running: self.calls.token(),
        };
        let mut open = self.books.open();
        open.waiting.push_back(Arc::new(ended));
        let kept = std::mem::replace(&mut open.kept, true);
        drop(open);
        if !kept {
            // Not where the call was driven: a worker that has no connections left may end at any time.
            self.runtime.spawn(Arc::clone(self).keep_books());
        }
    }

    /// Books what has ended of an owner's calls and is not booked yet, so that what they held is held no longer. Whether
    /// there was anything.
    pub(super) async fn settle_now(&self, owner: Owner) -> bool {
        let mut done = self.books.done.subscribe();
        let last = {
            let open = self.books.open();
            let last = open.waiting.iter().rposition(|ended| ended.record.owner() == owner);
            last.map(|last| *done.borrow() + last as u64)
        };
        let Some(last) = last else { return false };
        self.books.hurry.notify_one();
        let _ = tokio::time::timeout(AT_MOST, done.wait_for(|done| *done > last)).await;
        true
    }

    /// Books until nothing waits any more.
    async fn keep_books(self: Arc<Self>) {
        let mut leaves = LeavesToSweep(Some(&self.books));
        loop {
            if self.books.open().waiting.len() < MOST {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = self.books.hurry.notified() => {}
                }
            }
            let next = self.books.next();
            self.write_all(&next).await;
            for ended in &next {
                ended.span.in_scope(|| self.booked(&ended.record));
            }
            if !self.books.booked(next.len()) {
                leaves.0 = None;
                return;
            }
        }
    }

    async fn write_all(&self, ended: &[Arc<Ended>]) {
        let records: Vec<&Record> = ended.iter().map(|ended| &ended.record).collect();
        match self.write_patiently(&records).await {
            Ok(()) => {}
            // One that the store will never take must not hold the others back.
            Err(StoreError::Conflict { .. } | StoreError::Corrupt { .. } | StoreError::SchemaNotCurrent { .. })
                if records.len() > 1 =>
            {
                for record in records {
                    if let Err(e) = self.write_patiently(&[record]).await {
                        left_to_sweep(record, &e);
                    }
                }
            }
            Err(e) => records.into_iter().for_each(|record| left_to_sweep(record, &e)),
        }
    }

    async fn write_patiently(&self, records: &[&Record]) -> StoreResult<()> {
        let mut pause = Duration::from_millis(100);
        for attempt in 1.. {
            match self.write_once(records).await {
                Err(e @ (StoreError::Unavailable { .. } | StoreError::SchemaNotCurrent { .. } | StoreError::Stale))
                    if attempt < TRIES =>
                {
                    if attempt == 1 {
                        warn!(event = "chat.settle.deferred", calls = records.len(), reason = %e);
                    }
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    async fn write_once(&self, records: &[&Record]) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        Record::write(records, &mut *unit).await?;
        unit.commit().await
    }
}

/// Leaves all that waits to the sweep if whoever keeps the books is stopped.
struct LeavesToSweep<'a>(Option<&'a Books>);

impl Drop for LeavesToSweep<'_> {
    fn drop(&mut self) {
        if let Some(books) = self.0 {
            let many = books.open().waiting.len();
            error!(event = "chat.settle.stopped", calls = many);
            books.booked(many);
        }
    }
}

fn left_to_sweep(record: &Record, reason: &StoreError) {
    error!(event = "chat.settle.left_to_sweep", reservation_id = %record.reservation, reason = %reason);
}
