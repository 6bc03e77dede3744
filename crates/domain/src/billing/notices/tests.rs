//! Every step that a subscription takes, and what its owner is told of it.

use super::*;
use crate::billing::plan::tests::plan;
use crate::billing::subscription::tests::sub;
use crate::billing::{AccessPolicy, Grant, Holdings, ModelRule, Override, SubscriptionStatus as S, access};
use crate::{OverrideId, UserId};
use uuid::Uuid;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(day * DAY).unwrap()
}

fn catalogue() -> Catalogue {
    let ranked = |key: &str, rank| Plan {
        rank,
        ..plan(key, ModelRule::All, None)
    };
    let plans = vec![ranked("free", 0), ranked("pro", 10), ranked("business", 20)];
    Catalogue::new(plans, "free").unwrap()
}

/// A subscription to `pro` as it was on that day; its period is day 0 to 30.
fn on(day: i64, status: S) -> Subscription {
    Subscription {
        current_period_end: Some(at(30)),
        paid_until: Some(at(30)),
        past_due_since: (status == S::PastDue).then(|| at(10)),
        trial_end: (status == S::Trialing).then(|| at(14)),
        as_of: at(day),
        ..sub(status, 0)
    }
}

fn to_business(of: Subscription) -> Subscription {
    Subscription {
        plan: "business".into(),
        ..of
    }
}

fn cancelled(of: Subscription) -> Subscription {
    Subscription {
        cancel_at_period_end: true,
        ..of
    }
}

fn going_down(of: Subscription) -> Subscription {
    Subscription {
        next_plan: Some("pro".into()),
        ..of
    }
}

/// In a few words: `changed FREE PRO Chosen`.
fn said(notice: &Notice) -> String {
    let day = |at: &Timestamp| at.as_second() / DAY;
    match notice {
        Notice::PlanChanged { from, to, why } => match why {
            PlanChangeReason::Trial(until) => format!("changed {from} {to} trial {:?}", until.as_ref().map(day)),
            why => format!("changed {from} {to} {why:?}"),
        },
        Notice::PlanWillChange { from, to, on } => format!("will change {from} {to} {}", day(on)),
        Notice::PlanStays { plan } => format!("stays {plan}"),
        Notice::PaymentFailed { plan, since, borne } => {
            let borne = match borne {
                Borne::Until(until) => format!("until {}", day(until)),
                other => format!("{other:?}"),
            };
            format!("failed {plan} {} {borne}", day(since))
        }
    }
}

/// Both as they stood when they were looked at, under seven days of grace unless told otherwise.
fn told_under(grace: i64, before: Option<&Subscription>, after: &Subscription, grants: &[Override]) -> Vec<String> {
    let catalogue = catalogue();
    let policy = AccessPolicy {
        past_due_grace: SignedDuration::from_hours(24 * grace),
        collection_paused_keeps: true,
    };
    let stood = |sub: Option<&Subscription>, now| {
        let holdings = Holdings {
            subscription: sub.cloned(),
            overrides: grants.to_vec(),
            ..Holdings::default()
        };
        access(&catalogue, &holdings, now, policy)
    };
    let was = stood(before, before.map_or(after.as_of, |sub| sub.as_of));
    let is = stood(Some(after), after.as_of);
    let before = HeldAt {
        subscription: before,
        access: &was,
    };
    let after = HeldAt {
        subscription: Some(after),
        access: &is,
    };
    notices(&catalogue, before, after).iter().map(said).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, to be read as one")]
fn a_subscriber_is_told_of_each_step_once() {
    let (active, trial, past_due) = (on(1, S::Active), on(1, S::Trialing), on(11, S::PastDue));
    let business = to_business(on(1, S::Active));
    let moved = |day, of: &Subscription| Subscription {
        as_of: at(day),
        ..of.clone()
    };
    let next = |of: Subscription| Subscription {
        current_period_end: Some(at(60)),
        paid_until: Some(at(60)),
        ..of
    };
    let other = Subscription {
        provider_id: "sub_2".into(),
        ..on(40, S::Active)
    };
    let table: Vec<(&str, Option<Subscription>, Subscription, &[&str])> = vec![
        ("bought", None, active.clone(), &["changed FREE PRO Chosen"]),
        (
            "bought with a trial",
            None,
            trial.clone(),
            &["changed FREE PRO trial Some(14)"],
        ),
        ("begun to buy", None, on(1, S::Incomplete), &[]),
        (
            "paid then",
            Some(on(1, S::Incomplete)),
            on(2, S::Active),
            &["changed FREE PRO Chosen"],
        ),
        (
            "never paid",
            Some(on(1, S::Incomplete)),
            on(2, S::IncompleteExpired),
            &[],
        ),
        ("looked at again", Some(active.clone()), moved(9, &active), &[]),
        ("the trial goes on as paid", Some(trial.clone()), on(14, S::Active), &[]),
        ("renewed", Some(active.clone()), next(on(30, S::Active)), &[]),
        (
            "up",
            Some(active.clone()),
            to_business(on(2, S::Active)),
            &["changed PRO BUSINESS Chosen"],
        ),
        (
            "down, later",
            Some(business.clone()),
            going_down(moved(2, &business)),
            &["will change BUSINESS PRO 30"],
        ),
        (
            "down, known",
            Some(going_down(business.clone())),
            going_down(moved(3, &business)),
            &[],
        ),
        (
            "down, taken back",
            Some(going_down(business.clone())),
            moved(3, &business),
            &["stays BUSINESS"],
        ),
        (
            "down, now",
            Some(going_down(business.clone())),
            next(on(30, S::Active)),
            &["changed BUSINESS PRO Chosen"],
        ),
        (
            "the same by another interval, later",
            Some(active.clone()),
            going_down(moved(2, &active)),
            &[],
        ),
        (
            "cancelled",
            Some(active.clone()),
            cancelled(on(2, S::Active)),
            &["will change PRO FREE 30"],
        ),
        (
            "cancelled, known",
            Some(cancelled(active.clone())),
            cancelled(on(3, S::Active)),
            &[],
        ),
        (
            "cancelled, taken back",
            Some(cancelled(active.clone())),
            on(3, S::Active),
            &["stays PRO"],
        ),
        (
            "cancelled, over",
            Some(cancelled(active.clone())),
            cancelled(on(30, S::Canceled)),
            &["changed PRO FREE Ended"],
        ),
        (
            "cancelled in the trial",
            Some(trial.clone()),
            Subscription {
                current_period_end: Some(at(14)),
                ..cancelled(on(2, S::Trialing))
            },
            &["will change PRO FREE 14"],
        ),
        (
            "ended at once",
            Some(active.clone()),
            on(2, S::Canceled),
            &["changed PRO FREE Ended"],
        ),
        (
            "ended, looked at again",
            Some(on(2, S::Canceled)),
            on(9, S::Canceled),
            &[],
        ),
        (
            "the trial ends without a card",
            Some(trial.clone()),
            on(14, S::Paused),
            &["changed PRO FREE TrialOver"],
        ),
        (
            "the trial's first payment fails",
            Some(trial),
            on(11, S::PastDue),
            &["failed PRO 10 until 17"],
        ),
        (
            "a payment fails",
            Some(active.clone()),
            past_due.clone(),
            &["failed PRO 10 until 17"],
        ),
        ("it fails again", Some(past_due.clone()), moved(12, &past_due), &[]),
        (
            "grace is over by the clock",
            Some(past_due.clone()),
            moved(18, &past_due),
            &["changed PRO FREE Unpaid"],
        ),
        ("and given up", Some(moved(18, &past_due)), on(19, S::Unpaid), &[]),
        (
            "given up within grace",
            Some(past_due.clone()),
            on(12, S::Unpaid),
            &["changed PRO FREE Unpaid"],
        ),
        ("recovered", Some(past_due.clone()), on(12, S::Active), &[]),
        (
            "recovered after grace",
            Some(moved(18, &past_due)),
            on(19, S::Active),
            &["changed FREE PRO Chosen"],
        ),
        (
            "another one after the end",
            Some(on(30, S::Canceled)),
            other,
            &["changed FREE PRO Chosen"],
        ),
        (
            "a word of tomorrow",
            Some(active.clone()),
            active.succeeded_by(&on(2, S::Other("dormant".into()))),
            &[],
        ),
    ];
    for (step, before, after, expected) in table {
        assert_eq!(told_under(7, before.as_ref(), &after, &[]), expected, "{step}");
    }
}

#[test]
fn without_grace_one_mail_says_it_all() {
    let told = told_under(0, Some(&on(1, S::Active)), &on(11, S::PastDue), &[]);
    assert_eq!(told, ["failed PRO 10 No"]);
}

#[test]
fn what_is_granted_beside_it_does_not_change_with_the_subscription() {
    let granted = Override {
        id: OverrideId(Uuid::nil()),
        owner: sub(S::Active, 0).owner,
        grant: Grant::Plan("business".into()),
        reason: "a gift".into(),
        granted_by: Some(UserId(Uuid::nil())),
        created_at: at(0),
        expires_at: None,
    };
    let told = |before: Subscription, after: Subscription| {
        told_under(7, Some(&before), &after, std::slice::from_ref(&granted))
    };
    let none: [&str; 0] = [];
    assert_eq!(told(on(1, S::Active), on(2, S::Canceled)), none);
    assert_eq!(told(on(1, S::Active), cancelled(on(2, S::Active))), none);
    assert_eq!(told(on(1, S::Active), on(11, S::PastDue)), ["failed PRO 10 Apart"]);
}

#[test]
fn a_trial_that_ends_soon_and_is_paid_then_is_told() {
    let ahead = SignedDuration::from_hours(24 * 3);
    let ends = |sub: &Subscription, now| trial_ending(sub, now, ahead);
    let trial = on(1, S::Trialing);
    let moment = SignedDuration::from_micros(1);
    assert_eq!(ends(&trial, at(11) - moment), None, "not yet");
    assert_eq!(ends(&trial, at(11)), Some(at(14)));
    assert_eq!(ends(&trial, at(14) - moment), Some(at(14)));
    assert_eq!(ends(&trial, at(14)), None, "over");
    assert_eq!(trial_ending(&trial, at(13), SignedDuration::ZERO), None, "never");
    assert_eq!(ends(&on(1, S::Active), at(13)), None);
    let cancelled_then = |day| Subscription {
        cancel_at: Some(at(day)),
        ..trial.clone()
    };
    assert_eq!(ends(&cancelled_then(14), at(13)), None, "nothing is paid");
    assert_eq!(ends(&cancelled_then(44), at(13)), Some(at(14)), "one month is");
    let paused = Subscription {
        collection_paused: true,
        ..trial
    };
    assert_eq!(ends(&paused, at(13)), None);
}

#[test]
fn a_limit_is_told_at_eighty_percent_and_at_all_of_it() {
    use NoticeKind::{QuotaNear, QuotaUsedUp};
    for (used, limit, expected) in [
        (0, Some(5), None),
        (3, Some(5), None),
        (4, Some(5), Some(QuotaNear)),
        (5, Some(5), Some(QuotaUsedUp)),
        (9, Some(5), Some(QuotaUsedUp)),
        (79, Some(100), None),
        (80, Some(100), Some(QuotaNear)),
        (99, Some(100), Some(QuotaNear)),
        (1, Some(1), Some(QuotaUsedUp)),
        (0, Some(0), None),
        (7, None, None),
        (i64::MAX - 1, Some(i64::MAX), Some(QuotaNear)),
    ] {
        assert_eq!(quota_notice(used, limit), expected, "{used} of {limit:?}");
    }
}

#[test]
fn every_kind_has_a_word_of_its_own() {
    let mut words: Vec<_> = NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), NoticeKind::ALL.len());
}
