use uuid::Uuid;

use anteroom_domain::UserId;
use anteroom_ports::billing::CreditPack;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn owner() -> Owner {
    Owner::account(UserId(Uuid::from_u128(7)))
}

fn sale(plan: &str, amount: i64) -> Sale {
    Sale {
        plan: plan.into(),
        version: 1,
        name: plan.to_uppercase(),
        price: Price {
            amount,
            currency: "usd".into(),
            interval: "month".into(),
        },
        metered: vec![],
    }
}

fn order(customer: String) -> CheckoutOrder {
    CheckoutOrder {
        owner: owner(),
        customer,
        sale: sale("pro", 1900),
        quantity: 1,
        trial: None,
        coupon: None,
        success_url: "https://app.example/done".into(),
        cancel_url: "https://app.example/".into(),
    }
}

#[tokio::test]
async fn orders_are_recorded_once_for_a_key_and_can_be_paid() {
    let payments = FakePayments::new();
    let customer = payments.create_customer(owner(), "a@b.example", "k1").await.unwrap();
    assert_eq!(
        payments.create_customer(owner(), "a@b.example", "k1").await.unwrap(),
        customer
    );
    assert_eq!(payments.customers().len(), 1);
    let order = order(customer.clone());
    let checkout = payments.checkout(&order, "k2").await.unwrap();
    assert_eq!(payments.checkout(&order, "k2").await.unwrap(), checkout);
    assert!(
        payments.checkout(&order, "k1").await.is_err(),
        "a key of something else"
    );
    assert_eq!(payments.orders(), std::slice::from_ref(&order));

    assert_eq!(payments.pay("cs_fake_9", NOW), None);
    let bought = payments.pay(&checkout.id, NOW).unwrap();
    assert_eq!((bought.owner, &bought.customer), (Some(owner()), &customer));
    assert_eq!(payments.subscription(&bought.id).await.unwrap(), Some(bought));
    assert_eq!(payments.subscription("sub_none").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_bought_once_is_paid_and_given_back_by_the_test() {
    let payments = FakePayments::new();
    let order = PurchaseOrder {
        owner: owner(),
        customer: "cus_fake_0".into(),
        pack: CreditPack {
            key: "small".into(),
            name: "Small".into(),
            credits: 5_000_000,
            amount: 500,
            currency: "usd".into(),
        },
        quantity: 2,
        success_url: "https://app.example/done".into(),
        cancel_url: "https://app.example/".into(),
    };
    let checkout = payments.checkout_purchase(&order, "k1").await.unwrap();
    assert_eq!(payments.checkout_purchase(&order, "k1").await.unwrap(), checkout);
    let other = payments.create_customer(owner(), "a@b.example", "k1").await;
    assert!(other.is_err(), "a key of something else");
    assert_eq!(payments.purchase_orders(), std::slice::from_ref(&order));

    let open = payments.purchase(&checkout.id).await.unwrap().unwrap();
    assert_eq!((open.paid, open.credits, open.amount), (false, 10_000_000, 1000));
    let now = Timestamp::from_second(7).unwrap();
    let paid = payments.pay_purchase(&checkout.id, now).unwrap();
    assert_eq!((paid.paid, paid.created, paid.owner), (true, now, Some(owner())));
    assert_eq!(payments.purchase("pi_fake_once_0").await.unwrap(), Some(paid));
    for (amount, refunded) in [(300, 300), (300, 600), (9999, 1000)] {
        let purchase = payments.refund_purchase("pi_fake_once_0", amount).unwrap();
        assert_eq!(purchase.refunded, refunded);
    }
    assert_eq!(payments.pay_purchase("cs_fake_once_1", now), None);
    assert_eq!(payments.purchase("pi_fake_once_1").await.unwrap(), None);

    let none = PurchaseOrder { quantity: 0, ..order };
    assert!(payments.checkout_purchase(&none, "k2").await.is_err());
    payments.remove_purchase(&checkout.id);
    assert_eq!(payments.purchase(&checkout.id).await.unwrap(), None);
    assert_eq!(payments.purchases_fetched().len(), 4);
}

#[tokio::test]
async fn changes_and_ends_take_effect_on_what_is_kept() {
    let payments = FakePayments::new();
    let (pro, basic) = (sale("pro", 1900), sale("basic", 900));
    payments.put_subscription(FakePayments::active("sub_1", owner(), &pro, NOW));
    let change = |sale: &Sale, when| PlanChange {
        sale: sale.clone(),
        quantity: 1,
        when,
    };
    let seats = |quantity, change| PlanChange { quantity, ..change };
    let preview = payments
        .preview_change("sub_1", &change(&basic, When::Now))
        .await
        .unwrap();
    assert_eq!((preview.amount_due, preview.credit), (0, 1000));
    let later = payments
        .change_plan("sub_1", &seats(3, change(&basic, When::PeriodEnd)), "1")
        .await
        .unwrap();
    assert_eq!(later.next_price, Some(FakePayments::price_of(&basic)));
    assert_eq!((later.quantity, later.next_quantity), (1, Some(3)));
    assert_eq!(later.price, Some(FakePayments::price_of(&pro)));
    payments.cancel("sub_1", When::PeriodEnd, "2").await.unwrap();
    let ends = payments.kept("sub_1").unwrap();
    assert_eq!(
        (ends.cancel_at_period_end, ends.next_price, ends.next_quantity),
        (true, None, None)
    );
    assert!(!payments.resume("sub_1", "3").await.unwrap().cancel_at_period_end);
    let now = payments
        .change_plan("sub_1", &change(&basic, When::Now), "4")
        .await
        .unwrap();
    assert_eq!(now.price, Some(FakePayments::price_of(&basic)));
    payments.cancel("sub_1", When::Now, "5").await.unwrap();
    assert_eq!(payments.kept("sub_1").unwrap().status, SubscriptionStatus::Canceled);
    assert_eq!(payments.cancelled().len(), 2);
    assert!(payments.cancel("sub_2", When::Now, "6").await.is_err());
}

#[tokio::test]
async fn lists_go_on_after_a_page_and_prices_are_published_once() {
    let payments = FakePayments::new();
    for number in 0..3 {
        let id = format!("sub_{number}");
        payments.put_subscription(FakePayments::active(&id, owner(), &sale("pro", 1900), NOW));
    }
    let first = payments.list_subscriptions(None, 2).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("sub_1"));
    let rest = payments.list_subscriptions(first.next.as_deref(), 2).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));

    let sales = [sale("pro", 1900)];
    assert_eq!(payments.publish(&sales, true).await.unwrap(), [Published::Created]);
    assert_eq!(payments.publish(&sales, false).await.unwrap(), [Published::Created]);
    assert_eq!(payments.publish(&sales, false).await.unwrap(), [Published::Unchanged]);
    let there = Some(sales[0].price.clone());
    let dearer = [sale("pro", 2900)];
    assert_eq!(
        payments.publish(&dearer, false).await.unwrap(),
        [Published::Differs { there }]
    );
}

#[tokio::test]
async fn events_are_found_by_their_signature_and_failures_are_switched() {
    let payments = FakePayments::new();
    let event = ProviderEvent {
        id: "evt_1".into(),
        kind: "customer.subscription.updated".into(),
        created: NOW,
        subscription: Some("sub_1".into()),
        customer: None,
        purchase: None,
    };
    let body = payments.put_event(event.clone());
    assert_eq!(payments.verify_webhook(&FakePayments::signed, &body, NOW), Ok(event));
    let stale = payments.verify_webhook(&FakePayments::signed_long_ago, &body, NOW);
    assert_eq!(stale, Err(WebhookRejected::Stale));
    let unsigned = payments.verify_webhook(&FakePayments::unsigned, &body, NOW);
    assert_eq!(unsigned, Err(WebhookRejected::BadSignature));

    let away = PaymentError::Unavailable("down".into());
    payments.set_failure(Some(away.clone()));
    assert_eq!(payments.subscription("sub_1").await, Err(away.clone()));
    assert_eq!(payments.cancel("sub_1", When::Now, "k").await, Err(away));
    payments.set_failure(None);
    assert_eq!(payments.subscription("sub_1").await, Ok(None));
}

#[tokio::test]
async fn a_held_fetch_answers_what_was_there_when_it_was_asked() {
    let payments = FakePayments::new();
    let before = FakePayments::active("sub_1", owner(), &sale("pro", 1900), NOW);
    payments.put_subscription(before.clone());
    let held = payments.hold_fetches().await;
    let asked = payments.subscription("sub_1");
    let later = async {
        tokio::task::yield_now().await;
        payments.remove_subscription("sub_1");
        drop(held);
    };
    let (answer, ()) = tokio::join!(asked, later);
    assert_eq!(answer, Ok(Some(before)));
    assert_eq!(payments.fetched(), ["sub_1"]);
}
