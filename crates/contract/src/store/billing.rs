//! Subscriptions, the provider's events, usage.

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{NanoUsd, Owner, Subscription, SubscriptionStatus};
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_domain::{ApiKeyId, RequestId, SessionId, UserId};

use super::samples::{at, id, usage};
use super::{RACERS, TestDatabase, begin, race, ready};

fn subscription(owner: Owner, provider_id: &str, status: &str, second: i64) -> Subscription {
    Subscription {
        provider: "stripe-stub".into(),
        provider_id: provider_id.into(),
        owner,
        plan: "pro".into(),
        plan_version: 1,
        status: SubscriptionStatus::parse(status),
        current_period_end: Some(at(500)),
        cancel_at_period_end: false,
        trial_end: None,
        past_due_since: None,
        as_of: at(second),
    }
}

fn somebody() -> Owner {
    Owner::account(UserId(id()))
}

/// Of parallel deliveries one has an effect.
pub async fn an_event_is_known_after_the_first_time(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let news = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let new = unit
                .insert_billing_event("stripe", "evt_1", "kind", "{}", at(1))
                .await
                .unwrap();
            unit.commit().await.unwrap();
            new
        }
    })
    .await;
    assert_eq!(news.iter().filter(|new| **new).count(), 1);
    let mut unit = begin(&store).await;
    assert!(
        unit.insert_billing_event("other", "evt_1", "kind", "{}", at(1))
            .await
            .unwrap()
    );
    assert!(
        !unit
            .insert_billing_event("other", "evt_1", "kind", "{}", at(1))
            .await
            .unwrap()
    );
}

/// Every field; a second write changes all but the owner.
pub async fn subscriptions_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mut mine = subscription(owner, "sub_1", "a_word_of_tomorrow", 1);
    let mut unit = begin(&store).await;
    assert_eq!(unit.lock_subscription("stripe-stub", "sub_1").await.unwrap(), None);
    unit.put_subscription(&mine).await.unwrap();
    let found = unit.lock_subscription("stripe-stub", "sub_1").await.unwrap();
    assert_eq!(found, Some(mine.clone()));
    mine.plan = "business".into();
    mine.plan_version = 2;
    mine.status = SubscriptionStatus::PastDue;
    mine.current_period_end = None;
    mine.cancel_at_period_end = true;
    mine.trial_end = Some(at(7));
    mine.past_due_since = Some(at(8));
    mine.as_of = at(9);
    let mut theirs = mine.clone();
    theirs.owner = somebody();
    unit.put_subscription(&theirs).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.subscription_of(owner).await.unwrap(), Some(mine));
    assert_eq!(read.subscription_of(theirs.owner).await.unwrap(), None);
}

/// One that can still change before one that cannot, then the one that began last.
pub async fn the_subscription_in_force_comes_first(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mut unit = begin(&store).await;
    let steps = [
        (subscription(owner, "sub_a", "canceled", 1), "sub_a"),
        (subscription(owner, "sub_b", "incomplete_expired", 2), "sub_b"),
        (subscription(owner, "sub_c", "unpaid", 0), "sub_c"),
        (subscription(owner, "sub_d", "active", 5), "sub_d"),
        // News about an older one do not make it the newest.
        (subscription(owner, "sub_c", "active", 9), "sub_d"),
        (subscription(owner, "sub_d", "canceled", 10), "sub_c"),
    ];
    for (next, first) in steps {
        unit.put_subscription(&next).await.unwrap();
        let found = unit.subscription_of(owner).await.unwrap().unwrap();
        assert_eq!(
            found.provider_id,
            first,
            "after {} {}",
            next.provider_id,
            next.status.as_str()
        );
    }
}

/// Also while there is no row to lock yet.
pub async fn events_about_one_subscription_take_turns(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let known = unit.lock_subscription("stripe-stub", "sub_1").await.unwrap();
            let mut next = subscription(owner, "sub_1", "active", 1);
            next.plan_version = known.map_or(0, |known| known.plan_version) + 1;
            unit.put_subscription(&next).await.unwrap();
            unit.commit().await.unwrap();
        }
    })
    .await;
    let found = store
        .read()
        .await
        .unwrap()
        .subscription_of(owner)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.plan_version, i32::try_from(RACERS).unwrap());
}

/// Under its request's id.
pub async fn usage_is_booked_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut event = UsageEvent {
        request_id: RequestId(id()),
        owner: somebody(),
        used_with: UsedWith::Session(SessionId(id())),
        model: "gpt-4o".into(),
        plan: "pro".into(),
        served_by: None,
        usage: usage(1),
        exact: true,
        cost: Some(NanoUsd(i64::MAX)),
        first_token_ms: Some(12),
        total_ms: 34,
        outcome: Outcome::Complete,
        created_at: at(1),
    };
    let mut unit = begin(&store).await;
    assert_eq!(unit.insert_usage(&[&event]).await.unwrap(), 1);
    assert_eq!(unit.insert_usage(&[&event]).await.unwrap(), 0);
    event.request_id = RequestId(id());
    event.used_with = UsedWith::ApiKey(ApiKeyId(id()));
    event.cost = None;
    event.first_token_ms = None;
    event.outcome = Outcome::Lost;
    assert_eq!(unit.insert_usage(&[&event]).await.unwrap(), 1);
    unit.commit().await.unwrap();
}
