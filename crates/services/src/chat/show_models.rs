//! All aliases of models, as admins are shown them: those of the configuration, those that are stored, and how each does.

use anteroom_domain::billing::ModelPrice;
use anteroom_domain::chat::{BreakerState, ModelAlias, StoredAlias, Target};
use anteroom_domain::{AliasVersion, Timestamp};
use anteroom_ports::{StoreError, StoreResult};

use super::Chat;

/// A target, as admins are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetDetails {
    /// The target, with its own price.
    pub target: Target,
    /// What its tokens are taken to cost: its own price, else that of `[[ai.prices]]`; `None`: unknown, never nothing.
    pub effective_price: Option<ModelPrice>,
    /// Whether its provider is configured.
    pub provider_known: bool,
    /// Whether this node asks it.
    pub state: BreakerState,
    /// When this node tries it again, if it does not now.
    pub retry_at: Option<Timestamp>,
}

/// Who stored an alias, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSince {
    /// Which state of it this is.
    pub version: AliasVersion,
    /// When there was none.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An alias, as admins are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDetails {
    /// Its name.
    pub name: String,
    /// Since when it is stored; `None`: it is the configuration's.
    pub stored: Option<StoredSince>,
    /// Whether the configuration has one of its name too, over which it stands.
    pub overrides_config: bool,
    /// Whether it is meant to be offered.
    pub enabled: bool,
    /// Whether it is.
    pub offered: bool,
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// The alias, if it can be read.
    pub alias: Option<ModelAlias>,
    /// Its targets.
    pub targets: Vec<TargetDetails>,
}

impl Chat {
    /// All aliases in the order in which they are offered, as the store has them now.
    pub async fn show_models(&self) -> StoreResult<Vec<ModelDetails>> {
        let stored = self.store.read().await?.stored_aliases().await?;
        let configured = &self.options.models;
        let in_its_place = configured.iter().map(|alias| {
            let over = stored.iter().find(|it| it.name == alias.name);
            over.map_or_else(|| self.configured_details(alias), |it| self.stored_details(it))
        });
        let is_other = |it: &&StoredAlias| configured.iter().all(|alias| alias.name != it.name);
        let others = stored.iter().filter(is_other).map(|it| self.stored_details(it));
        Ok(in_its_place.chain(others).collect())
    }

    /// One of them.
    pub async fn show_model(&self, name: &str) -> StoreResult<Option<ModelDetails>> {
        let models = self.show_models().await?;
        Ok(models.into_iter().find(|model| model.name == name))
    }

    /// One that is there because it was just written.
    pub(super) async fn shown(&self, name: &str) -> StoreResult<ModelDetails> {
        let found = self.show_model(name).await?;
        // Somebody else deleted it a moment later.
        found.ok_or(StoreError::Stale)
    }

    fn configured_details(&self, alias: &ModelAlias) -> ModelDetails {
        ModelDetails {
            name: alias.name.clone(),
            stored: None,
            overrides_config: false,
            enabled: true,
            offered: true,
            problems: Vec::new(),
            alias: Some(alias.clone()),
            targets: self.target_details(alias),
        }
    }

    fn stored_details(&self, it: &StoredAlias) -> ModelDetails {
        let alias = it.alias.as_ref().ok();
        ModelDetails {
            name: it.name.clone(),
            stored: Some(StoredSince {
                version: it.version,
                created_at: it.created_at,
                updated_at: it.updated_at,
            }),
            overrides_config: self.is_configured(&it.name),
            enabled: it.enabled,
            offered: it.offered(&self.targets.names()).is_some(),
            problems: self.problems(it),
            alias: alias.cloned(),
            targets: alias.map(|alias| self.target_details(alias)).unwrap_or_default(),
        }
    }

    /// Whether the configuration has an alias, or names a model, of this name.
    pub(super) fn is_configured(&self, name: &str) -> bool {
        self.options.models.iter().any(|alias| alias.name == name)
    }

    fn target_details(&self, alias: &ModelAlias) -> Vec<TargetDetails> {
        let (now, policy) = (self.clock.now(), self.options.routing.breaker);
        let details = |target: &Target| {
            let breaker = self.targets.breaker_of(target);
            TargetDetails {
                effective_price: self.price(target),
                provider_known: self.targets.names().contains(&target.provider.as_str()),
                state: breaker.state(now, policy),
                retry_at: breaker.opens_at(policy).filter(|at| *at > now),
                target: target.clone(),
            }
        };
        alias.targets.iter().map(details).collect()
    }
}
