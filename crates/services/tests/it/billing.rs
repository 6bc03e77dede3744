//! Plans, checkout, the provider's events.

use std::sync::Arc;

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{Entitlement, EntitlementKind, Grant, Meter, Owner, Price, SubscriptionStatus, Window};
use anteroom_domain::chat::ModelAlias;
use anteroom_domain::sessions::Transport;
use anteroom_domain::{OverrideId, Timestamp, UserId};
use anteroom_ports::billing::{
    ChangePreview, PaymentError, ProviderEvent, ProviderSubscription, Sale, Trial, WebhookRejected, When,
};
use anteroom_ports::{Clock as _, PaymentProvider as _};
use anteroom_services::Client;
use anteroom_services::billing::{
    Applied, ApplyWebhookError, ChangeAsk, ChangeError, CheckoutAsk, GrantAsk, GrantError, GrantState,
    OpenCheckoutError, PublishError, Reconciled, Replayed,
};
use anteroom_testkit::billing::FakePayments;
use jiff::SignedDuration;

use crate::house::House;

/// What is sold as `pro` by the month.
pub fn pro() -> Sale {
    Sale {
        plan: "pro".into(),
        version: 1,
        name: "PRO".into(),
        price: Price {
            amount: 1900,
            currency: "usd".into(),
            interval: "month".into(),
        },
        metered: vec![],
    }
}

/// A subscription to `pro` that is paid, as the provider has it.
pub fn paid(house: &House, user: UserId, id: &str) -> ProviderSubscription {
    FakePayments::active(id, Owner::account(user), &pro(), house.clock.now())
}

/// Something happened to this subscription, or to nothing of interest.
pub async fn tell(house: &House, id: &str, subscription: Option<&str>) -> Result<Applied, ApplyWebhookError> {
    let body = house.payments.put_event(ProviderEvent {
        id: id.into(),
        kind: "customer.subscription.updated".into(),
        created: house.clock.now(),
        subscription: subscription.map(Into::into),
        customer: None,
        purchase: None,
    });
    let name = house.payments.name();
    house.billing.apply_webhook(name, &FakePayments::signed, &body).await
}

async fn held(house: &House, user: UserId) -> (String, String, bool) {
    let (access, _) = house.billing.get_subscription(user).await.unwrap();
    (access.plan.key.clone(), access.status.clone(), access.active)
}

fn holds(plan: &str, status: &str, active: bool) -> (String, String, bool) {
    (plan.into(), status.into(), active)
}

async fn somebody(house: &House, email: &str) -> User {
    house.sign_up(email, Transport::Token).await.user
}

/// Somebody whose subscription to `pro` is known, as `sub_1`.
async fn payer(house: &House) -> User {
    let user = somebody(house, "ada@example.com").await;
    house.payments.put_subscription(paid(house, user.id, "sub_1"));
    tell(house, "evt_paid", Some("sub_1")).await.unwrap();
    user
}

#[tokio::test]
async fn what_the_provider_has_holds_whatever_is_told_and_in_which_order() {
    let house = House::new().await;
    let user = somebody(&house, "ada@example.com").await.id;
    let mut sub = paid(&house, user, "sub_1");
    sub.status = SubscriptionStatus::Incomplete;
    house.payments.put_subscription(sub.clone());
    assert_eq!(tell(&house, "evt_1", Some("sub_1")).await.unwrap(), Applied::Applied);
    assert_eq!(held(&house, user).await, holds("free", "incomplete", false));
    sub.status = SubscriptionStatus::Active;
    house.payments.put_subscription(sub.clone());
    assert_eq!(tell(&house, "evt_1", Some("sub_1")).await.unwrap(), Applied::Duplicate);
    assert_eq!(
        held(&house, user).await,
        holds("free", "incomplete", false),
        "a known event is not looked at again"
    );
    tell(&house, "evt_3", Some("sub_1")).await.unwrap();
    tell(&house, "evt_2", Some("sub_1")).await.unwrap();
    assert_eq!(held(&house, user).await, holds("pro", "active", true));
    sub.status = SubscriptionStatus::Canceled;
    house.payments.put_subscription(sub.clone());
    tell(&house, "evt_4", Some("sub_1")).await.unwrap();
    sub.status = SubscriptionStatus::Active;
    house.payments.put_subscription(sub);
    tell(&house, "evt_5", Some("sub_1")).await.unwrap();
    assert_eq!(
        held(&house, user).await,
        holds("free", "canceled", false),
        "the end is the end"
    );
    let asked = house.payments.fetched().len();
    tell(&house, "evt_6", None).await.unwrap();
    assert_eq!(house.payments.fetched().len(), asked, "nothing to look at");
}

#[tokio::test]
async fn an_event_whose_effect_failed_has_it_when_it_comes_again_or_is_taken_up() {
    let house = House::new().await;
    let user = somebody(&house, "ada@example.com").await.id;
    house.payments.put_subscription(paid(&house, user, "sub_1"));
    house.payments.put_subscription(paid(&house, user, "sub_2"));
    house
        .payments
        .set_failure(Some(PaymentError::Unavailable("away".into())));
    for (event, sub) in [("evt_1", "sub_1"), ("evt_2", "sub_2")] {
        let failed = tell(&house, event, Some(sub)).await;
        assert!(matches!(failed, Err(ApplyWebhookError::LookUp(_))), "{failed:?}");
    }
    assert_eq!(held(&house, user).await, holds("free", "none", false));
    house.payments.set_failure(None);
    assert_eq!(tell(&house, "evt_1", Some("sub_1")).await.unwrap(), Applied::Applied);
    assert_eq!(house.payments.fetched().last().map(String::as_str), Some("sub_1"));
    assert_eq!(
        house.billing.work_off_events().await.unwrap(),
        0,
        "whoever received it may still be at it"
    );
    house.clock.advance_seconds(61);
    assert_eq!(house.billing.work_off_events().await.unwrap(), 1);
    assert_eq!(house.billing.work_off_events().await.unwrap(), 0);
    assert_eq!(house.payments.fetched().last().map(String::as_str), Some("sub_2"));
    assert_eq!(tell(&house, "evt_2", Some("sub_2")).await.unwrap(), Applied::Duplicate);
}

/// A look that began before another one and ends after it does not write its older answer over the newer one.
#[tokio::test]
async fn an_older_look_does_not_win() {
    let house = Arc::new(House::new().await);
    let user = payer(&house).await.id;
    let slow = house.payments.hold_fetches().await;
    let first = tokio::spawn({
        let house = Arc::clone(&house);
        async move { tell(&house, "evt_old", Some("sub_1")).await }
    });
    // It has read that it is active, and its answer is on the way.
    while house.payments.fetched().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut sub = paid(&house, user, "sub_1");
    sub.status = SubscriptionStatus::PastDue;
    house.payments.put_subscription(sub);
    // Another node looks meanwhile.
    let mut unit = house.store.begin(anteroom_ports::Durability::Full).await.unwrap();
    let mut news = unit
        .lock_subscription("fake-payments", "sub_1")
        .await
        .unwrap()
        .unwrap()
        .subscription;
    news.status = SubscriptionStatus::PastDue;
    unit.put_subscription(&news).await.unwrap();
    unit.commit().await.unwrap();
    drop(slow);
    first.await.unwrap().unwrap();
    assert_eq!(held(&house, user).await.1, "past_due");
    assert_eq!(house.payments.fetched().len(), 3, "it looked again");
}

#[tokio::test]
async fn a_subscription_belongs_to_whom_the_customer_is_and_never_changes_hands() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await;
    let eve = somebody(&house, "eve@example.com").await.id;
    house.billing.open_checkout(ask(&ada, "pro")).await.unwrap();
    let customer = house.payments.customers()[0].id.clone();
    // Whatever is written on it.
    let written = ProviderSubscription {
        customer: customer.clone(),
        ..paid(&house, eve, "sub_1")
    };
    house.payments.put_subscription(written.clone());
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    assert_eq!(held(&house, ada.id).await, holds("pro", "active", true));
    assert_eq!(held(&house, eve).await, holds("free", "none", false));
    house.payments.put_subscription(ProviderSubscription {
        customer: "cus_of_eve".into(),
        ..written
    });
    tell(&house, "evt_2", Some("sub_1")).await.unwrap();
    assert_eq!(held(&house, eve).await, holds("free", "none", false));
    // One of another product at the same provider is nobody's here.
    house.payments.put_subscription(ProviderSubscription {
        owner: None,
        ..paid(&house, eve, "sub_2")
    });
    assert_eq!(tell(&house, "evt_3", Some("sub_2")).await.unwrap(), Applied::Applied);
    assert_eq!(held(&house, eve).await, holds("free", "none", false));
}

#[tokio::test]
async fn a_price_that_is_no_plans_leaves_the_last_plan() {
    let house = House::new().await;
    let user = payer(&house).await.id;
    let mut sub = house.payments.kept("sub_1").unwrap();
    if let Some(price) = sub.price.as_mut() {
        price.plan = None;
        price.lookup_key = Some("somebody_elses".into());
    }
    house.payments.put_subscription(sub);
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    assert_eq!(held(&house, user).await, holds("pro", "active", true));
}

#[tokio::test]
async fn what_the_provider_no_longer_knows_is_over() {
    let house = House::new().await;
    let user = payer(&house).await.id;
    house.payments.remove_subscription("sub_1");
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    assert_eq!(held(&house, user).await, holds("free", "canceled", false));
    tell(&house, "evt_2", Some("sub_unheard_of")).await.unwrap();
}

#[tokio::test]
async fn grace_runs_from_the_first_missing_payment() {
    let house = House::new().await;
    let user = payer(&house).await.id;
    for (day, event) in ["evt_1", "evt_2", "evt_3"].into_iter().enumerate() {
        let mut sub = house.payments.kept("sub_1").unwrap();
        sub.status = SubscriptionStatus::PastDue;
        // Each try makes an invoice that is missing anew.
        sub.past_due_since = Some(house.clock.now());
        house.payments.put_subscription(sub);
        tell(&house, event, Some("sub_1")).await.unwrap();
        assert!(held(&house, user).await.2, "day {day}");
        house.clock.advance_seconds(3 * 86_400);
    }
    let (access, _) = house.billing.get_subscription(user).await.unwrap();
    assert_eq!(access.reason.as_str(), "past_due");
}

#[tokio::test]
async fn a_customer_who_is_deleted_has_nothing_left_and_is_made_anew() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await;
    house.billing.open_checkout(ask(&ada, "pro")).await.unwrap();
    let customer = house.payments.customers()[0].id.clone();
    house.payments.put_subscription(ProviderSubscription {
        customer: customer.clone(),
        ..paid(&house, ada.id, "sub_1")
    });
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    house.payments.remove_subscription("sub_1");
    let body = house.payments.put_event(ProviderEvent {
        id: "evt_2".into(),
        kind: "customer.deleted".into(),
        created: house.clock.now(),
        subscription: None,
        customer: Some(customer),
        purchase: None,
    });
    let name = house.payments.name();
    house
        .billing
        .apply_webhook(name, &FakePayments::signed, &body)
        .await
        .unwrap();
    assert_eq!(held(&house, ada.id).await, holds("free", "canceled", false));
    let known = house
        .store
        .read()
        .await
        .unwrap()
        .customer_of(name, Owner::account(ada.id))
        .await
        .unwrap();
    assert_eq!(known, None);
}

#[tokio::test]
async fn what_is_not_the_providers_is_refused() {
    let house = House::new().await;
    let body = house.payments.put_event(ProviderEvent {
        id: "evt".into(),
        kind: "x".into(),
        created: house.clock.now(),
        subscription: None,
        customer: None,
        purchase: None,
    });
    let name = house.payments.name();
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
}

fn ask<'a>(user: &'a User, plan: &str) -> CheckoutAsk<'a> {
    CheckoutAsk {
        user,
        plan: plan.into(),
        interval: None,
        currency: None,
        seats: None,
        coupon: None,
        success_url: None,
        cancel_url: None,
    }
}

#[tokio::test]
async fn a_checkout_is_for_a_plan_that_is_sold_and_not_held() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await;
    let open = |ask| house.billing.open_checkout(ask);
    assert!(matches!(
        open(ask(&ada, "gold")).await,
        Err(OpenCheckoutError::UnknownPlan(_))
    ));
    assert!(matches!(
        open(ask(&ada, "free")).await,
        Err(OpenCheckoutError::NotForSale(_))
    ));
    let weekly = CheckoutAsk {
        interval: Some("week".into()),
        ..ask(&ada, "pro")
    };
    assert!(matches!(open(weekly).await, Err(OpenCheckoutError::NoSuchPrice(_))));
    open(ask(&ada, "pro")).await.unwrap();
    let yearly = CheckoutAsk {
        interval: Some("year".into()),
        coupon: Some("SPRING".into()),
        ..ask(&ada, "pro")
    };
    open(yearly).await.unwrap();
    let orders = house.payments.orders();
    let trial = Trial {
        days: 14,
        card_required: true,
    };
    assert_eq!(
        (orders[0].owner, orders[0].trial),
        (Owner::account(ada.id), Some(trial))
    );
    assert_eq!(
        (&orders[0].sale, orders[0].success_url.as_str()),
        (&pro(), "https://app.example/ok")
    );
    assert_eq!(orders[1].sale.price.amount, 19_000);
    assert_eq!(orders[1].coupon.as_deref(), Some("SPRING"));
    let customers = house.payments.customers();
    assert_eq!(customers.len(), 1, "{customers:?}");
    assert_eq!(
        (customers[0].owner, customers[0].email.as_str()),
        (Owner::account(ada.id), "ada@example.com")
    );
    assert!(orders.iter().all(|order| order.customer == customers[0].id));
    for status in ["active", "trialing", "past_due", "unpaid", "paused"] {
        let mut sub = paid(&house, ada.id, "sub_1");
        sub.status = SubscriptionStatus::parse(status);
        house.payments.put_subscription(sub);
        tell(&house, &format!("evt_{status}"), Some("sub_1")).await.unwrap();
        for plan in ["pro", "business"] {
            let refused = open(ask(&ada, plan)).await;
            assert!(
                matches!(refused, Err(OpenCheckoutError::AlreadySubscribed(_))),
                "{plan} beside {status}"
            );
        }
    }
    let failure = |failure| house.payments.set_failure(Some(failure));
    let bob = somebody(&house, "bob@example.com").await;
    failure(PaymentError::Unavailable("away".into()));
    assert!(matches!(
        open(ask(&bob, "pro")).await,
        Err(OpenCheckoutError::Provider(_))
    ));
}

#[tokio::test]
async fn what_is_left_over_from_another_provider_stands_in_nobodys_way() {
    let house = House::new().await;
    let live = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    assert_eq!(held(&house, live.user.id).await, holds("pro", "active", true));
    // It was bought at a provider that is no longer the configured one.
    house.billing.open_checkout(ask(&live.user, "pro")).await.unwrap();
    let owner = Owner::account(live.user.id);
    let refused = house.billing.change_plan(owner, &change("business", None, None)).await;
    assert!(matches!(refused, Err(ChangeError::AnotherProvider(_))), "{refused:?}");
}

#[tokio::test]
async fn what_the_provider_forgot_can_be_neither_changed_nor_stand_in_the_way() {
    let house = House::new().await;
    let user = payer(&house).await;
    let owner = Owner::account(user.id);
    let billing = &house.billing;
    let forget = async |event: &str| {
        house.payments.put_subscription(paid(&house, user.id, event));
        tell(&house, event, Some(event)).await.unwrap();
        assert_eq!(held(&house, user.id).await, holds("pro", "active", true));
        house.payments.remove_subscription(event);
    };
    house.payments.remove_subscription("sub_1");
    let gone = billing.change_plan(owner, &change("business", None, None)).await;
    assert!(matches!(gone, Err(ChangeError::NoSubscription)), "{gone:?}");
    assert_eq!(held(&house, user.id).await, holds("free", "canceled", false));
    forget("sub_2").await;
    let gone = billing.cancel_subscription(owner, When::Now).await;
    assert!(matches!(gone, Err(ChangeError::NoSubscription)), "{gone:?}");
    forget("sub_3").await;
    // The account ends: there is nothing to end at the provider.
    billing.cancel_subscription_of(owner, None).await.unwrap();
    assert_eq!(held(&house, user.id).await, holds("free", "canceled", false));
    billing.open_checkout(ask(&user, "pro")).await.unwrap();
}

#[tokio::test]
async fn events_that_fail_keep_no_others_waiting() {
    let house = House::new().await;
    let user = somebody(&house, "ada@example.com").await.id;
    house
        .payments
        .set_failure(Some(PaymentError::Unavailable("away".into())));
    for number in 0..120 {
        tell(&house, &format!("evt_{number:03}"), Some(&format!("sub_{number:03}")))
            .await
            .unwrap_err();
    }
    house.payments.set_failure(None);
    // All before it go on failing.
    house.payments.serve_only(Some("sub_119"));
    house.payments.put_subscription(paid(&house, user, "sub_119"));
    house.clock.advance_seconds(61);
    assert_eq!(house.billing.work_off_events().await.unwrap(), 1);
    assert_eq!(held(&house, user).await, holds("pro", "active", true));
}

#[tokio::test]
async fn of_many_first_checkouts_at_once_one_customer_stands() {
    let house = Arc::new(House::new().await);
    let ada = somebody(&house, "ada@example.com").await;
    let checkouts = (0..64).map(|_| {
        let (house, ada) = (Arc::clone(&house), ada.clone());
        tokio::spawn(async move { house.billing.open_checkout(ask(&ada, "pro")).await })
    });
    for checkout in futures_util::future::join_all(checkouts).await {
        checkout.unwrap().unwrap();
    }
    assert_eq!(house.payments.customers().len(), 1);
    let orders = house.payments.orders();
    assert_eq!(orders.len(), 64);
    assert!(orders.iter().all(|order| order.customer == orders[0].customer));
}

#[tokio::test]
async fn a_trial_is_had_once_by_an_account_and_by_a_means_of_payment() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await;
    let trial = |user: UserId, id: &str, card: Option<&str>| {
        let mut sub = paid(&house, user, id);
        sub.status = SubscriptionStatus::Trialing;
        sub.trial_end = sub.current_period_end;
        sub.payment_fingerprint = card.map(Into::into);
        sub
    };
    house
        .payments
        .put_subscription(trial(ada.id, "sub_1", Some("card_of_ada")));
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    assert!(house.payments.trials_ended().is_empty());
    house
        .billing
        .cancel_subscription(Owner::account(ada.id), When::Now)
        .await
        .unwrap();
    assert_eq!(held(&house, ada.id).await, holds("free", "canceled", false));
    house.billing.open_checkout(ask(&ada, "pro")).await.unwrap();
    assert_eq!(house.payments.orders()[0].trial, None, "she had hers");
    // Another account with the same card pays at once.
    let eve = somebody(&house, "eve@example.com").await;
    house.billing.open_checkout(ask(&eve, "pro")).await.unwrap();
    assert!(house.payments.orders()[1].trial.is_some());
    house.payments.put_subscription(trial(eve.id, "sub_2", None));
    tell(&house, "evt_2", Some("sub_2")).await.unwrap();
    assert!(house.payments.trials_ended().is_empty(), "nobody knows her card yet");
    house
        .payments
        .put_subscription(trial(eve.id, "sub_2", Some("card_of_ada")));
    tell(&house, "evt_3", Some("sub_2")).await.unwrap();
    assert_eq!(house.payments.trials_ended(), ["sub_2"]);
    tell(&house, "evt_4", Some("sub_2")).await.unwrap();
    assert_eq!(held(&house, eve.id).await, holds("pro", "active", true));
}

fn change(plan: &str, interval: Option<&str>, when: Option<When>) -> ChangeAsk {
    ChangeAsk {
        plan: plan.into(),
        interval: interval.map(Into::into),
        seats: None,
        when,
    }
}

#[tokio::test]
async fn better_begins_now_and_less_with_the_next_period() {
    let house = House::new().await;
    let owner = Owner::account(payer(&house).await.id);
    let billing = &house.billing;
    for (ask, when, amount) in [
        (change("business", None, None), When::Now, 7900),
        (change("pro", None, None), When::PeriodEnd, 1900),
        (change("business", None, Some(When::PeriodEnd)), When::PeriodEnd, 7900),
    ] {
        let previewed = billing.preview_change(owner, &ask).await.unwrap();
        assert_eq!(
            (previewed.when, previewed.cost.is_some()),
            (when, when == When::Now),
            "{ask:?}"
        );
        assert_eq!(billing.change_plan(owner, &ask).await.unwrap(), when, "{ask:?}");
        let (_, change) = house.payments.changes().pop().unwrap();
        assert_eq!((change.when, change.sale.price.amount), (when, amount), "{ask:?}");
        let (access, holdings) = billing.get_subscription(UserId(owner.id)).await.unwrap();
        let next = holdings.subscription.unwrap().next_plan;
        match when {
            When::Now => assert_eq!((access.plan.key.as_str(), next), (ask.plan.as_str(), None)),
            When::PeriodEnd => assert_eq!(next.as_deref(), Some(ask.plan.as_str())),
        }
    }
}

#[tokio::test]
async fn a_longer_interval_begins_now_and_a_shorter_one_with_the_next_period() {
    let house = House::new().await;
    let owner = Owner::account(payer(&house).await.id);
    let billing = &house.billing;
    let ask = change("pro", Some("year"), None);
    assert_eq!(billing.change_plan(owner, &ask).await.unwrap(), When::Now);
    let ask = change("pro", Some("month"), None);
    assert_eq!(billing.change_plan(owner, &ask).await.unwrap(), When::PeriodEnd);
    // `business` has no yearly price.
    let refused = billing.change_plan(owner, &change("business", None, None)).await;
    assert!(matches!(refused, Err(ChangeError::UnknownPlan { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_changed_is_said() {
    let house = House::new().await;
    let nobody = Owner::account(somebody(&house, "eve@example.com").await.id);
    let owner = Owner::account(payer(&house).await.id);
    let billing = &house.billing;
    let none = billing.change_plan(nobody, &change("pro", None, None)).await;
    assert!(matches!(none, Err(ChangeError::NoSubscription)));
    assert!(matches!(
        billing.cancel_subscription(nobody, When::Now).await,
        Err(ChangeError::NoSubscription)
    ));
    let same = billing.change_plan(owner, &change("pro", None, None)).await;
    assert!(matches!(same, Err(ChangeError::Unchanged(_))));
    let free = billing.change_plan(owner, &change("free", None, None)).await;
    assert!(matches!(free, Err(ChangeError::NotForSale(_))));
    let gold = billing.change_plan(owner, &change("gold", None, None)).await;
    assert!(matches!(gold, Err(ChangeError::UnknownPlan { .. })));
    assert!(matches!(
        billing.resume_subscription(owner).await,
        Err(ChangeError::Impossible(_))
    ));
    let mut sub = house.payments.kept("sub_1").unwrap();
    sub.status = SubscriptionStatus::PastDue;
    house.payments.put_subscription(sub);
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    let unpaid = billing.change_plan(owner, &change("business", None, None)).await;
    assert!(matches!(unpaid, Err(ChangeError::NotNow { .. })));
    let declined = PaymentError::Declined {
        code: "card_declined".into(),
        message: "Your card was declined.".into(),
    };
    let mut sub = house.payments.kept("sub_1").unwrap();
    sub.status = SubscriptionStatus::Active;
    house.payments.put_subscription(sub);
    tell(&house, "evt_2", Some("sub_1")).await.unwrap();
    house.payments.set_failure(Some(declined));
    let declined = billing.change_plan(owner, &change("business", None, None)).await;
    assert!(matches!(
        declined,
        Err(ChangeError::Provider(PaymentError::Declined { .. }))
    ));
    assert_eq!(held(&house, UserId(owner.id)).await, holds("pro", "active", true));
}

#[tokio::test]
async fn a_preview_says_what_the_provider_says() {
    let house = House::new().await;
    let owner = Owner::account(payer(&house).await.id);
    let cost = ChangePreview {
        amount_due: 3000,
        credit: 0,
        currency: "usd".into(),
        next_payment_at: None,
    };
    house.payments.set_preview(Some(cost.clone()));
    let previewed = house
        .billing
        .preview_change(owner, &change("business", None, None))
        .await
        .unwrap();
    assert_eq!((previewed.when, previewed.cost), (When::Now, Some(cost)));
    assert!(house.payments.changes().is_empty());
}

#[tokio::test]
async fn an_end_with_the_period_can_be_taken_back() {
    let house = House::new().await;
    let owner = Owner::account(payer(&house).await.id);
    let (billing, user) = (&house.billing, UserId(owner.id));
    billing.cancel_subscription(owner, When::PeriodEnd).await.unwrap();
    let reason = async || billing.get_subscription(user).await.unwrap().0.reason.as_str();
    assert_eq!(reason().await, "cancels_at_period_end");
    billing.resume_subscription(owner).await.unwrap();
    assert_eq!(reason().await, "active");
    billing
        .change_plan(owner, &change("business", None, Some(When::PeriodEnd)))
        .await
        .unwrap();
    billing.resume_subscription(owner).await.unwrap();
    assert_eq!(house.payments.resumed(), ["sub_1", "sub_1"]);
    assert_eq!(house.payments.kept("sub_1").unwrap().next_price, None);
}

#[tokio::test]
async fn what_is_paused_is_resumed_at_the_provider() {
    let house = House::new().await;
    let owner = Owner::account(payer(&house).await.id);
    let user = UserId(owner.id);
    let mut sub = house.payments.kept("sub_1").unwrap();
    sub.status = SubscriptionStatus::Paused;
    // One without a trial was paused by the operator, whose affair that is.
    house.payments.put_subscription(sub.clone());
    tell(&house, "evt_by_hand", Some("sub_1")).await.unwrap();
    let refused = house.billing.resume_subscription(owner).await;
    assert!(matches!(refused, Err(ChangeError::Impossible(_))), "{refused:?}");
    sub.trial_end = Some(house.clock.now());
    house.payments.put_subscription(sub);
    tell(&house, "evt_paused", Some("sub_1")).await.unwrap();
    assert_eq!(held(&house, user).await, holds("free", "paused", false));
    let declined = PaymentError::Declined {
        code: "no_payment_method".into(),
        message: "There is no means of payment on file.".into(),
    };
    house.payments.set_failure(Some(declined.clone()));
    let refused = house.billing.resume_subscription(owner).await;
    assert!(
        matches!(&refused, Err(ChangeError::Provider(error)) if *error == declined),
        "{refused:?}"
    );
    assert_eq!(held(&house, user).await, holds("free", "paused", false));
    house.payments.set_failure(None);
    house.billing.resume_subscription(owner).await.unwrap();
    assert_eq!(held(&house, user).await, holds("pro", "active", true));
}

#[tokio::test]
async fn the_portal_is_the_customers_own() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await;
    house.billing.open_portal(&ada, None).await.unwrap();
    house
        .billing
        .open_portal(&ada, Some("https://app.example/me".into()))
        .await
        .unwrap();
    let customer = house.payments.customers()[0].id.clone();
    let expected = ["https://app.example/back", "https://app.example/me"].map(|url| (customer.clone(), url.to_owned()));
    assert_eq!(house.payments.portals(), expected);
}

#[tokio::test]
async fn what_was_lost_is_found_by_reconciling() {
    let house = House::new().await;
    let (ada, bob) = (payer(&house).await.id, somebody(&house, "bob@example.com").await.id);
    let billing = &house.billing;
    let nothing = Reconciled {
        compared: 1,
        ..Reconciled::default()
    };
    assert_eq!(billing.reconcile().await.unwrap(), nothing);
    let asked = house.payments.fetched().len();
    assert_eq!(billing.reconcile().await.unwrap(), nothing);
    assert_eq!(
        house.payments.fetched().len(),
        asked,
        "what agrees is not asked for one by one"
    );
    // Nobody was told of these.
    house.payments.put_subscription(paid(&house, bob, "sub_2"));
    house.payments.remove_subscription("sub_1");
    let found = Reconciled {
        compared: 2,
        changed: 2,
        ..Reconciled::default()
    };
    assert_eq!(billing.reconcile().await.unwrap(), found);
    assert_eq!(held(&house, ada).await, holds("free", "canceled", false));
    assert_eq!(held(&house, bob).await, holds("pro", "active", true));
    // Once a day, by one node.
    house.payments.remove_subscription("sub_2");
    billing.reconcile_daily().await.unwrap();
    assert_eq!(held(&house, bob).await, holds("free", "canceled", false));
    house.payments.put_subscription(paid(&house, bob, "sub_3"));
    billing.reconcile_daily().await.unwrap();
    assert_eq!(held(&house, bob).await.1, "canceled", "the day's turn is over");
    house.clock.advance_seconds(86_400);
    billing.reconcile_daily().await.unwrap();
    assert_eq!(held(&house, bob).await, holds("pro", "active", true));
}

#[tokio::test]
async fn stored_events_have_their_effect_again() {
    let house = House::new().await;
    let ada = payer(&house).await.id;
    let begun = house.clock.now();
    tell(&house, "evt_other", None).await.unwrap();
    let mut sub = house.payments.kept("sub_1").unwrap();
    sub.status = SubscriptionStatus::Unpaid;
    house.payments.put_subscription(sub);
    let replayed = house.billing.replay_event("evt_paid").await.unwrap();
    assert_eq!(replayed, Replayed { events: 1, changed: 1 });
    assert_eq!(held(&house, ada).await, holds("free", "unpaid", false));
    let since = |seconds: i64| begun.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
    let replayed = house.billing.replay_events(since(0)).await.unwrap();
    assert_eq!(replayed, Replayed { events: 2, changed: 0 });
    assert_eq!(
        house.billing.replay_events(since(1)).await.unwrap(),
        Replayed::default()
    );
    assert!(house.billing.replay_event("evt_unheard_of").await.is_err());
}

#[tokio::test]
async fn a_published_version_keeps_its_terms() {
    let house = House::new().await;
    house.billing.keep_plans(false).await.unwrap();
    let stored = async || house.store.read().await.unwrap().plan_versions().await.unwrap();
    let kept = stored().await;
    assert_eq!(
        kept.iter().map(|plan| plan.key.as_str()).collect::<Vec<_>>(),
        ["business", "free", "plus", "pro", "team"]
    );
    house.billing.keep_plans(false).await.unwrap();
    // Somebody published other terms under the same version.
    let mut other = kept[3].clone();
    other.name = "Pro, as it was".into();
    let mut unit = house.store.begin(anteroom_ports::Durability::Full).await.unwrap();
    unit.put_plan_version(&other, Timestamp::UNIX_EPOCH, false)
        .await
        .unwrap();
    assert_eq!(unit.plan_versions().await.unwrap(), kept, "what stands stays");
    unit.put_plan_version(&other, Timestamp::UNIX_EPOCH, true)
        .await
        .unwrap();
    unit.commit().await.unwrap();
    let (changed, new) = house.billing.compare_plans().await.unwrap();
    assert_eq!((changed.len(), new.len()), (1, 0));
    let refused = house.billing.keep_plans(false).await.unwrap_err();
    assert!(matches!(refused, PublishError::Changed(_)));
    assert!(refused.to_string().contains("`pro` version 1"), "{refused}");
    assert_eq!(stored().await[3].name, "Pro, as it was");
    house.billing.keep_plans(true).await.unwrap();
    assert_eq!(stored().await, kept);
}

fn grant(user_id: UserId, grant: Grant) -> GrantAsk {
    GrantAsk {
        user_id,
        grant,
        reason: "a gift".into(),
        expires_at: None,
    }
}

#[tokio::test]
async fn what_is_granted_holds_at_once_until_it_ends() {
    let house = House::new().await;
    let live = house.somebody("ada@example.com").await;
    let (ada, client) = (live.user.id, Client::default());
    let billing = &house.billing;
    let plan = async || {
        let live = house.sessions.live_session(live.session.id).await.unwrap();
        billing.access(&live.holdings).plan.key.clone()
    };
    let end = house.clock.now().saturating_add(SignedDuration::from_hours(1)).unwrap();
    let ask = GrantAsk {
        expires_at: Some(end),
        ..grant(ada, Grant::Plan("business".into()))
    };
    let first = billing.grant_override(ask, Actor::Operator, &client).await.unwrap();
    assert_eq!(plan().await, "business");
    house.clock.advance_seconds(3600);
    assert_eq!(plan().await, "free", "without an event");
    let second = billing
        .grant_override(grant(ada, Grant::Plan("pro".into())), Actor::Operator, &client)
        .await
        .unwrap();
    assert_eq!(plan().await, "pro");
    billing
        .revoke_override(ada, second.id, Actor::Operator, &client)
        .await
        .unwrap();
    assert_eq!(plan().await, "free");
    let again = billing.revoke_override(ada, second.id, Actor::Operator, &client).await;
    assert!(matches!(again, Err(GrantError::NoSuchOverride)));
    let listed = billing.list_overrides(ada).await.unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|(granted, revoked)| (granted.id, revoked.is_some()))
        .collect();
    assert_eq!(listed, [(second.id, true), (first.id, false)]);
}

#[tokio::test]
async fn a_limit_that_is_granted_stands_in_the_place_of_the_plans() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await;
    let entitlement = Entitlement {
        key: "messages".into(),
        kind: EntitlementKind::metered(Some(500), Window::Day),
    };
    let ask = grant(ada.id, Grant::Entitlement(entitlement));
    house
        .billing
        .grant_override(ask, Actor::Operator, &Client::default())
        .await
        .unwrap();
    let (access, _) = house.billing.get_subscription(ada.id).await.unwrap();
    let limits: Vec<_> = access.plan.limits().collect();
    assert_eq!(limits, [(Meter::Messages, Window::Day, Some(500))]);
    assert_eq!((access.plan.key.as_str(), access.active), ("free", false));
}

#[tokio::test]
async fn grants_that_make_no_sense_are_refused() {
    let house = House::new().await;
    let ada = somebody(&house, "ada@example.com").await.id;
    let (billing, client) = (&house.billing, Client::default());
    let pro = || grant(ada, Grant::Plan("pro".into()));
    let negative = Entitlement {
        key: "messages".into(),
        kind: EntitlementKind::metered(Some(-1), Window::Day),
    };
    let asks = [
        ("/plan", grant(ada, Grant::Plan("gold".into()))),
        ("/entitlement/limit", grant(ada, Grant::Entitlement(negative))),
        (
            "/reason",
            GrantAsk {
                reason: " ".into(),
                ..pro()
            },
        ),
        (
            "/reason",
            GrantAsk {
                reason: "x".repeat(501),
                ..pro()
            },
        ),
        (
            "/expires_at",
            GrantAsk {
                expires_at: Some(house.clock.now()),
                ..pro()
            },
        ),
    ];
    for (at, ask) in asks {
        let refused = billing.grant_override(ask, Actor::Operator, &client).await;
        assert!(
            matches!(&refused, Err(GrantError::Refused { pointer, .. }) if *pointer == at),
            "{at}: {refused:?}"
        );
    }
    let nobody = GrantAsk {
        user_id: UserId(uuid::Uuid::nil()),
        ..pro()
    };
    assert!(matches!(
        billing.grant_override(nobody, Actor::Operator, &client).await,
        Err(GrantError::NoSuchUser)
    ));
    let user = billing.grant_override(pro(), Actor::User(ada), &client).await;
    assert!(matches!(user, Err(GrantError::Forbidden)));
    let revoked = billing
        .revoke_override(ada, OverrideId(uuid::Uuid::nil()), Actor::User(ada), &client)
        .await;
    assert!(matches!(revoked, Err(GrantError::Forbidden)));
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
    assert_eq!(house.billing.catalogue().plans().len(), 5);
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
