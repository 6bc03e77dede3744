//! What leaves Anteroom after a commit: the outbox. Mail is what goes through it today.

mod deliver_outbox;
mod mails;

use std::sync::Arc;

use anteroom_ports::webhooks::{Mail, OutboxItem};
use anteroom_ports::{Clock, Ids, Mailer, Store, StoreError, StoreResult, UnitOfWork};
use tokio::sync::Notify;

/// The use cases of what leaves.
pub struct Webhooks {
    store: Arc<dyn Store>,
    mailer: Option<Arc<dyn Mailer>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    product: String,
    due: Notify,
}

const MAIL: &str = "mail";

impl Webhooks {
    /// Puts the context together. Without a mailer no mail is queued. `product` is the name that mails speak of.
    pub fn new(
        store: Arc<dyn Store>,
        mailer: Option<Arc<dyn Mailer>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        product: String,
    ) -> Self {
        Self {
            store,
            mailer,
            clock,
            ids,
            product,
            due: Notify::new(),
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
