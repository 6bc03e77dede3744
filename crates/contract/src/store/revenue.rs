//! Everybody's subscriptions, what changes of them, and its sums.

use std::sync::Arc;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{
    ChangeSum, CohortStep, Conversion, FeatureSum, Owner, Paid, Price, Standing, StandingSum, Subscription,
    SubscriptionChange, SubscriptionStatus, TrialSum,
};
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_domain::{RequestId, SessionId, Timestamp, UserId};
use anteroom_ports::billing::{Consumption, CounterAsk, ListedSubscription, SubscriptionCursor, SubscriptionFilter};
use anteroom_ports::{Store, StoreError};

use super::samples::{at, id, usage, user};
use super::{TestDatabase, begin, migrate_down, migrate_up, ready};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn somebody() -> Owner {
    Owner::account(UserId(id()))
}

fn subscription(owner: Owner, provider_id: &str, status: &str, plan: &str, at: Timestamp) -> Subscription {
    Subscription {
        provider: "stripe".into(),
        provider_id: provider_id.into(),
        owner,
        customer: None,
        plan: plan.into(),
        plan_version: 1,
        price: Some(Price {
            amount: if plan == "pro" { 1900 } else { 7900 },
            currency: "usd".into(),
            interval: "month".into(),
        }),
        quantity: 1,
        status: SubscriptionStatus::parse(status),
        known_status: None,
        current_period_end: None,
        paid_until: None,
        cancel_at_period_end: false,
        cancel_at: None,
        trial_end: None,
        past_due_since: None,
        collection_paused: false,
        next_plan: None,
        next_quantity: None,
        as_of: at,
    }
}

/// Notes what these subscriptions turned into, one after the other, as whoever writes them does.
async fn note(store: &Arc<dyn Store>, states: &[Subscription]) {
    let mut unit = begin(store).await;
    for state in states {
        let last = unit
            .last_subscription_change(&state.provider, &state.provider_id)
            .await
            .unwrap();
        let revision = last.as_ref().map_or(0, |last| last.revision + 1);
        let change = SubscriptionChange::since(last.map(|last| last.into), state, revision);
        unit.insert_subscription_change(&change.unwrap()).await.unwrap();
    }
    unit.commit().await.unwrap();
}

/// Every field, and by subscription and owner.
pub async fn changes_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let first = SubscriptionChange {
        provider: "stripe".into(),
        provider_id: "sub_1".into(),
        revision: 0,
        owner,
        at: at(1),
        from: None,
        into: Standing {
            status: SubscriptionStatus::Other("dormant".into()),
            plan: "pro \u{e4}".into(),
            plan_version: 3,
            monthly: None,
            currency: None,
        },
    };
    let second = SubscriptionChange {
        // There are looks after which nothing is noted.
        revision: 7,
        from: Some(first.into.clone()),
        into: Standing {
            status: SubscriptionStatus::Active,
            plan: "business".into(),
            plan_version: 4,
            monthly: Some(i64::MAX),
            currency: Some("eur".into()),
        },
        ..first.clone()
    };
    let elsewhere = SubscriptionChange {
        provider_id: "sub_2".into(),
        at: at(2),
        from: Some(second.into.clone()),
        ..second.clone()
    };
    let theirs = SubscriptionChange {
        provider: "stripe-stub".into(),
        owner: somebody(),
        ..elsewhere.clone()
    };
    let mut unit = begin(&store).await;
    for change in [&second, &first, &elsewhere, &theirs] {
        unit.insert_subscription_change(change).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(
        read.last_subscription_change("stripe", "sub_1").await.unwrap(),
        Some(second.clone())
    );
    assert_eq!(read.last_subscription_change("stripe", "sub_3").await.unwrap(), None);
    assert_eq!(
        read.subscription_changes_of(owner, 10).await.unwrap(),
        [elsewhere.clone(), second.clone(), first]
    );
    assert_eq!(
        read.subscription_changes_of(owner, 2).await.unwrap(),
        [elsewhere, second.clone()]
    );
    drop(read);
    let mut unit = begin(&store).await;
    let twice = unit.insert_subscription_change(&second).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
}

/// Newest first, whatever the provider, page by page, and only what is asked for.
pub async fn subscriptions_are_listed_newest_first(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob) = (somebody(), somebody());
    let mut unit = begin(&store).await;
    let table = [
        subscription(ada, "sub_1", "canceled", "pro", at(1)),
        subscription(bob, "sub_2", "active", "pro", at(2)),
        // At one moment, and at two providers.
        subscription(ada, "sub_3", "active", "business", at(3)),
        subscription(bob, "sub_4", "past_due", "pro", at(3)),
        Subscription {
            provider: "stripe-stub".into(),
            ..subscription(ada, "sub_0", "active", "pro", at(3))
        },
    ];
    for subscription in &table {
        unit.put_subscription(subscription).await.unwrap();
    }
    // Looking at it again makes it no newer.
    let looked = Subscription {
        as_of: at(9),
        ..table[1].clone()
    };
    unit.put_subscription(&looked).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let mut page = async |filter: &SubscriptionFilter, before: Option<SubscriptionCursor>, limit| {
        let page = read.page_subscriptions(filter, before.as_ref(), limit).await.unwrap();
        let ids: Vec<_> = page.iter().map(|it| it.subscription.provider_id.clone()).collect();
        (ids, page.last().map(ListedSubscription::cursor), page)
    };
    let all = SubscriptionFilter::default();
    let (ids, _, listed) = page(&all, None, 10).await;
    assert_eq!(ids, ["sub_0", "sub_4", "sub_3", "sub_2", "sub_1"]);
    assert_eq!((&listed[3].subscription, listed[3].created_at), (&looked, at(2)));
    let (mut seen, mut last) = (Vec::new(), None);
    for _ in 0..5 {
        let (ids, next, _) = page(&all, last, 1).await;
        seen.extend(ids);
        last = next;
    }
    assert_eq!(seen, ids, "one by one");
    assert_eq!(page(&all, last, 1).await.0, Vec::<String>::new());
    let word = |text: &str| Some(text.to_owned());
    let filters = [
        (Some(ada), None, None, vec!["sub_0", "sub_3", "sub_1"]),
        (None, word("active"), None, vec!["sub_0", "sub_3", "sub_2"]),
        (None, None, word("pro"), vec!["sub_0", "sub_4", "sub_2", "sub_1"]),
        (Some(bob), word("past_due"), word("pro"), vec!["sub_4"]),
        (Some(bob), word("canceled"), None, vec![]),
        (None, word("no such word"), None, vec![]),
    ];
    for (owner, status, plan, expected) in filters {
        let filter = SubscriptionFilter { owner, status, plan };
        assert_eq!(page(&filter, None, 10).await.0, expected, "{filter:?}");
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

/// At any moment that is asked for, also long ago.
pub async fn standings_are_those_of_the_moment(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let sub = |id: &str, status: &str, plan: &str, second| subscription(somebody(), id, status, plan, at(second));
    let unpriced = Subscription {
        price: None,
        ..sub("sub_3", "active", "business", 2)
    };
    note(
        &store,
        &[
            sub("sub_1", "trialing", "pro", 1),
            sub("sub_2", "active", "pro", 1),
            sub("sub_1", "active", "pro", 2),
            unpriced,
            sub("sub_1", "past_due", "pro", 3),
            sub("sub_2", "active", "business", 4),
            sub("sub_1", "canceled", "pro", 5),
        ],
    )
    .await;
    let mut read = store.read().await.unwrap();
    let sum = |plan: &str, status: &str, currency: Option<&str>, counts: [i64; 4]| StandingSum {
        plan: plan.into(),
        status: SubscriptionStatus::parse(status),
        currency: currency.map(Into::into),
        subscriptions: counts[0],
        paying: counts[1],
        unpriced: counts[2],
        monthly: counts[3],
    };
    let usd = Some("usd");
    let unknown = sum("business", "active", None, [1, 0, 1, 0]);
    let table = [
        (1, vec![]),
        (
            2,
            vec![
                sum("pro", "active", usd, [1, 1, 0, 1900]),
                sum("pro", "trialing", usd, [1, 0, 0, 0]),
            ],
        ),
        (3, vec![unknown.clone(), sum("pro", "active", usd, [2, 2, 0, 3800])]),
        (
            4,
            vec![
                unknown.clone(),
                sum("pro", "active", usd, [1, 1, 0, 1900]),
                sum("pro", "past_due", usd, [1, 1, 0, 1900]),
            ],
        ),
        (
            6,
            vec![
                unknown,
                sum("business", "active", usd, [1, 1, 0, 7900]),
                sum("pro", "canceled", usd, [1, 0, 0, 0]),
            ],
        ),
    ];
    for (second, expected) in table {
        let mut sums = read.sum_standings(at(second)).await.unwrap();
        sums.sort_by_key(|sum| (sum.plan.clone(), sum.currency.clone(), sum.status.as_str().to_owned()));
        assert_eq!(sums, expected, "before second {second}");
    }
}

/// By what was paid before and after, up and down apart, and whether it was the account's first payment.
pub async fn changes_are_told_apart(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob, eve) = (somebody(), somebody(), somebody());
    let seats = |owner, id: &str, quantity, second| Subscription {
        quantity,
        ..subscription(owner, id, "active", "pro", at(second))
    };
    note(
        &store,
        &[
            // Before the time that is asked for.
            subscription(bob, "sub_b", "active", "pro", at(1)),
            // Nothing is paid before or after.
            subscription(ada, "sub_a", "trialing", "pro", at(10)),
            seats(ada, "sub_a", 1, 11),
            seats(eve, "sub_e", 1, 12),
            seats(ada, "sub_a", 4, 13),
            seats(eve, "sub_e", 3, 14),
            seats(ada, "sub_a", 3, 15),
            // Another status, and as much is paid.
            subscription(bob, "sub_b", "past_due", "pro", at(16)),
            subscription(bob, "sub_b", "unpaid", "pro", at(17)),
            subscription(bob, "sub_b", "active", "pro", at(18)),
            subscription(bob, "sub_b", "active", "business", at(19)),
            // Somebody's second one at the moment of the first.
            subscription(eve, "sub_f", "active", "business", at(12)),
            // After the time.
            subscription(bob, "sub_b", "canceled", "business", at(20)),
        ],
    )
    .await;
    let mut read = store.read().await.unwrap();
    let mut sums = read.sum_subscription_changes(at(10), at(20)).await.unwrap();
    let key = |sum: &ChangeSum| {
        let side = |side: &Option<Paid>| side.as_ref().map(|paid| (paid.plan.clone(), paid.monthly));
        (side(&sum.from), side(&sum.into))
    };
    sums.sort_by_key(key);
    let sum = |from, into, first, changes| ChangeSum {
        from,
        into,
        first,
        changes,
    };
    let pro = |monthly| paid("pro", "usd", monthly);
    let expected = [
        sum(None, paid("business", "usd", 7900), false, 1),
        sum(None, pro(1900), false, 1),
        sum(None, pro(3800), true, 2),
        sum(pro(1900), None, false, 1),
        sum(pro(1900), paid("business", "usd", 7900), false, 1),
        sum(pro(1900), pro(1900), false, 1),
        sum(pro(3800), pro(13_300), false, 2),
        sum(pro(7600), pro(5700), false, 1),
    ];
    assert_eq!(sums, expected);
    assert_eq!(read.sum_subscription_changes(at(2), at(10)).await.unwrap(), []);
}

/// By months in UTC; an account pays while any of its subscriptions does.
pub async fn cohorts_follow_accounts_and_not_subscriptions(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob, eve) = (somebody(), somebody(), somebody());
    let sub = |owner, id: &str, status: &str, at: &str| subscription(owner, id, status, "pro", time(at));
    note(
        &store,
        &[
            // A trial is no payment: it begins in September.
            sub(ada, "sub_a", "trialing", "2026-08-20T00:00:00Z"),
            sub(ada, "sub_a", "active", "2026-09-03T00:00:00Z"),
            // A second one beside it; the first ends, and nothing happens to the account.
            sub(ada, "sub_b", "active", "2026-09-30T23:59:59.999999Z"),
            sub(ada, "sub_a", "canceled", "2026-10-01T00:00:00Z"),
            sub(ada, "sub_b", "unpaid", "2026-11-01T00:00:00Z"),
            // Came, went and came again within a month.
            sub(bob, "sub_c", "active", "2026-09-01T00:00:00Z"),
            sub(bob, "sub_c", "canceled", "2026-09-02T00:00:00Z"),
            sub(bob, "sub_d", "active", "2026-09-02T00:00:00Z"),
            sub(eve, "sub_e", "active", "2026-10-31T23:59:59Z"),
            sub(eve, "sub_e", "past_due", "2026-11-30T00:00:00Z"),
        ],
    )
    .await;
    let mut read = store.read().await.unwrap();
    let mut steps = async |until: &str| {
        let mut steps = read.sum_cohorts(time(until)).await.unwrap();
        // Months in which nothing changed may be told or not.
        steps.retain(|step| (step.began, step.change) != (0, 0));
        steps.sort_by_key(|step| (step.first, step.month));
        steps
    };
    let step = |first: &str, month: &str, began, change| CohortStep {
        first: time(&format!("{first}T00:00:00Z")),
        month: time(&format!("{month}T00:00:00Z")),
        began,
        change,
    };
    assert_eq!(
        steps("2027-01-01T00:00:00Z").await,
        [
            step("2026-09-01", "2026-09-01", 2, 2),
            step("2026-09-01", "2026-11-01", 0, -1),
            step("2026-10-01", "2026-10-01", 1, 1),
        ]
    );
    assert_eq!(
        steps("2026-09-03T00:00:00Z").await,
        [step("2026-09-01", "2026-09-01", 1, 1)],
        "Ada's first payment is not before that"
    );
    assert_eq!(steps("2026-09-01T00:00:00Z").await, []);
}

/// Accounts that were made in a time and have paid, and trials that began in it and what became of them.
pub async fn conversions_are_counted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut made = Vec::new();
    let mut unit = begin(&store).await;
    for (number, second) in [1, 5, 6, 9, 10].into_iter().enumerate() {
        let mut user = user(&format!("conversion{number}@example.com"));
        user.created_at = at(second);
        unit.insert_user(&user).await.unwrap();
        made.push(Owner::account(user.id));
    }
    unit.commit().await.unwrap();
    let sub = |owner, id: &str, status: &str, plan: &str, second| subscription(owner, id, status, plan, at(second));
    note(
        &store,
        &[
            // Pays long after, and no longer.
            sub(made[1], "sub_1", "active", "pro", 100),
            sub(made[1], "sub_1", "canceled", "pro", 101),
            // Twice is once.
            sub(made[1], "sub_2", "active", "pro", 102),
            sub(made[2], "sub_3", "trialing", "pro", 7),
            sub(made[3], "sub_4", "trialing", "pro", 8),
            // Another plan within the trial is no second one.
            sub(made[3], "sub_4", "trialing", "business", 9),
            sub(made[3], "sub_4", "active", "business", 50),
            sub(made[3], "sub_4", "canceled", "business", 51),
            sub(made[0], "sub_5", "trialing", "pro", 5),
            sub(made[0], "sub_5", "paused", "pro", 20),
            // Before and after the time.
            sub(made[4], "sub_6", "trialing", "pro", 4),
            sub(made[4], "sub_7", "active", "pro", 10),
            sub(made[4], "sub_8", "trialing", "business", 10),
        ],
    )
    .await;
    let mut read = store.read().await.unwrap();
    let counted = read.count_conversions(at(5), at(10)).await.unwrap();
    assert_eq!(counted, Conversion { accounts: 3, paid: 2 });
    let none = read.count_conversions(at(1000), at(2000)).await.unwrap();
    assert_eq!(none, Conversion::default());
    let trial = TrialSum {
        plan: "pro".into(),
        began: 3,
        paid: 1,
        running: 1,
    };
    assert_eq!(read.sum_trials(at(5), at(10)).await.unwrap(), [trial]);
    assert_eq!(read.sum_trials(at(1000), at(2000)).await.unwrap(), []);
}

/// Accounts, each once for a thing and a plan.
pub async fn what_accounts_use_is_counted_by_plan(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob) = (somebody(), somebody());
    let noon = time("2026-11-20T12:00:00Z");
    let call = |owner, plan: &str, outcome| UsageEvent {
        request_id: RequestId(id()),
        owner,
        used_with: UsedWith::Session(SessionId(id())),
        model: "gpt-4o".into(),
        plan: plan.into(),
        served_by: None,
        usage: usage(10),
        exact: true,
        cost: None,
        first_token_ms: None,
        total_ms: 34,
        outcome,
        created_at: noon,
    };
    let use_up = |owner, key: &str, plan: &str, at| Consumption {
        owner,
        id: id().to_string(),
        key: key.into(),
        plan: plan.into(),
        amount: 2,
        counters: vec![CounterAsk {
            counter: format!("entitlement/day/{key}"),
            window_start: noon,
            limit: None,
        }],
        at,
    };
    let before = time("2026-11-19T23:59:59.999999Z");
    let mut unit = begin(&store).await;
    let calls = [
        call(ada, "free", Outcome::Complete),
        call(ada, "free", Outcome::Complete),
        call(ada, "pro", Outcome::Complete),
        call(bob, "free", Outcome::Complete),
        call(somebody(), "free", Outcome::Failed),
    ];
    unit.insert_usage(&calls.iter().collect::<Vec<_>>()).await.unwrap();
    for consumption in [
        use_up(ada, "exports", "pro", noon),
        use_up(ada, "exports", "pro", noon),
        use_up(bob, "exports", "free", noon),
        use_up(bob, "reports", "free", noon),
        use_up(bob, "reports", "pro", before),
    ] {
        unit.consume(&consumption).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let sums = read
        .sum_features(time("2026-11-20T00:00:00Z"), time("2026-11-21T00:00:00Z"))
        .await
        .unwrap();
    let sum = |feature: &str, plan: &str, accounts| FeatureSum {
        feature: feature.into(),
        plan: plan.into(),
        accounts,
    };
    let expected = [
        sum("exports", "free", 1),
        sum("exports", "pro", 1),
        sum("messages", "free", 2),
        sum("messages", "pro", 1),
        sum("reports", "free", 1),
    ];
    assert_eq!(sums, expected);
}

/// What the migration says of a subscription is what is said of it from then on, so that no later look finds a change.
pub async fn subscriptions_of_before_are_noted_by_the_migration(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let sub = |id: &str, status: &str, amount, interval: &str, quantity| {
        let mut sub = subscription(somebody(), id, status, "pro", at(1));
        sub.price = Some(Price {
            amount,
            currency: "usd".into(),
            interval: interval.into(),
        });
        sub.quantity = quantity;
        sub
    };
    let mut odd = sub("sub_g", "dormant", 1900, "month", 1);
    odd.known_status = Some(SubscriptionStatus::PastDue);
    let mut stopped = sub("sub_h", "active", 1900, "month", 1);
    stopped.collection_paused = true;
    let mut unpriced = sub("sub_i", "active", 0, "month", 1);
    unpriced.price = None;
    let all = [
        sub("sub_a", "active", 1900, "month", 3),
        sub("sub_b", "past_due", 19_000, "year", 1),
        sub("sub_c", "active", 300, "week", 1),
        sub("sub_d", "active", 100, "day", 1),
        sub("sub_e", "trialing", 1900, "month", 1),
        sub("sub_f", "canceled", 1900, "month", 1),
        odd,
        stopped,
        unpriced,
        sub("sub_j", "active", 1900, "fortnight", 1),
        sub("sub_k", "unheard_of", 1900, "month", 1),
        sub("sub_l", "active", 0, "month", 1),
    ];
    let mut unit = begin(&store).await;
    for subscription in &all {
        unit.put_subscription(subscription).await.unwrap();
        let later = Subscription {
            as_of: at(2),
            ..subscription.clone()
        };
        unit.put_subscription(&later).await.unwrap();
    }
    unit.commit().await.unwrap();
    assert!(
        store
            .read()
            .await
            .unwrap()
            .subscription_changes_of(all[0].owner, 9)
            .await
            .unwrap()
            .is_empty(),
        "there is nothing but what the migration makes"
    );
    while !migrate_down(&store)
        .await
        .unwrap()
        .unwrap()
        .as_str()
        .ends_with("000024")
    {}
    migrate_up(&store).await.unwrap();
    let mut read = store.read().await.unwrap();
    for subscription in &all {
        let expected = SubscriptionChange::since(None, subscription, 1).unwrap();
        let noted = read
            .last_subscription_change("stripe", &subscription.provider_id)
            .await
            .unwrap();
        assert_eq!(noted, Some(expected), "{}", subscription.provider_id);
    }
}
