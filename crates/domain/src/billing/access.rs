//! What a subscription opens, as a pure function of its state and the time: grace ends without an event.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{Anchor, Catalogue, Plan, Subscription, SubscriptionStatus};
use crate::Timestamp;
use crate::chat::ModelAlias;

/// Why access is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessReason {
    /// There is no subscription: the default plan.
    NoSubscription,
    /// Paid.
    Active,
    /// In its trial.
    Trialing,
    /// Paid until the end of the period, then over.
    CancelsAtPeriodEnd,
    /// A payment is missing and the grace time runs.
    PastDueGrace,
    /// A payment is missing and the grace time is over.
    PastDue,
    /// The first payment is outstanding.
    Incomplete,
    /// The trial is over and nothing followed.
    TrialEnded,
    /// It was ended.
    Canceled,
    /// A renewal stayed unpaid.
    Unpaid,
    /// The trial ended without a payment method.
    Paused,
    /// The provider used a word this version does not know; nothing paid is granted on it.
    UnknownStatus,
}

impl AccessReason {
    /// The stable word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSubscription => "no_subscription",
            Self::Active => "active",
            Self::Trialing => "trialing",
            Self::CancelsAtPeriodEnd => "cancels_at_period_end",
            Self::PastDueGrace => "past_due_grace",
            Self::PastDue => "past_due",
            Self::Incomplete => "incomplete",
            Self::TrialEnded => "trial_ended",
            Self::Canceled => "canceled",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::UnknownStatus => "unknown_status",
        }
    }
}

/// What somebody holds right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The plan in force: the subscription's while it is active, else the default plan.
    pub plan: Arc<Plan>,
    /// The provider's word, `none` without a subscription.
    pub status: String,
    /// Whether a subscription is in force.
    pub active: bool,
    /// Why.
    pub reason: AccessReason,
    /// When this decision ends (or was due to) if no event comes: the end of the paid period, trial or grace time.
    pub until: Option<Timestamp>,
    /// The plan that a subscription no longer in force was for.
    pub lapsed: Option<Arc<Plan>>,
    /// The end of the period that a subscription in force is in.
    pub period_end: Option<Timestamp>,
}

impl Access {
    /// What months of billing are counted from, for an account that was made then.
    pub fn anchor(&self, made: Timestamp) -> Anchor {
        self.period_end.map_or(Anchor::Since(made), Anchor::PaidUntil)
    }
}

/// Decides what a subscription opens at `now`; `grace` is how long a missing payment is borne.
pub fn access(
    catalogue: &Catalogue,
    subscription: Option<&Subscription>,
    now: Timestamp,
    grace: SignedDuration,
) -> Access {
    let default = catalogue.default_plan();
    let Some(sub) = subscription else {
        return Access {
            plan: Arc::clone(default),
            status: "none".into(),
            active: false,
            reason: AccessReason::NoSubscription,
            until: None,
            lapsed: None,
            period_end: None,
        };
    };
    let (active, reason, until) = decide(sub, now, grace);
    // A plan that left the configuration cannot be granted; its holders fall to the default plan.
    let own = catalogue.plan(&sub.plan);
    Access {
        plan: Arc::clone(own.filter(|_| active).unwrap_or(default)),
        status: sub.status.as_str().to_owned(),
        active,
        reason,
        until,
        lapsed: own
            .filter(|_| !active && sub.status != SubscriptionStatus::Incomplete)
            .cloned(),
        period_end: sub.current_period_end.filter(|_| active),
    }
}

fn decide(sub: &Subscription, now: Timestamp, grace: SignedDuration) -> (bool, AccessReason, Option<Timestamp>) {
    use AccessReason as R;
    use SubscriptionStatus as S;
    let before = |end: Option<Timestamp>| end.is_none_or(|end| now < end);
    match &sub.status {
        S::Active if sub.cancel_at_period_end && before(sub.current_period_end) => {
            (true, R::CancelsAtPeriodEnd, sub.current_period_end)
        }
        S::Active if sub.cancel_at_period_end => (false, R::Canceled, sub.current_period_end),
        // A renewal's event may be late; only the provider ends what was paid.
        S::Active => (true, R::Active, sub.current_period_end),
        S::Trialing if before(sub.trial_end) => (true, R::Trialing, sub.trial_end),
        S::Trialing => (false, R::TrialEnded, sub.trial_end),
        S::PastDue => {
            let end = sub.past_due_since.unwrap_or(sub.as_of).saturating_add(grace).ok();
            if before(end) {
                (true, R::PastDueGrace, end)
            } else {
                (false, R::PastDue, end)
            }
        }
        S::Incomplete => (false, R::Incomplete, None),
        S::IncompleteExpired | S::Canceled => (false, R::Canceled, None),
        S::Unpaid => (false, R::Unpaid, None),
        S::Paused => (false, R::Paused, None),
        S::Other(_) => (false, R::UnknownStatus, None),
    }
}

/// Whether a model is open to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelAccess {
    /// In the plan.
    Granted,
    /// Only the plan that lapsed had it.
    Lapsed,
    /// Never in the plan, or not offered at all.
    NotInPlan,
}

/// Decides whether `model` is open to the holder of `access`, where `offered` are the deployment's models.
pub fn model_access(access: &Access, offered: &[Arc<ModelAlias>], model: &str) -> ModelAccess {
    let includes = |plan: &Plan| plan.models_of(offered).iter().any(|alias| alias.name == model);
    if includes(&access.plan) {
        return ModelAccess::Granted;
    }
    match &access.lapsed {
        Some(plan) if includes(plan) => ModelAccess::Lapsed,
        _ => ModelAccess::NotInPlan,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::plan::tests::{catalogue, offered};
    use super::*;
    use crate::UserId;
    use crate::billing::Owner;

    const GRACE: SignedDuration = SignedDuration::from_secs(100);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sub(status: &str) -> Subscription {
        Subscription {
            provider: "stripe-stub".into(),
            provider_id: "sub_1".into(),
            owner: Owner::account(UserId(Uuid::nil())),
            plan: "pro".into(),
            plan_version: 1,
            status: SubscriptionStatus::parse(status),
            current_period_end: Some(at(1000)),
            cancel_at_period_end: false,
            trial_end: Some(at(500)),
            past_due_since: Some(at(200)),
            as_of: at(0),
        }
    }

    #[test]
    fn every_status_at_every_time() {
        // status, cancels at period end, now, active, reason, until
        let table = [
            ("active", false, 1, true, "active", Some(1000)),
            ("active", false, 2000, true, "active", Some(1000)),
            ("active", true, 999, true, "cancels_at_period_end", Some(1000)),
            ("active", true, 1000, false, "canceled", Some(1000)),
            ("trialing", false, 499, true, "trialing", Some(500)),
            ("trialing", false, 500, false, "trial_ended", Some(500)),
            ("past_due", false, 299, true, "past_due_grace", Some(300)),
            ("past_due", false, 300, false, "past_due", Some(300)),
            ("incomplete", false, 1, false, "incomplete", None),
            ("incomplete_expired", false, 1, false, "canceled", None),
            ("canceled", false, 1, false, "canceled", None),
            ("unpaid", false, 1, false, "unpaid", None),
            ("paused", false, 1, false, "paused", None),
            ("brand_new_word", false, 1, false, "unknown_status", None),
        ];
        for (status, cancels, now, active, reason, until) in table {
            let mut sub = sub(status);
            sub.cancel_at_period_end = cancels;
            let got = access(&catalogue(), Some(&sub), at(now), GRACE);
            assert_eq!(
                (got.active, got.reason.as_str(), got.until),
                (active, reason, until.map(at)),
                "{status} at {now}"
            );
            assert_eq!(got.plan.key, if active { "pro" } else { "free" }, "{status} at {now}");
            assert_eq!(got.status, status);
        }
        let none = access(&catalogue(), None, at(1), GRACE);
        assert_eq!(
            (
                none.plan.key.as_str(),
                none.status.as_str(),
                none.active,
                none.reason.as_str()
            ),
            ("free", "none", false, "no_subscription")
        );
    }

    #[test]
    fn a_model_of_a_lapsed_plan_is_told_from_one_that_was_never_in_it() {
        let offered = offered(&["small", "large"]);
        let check = |sub: Option<&Subscription>, model: &str| {
            model_access(&access(&catalogue(), sub, at(1), GRACE), &offered, model)
        };
        assert_eq!(check(None, "small"), ModelAccess::Granted);
        assert_eq!(check(None, "large"), ModelAccess::NotInPlan);
        assert_eq!(check(Some(&sub("active")), "large"), ModelAccess::Granted);
        assert_eq!(check(Some(&sub("canceled")), "large"), ModelAccess::Lapsed);
        assert_eq!(check(Some(&sub("canceled")), "small"), ModelAccess::Granted);
        // An unpaid first invoice never opened the plan, so it cannot have lapsed.
        assert_eq!(check(Some(&sub("incomplete")), "large"), ModelAccess::NotInPlan);
        assert_eq!(check(Some(&sub("active")), "unheard-of"), ModelAccess::NotInPlan);
    }

    #[test]
    fn a_plan_that_left_the_configuration_falls_to_the_default() {
        let mut sub = sub("active");
        sub.plan = "gone".into();
        assert_eq!(access(&catalogue(), Some(&sub), at(1), GRACE).plan.key, "free");
    }
}
