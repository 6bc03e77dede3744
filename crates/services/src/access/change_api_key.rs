//! A user changes what a key may do. Its secret stays.

use anteroom_domain::ApiKeyId;
use anteroom_domain::access::ApiKey;
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::create_api_key::scope_words;
use super::{Access, ChangeApiKey, KeyState, key_fields};
use crate::Client;
use crate::accounts::{FieldFault, SessionOver};
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::{KeyAct, Letter};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeKeyError {
    /// There is no such key, or it is somebody else's.
    #[error("there is no such API key")]
    NotFound,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The session has ended meanwhile.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Changes a key. The owner is told by mail, unless it is the name alone that has changed; what is so already is no
    /// change, and leaves no trace.
    pub async fn change_api_key(
        &self,
        live: &LiveSession,
        id: ApiKeyId,
        change: ChangeApiKey,
        client: &Client,
    ) -> Result<KeyState, ChangeKeyError> {
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let owner = self.lock_owner::<ChangeKeyError>(&mut *unit, live).await?;
        let before = unit.api_key(owner.id, id).await?.ok_or(ChangeKeyError::NotFound)?;
        let mut key = before.clone();
        key_fields::apply(&mut key, change, now).map_err(ChangeKeyError::Refused)?;
        let changed = key != before;
        if changed {
            if !unit.update_api_key(&key).await? {
                return Err(ChangeKeyError::NotFound);
            }
            let renamed = ApiKey {
                name: key.name.clone(),
                ..before.clone()
            };
            if key != renamed {
                let letter = Letter::of_api_key(KeyAct::Changed, &key, client, now);
                self.webhooks.tell(&mut *unit, &owner, letter).await?;
            }
            let act = Act::succeeded("api_key.change", Actor::User(owner.id), client)
                .subject(owner.id)
                .session(live.session.id)
                .detail("key_id", id.to_string())
                .detail("scopes", scope_words(&key));
            self.audit.record(&mut *unit, act).await?;
        }
        let state = self.state_of(&mut *unit, key, now).await?;
        if changed {
            unit.commit().await?;
            self.sessions.forget_user(owner.id);
            info!(event = "api_key.changed", user_id = %owner.id, api_key_id = %id, session_id = %live.session.id);
        }
        Ok(state)
    }
}
