//! A signing key that somebody else may have is taken out of use.

use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{SigningKey, replacement_needed};
use anteroom_ports::{Durability, SigningKeyError, StoreError};
use tracing::warn;

use super::Sessions;
use super::rotate_signing_keys::enqueue;

/// Why no key was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeKeyError {
    /// There is no such key.
    #[error("there is no signing key `{0}`; `anteroom keys list` shows those there are")]
    Unknown(String),
    /// It was revoked before.
    #[error("the signing key `{0}` has been revoked before")]
    Already(String),
    /// The key to replace it could not be made.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Ends every token that was signed with a key, on every node within seconds. Sessions live on: clients get a new
    /// token with their refresh token. If the key was needed, another one takes its place at once, in the same commit;
    /// that one is the answer then.
    pub async fn revoke_signing_key(&self, kid: &str) -> Result<Option<SigningKey>, RevokeKeyError> {
        let now = self.clock.now();
        let mut new = self.signer.generate(self.options.signing_algorithm, now, now)?;
        let mut unit = self.store.begin(Durability::Full).await?;
        let mut keys = unit.lock_signing_keys().await?;
        let key = keys.iter_mut().find(|key| key.kid == kid);
        let key = key.ok_or_else(|| RevokeKeyError::Unknown(kid.to_owned()))?;
        if !unit.revoke_signing_key(kid, now).await? {
            return Err(RevokeKeyError::Already(kid.to_owned()));
        }
        key.revoked_at = Some(now);
        self.record_key(&mut *unit, "signing_key.revoke", Actor::Operator, kid)
            .await?;
        let replaced = replacement_needed(&keys, now);
        if replaced {
            enqueue(&mut *unit, &keys, &mut new).await?;
            self.record_key(&mut *unit, "signing_key.create", Actor::Operator, &new.kid)
                .await?;
        }
        unit.commit().await?;
        warn!(event = "session.key.revoked", %kid);
        if replaced {
            self.tell_of_key(&new).await;
            return Ok(Some(new));
        }
        // As above: the job will, if the store is away now.
        let _ = self.reload_signing_keys().await;
        Ok(None)
    }
}
