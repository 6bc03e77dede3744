//! The audit log: appended to by every act, sealed by one sealer, read by those whom it concerns.

use async_trait::async_trait;

use anteroom_domain::audit::{AuditEntry, Outcome, Seal};
use anteroom_domain::{AuditId, Timestamp, UserId};

use crate::StoreResult;

/// Which rows are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose account it was done to, or who did it.
    pub user: Option<UserId>,
    /// Who did it.
    pub actor: Option<UserId>,
    /// Whose account it was done to.
    pub subject: Option<UserId>,
    /// The act's name, or all that begin with it and a dot: `account` finds `account.login`.
    pub act: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Reading the audit log.
#[async_trait]
pub trait AuditRead: Send {
    /// At most `limit` rows, newest first, older than `before`.
    async fn page_audit(
        &mut self,
        filter: &AuditFilter,
        before: Option<AuditId>,
        limit: i64,
    ) -> StoreResult<Vec<AuditEntry>>;

    /// At most `limit` links of the chain after place `after`, in order, each with the row it seals: `None` for a row
    /// that is gone, [`crate::StoreError::Corrupt`] for one that is not as any version of Anteroom writes it. A digest
    /// that has not 32 bytes is read as zeros, which seal nothing.
    async fn sealed_audit(
        &mut self,
        after: i64,
        limit: i64,
    ) -> StoreResult<Vec<(Seal, Option<StoreResult<AuditEntry>>)>>;

    /// The first row without a seal, of those from identifier `from` on.
    async fn first_unsealed_audit(&mut self, from: Option<AuditId>) -> StoreResult<Option<(AuditId, Timestamp)>>;

    /// How many rows have no seal yet. Reads the whole log.
    async fn count_unsealed_audit(&mut self) -> StoreResult<i64>;
}

/// Writing the audit log. Nothing in it is ever changed or deleted: the database refuses it.
#[async_trait]
pub trait AuditWrite: Send {
    /// Adds a row.
    async fn insert_audit(&mut self, entry: &AuditEntry) -> StoreResult<()>;

    /// The chain's last link, and at most `limit` rows without a seal, from identifier `from` on and in their order,
    /// under a lock that other sealers wait for until the unit of work ends. Rows that cannot be read are left out.
    async fn lock_audit_chain(
        &mut self,
        from: Option<AuditId>,
        limit: i64,
    ) -> StoreResult<(Option<Seal>, Vec<AuditEntry>)>;

    /// Adds links to the chain.
    async fn insert_audit_seals(&mut self, seals: &[Seal]) -> StoreResult<()>;
}
