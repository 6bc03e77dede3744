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

/// A mail. It holds live links, so it says of itself in `{:?}` only which one it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Identifier; the same when a delivery is repeated, so that the Message-ID is.
    pub id: Uuid,
    /// The recipient's address.
    pub to: String,
    /// The subject, one line.
    pub subject: String,
    /// The text, lines ended by `\n`.
    pub text: String,
    /// The same as an HTML document; empty for a mail that has none. Mails queued by a version that knew only text
    /// have none.
    #[serde(default)]
    pub html: String,
    /// The BCP 47 tag of the language it is written in (`Content-Language`, RFC 3282); empty where that is not known.
    #[serde(default)]
    pub locale: String,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a mail did not leave. The reasons are logged: they hold no address, nothing of the mail and no password.
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

    /// Sends a mail. `Ok` means that the other side has taken it over, whole. Sending the same one twice is allowed to
    /// deliver it twice, under the same Message-ID.
    ///
    /// [`MailError::Permanent`] only if this very mail can never leave; whatever an operator or time can mend (a
    /// server that is away, a password that is wrong, a disk that is full) is [`MailError::Temporary`]. Dropping the
    /// future gives up; the mail may or may not have left.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;

    /// Whether mail could leave now: asks the other side as far as that goes without sending anything.
    async fn check(&self) -> Result<(), MailError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_that_the_version_before_queued_is_read() {
        let queued =
            r#"{"id":"019b7ca9-8f2e-7000-8000-000000000001","to":"ada@example.com","subject":"Hi","text":"x\n"}"#;
        let mail: Mail = serde_json::from_str(queued).unwrap();
        assert_eq!(
            (mail.text.as_str(), mail.html.as_str(), mail.locale.as_str()),
            ("x\n", "", "")
        );
        // And the other way, while nodes are being replaced: it passes over members that it does not know.
        let queued = serde_json::to_string(&Mail {
            html: "<p>x</p>".into(),
            ..mail.clone()
        })
        .unwrap();
        assert!(queued.contains("html"));
        assert!(!format!("{mail:?}").contains("ada@"), "{mail:?}");
    }
}
