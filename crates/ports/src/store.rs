//! The store as a whole: units of work, and the one error of every store.

use async_trait::async_trait;

use crate::{
    AccessRead, AccessWrite, AccountsRead, AccountsWrite, AuditRead, AuditWrite, BillingRead, BillingWrite, ChatRead,
    ChatWrite, CreditsRead, CreditsWrite, Listener, ModelsRead, ModelsWrite, NoticesRead, NoticesWrite, OpsRead,
    OpsWrite, OverageRead, OverageWrite, OwnSchema, ProtectionRead, ProtectionWrite, RevenueRead, RevenueWrite,
    SessionsRead, SessionsWrite, SubscriptionsRead, SubscriptionsWrite, WebhooksWrite,
};

/// What a store can fail with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A unique or foreign key refused the write. Carries the constraint's name as both databases' migrations spell
    /// it, e.g. `users_email_folded_key`; SQLite reports columns, from which the adapter makes that name.
    #[error("the store refused a write: {constraint}")]
    Conflict {
        /// The constraint.
        constraint: String,
    },
    /// What was to be changed has changed in the meantime; reading again and retrying may succeed.
    #[error("the row has changed in the meantime")]
    Stale,
    /// The store is away, full or too slow. Nothing was committed, unless the connection broke during the commit
    /// itself, when it may have been.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
    },
    /// A table or column is not there: another version of Anteroom has taken it away, or is to bring it yet. Nothing was
    /// done.
    #[error("the store's schema is not this version's: {reason}")]
    SchemaNotCurrent {
        /// For the log.
        reason: String,
    },
    /// The store holds or answered something that no version of Anteroom writes.
    #[error("the store answered something unexpected: {reason}")]
    Corrupt {
        /// For the log.
        reason: String,
    },
}

impl StoreError {
    /// Whether this is a conflict on the named constraint.
    pub fn conflicts_on(&self, name: &str) -> bool {
        matches!(self, Self::Conflict { constraint } if constraint == name)
    }
}

/// What a store method answers.
pub type StoreResult<T> = Result<T, StoreError>;

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It does. What was answered survives a power cut.
    Full,
    /// It does not: it survives a killed process, a power cut may lose it. For what dies in the same cut: the quota
    /// reservation of a call, the booking of a login attempt.
    Relaxed,
}

/// A store: where everything is kept.
#[async_trait]
pub trait Store: OwnSchema + Send + Sync {
    /// A short name for logs and the start-up lines: `sqlite` or `postgres`.
    fn kind(&self) -> &'static str;

    /// Starts a unit of work that may write. On SQLite there is one at a time; waiting for it is bounded by the
    /// acquire timeout, then [`StoreError::Unavailable`].
    async fn begin(&self, durability: Durability) -> StoreResult<Box<dyn UnitOfWork>>;

    /// A connection for reading only. It holds no write lock; two reads on it may see different states.
    async fn read(&self) -> StoreResult<Box<dyn ReadUnit>>;

    /// A link on which this node hears at once what all are told. `None` if this store cannot call out: then
    /// [`SessionsRead::told_lately`] is to be asked twice a second.
    async fn listen(&self) -> StoreResult<Option<Box<dyn Listener>>>;

    /// Whether the store answers, within the acquire timeout.
    async fn ping(&self) -> StoreResult<()>;
}

/// Everything that can be read.
pub trait ReadUnit:
    AccessRead
    + AccountsRead
    + AuditRead
    + SessionsRead
    + ChatRead
    + ModelsRead
    + BillingRead
    + CreditsRead
    + SubscriptionsRead
    + RevenueRead
    + NoticesRead
    + OverageRead
    + ProtectionRead
    + OpsRead
    + Send
{
}

/// One transaction. Dropping it without [`UnitOfWork::commit`] undoes everything and releases every lock at once.
/// Nothing slow (hashing, mail, a model, a payment provider) may happen while one is open.
#[async_trait]
pub trait UnitOfWork:
    ReadUnit
    + AccessWrite
    + AccountsWrite
    + AuditWrite
    + SessionsWrite
    + ChatWrite
    + ModelsWrite
    + BillingWrite
    + CreditsWrite
    + SubscriptionsWrite
    + RevenueWrite
    + NoticesWrite
    + OverageWrite
    + ProtectionWrite
    + WebhooksWrite
    + OpsWrite
    + Send
{
    /// What to do once it is committed, at once and without waiting for anything: not before, and not if it never is.
    fn after_commit(&mut self, act: Box<dyn FnOnce() + Send>);

    /// Makes everything done on it permanent and visible, at once.
    async fn commit(self: Box<Self>) -> StoreResult<()>;
}
