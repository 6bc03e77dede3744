//! What is used beyond a plan's limits is reported to the payment provider: once, whatever fails, and only what is paid for.

use std::sync::Arc;

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{Entitlement, EntitlementKind, Grant, Owner, Price, SubscriptionStatus, Window};
use anteroom_domain::sessions::Transport;
use anteroom_ports::billing::{PaymentError, ProviderSubscription, Sale, When};
use anteroom_services::Client;
use anteroom_services::billing::{ChangeAsk, EntitlementAsk, EntitlementError, GrantAsk, NotAllowed};
use anteroom_testkit::billing::FakePayments;
use futures_util::future::join_all;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::billing::{paid, pro, tell};
use crate::house::House;

fn sold(plan: &str, amount: i64) -> Sale {
    Sale {
        plan: plan.into(),
        name: plan.to_uppercase(),
        price: Price { amount, ..pro().price },
        ..pro()
    }
}

/// A subscription to `plus`, which has 5 messages and 10 renders a month, and 3 and 70 more at a price.
async fn subscribed(house: &House, email: &str) -> (User, ProviderSubscription) {
    let user = house.sign_up(email, Transport::Token).await.user;
    let sub = ProviderSubscription {
        price: Some(FakePayments::price_of(&sold("plus", 2900))),
        ..paid(house, user.id, "sub_1")
    };
    is(house, &sub).await;
    (user, sub)
}

async fn is(house: &House, sub: &ProviderSubscription) {
    house.clock.advance_seconds(1);
    house.payments.put_subscription(sub.clone());
    let event = format!("evt_{}", house.payments.fetched().len());
    tell(house, &event, Some(&sub.id)).await.unwrap();
}

async fn renders(house: &House, user: &User, amount: i64, id: Option<&str>) -> Result<i64, NotAllowed> {
    let ask = EntitlementAsk {
        user_id: None,
        key: "renders".into(),
        amount,
    };
    let id = id.map(str::to_owned);
    match house.billing.consume_entitlement(user, &ask, id).await {
        Ok(checked) => Ok(checked.level.unwrap().used),
        Err(EntitlementError::NotAllowed { checked, .. }) => Err(checked.refused.unwrap()),
        Err(other) => panic!("{other}"),
    }
}

async fn calls(house: &House, email: &str, times: usize) -> usize {
    let by = (*house.somebody_again(email).await).clone().into();
    let body = r#"{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut answered = 0;
    for _ in 0..times {
        let answer = house.chat.complete_chat(&by, body.as_bytes(), CancellationToken::new());
        answered += usize::from(answer.await.is_ok());
    }
    house.chat_calls_are(0).await;
    answered
}

/// What was reported till now, by key, once all that waits was delivered.
async fn reported(house: &House) -> Vec<(String, i64)> {
    while house.webhooks.deliver_outbox().await.unwrap() > 0 {}
    let reports = house.payments.reports().into_iter();
    reports.map(|report| (report.key, report.value)).collect()
}

fn total(reports: &[(String, i64)], key: &str) -> i64 {
    reports.iter().filter(|(of, _)| of == key).map(|(_, value)| value).sum()
}

async fn look(house: &House) -> usize {
    house.clock.advance_seconds(60);
    house.billing.report_overage().await.unwrap()
}

#[tokio::test]
async fn what_goes_beyond_is_reported_as_it_is_used_and_no_more_than_is_sold() {
    let house = House::new().await;
    let (user, _) = subscribed(&house, "ada@example.com").await;
    assert_eq!(renders(&house, &user, 10, Some("a")).await, Ok(10));
    assert_eq!(reported(&house).await, [], "included");
    assert_eq!(renders(&house, &user, 5, Some("b")).await, Ok(15));
    assert_eq!(renders(&house, &user, 5, Some("b")).await, Ok(15), "the same again");
    assert_eq!(reported(&house).await, [("renders".to_owned(), 5)]);
    assert_eq!(renders(&house, &user, 66, None).await, Err(NotAllowed::QuotaExceeded));
    assert_eq!(renders(&house, &user, 65, None).await, Ok(80));
    assert_eq!(renders(&house, &user, 1, None).await, Err(NotAllowed::QuotaExceeded));
    assert_eq!(total(&reported(&house).await, "renders"), 70);
    let sent = house.payments.reports();
    assert!(
        sent.iter()
            .all(|report| report.customer == format!("cus_of_{}", user.id.0.simple()))
    );
    assert_ne!(sent[0].id, sent[1].id);
}

#[tokio::test]
async fn calls_beyond_the_limit_are_reported_afterwards() {
    let house = House::new().await;
    let email = "ada@example.com";
    subscribed(&house, email).await;
    assert_eq!(calls(&house, email, 5).await, 5);
    assert_eq!((look(&house).await, reported(&house).await.len()), (0, 0));
    assert_eq!(calls(&house, email, 2).await, 2);
    assert_eq!(look(&house).await, 1);
    assert_eq!(reported(&house).await, [("messages".to_owned(), 2)]);
    assert_eq!(look(&house).await, 0, "reported before");
    assert_eq!(house.billing.report_overage().await.unwrap(), 0, "another node's turn");
    assert_eq!(calls(&house, email, 3).await, 1, "no more than is sold");
    look(&house).await;
    assert_eq!(total(&reported(&house).await, "messages"), 3);
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_later_and_once() {
    let house = House::new().await;
    let (user, _) = subscribed(&house, "ada@example.com").await;
    for failure in [
        PaymentError::Unavailable("away".into()),
        // Before `anteroom plans publish`.
        PaymentError::Refused {
            code: Some("no_meter".into()),
            message: "no such meter".into(),
        },
    ] {
        house.payments.set_failure(Some(failure));
        renders(&house, &user, 12, None).await.unwrap();
        for _ in 0..80 {
            // Two days of pauses, and more: it is never given up.
            house.clock.advance_seconds(3700);
            house.webhooks.deliver_outbox().await.unwrap();
        }
        house.payments.set_failure(None);
        house.clock.advance_seconds(3700);
    }
    assert_eq!(total(&reported(&house).await, "renders"), 14);
}

#[tokio::test]
async fn who_does_not_pay_has_nothing_beyond_the_plan() {
    let house = House::new().await;
    let (user, mut sub) = subscribed(&house, "ada@example.com").await;
    sub.status = SubscriptionStatus::Trialing;
    sub.trial_end = sub.current_period_end;
    is(&house, &sub).await;
    assert_eq!(renders(&house, &user, 11, None).await, Err(NotAllowed::QuotaExceeded));
    sub.status = SubscriptionStatus::Active;
    is(&house, &sub).await;
    assert_eq!(calls(&house, "ada@example.com", 7).await, 7);
    assert_eq!(renders(&house, &user, 11, None).await, Ok(11));
    // What was used while it was paid for is reported all the same.
    sub.status = SubscriptionStatus::PastDue;
    is(&house, &sub).await;
    assert_eq!(renders(&house, &user, 1, None).await, Err(NotAllowed::QuotaExceeded));
    assert_eq!(calls(&house, "ada@example.com", 1).await, 0);
    assert_eq!(look(&house).await, 0);
    let reports = reported(&house).await;
    assert_eq!((total(&reports, "messages"), total(&reports, "renders")), (2, 1));
}

#[tokio::test]
async fn what_ran_when_the_month_ended_is_reported_in_the_next() {
    let house = House::new().await;
    let email = "ada@example.com";
    let (user, mut sub) = subscribed(&house, email).await;
    calls(&house, email, 6).await;
    assert_eq!(look(&house).await, 1);
    calls(&house, email, 1).await;
    renders(&house, &user, 12, None).await.unwrap();
    let month = SignedDuration::from_hours(24 * 30);
    house.clock.advance_seconds(month.as_secs());
    for end in [&mut sub.current_period_end, &mut sub.paid_until] {
        *end = end.map(|end| end + month);
    }
    is(&house, &sub).await;
    look(&house).await;
    let reports = reported(&house).await;
    assert_eq!((total(&reports, "messages"), total(&reports, "renders")), (2, 2));
    // The new month has its own.
    assert_eq!(renders(&house, &user, 11, None).await, Ok(11));
    assert_eq!(total(&reported(&house).await, "renders"), 3);
}

#[tokio::test]
async fn an_upgrade_and_its_way_back_make_nothing_dear_that_was_free() {
    let house = House::new().await;
    let (user, mut sub) = subscribed(&house, "ada@example.com").await;
    renders(&house, &user, 12, None).await.unwrap();
    let plus = sub.price.clone();
    sub.price = Some(FakePayments::price_of(&sold("business", 7900)));
    is(&house, &sub).await;
    sub.price = plus;
    is(&house, &sub).await;
    assert_eq!(renders(&house, &user, 3, None).await, Ok(15));
    assert_eq!(total(&reported(&house).await, "renders"), 5);
}

#[tokio::test]
async fn what_a_plan_included_is_not_sold_by_the_next_one() {
    let house = House::new().await;
    let (user, mut sub) = subscribed(&house, "ada@example.com").await;
    let plus = sub.price.clone();
    sub.price = Some(FakePayments::price_of(&sold("business", 7900)));
    is(&house, &sub).await;
    assert_eq!(renders(&house, &user, 60, None).await, Ok(60));
    sub.price = plus;
    is(&house, &sub).await;
    calls(&house, "ada@example.com", 1).await;
    assert_eq!((look(&house).await, reported(&house).await.len()), (0, 0));
    assert_eq!(renders(&house, &user, 3, None).await, Ok(63));
    assert_eq!(total(&reported(&house).await, "renders"), 3);
}

#[tokio::test]
async fn what_was_used_is_reported_before_a_change_or_an_end_bills_it() {
    for ends in [true, false] {
        let house = House::new().await;
        let email = "ada@example.com";
        let (user, _) = subscribed(&house, email).await;
        assert_eq!(calls(&house, email, 7).await, 7);
        let owner = Owner::account(user.id);
        if ends {
            house.billing.cancel_subscription(owner, When::Now).await.unwrap();
        } else {
            let ask = ChangeAsk {
                plan: "business".into(),
                interval: None,
                seats: None,
                when: Some(When::Now),
            };
            house.billing.change_plan(owner, &ask).await.unwrap();
        }
        // Not by the outbox, which comes later and says the same again.
        let sent = house.payments.reports();
        assert_eq!(sent.iter().map(|report| report.value).collect::<Vec<_>>(), [2]);
        assert_eq!(total(&reported(&house).await, "messages"), 2);
    }
}

#[tokio::test]
async fn what_the_operator_grants_is_free_however_much_was_sold_before() {
    let house = House::new().await;
    let (user, _) = subscribed(&house, "ada@example.com").await;
    assert_eq!(renders(&house, &user, 12, None).await, Ok(12));
    assert_eq!(total(&reported(&house).await, "renders"), 2);
    let grant = |grant| GrantAsk {
        user_id: user.id,
        grant,
        reason: "a test".into(),
        expires_at: None,
    };
    let more = Grant::Entitlement(Entitlement {
        key: "renders".into(),
        kind: EntitlementKind::metered(Some(40), Window::Month),
    });
    let more_still = Grant::Entitlement(Entitlement {
        key: "renders".into(),
        kind: EntitlementKind::metered(None, Window::Month),
    });
    let (actor, client) = (Actor::Operator, Client::default());
    let granted = house.billing.grant_override(grant(more), actor, &client).await.unwrap();
    assert_eq!(renders(&house, &user, 28, None).await, Ok(40));
    assert_eq!(renders(&house, &user, 1, None).await, Err(NotAllowed::QuotaExceeded));
    // Once it is taken back, the plan's terms hold again; what was free stays free, whether anybody looked meanwhile or not.
    let id = granted.id;
    house.clock.advance_seconds(1);
    house
        .billing
        .revoke_override(user.id, id, actor, &client)
        .await
        .unwrap();
    assert_eq!(renders(&house, &user, 5, None).await, Ok(45));
    assert_eq!(total(&reported(&house).await, "renders"), 7);
    // Neither is a look needed while it holds: nothing of it is reported by one.
    house
        .billing
        .grant_override(grant(more_still), actor, &client)
        .await
        .unwrap();
    assert_eq!(renders(&house, &user, 15, None).await, Ok(60));
    calls(&house, "ada@example.com", 1).await;
    assert_eq!((look(&house).await, total(&reported(&house).await, "renders")), (0, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_at_once_each_is_reported_once() {
    let house = Arc::new(House::new().await);
    let (user, _) = subscribed(&house, "ada@example.com").await;
    renders(&house, &user, 8, None).await.unwrap();
    let all = (0..64).map(|_| {
        let (house, user) = (Arc::clone(&house), user.clone());
        tokio::spawn(async move { renders(&house, &user, 1, None).await.is_ok() })
    });
    let used = join_all(all)
        .await
        .into_iter()
        .filter(|used| *used.as_ref().unwrap())
        .count();
    assert_eq!(used, 64);
    let looks = (0..8).map(|_| house.billing.report_overage_since(jiff::Timestamp::UNIX_EPOCH));
    assert!(join_all(looks).await.into_iter().all(|looked| looked.unwrap() == 0));
    assert_eq!(total(&reported(&house).await, "renders"), 62);
}
