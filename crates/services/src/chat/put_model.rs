//! An admin, or the operator, stores an alias of a model: a new one, or one over another of its name, be that stored or
//! the configuration's.

use anteroom_domain::AliasVersion;
use anteroom_domain::audit::Actor;
use anteroom_domain::chat::{AliasMistake, Known, MAX_STORED_ALIASES, ModelAlias, StoredAlias};
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::{Chat, ModelDetails};
use crate::Client;
use crate::accounts::may_still_act;
use crate::audit::Act;

/// What a change was made against, so that nobody writes over what they have not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever is stored now.
    #[default]
    Anything,
    /// Something is stored, whatever it is.
    Something,
    /// Nothing is stored under that name.
    Nothing,
    /// That state.
    Version(AliasVersion),
}

impl Expected {
    pub(super) fn holds(self, stored: Option<&StoredAlias>) -> bool {
        match self {
            Self::Anything => true,
            Self::Something => stored.is_some(),
            Self::Nothing => stored.is_none(),
            Self::Version(version) => stored.is_some_and(|it| it.version == version),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct PutModel {
    /// The alias as it is now.
    pub model: ModelDetails,
    /// Whether none was stored under that name before.
    pub created: bool,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum PutModelError {
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// The alias cannot be used.
    #[error("the model was refused")]
    Refused(Vec<AliasMistake>),
    /// Something else is stored than the change was made against.
    #[error("the model was changed meanwhile; look at it again")]
    Changed,
    /// There are as many as there may be.
    #[error("{MAX_STORED_ALIASES} models are stored, and there cannot be more; delete one")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Chat {
    /// Stores an alias. In force on this node when it returns, on the others within a second; calls that run go on with
    /// what they began with. What is so already is no change, and leaves no trace.
    pub async fn put_model(
        &self,
        alias: ModelAlias,
        enabled: bool,
        expected: Expected,
        actor: Actor,
        client: &Client,
    ) -> Result<PutModel, PutModelError> {
        let (providers, plans) = (self.targets.names(), self.plan_keys());
        let mistakes = alias.mistakes(Known {
            providers: &providers,
            plans: &plans,
        });
        if !mistakes.is_empty() {
            return Err(PutModelError::Refused(mistakes));
        }
        let name = alias.name.clone();
        let mut unit = self.store.begin(Durability::Full).await?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(PutModelError::Forbidden);
        }
        let all = unit.lock_stored_aliases().await?;
        let before = all.iter().find(|it| it.name == name);
        if !expected.holds(before) {
            return Err(PutModelError::Changed);
        }
        if before.is_none() && all.len() >= MAX_STORED_ALIASES {
            return Err(PutModelError::TooMany);
        }
        let is_so = |it: &StoredAlias| it.enabled == enabled && it.alias.as_ref() == Ok(&alias);
        let created = before.is_none();
        if before.is_some_and(is_so) {
            drop(unit);
        } else {
            let now = self.clock.now();
            let targets: Vec<String> = alias
                .targets
                .iter()
                .map(|t| format!("{}/{}", t.provider, t.model))
                .collect();
            let mut act = Act::succeeded("model.put", actor, client)
                .detail("model", name.as_str())
                .detail("targets", targets)
                .detail("enabled", enabled)
                .detail("replaced", before.is_some());
            if let Some(plans) = &alias.plans {
                act = act.detail("plans", plans.clone());
            }
            let stored = StoredAlias {
                name: name.clone(),
                version: AliasVersion(self.ids.uuid()),
                enabled,
                alias: Ok(alias),
                created_at: before.map_or(now, |it| it.created_at),
                updated_at: now,
            };
            unit.put_stored_alias(&stored).await?;
            self.audit.record(&mut *unit, act).await?;
            unit.commit().await?;
            info!(event = "chat.model.stored", model = name, enabled, by = %actor);
            self.take_up_models().await;
        }
        Ok(PutModel {
            model: self.shown(&name).await?,
            created,
        })
    }

    /// Takes up on this node what was just committed.
    pub(super) async fn take_up_models(&self) {
        // If the store has gone away since the commit, the job that follows the models will find it.
        let _ = self.load_models().await;
    }
}
