//! A user exchanges a key's secret. The old one goes on for a while, so that no program stands still.

use anteroom_domain::ApiKeyId;
use anteroom_domain::access::{MAX_LIVE_SECRETS, api_key_hint, api_key_text};
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use tracing::info;

use super::{Access, CreatedKey};
use crate::accounts::{FieldFault, SessionOver};
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::{KeyAct, Letter};
use crate::{Client, later};

/// For how long the old secret works where nothing is said.
pub const DEFAULT_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// The longest that it may.
pub const MAX_OVERLAP: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Why nothing was exchanged.
#[derive(Debug, thiserror::Error)]
pub enum RotateKeyError {
    /// There is no such key, or it is somebody else's.
    #[error("there is no such API key")]
    NotFound,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// It was exchanged often already, and the secrets before still work.
    #[error(
        "{MAX_LIVE_SECRETS} secrets of this key work already; wait until one has ended, or end all of them at once \
         with `overlap_seconds` 0"
    )]
    TooMany,
    /// The session has ended meanwhile.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Gives a key a new secret and tells its owner by mail. Those before end after the overlap, or when they would have
    /// before; with an overlap of zero all of them at once.
    pub async fn rotate_api_key(
        &self,
        live: &LiveSession,
        id: ApiKeyId,
        overlap: SignedDuration,
        client: &Client,
    ) -> Result<CreatedKey, RotateKeyError> {
        if overlap.is_negative() || overlap > MAX_OVERLAP {
            return Err(RotateKeyError::Refused(vec![FieldFault {
                field: "overlap_seconds",
                code: "invalid_overlap",
                detail: format!("0 to {} seconds", MAX_OVERLAP.as_secs()),
            }]));
        }
        let now = self.clock.now();
        let ends_at = later(now, overlap);
        let text = api_key_text(&self.ids.secret());
        let digest = self.secrets.digest(text.expose_secret().as_bytes());
        let mut unit = self.store.begin(Durability::Full).await?;
        let owner = self.lock_owner::<RotateKeyError>(&mut *unit, live).await?;
        let mut key = unit.api_key(owner.id, id).await?.ok_or(RotateKeyError::NotFound)?;
        key.hint = api_key_hint(&text);
        key.rotated = Some((now, ends_at));
        if unit.rotate_api_key(&key, &digest, now, ends_at).await? > MAX_LIVE_SECRETS {
            return Err(RotateKeyError::TooMany);
        }
        if !unit.update_api_key(&key).await? {
            return Err(RotateKeyError::NotFound);
        }
        let letter = Letter::of_api_key(KeyAct::Rotated { until: ends_at }, &key, client, now);
        self.webhooks.tell(&mut *unit, &owner, letter).await?;
        let act = Act::succeeded("api_key.rotate", Actor::User(owner.id), client)
            .subject(owner.id)
            .session(live.session.id)
            .detail("key_id", id.to_string())
            .detail("overlap_seconds", overlap.as_secs());
        self.audit.record(&mut *unit, act).await?;
        // Before the commit: after it nothing may fail, since the secret is told this once.
        let state = self.state_of(&mut *unit, key, now).await?;
        unit.commit().await?;
        self.sessions.forget_user(owner.id);
        info!(event = "api_key.rotated", user_id = %owner.id, api_key_id = %id, session_id = %live.session.id);
        Ok(CreatedKey { state, text })
    }
}
