//! `POST /v1/billing/webhooks/{provider}`

use anteroom_domain::UserId;
use anteroom_domain::billing::Owner;
use anteroom_stripe_stub::{SubscriptionEvent, SubscriptionObject, sign, subscription_event};
use anteroom_tests::{Answer, Ask, Setup, TestApp, User, WEBHOOK_SECRET, logs, now, on_every_store};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;

on_every_store![
    takes_what_the_provider_has_signed,
    e60_what_the_provider_has_not_signed_is_refused,
    refuses_what_is_old,
    refuses_what_cannot_be_read,
    has_one_effect_for_one_event,
    goes_by_when_things_happened_not_by_when_it_hears,
    says_what_holds_and_why_for_every_word_of_the_provider,
    is_not_undone_by_a_purchase_that_fails,
    passes_over_what_it_does_not_know,
    does_not_know_other_providers,
];

const PATH: &str = "/v1/billing/webhooks/stripe-stub";

/// A subscription to `pro` for a month, as the provider describes it.
pub fn subscription(user: &User, id: &str, status: &str) -> SubscriptionObject {
    let begun = now();
    SubscriptionObject {
        id: id.to_owned(),
        customer: "cus_1".to_owned(),
        owner: Owner::account(UserId(user.id.parse().unwrap())),
        plan: "pro".to_owned(),
        plan_version: 1,
        status: status.to_owned(),
        amount: 1900,
        currency: "usd".to_owned(),
        interval: "month".to_owned(),
        created: begun,
        current_period_start: begun,
        current_period_end: begun + SignedDuration::from_hours(24 * 30),
        cancel_at_period_end: false,
        trial_end: None,
    }
}

/// An event, signed at a time, ready to be sent.
pub fn signed(app: &TestApp, body: Vec<u8>, at: Timestamp) -> Ask {
    let signature = sign(&SecretString::from(WEBHOOK_SECRET), &body, at);
    app.post(PATH)
        .header("stripe-signature", &signature)
        .header("content-type", "application/json")
        .body(body)
}

/// Tells of something that happened so many seconds ago.
async fn tell(app: &TestApp, kind: SubscriptionEvent, event: &str, ago: i64, about: &SubscriptionObject) -> Answer {
    let at = now() - SignedDuration::from_secs(ago);
    signed(app, subscription_event(kind, event, at, about), now())
        .await
        .is(200)
}

async fn held(app: &TestApp, user: &User) -> (String, String, bool) {
    let held = app.get("/v1/me/subscription").by(user).await.is(200).json();
    let text = |key: &str| held[key].as_str().unwrap().to_owned();
    (text("plan"), text("status"), held["active"].as_bool().unwrap())
}

fn owned(plan: &str, status: &str, active: bool) -> (String, String, bool) {
    (plan.to_owned(), status.to_owned(), active)
}

async fn takes_what_the_provider_has_signed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let mut sub = subscription(&user, "sub_1", "active");
    let body = subscription_event(SubscriptionEvent::Created, "evt_1", now(), &sub);
    let answer = signed(&app, body, now())
        .expect(200)
        .events(&["subscription.changed", "subscription.webhook.applied"])
        .await;
    assert_eq!(answer.json(), json!({ "received": true }));
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // What the provider says later is what holds: at once, on sessions that were looked up moments ago too.
    app.get("/v1/auth/session").by(&user).await.is(200);
    sub.plan = String::from("business");
    tell(&app, SubscriptionEvent::Updated, "evt_2", 0, &sub).await;
    let session = app.get("/v1/auth/session").by(&user).await.is(200).json();
    assert_eq!(session["subscription"]["plan"], "business");
    sub.status = String::from("canceled");
    tell(&app, SubscriptionEvent::Deleted, "evt_3", 0, &sub).await;
    assert_eq!(held(&app, &user).await, owned("free", "canceled", false));
}

async fn e60_what_the_provider_has_not_signed_is_refused(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let sub = subscription(&user, "sub_1", "active");
    let body = subscription_event(SubscriptionEvent::Created, "evt_1", now(), &sub);
    let good = sign(&SecretString::from(WEBHOOK_SECRET), &body, now());
    let (time, tag) = good.split_once(",v1=").unwrap();
    let signatures = [
        None,
        Some(String::new()),
        Some(sign(&SecretString::from("whsec_of_somebody_else"), &body, now())),
        Some(sign(&SecretString::from(""), &body, now())),
        Some(format!("{time},v1={}", &tag[..63])),
        Some(format!("{time},v1={}", &tag[..8])),
        Some(format!("{time},v1=")),
        Some(format!("{time},v1={tag}0")),
        Some(format!("{time},v0={tag}")),
        Some(format!("{},v1={tag}", time.replace("t=1", "t=2"))),
        Some(tag.to_owned()),
    ];
    for signature in signatures {
        let mut ask = app
            .post(PATH)
            .header("content-type", "application/json")
            .body(body.clone());
        if let Some(signature) = &signature {
            ask = ask.header("stripe-signature", signature);
        }
        let ask = ask
            .expect(400)
            .code("bad_signature")
            .events(&["subscription.webhook.rejected"]);
        ask.await;
    }
    // One byte more or less is another body.
    let mut longer = body.clone();
    longer.push(b' ');
    let ask = app.post(PATH).header("stripe-signature", &good).body(longer);
    ask.expect(400)
        .code("bad_signature")
        .events(&["subscription.webhook.rejected"])
        .await;
    assert_eq!(held(&app, &user).await, owned("free", "none", false));
    let ask = app
        .post(PATH)
        .header("stripe-signature", &good)
        .header("content-type", "application/json")
        .body(body);
    ask.await.is(200);
}

async fn refuses_what_is_old(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let sub = subscription(&user, "sub_1", "active");
    let body = subscription_event(SubscriptionEvent::Created, "evt_1", now(), &sub);
    for off in [-310, 310] {
        let ask = signed(&app, body.clone(), now() + SignedDuration::from_secs(off));
        ask.expect(400)
            .code("stale_webhook")
            .events(&["subscription.webhook.rejected"])
            .await;
    }
    assert_eq!(held(&app, &user).await, owned("free", "none", false));
    signed(&app, body, now() - SignedDuration::from_secs(280)).await.is(200);
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
}

async fn refuses_what_cannot_be_read(setup: &Setup) {
    let app = setup.app().await;
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{\"id\":\"evt_1\"}",
        b"{\"id\":7,\"type\":\"x\",\"created\":1,\"data\":{\"object\":{}}}",
    ] {
        let ask = signed(&app, body.to_vec(), now());
        ask.expect(400)
            .code("malformed_webhook")
            .events(&["subscription.webhook.rejected"])
            .await;
    }
    let large = vec![b' '; 70_000];
    signed(&app, large, now()).expect(413).code("body_too_large").await;
}

async fn has_one_effect_for_one_event(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let sub = subscription(&user, "sub_1", "active");
    let body = subscription_event(SubscriptionEvent::Created, "evt_1", now(), &sub);
    let tries = (0..32).map(|number| {
        let node = if number % 2 == 0 { &here } else { &there };
        signed(node, body.clone(), now()).into_future()
    });
    let answers = join_all(tries).await;
    assert!(answers.iter().all(|a| a.status == 200), "{answers:?}");
    assert_eq!(logs::about("subscription.changed", &user.id).len(), 1);
    signed(&here, body, now())
        .expect(200)
        .events(&["subscription.webhook.duplicate"])
        .await;
    assert_eq!(held(&here, &user).await, owned("pro", "active", true));
}

async fn goes_by_when_things_happened_not_by_when_it_hears(setup: &Setup) {
    let app = setup.app().await;
    // `updated` before `created`, which was `incomplete`.
    let user = app.user().await;
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_a2",
        10,
        &subscription(&user, "sub_a", "active"),
    )
    .await;
    tell(
        &app,
        SubscriptionEvent::Created,
        "evt_a1",
        20,
        &subscription(&user, "sub_a", "incomplete"),
    )
    .await;
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // A stale `active` after `deleted` gives nothing back, not even with a later time.
    tell(
        &app,
        SubscriptionEvent::Deleted,
        "evt_a4",
        0,
        &subscription(&user, "sub_a", "canceled"),
    )
    .await;
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_a3",
        5,
        &subscription(&user, "sub_a", "active"),
    )
    .await;
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_a5",
        -5,
        &subscription(&user, "sub_a", "active"),
    )
    .await;
    assert_eq!(held(&app, &user).await, owned("free", "canceled", false));
    // A stale `past_due` does not lock out who has paid since.
    let user = app.user().await;
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_b2",
        10,
        &subscription(&user, "sub_b", "active"),
    )
    .await;
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_b1",
        20,
        &subscription(&user, "sub_b", "past_due"),
    )
    .await;
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // Who has not paid keeps the plan for a while.
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_b3",
        0,
        &subscription(&user, "sub_b", "past_due"),
    )
    .await;
    assert_eq!(held(&app, &user).await, owned("pro", "past_due", true));
    // A subscription cannot change hands.
    let thief = app.user().await;
    tell(
        &app,
        SubscriptionEvent::Updated,
        "evt_b4",
        -5,
        &subscription(&thief, "sub_b", "active"),
    )
    .await;
    assert_eq!(held(&app, &thief).await, owned("free", "none", false));
    assert_eq!(held(&app, &user).await.1, "past_due");
    // What was bought anew after the end is what counts.
    tell(
        &app,
        SubscriptionEvent::Deleted,
        "evt_b5",
        0,
        &subscription(&user, "sub_b", "canceled"),
    )
    .await;
    tell(
        &app,
        SubscriptionEvent::Created,
        "evt_c1",
        0,
        &subscription(&user, "sub_c", "active"),
    )
    .await;
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // Of two that run, the newer one counts.
    let mut dearer = subscription(&user, "sub_b2", "active");
    dearer.plan = String::from("business");
    tell(&app, SubscriptionEvent::Created, "evt_b6", -5, &dearer).await;
    assert_eq!(held(&app, &user).await, owned("business", "active", true));
    // An end that has not come yet ends nothing.
    let user = app.user().await;
    let mut ending = subscription(&user, "sub_d", "active");
    ending.cancel_at_period_end = true;
    tell(&app, SubscriptionEvent::Updated, "evt_d1", 0, &ending).await;
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // One that never began gives nothing.
    let user = app.user().await;
    tell(
        &app,
        SubscriptionEvent::Created,
        "evt_e1",
        0,
        &subscription(&user, "sub_e", "incomplete"),
    )
    .await;
    assert_eq!(held(&app, &user).await, owned("free", "incomplete", false));
}

async fn says_what_holds_and_why_for_every_word_of_the_provider(setup: &Setup) {
    let app = setup.app().await;
    let hours = SignedDuration::from_hours;
    // The provider's word; since when, in hours; when the trial ends and whether it ends with a period that ends when.
    let table = [
        ("active", 0, None, None, true, "active"),
        ("active", 0, None, Some(5), true, "cancels_at_period_end"),
        ("active", 0, None, Some(-1), false, "canceled"),
        ("trialing", 0, Some(5), None, true, "trialing"),
        ("trialing", 0, Some(-1), None, false, "trial_ended"),
        ("past_due", -24 * 6, None, None, true, "past_due_grace"),
        ("past_due", -24 * 8, None, None, false, "past_due"),
        ("incomplete", 0, None, None, false, "incomplete"),
        ("incomplete_expired", 0, None, None, false, "canceled"),
        ("unpaid", 0, None, None, false, "unpaid"),
        ("paused", 0, None, None, false, "paused"),
        ("a_word_of_tomorrow", 0, None, None, false, "unknown_status"),
    ];
    for (number, (status, since, trial_end, period_end, active, reason)) in table.into_iter().enumerate() {
        let user = app.user().await;
        let mut sub = subscription(&user, &format!("sub_{number}"), status);
        sub.trial_end = trial_end.map(|h| now() + hours(h));
        if let Some(end) = period_end {
            sub.cancel_at_period_end = true;
            sub.current_period_end = now() + hours(end);
        }
        let body = subscription_event(
            SubscriptionEvent::Updated,
            &format!("evt_{number}"),
            now() + hours(since),
            &sub,
        );
        signed(&app, body, now()).await.is(200);
        let held = app.get("/v1/me/subscription").by(&user).expect(200).await.json();
        let plan = if active { "pro" } else { "free" };
        let said = json!([held["plan"], held["status"], held["active"], held["reason"]]);
        assert_eq!(said, json!([plan, status, active, reason]), "{held}");
    }
}

async fn is_not_undone_by_a_purchase_that_fails(setup: &Setup) {
    let app = setup.app().await;
    // Who has paid for one subscription, and whose card was refused for another, keeps the one that is paid.
    for (number, status) in ["incomplete", "incomplete_expired", "unpaid", "paused"]
        .into_iter()
        .enumerate()
    {
        let user = app.user().await;
        let paid = subscription(&user, &format!("sub_paid_{number}"), "active");
        tell(
            &app,
            SubscriptionEvent::Created,
            &format!("evt_paid_{number}"),
            10,
            &paid,
        )
        .await;
        let mut failed = subscription(&user, &format!("sub_failed_{number}"), status);
        "business".clone_into(&mut failed.plan);
        tell(
            &app,
            SubscriptionEvent::Created,
            &format!("evt_failed_{number}"),
            0,
            &failed,
        )
        .await;
        assert_eq!(held(&app, &user).await, owned("pro", "active", true), "{status}");
    }
}

async fn passes_over_what_it_does_not_know(setup: &Setup) {
    let app = setup.app().await;
    for (id, kind, object) in [
        ("evt_1", "invoice.paid", json!({ "id": "in_1" })),
        (
            "evt_2",
            "customer.subscription.updated",
            json!({ "id": "sub_of_another_product", "status": "active" }),
        ),
    ] {
        let event = json!({ "id": id, "type": kind, "created": now().as_second(), "data": { "object": object } });
        let ask = signed(&app, event.to_string().into_bytes(), now());
        ask.expect(200).events(&["subscription.webhook.applied"]).await;
    }
}

async fn does_not_know_other_providers(setup: &Setup) {
    let app = setup.app().await;
    for provider in ["stripe", "Stripe-Stub", "x", "%00"] {
        let path = format!("/v1/billing/webhooks/{provider}");
        app.post(&path).json(&json!({})).expect(404).code("not_found").await;
    }
}
