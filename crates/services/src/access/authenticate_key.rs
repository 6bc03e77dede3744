//! Which key is this? Answered from memory when the same was asked moments ago, and what every node is told of its owner
//! makes it look again, as for sessions (`sessions/authenticate.rs`).

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::access::{KeySecret, is_api_key};
use anteroom_domain::billing::Owner;
use anteroom_ports::Digest;

use super::{Access, CachedKey, LiveKey, Principal};
use crate::sessions::{AuthenticateError, WATCH};

impl Access {
    /// The answer from memory alone: `None` where the store has to be asked.
    pub fn key_cached(&self, text: &str) -> Option<Arc<LiveKey>> {
        if !is_api_key(text) {
            return None;
        }
        self.cached(&self.secrets.digest(text.as_bytes()))
    }

    /// The live key with this text. What is no key, by its form or its checksum, is told from one without the store.
    pub async fn key(&self, text: &str) -> Result<Arc<LiveKey>, AuthenticateError> {
        if !is_api_key(text) {
            return Err(AuthenticateError::Unauthenticated);
        }
        self.live_key(self.secrets.digest(text.as_bytes())).await
    }

    async fn live_key(&self, digest: Digest) -> Result<Arc<LiveKey>, AuthenticateError> {
        if let Some(live) = self.cached(&digest) {
            return Ok(live);
        }
        let mark = self.sessions.mark();
        let mut reads = self.store.read().await?;
        let found = reads.api_key_by_secret(&digest).await?;
        let (key, KeySecret { ends_at }, user) = found.ok_or(AuthenticateError::Unauthenticated)?;
        // An account that is closed, or about to be erased, is not used by programs either. Should its owner come back,
        // its keys do.
        if !user.usable() || user.delete_after.is_some() {
            return Err(AuthenticateError::Unauthenticated);
        }
        let holdings = reads.holdings_of(Owner::account(user.id), self.clock.now()).await?;
        drop(reads);
        let live = Arc::new(LiveKey {
            user,
            key,
            holdings,
            digest,
            ends_at,
        });
        if !self.in_force(&live) {
            return Err(AuthenticateError::Unauthenticated);
        }
        self.note_used(&live.key);
        let cached = CachedKey {
            mark,
            live: Arc::clone(&live),
        };
        self.keys.insert(digest, Arc::new(cached));
        Ok(live)
    }

    fn cached(&self, digest: &Digest) -> Option<Arc<LiveKey>> {
        let cached = self.keys.get(digest)?;
        let current = self.sessions.current(cached.mark, cached.live.user.id);
        (current && self.in_force(&cached.live)).then(|| Arc::clone(&cached.live))
    }

    /// Whether the clock lets the key and its secret open doors.
    fn in_force(&self, live: &LiveKey) -> bool {
        let now = self.clock.now();
        let secret = KeySecret { ends_at: live.ends_at };
        live.key.live_at(now) && secret.live_at(now)
    }

    /// Returns when what somebody asks with no longer opens this: the session has ended, the key has, or may not be used
    /// for that, or with the model if there is one, any more. While the store is away nobody can say, so it goes on waiting.
    pub async fn wait_until_ended(&self, who: &Principal, model: Option<&str>) {
        let (begun, scope) = match who {
            Principal::Session(live) => return self.sessions.wait_until_ended(live.session.id).await,
            Principal::Key(live, scope) => (live, *scope),
        };
        let mut changes = self.sessions.changes();
        loop {
            let _ = tokio::time::timeout(self.pause(begun), changes.changed()).await;
            match self.live_key(begun.digest).await {
                Ok(live) if live.key.may(scope) && model.is_none_or(|model| live.key.allows(model)) => {}
                Ok(_) | Err(AuthenticateError::Unauthenticated) => return,
                Err(AuthenticateError::Store(_)) => {}
            }
        }
    }

    /// How long a stream waits before it looks again: not past the end of its key.
    fn pause(&self, live: &LiveKey) -> Duration {
        let now = self.clock.now();
        let ends = [live.ends_at, live.key.expires_at].into_iter().flatten().min();
        let left = ends.and_then(|end| Duration::try_from(end.duration_since(now)).ok());
        left.filter(|left| !left.is_zero())
            .map_or(WATCH, |left| left.min(WATCH))
    }
}
