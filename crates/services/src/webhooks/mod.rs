//! What leaves Anteroom after a commit: the outbox. Mail is what goes through it today.

mod deliver_outbox;
mod letters;

pub(crate) use letters::Letter;
pub use letters::{LetterOptions, Links};

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use anteroom_domain::accounts::User;
use anteroom_ports::webhooks::{Mail, OutboxItem};
use anteroom_ports::{Clock, Ids, MailError, Mailer, Store, StoreError, StoreResult, UnitOfWork};
use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The use cases of what leaves.
pub struct Webhooks {
    store: Arc<dyn Store>,
    mailer: Option<Arc<dyn Mailer>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    options: WebhooksOptions,
    due: Arc<Notify>,
    stopping: CancellationToken,
    errands: RwLock<HashMap<&'static str, Weak<dyn Errand>>>,
}

/// What is done after a commit beside mail: durable, repeated until it succeeds, perhaps twice.
#[async_trait]
pub(crate) trait Errand: Send + Sync {
    /// Does what was queued under a topic.
    async fn run(&self, topic: &str, payload: &str) -> Result<(), MailError>;
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
            due: Arc::default(),
            stopping: CancellationToken::new(),
            errands: RwLock::default(),
        }
    }

    /// Who does the errands of these topics. A context registers itself when it is put together.
    pub(crate) fn register(&self, topics: &[&'static str], errand: &Weak<dyn Errand>) {
        let mut errands = self.errands.write().unwrap_or_else(PoisonError::into_inner);
        errands.extend(topics.iter().map(|topic| (*topic, Weak::clone(errand))));
    }

    fn errand(&self, topic: &str) -> Option<Arc<dyn Errand>> {
        let errands = self.errands.read().unwrap_or_else(PoisonError::into_inner);
        errands.get(topic)?.upgrade()
    }

    /// Adds an errand to the unit of work; it is done after the commit, or not at all.
    pub(crate) async fn queue_errand(
        &self,
        unit: &mut dyn UnitOfWork,
        topic: &'static str,
        payload: &impl Serialize,
    ) -> StoreResult<()> {
        let payload = serde_json::to_string(payload).map_err(|e| StoreError::Corrupt { reason: e.to_string() })?;
        let id = self.ids.uuid();
        self.queue(unit, id, topic, payload).await
    }

    /// Whether mail leaves at all.
    pub(crate) fn sends_mail(&self) -> bool {
        self.mailer.is_some()
    }

    /// Writes to a user, as part of the unit of work.
    pub(crate) async fn tell(&self, unit: &mut dyn UnitOfWork, user: &User, letter: Letter<'_>) -> StoreResult<()> {
        let mail = self.letter(&user.email, &user.locale, user.name.as_deref(), letter);
        self.queue_mail(unit, mail).await
    }

    /// Adds a mail to the unit of work; it leaves after the commit, or not at all.
    pub(crate) async fn queue_mail(&self, unit: &mut dyn UnitOfWork, mail: Mail) -> StoreResult<()> {
        if self.mailer.is_none() {
            return Ok(());
        }
        let payload = serde_json::to_string(&mail).map_err(|e| StoreError::Corrupt { reason: e.to_string() })?;
        self.queue(unit, mail.id, MAIL, payload).await
    }

    async fn queue(&self, unit: &mut dyn UnitOfWork, id: Uuid, topic: &str, payload: String) -> StoreResult<()> {
        let item = OutboxItem {
            id,
            topic: topic.to_owned(),
            payload,
            attempts: 0,
            created_at: self.clock.now(),
        };
        unit.insert_outbox(&item).await?;
        // Earlier the worker would look, find nothing and sleep on.
        let due = Arc::clone(&self.due);
        unit.after_commit(Box::new(move || due.notify_one()));
        Ok(())
    }
}
