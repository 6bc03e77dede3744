//! Plans, subscriptions, entitlements, checkout and the provider's events.

pub mod buy_credits;
pub mod cancel_subscription;
pub mod change_plan;
pub mod check_entitlement;
pub mod consume_entitlement;
pub mod credits;
pub mod get_subscription;
pub mod grant_credits;
pub mod grant_override;
pub mod list_credit_entries;
pub mod list_credit_entries_of_user;
pub mod list_entitlements;
pub mod list_overrides;
pub mod list_packs;
pub mod list_plans;
pub mod list_subscriptions;
pub mod list_subscriptions_of_user;
pub mod list_usage;
pub mod list_usage_of_all;
pub mod open_checkout;
pub mod open_portal;
pub mod preview_change;
pub mod receive_webhook;
pub mod refusals;
pub mod release_entitlement;
pub mod resume_subscription;
pub mod revoke_credits;
pub mod revoke_override;
pub mod show_credits_of_user;
pub mod summarize_billing;
pub mod usage;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{
    Access, EntitlementKind, Meter, NanoUsd, Overage, OveragePrice, Plan, Price, SeatRule, Subscription, Window,
};
use anteroom_services::billing::{EntitlementState, GrantState};
use serde::Serialize;
use serde_json::Value;

/// What somebody holds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionResponse {
    /// The plan in force: the subscription's while it is active, or what was granted; else the default plan.
    #[schema(example = "free")]
    pub plan: String,
    /// The version of that plan, whose terms hold.
    #[schema(example = 1)]
    pub plan_version: i32,
    /// The payment provider's word; `none` without a subscription.
    #[schema(example = "none")]
    pub status: String,
    /// Whether a subscription, or a plan that was granted, is in force.
    pub active: bool,
    /// Why.
    #[schema(example = "no_subscription")]
    pub reason: &'static str,
    /// When this ends, or was due to, if nothing happens: the paid period, the trial, the grace time or the grant.
    pub until: Option<Timestamp>,
    /// The subscription itself, as long as it is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<SubscriptionDetails>,
}

/// A subscription as the payment provider has it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SubscriptionDetails {
    /// The plan that is paid for, in force or not.
    #[schema(example = "pro")]
    pub plan: String,
    /// Its version.
    #[schema(example = 1)]
    pub plan_version: i32,
    /// What is paid for a period and a seat.
    pub price: Option<PriceResponse>,
    /// How many seats; 1 where the plan is not sold by the seat.
    #[schema(example = 1)]
    pub seats: i64,
    /// When the running period ends.
    pub current_period_end: Option<Timestamp>,
    /// Whether it ends with that.
    pub cancel_at_period_end: bool,
    /// When it is going to end, if it is.
    pub ends_at: Option<Timestamp>,
    /// When the trial ends or ended.
    pub trial_end: Option<Timestamp>,
    /// Since when a payment is missing.
    pub past_due_since: Option<Timestamp>,
    /// The plan it turns into with the next period.
    pub next_plan: Option<String>,
    /// For how many seats then.
    pub next_seats: Option<i64>,
}

impl SubscriptionResponse {
    /// What somebody may do, and what they pay for.
    pub fn new(access: &Access, subscription: Option<&Subscription>) -> Self {
        let details = subscription.filter(|subscription| !subscription.status.terminal());
        Self {
            plan: access.plan.key.clone(),
            plan_version: access.plan.version,
            status: access.status.clone(),
            active: access.active,
            reason: access.reason.as_str(),
            until: access.until,
            details: details.map(SubscriptionDetails::from),
        }
    }
}

impl From<&Subscription> for SubscriptionDetails {
    fn from(subscription: &Subscription) -> Self {
        Self {
            plan: subscription.plan.clone(),
            plan_version: subscription.plan_version,
            price: subscription.price.as_ref().map(PriceResponse::from),
            seats: subscription.quantity,
            current_period_end: subscription.current_period_end,
            cancel_at_period_end: subscription.cancel_at_period_end,
            ends_at: subscription.ends_at(),
            trial_end: subscription.trial_end,
            past_due_since: subscription.past_due_since,
            next_plan: subscription.next_plan.clone(),
            next_seats: subscription.next_quantity,
        }
    }
}

/// What a plan costs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Price)]
pub struct PriceResponse {
    /// In the currency's smallest unit (cents).
    #[schema(example = 1900)]
    pub amount: i64,
    /// ISO 4217, lower case.
    #[schema(example = "usd")]
    pub currency: String,
    /// `month` or `year`.
    #[schema(example = "month")]
    pub interval: String,
}

impl From<&Price> for PriceResponse {
    fn from(price: &Price) -> Self {
        Self {
            amount: price.amount,
            currency: price.currency.clone(),
            interval: price.interval.clone(),
        }
    }
}

/// How many seats of a plan are sold at once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Seats)]
pub struct SeatsResponse {
    /// The fewest.
    #[schema(example = 2)]
    pub min: i64,
    /// The most.
    #[schema(example = 50)]
    pub max: i64,
}

impl From<SeatRule> for SeatsResponse {
    fn from(rule: SeatRule) -> Self {
        Self {
            min: rule.min,
            max: rule.most(),
        }
    }
}

/// One thing a plan grants. `boolean` and `static` have a `value`; `metered` has a `limit` (`null`: unlimited) and,
/// for a user, what is `used` and when the next `window` begins.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Entitlement)]
pub struct EntitlementResponse {
    /// Its name.
    #[schema(example = "messages")]
    pub key: String,
    /// `boolean`, `static` or `metered`.
    #[schema(example = "metered")]
    pub kind: &'static str,
    /// What is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The most in one window.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub limit: Option<Option<i64>>,
    /// What is used up, running calls included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<i64>,
    /// The most money in one window, in US dollars; of `cost`, in place of `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub limit_usd: Option<Option<f64>>,
    /// What of it is used up, running calls included; in place of `used`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_usd: Option<f64>,
    /// How long a window is: `minute`, `day` (in UTC), `month` (of billing) or `always` (so many at once). One key may have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "day")]
    pub window: Option<&'static str>,
    /// How many of a window's credits are carried into the next, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollover: Option<i64>,
    /// What may be used beyond the limit, for money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overage: Option<OverageResponse>,
    /// Whether `limit` and `rollover` are for each seat; of plans only. What a user has is counted for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_seat: Option<bool>,
    /// When the next window begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
}

/// What may be used beyond a limit, for money. It goes on the bill at the end of the period.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Overage)]
pub struct OverageResponse {
    /// The most of it in a month of billing.
    #[schema(example = 500)]
    pub max: i64,
    /// What one costs, in each currency of the plan.
    pub prices: Vec<OveragePriceResponse>,
}

/// What one of what is used beyond a limit costs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = OveragePrice)]
pub struct OveragePriceResponse {
    /// ISO 4217, lower case.
    #[schema(example = "usd")]
    pub currency: String,
    /// In the currency's smallest unit, as a decimal number: `0.05` is a twentieth of a cent.
    #[schema(example = "0.05")]
    pub amount: String,
}

impl From<&Overage> for OverageResponse {
    fn from(overage: &Overage) -> Self {
        let price = |price: &OveragePrice| OveragePriceResponse {
            currency: price.currency.clone(),
            amount: price.amount.to_string(),
        };
        Self {
            max: overage.max,
            prices: overage.prices.iter().map(price).collect(),
        }
    }
}

impl EntitlementResponse {
    fn valued(key: &str, kind: &'static str, value: Value) -> Self {
        Self {
            key: key.to_owned(),
            kind,
            value: Some(value),
            limit: None,
            used: None,
            limit_usd: None,
            used_usd: None,
            window: None,
            rollover: None,
            overage: None,
            per_seat: None,
            resets_at: None,
        }
    }

    fn metered(key: &str, limit: Option<i64>, used: Option<i64>, window: Window) -> Self {
        let money = Meter::parse(key) == Some(Meter::Cost);
        let usd = |amount: i64| NanoUsd(amount).usd();
        Self {
            key: key.to_owned(),
            kind: "metered",
            value: None,
            limit: (!money).then_some(limit),
            used: used.filter(|_| !money),
            limit_usd: money.then(|| limit.map(usd)),
            used_usd: used.filter(|_| money).map(usd),
            window: Some(window.as_str()),
            rollover: None,
            overage: None,
            per_seat: None,
            resets_at: None,
        }
    }
}

impl From<EntitlementState> for EntitlementResponse {
    fn from(state: EntitlementState) -> Self {
        match state.grant {
            GrantState::Boolean(on) => Self::valued(&state.key, "boolean", on.into()),
            GrantState::Static(value) => Self::valued(&state.key, "static", value),
            GrantState::Metered {
                limit,
                overage,
                used,
                window,
                resets_at,
            } => Self {
                resets_at,
                overage: overage.as_ref().map(OverageResponse::from),
                ..Self::metered(&state.key, limit, Some(used), window)
            },
        }
    }
}

/// A plan.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Plan)]
pub struct PlanResponse {
    /// Its name in the API.
    #[schema(example = "pro")]
    pub key: String,
    /// Its name for people.
    #[schema(example = "Pro")]
    pub name: String,
    /// Raised when its terms change.
    pub version: i32,
    /// Higher is better.
    pub rank: i32,
    /// Days of trial before the first payment, for whoever had none yet.
    pub trial_days: Option<u32>,
    /// What it costs, for a seat; empty where it is free or by agreement.
    pub prices: Vec<PriceResponse>,
    /// How many seats of it are sold; absent where it is sold once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<SeatsResponse>,
    /// What it grants.
    pub entitlements: Vec<EntitlementResponse>,
    /// Whether it can be bought at `/v1/billing/checkout`.
    pub for_sale: bool,
}

impl From<&Plan> for PlanResponse {
    fn from(plan: &Plan) -> Self {
        let entitlement = |e: &anteroom_domain::billing::Entitlement| match &e.kind {
            EntitlementKind::Boolean(on) => EntitlementResponse::valued(&e.key, "boolean", (*on).into()),
            EntitlementKind::Static(value) => EntitlementResponse::valued(&e.key, "static", value.clone()),
            EntitlementKind::Metered {
                limit,
                window,
                rollover,
                overage,
                per_seat,
            } => EntitlementResponse {
                overage: overage.as_ref().map(OverageResponse::from),
                rollover: Some(*rollover).filter(|most| *most > 0),
                per_seat: per_seat.then_some(true),
                ..EntitlementResponse::metered(&e.key, *limit, None, *window)
            },
        };
        Self {
            key: plan.key.clone(),
            name: plan.name.clone(),
            version: plan.version,
            rank: plan.rank,
            trial_days: plan.trial.map(|trial| trial.days),
            prices: plan.prices.iter().map(PriceResponse::from).collect(),
            entitlements: plan.entitlements.iter().map(entitlement).collect(),
            seats: plan.seats.map(SeatsResponse::from),
            for_sale: plan.for_sale(),
        }
    }
}
