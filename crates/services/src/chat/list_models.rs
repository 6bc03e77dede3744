//! Which models there are, and which of them the caller may use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::billing::Access;
use anteroom_domain::chat::ModelAlias;
use anteroom_ports::chat::{OfferedModel, ProviderError};

use super::Chat;
use crate::access::Principal;

/// For how long the provider's own list is taken for granted.
const LIST_FRESH: Duration = Duration::from_secs(300);

/// What a provider lists, and the aliases that it makes.
#[derive(Clone)]
pub(super) struct Listed {
    at: Instant,
    aliases: Arc<[Arc<ModelAlias>]>,
    models: Arc<[OfferedModel]>,
}

impl Chat {
    /// The models the caller's plan, and key, may use, in the operator's order.
    pub async fn list_models(&self, who: &Principal) -> Result<Vec<OfferedModel>, ProviderError> {
        let offered = self.offered().await?;
        let access = self.access_of(who);
        let models = access.plan.models_of(&offered).into_iter();
        Ok(models
            .filter(|alias| who.allows(&alias.name))
            .map(|alias| self.shown(alias))
            .collect())
    }

    /// A model that the caller's plan may use.
    pub async fn find_model(&self, who: &Principal, name: &str) -> Result<Option<OfferedModel>, ProviderError> {
        let models = self.list_models(who).await?;
        Ok(models.into_iter().find(|model| model.id == name))
    }

    /// All models on offer: the operator's list, else the first provider's, asked on first need and kept for five
    /// minutes. A provider that is away leaves the last list standing.
    pub async fn offered(&self) -> Result<Arc<[Arc<ModelAlias>]>, ProviderError> {
        if !self.options.models.is_empty() {
            return Ok(Arc::clone(&self.options.models));
        }
        // One caller asks, the others wait for its answer.
        let mut listed = self.listed.lock().await;
        if let Some(listed) = listed.as_ref().filter(|listed| listed.at.elapsed() < LIST_FRESH) {
            return Ok(Arc::clone(&listed.aliases));
        }
        let provider = self.targets.first();
        match provider.models.models().await {
            Ok(models) => {
                let alias = |model: &OfferedModel| Arc::new(ModelAlias::plain(&provider.name, &model.id));
                let aliases: Arc<[Arc<ModelAlias>]> = models.iter().map(alias).collect();
                *listed = Some(Listed {
                    at: Instant::now(),
                    aliases: Arc::clone(&aliases),
                    models: models.into(),
                });
                Ok(aliases)
            }
            Err(e) => {
                tracing::warn!(event = "models.list.failed", provider = provider.name, reason = %e.detail, stale = listed.is_some());
                listed.as_ref().map(|stale| Arc::clone(&stale.aliases)).ok_or(e)
            }
        }
    }

    /// What clients are shown of a model.
    fn shown(&self, alias: &ModelAlias) -> OfferedModel {
        let listed = self.listed.try_lock().ok().and_then(|listed| listed.clone());
        let listed = listed.and_then(|listed| listed.models.iter().find(|model| model.id == alias.name).cloned());
        listed.unwrap_or_else(|| OfferedModel {
            id: alias.name.clone(),
            owned_by: alias
                .targets
                .first()
                .map(|target| target.provider.clone())
                .unwrap_or_default(),
            created: 0,
        })
    }

    pub(super) fn access_of(&self, who: &Principal) -> Access {
        self.billing.access(who.subscription())
    }
}
