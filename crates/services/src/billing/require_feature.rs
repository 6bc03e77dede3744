//! The gate by name: whether the plan in force has a feature. It is decided from what is known of the caller anyway, so that
//! it costs no call a query.

use anteroom_domain::billing::{Access, FeatureNotInPlan, Operation};

use super::Billing;

impl Billing {
    /// Refuses whose plan does not have a feature. What nobody has heard of is refused.
    pub fn require(&self, access: &Access, feature: &str) -> Result<(), FeatureNotInPlan> {
        if access.has(feature) {
            return Ok(());
        }
        Err(FeatureNotInPlan {
            feature: feature.to_owned(),
            plan: access.plan.key.clone(),
        })
    }

    /// Refuses whose plan does not have what the operator says that an operation asks for.
    pub fn require_for(&self, access: &Access, operation: Operation) -> Result<(), FeatureNotInPlan> {
        let mut asked = self.options.requires.of(operation);
        asked.try_for_each(|feature| self.require(access, feature))
    }
}
