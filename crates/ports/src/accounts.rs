//! Users and their credentials.

use async_trait::async_trait;
use secrecy::SecretString;

use anteroom_domain::accounts::{ForeignHash, User};
use anteroom_domain::{Timestamp, UserId};

use crate::StoreResult;

/// The constraint that makes an address unique, case-folded as a whole.
pub const EMAIL_TAKEN: &str = "users_email_folded_key";

/// Finding users.
#[async_trait]
pub trait AccountsRead: Send {
    /// The user with this identifier.
    async fn user(&mut self, id: UserId) -> StoreResult<Option<User>>;

    /// The user whose folded address (`Email::folded`) this is, with the stored password hash where there is one.
    async fn user_by_email(&mut self, folded: &str) -> StoreResult<Option<(User, Option<String>)>>;

    /// At most `limit` users, newest first, older than `before`.
    async fn page_users(&mut self, before: Option<UserId>, limit: i64) -> StoreResult<Vec<User>>;
}

/// Changing users.
#[async_trait]
pub trait AccountsWrite: Send {
    /// Adds a user. [`crate::StoreError::Conflict`] on [`EMAIL_TAKEN`] if the address belongs to somebody.
    async fn insert_user(&mut self, user: &User) -> StoreResult<()>;

    /// Writes `name`, `locale`, `role` and `updated_at`. Not found: `false`.
    async fn update_user(&mut self, user: &User) -> StoreResult<bool>;

    /// Sets a user's password hash, whether or not there was one.
    async fn put_password_hash(&mut self, user: UserId, hash: &str, at: Timestamp) -> StoreResult<()>;
}

/// Hashes passwords on a bounded pool of its own, so that logins never starve other requests.
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// A versioned hash string with a fresh salt.
    async fn hash(&self, password: &SecretString) -> Result<String, HashError>;

    /// The form in which a hash that was made elsewhere is stored. Computes next to nothing. Comparing a password with
    /// it costs what the hash says, is never cheaper than comparing with one of today's, and answers `outdated`.
    fn adopt(&self, foreign: &ForeignHash) -> Result<String, HashError>;

    /// Compares in constant time. `None` for the stored hash does the same work against a decoy and answers a
    /// mismatch, so that an unknown address costs what a wrong password costs.
    async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<Verified, HashError>;
}

/// A list of passwords that are not accepted. Fast: asked where somebody waits.
pub trait PasswordList: Send + Sync {
    /// Whether the list holds this password, as it is written. A few that it does not hold may be taken for one.
    fn contains(&self, password: &str) -> bool;
}

/// What comparing a password showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Whether it is the password.
    pub matches: bool,
    /// Whether the stored hash has weaker parameters than today's and should be replaced.
    pub outdated: bool,
}

/// Why a password was not hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The queue is so long that the answer would take too long; nothing was computed.
    #[error("too many passwords are being checked; try again in {retry_after_seconds} s")]
    Busy {
        /// When the queue is expected to be short again.
        retry_after_seconds: u64,
    },
    /// The stored hash is none, or the pool is gone.
    #[error("hashing failed: {0}")]
    Failed(String),
}
