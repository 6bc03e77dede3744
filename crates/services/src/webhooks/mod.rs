//! What leaves Anteroom after a commit: the outbox. Mail is what goes through it today.

mod deliver_outbox;
mod letters;

pub(crate) use letters::{BillingLetter, KeyAct, Letter};
pub use letters::{LetterOptions, Links};

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use anteroom_domain::accounts::{Email, User};
use anteroom_ports::webhooks::{Mail, OutboxItem};
use anteroom_ports::{Clock, Ids, MailError, Mailer, Secrets, Store, StoreError, StoreResult, UnitOfWork};
use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The use cases of what leaves.
pub struct Webhooks {
    store: Arc<dyn Store>,
    mailer: Option<Arc<dyn Mailer>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    secrets: Arc<dyn Secrets>,
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

    /// Whether it is tried for as long as it takes, instead of being given up after two days.
    fn must_be_done(&self, topic: &str) -> bool;
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

/// A mail as it waits in the outbox. It holds live links, of whose tokens the store has digests only, so it is sealed.
#[derive(Serialize, Deserialize)]
struct SealedMail {
    sealed: String,
}

impl Webhooks {
    /// Puts the context together. Without a mailer no mail is queued.
    pub fn new(
        store: Arc<dyn Store>,
        mailer: Option<Arc<dyn Mailer>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        secrets: Arc<dyn Secrets>,
        options: WebhooksOptions,
    ) -> Self {
        let parallel = options.parallel.max(1);
        Self {
            store,
            mailer,
            clock,
            ids,
            secrets,
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

    /// The same for an errand whose work must not be seen in the time that this answer, or the next, takes: the worker is
    /// woken a moment later, at a time that nobody can foresee.
    pub(crate) async fn queue_errand_apart(
        &self,
        unit: &mut dyn UnitOfWork,
        topic: &'static str,
        payload: &impl Serialize,
    ) -> StoreResult<()> {
        let payload = serde_json::to_string(payload).map_err(|e| StoreError::Corrupt { reason: e.to_string() })?;
        unit.insert_outbox(&self.item(self.ids.uuid(), topic, payload)).await?;
        let moment = Duration::from_millis(50 + u64::from(self.ids.secret()[0]));
        let due = Arc::clone(&self.due);
        unit.after_commit(Box::new(move || {
            tokio::spawn(async move {
                tokio::time::sleep(moment).await;
                due.notify_one();
            });
        }));
        Ok(())
    }

    /// Whether mail leaves at all.
    pub(crate) fn sends_mail(&self) -> bool {
        self.mailer.is_some()
    }

    /// Writes to a user, as part of the unit of work.
    pub(crate) async fn tell(&self, unit: &mut dyn UnitOfWork, user: &User, letter: Letter<'_>) -> StoreResult<()> {
        self.tell_at(unit, &user.email, user, letter).await
    }

    /// Writes to a user at another address than the account's, as part of the unit of work.
    pub(crate) async fn tell_at(
        &self,
        unit: &mut dyn UnitOfWork,
        to: &Email,
        user: &User,
        letter: Letter<'_>,
    ) -> StoreResult<()> {
        if self.mailer.is_none() {
            return Ok(());
        }
        let mail = self.letter(to, &user.locale, user.name.as_deref(), letter);
        let corrupt = |reason: String| StoreError::Corrupt { reason };
        let text = serde_json::to_string(&mail).map_err(|e| corrupt(e.to_string()))?;
        let sealed = self
            .secrets
            .seal(MAIL, &text.into())
            .map_err(|e| corrupt(e.to_string()))?;
        let payload = serde_json::to_string(&SealedMail { sealed }).map_err(|e| corrupt(e.to_string()))?;
        self.queue(unit, mail.id, MAIL, payload).await
    }

    /// The mail that waits as this payload.
    fn waiting_mail(&self, payload: &str) -> Result<Mail, MailError> {
        // The parser's own message may quote the mail.
        let none = || MailError::Permanent("what was queued is no mail".to_owned());
        let Ok(waiting) = serde_json::from_str::<SealedMail>(payload) else {
            // As the version before queued them.
            return serde_json::from_str(payload).map_err(|_| none());
        };
        let text = self.secrets.open(MAIL, &waiting.sealed).ok_or_else(none)?;
        serde_json::from_str(text.expose_secret()).map_err(|_| none())
    }

    async fn queue(&self, unit: &mut dyn UnitOfWork, id: Uuid, topic: &str, payload: String) -> StoreResult<()> {
        unit.insert_outbox(&self.item(id, topic, payload)).await?;
        // Earlier the worker would look, find nothing and sleep on.
        let due = Arc::clone(&self.due);
        unit.after_commit(Box::new(move || due.notify_one()));
        Ok(())
    }

    fn item(&self, id: Uuid, topic: &str, payload: String) -> OutboxItem {
        OutboxItem {
            id,
            topic: topic.to_owned(),
            payload,
            attempts: 0,
            created_at: self.clock.now(),
        }
    }
}
