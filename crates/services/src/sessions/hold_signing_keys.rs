//! A node holds the signing keys of the store in memory: from its start on, afresh every two seconds, and at once when
//! a token names a key that it does not know.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::SigningKey;
use anteroom_ports::accounts::UserFilter;
use anteroom_ports::{Durability, SigningKeyError, StoreError, StoreResult};
use tracing::{error, info};

use super::Sessions;

/// Why a node cannot sign or check access tokens.
#[derive(Debug, thiserror::Error)]
pub enum HoldKeysError {
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often tokens that name an unknown key may make a node look into the store. Anybody can write such tokens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Under this name the store keeps the `kid` of its first key, so that the key of former versions is taken over once
/// and never comes back.
const FIRST_KEY: &str = "first_signing_key";

/// What a node knows of the signing keys.
#[derive(Debug, Default)]
pub(super) struct HeldKeys {
    /// As they were read last.
    keys: Mutex<Vec<SigningKey>>,
    /// Raised when they have changed: what was verified before is verified again.
    generation: AtomicU64,
    /// Held while they are read.
    reading: tokio::sync::Mutex<()>,
    /// When a token with an unknown key last made this node look. Held while it looks, so that one does at a time.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

impl HeldKeys {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub(super) fn keys(&self) -> Vec<SigningKey> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sessions {
    /// Makes the first key, if the store has none, and loads all. Of many nodes that start at once, one makes it. Fails
    /// if a key cannot be used, since tokens that it signed would be refused.
    pub async fn prepare_signing_keys(&self) -> Result<(), HoldKeysError> {
        let _turn = self.held.reading.lock().await;
        let keys = self.make_first_key().await?;
        let now = self.clock.now();
        let (_, unusable) = self.hold(keys);
        let keys = self.held.keys();
        let needed = |kid: &str| {
            let key = keys.iter().find(|key| key.kid == kid);
            key.is_none_or(|key| key.verifies_at(now, self.options.access_token))
        };
        match unusable.into_iter().find(|e| e.kid().is_none_or(needed)) {
            Some(e) => Err(e.into()),
            None => Ok(()),
        }
    }

    /// The keys there are; the first one, if there was none.
    ///
    /// A store that version 0.1 filled goes on with the key that all its nodes have, so that no token that
    /// they signed, or sign while they are being replaced, is refused. Any other begins with a random one.
    pub(super) async fn make_first_key(&self) -> Result<Vec<SigningKey>, HoldKeysError> {
        let keys = self.store.read().await?.signing_keys().await?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        let now = self.clock.now();
        let fresh = self.signer.generate(self.options.signing_algorithm, now, now)?;
        let former = self.signer.former(now)?;
        let mut unit = self.store.begin(Durability::Full).await?;
        let keys = unit.lock_signing_keys().await?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        let is_first = unit.deployment_value(FIRST_KEY, &fresh.kid).await? == fresh.kid;
        let was_in_use = !unit.page_users(&UserFilter::default(), None, 1).await?.is_empty();
        let key = if is_first && was_in_use { former } else { fresh };
        unit.insert_signing_key(&key).await?;
        self.record_key(&mut *unit, "signing_key.create", Actor::System, &key.kid)
            .await?;
        unit.commit().await?;
        info!(event = "session.key.created", kid = %key.kid, algorithm = key.algorithm.as_str(), active_from = %key.active_from);
        Ok(vec![key])
    }

    /// Loads the keys of the store. Answers 0: there is never more to do at once.
    pub async fn reload_signing_keys(&self) -> StoreResult<usize> {
        // One at a time, so that what was read first is not held last.
        let _turn = self.held.reading.lock().await;
        let keys = self.store.read().await?.signing_keys().await?;
        let (changed, unusable) = self.hold(keys);
        if changed {
            for e in unusable {
                error!(event = "session.key.unusable", reason = %e);
            }
        }
        Ok(0)
    }

    /// Loads the keys because a token names one that is not known; unless that was done a moment ago.
    pub(super) async fn look_for_keys(&self) -> StoreResult<()> {
        let mut looked = self.held.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        *looked = Some(Instant::now());
        self.reload_signing_keys().await.map(|_| ())
    }

    /// Answers whether they are others than before, and why some cannot be used.
    fn hold(&self, keys: Vec<SigningKey>) -> (bool, Vec<SigningKeyError>) {
        let mut held = self.held.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let unusable = self.signer.load(&keys);
        let changed = *held != keys;
        if changed {
            *held = keys;
            // After the signer has them: what it verified before bears the older number.
            self.held.generation.fetch_add(1, Ordering::SeqCst);
        }
        (changed, unusable)
    }
}
