//! Checkouts: what is ordered is what is had.

use anteroom_domain::billing::SubscriptionStatus;
use anteroom_ports::billing::{CheckoutOrder, PaymentError};

use super::{
    Bench, COUPON, Card, bill_of, buy, customer, days, key, later, near, now, order, owner, pay, plan, pro, pro_yearly,
    publish, sent, sold, try_out,
};

/// An order that is paid is a subscription with its owner, price, number and period.
pub async fn orders(bench: &dyn Bench) {
    publish(bench).await;
    for (user, sale, length) in [(1, pro(), 28..=31), (2, pro_yearly(), 365..=366)] {
        let customer = customer(bench, user).await;
        let order = CheckoutOrder {
            quantity: 3,
            ..order(&customer, user, sale.clone())
        };
        let bought = pay(bench, &order, Card::Good).await;
        assert_eq!((bought.owner, &bought.customer), (Some(owner(user)), &customer));
        let price = bought.price.as_ref().unwrap();
        assert_eq!(price.plan, Some(("pro".to_owned(), 3)));
        assert_eq!(price.lookup_key, Some(sale.lookup_key()));
        assert_eq!((price.price.as_ref(), bought.quantity), (Some(&sale.price), 3));
        assert_eq!(bought.status, SubscriptionStatus::Active);
        assert!(near(Some(bought.created), bench.now()) && near(bought.current_period_start, bench.now()));
        let (start, end) = (bought.current_period_start.unwrap(), bought.current_period_end.unwrap());
        let whole_days = end.duration_since(start).as_hours() / 24;
        assert!(length.contains(&whole_days), "{whole_days}");
        assert_eq!(bought.paid_until, Some(end));
        assert!(!bought.cancel_at_period_end && !bought.collection_paused);
        assert_eq!(
            (bought.cancel_at, bought.trial_end, bought.past_due_since),
            (None, None, None)
        );
        assert_eq!(bought.next_price, None);
        assert!(bought.payment_fingerprint.is_some());
        assert_eq!(bill_of(bench, &bought.id).await.paid, 3 * sale.price.amount);
    }
}

/// Two checkouts are two; one that is paid twice is paid once.
pub async fn twice(bench: &dyn Bench) {
    publish(bench).await;
    let customer = customer(bench, 1).await;
    let order = order(&customer, 1, pro());
    let first = bench.provider().checkout(&order, &key()).await.unwrap();
    let second = bench.provider().checkout(&order, &key()).await.unwrap();
    assert_ne!(first.id, second.id);
    assert!(
        first.url.starts_with("http") && first.url != second.url,
        "{}",
        first.url
    );
    assert!(
        sent(bench).await.iter().all(|event| event.subscription.is_none()),
        "nothing is bought yet"
    );
    bench.pay(&first, Card::Good).await;
    bench.pay(&first, Card::Good).await;
    let all = bench.provider().list_subscriptions(None, 100).await.unwrap();
    assert_eq!(all.items.len(), 1);
}

/// A coupon takes off what it says; one that is not there is named.
pub async fn coupons(bench: &dyn Bench) {
    publish(bench).await;
    let customer = customer(bench, 1).await;
    let with = |coupon: &str| CheckoutOrder {
        coupon: Some(coupon.to_owned()),
        ..order(&customer, 1, pro())
    };
    let missing = bench.provider().checkout(&with("NOBODY"), &key()).await;
    assert_eq!(missing, Err(PaymentError::NotFound("coupon")));
    let bought = pay(bench, &with(COUPON), Card::Good).await;
    assert_eq!(bill_of(bench, &bought.id).await.paid, 950);
}

/// What was not published cannot be bought, nor who is not known buy.
pub async fn prices(bench: &dyn Bench) {
    publish(bench).await;
    let somebody = customer(bench, 1).await;
    let unknown = sold("dreams", 100, "month");
    let outcome = bench
        .provider()
        .checkout(&order(&somebody, 1, unknown.clone()), &key())
        .await;
    assert_eq!(outcome, Err(PaymentError::UnknownPrice(unknown.lookup_key())));
    let outcome = bench.provider().checkout(&order("cus_nobody", 1, pro()), &key()).await;
    assert_eq!(outcome, Err(PaymentError::NotFound("customer")));
}

/// A customer has a page; nobody has none.
pub async fn pages(bench: &dyn Bench) {
    let bought = buy(bench, 1, pro()).await;
    let url = bench
        .provider()
        .portal(&bought.customer, "https://app.example/billing")
        .await
        .unwrap();
    assert!(url.starts_with("http"), "{url}");
    let nobody = bench
        .provider()
        .portal("cus_nobody", "https://app.example/billing")
        .await;
    assert_eq!(nobody, Err(PaymentError::NotFound("customer")));
    assert_eq!(bench.provider().subscription("sub_nobody").await, Ok(None));
}

/// A trial with a card is paid when it ends.
pub async fn trials_with_a_card(bench: &dyn Bench) {
    let tried = try_out(bench, true, Card::Good).await;
    assert_eq!(tried.status, SubscriptionStatus::Trialing);
    assert!(near(tried.trial_end, later(bench.now(), days(14))));
    assert_eq!(
        (tried.current_period_end, tried.paid_until),
        (tried.trial_end, tried.trial_end)
    );
    assert!(tried.payment_fingerprint.is_some());
    bench.advance(days(15)).await;
    let paid = now(bench, &tried.id).await;
    assert_eq!(
        (paid.status, paid.trial_end),
        (SubscriptionStatus::Active, tried.trial_end)
    );
    assert!(paid.paid_until > tried.paid_until && paid.paid_until == paid.current_period_end);
    assert_eq!(bill_of(bench, &tried.id).await.paid, 1900);
}

/// A trial without a card pauses when it ends.
pub async fn trials_without_a_card(bench: &dyn Bench) {
    let tried = try_out(bench, false, Card::None).await;
    assert_eq!(
        (&tried.status, &tried.payment_fingerprint),
        (&SubscriptionStatus::Trialing, &None)
    );
    assert_eq!(plan(tried.price.as_ref()), Some("pro"));
    bench.advance(days(15)).await;
    assert_eq!(now(bench, &tried.id).await.status, SubscriptionStatus::Paused);
}

/// A trial that began without a card is paid at its end if there is one by then.
pub async fn trials_that_get_a_card(bench: &dyn Bench) {
    let tried = try_out(bench, false, Card::None).await;
    bench.put_card(&tried.customer, Card::Good).await;
    assert!(now(bench, &tried.id).await.payment_fingerprint.is_some());
    bench.advance(days(15)).await;
    assert_eq!(now(bench, &tried.id).await.status, SubscriptionStatus::Active);
    assert_eq!(bill_of(bench, &tried.id).await.paid, 1900);
}

/// What a trial without a card has paused begins anew, once, as soon as it can be paid.
pub async fn trials_begun_anew(bench: &dyn Bench) {
    let tried = try_out(bench, false, Card::None).await;
    bench.advance(days(40)).await;
    let provider = bench.provider();
    let (none, fails) = (Card::None, Card::Fails);
    for card in [none, fails, fails] {
        if card != Card::None {
            bench.put_card(&tried.customer, card).await;
        }
        let refused = provider.resume(&tried.id, &key()).await;
        assert!(
            matches!(refused, Err(PaymentError::Declined { .. })),
            "{card:?}: {refused:?}"
        );
        assert_eq!(
            now(bench, &tried.id).await.status,
            SubscriptionStatus::Paused,
            "{card:?}"
        );
    }
    bench.put_card(&tried.customer, Card::Good).await;
    let keys: Vec<_> = (0..16).map(|_| key()).collect();
    let asked = keys.iter().map(|key| provider.resume(&tried.id, key));
    for resumed in futures_util::future::join_all(asked).await {
        assert_eq!(resumed.unwrap().status, SubscriptionStatus::Active);
    }
    let paid = now(bench, &tried.id).await;
    assert_eq!(paid.status, SubscriptionStatus::Active);
    assert!(near(paid.current_period_start, bench.now()), "{paid:?}");
    assert_eq!(paid.paid_until, paid.current_period_end);
    let bills = bench.bills(&tried.id).await;
    let paid: Vec<_> = bills.iter().map(|bill| bill.paid).filter(|paid| *paid > 0).collect();
    assert_eq!(paid, [1900], "once: {bills:?}");
}
