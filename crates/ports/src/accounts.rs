//! Users and their credentials.

use async_trait::async_trait;
use secrecy::SecretString;

use anteroom_domain::accounts::{ForeignHash, OneTimeToken, Purpose, Role, User};
use anteroom_domain::{Timestamp, UserId};

use crate::{Digest, StoreResult};

/// The constraint that makes an address unique, case-folded as a whole.
pub const EMAIL_TAKEN: &str = "users_email_folded_key";

/// Which users are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// With this role.
    pub role: Option<Role>,
    /// Whether an admin has closed the account.
    pub disabled: Option<bool>,
    /// Whether the address has been proven.
    pub verified: Option<bool>,
    /// With this in the address or the name, both case-folded (`fold_text`). No character has a meaning of its own.
    pub text: Option<String>,
}

/// Finding users.
#[async_trait]
pub trait AccountsRead: Send {
    /// The user with this identifier.
    async fn user(&mut self, id: UserId) -> StoreResult<Option<User>>;

    /// The user whose folded address (`Email::folded`) this is, with the stored password hash where there is one.
    async fn user_by_email(&mut self, folded: &str) -> StoreResult<Option<(User, Option<String>)>>;

    /// The token with this digest and purpose, if it would work now; it is not used up.
    async fn one_time_token(
        &mut self,
        purpose: Purpose,
        digest: &Digest,
        now: Timestamp,
    ) -> StoreResult<Option<OneTimeToken>>;

    /// Whether somebody, but for one, may still go back to this folded address ([`Purpose::UndoEmailChange`]): nobody
    /// else may take it meanwhile.
    async fn address_is_reserved(&mut self, folded: &str, but_for: Option<UserId>, now: Timestamp)
    -> StoreResult<bool>;

    /// At most `limit` users, newest first, older than `before`.
    async fn page_users(&mut self, filter: &UserFilter, before: Option<UserId>, limit: i64) -> StoreResult<Vec<User>>;
}

/// Changing users.
#[async_trait]
pub trait AccountsWrite: Send {
    /// Adds a user. [`crate::StoreError::Conflict`] on [`EMAIL_TAKEN`] if the address belongs to somebody.
    async fn insert_user(&mut self, user: &User) -> StoreResult<()>;

    /// The user with this identifier, locked until the unit of work ends: of callers that read, decide and write, one
    /// at a time does.
    async fn lock_user(&mut self, id: UserId) -> StoreResult<Option<User>>;

    /// Writes everything but the identifier and `created_at`. Read the user with [`AccountsWrite::lock_user`] before,
    /// or what somebody else writes meanwhile is lost. Not found: `false`. [`crate::StoreError::Conflict`] on
    /// [`EMAIL_TAKEN`] if the address belongs to somebody else.
    async fn update_user(&mut self, user: &User) -> StoreResult<bool>;

    /// The user's password hash, where there is one.
    async fn password_hash(&mut self, user: UserId) -> StoreResult<Option<String>>;

    /// How many admins can be used, counted one caller at a time until the unit of work ends, so that two who step
    /// down together do not both see the other.
    async fn count_admins(&mut self) -> StoreResult<i64>;

    /// Adds a token that was mailed, by its digest.
    async fn insert_one_time_token(&mut self, token: &OneTimeToken, digest: &Digest) -> StoreResult<()>;

    /// Uses the token with this digest and purpose up: of parallel callers one gets it. `None` if there is none, or if
    /// it was used, made void, or has expired.
    async fn take_one_time_token(
        &mut self,
        purpose: Purpose,
        digest: &Digest,
        now: Timestamp,
    ) -> StoreResult<Option<OneTimeToken>>;

    /// How many tokens of a purpose were made for a user since then, used or not.
    async fn count_one_time_tokens(&mut self, user: UserId, purpose: Purpose, since: Timestamp) -> StoreResult<i64>;

    /// Makes a user's unused tokens of a purpose void.
    async fn void_one_time_tokens(&mut self, user: UserId, purpose: Purpose, at: Timestamp) -> StoreResult<()>;

    /// Deletes tokens that expired before `before`, at most `limit`. Answers how many.
    async fn purge_one_time_tokens(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;

    /// Users whose `delete_after` has come, at most `limit`, the longest due first.
    async fn users_to_erase(&mut self, now: Timestamp, limit: i64) -> StoreResult<Vec<User>>;

    /// Deletes a user with everything that is theirs alone: credentials, sessions, tokens, conversations. What was
    /// used and paid, and the audit log, stay under the identifier. Not found: `false`.
    async fn delete_user(&mut self, id: UserId) -> StoreResult<bool>;

    /// Notes from which device and country (empty where unknown) a user logs in.
    async fn note_device(
        &mut self,
        user: UserId,
        device: &str,
        country: &str,
        at: Timestamp,
    ) -> StoreResult<DeviceSeen>;

    /// Sets a user's password hash, whether or not there was one.
    async fn put_password_hash(&mut self, user: UserId, hash: &str, at: Timestamp) -> StoreResult<()>;

    /// Takes a user's password away: none opens the account until another is set. There may have been none.
    async fn delete_password_hash(&mut self, user: UserId) -> StoreResult<()>;
}

/// What noting a device showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceSeen {
    /// It is the user's first of all.
    First,
    /// The user has logged in before, but not from this device in this country. Of parallel callers one is told so.
    New,
    /// Seen before.
    Known,
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
