//! Signing keys are exchanged: on schedule, or because an operator says so.

use anteroom_domain::Timestamp;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{
    KeyState, PUBLISHED_BEFORE, SigningAlgorithm, SigningKey, next_is_due, states_at, succession,
};
use anteroom_ports::{Durability, SigningKeyError, StoreError, StoreResult, UnitOfWork};
use tracing::info;

use super::{HoldKeysError, Sessions, no_key};
use crate::audit::Act;
use crate::{Client, later};

/// What an operator asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct RotateKeys {
    /// How the new key signs; as configured if nothing is said.
    pub algorithm: Option<SigningAlgorithm>,
    /// Whether it signs at once. Services that check tokens by themselves refuse its tokens until they fetch the public
    /// keys again.
    pub at_once: bool,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum RotateKeysError {
    /// It could not be made.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HoldKeysError> for RotateKeysError {
    fn from(error: HoldKeysError) -> Self {
        match error {
            HoldKeysError::Key(e) => Self::Key(e),
            HoldKeysError::Store(e) => Self::Store(e),
        }
    }
}

impl Sessions {
    /// Makes a new key. It is published at once, and takes over when everybody has had the time to fetch it. The keys
    /// before it go on verifying until the tokens that they signed have expired.
    pub async fn rotate_signing_key(&self, ask: RotateKeys) -> Result<SigningKey, RotateKeysError> {
        self.make_first_key().await?;
        let now = self.clock.now();
        let algorithm = ask.algorithm.unwrap_or(self.options.signing_algorithm);
        let mut key = self.signer.generate(algorithm, now, later(now, PUBLISHED_BEFORE))?;
        let mut unit = self.store.begin(Durability::Full).await?;
        let keys = unit.lock_signing_keys().await?;
        if ask.at_once {
            key.active_from = now;
        }
        enqueue(&mut *unit, &keys, &mut key).await?;
        self.record_key(&mut *unit, "signing_key.create", Actor::Operator, &key.kid)
            .await?;
        unit.commit().await?;
        self.tell_of_key(&key).await;
        Ok(key)
    }

    /// Makes the next key if it is due, and deletes keys whose last token has expired. Answers 0: there is never more to
    /// do at once.
    pub async fn tend_signing_keys(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let (due, over) = (self.is_due(&self.held.keys(), now), self.has_outlived(now));
        if due || self.held.keys().iter().any(&over) {
            let next = self
                .signer
                .generate(self.options.signing_algorithm, now, later(now, PUBLISHED_BEFORE));
            let mut next = next.map_err(|e| no_key(&e))?;
            let mut unit = self.store.begin(Durability::Full).await?;
            // What this node holds may be old: another one may have done it.
            let keys = unit.lock_signing_keys().await?;
            let due = self.is_due(&keys, now);
            if due {
                enqueue(&mut *unit, &keys, &mut next).await?;
                self.record_key(&mut *unit, "signing_key.create", Actor::System, &next.kid)
                    .await?;
            }
            let outlived: Vec<&SigningKey> = keys.iter().filter(|key| over(key)).collect();
            for key in &outlived {
                unit.delete_signing_key(&key.kid).await?;
                self.record_key(&mut *unit, "signing_key.delete", Actor::System, &key.kid)
                    .await?;
            }
            unit.commit().await?;
            for key in outlived {
                info!(event = "session.key.deleted", kid = %key.kid);
            }
            if due {
                self.tell_of_key(&next).await;
            }
        }
        Ok(0)
    }

    /// All keys, oldest first, with what each is good for.
    pub async fn list_signing_keys(&self) -> StoreResult<Vec<(SigningKey, KeyState)>> {
        let keys = self.store.read().await?.signing_keys().await?;
        let states = states_at(&keys, self.clock.now(), self.options.access_token);
        Ok(keys.into_iter().zip(states).collect())
    }

    fn is_due(&self, keys: &[SigningKey], now: Timestamp) -> bool {
        let rotation = self.options.key_rotation;
        rotation.is_some_and(|rotation| next_is_due(keys, rotation, now))
    }

    fn has_outlived(&self, now: Timestamp) -> impl Fn(&SigningKey) -> bool {
        let life = self.options.access_token;
        move |key| key.outlived_at(now, life)
    }

    /// The audit log's row on what was done to a key.
    pub(super) async fn record_key(
        &self,
        unit: &mut dyn UnitOfWork,
        act: &'static str,
        actor: Actor,
        kid: &str,
    ) -> StoreResult<()> {
        let host = Client::default();
        let act = Act::succeeded(act, actor, &host).detail("kid", kid);
        self.audit.record(unit, act).await
    }

    /// Says that there is a new key, and loads it on this node.
    pub(super) async fn tell_of_key(&self, key: &SigningKey) {
        info!(event = "session.key.created", kid = %key.kid, algorithm = key.algorithm.as_str(), active_from = %key.active_from);
        // If the store has gone away since the commit, the job that reloads will find the key.
        let _ = self.reload_signing_keys().await;
    }
}

/// Puts a new key into the row of the others, under their lock.
pub(super) async fn enqueue(unit: &mut dyn UnitOfWork, keys: &[SigningKey], new: &mut SigningKey) -> StoreResult<()> {
    let plan = succession(keys, new.active_from);
    for kid in &plan.retire {
        unit.retire_signing_key(kid, new.active_from).await?;
    }
    new.retired_at = plan.retired_at;
    unit.insert_signing_key(new).await
}
