//! The audit log: every act that somebody may have to answer for leaves a row, in the commit of the act itself. A sealer
//! chains the rows afterwards, so that what was written cannot be changed, taken away or moved without a trace.

mod list_activity;
mod list_audit;
mod seal;
mod verify;

pub use list_activity::{Activity, DoneBy};
pub use seal::SEALED_AT_ONCE;
pub use verify::{Fault, Head, InvalidHead, Verdict};

use std::sync::{Arc, Mutex};

use anteroom_domain::audit::{Actor, AuditEntry, Outcome};
use anteroom_domain::sessions::clip_user_agent;
use anteroom_domain::{AuditId, SessionId, Timestamp, UserId};
use anteroom_ports::{Clock, Digest, Durability, Ids, Secrets, Store, StoreResult, UnitOfWork};
use serde_json::Value;

use crate::Client;

/// The use cases of the audit log.
pub struct Audit {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    secrets: Arc<dyn Secrets>,
    sealer: Mutex<seal::Progress>,
}

/// What is to be recorded: `Act::succeeded("account.login", Actor::User(id), &client).subject(id)`.
#[derive(Debug)]
pub(crate) struct Act<'a> {
    name: &'static str,
    outcome: Outcome,
    actor: Actor,
    client: &'a Client,
    subject: Option<UserId>,
    session: Option<SessionId>,
    details: Vec<(&'static str, Value)>,
}

impl<'a> Act<'a> {
    fn new(name: &'static str, outcome: Outcome, actor: Actor, client: &'a Client) -> Self {
        Self {
            name,
            outcome,
            actor,
            client,
            subject: None,
            session: None,
            details: Vec::new(),
        }
    }

    /// Something that was done. `name` is dotted and has no outcome in it: `account.login`.
    pub(crate) fn succeeded(name: &'static str, actor: Actor, client: &'a Client) -> Self {
        Self::new(name, Outcome::Succeeded, actor, client)
    }

    /// Something that was tried and not done. `reason` is a word, not a sentence.
    pub(crate) fn failed(name: &'static str, actor: Actor, client: &'a Client, reason: &str) -> Self {
        Self::new(name, Outcome::Failed, actor, client).detail("reason", reason)
    }

    /// Whose account it was done to.
    pub(crate) fn subject(mut self, user: impl Into<Option<UserId>>) -> Self {
        self.subject = user.into();
        self
    }

    /// In, or to, which session.
    pub(crate) fn session(mut self, session: impl Into<Option<SessionId>>) -> Self {
        self.session = session.into();
        self
    }

    /// What else is worth knowing. No secret and no person's address.
    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The row that it leaves.
    pub(crate) fn entry(self, id: AuditId, at: Timestamp) -> AuditEntry {
        AuditEntry {
            id,
            at,
            act: self.name.to_owned(),
            outcome: self.outcome,
            actor: self.actor,
            subject: self.subject,
            session_id: self.session,
            address: self.client.address.clone(),
            user_agent: self.client.user_agent.as_deref().map(clip_user_agent),
            request_id: self.client.request_id,
            details: self
                .details
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }
}

impl Audit {
    /// Puts the context together.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            store,
            clock,
            ids,
            secrets,
            sealer: Mutex::default(),
        }
    }

    /// The link at place `seq` after the one with digest `before`. Its key is the deployment's: whoever can write to
    /// the database, but has not that, cannot make one.
    fn link(&self, seq: i64, before: &Digest, entry: &AuditEntry) -> Digest {
        self.secrets.keyed("audit-chain", &entry.sealed_bytes(seq, before))
    }

    /// Adds a row to the unit of work of the act itself: both happen, or neither.
    pub(crate) async fn record(&self, unit: &mut dyn UnitOfWork, act: Act<'_>) -> StoreResult<()> {
        let entry = act.entry(AuditId(self.ids.uuid()), self.clock.now());
        unit.insert_audit(&entry).await
    }

    /// Records what changed nothing else: a refusal.
    pub(crate) async fn record_alone(&self, act: Act<'_>) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        self.record(&mut *unit, act).await?;
        unit.commit().await
    }
}
