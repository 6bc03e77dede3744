//! What subscriptions bring in, and the lists of them.

use std::sync::Arc;

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{Conversion, Movement, Owner, Revenue, SubscriptionStatus, TrialSum};
use anteroom_domain::sessions::Transport;
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::PaymentProvider as _;
use anteroom_ports::billing::{ProviderEvent, ProviderSubscription, Sale, SubscriptionFilter};
use anteroom_services::billing::{BillingSummary, SummaryError};
use anteroom_testkit::billing::FakePayments;
use jiff::civil::Date;

use crate::billing::{paid, pro};
use crate::house::House;

async fn somebody(house: &House, name: &str) -> User {
    house
        .sign_up(&format!("{name}@example.com"), Transport::Token)
        .await
        .user
}

fn business() -> Sale {
    let mut sale = pro();
    sale.plan = "business".into();
    sale.price.amount = 7900;
    sale
}

/// The provider has it so, and tells of it.
async fn is(house: &House, event: &str, subscription: ProviderSubscription) {
    let id = subscription.id.clone();
    house.payments.put_subscription(subscription);
    let body = house.payments.put_event(ProviderEvent {
        id: event.into(),
        kind: "customer.subscription.updated".into(),
        created: anteroom_ports::Clock::now(&*house.clock),
        subscription: Some(id),
        customer: None,
        purchase: None,
    });
    let name = house.payments.name();
    let applied = house.billing.apply_webhook(name, &FakePayments::signed, &body).await;
    applied.unwrap();
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn set(house: &House, time: &str) {
    house.clock.set(time.parse().unwrap());
}

async fn summary(house: &House, from: &str, until: &str) -> BillingSummary {
    house
        .billing
        .summarize_billing(Some(day(from)), Some(day(until)))
        .await
        .unwrap()
}

fn moved(subscriptions: i64, monthly: i64) -> Movement {
    Movement { subscriptions, monthly }
}

fn with(status: SubscriptionStatus, subscription: ProviderSubscription) -> ProviderSubscription {
    ProviderSubscription { status, ..subscription }
}

#[tokio::test]
async fn figures_follow_what_subscribers_do() {
    let house = House::new().await;
    let (ada, bob) = (somebody(&house, "ada").await, somebody(&house, "bob").await);
    let none = summary(&house, "2026-11-01", "2026-12-01").await;
    assert!(none.totals.is_empty() && none.cohorts.is_empty(), "{none:?}");
    assert_eq!(none.conversion, Conversion { accounts: 2, paid: 0 });
    // Ada pays from the first day on, Bob after his trial.
    is(&house, "evt_1", paid(&house, ada.id, "sub_a")).await;
    let bobs = paid(&house, bob.id, "sub_b");
    is(&house, "evt_2", with(SubscriptionStatus::Trialing, bobs.clone())).await;
    let trial = |paid, running| {
        vec![TrialSum {
            plan: "pro".into(),
            began: 1,
            paid,
            running,
        }]
    };
    assert_eq!(summary(&house, "2026-11-01", "2026-12-01").await.trials, trial(0, 1));
    set(&house, "2026-11-25T12:00:00Z");
    is(&house, "evt_3", bobs.clone()).await;
    let november = summary(&house, "2026-11-01", "2026-12-01").await;
    let pro_in_usd = ("pro".to_owned(), "usd".to_owned());
    let expected = Revenue {
        new: moved(2, 3800),
        after: moved(2, 3800),
        ..Revenue::default()
    };
    assert_eq!(november.revenue[&pro_in_usd], expected);
    assert_eq!(november.totals["usd"], expected);
    assert_eq!(november.trials, trial(1, 0));
    assert_eq!(november.conversion, Conversion { accounts: 2, paid: 2 });
    assert_eq!(november.as_of, "2026-11-25T12:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!((november.cohorts[0].accounts, november.cohorts[0].paying.len()), (2, 0));
    // In December Bob goes up, and Ada fails to pay and goes.
    set(&house, "2026-12-10T00:00:00Z");
    let up = ProviderSubscription {
        price: Some(FakePayments::price_of(&business())),
        ..bobs
    };
    is(&house, "evt_4", up).await;
    let adas = paid(&house, ada.id, "sub_a");
    is(&house, "evt_5", with(SubscriptionStatus::PastDue, adas.clone())).await;
    assert_eq!(
        summary(&house, "2026-12-01", "2027-01-01").await.totals["usd"].after,
        moved(2, 9800)
    );
    is(&house, "evt_6", with(SubscriptionStatus::Canceled, adas)).await;
    set(&house, "2027-01-15T00:00:00Z");
    let december = summary(&house, "2026-12-01", "2027-01-01").await;
    assert_eq!(
        december.revenue[&pro_in_usd],
        Revenue {
            before: moved(2, 3800),
            moved_out: moved(1, 1900),
            churned: moved(1, 1900),
            ..Revenue::default()
        }
    );
    assert_eq!(
        december.totals["usd"],
        Revenue {
            before: moved(2, 3800),
            expanded: moved(1, 6000),
            moved_in: moved(1, 1900),
            moved_out: moved(1, 1900),
            churned: moved(1, 1900),
            after: moved(1, 7900),
            ..Revenue::default()
        }
    );
    // (3800 + 7900) / 2 for 31 days, and one went.
    assert_eq!(december.totals["usd"].lifetime_value(december.time()), Some(5958));
    // A month that is over is told as it was, whatever came since.
    assert_eq!(
        summary(&house, "2026-11-01", "2026-12-01").await.totals,
        november.totals
    );
    let cohort = &december.cohorts[0];
    assert_eq!((cohort.accounts, &cohort.paying[..]), (2, &[2, 1][..]));
    let refused = house
        .billing
        .summarize_billing(Some(day("2026-12-01")), Some(day("2026-12-01")))
        .await;
    assert!(matches!(refused, Err(SummaryError::InvalidSpan(_))), "{refused:?}");
}

#[tokio::test]
async fn an_erased_account_leaves_its_figures() {
    let house = House::new().await;
    let ada = somebody(&house, "ada").await;
    is(&house, "evt_1", paid(&house, ada.id, "sub_a")).await;
    let before = summary(&house, "2026-11-01", "2026-12-01").await;
    let mut unit = house.store.begin(anteroom_ports::Durability::Full).await.unwrap();
    assert!(unit.delete_user(ada.id).await.unwrap());
    unit.commit().await.unwrap();
    let after = summary(&house, "2026-11-01", "2026-12-01").await;
    assert_eq!((&after.totals, &after.cohorts), (&before.totals, &before.cohorts));
    assert_eq!(after.conversion, Conversion::default(), "of people who are there");
    assert!(
        house
            .billing
            .list_subscriptions_of_user(ada.id)
            .await
            .unwrap()
            .is_none()
    );
    let theirs = SubscriptionFilter {
        owner: Some(Owner::account(ada.id)),
        ..SubscriptionFilter::default()
    };
    let listed = house.billing.list_subscriptions(&theirs, None, 20).await.unwrap();
    assert_eq!(listed.items.len(), 1);
}

#[tokio::test]
async fn a_change_is_noted_once_and_a_renewal_is_none() {
    let house = Arc::new(House::new().await);
    let ada = somebody(&house, "ada").await;
    let changes = async |house: &House| {
        let history = house.billing.list_subscriptions_of_user(ada.id).await.unwrap().unwrap();
        history.changes
    };
    let mut looks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let house = Arc::clone(&house);
        let id = ada.id;
        looks.spawn(async move { is(&house, &format!("evt_{number}"), paid(&house, id, "sub_a")).await });
    }
    looks.join_all().await;
    assert_eq!(changes(&house).await.len(), 1);
    set(&house, "2026-12-21T00:00:00Z");
    is(&house, "evt_renewed", paid(&house, ada.id, "sub_a")).await;
    assert_eq!(changes(&house).await.len(), 1, "another period is no change");
    // A node of an older version notes nothing.
    let mut unit = house.store.begin(anteroom_ports::Durability::Full).await.unwrap();
    let name = house.payments.name();
    let standing = unit.lock_subscription(name, "sub_a").await.unwrap().unwrap();
    let mut news = standing.subscription;
    news.status = SubscriptionStatus::PastDue;
    unit.put_subscription(&news).await.unwrap();
    unit.commit().await.unwrap();
    let late = with(SubscriptionStatus::PastDue, paid(&house, ada.id, "sub_a"));
    is(&house, "evt_late", late).await;
    let noted = changes(&house).await;
    assert_eq!(noted.len(), 2, "it is made up for");
    assert_eq!(noted[0].from.as_ref(), Some(&noted[1].into));
    assert!(noted[0].revision > noted[1].revision, "{noted:?}");
}

#[tokio::test]
async fn subscriptions_are_listed_with_what_they_open_by_themselves() {
    let house = House::new().await;
    let (ada, bob) = (somebody(&house, "ada").await, somebody(&house, "bob").await);
    is(
        &house,
        "evt_1",
        with(SubscriptionStatus::Canceled, paid(&house, ada.id, "sub_1")),
    )
    .await;
    house.clock.advance_seconds(1);
    is(
        &house,
        "evt_2",
        with(SubscriptionStatus::PastDue, paid(&house, bob.id, "sub_2")),
    )
    .await;
    house.clock.advance_seconds(1);
    is(&house, "evt_3", paid(&house, ada.id, "sub_3")).await;
    let all = SubscriptionFilter::default();
    let told = |page: &[anteroom_services::billing::AdminSubscription]| -> Vec<_> {
        let told = page.iter().map(|it| {
            let id = it.listed.subscription.provider_id.clone();
            (id, it.access.active, it.access.reason.as_str())
        });
        told.collect()
    };
    let first = house.billing.list_subscriptions(&all, None, 2).await.unwrap();
    let expected = [
        ("sub_3".to_owned(), true, "active"),
        ("sub_2".to_owned(), true, "past_due_grace"),
    ];
    assert_eq!((told(&first.items), first.more), (expected.to_vec(), true));
    let last = first.items[1].listed.cursor();
    let rest = house.billing.list_subscriptions(&all, Some(last), 2).await.unwrap();
    assert_eq!(
        (told(&rest.items), rest.more),
        (vec![("sub_1".to_owned(), false, "canceled")], false)
    );
    // The grace time ends by the clock.
    house.clock.advance_seconds(8 * 86_400);
    let bobs = house.billing.list_subscriptions_of_user(bob.id).await.unwrap().unwrap();
    assert_eq!(told(&bobs.subscriptions), [("sub_2".to_owned(), false, "past_due")]);
    let adas = house.billing.list_subscriptions_of_user(ada.id).await.unwrap().unwrap();
    assert_eq!(adas.subscriptions.len(), 2);
    assert_eq!((adas.access.plan.key.as_str(), adas.changes.len()), ("pro", 2));
    let nobody = UserId(uuid::Uuid::nil());
    assert!(
        house
            .billing
            .list_subscriptions_of_user(nobody)
            .await
            .unwrap()
            .is_none()
    );
}
