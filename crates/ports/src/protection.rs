//! Rate limits, and the counters of failed logins.

use async_trait::async_trait;

use anteroom_domain::Timestamp;
use anteroom_domain::protection::{Limit, LoginFailures, Verdict};

use crate::{Digest, StoreResult};

/// Counts acts by key. Fast and infallible: called on every request.
pub trait RateLimiter: Send + Sync {
    /// Counts one act of `key` under `limit`, if it is allowed. Limits with different names are counted apart.
    fn check(&self, limit: Limit, key: &str) -> Verdict;

    /// Counts so many acts at once, if any is left: what they are more than that is owed, and nothing is left until it
    /// has been made up for. For what is known to its full size only afterwards. Counted apart from [`Self::check`].
    fn take(&self, limit: Limit, key: &str, acts: u32) -> Verdict;

    /// Counts so many acts that have been done, whether any was left or not, as [`Self::take`] counts them.
    fn charge(&self, limit: Limit, key: &str, acts: u32);
}

/// Reading the counters of failed logins. A key is a keyed digest, so that the table holds nobody's address.
#[async_trait]
pub trait ProtectionRead: Send {
    /// What is remembered under each of the keys; all zero where nothing is.
    async fn login_failures(&mut self, keys: &[Digest]) -> StoreResult<Vec<LoginFailures>>;
}

/// Changing the counters of failed logins.
#[async_trait]
pub trait ProtectionWrite: Send {
    /// What is remembered under a key (all zero where nothing is), locked until the unit of work ends, the first time
    /// included: of parallel callers one at a time reads and writes. Whoever locks several keys locks an account's
    /// before an address's, so that no two wait for each other in a circle.
    async fn lock_login_failures(&mut self, key: &Digest, now: Timestamp) -> StoreResult<LoginFailures>;

    /// Writes what is remembered under a key that this unit has locked.
    async fn put_login_failures(&mut self, key: &Digest, failures: &LoginFailures) -> StoreResult<()>;

    /// Forgets a key. `false` if nothing was remembered.
    async fn delete_login_failures(&mut self, key: &Digest) -> StoreResult<bool>;

    /// Deletes keys whose last failure was booked before `before` and whose block has ended by `now`, at most `limit`.
    /// Answers how many.
    async fn purge_login_failures(&mut self, before: Timestamp, now: Timestamp, limit: i64) -> StoreResult<usize>;
}
