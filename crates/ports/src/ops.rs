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
    /// Its lease: until when it counts as running, unless it is renewed; after that its process is taken for dead.
    pub running_until: Timestamp,
    /// This try of it: who does not hold the key any more can neither answer under it nor give it back.
    pub held_by: Uuid,
    /// Under which identifier it makes what it makes, if it is the first try.
    pub made_id: Uuid,
}

/// What claiming an idempotency key showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The key is new, or its former holder's lease ran out: go ahead, then `finish_idempotent` or `drop_idempotent`.
    Fresh {
        /// Under which identifier to make what is made: that of the first try, so that it is made once.
        made_id: Uuid,
    },
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

/// Reading small things that are kept for the deployment.
#[async_trait]
pub trait OpsRead: Send {
    /// The value under a name; `None` as well where there is no schema yet that could hold one.
    async fn kept_deployment_value(&mut self, name: &str) -> StoreResult<Option<String>>;
}

/// Small things that are kept for the deployment.
#[async_trait]
pub trait OpsWrite: Send {
    /// Claims an idempotency key. Of parallel claims exactly one is [`Claim::Fresh`].
    async fn claim_idempotent(&mut self, request: &IdempotentRequest) -> StoreResult<Claim>;

    /// Lets keys last until then that these tries hold. Those that are being changed elsewhere are passed over, and
    /// nothing happens to keys that they no longer hold.
    async fn renew_idempotent(&mut self, held_by: &[Uuid], until: Timestamp) -> StoreResult<()>;

    /// Keeps the answer under a key. `false` if this try does not hold it any more; then nothing changed.
    async fn finish_idempotent(
        &mut self,
        user: UserId,
        key: &str,
        held_by: Uuid,
        status: u16,
        body: &str,
    ) -> StoreResult<bool>;

    /// Gives a key back, so that the request can be tried again. `false` if this try does not hold it any more, or has
    /// answered; then nothing changed.
    async fn drop_idempotent(&mut self, user: UserId, key: &str, held_by: Uuid) -> StoreResult<bool>;

    /// Deletes keys made before `before`, at most `limit`. Answers how many.
    async fn purge_idempotent(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;

    /// The value under a name, after writing `value` if there was none. Of parallel callers all get the same.
    async fn deployment_value(&mut self, name: &str, value: &str) -> StoreResult<String>;

    /// Takes the turn to do what is done once a while by one node: `true` if the last turn is over, or there was none.
    /// Then the next is `until`. Of parallel callers one gets it.
    async fn take_turn(&mut self, name: &str, now: Timestamp, until: Timestamp) -> StoreResult<bool>;
}
