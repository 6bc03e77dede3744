//! How subscriptions end, and what happens when they are not paid.

use anteroom_domain::billing::SubscriptionStatus;
use anteroom_ports::billing::{PaymentError, ProviderSubscription, When};

use super::{Bench, Card, basic, bill_of, buy, customer, days, key, near, now, order, pay, plan, pro, publish, to};

/// At once and for good, once.
pub async fn at_once(bench: &dyn Bench) {
    let bought = buy(bench, 1, pro()).await;
    let provider = bench.provider();
    provider.cancel(&bought.id, When::Now, &key()).await.unwrap();
    let over = now(bench, &bought.id).await;
    assert_eq!((over.status, over.owner), (SubscriptionStatus::Canceled, bought.owner));
    provider.cancel(&bought.id, When::Now, &key()).await.unwrap();
    provider.cancel(&bought.id, When::PeriodEnd, &key()).await.unwrap();
    let resumed = provider.resume(&bought.id, &key()).await;
    assert!(matches!(resumed, Err(PaymentError::Refused { .. })), "{resumed:?}");
    for when in [When::Now, When::PeriodEnd] {
        let nobody = provider.cancel("sub_nobody", when, &key()).await;
        assert_eq!(nobody, Err(PaymentError::NotFound("subscription")));
    }
}

/// With the period: until then it is what it was.
pub async fn with_the_period(bench: &dyn Bench) {
    let bought = buy(bench, 1, pro()).await;
    for _ in 0..2 {
        bench
            .provider()
            .cancel(&bought.id, When::PeriodEnd, &key())
            .await
            .unwrap();
        let ends = now(bench, &bought.id).await;
        assert!(ends.cancel_at_period_end);
        assert!(ends.cancel_at.is_none() || ends.cancel_at == ends.current_period_end);
        let otherwise = ProviderSubscription {
            cancel_at_period_end: false,
            cancel_at: None,
            ..ends
        };
        assert_eq!(otherwise, bought);
    }
    bench.advance(days(32)).await;
    assert_eq!(now(bench, &bought.id).await.status, SubscriptionStatus::Canceled);
    assert_eq!(bench.bills(&bought.id).await.len(), 1, "it was not renewed");
    bench
        .provider()
        .cancel(&bought.id, When::PeriodEnd, &key())
        .await
        .unwrap();
}

/// An end that has not come is taken back, and so is a change that waits.
pub async fn taken_back(bench: &dyn Bench) {
    let bought = buy(bench, 1, pro()).await;
    let provider = bench.provider();
    provider.cancel(&bought.id, When::PeriodEnd, &key()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(provider.resume(&bought.id, &key()).await.unwrap(), bought);
    }
    let waiting = provider
        .change_plan(&bought.id, &to(basic(), When::PeriodEnd), &key())
        .await
        .unwrap();
    assert_eq!(plan(waiting.next_price.as_ref()), Some("basic"));
    assert_eq!(provider.resume(&bought.id, &key()).await.unwrap(), bought);
    bench.advance(days(32)).await;
    let renewed = now(bench, &bought.id).await;
    assert_eq!(
        (renewed.status, plan(renewed.price.as_ref())),
        (SubscriptionStatus::Active, Some("pro"))
    );
    assert_eq!(renewed.current_period_start, bought.current_period_end);
}

async fn fails_at_renewal(bench: &dyn Bench) -> (ProviderSubscription, ProviderSubscription) {
    publish(bench).await;
    let customer = customer(bench, 1).await;
    let bought = pay(bench, &order(&customer, 1, pro()), Card::FailsLater).await;
    assert_eq!(bought.status, SubscriptionStatus::Active);
    let length = bought.current_period_end.unwrap().duration_since(bench.now());
    bench
        .advance(length.checked_add(jiff::SignedDuration::from_hours(2)).unwrap())
        .await;
    let late = now(bench, &bought.id).await;
    assert_eq!(late.status, SubscriptionStatus::PastDue);
    (bought, late)
}

/// A renewal that is not paid opens no period, until it is.
pub async fn past_due(bench: &dyn Bench) {
    let (bought, late) = fails_at_renewal(bench).await;
    assert_eq!(late.current_period_start, bought.current_period_end, "the period runs");
    assert_eq!(late.paid_until, late.current_period_start, "and is not paid");
    assert!(
        near(late.past_due_since, late.current_period_start.unwrap())
            || late.past_due_since > late.current_period_start
    );
    assert!(!bill_of(bench, &bought.id).await.settled);
    bench.advance(days(1)).await;
    assert_eq!(
        now(bench, &bought.id).await.past_due_since,
        late.past_due_since,
        "since it first was"
    );

    bench.put_card(&bought.customer, Card::Good).await;
    bench.advance(days(8)).await;
    let paid = now(bench, &bought.id).await;
    assert_eq!((paid.status, paid.past_due_since), (SubscriptionStatus::Active, None));
    assert_eq!(paid.current_period_start, late.current_period_start);
    assert_eq!(paid.paid_until, paid.current_period_end);
    assert!(bill_of(bench, &bought.id).await.settled);
}

/// What is never paid ends, or stays unpaid.
pub async fn never_paid(bench: &dyn Bench) {
    let (_, late) = fails_at_renewal(bench).await;
    bench.advance(days(27)).await;
    let given_up = now(bench, &late.id).await;
    assert!(
        matches!(
            given_up.status,
            SubscriptionStatus::Canceled | SubscriptionStatus::Unpaid
        ),
        "{given_up:?}"
    );
    assert_eq!(given_up.paid_until, given_up.current_period_start);
}
