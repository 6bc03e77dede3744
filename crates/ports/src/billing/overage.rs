//! What was used beyond limits, and what of it was reported to the payment provider.

use async_trait::async_trait;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{OverageAccount, Owner};

use crate::StoreResult;

/// Reading what was used beyond limits.
#[async_trait]
pub trait OverageRead: Send {
    /// What an owner used beyond limits in windows that began at `since` or later, the oldest window first.
    async fn overages_of(&mut self, owner: Owner, since: Timestamp) -> StoreResult<Vec<OverageAccount>>;
}

/// Writing it.
#[async_trait]
pub trait OverageWrite: Send {
    /// The account of this owner, counter and window, which nobody else changes until this unit of work ends. Where there
    /// is none yet, it begins as `new`.
    async fn lock_overage(&mut self, new: &OverageAccount) -> StoreResult<OverageAccount>;

    /// Writes an account that was locked.
    async fn put_overage(&mut self, account: &OverageAccount) -> StoreResult<()>;
}
