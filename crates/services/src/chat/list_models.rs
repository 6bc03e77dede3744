//! Which models there are, and which of them the caller may use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::billing::Access;
use anteroom_ports::chat::{OfferedModel, ProviderError};

use super::Chat;
use crate::sessions::LiveSession;

/// For how long the provider's own list is taken for granted.
const LIST_FRESH: Duration = Duration::from_secs(300);

impl Chat {
    /// The models the caller's plan may use, in the operator's order.
    pub async fn list_models(&self, who: &LiveSession) -> Result<Vec<OfferedModel>, ProviderError> {
        let offered = self.offered().await?;
        let names: Vec<String> = offered.iter().map(|m| m.id.clone()).collect();
        let access = self.access_of(who);
        let granted = access.plan.models.select(&names);
        Ok(offered
            .iter()
            .filter(|m| granted.contains(&m.id.as_str()))
            .cloned()
            .collect())
    }

    /// A model that the caller's plan may use.
    pub async fn find_model(&self, who: &LiveSession, name: &str) -> Result<Option<OfferedModel>, ProviderError> {
        let models = self.list_models(who).await?;
        Ok(models.into_iter().find(|model| model.id == name))
    }

    /// The names of all models on offer, if they can be had now.
    pub async fn offered_names(&self) -> Result<Vec<String>, ProviderError> {
        if !self.options.models.is_empty() {
            return Ok(self.options.models.clone());
        }
        Ok(self.offered().await?.iter().map(|m| m.id.clone()).collect())
    }

    /// All models on offer: the operator's list, else the provider's, asked on first need and kept for five minutes.
    /// A provider that is away leaves the last list standing.
    async fn offered(&self) -> Result<Arc<Vec<OfferedModel>>, ProviderError> {
        if !self.options.models.is_empty() {
            let owned_by = self.provider.name().to_owned();
            let model = |id: &String| OfferedModel {
                id: id.clone(),
                owned_by: owned_by.clone(),
                created: 0,
            };
            return Ok(Arc::new(self.options.models.iter().map(model).collect()));
        }
        // One caller asks, the others wait for its answer.
        let mut listed = self.listed.lock().await;
        match &*listed {
            Some((at, models)) if at.elapsed() < LIST_FRESH => Ok(Arc::clone(models)),
            stale => match self.provider.models().await {
                Ok(models) => {
                    let models = Arc::new(models);
                    *listed = Some((Instant::now(), Arc::clone(&models)));
                    Ok(models)
                }
                Err(e) => {
                    let stale = stale.as_ref().map(|(_, models)| Arc::clone(models));
                    tracing::warn!(event = "models.list.failed", provider = self.provider.name(), reason = %e.detail, stale = stale.is_some());
                    stale.ok_or(e)
                }
            },
        }
    }

    pub(super) fn access_of(&self, who: &LiveSession) -> Access {
        self.billing.access(who.subscription.as_ref())
    }
}
