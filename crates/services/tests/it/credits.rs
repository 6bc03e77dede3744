//! Credits: windows that open and end by the clock, calls whose process died, who may grant.

use anteroom_domain::UserId;
use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{
    CreditEntryKind, Credits, Entitlement, EntitlementKind, Grant, Owner, SubscriptionStatus, Window,
};
use anteroom_ports::billing::{Checkout, ProviderEvent, ProviderSubscription, Sale};
use anteroom_ports::{Clock as _, PaymentProvider as _};
use anteroom_services::Client;
use anteroom_services::billing::{Applied, BuyCreditsError, CreditsAsk, CreditsOrder, GrantAsk, GrantError};
use anteroom_testkit::billing::FakePayments;
use anteroom_testkit::chat::{Step, text_step};
use jiff::SignedDuration;

use crate::billing::{paid, pro, tell};
use crate::chat::{body, complete};
use crate::house::{House, LEASE};

/// What stands in the place of the plan's: so many credits in a window, and how many of them are carried over.
fn credits(limit: i64, window: Window, rollover: i64) -> Grant {
    Grant::Entitlement(Entitlement {
        key: "credits".into(),
        kind: EntitlementKind::Metered {
            limit: Some(limit),
            window,
            rollover,
            overage: None,
            per_seat: false,
        },
    })
}

async fn includes(house: &House, user: UserId, grant: Grant) {
    let ask = GrantAsk {
        user_id: user,
        grant,
        reason: "a test".into(),
        expires_at: None,
    };
    let (actor, client) = (Actor::Operator, Client::default());
    house.billing.grant_override(ask, actor, &client).await.unwrap();
}

async fn available(house: &House, user: &User) -> i64 {
    let shown = house.billing.show_credits(user).await.unwrap();
    shown.account.available(shown.now).whole_down()
}

/// Kind and amount of each line, the first one first. They sum to the balance, and what was spent to what the counter says.
async fn ledger(house: &House, user: &User) -> Vec<(CreditEntryKind, f64)> {
    let mut lines = house.billing.list_credit_entries(user.id, None, 1000).await.unwrap();
    lines.reverse();
    let mut reads = house.store.read().await.unwrap();
    let account = reads.credit_account(Owner::account(user.id)).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.amount).sum::<Credits>(), account.balance());
    let spent = lines.iter().filter(|line| line.kind == CreditEntryKind::Spend);
    assert_eq!(-spent.map(|line| line.amount.0).sum::<i64>(), account.spent.0);
    lines.iter().map(|line| (line.kind, line.amount.number())).collect()
}

fn hours(house: &House, hours: i64) {
    house.clock.advance_seconds(hours * 3600);
}

#[tokio::test]
async fn a_window_ends_by_the_clock_and_carries_over_what_the_plan_says() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    includes(&house, ada.id, credits(100, Window::Day, 30)).await;
    assert_eq!(available(&house, &ada).await, 100);
    hours(&house, 24);
    assert_eq!(available(&house, &ada).await, 130);
    // Nobody looked for a week: what was left of the last window that was opened is carried.
    hours(&house, 24 * 7);
    assert_eq!(available(&house, &ada).await, 130);
    let window = [
        (CreditEntryKind::Expire, -30.0),
        (CreditEntryKind::Expire, -100.0),
        (CreditEntryKind::Grant, 100.0),
        (CreditEntryKind::Grant, 30.0),
    ];
    let expected = [
        &[
            (CreditEntryKind::Grant, 100.0),
            (CreditEntryKind::Expire, -100.0),
            (CreditEntryKind::Grant, 100.0),
            (CreditEntryKind::Grant, 30.0),
        ],
        &window[..],
    ]
    .concat();
    assert_eq!(ledger(&house, &ada).await, expected);
}

#[tokio::test]
async fn a_job_opens_the_windows_of_subscribers_who_do_not_call() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    let business = Sale {
        plan: "business".into(),
        ..pro()
    };
    let (owner, now) = (Owner::account(ada.id), house.clock.now());
    let mut held = FakePayments::active("sub_1", owner, &business, now);
    house.payments.put_subscription(held.clone());
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    for opened in [1, 0] {
        assert_eq!(house.billing.open_credit_windows().await.unwrap(), opened);
    }
    // A month is paid that nobody calls in.
    let end = held.current_period_end.unwrap();
    house.clock.advance_seconds(end.duration_since(now).as_secs());
    held.current_period_end = Some(end + SignedDuration::from_hours(24 * 30));
    held.paid_until = held.current_period_end;
    house.payments.put_subscription(held);
    tell(&house, "evt_2", Some("sub_1")).await.unwrap();
    assert_eq!(house.billing.open_credit_windows().await.unwrap(), 1);
    let lines = ledger(&house, &ada).await;
    let last = lines.last().unwrap();
    assert_eq!(*last, (CreditEntryKind::Grant, 30.0), "{lines:?}");
    assert_eq!(available(&house, &ada).await, 130);
}

#[tokio::test]
async fn what_has_ended_is_written_off_by_a_job() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    let ask = CreditsAsk {
        user_id: ada.id,
        credits: Credits::whole(40),
        reason: "a test".into(),
        priority: None,
        expires_at: Some(house.clock.now() + SignedDuration::from_hours(2)),
    };
    let (actor, client) = (Actor::Operator, Client::default());
    house.billing.grant_credits(ask, actor, &client).await.unwrap();
    hours(&house, 2);
    assert_eq!(available(&house, &ada).await, 0);
    // For an hour it may still pay for a call that began before.
    assert_eq!(house.billing.expire_credits().await.unwrap(), 0);
    hours(&house, 1);
    assert_eq!(house.billing.expire_credits().await.unwrap(), 1);
    assert_eq!(house.billing.expire_credits().await.unwrap(), 0);
    let lines = ledger(&house, &ada).await;
    assert_eq!(
        lines,
        [(CreditEntryKind::Grant, 40.0), (CreditEntryKind::Expire, -40.0)]
    );
}

#[tokio::test]
async fn a_call_whose_process_died_takes_what_it_must_have_used() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let ada = who.user.clone();
    includes(&house, ada.id, credits(100_000, Window::Month, 0)).await;
    let who = house.somebody_again("ada@example.com").await;
    house.model.script_stream([text_step("small", "Hello"), Step::Hang]);
    let answer = complete(&house, &who, &body("small", true)).await.unwrap();
    let held = async || {
        let shown = house.billing.show_credits(&ada).await.unwrap();
        (shown.account.held > Credits::ZERO, shown.account.spent > Credits::ZERO)
    };
    assert_eq!(held().await, (true, false));
    house.clock.advance_seconds(3 * LEASE.as_secs());
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 1);
    assert_eq!(held().await, (false, true));
    let lines = ledger(&house, &ada).await;
    assert_eq!(lines.len(), 2);
    // The process was not dead after all: its own booking takes nothing more.
    drop(answer);
    house.chat.settled().await;
    assert_eq!(ledger(&house, &ada).await, lines);
}

#[tokio::test]
async fn a_plan_that_lapsed_leaves_its_credits_and_has_them_again_once_it_is_paid() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    includes(&house, ada.id, credits(100, Window::Month, 0)).await;
    hours(&house, 24 * 3);
    let of_account = available(&house, &ada).await;
    // The subscription's months begin on another day than the account's.
    house.payments.put_subscription(paid(&house, ada.id, "sub_1"));
    tell(&house, "evt_1", Some("sub_1")).await.unwrap();
    assert_eq!((of_account, available(&house, &ada).await), (100, 100));
    let mut unpaid = paid(&house, ada.id, "sub_1");
    unpaid.status = SubscriptionStatus::Unpaid;
    let period = unpaid.clone();
    house.payments.put_subscription(unpaid);
    tell(&house, "evt_2", Some("sub_1")).await.unwrap();
    assert_eq!(available(&house, &ada).await, 100);
    let again = ProviderSubscription {
        status: SubscriptionStatus::Active,
        ..period
    };
    house.payments.put_subscription(again);
    tell(&house, "evt_3", Some("sub_1")).await.unwrap();
    assert_eq!(available(&house, &ada).await, 100);
    ledger(&house, &ada).await;
}

#[tokio::test]
async fn only_who_is_still_an_admin_grants_credits() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    let ask = CreditsAsk {
        user_id: ada.id,
        credits: Credits::whole(1),
        reason: "a test".into(),
        priority: None,
        expires_at: None,
    };
    let (actor, client) = (Actor::User(ada.id), Client::default());
    let refused = house.billing.grant_credits(ask, actor, &client).await;
    assert!(matches!(refused, Err(GrantError::Forbidden)), "{refused:?}");
    assert_eq!(ledger(&house, &ada).await, []);
}

async fn buys(house: &House, user: &User, quantity: i64) -> Result<Checkout, BuyCreditsError> {
    let order = CreditsOrder {
        user,
        pack: "small".into(),
        quantity,
        success_url: None,
        cancel_url: None,
    };
    house.billing.buy_credits(order).await
}

/// Something happened to this purchase.
async fn told_of(house: &House, event: &str, purchase: &str) -> Applied {
    let body = house.payments.put_event(ProviderEvent {
        id: event.into(),
        kind: "checkout.session.completed".into(),
        created: house.clock.now(),
        subscription: None,
        customer: None,
        purchase: Some(purchase.into()),
    });
    let name = house.payments.name();
    let told = house.billing.apply_webhook(name, &FakePayments::signed, &body).await;
    told.unwrap()
}

#[tokio::test]
async fn what_was_bought_is_there_once_it_is_paid_and_once() {
    let house = std::sync::Arc::new(House::new().await);
    let ada = house.somebody("ada@example.com").await.user.clone();
    let refused = buys(&house, &ada, 1).await;
    assert!(matches!(refused, Err(BuyCreditsError::NotTaken(plan)) if plan == "free"));
    includes(&house, ada.id, credits(0, Window::Month, 0)).await;
    let refused = buys(&house, &ada, 101).await;
    assert!(matches!(refused, Err(BuyCreditsError::Quantity)));
    let checkout = buys(&house, &ada, 2).await.unwrap();
    told_of(&house, "evt_open", &checkout.id).await;
    assert_eq!(available(&house, &ada).await, 0, "nothing is paid yet");
    house.payments.pay_purchase(&checkout.id, house.clock.now()).unwrap();
    let mut tellers = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (house, id) = (house.clone(), checkout.id.clone());
        tellers.spawn(async move { told_of(&house, &format!("evt_{number}"), &id).await });
    }
    tellers.join_all().await;
    assert_eq!(available(&house, &ada).await, 1000);
    assert_eq!(ledger(&house, &ada).await, [(CreditEntryKind::Grant, 1000.0)]);
    // They last as long as the pack says.
    hours(&house, 24 * 30);
    assert_eq!(available(&house, &ada).await, 0);
}

#[tokio::test]
async fn what_is_paid_back_is_taken_back_as_far_as_it_is_left() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    includes(&house, ada.id, credits(0, Window::Month, 0)).await;
    let checkout = buys(&house, &ada, 1).await.unwrap();
    house.payments.pay_purchase(&checkout.id, house.clock.now()).unwrap();
    told_of(&house, "evt_paid", &checkout.id).await;
    let payment = checkout.id.replace("cs_", "pi_");
    house.payments.refund_purchase(&payment, 100).unwrap();
    for event in ["evt_back", "evt_back_again"] {
        told_of(&house, event, &payment).await;
        assert_eq!(available(&house, &ada).await, 400, "{event}");
    }
    let ask = anteroom_services::billing::EntitlementAsk {
        user_id: None,
        key: "credits".into(),
        amount: 350,
    };
    house.billing.consume_entitlement(&ada, &ask, None).await.unwrap();
    house.payments.refund_purchase(&payment, 400).unwrap();
    for event in ["evt_all", "evt_all_again"] {
        told_of(&house, event, &payment).await;
        assert_eq!(available(&house, &ada).await, 0);
    }
    let lines: Vec<f64> = ledger(&house, &ada)
        .await
        .into_iter()
        .map(|(_, amount)| amount)
        .collect();
    assert_eq!(lines, [500.0, -100.0, -350.0, -50.0]);
}

#[tokio::test]
async fn a_purchase_that_could_not_be_looked_at_is_taken_up_later() {
    let house = House::new().await;
    let ada = house.somebody("ada@example.com").await.user.clone();
    includes(&house, ada.id, credits(0, Window::Month, 0)).await;
    let checkout = buys(&house, &ada, 1).await.unwrap();
    house.payments.pay_purchase(&checkout.id, house.clock.now()).unwrap();
    house.payments.serve_only(Some("nothing"));
    let body = house.payments.put_event(ProviderEvent {
        id: "evt_1".into(),
        kind: "checkout.session.completed".into(),
        created: house.clock.now(),
        subscription: None,
        customer: None,
        purchase: Some(checkout.id),
    });
    let name = house.payments.name();
    let told = house.billing.apply_webhook(name, &FakePayments::signed, &body).await;
    assert!(told.is_err());
    house.payments.serve_only(None);
    house.clock.advance_seconds(61);
    assert_eq!(house.billing.work_off_events().await.unwrap(), 1);
    assert_eq!(available(&house, &ada).await, 500);
}

#[tokio::test]
async fn a_purchase_whose_event_was_lost_is_found_by_reconciling() {
    let house = std::sync::Arc::new(House::new().await);
    let ada = house.somebody("ada@example.com").await.user.clone();
    includes(&house, ada.id, credits(0, Window::Month, 0)).await;
    let found = async || {
        let found = house.billing.reconcile().await.unwrap();
        (found.purchases, found.purchases_changed)
    };
    let checkout = buys(&house, &ada, 1).await.unwrap();
    buys(&house, &ada, 1).await.unwrap();
    assert_eq!(found().await, (0, 0), "nothing is paid");
    house.payments.pay_purchase(&checkout.id, house.clock.now()).unwrap();
    let mut rounds = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let house = house.clone();
        rounds.spawn(async move { house.billing.reconcile().await.unwrap().purchases_changed });
    }
    assert_eq!(rounds.join_all().await.into_iter().sum::<usize>(), 1);
    assert_eq!(available(&house, &ada).await, 500);
    assert_eq!(ledger(&house, &ada).await, [(CreditEntryKind::Grant, 500.0)]);
    let asked = house.payments.purchases_fetched().len();
    assert_eq!(found().await, (1, 0));
    assert_eq!(
        house.payments.purchases_fetched().len(),
        asked,
        "what agrees is not asked for one by one"
    );
    // What went back of it, also when it was bought long ago.
    hours(&house, 24 * 29);
    house.payments.refund_purchase(&checkout.id, 100).unwrap();
    assert_eq!(found().await, (1, 1));
    assert_eq!(available(&house, &ada).await, 400);
    assert_eq!(found().await, (1, 0));
    // And what comes back: a dispute that was won.
    let mut won = house.payments.refund_purchase(&checkout.id, 0).unwrap();
    won.refunded = 0;
    house.payments.put_purchase(won);
    assert_eq!(found().await, (1, 1));
    assert_eq!(available(&house, &ada).await, 500);
    // What was bought before the time that is looked back on, and of which nothing went back, is left alone.
    let old = buys(&house, &ada, 1).await.unwrap();
    house.payments.pay_purchase(&old.id, house.clock.now()).unwrap();
    hours(&house, 24 * 36);
    assert_eq!(found().await, (0, 0));
}
