//! What subscribers are told of by mail: who is to be looked at, and that nobody is told twice.

use async_trait::async_trait;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{NoticeKind, Owner, Subscription};

use crate::StoreResult;

/// Finding who is to be told, and what they were told.
#[async_trait]
pub trait NoticesRead: Send {
    /// Whether an owner was told of this.
    async fn knows_notice(&mut self, owner: Owner, kind: NoticeKind, reference: &str) -> StoreResult<bool>;

    /// Subscriptions whose trial ends after `from` and by `until`, in the order of their providers and identifiers, at most
    /// `limit`, after the one that is named.
    async fn page_ending_trials(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<(&str, &str)>,
        limit: i64,
    ) -> StoreResult<Vec<Subscription>>;

    /// Owners of whom a call was booked at `since` or later, in an order of their own, at most `limit`. It looks at one call
    /// of each, not at all of them.
    async fn page_owners_booked(
        &mut self,
        since: Timestamp,
        after: Option<Owner>,
        limit: i64,
    ) -> StoreResult<Vec<Owner>>;
}

/// Remembering what owners were told.
#[async_trait]
pub trait NoticesWrite: Send {
    /// Remembers that an owner is told of this. `false` if they were told before; of parallel callers one gets `true`.
    async fn insert_notice(
        &mut self,
        owner: Owner,
        kind: NoticeKind,
        reference: &str,
        at: Timestamp,
    ) -> StoreResult<bool>;

    /// Forgets what was told before then, at most `limit`, oldest first. Answers how many.
    async fn purge_notices(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;

    /// Forgets what an owner was told.
    async fn delete_notices(&mut self, owner: Owner) -> StoreResult<()>;
}
