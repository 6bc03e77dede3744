//! Plans, subscriptions, what they give access to, quotas and money.

mod access;
mod money;
mod plan;
mod quota;
mod usage;

pub use access::{Access, AccessReason, ModelAccess, access, model_access};
pub use money::{ModelPrice, NanoUsd, PriceBook};
pub use plan::{Catalogue, Entitlement, EntitlementKind, InvalidCatalogue, ModelRule, Plan, Price};
pub use quota::{
    Anchor, Hold, METER_KEY_BUDGET, METER_MESSAGES, METER_SPEND, METER_SPEND_SHARE, Meter, QuotaKey, Window,
    WindowSpan, counter_named, day_of,
};
pub use usage::{InvalidUsageSpan, MAX_USAGE_DAYS, PLAN_UNKNOWN, UsageGroup, UsageSpan, UsageTotals};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ApiKeyId, Timestamp, UserId};

/// What kind of thing may own a subscription, a quota or usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A user's own account.
    Account,
    /// A group of users.
    Organization,
    /// A program.
    Application,
    /// A key that programs use an account with: its own budget.
    ApiKey,
    /// The deployment as a whole: the operator's own limits.
    Deployment,
}

impl OwnerKind {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Organization => "organization",
            Self::Application => "application",
            Self::ApiKey => "api_key",
            Self::Deployment => "deployment",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Account,
            Self::Organization,
            Self::Application,
            Self::ApiKey,
            Self::Deployment,
        ]
        .into_iter()
        .find(|k| k.as_str() == word)
    }
}

/// Who owns a subscription, a quota or usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its identifier among that kind.
    pub id: Uuid,
}

impl Owner {
    /// The deployment as a whole.
    pub const DEPLOYMENT: Self = Self {
        kind: OwnerKind::Deployment,
        id: Uuid::nil(),
    };

    /// A user's own account.
    pub fn account(user: UserId) -> Self {
        Self {
            kind: OwnerKind::Account,
            id: user.0,
        }
    }

    /// A key of a user's own account.
    pub fn api_key(key: ApiKeyId) -> Self {
        Self {
            kind: OwnerKind::ApiKey,
            id: key.0,
        }
    }
}

/// A subscription's status, in Stripe's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionStatus {
    /// The first payment is outstanding.
    Incomplete,
    /// The first payment never came; terminal.
    IncompleteExpired,
    /// In its trial.
    Trialing,
    /// Paid.
    Active,
    /// A renewal is unpaid and still being tried.
    PastDue,
    /// A renewal stayed unpaid.
    Unpaid,
    /// Over; terminal.
    Canceled,
    /// The trial ended without a payment method.
    Paused,
    /// A word this version does not know.
    Other(String),
}

impl SubscriptionStatus {
    const KNOWN: [Self; 8] = [
        Self::Incomplete,
        Self::IncompleteExpired,
        Self::Trialing,
        Self::Active,
        Self::PastDue,
        Self::Unpaid,
        Self::Canceled,
        Self::Paused,
    ];

    /// The provider's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
            Self::Other(word) => word,
        }
    }

    /// Reads the provider's word.
    pub fn parse(word: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|s| s.as_str() == word)
            .unwrap_or_else(|| Self::Other(word.to_owned()))
    }

    /// Whether nothing can follow it.
    pub fn terminal(&self) -> bool {
        matches!(self, Self::IncompleteExpired | Self::Canceled)
    }
}

/// A subscription as the payment provider last described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The payment provider's name.
    pub provider: String,
    /// The provider's identifier, unique with its name.
    pub provider_id: String,
    /// Whose it is.
    pub owner: Owner,
    /// The plan's key.
    pub plan: String,
    /// The plan's version when it was bought.
    pub plan_version: i32,
    /// The provider's status.
    pub status: SubscriptionStatus,
    /// End of the paid period.
    pub current_period_end: Option<Timestamp>,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// End of the trial.
    pub trial_end: Option<Timestamp>,
    /// Since when a payment is missing.
    pub past_due_since: Option<Timestamp>,
    /// When the provider says this state came to be; an older one never overwrites a newer one.
    pub as_of: Timestamp,
}

impl Subscription {
    /// Whether `next` may replace this state: it is not older, and a terminal state stays (also against a tie,
    /// since providers' times have a resolution of a second).
    pub fn yields_to(&self, next: &Self) -> bool {
        !self.status.terminal() && next.as_of >= self.as_of
    }

    /// The state after `next`: as told, but a payment that is still missing has been missing since it first was, or
    /// every further event would start the grace time anew.
    #[must_use]
    pub fn succeeded_by(&self, next: &Self) -> Self {
        let still_missing = self.status == SubscriptionStatus::PastDue && next.status == SubscriptionStatus::PastDue;
        let since = self.past_due_since.filter(|_| still_missing);
        Self {
            past_due_since: since.or(next.past_due_since),
            ..next.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(status: SubscriptionStatus, second: i64) -> Subscription {
        Subscription {
            provider: "stripe-stub".into(),
            provider_id: "sub_1".into(),
            owner: Owner::account(UserId(Uuid::nil())),
            plan: "pro".into(),
            plan_version: 1,
            status,
            current_period_end: None,
            cancel_at_period_end: false,
            trial_end: None,
            past_due_since: None,
            as_of: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn events_out_of_order_end_in_the_newest_state() {
        let active = sub(SubscriptionStatus::Active, 10);
        assert!(active.yields_to(&sub(SubscriptionStatus::PastDue, 11)));
        assert!(active.yields_to(&sub(SubscriptionStatus::Canceled, 10)));
        assert!(!active.yields_to(&sub(SubscriptionStatus::Incomplete, 9)));
        assert!(!sub(SubscriptionStatus::Canceled, 10).yields_to(&sub(SubscriptionStatus::Active, 12)));
    }

    #[test]
    fn a_payment_is_missing_since_it_first_was() {
        let since = |second| Some(Timestamp::from_second(second).unwrap());
        let past_due = |second| Subscription {
            past_due_since: since(second),
            ..sub(SubscriptionStatus::PastDue, second)
        };
        assert_eq!(past_due(10).succeeded_by(&past_due(20)).past_due_since, since(10));
        let active = sub(SubscriptionStatus::Active, 15);
        assert_eq!(past_due(10).succeeded_by(&active).past_due_since, None);
        assert_eq!(active.succeeded_by(&past_due(20)).past_due_since, since(20));
    }

    #[test]
    fn stored_words_survive_a_round_trip() {
        for status in SubscriptionStatus::KNOWN {
            assert_eq!(SubscriptionStatus::parse(status.as_str()), status);
        }
        assert_eq!(SubscriptionStatus::parse("odd").as_str(), "odd");
        for kind in [
            OwnerKind::Account,
            OwnerKind::Organization,
            OwnerKind::Application,
            OwnerKind::ApiKey,
            OwnerKind::Deployment,
        ] {
            assert_eq!(OwnerKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(OwnerKind::parse("x"), None);
    }
}
