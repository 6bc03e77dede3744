//! Who has what when. `docs/guides/access-rules.md` is made from this table and read by people; the test fails when the
//! two differ. `ANTEROOM_WRITE_DOCS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

use super::super::plan::tests::{catalogue, offered, plan};
use super::super::subscription::tests::sub;
use super::super::{EntitlementKind, Meter, ModelRule, Overage, Owner, SeatRule, Window};
use super::*;
use crate::{OverrideId, UserId};

const POLICY: AccessPolicy = AccessPolicy {
    past_due_grace: SignedDuration::from_hours(24 * 7),
    collection_paused_keeps: true,
};
const CLOSING: AccessPolicy = AccessPolicy {
    collection_paused_keeps: false,
    ..POLICY
};

/// The trial ends on the 10th, the period on the 30th; payment is missing since the 12th.
const DAYS: [(&str, &str); 5] = [
    ("June 9", "2026-06-09T00:00:00Z"),
    ("June 10", "2026-06-10T00:00:00Z"),
    ("June 18", "2026-06-18T23:59:59Z"),
    ("June 19", "2026-06-19T00:00:00Z"),
    ("June 30", "2026-06-30T00:00:00Z"),
];

const STATUSES: [&str; 10] = [
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "unpaid",
    "canceled",
    "paused",
    "dormant",
    "dormant after active",
];

#[derive(Clone, Copy, PartialEq)]
enum Also {
    Nothing,
    CancelsAtPeriodEnd,
    CancelsOn17,
    CollectionPaused,
    CollectionPausedCloses,
}

const ALSO: [(Also, &str); 5] = [
    (Also::Nothing, ""),
    (Also::CancelsAtPeriodEnd, "cancels at the period's end"),
    (Also::CancelsOn17, "cancels on June 17"),
    (Also::CollectionPaused, "collection paused"),
    (
        Also::CollectionPausedCloses,
        "collection paused, `paused_collection_keeps_plan = false`",
    ),
];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn subscription(status: &str, also: Also) -> Subscription {
    let (word, known) = match status.split_once(" after ") {
        Some((word, known)) => (word, Some(SubscriptionStatus::parse(known))),
        None => (status, None),
    };
    Subscription {
        known_status: known,
        current_period_end: Some(at("2026-06-30T00:00:00Z")),
        paid_until: Some(at("2026-06-30T00:00:00Z")),
        cancel_at_period_end: also == Also::CancelsAtPeriodEnd,
        cancel_at: (also == Also::CancelsOn17).then(|| at("2026-06-17T00:00:00Z")),
        trial_end: Some(at("2026-06-10T00:00:00Z")),
        past_due_since: Some(at("2026-06-12T00:00:00Z")),
        collection_paused: matches!(also, Also::CollectionPaused | Also::CollectionPausedCloses),
        ..sub(SubscriptionStatus::parse(word), 0)
    }
}

fn policy(also: Also) -> AccessPolicy {
    if also == Also::CollectionPausedCloses {
        CLOSING
    } else {
        POLICY
    }
}

/// `free`, `pro` (bought) and `business`, by rank.
fn plans() -> Catalogue {
    let ranked = |key: &str, rank| Plan {
        rank,
        ..plan(key, ModelRule::All, Some(5))
    };
    let plans = vec![ranked("free", 0), ranked("pro", 10), ranked("business", 20)];
    Catalogue::new(plans, "free").unwrap()
}

fn decided(status: &str, also: Also, overrides: &[Override], now: Timestamp) -> Access {
    let holdings = Holdings {
        subscription: (status != "none").then(|| subscription(status, also)),
        overrides: overrides.to_vec(),
        ..Holdings::default()
    };
    access(&plans(), &holdings, now, policy(also))
}

fn granted(grant: Grant, expires_at: Option<&str>) -> Override {
    Override {
        id: OverrideId(Uuid::nil()),
        owner: Owner::account(UserId(Uuid::nil())),
        grant,
        reason: "a gift".into(),
        granted_by: None,
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: expires_at.map(at),
    }
}

fn granted_plan_of(key: &str, expires_at: Option<&str>) -> Override {
    granted(Grant::Plan(key.into()), expires_at)
}

fn day(time: Timestamp) -> String {
    time.strftime("%B %-d").to_string()
}

fn cell(access: &Access) -> String {
    let until = access
        .until
        .map_or_else(String::new, |until| format!(", until {}", day(until)));
    let plan = if access.active { "**pro**" } else { "free" };
    format!("{plan} `{}`{until}", access.reason.as_str())
}

fn guide() -> String {
    let mut text = String::from(include_str!("guide.md"));
    let heads: Vec<&str> = DAYS.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(text, "| The provider says | {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(DAYS.len()));
    for status in std::iter::once("none").chain(STATUSES) {
        let plain: Vec<String> = cells(status, Also::Nothing);
        for (also, words) in ALSO {
            let cells = cells(status, also);
            // A row that says what the plain one says is left out.
            if also != Also::Nothing && cells == plain {
                continue;
            }
            let said = if words.is_empty() {
                format!("`{status}`")
            } else {
                format!("`{status}`, {words}")
            };
            let _ = writeln!(
                text,
                "| {} | {} |",
                said.replace(" after ", "` after `"),
                cells.join(" | ")
            );
        }
    }
    text.push_str(include_str!("guide_overrides.md"));
    let _ = writeln!(
        text,
        "| The subscription | Granted | Until | In force | `reason` |\n|---|---|---|---|---|"
    );
    let table = [
        ("none", "free"),
        ("none", "pro"),
        ("active", "free"),
        ("active", "pro"),
        ("active", "business"),
        ("canceled", "free"),
        ("canceled", "business"),
    ];
    for (status, key) in table {
        for (expiry, words) in [
            (None, "taken back"),
            (Some("2026-06-05T00:00:00Z"), "June 5, which is over"),
        ] {
            let access = decided(status, Also::Nothing, &[granted_plan_of(key, expiry)], at(DAYS[0].1));
            let (plan, reason) = (&access.plan.key, access.reason.as_str());
            let _ = writeln!(text, "| `{status}` (pro) | {key} | {words} | **{plan}** | `{reason}` |");
        }
    }
    text = text.replace("`none` (pro)", "`none`");
    text.push_str(include_str!("guide_seats.md"));
    let _ = writeln!(
        text,
        "| The subscription | Granted | In force | Seats | Messages a day |\n|---|---|---|---|---|"
    );
    for (status, seats, granted, words) in seat_rows() {
        let access = decided_by_seat(status, seats, granted);
        let said = match status {
            "none" => "`none`".to_owned(),
            status => format!("`{status}` (team, {seats} seats)"),
        };
        let (key, seats, (_, _, limit)) = (&access.plan.key, access.seats, access.plan.limits().next().unwrap());
        let _ = writeln!(text, "| {said} | {words} | **{key}** | {seats} | {} |", limit.unwrap());
    }
    text
}

/// A subscription to `team`, for so many seats, and what is granted beside it.
fn seat_rows() -> Vec<(&'static str, i64, Option<Grant>, &'static str)> {
    let team = || Some(Grant::Plan("team".into()));
    let messages = Grant::Entitlement(Entitlement {
        key: "messages".into(),
        kind: EntitlementKind::metered(Some(150), Window::Day),
    });
    vec![
        ("none", 1, None, "nothing"),
        ("trialing", 3, None, "nothing"),
        ("active", 3, None, "nothing"),
        ("active", 50, None, "nothing"),
        ("past_due", 3, None, "nothing"),
        ("canceled", 3, None, "nothing"),
        ("none", 1, team(), "team"),
        ("active", 3, team(), "team"),
        ("canceled", 3, team(), "team"),
        ("active", 3, Some(messages), "150 messages a day"),
    ]
}

/// `free` with 5 messages a day, and `team` with 100 for each of 2 to 50 seats.
fn decided_by_seat(status: &str, seats: i64, grant: Option<Grant>) -> Access {
    let of_a_seat = Entitlement {
        key: "messages".into(),
        kind: EntitlementKind::Metered {
            limit: Some(100),
            window: Window::Day,
            rollover: 0,
            per_seat: true,
            overage: None,
        },
    };
    let team = Plan {
        rank: 10,
        seats: Some(SeatRule { min: 2, max: Some(50) }),
        ..plan("team", ModelRule::All, None).with_entitlements(&[&of_a_seat])
    };
    let catalogue = Catalogue::new(vec![plan("free", ModelRule::All, Some(5)), team], "free").unwrap();
    let held = Subscription {
        plan: "team".into(),
        quantity: seats,
        ..subscription(status, Also::Nothing)
    };
    let holdings = Holdings {
        subscription: Some(held).filter(|_| status != "none"),
        overrides: grant.map(|grant| granted(grant, None)).into_iter().collect(),
        ..Holdings::default()
    };
    access(&catalogue, &holdings, at(DAYS[0].1), POLICY)
}

fn cells(status: &str, also: Also) -> Vec<String> {
    DAYS.iter()
        .map(|(_, now)| cell(&decided(status, also, &[], at(now))))
        .collect()
}

#[test]
fn the_guide_says_what_is_decided() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/access-rules.md");
    let made = guide();
    if std::env::var_os("ANTEROOM_WRITE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == made,
        "docs/guides/access-rules.md is not current: run this test with ANTEROOM_WRITE_DOCS=1"
    );
}

/// Every status at every time: nobody has a plan for nothing, and nobody loses one that is paid.
#[test]
fn no_state_gives_more_or_less_than_it_should() {
    for status in STATUSES {
        for (also, _) in ALSO {
            for (name, now) in DAYS {
                let access = decided(status, also, &[], at(now));
                let what = format!("{status}, {} on {name}", ALSO.iter().find(|a| a.0 == also).unwrap().1);
                assert_eq!(access.plan.key, if access.active { "pro" } else { "free" }, "{what}");
                let may = matches!(status, "trialing" | "active" | "past_due" | "dormant after active");
                assert!(may || !access.active, "{what}");
                if access.active
                    && access.reason != AccessReason::Active
                    && access.reason != AccessReason::UnknownStatus
                {
                    assert!(
                        access.until.is_some_and(|until| at(now) < until),
                        "{what}: it has an end that is to come"
                    );
                }
                assert_eq!(access.paid_until.is_some(), access.active, "{what}");
                assert_eq!(
                    access.lapsed.is_some(),
                    !access.active && status != "incomplete",
                    "{what}"
                );
            }
        }
    }
}

/// What is granted depends on what the subscription comes to, not on how it came to it.
#[test]
fn grants_stand_beside_every_state() {
    let grants =
        ["free", "pro", "business", "gone"].map(|key| [None, Some("2026-06-15T00:00:00Z")].map(|end| (key, end)));
    for status in std::iter::once("none").chain(STATUSES) {
        for (also, _) in ALSO {
            for (name, now) in DAYS {
                for (key, end) in grants.into_iter().flatten() {
                    let without = decided(status, also, &[], at(now));
                    let with = decided(status, also, &[granted_plan_of(key, end)], at(now));
                    let rank = plans().plan(key).map(|plan| plan.rank);
                    let holds = end.is_none_or(|end| at(now) < at(end));
                    let wins = holds && rank.is_some_and(|rank| !without.active || rank >= without.plan.rank);
                    let what = format!("{status} on {name} with {key} until {end:?}");
                    if wins {
                        assert_eq!(
                            (with.plan.key.as_str(), with.reason),
                            (key, AccessReason::Granted),
                            "{what}"
                        );
                        assert_eq!((with.active, with.until), (true, end.map(at)), "{what}");
                        assert_eq!((with.status, with.lapsed), (without.status, None), "{what}");
                    } else {
                        assert_eq!(with, without, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_entitlement_is_granted_beside_any_plan_until_it_expires() {
    let limit = |limit, window| Entitlement {
        key: "messages".into(),
        kind: EntitlementKind::metered(limit, window),
    };
    let overrides = [
        granted(Grant::Entitlement(limit(Some(100), Window::Day)), None),
        granted(
            Grant::Entitlement(limit(Some(500), Window::Day)),
            Some("2026-06-10T00:00:00Z"),
        ),
        granted(
            Grant::Entitlement(limit(None, Window::Month)),
            Some("2026-06-01T00:00:00Z"),
        ),
    ];
    let limits = |now: &str| -> Vec<_> {
        let access = decided("none", Also::Nothing, &overrides, at(now));
        access.plan.limits().collect()
    };
    assert_eq!(
        limits("2026-06-09T00:00:00Z"),
        [(Meter::Messages, Window::Day, Some(500))]
    );
    assert_eq!(
        limits("2026-06-10T00:00:00Z"),
        [(Meter::Messages, Window::Day, Some(100))]
    );
}

/// Only who pays has more than the plan includes: not in a trial, not by grace, not as a gift.
#[test]
fn overage_is_for_those_who_pay() {
    let overage = Overage {
        max: 50,
        prices: vec![],
    };
    let mut plans = vec![];
    for (key, rank) in [("free", 0), ("pro", 10), ("business", 20)] {
        let mut plan = plan(key, ModelRule::All, None);
        plan.rank = rank;
        plan.entitlements = vec![Entitlement {
            key: "messages".into(),
            kind: EntitlementKind::Metered {
                limit: Some(100),
                window: Window::Month,
                rollover: 0,
                per_seat: false,
                overage: (rank > 0).then(|| overage.clone()),
            },
        }];
        plans.push(plan);
    }
    let catalogue = Catalogue::new(plans, "free").unwrap();
    let most = |status: &str, also, overrides: &[Override], now: &str| {
        let holdings = Holdings {
            subscription: (status != "none").then(|| subscription(status, also)),
            overrides: overrides.to_vec(),
            ..Holdings::default()
        };
        let access = access(&catalogue, &holdings, at(now), policy(also));
        let limits: Vec<_> = access.plan.limits().collect();
        assert_eq!(limits.len(), 1);
        (limits[0].2.unwrap(), access.reason)
    };
    for status in std::iter::once("none").chain(STATUSES) {
        for (also, _) in ALSO {
            for (day, now) in DAYS {
                let (most, reason) = most(status, also, &[], now);
                let pays = matches!(reason, AccessReason::Active | AccessReason::CancelsAtPeriodEnd);
                assert_eq!(most, if pays { 150 } else { 100 }, "{status} on {day}: {reason:?}");
            }
        }
    }
    let now = DAYS[0].1;
    let gift = [granted_plan_of("business", None)];
    assert_eq!(most("none", Also::Nothing, &gift, now), (100, AccessReason::Granted));
    assert_eq!(most("active", Also::Nothing, &gift, now), (100, AccessReason::Granted));
    // What is granted beside a plan takes the place of its limit, and of what goes beyond it.
    let more = granted(
        Grant::Entitlement(Entitlement {
            key: "messages".into(),
            kind: EntitlementKind::metered(Some(120), Window::Month),
        }),
        None,
    );
    assert_eq!(most("active", Also::Nothing, &[more], now), (120, AccessReason::Active));
}

#[test]
fn of_several_plans_the_best_is_granted_and_of_one_the_longest() {
    let overrides = [
        granted_plan_of("business", Some("2026-06-10T00:00:00Z")),
        granted_plan_of("pro", Some("2026-06-19T00:00:00Z")),
        granted_plan_of("pro", None),
    ];
    let plan = |now: &str| {
        let access = decided("none", Also::Nothing, &overrides, at(now));
        (access.plan.key.clone(), access.until)
    };
    assert_eq!(
        plan("2026-06-09T00:00:00Z"),
        ("business".into(), Some(at("2026-06-10T00:00:00Z")))
    );
    assert_eq!(plan("2026-06-10T00:00:00Z"), ("pro".into(), None));
}

/// A renewal that is not paid moves the period's end and not what is paid, so that no new window of a quota begins.
#[test]
fn an_unpaid_renewal_opens_no_window() {
    let mut sub = subscription("past_due", Also::Nothing);
    sub.paid_until = Some(at("2026-06-12T00:00:00Z"));
    sub.current_period_end = Some(at("2026-07-12T00:00:00Z"));
    let holdings = Holdings {
        subscription: Some(sub.clone()),
        overrides: vec![],
        ..Holdings::default()
    };
    let now = at("2026-06-15T00:00:00Z");
    let window = |holdings: &Holdings| Window::Month.at(now, access(&plans(), holdings, now, POLICY).anchor(now));
    assert_eq!(window(&holdings).start, at("2026-05-12T00:00:00Z"));
    sub.paid_until = sub.current_period_end;
    let paid = Holdings {
        subscription: Some(sub),
        overrides: vec![],
        ..Holdings::default()
    };
    assert_eq!(window(&paid).start, at("2026-06-12T00:00:00Z"));
}

#[test]
fn a_model_of_a_lapsed_plan_is_told_from_one_that_was_never_in_it() {
    let offered = offered(&["small", "large"]);
    let check = |status: Option<&str>, model: &str| {
        let holdings = Holdings {
            subscription: status.map(|status| subscription(status, Also::Nothing)),
            overrides: vec![],
            ..Holdings::default()
        };
        let access = access(&catalogue(), &holdings, at(DAYS[0].1), POLICY);
        model_access(&access, &offered, model)
    };
    assert_eq!(check(None, "small"), ModelAccess::Granted);
    assert_eq!(check(None, "large"), ModelAccess::NotInPlan);
    assert_eq!(check(Some("active"), "large"), ModelAccess::Granted);
    assert_eq!(check(Some("canceled"), "large"), ModelAccess::Lapsed);
    assert_eq!(check(Some("canceled"), "small"), ModelAccess::Granted);
    // An unpaid first invoice never opened the plan, so it cannot have lapsed.
    assert_eq!(check(Some("incomplete"), "large"), ModelAccess::NotInPlan);
    assert_eq!(check(Some("active"), "unheard-of"), ModelAccess::NotInPlan);
}

#[test]
fn a_plan_that_nobody_knows_any_more_falls_to_the_default() {
    let holdings = Holdings {
        subscription: Some(Subscription {
            plan: "gone".into(),
            ..subscription("active", Also::Nothing)
        }),
        overrides: vec![],
        ..Holdings::default()
    };
    assert_eq!(access(&plans(), &holdings, at(DAYS[0].1), POLICY).plan.key, "free");
}

#[test]
fn limits_by_the_seat_follow_the_seats_that_are_paid_for() {
    let expected = [
        ("free", 1, 5),
        ("team", 3, 300),
        ("team", 3, 300),
        ("team", 50, 5000),
        ("team", 3, 300),
        ("free", 1, 5),
        ("team", 2, 200),
        ("team", 3, 300),
        ("team", 2, 200),
        ("team", 3, 150),
    ];
    for ((status, seats, granted, words), expected) in seat_rows().into_iter().zip(expected) {
        let access = decided_by_seat(status, seats, granted);
        let limit = access.plan.limits().next().unwrap().2.unwrap();
        let came = (access.plan.key.as_str(), access.seats, limit);
        assert_eq!(came, expected, "{status} for {seats}, granted {words}");
    }
    // What the provider says counts, also where it is odd.
    assert_eq!(decided_by_seat("active", 0, None).seats, 0);
    assert_eq!(
        decided_by_seat("active", i64::MAX, None)
            .plan
            .limits()
            .next()
            .unwrap()
            .2,
        Some(i64::MAX)
    );
    // Of a plan that is not sold by the seat any number is one.
    let several = Holdings {
        subscription: Some(Subscription {
            quantity: 7,
            ..subscription("active", Also::Nothing)
        }),
        ..Holdings::default()
    };
    let access = access(&plans(), &several, at(DAYS[0].1), POLICY);
    assert_eq!((access.seats, access.plan.limits().next().unwrap().2), (1, Some(5)));
}

/// It happens by mistake only: nobody is to lose the better one by having bought another.
#[test]
fn of_two_subscriptions_the_better_plan_in_force_counts() {
    let to = |plan: &str, status: &str| Subscription {
        plan: plan.into(),
        ..subscription(status, Also::Nothing)
    };
    for (first, other, plan) in [
        (to("pro", "active"), to("business", "active"), "business"),
        (to("business", "active"), to("pro", "active"), "business"),
        (to("pro", "active"), to("business", "unpaid"), "pro"),
        (to("pro", "unpaid"), to("pro", "active"), "pro"),
        (to("pro", "unpaid"), to("business", "unpaid"), "free"),
    ] {
        let holdings = Holdings {
            subscription: Some(first),
            others: vec![other],
            overrides: vec![],
        };
        assert_eq!(
            access(&plans(), &holdings, at(DAYS[0].1), POLICY).plan.key,
            plan,
            "{holdings:?}"
        );
    }
}
