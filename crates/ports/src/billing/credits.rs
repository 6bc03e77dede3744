//! Credits and their ledger.

use async_trait::async_trait;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{CreditAccount, CreditEntry, CreditGrant, CreditSource, Owner};

use crate::StoreResult;

/// Finding credits.
#[async_trait]
pub trait CreditsRead: Send {
    /// An owner's credits, as they stand; of one who never had any, an empty account. Nothing is locked, so it must not be
    /// saved.
    async fn credit_account(&mut self, owner: Owner) -> StoreResult<CreditAccount>;

    /// A grant by what makes it known again, whether or not it is still open.
    async fn credit_grant_of(
        &mut self,
        owner: Owner,
        source: CreditSource,
        reference: &str,
    ) -> StoreResult<Option<CreditGrant>>;

    /// An owner's ledger, newest first, at most `limit` lines, before the one with this number.
    async fn page_credit_entries(
        &mut self,
        owner: Owner,
        before: Option<i64>,
        limit: i64,
    ) -> StoreResult<Vec<CreditEntry>>;

    /// Owners who have open grants that ended by then, at most `limit`, those whose grants ended first.
    async fn owners_of_ended_credits(&mut self, by: Timestamp, limit: i64) -> StoreResult<Vec<Owner>>;
}

/// Changing credits.
#[async_trait]
pub trait CreditsWrite: Send {
    /// The credits of these owners, locked until the unit of work ends, also where there were none. They are locked in an
    /// order of the store's own, so that no two units wait for each other in a circle; whoever locks quota counters as well
    /// does so after this. Answers in the order of `owners`, each of whom is named once.
    async fn lock_credits(&mut self, owners: &[Owner]) -> StoreResult<Vec<CreditAccount>>;

    /// Writes what changed of a locked account: its grants, and the lines that were added to its ledger.
    async fn save_credits(&mut self, account: &CreditAccount) -> StoreResult<()>;
}
