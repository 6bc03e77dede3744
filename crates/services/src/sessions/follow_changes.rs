//! A node hears what others have changed, and forgets what it knew of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anteroom_domain::SessionId;
use anteroom_domain::sessions::Change;
use anteroom_ports::{Durability, Listener, StoreResult};
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use super::{AuthenticateError, Sessions};

/// For how long a link that stood is relied on. With [`WATCH`] and the time in which state is fresh by itself it stays
/// below the second in which a revocation has to take hold.
const RELIED_ON: Duration = Duration::from_millis(600);

/// How often what was told is read, where the store cannot call out.
const READ_EVERY: Duration = Duration::from_millis(450);

/// How often a stream looks whether its session is live, if nothing wakes it.
pub(crate) const WATCH: Duration = Duration::from_millis(300);

/// The longest pause between two tries to listen again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whether what this node hears can be relied on.
pub(super) struct Link {
    begun: Instant,
    /// Milliseconds after `begun` until which it can; 0 if not.
    until: AtomicU64,
}

impl Link {
    pub(super) fn down() -> Self {
        Self {
            begun: Instant::now(),
            until: AtomicU64::new(0),
        }
    }

    /// Whether everything that was committed until a moment ago has been heard.
    pub(super) fn stands(&self) -> bool {
        self.millis(Instant::now()) < self.until.load(Ordering::SeqCst)
    }

    fn stood(&self, as_of: Instant) {
        self.until.store(self.millis(as_of + RELIED_ON), Ordering::SeqCst);
    }

    fn broke(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.begun);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Sessions {
    /// Listens for as long as the process runs; when the link breaks, it is made again.
    pub async fn follow_changes(&self) {
        let mut pause = Duration::from_millis(50);
        let mut known = true;
        loop {
            let mut stood = false;
            let broken = match self.follow(&mut stood, &mut known).await {
                Ok(never) => match never {},
                Err(e) => e,
            };
            self.link.broke();
            if stood {
                pause = Duration::from_millis(50);
            }
            if std::mem::take(&mut known) {
                warn!(event = "session.changes.unheard", reason = %broken);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow(&self, stood: &mut bool, known: &mut bool) -> StoreResult<std::convert::Infallible> {
        let mut ear = Ear::open(self).await?;
        // Whatever was told before this moment was told to nobody here.
        self.heard(Change::Unknown);
        loop {
            let (changes, as_of) = ear.next(self).await?;
            for change in changes {
                self.heard(change);
            }
            if let Some(as_of) = as_of {
                self.link.stood(as_of);
                if !std::mem::replace(known, true) {
                    info!(event = "session.changes.heard");
                }
                *stood = true;
            }
        }
    }

    fn heard(&self, change: Change) {
        match change {
            Change::SessionEnded(id) => self.forget_session(id),
            Change::User(id) => self.forget_user(id),
            Change::AnswerStopped(_) | Change::AnswerFollowed(_) => {
                if let Some(hear) = self.hears_of_answers.get() {
                    hear(change);
                }
            }
            Change::Models => {
                self.models.send_replace(());
            }
            Change::Unknown => {
                self.forget_cached_state();
                self.models.send_replace(());
            }
        }
    }

    /// Wakes whoever keeps the stored aliases of models when they may have changed.
    pub(crate) fn models_told(&self) -> watch::Receiver<()> {
        self.models.subscribe()
    }

    /// Whether this node has heard everything that was committed until a moment ago.
    pub(crate) fn hears(&self) -> bool {
        self.link.stands()
    }

    /// Returns when the session is no longer live. While the store is away nobody can say, so it goes on waiting.
    pub async fn wait_until_ended(&self, id: SessionId) {
        let mut changes = self.changes();
        loop {
            let _ = tokio::time::timeout(WATCH, changes.changed()).await;
            let live = self.live_session(id).await;
            if matches!(live, Err(AuthenticateError::Unauthenticated)) {
                return;
            }
        }
    }

    /// Forgets what nodes were told minutes ago.
    pub async fn purge_told(&self) -> StoreResult<usize> {
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        unit.purge_told().await?;
        unit.commit().await?;
        // All at once: there is no more to do.
        Ok(0)
    }
}

/// What a node hears with.
enum Ear {
    /// The store calls.
    Called(Box<dyn Listener>),
    /// It does not: what was told lately is read now and then, and this much is known.
    Reading { known: HashSet<Uuid>, last: Instant },
}

impl Ear {
    async fn open(sessions: &Sessions) -> StoreResult<Self> {
        Ok(match sessions.store.listen().await? {
            Some(listener) => Self::Called(listener),
            None => {
                let last = Instant::now();
                let told = sessions.store.read().await?.told_lately().await?;
                Self::Reading {
                    known: told.into_iter().map(|(id, _)| id).collect(),
                    last,
                }
            }
        })
    }

    async fn next(&mut self, sessions: &Sessions) -> StoreResult<(Vec<Change>, Option<Instant>)> {
        match self {
            Self::Called(listener) => {
                let heard = listener.next().await?;
                Ok((heard.changes, heard.as_of))
            }
            Self::Reading { known, last } => {
                tokio::time::sleep_until((*last + READ_EVERY).into()).await;
                *last = Instant::now();
                let told = sessions.store.read().await?.told_lately().await?;
                let news = told.iter().filter(|(id, _)| !known.contains(id));
                let news = news.map(|(_, change)| *change).collect();
                *known = told.into_iter().map(|(id, _)| id).collect();
                Ok((news, Some(*last)))
            }
        }
    }
}
