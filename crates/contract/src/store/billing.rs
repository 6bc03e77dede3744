//! Subscriptions, the provider's events, usage.

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{
    Entitlement, EntitlementKind, Grant, NanoUsd, Override, Owner, Price, Subscription, SubscriptionStatus, Window,
};
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_domain::{ApiKeyId, OverrideId, RequestId, SessionId, UserId};
use anteroom_ports::billing::{
    Consumed, Consumption, CounterAsk, EventState, EventsAsk, ProviderEvent, StoredEvent, TrialMark,
};

use super::samples::{at, id, usage};
use super::{RACERS, TestDatabase, begin, race, ready};

pub(super) fn subscription(owner: Owner, provider_id: &str, status: &str, second: i64) -> Subscription {
    Subscription {
        provider: "stripe-stub".into(),
        provider_id: provider_id.into(),
        owner,
        customer: None,
        plan: "pro".into(),
        plan_version: 1,
        price: None,
        quantity: 1,
        status: SubscriptionStatus::parse(status),
        known_status: None,
        current_period_end: Some(at(500)),
        paid_until: None,
        cancel_at_period_end: false,
        cancel_at: None,
        trial_end: None,
        past_due_since: None,
        collection_paused: false,
        next_plan: None,
        next_quantity: None,
        as_of: at(second),
    }
}

pub(super) fn somebody() -> Owner {
    Owner::account(UserId(id()))
}

fn event(provider: &str, id: &str, second: i64) -> StoredEvent {
    StoredEvent {
        provider: provider.into(),
        event: ProviderEvent {
            id: id.into(),
            kind: "customer.subscription.updated".into(),
            created: at(second - 1),
            subscription: Some("sub_1".into()),
            customer: None,
            purchase: None,
        },
        payload: "{\"id\":\"\u{e4}\"}".into(),
        received_at: at(second),
    }
}

/// Of parallel deliveries one is new; the others learn whether it has had its effect.
pub async fn an_event_is_known_after_the_first_time(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let states = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let state = unit
                .insert_billing_event(&event("stripe", "evt_1", 1), false)
                .await
                .unwrap();
            unit.commit().await.unwrap();
            state
        }
    })
    .await;
    assert_eq!(states.iter().filter(|state| **state == EventState::New).count(), 1);
    assert_eq!(
        states.iter().filter(|state| **state == EventState::Waiting).count(),
        RACERS - 1
    );
    let mut unit = begin(&store).await;
    let known = unit
        .insert_billing_event(&event("other", "evt_1", 1), true)
        .await
        .unwrap();
    assert_eq!(known, EventState::New, "another provider's");
    let known = unit
        .insert_billing_event(&event("other", "evt_1", 1), false)
        .await
        .unwrap();
    assert_eq!(known, EventState::Done);
    unit.finish_billing_event("stripe", "evt_1").await.unwrap();
    unit.finish_billing_event("stripe", "evt_unheard_of").await.unwrap();
    let known = unit
        .insert_billing_event(&event("stripe", "evt_1", 9), false)
        .await
        .unwrap();
    assert_eq!(known, EventState::Done);
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(
        read.billing_event("stripe", "evt_1").await.unwrap(),
        Some(event("stripe", "evt_1", 1))
    );
    assert_eq!(read.billing_event("stripe", "evt_2").await.unwrap(), None);
}

/// Oldest first, and none that is done or came too lately.
pub async fn events_that_wait_are_found(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    for (id, second, done) in [
        ("evt_c", 3, false),
        ("evt_b", 2, false),
        ("evt_d", 2, false),
        ("evt_a", 1, true),
        ("evt_z", 9, false),
    ] {
        unit.insert_billing_event(&event("stripe", id, second), done)
            .await
            .unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let ids = |events: Vec<StoredEvent>| events.into_iter().map(|stored| stored.event.id).collect::<Vec<_>>();
    assert_eq!(
        ids(read
            .page_billing_events(EventsAsk::WaitingBefore(at(9)), None, 10)
            .await
            .unwrap()),
        ["evt_b", "evt_d", "evt_c"]
    );
    assert_eq!(
        ids(read
            .page_billing_events(EventsAsk::WaitingBefore(at(9)), None, 2)
            .await
            .unwrap()),
        ["evt_b", "evt_d"]
    );
    assert_eq!(
        ids(read
            .page_billing_events(EventsAsk::Since(at(2)), None, 2)
            .await
            .unwrap()),
        ["evt_b", "evt_d"]
    );
    let rest = read
        .page_billing_events(EventsAsk::Since(at(2)), Some((at(2), "evt_b")), 10)
        .await
        .unwrap();
    assert_eq!(ids(rest), ["evt_d", "evt_c", "evt_z"]);
    assert_eq!(
        ids(read
            .page_billing_events(EventsAsk::Since(at(1)), None, 10)
            .await
            .unwrap())
        .len(),
        5
    );
}

/// Every field; a second write changes all but the owner, and each raises the revision.
pub async fn subscriptions_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let mut mine = subscription(owner, "sub_1", "a_word_of_tomorrow", 1);
    let mut unit = begin(&store).await;
    assert_eq!(unit.lock_subscription("stripe-stub", "sub_1").await.unwrap(), None);
    unit.put_subscription(&mine).await.unwrap();
    let found = unit.lock_subscription("stripe-stub", "sub_1").await.unwrap().unwrap();
    assert_eq!((&found.subscription, found.revision), (&mine, 0));
    mine.customer = Some("cus_1".into());
    mine.plan = "business".into();
    mine.plan_version = 2;
    mine.price = Some(Price {
        amount: i64::MAX,
        currency: "usd".into(),
        interval: "year".into(),
    });
    mine.quantity = 7;
    mine.status = SubscriptionStatus::Other("dormant".into());
    mine.known_status = Some(SubscriptionStatus::PastDue);
    mine.current_period_end = None;
    mine.paid_until = Some(at(5));
    mine.cancel_at_period_end = true;
    mine.cancel_at = Some(at(6));
    mine.trial_end = Some(at(7));
    mine.past_due_since = Some(at(8));
    mine.collection_paused = true;
    mine.next_plan = Some("pro".into());
    mine.next_quantity = Some(3);
    mine.as_of = at(9);
    let mut theirs = mine.clone();
    theirs.owner = somebody();
    unit.put_subscription(&theirs).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.subscription_of(owner).await.unwrap(), Some(mine.clone()));
    assert_eq!(read.subscription_of(theirs.owner).await.unwrap(), None);
    let found = read.subscription_at("stripe-stub", "sub_1").await.unwrap().unwrap();
    assert_eq!((&found.subscription, found.revision), (&mine, 1));
    assert_eq!(read.subscription_at("stripe", "sub_1").await.unwrap(), None);
    assert_eq!(
        read.subscriptions_of_customer("stripe-stub", "cus_1").await.unwrap(),
        [mine]
    );
    assert!(
        read.subscriptions_of_customer("stripe", "cus_1")
            .await
            .unwrap()
            .is_empty()
    );
}

/// In the order of their identifiers.
pub async fn subscriptions_that_are_not_over_are_paged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    for (id, status) in [
        ("sub_3", "unpaid"),
        ("sub_1", "active"),
        ("sub_2", "canceled"),
        ("sub_4", "incomplete_expired"),
    ] {
        unit.put_subscription(&subscription(somebody(), id, status, 1))
            .await
            .unwrap();
    }
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let mut page = async |after, limit| {
        let page = read.page_open_subscriptions("stripe-stub", after, limit).await.unwrap();
        page.into_iter().map(|sub| sub.provider_id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["sub_1", "sub_3"]);
    assert_eq!(page(None, 1).await, ["sub_1"]);
    assert_eq!(page(Some("sub_1"), 10).await, ["sub_3"]);
}

/// The first one stays, of parallel callers too.
pub async fn an_owner_is_one_customer(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let customers = race(|number| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let stands = unit
                .insert_customer("stripe", &format!("cus_{number}"), owner, at(1))
                .await
                .unwrap();
            unit.commit().await.unwrap();
            stands
        }
    })
    .await;
    assert!(
        customers.iter().all(|customer| *customer == customers[0]),
        "{customers:?}"
    );
    let mut unit = begin(&store).await;
    assert_eq!(
        unit.customer_of("stripe", owner).await.unwrap().as_ref(),
        Some(&customers[0])
    );
    assert_eq!(
        unit.owner_of_customer("stripe", &customers[0]).await.unwrap(),
        Some(owner)
    );
    assert_eq!(unit.owner_of_customer("other", &customers[0]).await.unwrap(), None);
    assert_eq!(unit.customer_of("other", owner).await.unwrap(), None);
    assert_eq!(
        unit.insert_customer("other", "cus_x", owner, at(1)).await.unwrap(),
        "cus_x"
    );
    // Another owner does not get what is somebody's.
    let stolen = unit.insert_customer("other", "cus_x", somebody(), at(1)).await;
    assert!(stolen.is_err(), "{stolen:?}");
    unit.delete_customer("other", "cus_x").await.unwrap();
    assert_eq!(unit.customer_of("other", owner).await.unwrap(), None);
}

/// What expired or was taken back does not hold, and is still listed.
pub async fn what_was_granted_holds_until_it_ends(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (somebody(), somebody());
    let granted = |owner, second, grant, expires_at| Override {
        id: OverrideId(id()),
        owner,
        grant,
        reason: "an outage \u{e4}".into(),
        granted_by: Some(UserId(id())),
        created_at: at(second),
        expires_at,
    };
    let limit = Entitlement {
        key: "messages".into(),
        kind: EntitlementKind::metered(Some(5), Window::Month),
    };
    let plan = granted(owner, 1, Grant::Plan("pro".into()), Some(at(10)));
    let limit = granted(owner, 2, Grant::Entitlement(limit), None);
    let theirs = granted(other, 1, Grant::Plan("pro".into()), None);
    let mut unit = begin(&store).await;
    for granted in [&limit, &plan, &theirs] {
        unit.insert_override(granted).await.unwrap();
    }
    unit.commit().await.unwrap();
    let mut unit = begin(&store).await;
    let holdings = unit.holdings_of(owner, at(9)).await.unwrap();
    assert_eq!(
        (holdings.subscription, holdings.overrides),
        (None, vec![plan.clone(), limit.clone()])
    );
    assert_eq!(
        unit.holdings_of(owner, at(10)).await.unwrap().overrides,
        std::slice::from_ref(&limit)
    );
    assert!(
        !unit.revoke_override(other, limit.id, at(11)).await.unwrap(),
        "another owner's"
    );
    assert!(unit.revoke_override(owner, limit.id, at(11)).await.unwrap());
    assert!(!unit.revoke_override(owner, limit.id, at(12)).await.unwrap(), "once");
    assert!(unit.holdings_of(owner, at(10)).await.unwrap().overrides.is_empty());
    let listed = unit.overrides_of(owner).await.unwrap();
    assert_eq!(listed, [(limit, Some(at(11))), (plan, None)]);
}

/// By owner and by means of payment, once each.
pub async fn a_trial_is_had_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (somebody(), somebody());
    let card = TrialMark::PaymentFingerprint("fp".into());
    let firsts = race(|_| {
        let (store, card) = (store.clone(), card.clone());
        async move {
            let mut unit = begin(&store).await;
            let first = unit.insert_trial(owner, &card, at(1)).await.unwrap();
            unit.commit().await.unwrap();
            first
        }
    })
    .await;
    assert_eq!(firsts.iter().filter(|first| **first).count(), 1);
    let mut unit = begin(&store).await;
    assert!(unit.insert_trial(owner, &TrialMark::Owner, at(1)).await.unwrap());
    assert_eq!(unit.trial_had_by(owner, &TrialMark::Owner).await.unwrap(), Some(owner));
    assert_eq!(unit.trial_had_by(other, &TrialMark::Owner).await.unwrap(), None);
    assert_eq!(unit.trial_had_by(other, &card).await.unwrap(), Some(owner));
    assert!(!unit.insert_trial(other, &card, at(2)).await.unwrap());
}

/// In all of its windows or in none, exactly, and once under its identifier.
pub async fn what_is_consumed_counts_everywhere_or_nowhere(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = somebody();
    let counter = |name: &str, limit| CounterAsk {
        counter: name.into(),
        window_start: at(0),
        limit,
    };
    let ask = |id: &str, amount, minute, day| Consumption {
        owner,
        id: id.into(),
        key: "exports \u{e4}".into(),
        plan: "pro".into(),
        amount,
        counters: vec![counter("minute", minute), counter("day", day)],
        at: at(1),
    };
    let consume = async |asked: &Consumption| {
        let mut unit = begin(&store).await;
        let outcome = unit.consume(asked).await.unwrap();
        if !matches!(outcome, Consumed::Denied { .. }) {
            unit.commit().await.unwrap();
        }
        outcome
    };
    let levels = async || {
        let mut read = store.read().await.unwrap();
        let minute = read.counter_level(owner, "minute", at(0)).await.unwrap();
        (minute, read.counter_level(owner, "day", at(0)).await.unwrap())
    };
    assert_eq!(consume(&ask("a", 3, None, Some(5))).await, Consumed::Counted);
    assert_eq!(consume(&ask("a", 3, None, Some(5))).await, Consumed::Repeated);
    assert_eq!(consume(&ask("a", 2, None, Some(5))).await, Consumed::OtherUse);
    assert_eq!(levels().await, (3, 3));
    let denied = Consumed::Denied { counter: 1, used: 3 };
    assert_eq!(consume(&ask("b", 3, None, Some(5))).await, denied);
    assert_eq!(levels().await, (3, 3), "not in the other window either");
    assert_eq!(
        consume(&ask("b", 2, None, Some(5))).await,
        Consumed::Counted,
        "what was denied can be asked again"
    );
    assert_eq!(
        consume(&ask("c", 1, Some(9), Some(5))).await,
        Consumed::Denied { counter: 1, used: 5 }
    );
    assert_eq!(
        consume(&ask("c", 1, Some(5), None)).await,
        Consumed::Denied { counter: 0, used: 5 }
    );
    // Many at once: never over, and exact.
    let rivals = race(|number| {
        let store = store.clone();
        let asked = ask(&format!("rival {number}"), 1, None, Some(5 + 20));
        async move {
            let mut unit = begin(&store).await;
            let counted = unit.consume(&asked).await.unwrap() == Consumed::Counted;
            if counted {
                unit.commit().await.unwrap();
            }
            counted
        }
    })
    .await;
    assert_eq!(rivals.into_iter().filter(|counted| *counted).count(), 20.min(RACERS));
    assert_eq!(levels().await.1, 5 + i64::try_from(20.min(RACERS)).unwrap());
    let mut unit = begin(&store).await;
    assert_eq!(unit.purge_consumptions(at(1), 10).await.unwrap(), 0);
    assert_eq!(unit.purge_consumptions(at(2), 1).await.unwrap(), 1);
    assert_eq!(unit.counter_level(somebody(), "day", at(0)).await.unwrap(), 0);
}

/// By one of all nodes.
pub async fn a_turn_is_taken_by_one(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let turns = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let mine = unit.take_turn("nightly", at(1), at(100)).await.unwrap();
            unit.commit().await.unwrap();
            mine
        }
    })
    .await;
    assert_eq!(turns.iter().filter(|mine| **mine).count(), 1);
    let mut unit = begin(&store).await;
    assert!(!unit.take_turn("nightly", at(99), at(199)).await.unwrap());
    assert!(unit.take_turn("other", at(99), at(199)).await.unwrap());
    assert!(unit.take_turn("nightly", at(100), at(200)).await.unwrap());
    assert!(!unit.take_turn("nightly", at(100), at(200)).await.unwrap());
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
        (subscription(owner, "sub_e", "active", 9), "sub_e"),
        (subscription(owner, "sub_d", "canceled", 10), "sub_e"),
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
    // Others that are not over may be the better ones.
    let held = unit.holdings_of(owner, at(20)).await.unwrap();
    let others: Vec<_> = held.others.iter().map(|other| other.provider_id.as_str()).collect();
    let first = held.subscription.map(|first| first.provider_id);
    assert_eq!((first.as_deref(), others), (Some("sub_e"), vec!["sub_c"]));
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
            next.plan_version = known.map_or(0, |known| known.subscription.plan_version) + 1;
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
