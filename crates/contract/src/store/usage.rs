//! What calls used, and its sums.

use std::sync::Arc;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{NanoUsd, Owner, OwnerKind, PLAN_UNKNOWN, UsageGroup, UsageSpan, UsageTotals};
use anteroom_domain::chat::{Outcome, TokenUsage, UsageEvent};
use anteroom_domain::{ApiKeyId, RequestId, SessionId, Timestamp, UserId};
use anteroom_ports::Store;
use anteroom_ports::billing::{UsageAsk, UsageSum};

use super::samples::{id, usage};
use super::{RACERS, TestDatabase, begin, migrate_down, migrate_up, race, ready};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn somebody() -> Owner {
    Owner::account(UserId(id()))
}

/// A call of 10 tokens in and 2 out for 5 nano-USD.
fn call(owner: Owner, at: &str) -> UsageEvent {
    UsageEvent {
        request_id: RequestId(id()),
        owner,
        used_with: UsedWith::Session(SessionId(id())),
        model: "gpt-4o".into(),
        plan: "pro".into(),
        served_by: None,
        usage: usage(10),
        exact: true,
        cost: Some(NanoUsd(5)),
        first_token_ms: None,
        total_ms: 34,
        outcome: Outcome::Complete,
        created_at: time(at),
    }
}

async fn book(store: &Arc<dyn Store>, calls: &[UsageEvent]) {
    let mut unit = begin(store).await;
    assert_eq!(
        unit.insert_usage(&calls.iter().collect::<Vec<_>>()).await.unwrap(),
        calls.len()
    );
    unit.commit().await.unwrap();
}

/// Of the first half of 2026.
fn ask(owner: Option<Owner>, by: &[UsageGroup]) -> UsageAsk {
    UsageAsk {
        owner,
        span: UsageSpan {
            from: time("2026-01-01T00:00:00Z"),
            until: time("2026-07-01T00:00:00Z"),
        },
        by: by.to_vec(),
    }
}

async fn sums(store: &Arc<dyn Store>, ask: &UsageAsk) -> Vec<UsageSum> {
    store.read().await.unwrap().sum_usage(ask, 1000).await.unwrap()
}

async fn everything(store: &Arc<dyn Store>) -> Vec<UsageSum> {
    sums(store, &ask(None, &UsageGroup::ALL)).await
}

/// Every field, by days in UTC, to the microsecond.
pub async fn calls_add_up_by_days(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mut failed = call(owner, "2026-02-28T23:59:59.999999Z");
    failed.usage = TokenUsage::default();
    failed.outcome = Outcome::Failed;
    failed.cost = None;
    let mut lost = call(owner, "2026-02-28T12:00:00Z");
    lost.outcome = Outcome::Lost;
    let mut cut = call(owner, "2026-02-28T00:00:00Z");
    cut.outcome = Outcome::Cancelled;
    let mut huge = call(owner, "2026-03-01T00:00:00Z");
    huge.usage.prompt_tokens = i64::MAX;
    huge.cost = Some(NanoUsd(i64::MAX));
    let next = UsageEvent {
        request_id: RequestId(id()),
        ..huge.clone()
    };
    let before = call(owner, "2025-12-31T23:59:59.999999Z");
    let after = call(owner, "2026-07-01T00:00:00Z");
    book(&store, &[failed, lost, cut, huge, next, before, after]).await;
    let found = sums(&store, &ask(Some(owner), &UsageGroup::ALL)).await;
    let row = |day: &str, totals| UsageSum {
        day: Some(time(day)),
        account: Some(UserId(owner.id)),
        model: Some("gpt-4o".into()),
        plan: Some("pro".into()),
        api_key: None,
        totals,
    };
    let first = UsageTotals {
        calls: 3,
        failed_calls: 2,
        tokens: TokenUsage {
            prompt_tokens: 20,
            completion_tokens: 4,
            cached_tokens: 6,
            reasoning_tokens: 8,
            ..TokenUsage::NONE
        },
        cost: NanoUsd(10),
        unpriced_calls: 1,
    };
    // What is beyond all measure is cut down, so that a sum never runs over.
    let second = UsageTotals {
        calls: 2,
        failed_calls: 0,
        tokens: TokenUsage {
            prompt_tokens: 2_000_000_000_000_000,
            completion_tokens: 4,
            cached_tokens: 6,
            reasoning_tokens: 8,
            ..TokenUsage::NONE
        },
        cost: NanoUsd(2_000_000_000_000_000),
        unpriced_calls: 0,
    };
    let days = [row("2026-02-28T00:00:00Z", first), row("2026-03-01T00:00:00Z", second)];
    assert_eq!(found, days);
    assert_eq!(sums(&store, &ask(Some(somebody()), &UsageGroup::ALL)).await, []);
}

/// Nor does one that is not committed.
pub async fn a_second_booking_adds_nothing(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mine = call(owner, "2026-02-28T12:00:00Z");
    book(&store, std::slice::from_ref(&mine)).await;
    let mut again = begin(&store).await;
    assert_eq!(again.insert_usage(&[&mine]).await.unwrap(), 0);
    again.commit().await.unwrap();
    // One of several is booked already, and another stands there twice.
    let others = [(); 3].map(|()| call(owner, "2026-08-01T12:00:00Z"));
    let several: Vec<&UsageEvent> = others.iter().chain([&mine, &others[0]]).collect();
    let mut partly = begin(&store).await;
    assert_eq!(partly.insert_usage(&several).await.unwrap(), 3);
    partly.commit().await.unwrap();
    let late = UsageAsk {
        span: UsageSpan {
            from: time("2026-07-01T00:00:00Z"),
            until: time("2026-09-01T00:00:00Z"),
        },
        ..ask(Some(owner), &[])
    };
    assert_eq!(sums(&store, &late).await[0].totals.calls, 3);
    let mut dropped = begin(&store).await;
    let elsewhere = call(owner, "2026-02-28T12:00:00Z");
    assert_eq!(dropped.insert_usage(&[&elsewhere]).await.unwrap(), 1);
    drop(dropped);
    let found = sums(&store, &ask(Some(owner), &[])).await;
    assert_eq!(
        (found.len(), found[0].totals.calls, found[0].totals.cost),
        (1, 1, NanoUsd(5))
    );
}

/// Each is booked twice, too.
pub async fn of_parallel_bookings_none_is_lost(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let calls: Vec<UsageEvent> = (0..RACERS / 2).map(|_| call(owner, "2026-02-28T12:00:00Z")).collect();
    let new = race(|number| {
        let (store, call) = (store.clone(), calls[number / 2].clone());
        async move {
            let mut unit = begin(&store).await;
            let new = unit.insert_usage(&[&call]).await.unwrap() == 1;
            unit.commit().await.unwrap();
            new
        }
    })
    .await;
    let distinct = i64::try_from(RACERS / 2).unwrap();
    assert_eq!(new.iter().filter(|new| **new).count(), RACERS / 2);
    let other: Vec<()> = race(|_| {
        let (store, call) = (store.clone(), call(owner, "2026-02-28T12:00:00Z"));
        async move { book(&store, &[call]).await }
    })
    .await;
    let all = distinct + i64::try_from(other.len()).unwrap();
    let found = everything(&store).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].totals.calls, found[0].totals.tokens.prompt_tokens),
        (all, 10 * all)
    );
}

/// Calls of all kinds.
fn mixture(owners: &[Owner]) -> Vec<UsageEvent> {
    let keys = [ApiKeyId(id()), ApiKeyId(id())];
    let outcomes = [
        Outcome::Complete,
        Outcome::Cancelled,
        Outcome::Partial,
        Outcome::Failed,
        Outcome::Lost,
        Outcome::Filtered,
    ];
    let of = owners.len();
    let kinds = (0..240).map(|number| {
        let mut call = call(
            owners[number % of],
            ["2026-02-28T23:59:59.999999Z", "2026-03-01T00:00:00Z"][number / 27 % 2],
        );
        call.model = ["a", "B\0", "ä"][number / 3 % 3].into();
        call.plan = ["free", "pro"][number / 54 % 2].into();
        call.outcome = outcomes[number % 5];
        call.cost = [None, Some(NanoUsd(0)), Some(NanoUsd(i64::MAX)), Some(NanoUsd(7))][number % 4];
        call.usage = usage([0, 3, i64::MAX][number / 5 % 3]);
        if let Some(key) = keys.get(number / 9 % 3) {
            call.used_with = UsedWith::ApiKey(*key);
        }
        call
    });
    kinds.collect()
}

/// Also where the sums are wrong, are of nothing, or are gone.
pub async fn what_is_rebuilt_is_what_was_added_up(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let organization = Owner {
        kind: OwnerKind::Organization,
        id: id(),
    };
    let owners = [somebody(), somebody(), organization];
    book(&store, &mixture(&owners)).await;
    let added_up = everything(&store).await;
    assert!(added_up.len() > 50, "{}", added_up.len());
    let rebuild = async || {
        for owner in owners {
            let mut unit = begin(&store).await;
            unit.rebuild_usage(owner).await.unwrap();
            unit.commit().await.unwrap();
        }
        assert_eq!(everything(&store).await, added_up);
    };
    rebuild().await;
    for damage in [
        "UPDATE usage_days SET calls = calls + 1",
        "UPDATE usage_days SET model = 'z' WHERE model = 'a'",
        "DELETE FROM usage_days WHERE model = 'a'",
        "DELETE FROM usage_days",
    ] {
        database.execute(damage).await;
        assert_ne!(everything(&store).await, added_up, "{damage}");
        rebuild().await;
    }
    // One owner's are no other's affair, and what is not committed has not happened.
    database.execute("DELETE FROM usage_days").await;
    let mut unit = begin(&store).await;
    unit.rebuild_usage(owners[1]).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = begin(&store).await;
    unit.rebuild_usage(owners[0]).await.unwrap();
    drop(unit);
    let of = async |owner| sums(&store, &ask(Some(owner), &[UsageGroup::Day])).await.len();
    assert_eq!((of(owners[0]).await, of(owners[1]).await), (0, 2));
}

/// A booking is either in what is added up or adds to it.
pub async fn of_bookings_beside_a_rebuilding_none_is_lost(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    race(|number| {
        let (store, call) = (store.clone(), call(owner, "2026-02-28T12:00:00Z"));
        async move {
            if number % 4 > 0 {
                book(&store, &[call]).await;
                return;
            }
            let mut unit = begin(&store).await;
            unit.rebuild_usage(owner).await.unwrap();
            unit.commit().await.unwrap();
        }
    })
    .await;
    let found = everything(&store).await;
    let booked = i64::try_from(RACERS / 4 * 3).unwrap();
    assert_eq!((found.len(), found[0].totals.calls), (1, booked));
}

/// By nothing, by one thing, and by several, in their own order.
pub async fn usage_is_told_apart_as_asked(database: &dyn TestDatabase) {
    use UsageGroup::{Account, ApiKey, Day, Model, Plan};
    let store = ready(database).await;
    let (owner, other) = (somebody(), somebody());
    let key = ApiKeyId(id());
    let mut keyed = call(owner, "2026-02-27T12:00:00Z");
    keyed.used_with = UsedWith::ApiKey(key);
    let mut small = call(owner, "2026-02-28T12:00:00Z");
    small.model = "gpt-4o-mini".into();
    let mut free = call(other, "2026-02-28T12:00:00Z");
    free.plan = "free".into();
    book(&store, &[keyed, small, call(owner, "2026-02-28T12:00:00Z"), free]).await;
    let told = async |owner, by: &[UsageGroup]| -> Vec<String> {
        let found = sums(&store, &ask(owner, by)).await;
        let show = |sum: UsageSum| {
            let account = sum.account.map(|id| if id.0 == other.id { "other" } else { "mine" });
            let parts = [
                sum.day.map(|day| day.to_string()[8..10].to_owned()),
                account.map(str::to_owned),
                sum.model,
                sum.plan,
                sum.api_key.map(|id| if id == key { "key" } else { "?" }.to_owned()),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("{} {}", parts.join(" "), sum.totals.calls)
        };
        found.into_iter().map(show).collect()
    };
    assert_eq!(told(None, &[]).await, [" 4"]);
    assert_eq!(told(Some(owner), &[]).await, [" 3"]);
    assert_eq!(told(Some(somebody()), &[]).await, [" 0"]);
    assert_eq!(told(Some(somebody()), &[Day]).await, Vec::<String>::new());
    assert_eq!(told(None, &[Day]).await, ["27 1", "28 3"]);
    assert_eq!(told(None, &[Account]).await, ["mine 3", "other 1"]);
    assert_eq!(told(None, &[Model]).await, ["gpt-4o 3", "gpt-4o-mini 1"]);
    assert_eq!(told(None, &[Plan]).await, ["free 1", "pro 3"]);
    assert_eq!(told(None, &[ApiKey]).await, [" 3", "key 1"]);
    assert_eq!(
        told(Some(owner), &[Model, Day]).await,
        ["27 gpt-4o 1", "28 gpt-4o 1", "28 gpt-4o-mini 1"]
    );
    let mut read = store.read().await.unwrap();
    let two = read.sum_usage(&ask(None, &[Day, Model]), 2).await.unwrap();
    assert_eq!(two.len(), 2);
}

/// Each once, and those too of whom only sums are left.
pub async fn owners_of_usage_are_paged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let organization = Owner {
        kind: OwnerKind::Organization,
        id: id(),
    };
    let mut owners = vec![somebody(), somebody(), somebody(), organization];
    book(&store, &mixture(&owners)).await;
    database
        .execute("DELETE FROM usage_events WHERE owner_kind = 'organization'")
        .await;
    let (mut found, mut after) = (Vec::new(), None);
    let mut read = store.read().await.unwrap();
    loop {
        let page = read.page_usage_owners(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(*last);
        found.extend(page);
    }
    owners.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, owners);
}

/// The plan of which nobody knows.
pub async fn calls_of_before_are_added_up_by_the_migration(database: &dyn TestDatabase) {
    let store = ready(database).await;
    book(&store, &mixture(&[somebody(), somebody()])).await;
    let by = [
        UsageGroup::Day,
        UsageGroup::Account,
        UsageGroup::Model,
        UsageGroup::ApiKey,
    ];
    let added_up = sums(&store, &ask(None, &by)).await;
    while !migrate_down(&store)
        .await
        .unwrap()
        .unwrap()
        .as_str()
        .ends_with("000019")
    {}
    migrate_up(&store).await.unwrap();
    assert_eq!(sums(&store, &ask(None, &by)).await, added_up);
    let plans = sums(&store, &ask(None, &[UsageGroup::Plan])).await;
    assert_eq!((plans.len(), plans[0].plan.as_deref()), (1, Some(PLAN_UNKNOWN)));
}
