use jiff::civil::date;

use super::super::subscription::tests::sub;
use super::*;

fn price(amount: i64, interval: &str) -> Price {
    Price {
        amount,
        currency: "usd".into(),
        interval: interval.into(),
    }
}

#[test]
fn a_price_is_what_it_comes_to_in_a_month() {
    for (amount, interval, quantity, month) in [
        (1900, "month", 1, Some(1900)),
        (1900, "month", 3, Some(5700)),
        (1900, "month", 0, Some(0)),
        (0, "year", 5, Some(0)),
        (19_000, "year", 1, Some(1583)),
        // Rounded once, after the seats: 3 x 19,000 / 12 is 4,750, and not 3 x 1,583.
        (19_000, "year", 3, Some(4750)),
        (6, "year", 1, Some(1)),
        (5, "year", 1, Some(0)),
        (300, "week", 1, Some(1300)),
        (100, "day", 1, Some(3042)),
        (i64::MAX, "month", i64::MAX, Some(MOST)),
        (1900, "fortnight", 1, None),
        (-1, "month", 1, None),
    ] {
        assert_eq!(
            monthly_amount(&price(amount, interval), quantity),
            month,
            "{quantity} x {amount} a {interval}"
        );
    }
}

#[test]
fn who_pays_is_said_by_the_status_and_the_price() {
    use SubscriptionStatus as S;
    let monthly = |status: S, price: Option<Price>| {
        Standing::of(&Subscription {
            price,
            ..sub(status, 1)
        })
        .monthly
    };
    for (status, pays) in [
        (S::Active, Some(1900)),
        (S::PastDue, Some(1900)),
        (S::Trialing, Some(0)),
        (S::Incomplete, Some(0)),
        (S::IncompleteExpired, Some(0)),
        (S::Unpaid, Some(0)),
        (S::Canceled, Some(0)),
        (S::Paused, Some(0)),
        (S::Other("dormant".into()), Some(0)),
    ] {
        assert_eq!(monthly(status.clone(), Some(price(1900, "month"))), pays, "{status:?}");
    }
    assert_eq!(monthly(S::Active, None), None, "it pays, and nobody knows what");
    assert_eq!(monthly(S::Trialing, None), Some(0), "a trial is free at any price");
    let dormant = Subscription {
        known_status: Some(S::Active),
        price: Some(price(1900, "month")),
        ..sub(S::Other("dormant".into()), 1)
    };
    assert_eq!(Standing::of(&dormant).monthly, Some(1900), "what was known last holds");
    let stopped = Subscription {
        collection_paused: true,
        ..dormant
    };
    assert_eq!(Standing::of(&stopped).monthly, Some(0), "nothing is collected");
}

#[test]
fn what_counts_for_no_figure_is_no_change() {
    let active = Subscription {
        price: Some(price(1900, "month")),
        ..sub(SubscriptionStatus::Active, 1)
    };
    let first = SubscriptionChange::since(None, &active, 0).unwrap();
    assert_eq!(
        (first.at, first.owner, &first.from),
        (active.as_of, active.owner, &None)
    );
    let renewed = Subscription {
        current_period_end: Some(Timestamp::MAX),
        as_of: Timestamp::MAX,
        cancel_at_period_end: true,
        ..active.clone()
    };
    let standing = Some(first.into);
    assert_eq!(SubscriptionChange::since(standing.clone(), &renewed, 1), None);
    let table = [
        Subscription {
            status: SubscriptionStatus::PastDue,
            ..active.clone()
        },
        Subscription {
            plan: "business".into(),
            ..active.clone()
        },
        Subscription {
            plan_version: 2,
            ..active.clone()
        },
        Subscription {
            quantity: 2,
            ..active.clone()
        },
        Subscription { price: None, ..active },
    ];
    for after in table {
        let change = SubscriptionChange::since(standing.clone(), &after, 7).unwrap();
        assert_eq!((change.revision, &change.from), (7, &standing), "{after:?}");
        assert_eq!(change.into, Standing::of(&after));
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a change takes")]
fn paid(plan: &str, currency: &str, monthly: i64) -> Option<Paid> {
    Some(Paid {
        plan: plan.into(),
        currency: currency.into(),
        monthly,
    })
}

fn change(from: Option<Paid>, into: Option<Paid>, changes: i64) -> ChangeSum {
    ChangeSum {
        from,
        into,
        first: false,
        changes,
    }
}

fn stand(plan: &str, currency: &str, paying: i64, monthly: i64) -> StandingSum {
    StandingSum {
        plan: plan.into(),
        status: SubscriptionStatus::Active,
        currency: Some(currency.into()),
        subscriptions: paying,
        paying,
        unpriced: 0,
        monthly,
    }
}

fn moved(subscriptions: i64, monthly: i64) -> Movement {
    Movement { subscriptions, monthly }
}

/// What stood before, and what came, less what went.
fn explained(revenue: &Revenue) -> (i64, i64) {
    let came = [revenue.before, revenue.new, revenue.returned, revenue.moved_in];
    let went = [revenue.churned, revenue.moved_out];
    let subscriptions = |of: &[Movement]| of.iter().map(|m| m.subscriptions).sum::<i64>();
    let monthly = |of: &[Movement]| of.iter().map(|m| m.monthly).sum::<i64>();
    (
        subscriptions(&came) - subscriptions(&went),
        monthly(&came) + revenue.expanded.monthly - revenue.contracted.monthly - monthly(&went),
    )
}

#[test]
fn each_change_is_a_movement_of_its_plan() {
    let of = |plan: &str, change: ChangeSum| {
        let all = revenue(&[], &[], &[change]);
        all.get(&(plan.to_owned(), "usd".to_owned()))
            .copied()
            .unwrap_or_default()
    };
    let none = Revenue::default();
    let pro = |monthly| paid("pro", "usd", monthly);
    let first = ChangeSum {
        first: true,
        ..change(None, pro(3800), 2)
    };
    let table = [
        (change(None, None, 1), none),
        (
            first,
            Revenue {
                new: moved(2, 3800),
                ..none
            },
        ),
        (
            change(None, pro(1900), 1),
            Revenue {
                returned: moved(1, 1900),
                ..none
            },
        ),
        (
            change(pro(1900), None, 1),
            Revenue {
                churned: moved(1, 1900),
                ..none
            },
        ),
        (
            change(pro(1900), pro(3800), 1),
            Revenue {
                expanded: moved(1, 1900),
                ..none
            },
        ),
        (
            change(pro(3800), pro(1900), 1),
            Revenue {
                contracted: moved(1, 1900),
                ..none
            },
        ),
        // Another version at the same price.
        (change(pro(1900), pro(1900), 4), none),
        (
            change(pro(1900), paid("business", "usd", 7900), 1),
            Revenue {
                moved_out: moved(1, 1900),
                ..none
            },
        ),
        (
            change(paid("business", "usd", 7900), pro(1900), 1),
            Revenue {
                moved_in: moved(1, 7900),
                contracted: moved(1, 6000),
                ..none
            },
        ),
        (
            change(paid("pro", "eur", 1800), pro(1900), 1),
            Revenue {
                moved_in: moved(1, 1900),
                ..none
            },
        ),
    ];
    for (change, expected) in table {
        assert_eq!(of("pro", change.clone()), expected, "{change:?}");
    }
}

#[test]
fn what_came_and_went_explains_what_stands() {
    let before = [
        stand("pro", "usd", 3, 5700),
        stand("pro", "eur", 1, 1800),
        stand("free", "usd", 0, 0),
    ];
    let after = [
        stand("pro", "usd", 2, 5700),
        stand("business", "usd", 1, 7900),
        stand("pro", "eur", 2, 3600),
    ];
    let new = ChangeSum {
        first: true,
        ..change(None, paid("pro", "eur", 1800), 1)
    };
    let changes = [
        new,
        change(paid("pro", "usd", 1900), None, 1),
        change(None, paid("pro", "usd", 1900), 1),
        change(paid("pro", "usd", 1900), paid("business", "usd", 7900), 1),
        change(paid("pro", "usd", 1900), paid("pro", "usd", 3800), 1),
    ];
    let all = revenue(&before, &after, &changes);
    let keys: Vec<_> = all
        .keys()
        .map(|(plan, currency)| format!("{plan} {currency}"))
        .collect();
    assert_eq!(
        keys,
        ["business usd", "pro eur", "pro usd"],
        "plans that nobody pays are not there"
    );
    let totals = totals(&all);
    for (name, revenue) in all.iter().map(|(key, it)| (&key.0, it)).chain(&totals) {
        let stands = (revenue.after.subscriptions, revenue.after.monthly);
        assert_eq!(explained(revenue), stands, "{name}: {revenue:?}");
    }
    let usd = totals["usd"];
    assert_eq!(
        (usd.after, usd.expanded, usd.contracted),
        (moved(3, 13_600), moved(2, 7900), moved(0, 0))
    );
    assert_eq!(
        usd.moved_in, usd.moved_out,
        "within one currency nothing comes of moving"
    );
    assert_eq!(totals["eur"].after, moved(2, 3600), "currencies stay apart");
}

#[test]
fn rates_are_unknown_where_there_is_nothing_to_divide_by() {
    let month = SignedDuration::from_secs(MONTH_SECONDS);
    let of = |before: Movement, after: Movement, churned: Movement| Revenue {
        before,
        churned,
        after,
        ..Revenue::default()
    };
    let zero = moved(0, 0);
    // 10 paid 19.00 before, 6 do now: 4 of 8 churned, so that one is worth two months.
    let shrinking = of(moved(10, 19_000), moved(6, 11_400), moved(4, 7600));
    assert_eq!(shrinking.churn_rate(month), Some(0.5));
    assert_eq!(shrinking.lifetime_value(month), Some(3800));
    assert_eq!(shrinking.average(), Some(1900));
    // The same in twice the time is half the rate.
    assert_eq!(shrinking.churn_rate(month * 2), Some(0.25));
    assert_eq!(shrinking.lifetime_value(month * 2), Some(7600));
    let steady = of(moved(10, 19_000), moved(10, 19_000), zero);
    assert_eq!(
        (steady.churn_rate(month), steady.lifetime_value(month)),
        (Some(0.0), None)
    );
    let gone = of(moved(2, 3800), zero, moved(2, 3800));
    assert_eq!((gone.average(), gone.churn_rate(month)), (None, Some(2.0)));
    assert_eq!(gone.lifetime_value(month), Some(950));
    // Came and went between.
    let passing = of(zero, zero, moved(1, 1900));
    assert_eq!((passing.churn_rate(month), passing.lifetime_value(month)), (None, None));
    assert_eq!(Revenue::default().average(), None);
    assert_eq!(shrinking.churn_rate(SignedDuration::ZERO), None);
    assert_eq!(shrinking.lifetime_value(SignedDuration::ZERO), None);
    let rounded = of(zero, moved(3, 5000), zero);
    assert_eq!(rounded.average(), Some(1667));
    let huge = of(moved(1, i64::MAX), moved(1, i64::MAX), moved(1, 1));
    assert_eq!(huge.lifetime_value(month * 24), Some(i64::MAX));
}

#[test]
fn a_cohort_is_told_of_months_that_are_over() {
    let (august, september, october) = (date(2026, 8, 1), date(2026, 9, 1), date(2026, 10, 1));
    let began = |month: Date| month.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let step = |first, month, accounts, change| CohortStep {
        first: began(first),
        month: began(month),
        began: accounts,
        change,
    };
    let steps = [
        // Ten began in August and one of them left at once; two left in September, and one came back in October.
        step(august, august, 10, 9),
        step(august, september, 0, -2),
        step(august, october, 0, 1),
        step(october, october, 3, 3),
        // More than a year ago.
        step(date(2025, 9, 1), date(2025, 9, 1), 5, 5),
        step(date(2025, 10, 1), date(2025, 10, 1), 1, 1),
        step(date(2025, 10, 1), date(2025, 12, 1), 0, -1),
    ];
    let told = |until: &str| cohorts(&steps, until.parse().unwrap());
    let cohort = |month, accounts, paying: &[i64]| Cohort {
        month,
        accounts,
        paying: paying.to_vec(),
    };
    let year_ago = cohort(date(2025, 10, 1), 1, &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        told("2026-09-30T23:59:59.999999Z")[1],
        cohort(august, 10, &[9]),
        "September is not over"
    );
    assert_eq!(
        told("2026-10-01T00:00:00Z"),
        [
            // From November 2025 on; October 2025 is a year before this one.
            cohort(august, 10, &[9, 7]),
            cohort(october, 3, &[]),
        ]
    );
    let in_september = told("2026-09-15T00:00:00Z");
    assert_eq!(in_september[0].month, year_ago.month);
    assert_eq!(in_september[0].paying, year_ago.paying[..11]);
    assert_eq!(told("2026-11-01T00:00:00Z")[0], cohort(august, 10, &[9, 7, 8]));
    assert_eq!(cohorts(&[], Timestamp::MIN), []);
}
