//! `GET /v1/admin/billing/summary`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::Timestamp;
use anteroom_domain::billing::{
    Cohort, Conversion, FeatureSum, Movement, Revenue, StandingSum, SubscriptionStatus, TrialSum, UsageGroup,
};
use anteroom_services::billing::{BillingSummary, SummaryError};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::usage::{UsageResponse, date};
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query;

/// Of which days figures are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SummaryQuery {
    /// The first day, in UTC; 30 days before `until` if absent.
    #[param(example = "2026-11-01", format = "date")]
    from: Option<String>,
    /// The day after the last one, in UTC; tomorrow if absent. At most 366 days after `from`.
    #[param(example = "2026-12-01", format = "date")]
    until: Option<String>,
}

/// Subscriptions, and what they pay for a month.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RevenueMovement)]
pub struct MovementResponse {
    /// How many.
    #[schema(example = 3)]
    subscriptions: i64,
    /// How much for a month, in the currency's smallest unit.
    #[schema(example = 5700)]
    monthly: i64,
}

impl From<Movement> for MovementResponse {
    fn from(movement: Movement) -> Self {
        Self {
            subscriptions: movement.subscriptions,
            monthly: movement.monthly,
        }
    }
}

/// Monthly recurring revenue in one currency, before discounts and taxes: `before`, and what came (`new`, `returned`,
/// `moved_in`, `expanded`), less what went (`churned`, `moved_out`, `contracted`), is `after`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Revenue)]
pub struct RevenueResponse {
    /// ISO 4217, lower case.
    #[schema(example = "usd")]
    currency: String,
    /// What was paid when the time began.
    before: MovementResponse,
    /// Began to pay, of accounts that never had.
    new: MovementResponse,
    /// Began to pay, of accounts that had once.
    returned: MovementResponse,
    /// Pay more than they did, and how much more.
    expanded: MovementResponse,
    /// Pay less than they did, and how much less.
    contracted: MovementResponse,
    /// Came from another plan, with what they paid there.
    moved_in: MovementResponse,
    /// Went to another plan, with what they paid here.
    moved_out: MovementResponse,
    /// No longer pay, and what they paid.
    churned: MovementResponse,
    /// What is paid when the time ends: the MRR.
    after: MovementResponse,
    /// What one subscription pays for a month; `null` if none does.
    #[schema(example = 1900)]
    average: Option<i64>,
    /// Which part churns in a month; `null` if none paid.
    #[schema(example = 0.05)]
    churn_rate: Option<f64>,
    /// What one subscription brings in until it ends; `null` where none churned, since then nobody knows.
    #[schema(example = 38_000)]
    lifetime_value: Option<i64>,
}

impl RevenueResponse {
    fn new(currency: &str, revenue: &Revenue, time: SignedDuration) -> Self {
        Self {
            currency: currency.to_owned(),
            before: revenue.before.into(),
            new: revenue.new.into(),
            returned: revenue.returned.into(),
            expanded: revenue.expanded.into(),
            contracted: revenue.contracted.into(),
            moved_in: revenue.moved_in.into(),
            moved_out: revenue.moved_out.into(),
            churned: revenue.churned.into(),
            after: revenue.after.into(),
            average: revenue.average(),
            churn_rate: revenue.churn_rate(time),
            lifetime_value: revenue.lifetime_value(time),
        }
    }
}

/// The subscriptions to a plan.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlanFigures)]
pub struct PlanFigures {
    /// The plan.
    #[schema(example = "pro")]
    plan: String,
    /// How many are `active` when the time ends.
    active: i64,
    /// How many are `trialing`.
    trialing: i64,
    /// How many are `past_due`.
    past_due: i64,
    /// How many are neither these nor over: `incomplete`, `unpaid`, `paused` and the like.
    other: i64,
    /// How many pay something that no figure has, since their price is not one number.
    unpriced: i64,
    /// What they bring in, in each currency.
    revenue: Vec<RevenueResponse>,
}

impl PlanFigures {
    fn new(plan: &str, summary: &BillingSummary) -> Self {
        use SubscriptionStatus as S;
        let standings = || summary.standings.iter().filter(|sum| sum.plan == plan);
        let count = |of: &dyn Fn(&S) -> bool| {
            let of_status = standings().filter(|sum| of(&sum.status));
            of_status.map(|sum| sum.subscriptions).sum()
        };
        let of_plan = summary.revenue.iter().filter(|((key, _), _)| key == plan);
        Self {
            plan: plan.to_owned(),
            active: count(&|status| *status == S::Active),
            trialing: count(&|status| *status == S::Trialing),
            past_due: count(&|status| *status == S::PastDue),
            other: count(&|status| !status.terminal() && !matches!(status, S::Active | S::Trialing | S::PastDue)),
            unpriced: standings().map(|sum: &StandingSum| sum.unpriced).sum(),
            revenue: of_plan
                .map(|((_, currency), revenue)| RevenueResponse::new(currency, revenue, summary.time()))
                .collect(),
        }
    }
}

/// A part of something.
#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
fn rate(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Trials that began.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TrialFigures)]
pub struct TrialFigures {
    /// The plan.
    #[schema(example = "pro")]
    plan: String,
    /// How many.
    began: i64,
    /// How many of them have paid since.
    paid: i64,
    /// How many are still in it.
    running: i64,
    /// Which part of those that are over paid; `null` if none is.
    rate: Option<f64>,
}

impl From<&TrialSum> for TrialFigures {
    fn from(sum: &TrialSum) -> Self {
        Self {
            plan: sum.plan.clone(),
            began: sum.began,
            paid: sum.paid,
            running: sum.running,
            rate: rate(sum.paid, sum.began - sum.running),
        }
    }
}

/// Accounts that were made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConversionFigures)]
pub struct ConversionFigures {
    /// How many, of those that are still there.
    accounts: i64,
    /// How many of them have ever paid, up to now.
    paid: i64,
    /// Which part; `null` if none was made.
    rate: Option<f64>,
}

impl From<Conversion> for ConversionFigures {
    fn from(conversion: Conversion) -> Self {
        Self {
            accounts: conversion.accounts,
            paid: conversion.paid,
            rate: rate(conversion.paid, conversion.accounts),
        }
    }
}

/// Accounts that first paid in one month.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CohortFigures)]
pub struct CohortFigures {
    /// The month in UTC.
    #[schema(example = "2026-11")]
    month: String,
    /// How many.
    accounts: i64,
    /// How many of them pay at the end of that month, and of each one after it that is over.
    #[schema(example = json!([10, 9, 8]))]
    paying: Vec<i64>,
}

impl From<&Cohort> for CohortFigures {
    fn from(cohort: &Cohort) -> Self {
        Self {
            month: cohort.month.strftime("%Y-%m").to_string(),
            accounts: cohort.accounts,
            paying: cohort.paying.clone(),
        }
    }
}

/// Accounts that used something.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = FeatureFigures)]
pub struct FeatureFigures {
    /// An entitlement of yours that was used up, or `messages`: calls to models that brought an answer.
    #[schema(example = "messages")]
    feature: String,
    /// The plan that was in force; `unknown` where nobody knows it any more.
    #[schema(example = "free")]
    plan: String,
    /// How many accounts. One that changed its plan counts for both.
    accounts: i64,
}

impl From<&FeatureSum> for FeatureFigures {
    fn from(sum: &FeatureSum) -> Self {
        Self {
            feature: sum.feature.clone(),
            plan: sum.plan.clone(),
            accounts: sum.accounts,
        }
    }
}

/// The figures of some days. `docs/guides/billing.md` says what each means.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BillingSummary)]
pub struct SummaryResponse {
    /// When the first day begins.
    from: Timestamp,
    /// When the last day ends.
    until: Timestamp,
    /// Up to when the figures are known: `until` or, if that is to come, now.
    as_of: Timestamp,
    /// Each plan that somebody has or had.
    plans: Vec<PlanFigures>,
    /// All plans together, in each currency.
    totals: Vec<RevenueResponse>,
    /// The trials that began, by plan.
    trials: Vec<TrialFigures>,
    /// The accounts that were made, and whether they paid.
    conversion: ConversionFigures,
    /// The accounts by the month of their first payment: of the twelve months that end with the one of `as_of`.
    cohorts: Vec<CohortFigures>,
    /// How many accounts used what, by plan.
    features: Vec<FeatureFigures>,
    /// From when on what was used up of your own features is known.
    features_since: Timestamp,
    /// What calls to models came to, by plan.
    usage: Vec<UsageResponse>,
}

impl From<BillingSummary> for SummaryResponse {
    fn from(summary: BillingSummary) -> Self {
        let alive = |sum: &&StandingSum| !sum.status.terminal();
        let standing = summary.standings.iter().filter(alive).map(|sum| sum.plan.as_str());
        let plans: BTreeSet<&str> = standing
            .chain(summary.revenue.keys().map(|(plan, _)| plan.as_str()))
            .collect();
        let totals: &BTreeMap<String, Revenue> = &summary.totals;
        Self {
            from: summary.span.from,
            until: summary.span.until,
            as_of: summary.as_of,
            plans: plans.into_iter().map(|plan| PlanFigures::new(plan, &summary)).collect(),
            totals: totals
                .iter()
                .map(|(currency, revenue)| RevenueResponse::new(currency, revenue, summary.time()))
                .collect(),
            trials: summary.trials.iter().map(Into::into).collect(),
            conversion: summary.conversion.into(),
            cohorts: summary.cohorts.iter().map(Into::into).collect(),
            features: summary.features.iter().map(Into::into).collect(),
            features_since: summary.features_since,
            usage: summary
                .usage
                .into_iter()
                .map(|sum| UsageResponse::new(sum, &[UsageGroup::Plan]))
                .collect(),
        }
    }
}

impl From<SummaryError> for Problem {
    fn from(error: SummaryError) -> Self {
        match error {
            SummaryError::InvalidSpan(fault) => query::invalid(fault.to_string()),
            SummaryError::Store(e) => e.into(),
        }
    }
}

/// What subscriptions bring in and how plans are used, in days of UTC.
#[utoipa::path(get, path = "/v1/admin/billing/summary", tag = "admin", params(SummaryQuery), responses((status = 200, description = "The figures.", body = SummaryResponse)))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<SummaryResponse>, Problem> {
    let ask: SummaryQuery = query::read(&request)?;
    let from = ask.from.map(|text| date("from", &text)).transpose()?;
    let until = ask.until.map(|text| date("until", &text)).transpose()?;
    let billing = Arc::clone(&api.billing);
    let summary = api
        .run(async move { billing.summarize_billing(from, until).await })
        .await?;
    Ok(web::Json(summary.into()))
}
