//! What subscriptions bring in and how they are used, added up for the operator's people.

use std::collections::BTreeMap;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{
    Cohort, Conversion, FeatureSum, InvalidUsageSpan, PlanAndCurrency, Revenue, StandingSum, TrialSum, UsageGroup,
    UsageSpan, cohorts, revenue, totals,
};
use anteroom_ports::StoreError;
use anteroom_ports::billing::{UsageAsk, UsageSum};
use jiff::SignedDuration;
use jiff::civil::Date;

use super::Billing;
use super::use_entitlement::KNOWN_FOR;
use crate::earlier;

/// The most plans whose usage is told apart.
const MAX_PLANS: i64 = 1000;

/// The figures of some days.
#[derive(Debug, Clone)]
pub struct BillingSummary {
    /// The days.
    pub span: UsageSpan,
    /// Up to when they are known: their end or, if that is to come, now.
    pub as_of: Timestamp,
    /// How subscriptions stand at the end, in no order.
    pub standings: Vec<StandingSum>,
    /// The revenue of each plan in each currency.
    pub revenue: BTreeMap<PlanAndCurrency, Revenue>,
    /// That of all plans together, in each currency.
    pub totals: BTreeMap<String, Revenue>,
    /// The trials that began.
    pub trials: Vec<TrialSum>,
    /// The accounts that were made.
    pub conversion: Conversion,
    /// The accounts by the month of their first payment.
    pub cohorts: Vec<Cohort>,
    /// How many accounts used what.
    pub features: Vec<FeatureSum>,
    /// From when on it is known what was used up of the operator's own.
    pub features_since: Timestamp,
    /// What calls to models came to, by plan.
    pub usage: Vec<UsageSum>,
}

impl BillingSummary {
    /// How much of the days has passed.
    pub fn time(&self) -> SignedDuration {
        self.as_of.duration_since(self.span.from).max(SignedDuration::ZERO)
    }
}

/// Why nothing was added up.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// The days are none that can be asked for.
    #[error(transparent)]
    InvalidSpan(#[from] InvalidUsageSpan),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// The figures from a day on and before another (in UTC). Without an end today is the last, without a beginning there
    /// are 30 days.
    pub async fn summarize_billing(
        &self,
        from: Option<Date>,
        until: Option<Date>,
    ) -> Result<BillingSummary, SummaryError> {
        let now = self.clock.now();
        let span = UsageSpan::new(from, until, now)?;
        let (from, until, as_of) = (span.from, span.until, span.until.min(now));
        let mut reads = self.store.read().await?;
        let before = reads.sum_standings(from).await?;
        let standings = reads.sum_standings(until).await?;
        let changes = reads.sum_subscription_changes(from, until).await?;
        let by_plan = UsageAsk {
            owner: None,
            span,
            by: vec![UsageGroup::Plan],
        };
        let revenue = revenue(&before, &standings, &changes);
        Ok(BillingSummary {
            span,
            as_of,
            totals: totals(&revenue),
            revenue,
            standings,
            trials: reads.sum_trials(from, until).await?,
            conversion: reads.count_conversions(from, until).await?,
            cohorts: cohorts(&reads.sum_cohorts(until).await?, as_of),
            features: reads.sum_features(from, until).await?,
            features_since: from.max(earlier(now, KNOWN_FOR)),
            usage: reads.sum_usage(&by_plan, MAX_PLANS).await?,
        })
    }
}
