//! What leaves Anteroom after a commit: the outbox. Mail is what goes through it today.

mod deliver_outbox;
mod letters;

pub(crate) use letters::Letter;
pub use letters::{LetterOptions, Links};

use std::sync::Arc;
use std::time::Duration;

use anteroom_ports::webhooks::{Mail, OutboxItem};
use anteroom_ports::{Clock, Ids, Mailer, Store, StoreError, StoreResult, UnitOfWork};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The use cases of what leaves.
pub struct Webhooks {
    store: Arc<dyn Store>,
    mailer: Option<Arc<dyn Mailer>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    options: WebhooksOptions,
    due: Notify,
    stopping: CancellationToken,
}

/// How things leave.
#[derive(Debug, Clone)]
pub struct WebhooksOptions {
    /// What mails look like.
    pub letters: LetterOptions,
    /// Deliveries that this node has on their way at once, at least one.
    pub parallel: usize,
    /// The longest that one delivery may take; then it counts as failed and comes due again.
    pub delivery_timeout: Duration,
}

const MAIL: &str = "mail";

impl Webhooks {
    /// Puts the context together. Without a mailer no mail is queued.
    pub fn new(
        store: Arc<dyn Store>,
        mailer: Option<Arc<dyn Mailer>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        options: WebhooksOptions,
    ) -> Self {
        let parallel = options.parallel.max(1);
        Self {
            store,
            mailer,
            clock,
            ids,
            options: WebhooksOptions { parallel, ..options },
            due: Notify::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Whether anything can leave; without that there is nothing to deliver.
    pub fn delivers(&self) -> bool {
        self.mailer.is_some()
    }

    /// Adds a mail to the unit of work; it leaves after the commit, or not at all.
    pub(crate) async fn queue_mail(&self, unit: &mut dyn UnitOfWork, mail: Mail) -> StoreResult<()> {
        if self.mailer.is_none() {
            return Ok(());
        }
        let payload = serde_json::to_string(&mail).map_err(|e| StoreError::Corrupt { reason: e.to_string() })?;
        let item = OutboxItem {
            id: mail.id,
            topic: MAIL.to_owned(),
            payload,
            attempts: 0,
            created_at: self.clock.now(),
        };
        unit.insert_outbox(&item).await?;
        self.due.notify_one();
        Ok(())
    }
}
