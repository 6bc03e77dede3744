//! Delivering what waits in the outbox.
//!
//! Some mails are on their way at once, each for a time that is less than its lease, so that a slow one holds up
//! nobody else's and no other node takes it over meanwhile. What fails comes due again, later each time.

use std::sync::Arc;
use std::time::Duration;

use anteroom_ports::webhooks::{MailError, OutboxItem};
use anteroom_ports::{Durability, StoreError, StoreResult};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::SignedDuration;
use tracing::{debug, error, info, warn};

use super::{Errand, MAIL, Webhooks};
use crate::later;

/// How much longer a claimed item is hidden from other nodes than its delivery may take: time to book what came of it.
const LEASE_BEYOND_DELIVERY: SignedDuration = SignedDuration::from_secs(30);
/// How long a round waits for running deliveries before it looks for more to do, unless something is queued.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait before what has left is booked again, when the store was away.
const BOOK_AGAIN: Duration = Duration::from_secs(1);
/// After these many attempts (two days, at the longest pause of an hour) an item is given up.
const MAX_ATTEMPTS: i32 = 56;
/// The longest pause between two attempts, in seconds.
const LONGEST_PAUSE: i64 = 3600;

impl Webhooks {
    /// Waits until something may be due: at once when this node has queued something, else for `at_most`.
    pub async fn wait_due(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.due.notified()).await;
    }

    /// Takes nothing more out of the outbox: the process is about to end. What is on its way may arrive.
    pub fn stop_delivering(&self) {
        self.stopping.cancel();
    }

    /// Delivers what is due, and what comes due meanwhile. Answers how many items were claimed.
    ///
    /// Dropped, it leaves what it had claimed to whoever looks after the lease.
    pub async fn deliver_outbox(&self) -> StoreResult<usize> {
        let mut running = FuturesUnordered::new();
        let mut claimed = 0;
        let mut failure = None;
        loop {
            let free = self.options.parallel.saturating_sub(running.len());
            if free > 0 && failure.is_none() && !self.stopping.is_cancelled() {
                match self.claim(free).await {
                    Ok(items) => {
                        claimed += items.len();
                        running.extend(items.into_iter().map(|item| self.deliver_in_time(item)));
                    }
                    Err(e) => failure = Some(e),
                }
            }
            let more_may_come = self.options.parallel > running.len();
            let delivered = tokio::select! {
                delivered = running.next() => delivered,
                () = self.wait_due(LOOK_AGAIN), if more_may_come && !running.is_empty() => continue,
            };
            let Some((item, outcome)) = delivered else {
                return failure.map_or(Ok(claimed), Err);
            };
            // Booked here and not where it was delivered: deliveries stand still while this task waits for the store,
            // and one that had a connection of it then would be waited for in vain.
            if let Err(e) = self.book_surely(&item, &outcome).await {
                // The others are on their way and have to be booked all the same.
                failure = failure.or(Some(e));
            }
        }
    }

    async fn claim(&self, limit: usize) -> StoreResult<Vec<OutboxItem>> {
        let now = self.clock.now();
        let delivery = SignedDuration::try_from(self.options.delivery_timeout).unwrap_or(SignedDuration::ZERO);
        let lease_until = later(later(now, delivery), LEASE_BEYOND_DELIVERY);
        let mut unit = self.store.begin(Durability::Full).await?;
        let items = unit
            .claim_outbox(now, lease_until, i64::try_from(limit).unwrap_or(1))
            .await?;
        if !items.is_empty() {
            unit.commit().await?;
        }
        Ok(items)
    }

    async fn deliver_in_time(&self, item: OutboxItem) -> (OutboxItem, Result<(), MailError>) {
        let outcome = match tokio::time::timeout(self.options.delivery_timeout, self.deliver(&item)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(MailError::Temporary("it took too long".to_owned())),
        };
        (item, outcome)
    }

    async fn book_surely(&self, item: &OutboxItem, outcome: &Result<(), MailError>) -> StoreResult<()> {
        match self.book(item, outcome).await {
            // A repeat of a mail that has left is a second mail, so this is worth another try.
            Err(StoreError::Unavailable { .. }) if outcome.is_ok() => {
                tokio::time::sleep(BOOK_AGAIN).await;
                self.book(item, outcome).await
            }
            booked => booked,
        }
    }

    async fn deliver(&self, item: &OutboxItem) -> Result<(), MailError> {
        if item.topic != MAIL {
            return match self.errand(&item.topic) {
                Some(errand) => run_apart(errand, item).await,
                None => Err(MailError::Temporary(format!(
                    "this version cannot deliver `{}`",
                    item.topic
                ))),
            };
        }
        let mail = self.waiting_mail(&item.payload)?;
        match &self.mailer {
            Some(mailer) => mailer.send(&mail).await,
            None => Err(MailError::Temporary("no mailer is configured".into())),
        }
    }

    async fn book(&self, item: &OutboxItem, outcome: &Result<(), MailError>) -> StoreResult<()> {
        let lasting = self
            .errand(&item.topic)
            .is_some_and(|errand| errand.must_be_done(&item.topic));
        let given_up = item.attempts >= MAX_ATTEMPTS && !lasting;
        // 2, 4, 8 ... seconds, at most an hour.
        let pause = (1_i64 << item.attempts.clamp(1, 12)).min(LONGEST_PAUSE);
        let mut unit = self.store.begin(Durability::Full).await?;
        match outcome {
            Err(MailError::Temporary(_)) if !given_up => {
                let at = later(self.clock.now(), SignedDuration::from_secs(pause));
                unit.retry_outbox(item.id, at).await?;
            }
            _ => unit.finish_outbox(item.id).await?,
        }
        unit.commit().await?;
        let topic = &item.topic;
        if topic != MAIL {
            match outcome {
                Ok(()) => debug!(event = "errand.done", topic, errand_id = %item.id, attempts = item.attempts),
                Err(e @ MailError::Temporary(_)) if !given_up => {
                    warn!(event = "errand.deferred", topic, errand_id = %item.id, attempts = item.attempts, retry_in_seconds = pause, reason = %e);
                }
                Err(e) => {
                    error!(event = "errand.failed", topic, errand_id = %item.id, attempts = item.attempts, reason = %e);
                }
            }
            return Ok(());
        }
        match outcome {
            Ok(()) => info!(event = "mail.sent", mail_id = %item.id, attempts = item.attempts),
            Err(e @ MailError::Temporary(_)) if !given_up => {
                warn!(event = "mail.deferred", mail_id = %item.id, attempts = item.attempts, retry_in_seconds = pause, reason = %e);
            }
            Err(e) => error!(event = "mail.failed", mail_id = %item.id, attempts = item.attempts, reason = %e),
        }
        Ok(())
    }
}

/// Runs an errand as a task of its own: deliveries stand still while their task waits for the store, and an errand that
/// had a connection of it then would be waited for in vain.
async fn run_apart(errand: Arc<dyn Errand>, item: &OutboxItem) -> Result<(), MailError> {
    let (topic, payload) = (item.topic.clone(), item.payload.clone());
    let running = tokio::spawn(async move { errand.run(&topic, &payload).await });
    running
        .await
        .unwrap_or_else(|e| Err(MailError::Temporary(format!("it did not end: {e}"))))
}
