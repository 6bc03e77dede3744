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

/// A model, as clients are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// Its name, its maker and its age, as the provider says.
    pub offered: OfferedModel,
    /// How many tokens a call may have in and out together, where the operator says.
    pub context_window: Option<i64>,
    /// The most tokens of answer that a call may ask for, where the operator says.
    pub max_output_tokens: Option<i64>,
}

/// What is on offer.
#[derive(Clone)]
pub(super) struct Offer {
    at: Instant,
    pub(super) aliases: Arc<[Arc<ModelAlias>]>,
    /// What the provider says of them, in the same order; nothing where the operator named them.
    listed: Arc<[OfferedModel]>,
}

impl Offer {
    fn shown(&self, alias: &ModelAlias) -> ListedModel {
        let listed = self.listed.iter().find(|model| model.id == alias.name).cloned();
        ListedModel {
            offered: listed.unwrap_or_else(|| OfferedModel {
                id: alias.name.clone(),
                owned_by: alias.targets.first().map(|t| t.provider.clone()).unwrap_or_default(),
                created: 0,
            }),
            context_window: alias.context_window,
            max_output_tokens: alias.max_output_tokens,
        }
    }
}

impl Chat {
    /// The models the caller's plan, and key, may use, in the operator's order.
    pub async fn list_models(&self, who: &Principal) -> Result<Vec<ListedModel>, ProviderError> {
        let offer = self.offer().await?;
        let access = self.access_of(who);
        let models = access.plan.models_of(&offer.aliases).into_iter();
        let allowed = models.filter(|alias| who.allows(&alias.name));
        Ok(allowed.map(|alias| offer.shown(alias)).collect())
    }

    /// A model that the caller's plan, and key, may use.
    pub async fn find_model(&self, who: &Principal, name: &str) -> Result<Option<ListedModel>, ProviderError> {
        let models = self.list_models(who).await?;
        Ok(models.into_iter().find(|model| model.offered.id == name))
    }

    /// All models on offer.
    pub async fn offered(&self) -> Result<Arc<[Arc<ModelAlias>]>, ProviderError> {
        Ok(self.offer().await?.aliases)
    }

    /// What is configured, with what admins have stored over it.
    async fn offer(&self) -> Result<Offer, ProviderError> {
        Ok(self.held.over(self.configured_offer().await?, &self.targets))
    }

    /// The operator's list, else the first provider's, asked on first need and kept for five minutes. A provider that is
    /// away leaves the last list standing.
    async fn configured_offer(&self) -> Result<Offer, ProviderError> {
        if !self.options.models.is_empty() {
            return Ok(Offer {
                at: Instant::now(),
                aliases: Arc::clone(&self.options.models),
                listed: Arc::default(),
            });
        }
        // One caller asks, the others wait for its answer.
        let mut kept = self.listed.lock().await;
        if let Some(fresh) = kept.as_ref().filter(|offer| offer.at.elapsed() < LIST_FRESH) {
            return Ok(fresh.clone());
        }
        let provider = self.targets.first();
        match provider.models.models().await {
            Ok(models) => {
                let alias = |model: &OfferedModel| Arc::new(ModelAlias::plain(&provider.name, &model.id));
                let offer = Offer {
                    at: Instant::now(),
                    aliases: models.iter().map(alias).collect(),
                    listed: models.into(),
                };
                *kept = Some(offer.clone());
                Ok(offer)
            }
            Err(e) => {
                tracing::warn!(event = "models.list.failed", provider = provider.name, reason = %e.detail, stale = kept.is_some());
                kept.clone().ok_or(e)
            }
        }
    }

    pub(super) fn access_of(&self, who: &Principal) -> Access {
        self.billing.access(who.holdings())
    }
}
