//! Sessions, their secrets and their tokens.

use async_trait::async_trait;

use anteroom_domain::accounts::User;
use anteroom_domain::sessions::{AccessClaims, EndReason, RefreshToken, Session};
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
}

/// Changing sessions.
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

    /// Deletes sessions, with their refresh tokens, that expired before `before`, at most `limit`. Answers how many.
    async fn purge_sessions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;
}

/// Signs and checks access tokens (RFC 9068, `typ: at+jwt`).
pub trait TokenSigner: Send + Sync {
    /// A signed token that begins now.
    fn sign(&self, claims: &AccessClaims, now: Timestamp) -> String;

    /// The claims of a token whose signature, `typ`, issuer, audience and times are right; `None` for any other.
    fn verify(&self, token: &str, now: Timestamp) -> Option<AccessClaims>;

    /// The public keys (RFC 7517).
    fn jwks(&self) -> serde_json::Value;
}

/// Digests and keyed digests. Pure computation, fast.
pub trait Secrets: Send + Sync {
    /// SHA-256.
    fn digest(&self, secret: &[u8]) -> Digest;

    /// HMAC-SHA-256 under a key derived from the deployment's secret for this purpose.
    fn keyed(&self, purpose: &str, data: &[u8]) -> Digest;
}
