//! Credits: windows that open and end by the clock, calls whose process died, who may grant.

use anteroom_domain::UserId;
use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{
    CreditEntryKind, Credits, Entitlement, EntitlementKind, Grant, Owner, SubscriptionStatus, Window,
};
use anteroom_ports::billing::{ProviderSubscription, Sale};
use anteroom_ports::{Clock as _, Store as _};
use anteroom_services::Client;
use anteroom_services::billing::{CreditsAsk, GrantAsk, GrantError};
use anteroom_testkit::billing::FakePayments;
use anteroom_testkit::chat::Step;
use jiff::SignedDuration;

use crate::billing::{paid, pro, tell};
use crate::chat::{body, complete, text_step};
use crate::house::{House, LEASE};

/// What stands in the place of the plan's: so many credits in a window, and how many of them are carried over.
fn credits(limit: i64, window: Window, rollover: i64) -> Grant {
    Grant::Entitlement(Entitlement {
        key: "credits".into(),
        kind: EntitlementKind::Metered {
            limit: Some(limit),
            window,
            rollover,
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

async fn available(house: &House, user: &User) -> f64 {
    let shown = house.billing.show_credits(user).await.unwrap();
    shown.account.available(shown.now).number()
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
    assert_eq!(available(&house, &ada).await, 100.0);
    hours(&house, 24);
    assert_eq!(available(&house, &ada).await, 130.0);
    // Nobody looked for a week: what was left of the last window that was opened is carried.
    hours(&house, 24 * 7);
    assert_eq!(available(&house, &ada).await, 130.0);
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
    assert_eq!(available(&house, &ada).await, 130.0);
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
    assert_eq!(available(&house, &ada).await, 0.0);
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
    assert_eq!((of_account, available(&house, &ada).await), (100.0, 100.0));
    let mut unpaid = paid(&house, ada.id, "sub_1");
    unpaid.status = SubscriptionStatus::Unpaid;
    let period = unpaid.clone();
    house.payments.put_subscription(unpaid);
    tell(&house, "evt_2", Some("sub_1")).await.unwrap();
    assert_eq!(available(&house, &ada).await, 100.0);
    let again = ProviderSubscription {
        status: SubscriptionStatus::Active,
        ..period
    };
    house.payments.put_subscription(again);
    tell(&house, "evt_3", Some("sub_1")).await.unwrap();
    assert_eq!(available(&house, &ada).await, 100.0);
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
