//! Sessions: starting, checking, renewing and ending them.

mod authenticate;
mod end_sessions;
mod end_sessions_of_user;
mod follow_changes;
mod hold_signing_keys;
mod list_sessions;
mod log_out;
mod refresh_session;
mod revoke_other_sessions;
mod revoke_session;
mod revoke_session_by_link;
mod revoke_signing_key;
mod rotate_signing_keys;
mod start_session;
mod tend_sessions;

pub(crate) use follow_changes::WATCH;

pub use authenticate::{AuthenticateError, Credential};
pub use end_sessions_of_user::EndSessionsError;
pub use hold_signing_keys::HoldKeysError;
pub use refresh_session::RefreshError;
pub use revoke_session::RevokeError;
pub use revoke_session_by_link::RevokeByLinkError;
pub use revoke_signing_key::RevokeKeyError;
pub use rotate_signing_keys::{RotateKeys, RotateKeysError};
pub use start_session::StartError;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anteroom_domain::accounts::User;
use anteroom_domain::billing::Holdings;
use anteroom_domain::sessions::{AccessClaims, Change, EndReason, Session, SessionLimit, SigningAlgorithm};
use anteroom_domain::{SessionId, Timestamp, UserId};
use anteroom_ports::{Clock, Digest, Ids, Secrets, SigningKeyError, Store, StoreError, TokenSigner};
use jiff::SignedDuration;
use moka::sync::Cache;
use secrecy::SecretString;
use tokio::sync::watch;
use tracing::info;

use crate::{Audit, Webhooks};
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
    /// How long a session lives unused, where that ends it.
    pub idle: Option<SignedDuration>,
    /// How many a user may have at once, where that is limited.
    pub limit: Option<SessionLimit>,
}

/// A session that is live, with what most requests want to know beside it.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// Whose it is.
    pub user: User,
    /// The session.
    pub session: Session,
    /// What its user pays for, and was granted.
    pub holdings: Holdings,
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
    /// Sessions that had to end for it.
    pub(crate) evicted: Vec<SessionId>,
    /// Whether it was started on a device, or in a country, that the user had not been seen on.
    pub(crate) on_new_device: bool,
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

/// For how long a session's state is taken for granted, whatever this node hears of others or does not: less than half
/// of the second in which a revocation has to take hold everywhere.
const STATE_FRESH: Duration = Duration::from_millis(450);

/// For how long it is while this node hears what others change.
pub(crate) const STATE_KEPT: Duration = Duration::from_secs(30);

/// Entries per cache; what is beyond is looked up again. About 1 kB each.
pub(crate) const CACHE_ENTRIES: u64 = 20_000;

struct CachedState {
    mark: Mark,
    state: Arc<LiveSession>,
}

/// When something was read of a user, against what may have changed of them since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// The number of changes that were known when reading it began.
    epoch: u64,
    /// When that was.
    read_at: Instant,
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
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) options: SessionsOptions,
    /// State by session, for [`STATE_FRESH`], or for [`STATE_KEPT`] while the link stands.
    states: Cache<SessionId, Arc<CachedState>>,
    /// Which session a cookie is; never changes while the session lives.
    cookies: Cache<Digest, SessionId>,
    /// What a verified access token says; its signature is checked once.
    tokens: Cache<Digest, Arc<VerifiedToken>>,
    /// The signing keys.
    held: HeldKeys,
    /// Sessions that ended on this node moments ago, so that a check under way cannot bring one back.
    ended: Cache<SessionId, ()>,
    /// Counts changes of what sessions show (a plan, a name).
    epoch: AtomicU64,
    /// State that was read before this many changes counts no more.
    floor: AtomicU64,
    /// The same for one user's sessions; longer than any state of theirs is kept.
    floors: Cache<UserId, u64>,
    /// Whether this node hears what others change.
    link: follow_changes::Link,
    /// Wakes whoever waits for the end of a session.
    changes: watch::Sender<()>,
    /// Wakes whoever keeps the stored aliases of models.
    models: watch::Sender<()>,
    /// Who hears what is told of answers.
    hears_of_answers: OnceLock<Box<dyn Fn(Change) + Send + Sync>>,
    /// When each session was last seen, until the next batch is written.
    seen: Mutex<HashMap<SessionId, Timestamp>>,
}

impl Sessions {
    /// Puts the context together.
    #[expect(clippy::too_many_arguments, reason = "each is a port or a context of its own")]
    pub fn new(
        store: Arc<dyn Store>,
        signer: Arc<dyn TokenSigner>,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        audit: Arc<Audit>,
        webhooks: Arc<Webhooks>,
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
            webhooks,
            options,
            states: Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(STATE_KEPT)
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
            floor: AtomicU64::new(0),
            floors: Cache::builder()
                .max_capacity(5 * CACHE_ENTRIES)
                .time_to_live(2 * STATE_KEPT)
                .build(),
            link: follow_changes::Link::down(),
            changes: watch::channel(()).0,
            models: watch::channel(()).0,
            hears_of_answers: OnceLock::new(),
            seen: Mutex::new(HashMap::new()),
        }
    }

    /// Who hears what other nodes tell of answers. The first to ask does.
    pub(crate) fn hear_of_answers(&self, hear: impl Fn(Change) + Send + Sync + 'static) {
        let _ = self.hears_of_answers.set(Box::new(hear));
    }

    /// Lets every session's cached state be read afresh on this node: call it after committing what that state shows.
    /// Where it is known whose that is, [`Sessions::forget_user`] costs less. Other nodes are told by the store.
    pub fn forget_cached_state(&self) {
        let changes = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        self.floor.fetch_max(changes, Ordering::SeqCst);
        self.changes.send_replace(());
    }

    /// The same for the sessions of one user.
    pub fn forget_user(&self, id: UserId) {
        let changes = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        self.floors.insert(id, changes);
        self.changes.send_replace(());
    }

    /// To be taken before something is read of a user that is kept in memory.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            epoch: self.epoch.load(Ordering::SeqCst),
            read_at: Instant::now(),
        }
    }

    /// Whether what was read of a user then may still be taken for granted.
    pub(crate) fn current(&self, mark: Mark, user: UserId) -> bool {
        // No floor is above the epoch, so that mostly there is nothing to look up.
        let unchanged = || {
            let floor = self.floor.load(Ordering::SeqCst);
            let floor = self.floors.get(&user).map_or(floor, |own| own.max(floor));
            mark.epoch >= floor
        };
        let unchanged = mark.epoch >= self.epoch.load(Ordering::SeqCst) || unchanged();
        unchanged && (mark.read_at.elapsed() < STATE_FRESH || self.link.stands())
    }

    /// Wakes whoever waits for the end of what somebody asks with.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The public keys that access tokens are checked with, now or soon.
    pub fn public_keys(&self) -> PublicKeys {
        let json = self.signer.jwks(self.clock.now()).to_string();
        let tag = hex::encode(&self.secrets.digest(json.as_bytes())[..16]);
        PublicKeys { json, tag }
    }

    /// How many entries each cache holds, with what was queued within it done: 20,000 at most, and five times
    /// as many users.
    pub fn entries_kept(&self) -> [(&'static str, u64); 5] {
        fn count<K, V>(cache: &Cache<K, V>) -> u64
        where
            K: std::hash::Hash + Eq + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            cache.run_pending_tasks();
            cache.entry_count()
        }
        [
            ("states", count(&self.states)),
            ("cookies", count(&self.cookies)),
            ("tokens", count(&self.tokens)),
            ("ended", count(&self.ended)),
            ("users", count(&self.floors)),
        ]
    }

    /// What a client is told of a live session's end, as seconds from now.
    pub fn seconds_left(&self, session: &Session) -> i64 {
        session.expires_at.duration_since(self.clock.now()).as_secs().max(0)
    }

    /// Whether a session opens doors at this time: it has not ended, and neither of its lifetimes is over.
    pub(crate) fn in_force(&self, session: &Session, now: Timestamp) -> bool {
        session.live_at(now) && !session.idle_at(now, self.options.idle)
    }

    /// Makes this node forget sessions that have just ended, against checks that are under way too, and says so. Call
    /// it after the commit.
    pub(crate) fn ended_now(&self, ids: &[SessionId], user: UserId, reason: EndReason) {
        for id in ids {
            self.forget_session(*id);
            info!(event = "session.ended", session_id = %id, user_id = %user, reason = reason.as_str());
        }
    }

    /// Makes this node forget a session that has ended, against checks that are under way too.
    pub(crate) fn forget_session(&self, id: SessionId) {
        self.ended.insert(id, ());
        self.states.invalidate(&id);
        self.changes.send_replace(());
    }

    /// The session, with the use that this node has noted and not written down yet.
    pub(super) fn as_last_seen(&self, mut session: Session) -> Session {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = seen.get(&session.id) {
            session.last_seen_at = session.last_seen_at.max(*at);
        }
        session
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
