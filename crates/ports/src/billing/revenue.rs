//! Lists of everybody's subscriptions, and the figures of what they bring in.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use async_trait::async_trait;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{
    ChangeSum, CohortStep, Conversion, FeatureSum, Owner, StandingSum, Subscription, SubscriptionChange, TrialSum,
};

use crate::StoreResult;

/// Which subscriptions are asked for; all that is named has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionFilter {
    /// Whose.
    pub owner: Option<Owner>,
    /// With this status, in the provider's words.
    pub status: Option<String>,
    /// To this plan.
    pub plan: Option<String>,
}

/// Where a page of subscriptions ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionCursor {
    /// When the last one was first seen.
    pub created_at: Timestamp,
    /// Its provider.
    pub provider: String,
    /// The provider's identifier.
    pub provider_id: String,
}

impl Display for SubscriptionCursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let at = self.created_at.as_microsecond();
        write!(f, "{at}.{}.{}", self.provider, self.provider_id)
    }
}

/// This is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of subscriptions")]
pub struct NotACursor;

impl FromStr for SubscriptionCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        // Providers are Anteroom's own words, without a dot.
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(NotACursor);
        let (at, provider, provider_id) = (part()?, part()?, part()?);
        let at = at.parse().map_err(|_| NotACursor)?;
        Ok(Self {
            created_at: Timestamp::from_microsecond(at).map_err(|_| NotACursor)?,
            provider: provider.to_owned(),
            provider_id: provider_id.to_owned(),
        })
    }
}

/// A subscription in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSubscription {
    /// What stands there.
    pub subscription: Subscription,
    /// When it was first seen.
    pub created_at: Timestamp,
}

impl ListedSubscription {
    /// Where a page ends that this is the last of.
    pub fn cursor(&self) -> SubscriptionCursor {
        SubscriptionCursor {
            created_at: self.created_at,
            provider: self.subscription.provider.clone(),
            provider_id: self.subscription.provider_id.clone(),
        }
    }
}

/// Finding subscriptions of everybody, and adding up what they come to. Nothing is read row by row to be added up.
#[async_trait]
pub trait RevenueRead: Send {
    /// Subscriptions of all providers, newest first (by when they were first seen), at most `limit`, after the one that is
    /// named.
    async fn page_subscriptions(
        &mut self,
        filter: &SubscriptionFilter,
        before: Option<&SubscriptionCursor>,
        limit: i64,
    ) -> StoreResult<Vec<ListedSubscription>>;

    /// The last change of a subscription.
    async fn last_subscription_change(
        &mut self,
        provider: &str,
        provider_id: &str,
    ) -> StoreResult<Option<SubscriptionChange>>;

    /// What changed of an owner's subscriptions, the latest first, at most `limit`.
    async fn subscription_changes_of(&mut self, owner: Owner, limit: i64) -> StoreResult<Vec<SubscriptionChange>>;

    /// How many subscriptions stood how before a moment, by plan, status and currency. Of what stands alike there is one
    /// row, in no order.
    async fn sum_standings(&mut self, before: Timestamp) -> StoreResult<Vec<StandingSum>>;

    /// What changed of what is paid from a moment on and before another, as sums of what is alike.
    async fn sum_subscription_changes(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Vec<ChangeSum>>;

    /// How the accounts that ever paid went on, by the months in UTC of their first payment and of the change, before a
    /// moment. An account pays while any of its subscriptions does.
    async fn sum_cohorts(&mut self, until: Timestamp) -> StoreResult<Vec<CohortStep>>;

    /// The accounts that were made in a time and are still there, and how many of them have ever paid.
    async fn count_conversions(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Conversion>;

    /// The trials that began in a time, by plan, in its order.
    async fn sum_trials(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Vec<TrialSum>>;

    /// How many accounts used what, by the plan that was in force, in the order of both: calls to models that brought an
    /// answer, and what was used up of the operator's own and has not been purged.
    async fn sum_features(&mut self, from: Timestamp, until: Timestamp) -> StoreResult<Vec<FeatureSum>>;
}

/// Noting what changes of subscriptions.
#[async_trait]
pub trait RevenueWrite: Send {
    /// Notes a change, for good. Its subscription and revision are its key.
    async fn insert_subscription_change(&mut self, change: &SubscriptionChange) -> StoreResult<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_handed_out() {
        let cursor = SubscriptionCursor {
            created_at: "2026-11-27T12:00:00.000001Z".parse().unwrap(),
            provider: "stripe-stub".into(),
            provider_id: "sub_1.2".into(),
        };
        assert_eq!(cursor.to_string(), "1795780800000001.stripe-stub.sub_1.2");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in [
            "",
            "1",
            "1.stripe",
            "1.stripe.",
            "x.stripe.sub_1",
            "1..sub_1",
            "9223372036854775807.a.b",
        ] {
            assert_eq!(text.parse::<SubscriptionCursor>(), Err(NotACursor), "{text}");
        }
    }
}
