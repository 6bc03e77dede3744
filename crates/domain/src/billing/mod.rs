//! Plans, subscriptions, what they give access to, quotas and money.

mod access;
mod credits;
mod features;
mod money;
mod notices;
mod overage;
mod overrides;
mod plan;
mod quota;
mod revenue;
mod seats;
mod subscription;
mod usage;

pub use access::{Access, AccessPolicy, AccessReason, ModelAccess, access, model_access};
pub use credits::{
    CreditAccount, CreditEntry, CreditEntryKind, CreditGrant, CreditRate, CreditSource, Credits, IncludedCredits,
    METER_CREDITS,
};
pub use features::{FeatureNotInPlan, Operation, Requirements};
pub use money::{ModelPrice, NanoUsd, PriceBook};
pub use notices::{Borne, HeldAt, Notice, NoticeKind, PlanChangeReason, notices, quota_notice, trial_ending};
pub use overage::{InvalidUnitAmount, Overage, OverageAccount, OveragePrice, UnitAmount};
pub use overrides::{Grant, Holdings, Override};
pub use plan::{Catalogue, Entitlement, EntitlementKind, InvalidCatalogue, ModelRule, Plan, PlanTrial, Price};
pub use quota::{
    Anchor, Hold, METER_KEY_BUDGET, METER_MESSAGES, METER_SPEND, METER_SPEND_SHARE, Meter, QuotaKey, Window,
    WindowSpan, counter_named, day_of,
};
pub use revenue::{
    ChangeSum, Cohort, CohortStep, Conversion, FeatureSum, Movement, Paid, PlanAndCurrency, Revenue, Standing,
    StandingSum, SubscriptionChange, TrialSum, cohorts, monthly_amount, revenue, totals,
};
pub use seats::{SeatRule, SeatsRefused};
pub use subscription::{Subscription, SubscriptionStatus};
pub use usage::{InvalidUsageSpan, MAX_USAGE_DAYS, PLAN_UNKNOWN, UsageGroup, UsageSpan, UsageTotals};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ApiKeyId, UserId};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_words_of_owners_survive_a_round_trip() {
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
