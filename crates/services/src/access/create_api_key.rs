//! A user makes a key for their programs.

use anteroom_domain::ApiKeyId;
use anteroom_domain::access::{ApiKey, Scope, api_key_hint, api_key_text};
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::info;

use super::{Access, ChangeApiKey, KeyState, key_fields};
use crate::Client;
use crate::accounts::{FieldFault, SessionOver};
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::{KeyAct, Letter};

/// A key, and its secret, which is told this once.
#[derive(Debug)]
pub struct CreatedKey {
    /// The key.
    pub state: KeyState,
    /// Its text.
    pub text: SecretString,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The account has as many as it may.
    #[error("the account has {limit} API keys, and may have no more; delete one first")]
    TooMany {
        /// How many that is.
        limit: usize,
    },
    /// The session has ended meanwhile.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// Makes a key, tells its owner by mail, and answers it with its secret, of which only the digest is kept.
    pub async fn create_api_key(
        &self,
        live: &LiveSession,
        said: ChangeApiKey,
        client: &Client,
    ) -> Result<CreatedKey, CreateKeyError> {
        let now = self.clock.now();
        let text = api_key_text(&self.ids.secret());
        let mut key = ApiKey {
            id: ApiKeyId(self.ids.uuid()),
            user_id: live.user.id,
            name: String::new(),
            hint: api_key_hint(&text),
            scopes: Scope::DEFAULT.to_vec(),
            models: None,
            budget: None,
            requests_per_minute: None,
            created_at: now,
            expires_at: None,
            last_used_at: None,
            rotated: None,
        };
        key_fields::apply(&mut key, said, now).map_err(CreateKeyError::Refused)?;
        let digest = self.secrets.digest(text.expose_secret().as_bytes());

        let mut unit = self.store.begin(Durability::Full).await?;
        // Under the owner's lock, so that of parallel tries none passes the limit.
        let owner = self.lock_owner::<CreateKeyError>(&mut *unit, live).await?;
        let limit = self.options.max_keys;
        let live_keys = unit.count_api_keys(owner.id, now).await?;
        if usize::try_from(live_keys).is_ok_and(|n| n >= limit) {
            return Err(CreateKeyError::TooMany { limit });
        }
        unit.insert_api_key(&key, &digest).await?;
        let letter = Letter::of_api_key(KeyAct::Created, &key, client, now);
        self.webhooks.tell(&mut *unit, &owner, letter).await?;
        let act = Act::succeeded("api_key.create", Actor::User(owner.id), client)
            .subject(owner.id)
            .session(live.session.id)
            .detail("key_id", key.id.to_string())
            .detail("scopes", scope_words(&key));
        self.audit.record(&mut *unit, act).await?;
        // Before the commit: after it nothing may fail, since the secret is told this once.
        let state = self.state_of(&mut *unit, key, now).await?;
        unit.commit().await?;
        info!(event = "api_key.created", user_id = %owner.id, api_key_id = %state.key.id, session_id = %live.session.id);
        Ok(CreatedKey { state, text })
    }
}

/// What a key may be used for, as it is recorded.
pub(super) fn scope_words(key: &ApiKey) -> String {
    key.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ")
}
