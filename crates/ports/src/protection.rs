//! Rate limits.

use anteroom_domain::protection::{Limit, Verdict};

/// Counts acts by key. Fast and infallible: called on every request.
pub trait RateLimiter: Send + Sync {
    /// Counts one act of `key` under `limit`, if it is allowed. Limits with different names are counted apart.
    fn check(&self, limit: Limit, key: &str) -> Verdict;
}
