//! What a subscription opens, as a pure function of its state and the time: grace ends without an event.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{Anchor, Catalogue, Entitlement, Grant, Holdings, Override, Plan, Subscription, SubscriptionStatus};
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
    /// Collecting payment was stopped, and that closes the plan here.
    CollectionPaused,
    /// The provider used a word this version does not know. What the last known one decided holds; without one nothing
    /// paid is granted.
    UnknownStatus,
    /// The operator granted the plan.
    Granted,
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
            Self::CollectionPaused => "collection_paused",
            Self::UnknownStatus => "unknown_status",
            Self::Granted => "granted",
        }
    }
}

/// What the operator decides of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessPolicy {
    /// How long a missing payment is borne.
    pub past_due_grace: SignedDuration,
    /// Whether a subscription keeps its plan while collecting its payment is stopped (Stripe's `pause_collection`).
    pub collection_paused_keeps: bool,
}

/// What somebody holds right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The plan in force, with what was granted beside it: the subscription's while it is active, else the default plan.
    pub plan: Arc<Plan>,
    /// For how many seats it is in force, which its limits have been counted for; 1 where it is not sold by the seat.
    pub seats: i64,
    /// The provider's word, `none` without a subscription.
    pub status: String,
    /// Whether a subscription, or a plan that the operator granted, is in force.
    pub active: bool,
    /// Why.
    pub reason: AccessReason,
    /// When this decision ends (or was due to) if no event comes: the end of the paid period, the trial, the grace time
    /// or the grant.
    pub until: Option<Timestamp>,
    /// The plan that a subscription no longer in force was for.
    pub lapsed: Option<Arc<Plan>>,
    /// Until when a subscription in force is paid.
    pub paid_until: Option<Timestamp>,
}

impl Access {
    /// What months of billing are counted from, for an account that was made then.
    pub fn anchor(&self, made: Timestamp) -> Anchor {
        self.paid_until.map_or(Anchor::Since(made), Anchor::PaidUntil)
    }
}

/// Decides what somebody may do at `now`, from nothing but what is given: every end comes by the clock, without an event.
pub fn access(catalogue: &Catalogue, holdings: &Holdings, now: Timestamp, policy: AccessPolicy) -> Access {
    let by_subscription = by_best_subscription(catalogue, holdings, now, policy);
    let holding = || holdings.overrides.iter().filter(|granted| granted.holds(now));
    let decided = match granted_plan(catalogue, holding()) {
        Some((plan, until)) if !by_subscription.active || plan.rank >= by_subscription.plan.rank => {
            // Whoever pays for more seats is not to lose them by what they are given.
            let seats = plan.seats.map_or(1, |rule| rule.min.max(by_subscription.seats));
            Access {
                plan: seated(&plan, seats),
                seats,
                active: true,
                reason: AccessReason::Granted,
                until,
                lapsed: None,
                ..by_subscription
            }
        }
        _ => by_subscription,
    };
    let decided = only_paid_overage(decided);
    let entitlements: Vec<&Entitlement> = newest_of_each(holding());
    if entitlements.is_empty() {
        return decided;
    }
    Access {
        plan: Arc::new(decided.plan.with_entitlements(&entitlements)),
        ..decided
    }
}

/// Whoever does not pay has no more than the plan includes: in a trial, while a payment is missing, by grace.
fn only_paid_overage(decided: Access) -> Access {
    let pays = matches!(decided.reason, AccessReason::Active | AccessReason::CancelsAtPeriodEnd);
    if pays || !decided.plan.has_overage() {
        return decided;
    }
    Access {
        plan: Arc::new(decided.plan.without_overage()),
        ..decided
    }
}

/// The best plan that was granted, and until when.
fn granted_plan<'a>(
    catalogue: &Catalogue,
    overrides: impl Iterator<Item = &'a Override>,
) -> Option<(Arc<Plan>, Option<Timestamp>)> {
    let plans = overrides.filter_map(|granted| match &granted.grant {
        Grant::Plan(key) => Some((catalogue.plan(key)?, granted.expires_at)),
        Grant::Entitlement(_) => None,
    });
    // Of two of one rank the one that lasts longer.
    let lasting = |until: Option<Timestamp>| until.unwrap_or(Timestamp::MAX);
    let best = plans.max_by_key(|(plan, until)| (plan.rank, lasting(*until)));
    best.map(|(plan, until)| (Arc::clone(plan), until))
}

/// A plan with its limits for so many seats.
fn seated(plan: &Arc<Plan>, seats: i64) -> Arc<Plan> {
    plan.for_seats(seats).map_or_else(|| Arc::clone(plan), Arc::new)
}

/// The entitlements that were granted; of two for one thing the later grant.
fn newest_of_each<'a>(overrides: impl Iterator<Item = &'a Override>) -> Vec<&'a Entitlement> {
    let mut kept: Vec<&Entitlement> = Vec::new();
    for granted in overrides {
        if let Grant::Entitlement(entitlement) = &granted.grant {
            kept.retain(|other| !entitlement.replaces(other));
            kept.push(entitlement);
        }
    }
    kept
}

/// By the one of somebody's subscriptions whose plan is the best of those in force.
fn by_best_subscription(catalogue: &Catalogue, holdings: &Holdings, now: Timestamp, policy: AccessPolicy) -> Access {
    let mut best = by_subscription(catalogue, holdings.subscription.as_ref(), now, policy);
    for other in &holdings.others {
        let access = by_subscription(catalogue, Some(other), now, policy);
        if access.active && (!best.active || access.plan.rank > best.plan.rank) {
            best = access;
        }
    }
    best
}

fn by_subscription(
    catalogue: &Catalogue,
    subscription: Option<&Subscription>,
    now: Timestamp,
    policy: AccessPolicy,
) -> Access {
    let default = catalogue.default_plan();
    let Some(sub) = subscription else {
        return Access {
            plan: Arc::clone(default),
            seats: 1,
            status: "none".into(),
            active: false,
            reason: AccessReason::NoSubscription,
            until: None,
            lapsed: None,
            paid_until: None,
        };
    };
    let (active, reason, until) = decide(sub, now, policy);
    // A plan that nobody knows any more cannot be granted; its holders fall to the default plan.
    let own = catalogue.bought(&sub.plan, sub.plan_version);
    let held = own.filter(|_| active);
    let seats = held.and_then(|plan| plan.seats).map_or(1, |_| sub.quantity.max(0));
    Access {
        plan: held.map_or_else(|| Arc::clone(default), |plan| seated(plan, seats)),
        seats,
        status: sub.status.as_str().to_owned(),
        active,
        reason,
        until,
        lapsed: own
            .filter(|_| !active && sub.status != SubscriptionStatus::Incomplete)
            .cloned(),
        paid_until: sub.paid_until.or(sub.current_period_end).filter(|_| active),
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

fn decide(sub: &Subscription, now: Timestamp, policy: AccessPolicy) -> (bool, AccessReason, Option<Timestamp>) {
    use AccessReason as R;
    use SubscriptionStatus as S;
    let Some(status) = sub.known() else {
        return (false, R::UnknownStatus, None);
    };
    let before = |end: Option<Timestamp>| end.is_none_or(|end| now < end);
    let decided = match status {
        S::Active | S::Trialing | S::PastDue if sub.collection_paused && !policy.collection_paused_keeps => {
            (false, R::CollectionPaused, None)
        }
        S::Active => match sub.ends_at() {
            Some(end) if now < end => (true, R::CancelsAtPeriodEnd, Some(end)),
            Some(end) => (false, R::Canceled, Some(end)),
            // A renewal's event may be late; only the provider ends what was paid.
            None => (true, R::Active, sub.current_period_end),
        },
        S::Trialing => {
            let end = earliest(sub.trial_end, sub.ends_at());
            let reason = if before(end) { R::Trialing } else { R::TrialEnded };
            (before(end), reason, end)
        }
        S::PastDue => {
            let since = sub.past_due_since.unwrap_or(sub.as_of);
            let end = earliest(since.saturating_add(policy.past_due_grace).ok(), sub.ends_at());
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
    };
    if matches!(sub.status, S::Other(_)) {
        return (decided.0, R::UnknownStatus, decided.2);
    }
    decided
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
mod tests;
