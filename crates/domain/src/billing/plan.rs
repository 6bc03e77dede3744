//! The plan catalogue: data from the configuration, not code.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Meter, Window};
use crate::chat::{ModelAlias, ParameterRule};
use crate::protection::CallRate;

/// Which of the offered models a plan includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRule {
    /// Every model.
    All,
    /// The first one that is offered.
    First,
    /// These, where they are offered.
    Named(Vec<String>),
}

/// What a plan costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// In the currency's smallest unit (cents).
    pub amount: i64,
    /// ISO 4217, lower case, as Stripe writes it.
    pub currency: String,
    /// `month` or `year`.
    pub interval: String,
}

/// Something a plan grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// Its name; unknown ones are denied. Only what is metered may have one name in several windows.
    pub key: String,
    /// What is granted.
    pub kind: EntitlementKind,
}

/// The three kinds of entitlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntitlementKind {
    /// On or off.
    Boolean(bool),
    /// A fixed JSON value.
    Static(serde_json::Value),
    /// So many a window; `None` is unlimited.
    Metered {
        /// The most in one window.
        limit: Option<i64>,
        /// How long a window is.
        window: Window,
    },
}

/// A plan a user can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name in the API.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// Raised when its terms change.
    pub version: i32,
    /// Which models it includes.
    pub models: ModelRule,
    /// What it costs; empty where it is free or by agreement.
    pub prices: Vec<Price>,
    /// Sold by agreement only, never by checkout.
    pub by_agreement: bool,
    /// What it grants.
    pub entitlements: Vec<Entitlement>,
    /// How fast its holders may call models.
    pub rate: CallRate,
    /// Which parameters of calls its holders may send.
    pub parameters: ParameterRule,
}

impl Plan {
    /// The models of `offered` (in the operator's order) that the plan includes.
    pub fn models_of<'a>(&self, offered: &'a [Arc<ModelAlias>]) -> Vec<&'a Arc<ModelAlias>> {
        let mut open = offered.iter().filter(|alias| alias.open_to(&self.key));
        match &self.models {
            ModelRule::All => open.collect(),
            ModelRule::First => open.next().into_iter().collect(),
            ModelRule::Named(names) => open.filter(|alias| names.contains(&alias.name)).collect(),
        }
    }

    /// Whether it can be bought through checkout.
    pub fn for_sale(&self) -> bool {
        !self.by_agreement && !self.prices.is_empty()
    }

    /// What of a call to a model the plan counts, in which window, and the most of it (`None`: without limit). One meter
    /// may have several windows.
    pub fn limits(&self) -> impl Iterator<Item = (Meter, Window, Option<i64>)> {
        self.entitlements.iter().filter_map(|entitlement| {
            let meter = Meter::parse(&entitlement.key)?;
            match entitlement.kind {
                EntitlementKind::Metered { limit, window } => Some((meter, window, limit)),
                _ => None,
            }
        })
    }
}

/// All plans of the deployment. The default plan is what everyone without a subscription holds.
#[derive(Debug, Clone)]
pub struct Catalogue {
    plans: Vec<Arc<Plan>>,
    default: usize,
}

/// Why a list of plans makes no catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCatalogue {
    /// Two plans share a key.
    #[error("two plans have the key `{0}`")]
    DuplicateKey(String),
    /// The default plan is not among them.
    #[error("the default plan `{0}` is not among the plans")]
    NoDefault(String),
}

impl Catalogue {
    /// Checks and keeps a list of plans in the operator's order.
    pub fn new(plans: Vec<Plan>, default: &str) -> Result<Self, InvalidCatalogue> {
        for (i, plan) in plans.iter().enumerate() {
            if plans[..i].iter().any(|p| p.key == plan.key) {
                return Err(InvalidCatalogue::DuplicateKey(plan.key.clone()));
            }
        }
        let default = plans
            .iter()
            .position(|p| p.key == default)
            .ok_or_else(|| InvalidCatalogue::NoDefault(default.to_owned()))?;
        Ok(Self {
            plans: plans.into_iter().map(Arc::new).collect(),
            default,
        })
    }

    /// All plans, in the operator's order.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.plans
    }

    /// The plan with this key.
    pub fn plan(&self, key: &str) -> Option<&Arc<Plan>> {
        self.plans.iter().find(|p| p.key == key)
    }

    /// The plan of everyone without a subscription.
    pub fn default_plan(&self) -> &Arc<Plan> {
        &self.plans[self.default]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan(key: &str, models: ModelRule, limit: Option<i64>) -> Plan {
        Plan {
            key: key.into(),
            name: key.to_uppercase(),
            version: 1,
            models,
            prices: vec![],
            by_agreement: false,
            entitlements: vec![
                Entitlement {
                    key: "messages".into(),
                    kind: EntitlementKind::Metered {
                        limit,
                        window: Window::Day,
                    },
                },
                Entitlement {
                    key: "support".into(),
                    kind: EntitlementKind::Boolean(true),
                },
            ],
            rate: CallRate::default(),
            parameters: ParameterRule::default(),
        }
    }

    pub(crate) fn catalogue() -> Catalogue {
        Catalogue::new(
            vec![
                plan("free", ModelRule::First, Some(5)),
                plan("pro", ModelRule::All, None),
            ],
            "free",
        )
        .unwrap()
    }

    pub(crate) fn offered(names: &[&str]) -> Vec<Arc<ModelAlias>> {
        let alias = |name: &&str| Arc::new(ModelAlias::plain("p", name));
        names.iter().map(alias).collect()
    }

    #[test]
    fn a_plan_includes_what_its_rule_and_the_models_say_in_the_operators_order() {
        let mut offered = offered(&["small", "large"]);
        let models = |rule: ModelRule, offered: &[Arc<ModelAlias>]| {
            let plan = plan("free", rule, None);
            let models = plan.models_of(offered).into_iter();
            models.map(|alias| alias.name.clone()).collect::<Vec<_>>()
        };
        let named = || ModelRule::Named(vec!["large".into(), "gone".into()]);
        assert_eq!(models(ModelRule::All, &offered), ["small", "large"]);
        assert_eq!(models(ModelRule::First, &offered), ["small"]);
        assert_eq!(models(named(), &offered), ["large"]);
        assert!(models(ModelRule::First, &[]).is_empty());
        offered[0] = Arc::new(ModelAlias {
            plans: Some(vec!["pro".into()]),
            ..ModelAlias::plain("p", "small")
        });
        assert_eq!(models(ModelRule::All, &offered), ["large"]);
        assert_eq!(models(ModelRule::First, &offered), ["large"]);
    }

    #[test]
    fn a_catalogue_needs_its_default_and_unique_keys() {
        let free = || plan("free", ModelRule::All, None);
        assert_eq!(
            Catalogue::new(vec![free(), free()], "free").unwrap_err(),
            InvalidCatalogue::DuplicateKey("free".into())
        );
        assert_eq!(
            Catalogue::new(vec![free()], "pro").unwrap_err(),
            InvalidCatalogue::NoDefault("pro".into())
        );
        assert_eq!(catalogue().default_plan().key, "free");
        let limits: Vec<_> = catalogue().plan("pro").unwrap().limits().collect();
        assert_eq!(limits, [(Meter::Messages, Window::Day, None)]);
        assert!(!free().for_sale());
    }
}
