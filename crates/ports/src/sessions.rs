//! Sessions, their secrets and their tokens.

use std::time::Instant;

use async_trait::async_trait;
use secrecy::SecretString;
use uuid::Uuid;

use anteroom_domain::accounts::User;
use anteroom_domain::sessions::{AccessClaims, Change, EndReason, RefreshToken, Session, SigningAlgorithm, SigningKey};
use anteroom_domain::{RefreshTokenId, SessionId, Timestamp, UserId};

use crate::StoreResult;

/// SHA-256 of a secret with 256 bits of entropy: what is stored in its place.
pub type Digest = [u8; 32];

/// Finding sessions. Ended and expired ones are found too; `Session::live_at` tells.
#[async_trait]
pub trait SessionsRead: Send {
    /// The session and its user.
    async fn session(&mut self, id: SessionId) -> StoreResult<Option<(Session, User)>>;

    /// The session whose cookie has this digest, and its user.
    async fn session_by_cookie(&mut self, digest: &Digest) -> StoreResult<Option<(Session, User)>>;

    /// A user's sessions that have neither ended nor reached their absolute end, oldest first.
    async fn live_sessions(&mut self, user: UserId, now: Timestamp) -> StoreResult<Vec<Session>>;

    /// All signing keys, by the time from which they sign, oldest first.
    async fn signing_keys(&mut self) -> StoreResult<Vec<SigningKey>>;

    /// What all nodes were told within the last minute (by the database's clock), in no order. Each has an identifier
    /// that stays the same, by which those that are known already are passed over.
    async fn told_lately(&mut self) -> StoreResult<Vec<(Uuid, Change)>>;
}

/// Changing sessions.
///
/// Whatever ends a session or changes what sessions show (a user, a subscription) tells all nodes with the same commit:
/// the methods that do so, here and in the other contexts, see to that by themselves.
#[async_trait]
pub trait SessionsWrite: Send {
    /// Adds a session; `cookie` is the digest of its cookie, where a cookie carries it.
    async fn insert_session(&mut self, session: &Session, cookie: Option<&Digest>) -> StoreResult<()>;

    /// Ends a session. `false` if it had ended already, or never was; then nothing changed.
    async fn end_session(&mut self, id: SessionId, at: Timestamp, reason: EndReason) -> StoreResult<bool>;

    /// Ends all of a user's sessions that have not ended, but for one. Answers which.
    async fn end_sessions_of(
        &mut self,
        user: UserId,
        except: Option<SessionId>,
        at: Timestamp,
        reason: EndReason,
    ) -> StoreResult<Vec<SessionId>>;

    /// Notes that the session's user has proven who they are again. `false` if it has ended, or never was.
    async fn authenticate_session(&mut self, id: SessionId, at: Timestamp) -> StoreResult<bool>;

    /// Moves `last_seen_at` forward, never back; unknown sessions are passed over.
    async fn touch_sessions(&mut self, seen: &[(SessionId, Timestamp)]) -> StoreResult<()>;

    /// Adds a refresh token by its digest.
    async fn insert_refresh_token(&mut self, token: &RefreshToken, digest: &Digest) -> StoreResult<()>;

    /// The refresh token with this digest, locked until the unit of work ends, so that of parallel callers one at a
    /// time decides.
    async fn lock_refresh_token(&mut self, digest: &Digest) -> StoreResult<Option<RefreshToken>>;

    /// Marks a token as exchanged. `false` if it was already.
    async fn use_refresh_token(&mut self, id: RefreshTokenId, at: Timestamp) -> StoreResult<bool>;

    /// Tells all nodes of changes, when the unit of work is committed and not before.
    async fn tell(&mut self, changes: &[Change]) -> StoreResult<()>;

    /// Forgets what was told more than two minutes ago (by the database's clock). Answers how much that was.
    async fn purge_told(&mut self) -> StoreResult<usize>;

    /// Deletes sessions, with their refresh tokens, that expired before `before`, at most `limit`. Answers how many.
    async fn purge_sessions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;

    /// All signing keys, as [`SessionsRead::signing_keys`] answers them, locked until the unit of work ends, even if
    /// there are none: of parallel callers one at a time decides what becomes of them.
    async fn lock_signing_keys(&mut self) -> StoreResult<Vec<SigningKey>>;

    /// Adds a signing key.
    async fn insert_signing_key(&mut self, key: &SigningKey) -> StoreResult<()>;

    /// Lets a key's successor take over at this time, or earlier if that was said before. `false` if nothing changed.
    async fn retire_signing_key(&mut self, kid: &str, at: Timestamp) -> StoreResult<bool>;

    /// Takes a key out of use. `false` if it was already, or is unknown; then nothing changed.
    async fn revoke_signing_key(&mut self, kid: &str, at: Timestamp) -> StoreResult<bool>;

    /// Deletes a key. `false` if there is none.
    async fn delete_signing_key(&mut self, kid: &str) -> StoreResult<bool>;
}

/// What a node has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What was told, oldest first.
    pub changes: Vec<Change>,
    /// Whatever was committed before this moment is in this answer or was in an earlier one: the link stood then.
    /// `None` where the link was not tried.
    pub as_of: Option<Instant>,
}

/// Hears what nodes are told, this one included, from the moment on at which [`crate::Store::listen`] returned.
#[async_trait]
pub trait Listener: Send {
    /// Waits for what is told next, and at most for a quarter of a second, in which the link is tried. After an error
    /// the link is broken, and what was told meanwhile is lost. Dropping the future loses nothing.
    async fn next(&mut self) -> StoreResult<Heard>;
}

/// Why a signing key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Its record does not open.
    #[error(
        "the signing key {kid} cannot be opened: its record in `signing_keys` is damaged or was written under another \
         SECRET_KEY. Put the record back from a backup, or give the key up with `anteroom keys revoke {kid}`"
    )]
    Sealed {
        /// Which.
        kid: String,
    },
    /// Its record is of a kind that this version does not know.
    #[error(
        "the signing key {kid} is sealed under version {version} of the wrapping key, which this version of Anteroom \
         does not know. Start the version that made it, or give the key up with `anteroom keys revoke {kid}`"
    )]
    UnknownWrapping {
        /// Which.
        kid: String,
        /// What its record says.
        version: i32,
    },
    /// None is loaded that may sign now.
    #[error(
        "there is no signing key in force; `anteroom keys list` shows which there are, `anteroom keys rotate --now` makes one"
    )]
    NoneInForce,
    /// The system gave no randomness, or the cryptographic library refused.
    #[error("no signing key could be made or used: the cryptographic library refused")]
    Failed,
}

impl SigningKeyError {
    /// The key it is about, if it is about one.
    pub fn kid(&self) -> Option<&str> {
        match self {
            Self::Sealed { kid } | Self::UnknownWrapping { kid, .. } => Some(kid),
            Self::NoneInForce | Self::Failed => None,
        }
    }
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It is none of ours, or not any more.
    Invalid,
    /// It could be ours, but names a key that is not loaded. Whoever loads the newest keys and asks again will know.
    UnknownKey,
}

/// Makes signing keys, and signs and checks access tokens (RFC 9068, `typ: at+jwt`) with those that are loaded.
/// Pure computation, fast; nothing here waits.
pub trait TokenSigner: Send + Sync {
    /// A fresh random key, sealed for the store. It is not loaded by that.
    fn generate(
        &self,
        algorithm: SigningAlgorithm,
        created_at: Timestamp,
        active_from: Timestamp,
    ) -> Result<SigningKey, SigningKeyError>;

    /// the one key that version 0.1 signed with, which derived from the deployment's secret, as a key that
    /// signs from `now` on: so a store that one of them filled goes on without a break.
    fn former(&self, now: Timestamp) -> Result<SigningKey, SigningKeyError>;

    /// Puts these keys, all at once, in place of those that were loaded. Those that cannot be used are left out and
    /// named in the answer. Revoked ones are known, so that tokens that name them are refused, and not opened. Loading
    /// the same keys again changes nothing and costs next to nothing.
    fn load(&self, keys: &[SigningKey]) -> Vec<SigningKeyError>;

    /// A signed token that begins now.
    fn sign(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, SigningKeyError>;

    /// The claims of a token whose key is loaded and verifies now, and whose signature, `typ`, issuer, audience and
    /// times are right.
    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenRefusal>;

    /// The public keys that verify now or will sign soon (RFC 7517).
    fn jwks(&self, now: Timestamp) -> serde_json::Value;
}

/// Digests, keyed digests, and texts that only this deployment can read. Pure computation, fast.
pub trait Secrets: Send + Sync {
    /// SHA-256.
    fn digest(&self, secret: &[u8]) -> Digest;

    /// HMAC-SHA-256 under a key derived from the deployment's secret for this purpose.
    fn keyed(&self, purpose: &str, data: &[u8]) -> Digest;

    /// A text as it may lie in the store: encrypted and authenticated under a key derived from the deployment's secret,
    /// for this purpose, printable, each time another one.
    fn seal(&self, purpose: &str, text: &SecretString) -> Result<String, SealError>;

    /// The text that was sealed for this purpose; `None` if it was not, or not with this deployment's secret.
    fn open(&self, purpose: &str, sealed: &str) -> Option<SecretString>;
}

/// The cryptographic library refused to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text could not be sealed")]
pub struct SealError;
