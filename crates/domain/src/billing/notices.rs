//! What a subscriber is told by mail, and when: pure functions of how things stood and how they stand.

use jiff::SignedDuration;

use super::{Access, AccessReason, Catalogue, Plan, Subscription, SubscriptionStatus};
use crate::Timestamp;

/// What somebody is told of. With the owner and what it refers to it is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Another plan is in force.
    PlanChanged,
    /// Another plan is going to be in force.
    PlanWillChange,
    /// The plan was going to change, and is not any more.
    PlanStays,
    /// A payment is missing.
    PaymentFailed,
    /// A trial is about to end.
    TrialEnding,
    /// Most of a limit is used up.
    QuotaNear,
    /// A limit is used up.
    QuotaUsedUp,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PlanChanged,
        Self::PlanWillChange,
        Self::PlanStays,
        Self::PaymentFailed,
        Self::TrialEnding,
        Self::QuotaNear,
        Self::QuotaUsedUp,
    ];

    /// The word that is stored and logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlanChanged => "plan_changed",
            Self::PlanWillChange => "plan_will_change",
            Self::PlanStays => "plan_stays",
            Self::PaymentFailed => "payment_failed",
            Self::TrialEnding => "trial_ending",
            Self::QuotaNear => "quota_80",
            Self::QuotaUsedUp => "quota_100",
        }
    }
}

/// Why another plan is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanChangeReason {
    /// It was bought, or chosen.
    Chosen,
    /// It was bought and begins with a trial, which ends then.
    Trial(Option<Timestamp>),
    /// A payment for the former one is missing.
    Unpaid,
    /// The former one's trial is over, and nothing followed.
    TrialOver,
    /// The former one's subscription is over.
    Ended,
}

/// How long a missing payment is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Borne {
    /// The plan stays in force until then.
    Until(Timestamp),
    /// The plan is closed until it is paid.
    No,
    /// What is in force does not hang on this payment: the operator granted it, or stopped collecting.
    Apart,
}

/// What there is to tell after a look at the provider. Plans are called as people read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another plan is in force.
    PlanChanged {
        /// The former one.
        from: String,
        /// The one in force.
        to: String,
        /// Why.
        why: PlanChangeReason,
    },
    /// Another plan is going to be in force.
    PlanWillChange {
        /// The one in force.
        from: String,
        /// The next one.
        to: String,
        /// From when on.
        on: Timestamp,
    },
    /// The plan was going to change, and is not any more.
    PlanStays {
        /// The one in force.
        plan: String,
    },
    /// A payment is missing.
    PaymentFailed {
        /// What it was to pay for.
        plan: String,
        /// Since when it is missing.
        since: Timestamp,
        /// How long that is borne.
        borne: Borne,
    },
}

impl Notice {
    /// What it tells of.
    pub fn kind(&self) -> NoticeKind {
        match self {
            Self::PlanChanged { .. } => NoticeKind::PlanChanged,
            Self::PlanWillChange { .. } => NoticeKind::PlanWillChange,
            Self::PlanStays { .. } => NoticeKind::PlanStays,
            Self::PaymentFailed { .. } => NoticeKind::PaymentFailed,
        }
    }
}

/// How an owner stands: the subscription that counts, and what it and the operator's grants open.
#[derive(Debug, Clone, Copy)]
pub struct HeldAt<'a> {
    /// The subscription.
    pub subscription: Option<&'a Subscription>,
    /// What is open.
    pub access: &'a Access,
}

/// What an owner is told when they stood like `before` and stand like `after`; nothing, if nothing is new.
pub fn notices(catalogue: &Catalogue, before: HeldAt<'_>, after: HeldAt<'_>) -> Vec<Notice> {
    let (old, new) = (&before.access.plan, &after.access.plan);
    let failed = payment_failed(catalogue, before, after);
    // Closing the plan at once is what that mail says.
    let said = matches!(failed, Some(Notice::PaymentFailed { borne: Borne::No, .. }));
    let changed = (old.key != new.key && !said).then(|| Notice::PlanChanged {
        from: old.name.clone(),
        to: new.name.clone(),
        why: why(after.access),
    });
    failed
        .into_iter()
        .chain(changed)
        .chain(planned_change(catalogue, before, after))
        .collect()
}

fn payment_failed(catalogue: &Catalogue, before: HeldAt<'_>, after: HeldAt<'_>) -> Option<Notice> {
    let missing = |sub: &&Subscription| sub.status == SubscriptionStatus::PastDue;
    let sub = after.subscription.filter(missing)?;
    let known = before.subscription.filter(missing);
    if known.is_some_and(|known| same(known, sub)) {
        return None;
    }
    let bought = catalogue.bought(&sub.plan, sub.plan_version);
    Some(Notice::PaymentFailed {
        plan: bought.map_or_else(|| sub.plan.clone(), |plan| plan.name.clone()),
        since: sub.past_due_since.unwrap_or(sub.as_of),
        borne: match (after.access.reason, after.access.until) {
            (AccessReason::PastDueGrace, Some(until)) => Borne::Until(until),
            (AccessReason::PastDue, _) => Borne::No,
            _ => Borne::Apart,
        },
    })
}

fn why(access: &Access) -> PlanChangeReason {
    match access.reason {
        AccessReason::Trialing => PlanChangeReason::Trial(access.until),
        AccessReason::PastDue | AccessReason::Unpaid => PlanChangeReason::Unpaid,
        AccessReason::TrialEnded | AccessReason::Paused => PlanChangeReason::TrialOver,
        AccessReason::Canceled => PlanChangeReason::Ended,
        _ => PlanChangeReason::Chosen,
    }
}

fn planned_change(catalogue: &Catalogue, before: HeldAt<'_>, after: HeldAt<'_>) -> Option<Notice> {
    let (was, is) = (planned(catalogue, before), planned(catalogue, after));
    let plan = &after.access.plan;
    match (was, is) {
        (was, Some((next, on))) => {
            let known = was.is_some_and(|(known, when)| known.key == next.key && when == on);
            (!known).then(|| Notice::PlanWillChange {
                from: plan.name.clone(),
                to: next.name.clone(),
                on,
            })
        }
        // It did not happen, and it is the same subscription that goes on.
        (Some(_), None) => {
            let (held, holds) = (before.subscription?, after.subscription?);
            let goes_on = same(held, holds) && plan.key == before.access.plan.key && by_subscription(after.access);
            goes_on.then(|| Notice::PlanStays {
                plan: plan.name.clone(),
            })
        }
        (None, None) => None,
    }
}

/// The plan that is going to follow the one in force, and when.
fn planned<'a>(catalogue: &'a Catalogue, standing: HeldAt<'_>) -> Option<(&'a Plan, Timestamp)> {
    let sub = standing.subscription.filter(|_| by_subscription(standing.access))?;
    if let Some(end) = sub.ends_at() {
        return Some((catalogue.default_plan(), end));
    }
    let next = catalogue.plan(sub.next_plan.as_deref()?)?;
    let on = sub.current_period_end?;
    (next.key != standing.access.plan.key).then_some((next, on))
}

/// Whether what is in force is what the subscription is for.
fn by_subscription(access: &Access) -> bool {
    use AccessReason as R;
    matches!(
        access.reason,
        R::Active | R::Trialing | R::CancelsAtPeriodEnd | R::PastDueGrace
    )
}

fn same(a: &Subscription, b: &Subscription) -> bool {
    a.provider == b.provider && a.provider_id == b.provider_id
}

/// When the trial ends of which somebody is to be told at `now`: it ends within `ahead`, and the first payment follows. Of
/// a trial after which nothing is paid its owner knows: they cancelled it.
pub fn trial_ending(sub: &Subscription, now: Timestamp, ahead: SignedDuration) -> Option<Timestamp> {
    let end = sub.trial_end.filter(|_| sub.status == SubscriptionStatus::Trialing)?;
    let soon = now < end && end <= now.saturating_add(ahead).unwrap_or(Timestamp::MAX);
    let goes_on = sub.ends_at().is_none_or(|over| end < over) && !sub.collection_paused;
    (soon && goes_on).then_some(end)
}

/// How much of a limit is used up that somebody is to be told: from 80 % on most of it, and all of it. Of what there is
/// none, and of what has no limit, nothing.
pub fn quota_notice(used: i64, limit: Option<i64>) -> Option<NoticeKind> {
    let limit = limit.filter(|limit| *limit > 0)?;
    if used >= limit {
        return Some(NoticeKind::QuotaUsedUp);
    }
    let most = i128::from(used) * 100 >= i128::from(limit) * 80;
    most.then_some(NoticeKind::QuotaNear)
}

#[cfg(test)]
mod tests;
