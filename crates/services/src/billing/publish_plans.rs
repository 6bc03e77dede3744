//! Plans are published: each version is kept, since its terms hold for whoever bought it, and its prices are made known to
//! the payment provider.

use anteroom_domain::billing::{Catalogue, Plan};
use anteroom_ports::billing::{PaymentError, Published, Sale};
use anteroom_ports::{Durability, StoreError};
use tracing::{info, warn};

use super::Billing;

/// A version of a plan that was published with other terms than it has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanDifference {
    /// As it was published.
    pub published: Plan,
    /// As it is configured.
    pub configured: Plan,
}

/// What publishing did, or would do, with a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPrice {
    /// What is sold.
    pub sale: Sale,
    /// What came of it.
    pub outcome: Published,
}

/// Why plans were not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Terms were changed in a version that somebody may have bought.
    #[error("{}", changed(.0))]
    Changed(Vec<PlanDifference>),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn changed(differences: &[PlanDifference]) -> String {
    let plans = differences.iter().map(|difference| {
        let Plan { key, version, .. } = &difference.configured;
        format!("`{key}` version {version}")
    });
    let plans: Vec<_> = plans.collect();
    format!(
        "{} was published with other terms, which hold for whoever bought it: raise its version",
        plans.join(", ")
    )
}

impl Billing {
    /// Keeps the configured versions of plans, and knows from then on all that were ever kept. With `replace` other terms
    /// take the place of those of the same version, which is for development; without, they are refused.
    pub async fn keep_plans(&self, replace: bool) -> Result<(), PublishError> {
        let published = self.store.read().await?.plan_versions().await?;
        let catalogue = &self.options.catalogue;
        let changed = differences(catalogue, &published);
        if !changed.is_empty() && !replace {
            return Err(PublishError::Changed(changed));
        }
        let configured = catalogue.plans().iter().map(|plan| &**plan);
        let new: Vec<&Plan> = configured.filter(|plan| !published.contains(plan)).collect();
        if !new.is_empty() {
            let mut unit = self.store.begin(Durability::Full).await?;
            for plan in &new {
                unit.put_plan_version(plan, self.clock.now(), replace).await?;
            }
            unit.commit().await?;
        }
        for plan in new {
            info!(event = "plan.published", plan = %plan.key, version = plan.version);
        }
        for PlanDifference { configured, .. } in changed {
            warn!(event = "plan.replaced", plan = %configured.key, version = configured.version);
        }
        let _ = self.published.set(catalogue.clone().with_earlier(published));
        Ok(())
    }

    /// Knows from then on all versions that were ever kept, without keeping any: for commands.
    pub async fn load_plans(&self) -> Result<(), StoreError> {
        let published = self.store.read().await?.plan_versions().await?;
        let _ = self
            .published
            .set(self.options.catalogue.clone().with_earlier(published));
        Ok(())
    }

    /// How the configured plans differ from the versions that were kept: those with other terms, and those that are new.
    pub async fn compare_plans(&self) -> Result<(Vec<PlanDifference>, Vec<Plan>), StoreError> {
        let published = self.store.read().await?.plan_versions().await?;
        let catalogue = &self.options.catalogue;
        let known = |plan: &Plan| published.iter().any(|p| p.key == plan.key && p.version == plan.version);
        let new = catalogue
            .plans()
            .iter()
            .filter(|plan| !known(plan))
            .map(|plan| (**plan).clone());
        let new = new.collect();
        Ok((differences(catalogue, &published), new))
    }

    /// Makes everything that is sold known to the payment provider, or says what that would do. Without a provider there
    /// is nothing to do.
    pub async fn publish_prices(&self, dry_run: bool) -> Result<Vec<PublishedPrice>, PublishError> {
        let Some(provider) = self.provider.as_deref() else {
            return Ok(Vec::new());
        };
        let sales = sales(&self.options.catalogue);
        let outcomes = provider.publish(&sales, dry_run).await?;
        let published = sales.into_iter().zip(outcomes);
        let published = published.map(|(sale, outcome)| PublishedPrice { sale, outcome });
        Ok(published.collect())
    }
}

/// Everything that can be bought.
pub fn sales(catalogue: &Catalogue) -> Vec<Sale> {
    let for_sale = catalogue.plans().iter().filter(|plan| plan.for_sale());
    let sales = for_sale.flat_map(|plan| {
        let prices = plan.prices.iter();
        prices.map(|price| Sale::new(plan, price))
    });
    sales.collect()
}

fn differences(catalogue: &Catalogue, published: &[Plan]) -> Vec<PlanDifference> {
    let configured = catalogue.plans().iter();
    let changed = configured.filter_map(|plan| {
        let published = published
            .iter()
            .find(|p| p.key == plan.key && p.version == plan.version)?;
        (*published != **plan).then(|| PlanDifference {
            published: published.clone(),
            configured: (**plan).clone(),
        })
    });
    changed.collect()
}
