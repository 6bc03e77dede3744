//! API keys. The owner is part of every question but that of who a secret is, so a stranger's key is not found.

use async_trait::async_trait;

use anteroom_domain::access::{ApiKey, KeySecret};
use anteroom_domain::accounts::User;
use anteroom_domain::{ApiKeyId, Timestamp, UserId};

use crate::{Digest, StoreResult};

/// Finding API keys. Expired ones are found too; [`ApiKey::live_at`] and [`KeySecret::live_at`] tell.
#[async_trait]
pub trait AccessRead: Send {
    /// The key one of whose secrets has this digest, that secret, and the key's owner.
    async fn api_key_by_secret(&mut self, digest: &Digest) -> StoreResult<Option<(ApiKey, KeySecret, User)>>;

    /// A key of this user.
    async fn api_key(&mut self, user: UserId, id: ApiKeyId) -> StoreResult<Option<ApiKey>>;

    /// At most `limit` keys of this user, newest first, older than `before`.
    async fn page_api_keys(&mut self, user: UserId, before: Option<ApiKeyId>, limit: i64) -> StoreResult<Vec<ApiKey>>;

    /// How many keys of this user have not expired.
    async fn count_api_keys(&mut self, user: UserId, now: Timestamp) -> StoreResult<i64>;
}

/// Changing API keys. Whatever changes what a key may do, or ends it, tells all nodes with the same commit that its
/// owner has changed. Of parallel changes the last one stands: whoever must not lose one locks the owner first.
#[async_trait]
pub trait AccessWrite: Send {
    /// Adds a key with its first secret, which ends only when it is exchanged.
    async fn insert_api_key(&mut self, key: &ApiKey, digest: &Digest) -> StoreResult<()>;

    /// Writes what may change of a key: everything but `id`, `user_id`, `created_at` and `last_used_at`. `false` if the
    /// owner has no such key.
    async fn update_api_key(&mut self, key: &ApiKey) -> StoreResult<bool>;

    /// Gives a key a new secret. Those before end at `ends_at`, or when they would have before; those that have ended
    /// by `now` are forgotten. Answers how many of the key's secrets work now, the new one included.
    async fn rotate_api_key(
        &mut self,
        key: &ApiKey,
        digest: &Digest,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> StoreResult<usize>;

    /// Deletes a key of this user with its secrets. `false` if there is none.
    async fn delete_api_key(&mut self, user: UserId, id: ApiKeyId) -> StoreResult<bool>;

    /// Moves `last_used_at` forward, never back; unknown keys are passed over.
    async fn touch_api_keys(&mut self, used: &[(ApiKeyId, Timestamp)]) -> StoreResult<()>;

    /// Deletes keys that expired before `before`, at most `limit`. Answers how many.
    async fn purge_api_keys(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;
}
