//! What leaves Anteroom: the outbox, and mail.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use anteroom_domain::Timestamp;

use crate::StoreResult;

/// Something to be delivered after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Identifier.
    pub id: Uuid,
    /// What it is, e.g. `mail`.
    pub topic: String,
    /// The thing itself, as JSON.
    pub payload: String,
    /// How often delivery has been tried.
    pub attempts: i32,
    /// When it was written.
    pub created_at: Timestamp,
}

/// The outbox.
#[async_trait]
pub trait WebhooksWrite: Send {
    /// Adds an item, to be delivered as soon as the unit of work is committed.
    async fn insert_outbox(&mut self, item: &OutboxItem) -> StoreResult<()>;

    /// Takes at most `limit` items that are due, oldest first, and hides them from others until `lease_until`.
    /// Each counts one attempt more. Of parallel callers no two get the same item.
    async fn claim_outbox(
        &mut self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<OutboxItem>>;

    /// Deletes a delivered item.
    async fn finish_outbox(&mut self, id: Uuid) -> StoreResult<()>;

    /// Lets a failed item come due again at `at`.
    async fn retry_outbox(&mut self, id: Uuid, at: Timestamp) -> StoreResult<()>;
}

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Identifier; the same when a delivery is repeated, so that the Message-ID is.
    pub id: Uuid,
    /// The recipient's address.
    pub to: String,
    /// The subject, one line.
    pub subject: String,
    /// The text, lines ended by `\n`.
    pub text: String,
}

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// It may leave later.
    #[error("the mail could not be sent now: {0}")]
    Temporary(String),
    /// It never will.
    #[error("the mail was refused: {0}")]
    Permanent(String),
}

/// Sends mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// A short name for the start-up lines.
    fn name(&self) -> &'static str;

    /// Sends a mail. Sending the same one twice is allowed to deliver it twice.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}
