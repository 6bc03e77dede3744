//! Delivering what waits in the outbox.

use std::time::Duration;

use anteroom_ports::webhooks::{Mail, MailError, OutboxItem};
use anteroom_ports::{Durability, StoreResult};
use jiff::SignedDuration;
use tracing::{error, info, warn};

use super::{MAIL, Webhooks};
use crate::later;

/// How long a claimed item is hidden from other nodes.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// Items per batch.
const BATCH: i64 = 20;
/// After these many attempts (two days, at the longest pause of an hour) an item is given up.
const MAX_ATTEMPTS: i32 = 56;

impl Webhooks {
    /// Waits until something may be due: at once when this node has queued something, else for `at_most`.
    pub async fn wait_due(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.due.notified()).await;
    }

    /// Delivers one batch. Answers how many items were claimed.
    pub async fn deliver_outbox(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let items = unit.claim_outbox(now, later(now, LEASE), BATCH).await?;
        if items.is_empty() {
            return Ok(0);
        }
        unit.commit().await?;
        for item in &items {
            let outcome = self.deliver(item).await;
            self.book(item, outcome).await?;
        }
        Ok(items.len())
    }

    async fn deliver(&self, item: &OutboxItem) -> Result<(), MailError> {
        if item.topic != MAIL {
            return Err(MailError::Temporary(format!(
                "this version cannot deliver `{}`",
                item.topic
            )));
        }
        let mail: Mail = serde_json::from_str(&item.payload).map_err(|e| MailError::Permanent(e.to_string()))?;
        match &self.mailer {
            Some(mailer) => mailer.send(&mail).await,
            None => Err(MailError::Temporary("no mailer is configured".into())),
        }
    }

    async fn book(&self, item: &OutboxItem, outcome: Result<(), MailError>) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        match outcome {
            Ok(()) => {
                unit.finish_outbox(item.id).await?;
                info!(event = "mail.sent", mail_id = %item.id);
            }
            Err(e @ MailError::Permanent(_)) => {
                unit.finish_outbox(item.id).await?;
                error!(event = "mail.failed", mail_id = %item.id, reason = %e);
            }
            Err(e) if item.attempts >= MAX_ATTEMPTS => {
                unit.finish_outbox(item.id).await?;
                error!(event = "mail.failed", mail_id = %item.id, attempts = item.attempts, reason = %e);
            }
            Err(e) => {
                // 2, 4, 8 ... seconds, at most an hour.
                let pause = 1_i64 << item.attempts.clamp(1, 12);
                unit.retry_outbox(
                    item.id,
                    later(self.clock.now(), SignedDuration::from_secs(pause.min(3600))),
                )
                .await?;
                warn!(event = "mail.deferred", mail_id = %item.id, attempts = item.attempts, retry_in_seconds = pause.min(3600), reason = %e);
            }
        }
        unit.commit().await
    }
}
