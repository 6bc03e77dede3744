//! What the running of it needs: time, identifiers, and the answers kept for repeated requests.

use async_trait::async_trait;
use uuid::Uuid;

use anteroom_domain::{Timestamp, UserId};

use crate::StoreResult;

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now, in whole microseconds.
    fn now(&self) -> Timestamp;
}

/// Fresh identifiers and secrets.
pub trait Ids: Send + Sync {
    /// A UUIDv7 (RFC 9562); those of one process sort in the order they were made.
    fn uuid(&self) -> Uuid;

    /// 256 bits from a cryptographic source.
    fn secret(&self) -> [u8; 32];
}

/// A request that may be repeated (`Idempotency-Key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// Whose key it is; two users' equal keys do not meet.
    pub user_id: UserId,
    /// The client's key.
    pub key: String,
    /// Digest of method, path and body.
    pub fingerprint: [u8; 32],
    /// When it came.
    pub created_at: Timestamp,
    /// Until when it counts as running; after that its process is taken for dead.
    pub running_until: Timestamp,
}

/// What claiming an idempotency key showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The key is new: go ahead, then `finish_idempotent` or `drop_idempotent`.
    Fresh,
    /// The same request is running.
    Running,
    /// The key was used with another request.
    Mismatch,
    /// The same request was answered so.
    Answered {
        /// Its status.
        status: u16,
        /// Its body.
        body: String,
    },
}

/// Small things that are kept for the deployment.
#[async_trait]
pub trait OpsWrite: Send {
    /// Claims an idempotency key. Of parallel claims exactly one is [`Claim::Fresh`].
    async fn claim_idempotent(&mut self, request: &IdempotentRequest) -> StoreResult<Claim>;

    /// Keeps the answer under a claimed key.
    async fn finish_idempotent(&mut self, user: UserId, key: &str, status: u16, body: &str) -> StoreResult<()>;

    /// Gives a claimed key back, so that the request can be tried again.
    async fn drop_idempotent(&mut self, user: UserId, key: &str) -> StoreResult<()>;

    /// Deletes keys made before `before`, at most `limit`. Answers how many.
    async fn purge_idempotent(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;

    /// The value under a name, after writing `value` if there was none. Of parallel callers all get the same.
    async fn deployment_value(&mut self, name: &str, value: &str) -> StoreResult<String>;
}
