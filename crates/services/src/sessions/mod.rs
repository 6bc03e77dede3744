//! Sessions: starting, checking, renewing and ending them.

mod authenticate;
mod end_sessions;
mod end_sessions_of_user;
mod hold_signing_keys;
mod log_out;
mod refresh_session;
mod revoke_signing_key;
mod rotate_signing_keys;
mod start_session;
mod tend_sessions;

pub use authenticate::{AuthenticateError, Credential};
pub use end_sessions_of_user::EndSessionsError;
pub use hold_signing_keys::HoldKeysError;
pub use refresh_session::RefreshError;
pub use revoke_signing_key::RevokeKeyError;
pub use rotate_signing_keys::{RotateKeys, RotateKeysError};

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anteroom_domain::accounts::User;
use anteroom_domain::billing::Subscription;
use anteroom_domain::sessions::{AccessClaims, Session, SigningAlgorithm};
use anteroom_domain::{SessionId, Timestamp};
use anteroom_ports::{Clock, Digest, Ids, Secrets, SigningKeyError, Store, StoreError, TokenSigner};
use jiff::SignedDuration;
use moka::sync::Cache;
use secrecy::SecretString;

use crate::Audit;
use hold_signing_keys::HeldKeys;

/// What the operator can set.
#[derive(Debug, Clone, Copy)]
pub struct SessionsOptions {
    /// How long a session lives, whatever happens.
    pub lifetime: SignedDuration,
    /// How long an access token lives.
    pub access_token: SignedDuration,
    /// For how long an exchanged refresh token answers the same successor.
    pub refresh_grace: SignedDuration,
    /// How new signing keys sign.
    pub signing_algorithm: SigningAlgorithm,
    /// For how long a signing key signs before the next one takes over; `None`: until an operator says so.
    pub key_rotation: Option<SignedDuration>,
}

/// A session that is live, with what most requests want to know beside it.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// Whose it is.
    pub user: User,
    /// The session.
    pub session: Session,
    /// What its user pays for.
    pub subscription: Option<Subscription>,
}

/// What a client is given when it has proven itself.
#[derive(Debug)]
pub struct Grant {
    /// Who it is.
    pub user: User,
    /// The session.
    pub session: Session,
    /// What carries it.
    pub credential: GrantedCredential,
}

/// What carries a session.
#[derive(Debug)]
pub enum GrantedCredential {
    /// An access token and the refresh token for the next one.
    Token {
        /// JWT (RFC 9068).
        access_token: SecretString,
        /// Its life in seconds.
        expires_in: i64,
        /// Opaque.
        refresh_token: SecretString,
    },
    /// The cookie's value.
    Cookie(SecretString),
}

/// For how long a session's state is taken for granted: the longest time that a revocation on one node may go
/// unnoticed on another, half of the second that is promised so that streams, which look twice a second, keep it too.
const STATE_FRESH: Duration = Duration::from_millis(450);

/// Entries per cache; what is beyond is looked up again. About 1 kB each.
const CACHE_ENTRIES: u64 = 20_000;

struct CachedState {
    epoch: u64,
    state: Arc<LiveSession>,
}

/// What an access token that was verified says, and under which generation of the signing keys that was.
struct VerifiedToken {
    keys: u64,
    claims: AccessClaims,
}

/// The public keys, as they are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// A JWK set (RFC 7517).
    pub json: String,
    /// Another one for every other set.
    pub tag: String,
}

/// The use cases of sessions.
pub struct Sessions {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) signer: Arc<dyn TokenSigner>,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) options: SessionsOptions,
    /// State by session, for [`STATE_FRESH`].
    states: Cache<SessionId, Arc<CachedState>>,
    /// Which session a cookie is; never changes while the session lives.
    cookies: Cache<Digest, SessionId>,
    /// What a verified access token says; its signature is checked once.
    tokens: Cache<Digest, Arc<VerifiedToken>>,
    /// The signing keys.
    held: HeldKeys,
    /// Sessions that ended on this node moments ago, so that a check under way cannot bring one back.
    ended: Cache<SessionId, ()>,
    /// Raised when state that many sessions show has changed (a plan, a name): older state counts no more.
    epoch: AtomicU64,
    /// When each session was last seen, until the next batch is written.
    seen: Mutex<HashMap<SessionId, Timestamp>>,
}

impl Sessions {
    /// Puts the context together.
    pub fn new(
        store: Arc<dyn Store>,
        signer: Arc<dyn TokenSigner>,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        audit: Arc<Audit>,
        options: SessionsOptions,
    ) -> Self {
        let token_life = Duration::try_from(options.access_token).unwrap_or(Duration::from_secs(900));
        Self {
            store,
            signer,
            secrets,
            clock,
            ids,
            audit,
            options,
            states: Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(STATE_FRESH)
                .build(),
            cookies: Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(Duration::from_secs(3600))
                .build(),
            tokens: Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(token_life)
                .build(),
            held: HeldKeys::default(),
            ended: Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(Duration::from_secs(10))
                .build(),
            epoch: AtomicU64::new(0),
            seen: Mutex::new(HashMap::new()),
        }
    }

    /// Lets every session's cached state be read afresh: call it after committing what that state shows.
    pub fn forget_cached_state(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// The public keys that access tokens are checked with, now or soon.
    pub fn public_keys(&self) -> PublicKeys {
        let json = self.signer.jwks(self.clock.now()).to_string();
        let tag = hex::encode(&self.secrets.digest(json.as_bytes())[..16]);
        PublicKeys { json, tag }
    }

    /// What a client is told of a live session's end, as seconds from now.
    pub fn seconds_left(&self, session: &Session) -> i64 {
        session.expires_at.duration_since(self.clock.now()).as_secs().max(0)
    }

    fn note_seen(&self, session: &Session, now: Timestamp) {
        /// A last-seen younger than this is left alone.
        const OLD: SignedDuration = SignedDuration::from_secs(60);
        if now.duration_since(session.last_seen_at) < OLD {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(session.id, now);
    }

    fn token_text(prefix: &str, secret: &[u8; 32]) -> String {
        format!("{prefix}{}", hex::encode(secret))
    }
}

/// What cannot be signed now may be later: for whoever asks it is as if the store were away.
fn no_key(error: &SigningKeyError) -> StoreError {
    StoreError::Unavailable {
        reason: error.to_string(),
    }
}
