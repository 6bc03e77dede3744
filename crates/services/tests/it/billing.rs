//! Plans, checkout, the provider's events.

use std::sync::Arc;

use anteroom_domain::billing::{Owner, Subscription, SubscriptionStatus};
use anteroom_domain::chat::ModelAlias;
use anteroom_domain::sessions::Transport;
use anteroom_ports::billing::{PaymentError, ProviderEvent, WebhookRejected};
use anteroom_services::billing::{Applied, ApplyWebhookError, CheckoutAsk, GrantState, OpenCheckoutError};
use anteroom_testkit::billing::FakePayments;

use crate::house::House;

async fn tell(house: &House, id: &str, subscription: Option<Subscription>) -> Result<Applied, ApplyWebhookError> {
    let body = house.payments.put_event(ProviderEvent {
        id: id.into(),
        kind: "customer.subscription.updated".into(),
        subscription,
    });
    let name = anteroom_ports::PaymentProvider::name(&*house.payments);
    house.billing.apply_webhook(name, &FakePayments::signed, &body).await
}

#[tokio::test]
async fn events_have_their_effect_once_and_in_their_own_order() {
    let house = House::new().await;
    let user = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let state = |status| house.subscription(user, "sub_1", status);
    let old = state(SubscriptionStatus::Incomplete);
    house.clock.advance_seconds(60);
    let active = state(SubscriptionStatus::Active);
    assert_eq!(
        tell(&house, "evt_2", Some(active.clone())).await.unwrap(),
        Applied::Applied
    );
    assert_eq!(tell(&house, "evt_2", Some(active)).await.unwrap(), Applied::Duplicate);
    // The event of a minute ago comes late.
    assert_eq!(tell(&house, "evt_1", Some(old)).await.unwrap(), Applied::Applied);
    assert!(house.billing.get_subscription(user).await.unwrap().active);
    house.clock.advance_seconds(60);
    tell(&house, "evt_3", Some(state(SubscriptionStatus::Canceled)))
        .await
        .unwrap();
    house.clock.advance_seconds(60);
    tell(&house, "evt_4", Some(state(SubscriptionStatus::Active)))
        .await
        .unwrap();
    let held = house.billing.get_subscription(user).await.unwrap();
    assert_eq!(
        (held.active, held.status.as_str(), held.plan.key.as_str()),
        (false, "canceled", "free"),
        "the end is the end"
    );
    tell(&house, "evt_5", None).await.unwrap();
}

#[tokio::test]
async fn a_subscription_never_changes_hands() {
    let house = House::new().await;
    let ada = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let eve = house.sign_up("eve@example.com", Transport::Token).await.user.id;
    tell(
        &house,
        "evt_1",
        Some(house.subscription(ada, "sub_1", SubscriptionStatus::Active)),
    )
    .await
    .unwrap();
    tell(
        &house,
        "evt_2",
        Some(house.subscription(eve, "sub_1", SubscriptionStatus::Active)),
    )
    .await
    .unwrap();
    assert!(house.billing.get_subscription(ada).await.unwrap().active);
    assert!(!house.billing.get_subscription(eve).await.unwrap().active);
}

#[tokio::test]
async fn grace_runs_from_the_first_missing_payment() {
    let house = House::new().await;
    let user = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    for (day, event) in ["evt_1", "evt_2", "evt_3"].into_iter().enumerate() {
        let mut state = house.subscription(user, "sub_1", SubscriptionStatus::PastDue);
        state.past_due_since = Some(state.as_of);
        tell(&house, event, Some(state)).await.unwrap();
        assert!(house.billing.get_subscription(user).await.unwrap().active, "day {day}");
        house.clock.advance_seconds(3 * 86_400);
    }
    assert_eq!(
        house.billing.get_subscription(user).await.unwrap().reason.as_str(),
        "past_due"
    );
}

#[tokio::test]
async fn what_is_not_the_providers_is_refused() {
    let house = House::new().await;
    let body = house.payments.put_event(ProviderEvent {
        id: "evt".into(),
        kind: "x".into(),
        subscription: None,
    });
    let name = anteroom_ports::PaymentProvider::name(&*house.payments);
    let billing = &house.billing;
    let unsigned = billing.apply_webhook(name, &FakePayments::unsigned, &body).await;
    assert!(matches!(
        unsigned,
        Err(ApplyWebhookError::Rejected(WebhookRejected::BadSignature))
    ));
    let stale = billing.apply_webhook(name, &FakePayments::signed_long_ago, &body).await;
    assert!(matches!(
        stale,
        Err(ApplyWebhookError::Rejected(WebhookRejected::Stale))
    ));
    assert!(matches!(
        billing.apply_webhook("paypal", &FakePayments::signed, &body).await,
        Err(ApplyWebhookError::UnknownProvider)
    ));
    assert!(billing.hosted_checkout("paypal", "x").is_none());
    assert!(matches!(
        billing.pay_hosted_checkout("paypal", "x").await,
        Err(PaymentError::NoSuchCheckout)
    ));
}

#[tokio::test]
async fn a_checkout_is_for_a_plan_that_is_sold_and_not_held() {
    let house = House::new().await;
    let user_id = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let ask = |plan: &str| CheckoutAsk {
        user_id,
        plan: plan.into(),
        success_url: None,
        cancel_url: None,
    };
    assert!(matches!(
        house.billing.open_checkout(ask("gold")).await,
        Err(OpenCheckoutError::UnknownPlan(_))
    ));
    assert!(matches!(
        house.billing.open_checkout(ask("free")).await,
        Err(OpenCheckoutError::NotForSale(_))
    ));
    house.billing.open_checkout(ask("pro")).await.unwrap();
    let order = &house.payments.orders()[0];
    assert_eq!(
        (order.user_id, order.amount, order.success_url.as_str()),
        (user_id, 1900, "https://app.example/ok")
    );
    tell(
        &house,
        "evt",
        Some(house.subscription(user_id, "sub_1", SubscriptionStatus::Active)),
    )
    .await
    .unwrap();
    assert!(matches!(
        house.billing.open_checkout(ask("pro")).await,
        Err(OpenCheckoutError::AlreadySubscribed(_))
    ));
    house
        .payments
        .set_failure(Some(PaymentError::Unavailable("away".into())));
    let other = house.sign_up("bob@example.com", Transport::Token).await.user.id;
    let failed = house
        .billing
        .open_checkout(CheckoutAsk {
            user_id: other,
            ..ask("pro")
        })
        .await;
    assert!(matches!(failed, Err(OpenCheckoutError::Provider(_))));
}

#[tokio::test]
async fn entitlements_say_everything_that_is_granted() {
    let house = House::new().await;
    let user = house.sign_up("ada@example.com", Transport::Token).await.user;
    let offered = ["small", "large"].map(|model| Arc::new(ModelAlias::plain("main", model)));
    let states = house.billing.list_entitlements(&user, Some(&offered)).await.unwrap();
    let grants: Vec<_> = states.iter().map(|s| (s.key.as_str(), &s.grant)).collect();
    assert_eq!(grants[0], ("models", &GrantState::Static(serde_json::json!(["small"]))));
    assert!(matches!(
        grants[1],
        (
            "messages",
            GrantState::Metered {
                limit: Some(10),
                used: 0,
                ..
            }
        )
    ));
    assert!(matches!(
        grants[2],
        (
            "exports",
            GrantState::Metered {
                limit: Some(3),
                used: 0,
                ..
            }
        )
    ));
    assert_eq!(grants[3], ("support", &GrantState::Boolean(true)));
    assert_eq!(grants[4], ("seats", &GrantState::Static(3.into())));
    let away = house.billing.list_entitlements(&user, None).await.unwrap();
    assert_eq!(away[0].grant, GrantState::Static(serde_json::Value::Null));
    assert_eq!(house.billing.catalogue().plans().len(), 2);
    assert_eq!(
        house
            .store
            .read()
            .await
            .unwrap()
            .subscription_of(Owner::account(user.id))
            .await
            .unwrap(),
        None
    );
}
