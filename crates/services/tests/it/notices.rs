//! What subscribers are told by mail: once, in time, and only those who can be.

use std::sync::Arc;

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{
    Entitlement, EntitlementKind, Grant, NoticeKind, Override, Owner, SubscriptionStatus, Window,
};
use anteroom_domain::sessions::Transport;
use anteroom_domain::{OverrideId, Timestamp, UserId};
use anteroom_ports::billing::{ProviderEvent, ProviderSubscription};
use anteroom_ports::webhooks::Mail;
use anteroom_ports::{Clock as _, Durability, Ids as _, PaymentProvider as _};
use anteroom_services::billing::EntitlementAsk;
use anteroom_testkit::billing::FakePayments;
use anteroom_testkit::ops::SeededIds;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::billing::paid;
use crate::house::{FREE_LIMIT, House};

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// Somebody whose address is proven, with what was mailed to them before out of the way.
async fn proven(house: &House, email: &str) -> User {
    let user = house.sign_up(email, Transport::Token).await.user;
    changed(house, user.id, |user| user.email_verified = true).await;
    mails(house).await;
    User {
        email_verified: true,
        ..user
    }
}

async fn changed(house: &House, id: UserId, change: impl FnOnce(&mut User)) {
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut user = unit.lock_user(id).await.unwrap().unwrap();
    change(&mut user);
    assert!(unit.update_user(&user).await.unwrap());
    unit.commit().await.unwrap();
}

/// What has left since it was asked last.
async fn mails(house: &House) -> Vec<Mail> {
    while house.webhooks.deliver_outbox().await.unwrap() > 0 {}
    house.mailer.take()
}

async fn subjects(house: &House) -> Vec<String> {
    mails(house).await.into_iter().map(|mail| mail.subject).collect()
}

/// The provider has a subscription in a new state, and says so.
async fn is(house: &House, event: &str, sub: &ProviderSubscription) {
    house.payments.put_subscription(sub.clone());
    told(house, event, &sub.id).await;
}

async fn told(house: &House, event: &str, sub: &str) {
    let body = house.payments.put_event(ProviderEvent {
        id: event.into(),
        kind: "customer.subscription.updated".into(),
        created: house.clock.now(),
        subscription: Some(sub.into()),
        customer: None,
        purchase: None,
    });
    let (name, header) = (house.payments.name(), &FakePayments::signed);
    house.billing.apply_webhook(name, header, &body).await.unwrap();
}

#[tokio::test]
async fn a_subscriber_is_told_of_each_step_and_of_no_repeat() {
    let house = House::new().await;
    let user = proven(&house, "ada@example.com").await;
    let mut sub = paid(&house, user.id, "sub_1");
    is(&house, "evt_1", &sub).await;
    let bought = mails(&house).await;
    assert_eq!(bought.len(), 1, "{bought:?}");
    assert_eq!(
        (bought[0].to.as_str(), bought[0].subject.as_str()),
        ("ada@example.com", "Your plan at Anteroom is PRO now")
    );
    let text = &bought[0].text;
    assert!(
        text.contains("from FREE to PRO") && text.contains("Price: 19.00 USD a month"),
        "{text}"
    );
    assert!(text.contains("\nhttps://app.example/billing\n"), "{text}");
    is(&house, "evt_2", &sub).await;
    assert!(subjects(&house).await.is_empty(), "nothing new");

    sub.cancel_at_period_end = true;
    is(&house, "evt_3", &sub).await;
    is(&house, "evt_4", &sub).await;
    let ending = mails(&house).await;
    assert_eq!(ending.len(), 1, "{ending:?}");
    assert_eq!(ending[0].subject, "Your plan at Anteroom is going to change");
    let text = ending[0].text.replace('\n', " ");
    assert!(
        text.contains("stays PRO until 20 December 2026, 12:00 UTC. From then on it is FREE."),
        "{text}"
    );
    sub.cancel_at_period_end = false;
    is(&house, "evt_5", &sub).await;
    assert_eq!(subjects(&house).await, ["Your plan at Anteroom stays PRO"]);
    // And once more: it is another time.
    sub.cancel_at_period_end = true;
    is(&house, "evt_6", &sub).await;
    assert_eq!(subjects(&house).await, ["Your plan at Anteroom is going to change"]);
    sub.cancel_at_period_end = false;
    is(&house, "evt_7", &sub).await;
    mails(&house).await;

    sub.status = SubscriptionStatus::PastDue;
    sub.past_due_since = Some(house.clock.now());
    is(&house, "evt_8", &sub).await;
    house.clock.advance_seconds(86_400);
    sub.past_due_since = Some(house.clock.now());
    is(&house, "evt_9", &sub).await;
    let failed = mails(&house).await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].subject, "Your payment to Anteroom failed");
    let text = failed[0].text.replace('\n', " ");
    assert!(
        text.contains("You keep PRO until 27 November 2026, 12:00 UTC"),
        "{text}"
    );
    // The grace time ends by the clock; the next look tells.
    house.clock.advance_seconds(7 * 86_400);
    is(&house, "evt_10", &sub).await;
    let lapsed = mails(&house).await;
    assert_eq!(lapsed.len(), 1, "{lapsed:?}");
    assert!(
        lapsed[0].text.contains("A payment for PRO is missing"),
        "{}",
        lapsed[0].text
    );
    sub.status = SubscriptionStatus::Canceled;
    sub.past_due_since = None;
    is(&house, "evt_11", &sub).await;
    assert!(subjects(&house).await.is_empty(), "the plan had changed before");
    // The next month's failure would be another one.
    let mut second = paid(&house, user.id, "sub_2");
    is(&house, "evt_12", &second).await;
    second.status = SubscriptionStatus::PastDue;
    second.past_due_since = Some(house.clock.now());
    is(&house, "evt_13", &second).await;
    assert_eq!(
        subjects(&house).await,
        ["Your plan at Anteroom is PRO now", "Your payment to Anteroom failed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_looks_at_once_one_tells() {
    let house = Arc::new(House::new().await);
    let user = proven(&house, "ada@example.com").await;
    house.payments.put_subscription(paid(&house, user.id, "sub_1"));
    let looks = (0..64).map(|number| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { told(&house, &format!("evt_{number}"), "sub_1").await })
    });
    for look in futures_util::future::join_all(looks).await {
        look.unwrap();
    }
    assert_eq!(subjects(&house).await, ["Your plan at Anteroom is PRO now"]);
}

#[tokio::test]
async fn who_cannot_be_told_is_not() {
    let house = House::new().await;
    let unproven = house.sign_up("eve@example.com", Transport::Token).await.user.id;
    let closed = proven(&house, "bob@example.com").await.id;
    let now = house.clock.now();
    changed(&house, closed, |user| user.disabled_at = Some(now)).await;
    let leaving = proven(&house, "cleo@example.com").await.id;
    changed(&house, leaving, |user| user.delete_after = Some(now + days(14))).await;
    mails(&house).await;
    for (number, user) in [unproven, closed, leaving].into_iter().enumerate() {
        let sub = paid(&house, user, &format!("sub_{number}"));
        is(&house, &format!("evt_{number}"), &sub).await;
    }
    assert!(subjects(&house).await.is_empty());
    // In the language of who reads it.
    let german = proven(&house, "dora@example.com").await.id;
    changed(&house, german, |user| user.locale = "de-AT".into()).await;
    is(&house, "evt_9", &paid(&house, german, "sub_9")).await;
    assert_eq!(subjects(&house).await, ["Ihr Tarif bei Anteroom ist jetzt PRO"]);
}

#[tokio::test]
async fn a_trial_that_ends_soon_is_told_once() {
    let house = House::new().await;
    let mut trials = Vec::new();
    for (number, email) in ["ada@example.com", "bob@example.com", "cleo@example.com"]
        .into_iter()
        .enumerate()
    {
        let user = proven(&house, email).await;
        let mut trial = paid(&house, user.id, &format!("sub_{number}"));
        trial.status = SubscriptionStatus::Trialing;
        trial.trial_end = Some(house.clock.now() + days(14));
        trial.current_period_end = trial.trial_end;
        trial.paid_until = trial.trial_end;
        is(&house, &format!("evt_{number}"), &trial).await;
        trials.push(trial);
    }
    let begun = mails(&house).await;
    let text = begun[0].text.replace('\n', " ");
    assert!(
        text.contains("It begins with a trial") && text.contains("until 4 December 2026"),
        "{text}"
    );
    // One is cancelled, one goes on as paid.
    trials[1].cancel_at_period_end = true;
    trials[2].status = SubscriptionStatus::Active;
    is(&house, "evt_b", &trials[1]).await;
    is(&house, "evt_c", &trials[2]).await;
    mails(&house).await;
    house.clock.advance_seconds(11 * 86_400 - 1);
    assert_eq!(house.billing.tell_of_ending_trials().await.unwrap(), 0);
    house.clock.advance_seconds(2);
    assert_eq!(
        house.billing.tell_of_ending_trials().await.unwrap(),
        0,
        "it is nobody's turn"
    );
    house.clock.advance_seconds(3600);
    assert_eq!(house.billing.tell_of_ending_trials().await.unwrap(), 1);
    let mut ending = mails(&house).await;
    let ending = ending.remove(0);
    assert_eq!(
        (ending.to.as_str(), ending.subject.as_str()),
        ("ada@example.com", "Your trial of PRO at Anteroom ends soon")
    );
    let text = ending.text.replace('\n', " ");
    assert!(text.contains("ends on 4 December 2026, 12:00 UTC."), "{text}");
    assert!(
        text.contains("19.00 USD a month is charged to the means of payment that you have given"),
        "{text}"
    );
    for _ in 0..3 {
        house.clock.advance_seconds(3601);
        assert_eq!(house.billing.tell_of_ending_trials().await.unwrap(), 0, "told before");
    }
    // A trial that is prolonged ends anew.
    trials[0].trial_end = Some(house.clock.now() + days(2));
    is(&house, "evt_d", &trials[0]).await;
    house.clock.advance_seconds(3601);
    assert_eq!(house.billing.tell_of_ending_trials().await.unwrap(), 1);
    assert_eq!(subjects(&house).await, ["Your trial of PRO at Anteroom ends soon"]);
}

#[tokio::test]
async fn a_trial_that_somebody_else_had_is_not_told_as_one() {
    let house = House::new().await;
    let users = [
        proven(&house, "ada@example.com").await,
        proven(&house, "bob@example.com").await,
    ];
    for (number, user) in users.iter().enumerate() {
        let mut trial = paid(&house, user.id, &format!("sub_{number}"));
        trial.status = SubscriptionStatus::Trialing;
        trial.trial_end = Some(house.clock.now() + days(14));
        trial.payment_fingerprint = Some("the same card".into());
        is(&house, &format!("evt_{number}"), &trial).await;
    }
    assert_eq!(house.payments.trials_ended(), ["sub_1"]);
    let told = mails(&house).await;
    let begun: Vec<_> = told
        .iter()
        .map(|mail| (mail.to.as_str(), mail.text.contains("trial")))
        .collect();
    assert_eq!(begun, [("ada@example.com", true), ("bob@example.com", false)]);
}

/// So many calls to a model.
async fn call(house: &House, email: &str, times: i64) {
    let who = house.somebody_again(email).await;
    let body = r#"{"model":"small","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;
    for _ in 0..times {
        let by = (*who).clone().into();
        let answer = house
            .chat
            .complete_chat(&by, body.as_bytes(), CancellationToken::new())
            .await;
        assert!(answer.is_ok());
    }
    house.chat_calls_are(0).await;
    mails(house).await;
}

/// A round of the job, a minute after the last one.
async fn round(house: &House) -> Vec<String> {
    house.clock.advance_seconds(60);
    let queued = house.billing.tell_of_quotas().await.unwrap();
    let subjects = subjects(house).await;
    assert_eq!(subjects.len(), queued);
    subjects
}

#[tokio::test]
async fn a_limit_is_told_at_80_and_at_100_percent_once_for_each_window() {
    let house = House::new().await;
    let (near, all) = (
        "You have used 80 % of your messages at Anteroom",
        "You have used up your messages at Anteroom",
    );
    let none: [&str; 0] = [];
    proven(&house, "ada@example.com").await;
    // Nobody is told whose address is not proven.
    house.sign_up("eve@example.com", Transport::Token).await;
    call(&house, "eve@example.com", FREE_LIMIT).await;
    assert_eq!(round(&house).await, none);
    call(&house, "ada@example.com", 7).await;
    assert_eq!(round(&house).await, none);
    call(&house, "ada@example.com", 1).await;
    assert_eq!(round(&house).await, [near]);
    call(&house, "ada@example.com", 1).await;
    assert_eq!(round(&house).await, none, "told before");
    call(&house, "ada@example.com", 1).await;
    house.clock.advance_seconds(60);
    assert_eq!(house.billing.tell_of_quotas().await.unwrap(), 1);
    let mail = mails(&house).await.remove(0);
    assert_eq!(mail.subject, all);
    assert!(
        mail.text
            .contains("Used: 10 of 10\nBegins anew: 21 November 2026, 00:00 UTC\n"),
        "{}",
        mail.text
    );
    for _ in 0..3 {
        assert_eq!(round(&house).await, none);
    }
    // The next day counts anew, and what was told of all of it is not told of most of it.
    house.clock.advance_seconds(86_400);
    assert_eq!(round(&house).await, none, "nobody called");
    call(&house, "ada@example.com", FREE_LIMIT).await;
    assert_eq!(round(&house).await, [all]);
    assert_eq!(round(&house).await, none);
}

/// A round that comes late finds whoever called since the one before.
#[tokio::test]
async fn no_call_is_missed_between_rounds() {
    let house = House::new().await;
    proven(&house, "ada@example.com").await;
    assert!(round(&house).await.is_empty());
    house.clock.advance_seconds(60);
    call(&house, "ada@example.com", FREE_LIMIT).await;
    house.clock.advance_seconds(3600);
    assert_eq!(round(&house).await, ["You have used up your messages at Anteroom"]);
    // Within a turn another node has nothing to do.
    assert_eq!(house.billing.tell_of_quotas().await.unwrap(), 0);
}

fn exports(amount: i64) -> EntitlementAsk {
    EntitlementAsk {
        user_id: None,
        key: "exports".into(),
        amount,
    }
}

#[tokio::test]
async fn what_is_the_operators_own_is_told_with_its_use() {
    let house = House::new().await;
    let user = proven(&house, "ada@example.com").await;
    let consume = async |amount, id: &str| {
        let outcome = house
            .billing
            .consume_entitlement(&user, &exports(amount), Some(id.into()))
            .await;
        (outcome.is_ok(), subjects(&house).await)
    };
    let none = Vec::<String>::new;
    assert_eq!(consume(2, "a").await, (true, none()));
    assert_eq!(consume(2, "b").await, (false, none()), "what is refused is not used");
    let all = vec!["You have used up your exports at Anteroom".to_owned()];
    assert_eq!(consume(1, "c").await, (true, all));
    assert_eq!(consume(1, "c").await, (true, none()), "the same again");
    house.clock.advance_seconds(86_400);
    assert_eq!(consume(2, "d").await, (true, none()), "a new window");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_uses_at_once_each_mark_is_told_once() {
    let house = Arc::new(House::new().await);
    let user = proven(&house, "ada@example.com").await;
    let granted = Override {
        id: OverrideId(SeededIds::new(77).uuid()),
        owner: Owner::account(user.id),
        grant: Grant::Entitlement(Entitlement {
            key: "exports".into(),
            kind: EntitlementKind::metered(Some(60), Window::Day),
        }),
        reason: "a busy day".into(),
        granted_by: None,
        created_at: house.clock.now(),
        expires_at: None,
    };
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.insert_override(&granted).await.unwrap();
    unit.commit().await.unwrap();
    let uses = (0..64).map(|_| {
        let (house, user) = (Arc::clone(&house), user.clone());
        tokio::spawn(async move {
            house
                .billing
                .consume_entitlement(&user, &exports(1), None)
                .await
                .is_ok()
        })
    });
    let used = futures_util::future::join_all(uses).await;
    assert_eq!(used.into_iter().filter(|used| *used.as_ref().unwrap()).count(), 60);
    let mut told = subjects(&house).await;
    told.sort();
    assert_eq!(
        told,
        [
            "You have used 80 % of your exports at Anteroom",
            "You have used up your exports at Anteroom"
        ]
    );
}

#[tokio::test]
async fn what_was_told_is_forgotten_with_the_account_and_after_a_year() {
    let house = House::new().await;
    let knows = async |owner: Owner| {
        let mut reads = house.store.read().await.unwrap();
        reads.knows_notice(owner, NoticeKind::PlanChanged, "x").await.unwrap()
    };
    let tell = async |owner: Owner, at: Timestamp| {
        let mut unit = house.store.begin(Durability::Full).await.unwrap();
        assert!(
            unit.insert_notice(owner, NoticeKind::PlanChanged, "x", at)
                .await
                .unwrap()
        );
        unit.commit().await.unwrap();
    };
    let (gone, stays) = (
        Owner::account(proven(&house, "ada@example.com").await.id),
        Owner::account(proven(&house, "bob@example.com").await.id),
    );
    let now = house.clock.now();
    tell(gone, now).await;
    tell(stays, now).await;
    changed(&house, UserId(gone.id), |user| user.delete_after = Some(now)).await;
    assert_eq!(house.accounts.erase_due_accounts().await.unwrap(), 1);
    assert!(!knows(gone).await && knows(stays).await);
    house.clock.advance_seconds(366 * 86_400);
    assert_eq!(house.billing.purge_notices().await.unwrap(), 0);
    house.clock.advance_seconds(1);
    assert_eq!(house.billing.purge_notices().await.unwrap(), 1);
    assert!(!knows(stays).await);
}
