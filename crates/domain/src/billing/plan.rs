//! The plan catalogue: data from the configuration, not code.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Anchor, Credits, IncludedCredits, METER_CREDITS, Meter, Overage, SeatRule, Window};
use crate::Timestamp;
use crate::chat::{ModelAlias, ParameterRule};
use crate::protection::CallRate;

/// Which of the offered models a plan includes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// Its name; unknown ones are denied. Only what is metered may have one name in several windows.
    pub key: String,
    /// What is granted.
    pub kind: EntitlementKind,
}

/// The three kinds of entitlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
        /// How many of those that are left at a window's end are carried into the next; of credits only.
        #[serde(default, skip_serializing_if = "is_zero")]
        rollover: i64,
        /// What may be used beyond the limit, for money; of what has a limit by the month only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        overage: Option<Overage>,
        /// Whether both are for each seat of the plan ([`Plan::for_seats`]).
        #[serde(default, skip_serializing_if = "is_false")]
        per_seat: bool,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl EntitlementKind {
    /// So many a window, of which none are carried over; `None` is unlimited.
    pub fn metered(limit: Option<i64>, window: Window) -> Self {
        Self::Metered {
            limit,
            window,
            rollover: 0,
            overage: None,
            per_seat: false,
        }
    }
}

impl Entitlement {
    /// What it includes (`None`: without limit) and its window, if it is metered.
    pub fn metered(&self) -> Option<(Option<i64>, Window)> {
        match self.kind {
            EntitlementKind::Metered { limit, window, .. } => Some((limit, window)),
            _ => None,
        }
    }

    /// The most that may be used in its window, with what is paid for beyond its limit; `None` is without limit.
    pub fn most(&self) -> Option<(Option<i64>, Window)> {
        let (limit, window) = self.metered()?;
        let beyond = self.overage().map_or(0, |overage| overage.max);
        Some((limit.map(|limit| limit.saturating_add(beyond)), window))
    }

    /// What may be used beyond its limit, for money.
    pub fn overage(&self) -> Option<&Overage> {
        match &self.kind {
            EntitlementKind::Metered { overage, .. } => overage.as_ref(),
            _ => None,
        }
    }

    /// Whether one takes the place of the other: it has the same name and, where it is metered, the same window.
    pub fn replaces(&self, other: &Self) -> bool {
        let window = |entitlement: &Self| entitlement.metered().map(|(_, window)| window);
        self.key == other.key && window(self) == window(other)
    }
}

/// The trial that comes before a plan's first payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTrial {
    /// How long, in days; at least one.
    pub days: u32,
    /// Whether it begins only with a means of payment. Without one the subscription pauses at its end.
    pub card_required: bool,
}

/// A plan a user can hold. One version of it is stored as JSON when it is published, so members are added with a default
/// and never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name in the API.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// Raised when its terms change.
    pub version: i32,
    /// Higher is better: what tells an upgrade from a downgrade.
    pub rank: i32,
    /// The trial before the first payment, once for an account and a means of payment.
    pub trial: Option<PlanTrial>,
    /// Which models it includes.
    pub models: ModelRule,
    /// What it costs, for a seat; empty where it is free or by agreement.
    pub prices: Vec<Price>,
    /// How many seats are sold at once; `None`: it is sold once.
    #[serde(default)]
    pub seats: Option<SeatRule>,
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

    /// The plan with these entitlements in the place of its own of the same name, or beside them.
    #[must_use]
    pub fn with_entitlements(&self, granted: &[&Entitlement]) -> Self {
        let kept = |own: &&Entitlement| !granted.iter().any(|other| other.replaces(own));
        let own = self.entitlements.iter().filter(kept);
        Self {
            entitlements: own.chain(granted.iter().copied()).cloned().collect(),
            ..self.clone()
        }
    }

    /// The price for an interval and in a currency; of those that are not asked for the first.
    pub fn price(&self, interval: Option<&str>, currency: Option<&str>) -> Option<&Price> {
        self.prices.iter().find(|price| {
            interval.is_none_or(|word| word == price.interval) && currency.is_none_or(|word| word == price.currency)
        })
    }

    /// Whether its calls are paid with credits. One that has them without limit does not count them.
    pub fn takes_credits(&self) -> bool {
        self.credits_entitlement().is_some()
    }

    /// Whether credits that are left of a window are carried into the next.
    pub fn carries_credits(&self) -> bool {
        self.credits_entitlement().is_some_and(|(_, _, rollover)| rollover > 0)
    }

    /// What it includes of credits in the window that counts at `now`; `None` if its calls take none.
    pub fn credits(&self, now: Timestamp, anchor: Anchor) -> Option<IncludedCredits> {
        let (limit, window, rollover) = self.credits_entitlement()?;
        Some(IncludedCredits {
            amount: Credits::whole(limit),
            rollover: Credits::whole(rollover),
            span: window.at(now, anchor),
        })
    }

    fn credits_entitlement(&self) -> Option<(i64, Window, i64)> {
        let mut all = self.entitlements.iter().filter(|it| it.key == METER_CREDITS);
        all.find_map(|it| match it.kind {
            EntitlementKind::Metered {
                limit: Some(limit),
                window,
                rollover,
                ..
            } => Some((limit, window, rollover)),
            _ => None,
        })
    }

    /// Whether it can be bought through checkout.
    pub fn for_sale(&self) -> bool {
        !self.by_agreement && !self.prices.is_empty()
    }

    /// Whether more of anything may be used than it includes, for money.
    pub fn has_overage(&self) -> bool {
        self.entitlements.iter().any(|it| it.overage().is_some())
    }

    /// The plan with nothing beyond what it includes.
    #[must_use]
    pub fn without_overage(&self) -> Self {
        let mut plan = self.clone();
        for entitlement in &mut plan.entitlements {
            if let EntitlementKind::Metered { overage, .. } = &mut entitlement.kind {
                *overage = None;
            }
        }
        plan
    }

    /// What of a call to a model the plan counts, in which window, and the most of it (`None`: without limit), with what is
    /// paid for beyond. One meter may have several windows.
    pub fn limits(&self) -> impl Iterator<Item = (Meter, Window, Option<i64>)> {
        self.entitlements.iter().filter_map(|entitlement| {
            let (most, window) = entitlement.most()?;
            Some((Meter::parse(&entitlement.key)?, window, most))
        })
    }
}

/// All plans of the deployment. The default plan is what everyone without a subscription holds.
#[derive(Debug, Clone)]
pub struct Catalogue {
    plans: Vec<Arc<Plan>>,
    default: usize,
    /// Other versions that somebody may have bought.
    earlier: Vec<Arc<Plan>>,
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
            earlier: Vec::new(),
        })
    }

    /// The catalogue with the versions that were published before.
    #[must_use]
    pub fn with_earlier(mut self, published: Vec<Plan>) -> Self {
        let current = |plan: &Plan| {
            self.plans
                .iter()
                .any(|p| p.key == plan.key && p.version == plan.version)
        };
        self.earlier = published
            .into_iter()
            .filter(|plan| !current(plan))
            .map(Arc::new)
            .collect();
        self
    }

    /// A plan in the version that was bought. Where that version was never stored, today's terms hold; a plan that left
    /// the configuration can still be held in a version that was.
    pub fn bought(&self, key: &str, version: i32) -> Option<&Arc<Plan>> {
        let is = |plan: &&Arc<Plan>| plan.key == key && plan.version == version;
        let exact = self.all().find(is);
        exact.or_else(|| self.plan(key))
    }

    /// All plans, and all their other versions that somebody may have bought.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.plans.iter().chain(&self.earlier)
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
            rank: 0,
            trial: None,
            models,
            prices: vec![],
            seats: None,
            by_agreement: false,
            entitlements: vec![
                Entitlement {
                    key: "messages".into(),
                    kind: EntitlementKind::metered(limit, Window::Day),
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

    #[test]
    fn what_was_bought_holds_in_its_version() {
        let old = Plan {
            version: 1,
            ..plan("pro", ModelRule::First, Some(7))
        };
        let new = Plan {
            version: 2,
            ..plan("pro", ModelRule::All, None)
        };
        let gone = plan("gone", ModelRule::All, None);
        let plans = vec![plan("free", ModelRule::First, Some(5)), new.clone()];
        let catalogue = Catalogue::new(plans, "free").unwrap();
        let catalogue = catalogue.with_earlier(vec![old.clone(), new.clone(), gone.clone()]);
        let bought = |key: &str, version| catalogue.bought(key, version).map(|plan| (**plan).clone());
        assert_eq!(bought("pro", 1), Some(old));
        assert_eq!(bought("pro", 2), Some(new.clone()));
        assert_eq!(bought("pro", 9), Some(new));
        assert_eq!(bought("gone", 1), Some(gone));
        assert_eq!(bought("gone", 2), None);
        assert_eq!(catalogue.plans().len(), 2);
    }

    #[test]
    fn a_stored_version_is_read_as_it_was_written() {
        let mut plan = plan("pro", ModelRule::Named(vec!["small".into()]), Some(5));
        plan.trial = Some(PlanTrial {
            days: 14,
            card_required: false,
        });
        plan.prices = vec![Price {
            amount: 1900,
            currency: "usd".into(),
            interval: "month".into(),
        }];
        let stored = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan, "{stored}");
    }

    #[test]
    fn what_is_granted_stands_in_the_place_of_the_plans_own() {
        let metered = |limit, window| Entitlement {
            key: "messages".into(),
            kind: EntitlementKind::metered(limit, window),
        };
        let (day, month) = (metered(Some(9), Window::Day), metered(Some(99), Window::Month));
        let with = plan("pro", ModelRule::All, Some(5)).with_entitlements(&[&day, &month]);
        let limits: Vec<_> = with.limits().collect();
        let expected = [
            (Meter::Messages, Window::Day, Some(9)),
            (Meter::Messages, Window::Month, Some(99)),
        ];
        assert_eq!(limits, expected);
        assert_eq!(with.entitlements.len(), 3);
    }

    #[test]
    fn a_plan_includes_credits_where_it_limits_them() {
        let with = |limit, rollover| {
            let kind = EntitlementKind::Metered {
                limit,
                window: Window::Day,
                overage: None,
                rollover,
                per_seat: false,
            };
            let key = METER_CREDITS.to_owned();
            plan("pro", ModelRule::All, None).with_entitlements(&[&Entitlement { key, kind }])
        };
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let included = |plan: &Plan| plan.credits(now, Anchor::Since(now));
        assert_eq!(included(&plan("pro", ModelRule::All, None)), None);
        assert_eq!(included(&with(None, 0)), None);
        let some = included(&with(Some(100), 20)).unwrap();
        assert_eq!((some.amount, some.rollover), (Credits::whole(100), Credits::whole(20)));
        assert_eq!(some.span, Window::Day.at(now, Anchor::Since(now)));
        assert!(with(Some(0), 0).takes_credits() && !with(None, 0).takes_credits());
        let stored = serde_json::to_string(&with(Some(5), 0)).unwrap();
        assert!(!stored.contains("rollover"), "{stored}");
    }

    #[test]
    fn a_price_is_found_by_what_is_asked() {
        let price = |amount, currency: &str, interval: &str| Price {
            amount,
            currency: currency.into(),
            interval: interval.into(),
        };
        let mut plan = plan("pro", ModelRule::All, None);
        plan.prices = vec![
            price(1, "usd", "month"),
            price(2, "usd", "year"),
            price(3, "eur", "year"),
        ];
        let amount = |interval, currency| plan.price(interval, currency).map(|price| price.amount);
        assert_eq!(amount(None, None), Some(1));
        assert_eq!(amount(Some("year"), None), Some(2));
        assert_eq!(amount(None, Some("eur")), Some(3));
        assert_eq!(amount(Some("month"), Some("eur")), None);
    }
}
