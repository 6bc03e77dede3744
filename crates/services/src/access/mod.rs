//! API keys: making, checking, exchanging and ending them; and who is asking, whether by session or by key.
//!
//! A key never opens more than its owner may: their plan, quotas and caps are asked first, then the key's own limits.

mod authenticate_key;
mod change_api_key;
mod create_api_key;
mod delete_api_key;
mod key_fields;
mod list_api_keys;
mod principal;
mod rotate_api_key;
mod tend_api_keys;

pub use change_api_key::ChangeKeyError;
pub use create_api_key::{CreateKeyError, CreatedKey};
pub use delete_api_key::DeleteKeyError;
pub use key_fields::{ChangeApiKey, NewBudget};
pub use list_api_keys::{KeyState, ListKeysError};
pub use principal::Principal;
pub use rotate_api_key::{DEFAULT_OVERLAP, MAX_OVERLAP, RotateKeyError};

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anteroom_domain::access::ApiKey;
use anteroom_domain::accounts::User;
use anteroom_domain::billing::Holdings;
use anteroom_domain::{ApiKeyId, Timestamp};
use anteroom_ports::{Clock, Digest, Ids, Secrets, Store, StoreError, UnitOfWork};
use moka::sync::Cache;

use crate::accounts::SessionOver;
use crate::sessions::{CACHE_ENTRIES, LiveSession, Mark, STATE_KEPT};
use crate::{Audit, Sessions, Webhooks};

/// What the operator can set.
#[derive(Debug, Clone, Copy)]
pub struct AccessOptions {
    /// How many keys that have not expired an account may have.
    pub max_keys: usize,
}

/// A key that is in force, with what most requests want to know beside it.
#[derive(Debug, Clone)]
pub struct LiveKey {
    /// Whose it is.
    pub user: User,
    /// The key.
    pub key: ApiKey,
    /// What its owner pays for, and was granted.
    pub holdings: Holdings,
    /// Which of its secrets was presented.
    digest: Digest,
    /// When that secret ends, if it was exchanged.
    ends_at: Option<Timestamp>,
}

struct CachedKey {
    mark: Mark,
    live: Arc<LiveKey>,
}

/// The use cases of API keys.
pub struct Access {
    store: Arc<dyn Store>,
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    sessions: Arc<Sessions>,
    webhooks: Arc<Webhooks>,
    audit: Arc<Audit>,
    options: AccessOptions,
    /// Keys by the digest of a secret, for as long as the state of sessions is kept.
    keys: Cache<Digest, Arc<CachedKey>>,
    /// When each key was last used, until the next batch is written.
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
}

impl Access {
    /// Puts the context together.
    #[expect(clippy::too_many_arguments, reason = "each is a port or a context of its own")]
    pub fn new(
        store: Arc<dyn Store>,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        sessions: Arc<Sessions>,
        webhooks: Arc<Webhooks>,
        audit: Arc<Audit>,
        options: AccessOptions,
    ) -> Self {
        Self {
            store,
            secrets,
            clock,
            ids,
            sessions,
            webhooks,
            audit,
            options,
            keys: Cache::builder()
                .max_capacity(CACHE_ENTRIES)
                .time_to_live(STATE_KEPT)
                .build(),
            used: Mutex::default(),
        }
    }

    /// The sessions, whose link to other nodes is this node's only one.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How many keys are kept in memory: 20,000 at most.
    pub fn keys_kept(&self) -> u64 {
        self.keys.run_pending_tasks();
        self.keys.entry_count()
    }

    /// The user of a session, locked. Who is let in is known for a while, and a key outlives the session that makes it,
    /// so this looks again, where nothing that ends sessions can pass it.
    async fn lock_owner<E>(&self, unit: &mut dyn UnitOfWork, live: &LiveSession) -> Result<User, E>
    where
        E: From<StoreError> + From<SessionOver>,
    {
        let user = unit.lock_user(live.user.id).await?.filter(User::usable);
        let session = unit.session(live.session.id).await?;
        let good = session.is_some_and(|(session, _)| self.sessions.in_force(&session, self.clock.now()));
        user.filter(|_| good).ok_or_else(|| SessionOver.into())
    }
}
