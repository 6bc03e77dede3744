//! What subscriptions bring in: what each comes to in a month, what changed of it, and the figures of a time.
//!
//! Money is in a currency's smallest unit, and no two currencies are ever added.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::{Owner, Price, Subscription, SubscriptionStatus};

/// What one subscription counts for in a month at most, so that no sum ever runs over: a price may be any number.
const MOST: i64 = 1_000_000_000_000_000;

/// A month for rates: the twelfth part of 365.25 days, in seconds.
const MONTH_SECONDS: i64 = 2_629_800;

/// How many months of first payments are told apart.
const COHORTS: i64 = 12;

/// What a price comes to in a month, for so many seats, rounded to the next smallest unit; `None` of an interval that this
/// version does not know, and of less than nothing.
pub fn monthly_amount(price: &Price, quantity: i64) -> Option<i64> {
    let a_year = match price.interval.as_str() {
        "day" => 365,
        "week" => 52,
        "month" => 12,
        "year" => 1,
        _ => return None,
    };
    let paid = i128::from(price.amount) * i128::from(quantity);
    let month = (paid.saturating_mul(a_year).saturating_add(6)) / 12;
    (paid >= 0).then(|| i64::try_from(month).unwrap_or(MOST).min(MOST))
}

/// How a subscription stands, as far as figures go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The provider's status.
    pub status: SubscriptionStatus,
    /// The plan's key.
    pub plan: String,
    /// The plan's version.
    pub plan_version: i32,
    /// What it pays for a month, before discounts and taxes: 0 while it pays nothing (a trial, an end, collecting that was
    /// stopped), `None` if it pays and nobody knows what.
    pub monthly: Option<i64>,
    /// The currency of its price: ISO 4217, lower case.
    pub currency: Option<String>,
}

impl Standing {
    /// That of a subscription. It pays while it is `active` or `past_due`.
    pub fn of(subscription: &Subscription) -> Self {
        use SubscriptionStatus as S;
        let paying = matches!(subscription.known(), Some(S::Active | S::PastDue)) && !subscription.collection_paused;
        let price = subscription.price.as_ref();
        let monthly = price.and_then(|price| monthly_amount(price, subscription.quantity));
        Self {
            status: subscription.status.clone(),
            plan: subscription.plan.clone(),
            plan_version: subscription.plan_version,
            monthly: if paying { monthly } else { Some(0) },
            currency: price.map(|price| price.currency.clone()),
        }
    }
}

/// What a subscription turned from and into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// The payment provider's name.
    pub provider: String,
    /// The provider's identifier.
    pub provider_id: String,
    /// The subscription's revision with it: later changes have a higher one.
    pub revision: i64,
    /// Whose it is.
    pub owner: Owner,
    /// When it was learned of.
    pub at: Timestamp,
    /// How it stood; `None` of the first.
    pub from: Option<Standing>,
    /// How it stands.
    pub into: Standing,
}

impl SubscriptionChange {
    /// What changed of a subscription since `from`; `None` if nothing of what counts for figures did.
    pub fn since(from: Option<Standing>, subscription: &Subscription, revision: i64) -> Option<Self> {
        let into = Standing::of(subscription);
        (from.as_ref() != Some(&into)).then(|| Self {
            provider: subscription.provider.clone(),
            provider_id: subscription.provider_id.clone(),
            revision,
            owner: subscription.owner,
            at: subscription.as_of,
            from,
            into,
        })
    }
}

/// How many subscriptions stand alike at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingSum {
    /// Their plan.
    pub plan: String,
    /// Their status.
    pub status: SubscriptionStatus,
    /// The currency of their price.
    pub currency: Option<String>,
    /// How many.
    pub subscriptions: i64,
    /// Of these, those that pay something that is known.
    pub paying: i64,
    /// Of these, those that pay and nobody knows what.
    pub unpriced: i64,
    /// What those pay for a month whose price is known.
    pub monthly: i64,
}

/// What subscriptions paid before or after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// For which plan.
    pub plan: String,
    /// In which currency.
    pub currency: String,
    /// How much for a month, together.
    pub monthly: i64,
}

/// Changes of one kind. Those after which more is paid, less, or as much are never one sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSum {
    /// What was paid before; `None` if nothing was.
    pub from: Option<Paid>,
    /// What is paid after; `None` if nothing is.
    pub into: Option<Paid>,
    /// Whether the accounts had never paid before.
    pub first: bool,
    /// How many.
    pub changes: i64,
}

/// Subscriptions that did the same, and what that is in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Movement {
    /// How many.
    pub subscriptions: i64,
    /// How much for a month.
    pub monthly: i64,
}

impl AddAssign for Movement {
    fn add_assign(&mut self, other: Self) {
        self.subscriptions += other.subscriptions;
        self.monthly += other.monthly;
    }
}

/// The revenue of a time, in one currency. What stood before, and what came, less what went, is what stands after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revenue {
    /// What was paid when it began.
    pub before: Movement,
    /// Began to pay, of accounts that never had.
    pub new: Movement,
    /// Began to pay, of accounts that had once.
    pub returned: Movement,
    /// Pay more than they did.
    pub expanded: Movement,
    /// Pay less than they did, and how much less.
    pub contracted: Movement,
    /// Came from another plan, with what they paid there.
    pub moved_in: Movement,
    /// Went to another plan, with what they paid here.
    pub moved_out: Movement,
    /// No longer pay, and what they paid.
    pub churned: Movement,
    /// What is paid when it ends.
    pub after: Movement,
}

impl AddAssign for Revenue {
    fn add_assign(&mut self, other: Self) {
        self.before += other.before;
        self.new += other.new;
        self.returned += other.returned;
        self.expanded += other.expanded;
        self.contracted += other.contracted;
        self.moved_in += other.moved_in;
        self.moved_out += other.moved_out;
        self.churned += other.churned;
        self.after += other.after;
    }
}

impl Revenue {
    /// What a subscription pays for a month, on average; `None` if none pays.
    pub fn average(&self) -> Option<i64> {
        quotient(self.after.monthly.into(), self.after.subscriptions.into())
    }

    /// Which part of the paying subscriptions ended in a month, when this is of so long a time: those that churned, by the
    /// mean of those that paid at its beginning and at its end. `None` if none paid at either, so that there is nothing
    /// to compare with.
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    pub fn churn_rate(&self, time: SignedDuration) -> Option<f64> {
        let paying = (self.before.subscriptions + self.after.subscriptions) as f64 / 2.0;
        let months = time.as_secs() as f64 / MONTH_SECONDS as f64;
        (paying > 0.0 && months > 0.0).then(|| self.churned.subscriptions as f64 / paying / months)
    }

    /// What a subscription brings in until it ends, if all goes on as in this time: what one pays for a month, divided by
    /// the rate of churn, both by the mean of beginning and end. `None` where none churned or none paid: then nobody
    /// knows.
    pub fn lifetime_value(&self, time: SignedDuration) -> Option<i64> {
        let twice = i128::from(self.before.monthly) + i128::from(self.after.monthly);
        let months = i128::from(2 * MONTH_SECONDS) * i128::from(self.churned.subscriptions);
        let seconds = i128::from(time.as_secs());
        (twice > 0 && seconds > 0).then(|| quotient(twice * seconds, months))?
    }
}

/// Rounded; `None` of a division by nothing.
fn quotient(dividend: i128, divisor: i128) -> Option<i64> {
    (divisor > 0).then(|| i64::try_from((2 * dividend + divisor) / (2 * divisor)).unwrap_or(i64::MAX))
}

/// Whose revenue: a plan's, in a currency.
pub type PlanAndCurrency = (String, String);

/// The revenue of each plan in each currency, of how all stood before and after, and what changed between.
pub fn revenue(
    before: &[StandingSum],
    after: &[StandingSum],
    changes: &[ChangeSum],
) -> BTreeMap<PlanAndCurrency, Revenue> {
    let mut all: BTreeMap<PlanAndCurrency, Revenue> = BTreeMap::new();
    let mut at = |plan: &str, currency: &str, add: &dyn Fn(&mut Revenue)| {
        add(all.entry((plan.to_owned(), currency.to_owned())).or_default());
    };
    let paying = |sum: &StandingSum| Movement {
        subscriptions: sum.paying,
        monthly: sum.monthly,
    };
    let priced = |sum: &&StandingSum| sum.paying != 0;
    for sum in before.iter().filter(priced) {
        let currency = sum.currency.as_deref().unwrap_or_default();
        at(&sum.plan, currency, &|revenue| revenue.before += paying(sum));
    }
    for sum in after.iter().filter(priced) {
        let currency = sum.currency.as_deref().unwrap_or_default();
        at(&sum.plan, currency, &|revenue| revenue.after += paying(sum));
    }
    for change in changes {
        let moved = |monthly| Movement {
            subscriptions: change.changes,
            monthly,
        };
        match (&change.from, &change.into) {
            (None, None) => {}
            (None, Some(into)) => at(&into.plan, &into.currency, &|revenue| {
                if change.first {
                    revenue.new += moved(into.monthly);
                } else {
                    revenue.returned += moved(into.monthly);
                }
            }),
            (Some(from), None) => at(&from.plan, &from.currency, &|revenue| {
                revenue.churned += moved(from.monthly);
            }),
            (Some(from), Some(into)) => {
                // In another currency there is nothing to compare with.
                let same = from.currency == into.currency;
                let brought = if same { from.monthly } else { into.monthly };
                if !same || from.plan != into.plan {
                    at(&from.plan, &from.currency, &|revenue| {
                        revenue.moved_out += moved(from.monthly);
                    });
                    at(&into.plan, &into.currency, &|revenue| {
                        revenue.moved_in += moved(brought);
                    });
                }
                let more = into.monthly - brought;
                at(&into.plan, &into.currency, &|revenue| match more {
                    0 => {}
                    1.. => revenue.expanded += moved(more),
                    _ => revenue.contracted += moved(-more),
                });
            }
        }
    }
    all
}

/// The revenue of all plans together, in each currency.
pub fn totals(revenue: &BTreeMap<PlanAndCurrency, Revenue>) -> BTreeMap<String, Revenue> {
    let mut totals: BTreeMap<String, Revenue> = BTreeMap::new();
    for ((_, currency), of_plan) in revenue {
        *totals.entry(currency.clone()).or_default() += *of_plan;
    }
    totals
}

/// What changed in one month of how many accounts pay, of those that first paid in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CohortStep {
    /// When the month in UTC of their first payment began.
    pub first: Timestamp,
    /// When the month began in which it changed.
    pub month: Timestamp,
    /// How many paid for the first time in it.
    pub began: i64,
    /// How many more, or fewer, pay at its end than before it.
    pub change: i64,
}

/// Accounts that first paid in one month, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    /// The first day of that month.
    pub month: Date,
    /// How many.
    pub accounts: i64,
    /// How many of them pay at the end of that month, and of each one after it that is over.
    pub paying: Vec<i64>,
}

/// The accounts by the month of their first payment, of the twelve months that end with the one in which `until` lies. In
/// months in which nobody first paid there is none.
pub fn cohorts(steps: &[CohortStep], until: Timestamp) -> Vec<Cohort> {
    let last = month_of(until);
    let Some(earliest) = months_after(last, 1 - COHORTS) else {
        return Vec::new();
    };
    let mut months: Vec<Date> = steps.iter().map(|step| month_of(step.first)).collect();
    months.sort_unstable();
    months.dedup();
    let told = months.into_iter().filter(|month| *month >= earliest && *month <= last);
    told.map(|month| {
        let of_month = || steps.iter().filter(move |step| month_of(step.first) == month);
        let over = (0..).map_while(|age| months_after(month, age).filter(|month| *month < last));
        Cohort {
            month,
            accounts: of_month().map(|step| step.began).sum(),
            paying: over
                .map(|end| {
                    of_month()
                        .filter(|step| month_of(step.month) <= end)
                        .map(|step| step.change)
                        .sum()
                })
                .collect(),
        }
    })
    .collect()
}

/// The first day of the month in UTC that `at` lies in.
fn month_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date().first_of_month()
}

fn months_after(month: Date, months: i64) -> Option<Date> {
    month.checked_add(Span::new().try_months(months).ok()?).ok()
}

/// Accounts that were made in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conversion {
    /// How many.
    pub accounts: i64,
    /// How many of them have paid since.
    pub paid: i64,
}

/// Trials of a plan that began in a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialSum {
    /// The plan.
    pub plan: String,
    /// How many.
    pub began: i64,
    /// How many of the subscriptions have paid since.
    pub paid: i64,
    /// How many still are in it.
    pub running: i64,
}

/// Who used something in a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSum {
    /// What: an entitlement that is used up, or `messages` for calls to models.
    pub feature: String,
    /// The plan that was in force; [`super::PLAN_UNKNOWN`] where nobody knows it any more.
    pub plan: String,
    /// How many accounts.
    pub accounts: i64,
}

#[cfg(test)]
mod tests;
