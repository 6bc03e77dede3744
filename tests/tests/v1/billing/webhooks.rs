//! `POST /v1/billing/webhooks/{provider}`

use anteroom_stripe_stub::sign;
use anteroom_tests::stripe::event;
use anteroom_tests::{Dice, Setup, StripeSubscription, TestApp, User, WEBHOOK_SECRET, logs, now, on_every_store};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use jiff::SignedDuration;
use secrecy::SecretString;
use serde_json::json;

on_every_store![
    takes_what_the_provider_has_signed,
    e60_what_the_provider_has_not_signed_is_refused,
    refuses_what_is_old,
    refuses_what_cannot_be_read,
    has_one_effect_for_one_event,
    goes_by_what_the_provider_has_not_by_what_it_hears,
    comes_to_the_same_in_every_order_of_events,
    is_taken_up_where_its_effect_failed,
    says_what_holds_and_why_for_every_word_of_the_provider,
    is_not_undone_by_a_purchase_that_fails,
    passes_over_what_it_does_not_know,
    does_not_know_other_providers,
];

const PATH: &str = "/v1/billing/webhooks/stripe-stub";

const UPDATED: &str = "customer.subscription.updated";

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
    let mut sub = StripeSubscription::new(&user, "sub_1", "active");
    app.stub_has(&sub);
    let answer = app
        .signed(sub.event("customer.subscription.created", "evt_1"), now())
        .expect(200)
        .events(&["subscription.changed", "subscription.webhook.applied"])
        .await;
    assert_eq!(answer.json(), json!({ "received": true }));
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // What the provider has later is what holds: at once, on sessions that were looked up moments ago too.
    app.get("/v1/auth/session").by(&user).await.is(200);
    sub.plan = String::from("business");
    app.subscription_is("evt_2", &sub).await;
    let session = app.get("/v1/auth/session").by(&user).await.is(200).json();
    assert_eq!(session["subscription"]["plan"], "business");
    sub.status = String::from("canceled");
    app.subscription_is("evt_3", &sub).await;
    assert_eq!(held(&app, &user).await, owned("free", "canceled", false));
}

async fn e60_what_the_provider_has_not_signed_is_refused(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let sub = StripeSubscription::new(&user, "sub_1", "active");
    app.stub_has(&sub);
    let body = sub.event(UPDATED, "evt_1");
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
    let sub = StripeSubscription::new(&user, "sub_1", "active");
    app.stub_has(&sub);
    let body = sub.event(UPDATED, "evt_1");
    for off in [-310, 310] {
        let ask = app.signed(body.clone(), now() + SignedDuration::from_secs(off));
        ask.expect(400)
            .code("stale_webhook")
            .events(&["subscription.webhook.rejected"])
            .await;
    }
    assert_eq!(held(&app, &user).await, owned("free", "none", false));
    app.signed(body, now() - SignedDuration::from_secs(280)).await.is(200);
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
        let ask = app.signed(body.to_vec(), now());
        ask.expect(400)
            .code("malformed_webhook")
            .events(&["subscription.webhook.rejected"])
            .await;
    }
    let large = vec![b' '; 70_000];
    app.signed(large, now()).expect(413).code("body_too_large").await;
}

async fn has_one_effect_for_one_event(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let sub = StripeSubscription::new(&user, "sub_1", "active");
    here.stub_has(&sub);
    let body = sub.event(UPDATED, "evt_1");
    let tries = (0..64).map(|number| {
        let node = if number % 2 == 0 { &here } else { &there };
        node.signed(body.clone(), now()).into_future()
    });
    let answers = join_all(tries).await;
    assert!(answers.iter().all(|a| a.status == 200), "{answers:?}");
    assert_eq!(logs::about("subscription.changed", &user.id).len(), 1);
    here.signed(body, now())
        .expect(200)
        .events(&["subscription.webhook.duplicate"])
        .await;
    assert_eq!(held(&here, &user).await, owned("pro", "active", true));
}

async fn goes_by_what_the_provider_has_not_by_what_it_hears(setup: &Setup) {
    let app = setup.app().await;
    let tell = async |id: &str, said: &StripeSubscription| {
        app.signed(said.event(UPDATED, id), now()).await.is(200);
    };
    // Whatever an event says, the provider is asked.
    let user = app.user().await;
    let mut sub = StripeSubscription::new(&user, "sub_a", "active");
    app.stub_has(&sub);
    tell("evt_a1", &StripeSubscription::new(&user, "sub_a", "incomplete")).await;
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // A stale `active` after the end gives nothing back.
    sub.status = String::from("canceled");
    app.subscription_is("evt_a2", &sub).await;
    tell("evt_a3", &StripeSubscription::new(&user, "sub_a", "active")).await;
    assert_eq!(held(&app, &user).await, owned("free", "canceled", false));
    // A subscription cannot change hands.
    let (user, thief) = (app.user().await, app.user().await);
    let mut sub = StripeSubscription::new(&user, "sub_b", "active");
    app.subscription_is("evt_b1", &sub).await;
    sub.owner.clone_from(&thief.id);
    app.subscription_is("evt_b2", &sub).await;
    assert_eq!(held(&app, &thief).await, owned("free", "none", false));
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    // What was bought anew after the end is what counts, and of two that run the newer one.
    "canceled".clone_into(&mut sub.status);
    app.subscription_is("evt_b3", &sub).await;
    app.subscription_is("evt_c1", &StripeSubscription::new(&user, "sub_c", "active"))
        .await;
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
    let mut dearer = StripeSubscription::new(&user, "sub_c2", "active");
    dearer.plan = String::from("business");
    app.subscription_is("evt_c2", &dearer).await;
    assert_eq!(held(&app, &user).await, owned("business", "active", true));
}

/// All orders of the events of a life, each sent one to five times, while the provider goes on: the same end every time.
async fn comes_to_the_same_in_every_order_of_events(setup: &Setup) {
    let app = setup.app().await;
    let seed = Dice::seed();
    let all = orders(LIFE.len()).into_iter().enumerate();
    let lives = stream::iter(all).map(|(number, order)| live(&app, seed, number, order));
    lives.buffer_unordered(6).collect::<()>().await;
}

/// The states of a life, each told of by an event.
const LIFE: [&str; 5] = ["incomplete", "active", "past_due", "active", "canceled"];

/// One life, whose events come in this order.
async fn live(app: &TestApp, seed: u64, number: usize, order: Vec<usize>) {
    let mut dice = Dice::of(seed, u64::try_from(number).unwrap());
    let (user, stub) = (app.user().await, app.stub());
    let states = LIFE.map(|status| StripeSubscription::new(&user, &format!("sub_{number}"), status));
    let last = states.len() - 1;
    let mut reached = 0;
    for (step, said) in order.iter().copied().enumerate() {
        // What is told has happened; more may have.
        reached = (reached + dice.below(2)).max(said).min(last);
        if step == last {
            reached = last;
        }
        app.stub_has(&states[reached]);
        let body = states[said].event(UPDATED, &format!("evt_{number}_{said}"));
        // The provider may fail between receipt and effect; what died so is sent again.
        let fails = dice.below(3) == 0;
        for _ in 0..=dice.below(5) {
            if fails {
                stub.put(json!({ "id": states[reached].id, "object": "subscription", "status": 7 }));
                app.signed(body.clone(), now()).await;
                app.stub_has(&states[reached]);
            }
            app.signed(body.clone(), now()).await.is(200);
        }
    }
    let (plan, status, active) = held(app, &user).await;
    assert_eq!(
        (plan.as_str(), status.as_str(), active),
        ("free", "canceled", false),
        "order {order:?}, seed {seed}"
    );
}

fn orders(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for order in orders(length - 1) {
        for place in 0..length {
            let mut longer = order.clone();
            longer.insert(place, length - 1);
            all.push(longer);
        }
    }
    all
}

async fn is_taken_up_where_its_effect_failed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let sub = StripeSubscription::new(&user, "sub_1", "active");
    app.stub()
        .put(json!({ "id": "sub_1", "object": "subscription", "status": 7 }));
    let body = sub.event(UPDATED, "evt_1");
    app.signed(body, now())
        .expect(503)
        .code("payment_provider_failed")
        .events(&["request.failed", "subscription.webhook.failed"])
        .await;
    app.stub_has(&sub);
    let waiting = "SELECT count(*) AS n FROM billing_events WHERE state = 'waiting'";
    assert_eq!(setup.number(waiting).await, 1);
    // The server's own round takes it up after a minute, whether or not the provider sends it again.
    assert_eq!(app.services().billing.work_off_events().await.unwrap(), 0);
    let age = "UPDATE billing_events SET received_at = received_at - ";
    match setup.kind() {
        anteroom_tests::Kind::Sqlite => setup.execute(&format!("{age} 61000000")).await,
        anteroom_tests::Kind::Postgres => setup.execute(&format!("{age} interval '61 seconds'")).await,
    }
    assert_eq!(app.services().billing.work_off_events().await.unwrap(), 1);
    assert_eq!(setup.number(waiting).await, 0);
    assert_eq!(held(&app, &user).await, owned("pro", "active", true));
}

async fn says_what_holds_and_why_for_every_word_of_the_provider(setup: &Setup) {
    let app = setup.app().await;
    let hours = SignedDuration::from_hours;
    // What ends by the clock alone is told in the domain's own table: the stub ends it itself.
    // The provider's word; since when, in hours; when the trial ends and whether it ends with a period that ends when.
    let table = [
        ("active", 0, None, None, true, "active"),
        ("active", 0, None, Some(5), true, "cancels_at_period_end"),
        ("trialing", 0, Some(5), None, true, "trialing"),
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
        let mut sub = StripeSubscription::new(&user, &format!("sub_{number}"), status);
        sub.current_period_start = now() + hours(since);
        sub.trial_end = trial_end.map(|h| now() + hours(h));
        if let Some(end) = period_end {
            sub.cancel_at_period_end = true;
            sub.current_period_end = now() + hours(end);
        }
        app.subscription_is(&format!("evt_{number}"), &sub).await;
        let held = app.get("/v1/me/subscription").by(&user).expect(200).await.json();
        let plan = if active { "pro" } else { "free" };
        let said = json!([held["plan"], held["status"], held["active"], held["reason"]]);
        assert_eq!(said, json!([plan, status, active, reason]), "{held}");
    }
    // A word of tomorrow after one of today leaves what was decided.
    let user = app.user().await;
    let mut sub = StripeSubscription::new(&user, "sub_x", "active");
    app.subscription_is("evt_x1", &sub).await;
    sub.status = String::from("a_word_of_tomorrow");
    app.subscription_is("evt_x2", &sub).await;
    assert_eq!(held(&app, &user).await, owned("pro", "a_word_of_tomorrow", true));
}

async fn is_not_undone_by_a_purchase_that_fails(setup: &Setup) {
    let app = setup.app().await;
    // Who has paid for one subscription, and whose card was refused for another, keeps the one that is paid.
    for (number, status) in ["incomplete", "incomplete_expired", "unpaid", "paused"]
        .into_iter()
        .enumerate()
    {
        let user = app.user().await;
        let paid = StripeSubscription::new(&user, &format!("sub_paid_{number}"), "active");
        app.subscription_is(&format!("evt_paid_{number}"), &paid).await;
        let mut failed = StripeSubscription::new(&user, &format!("sub_failed_{number}"), status);
        "business".clone_into(&mut failed.plan);
        app.subscription_is(&format!("evt_failed_{number}"), &failed).await;
        assert_eq!(held(&app, &user).await, owned("pro", "active", true), "{status}");
    }
}

async fn passes_over_what_it_does_not_know(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let stranger = StripeSubscription {
        owner: String::new(),
        ..StripeSubscription::new(&user, "sub_of_another_product", "active")
    };
    app.stub_has(&stranger);
    for (id, kind, object) in [
        ("evt_1", "invoice.paid", json!({ "id": "in_1" })),
        ("evt_2", "customer.subscription.updated", stranger.json()),
        (
            "evt_3",
            "customer.subscription.updated",
            json!({ "id": "sub_unheard_of", "status": "active" }),
        ),
        ("evt_4", "a.kind.of.tomorrow", json!({ "id": "x_1" })),
    ] {
        let ask = app.signed(event(kind, id, &object), now());
        ask.expect(200).events(&["subscription.webhook.applied"]).await;
    }
    assert_eq!(held(&app, &user).await, owned("free", "none", false));
    let stored = setup.number("SELECT count(*) AS n FROM billing_events").await;
    assert_eq!(stored, 4, "what changes nothing is kept all the same");
}

async fn does_not_know_other_providers(setup: &Setup) {
    let app = setup.app().await;
    for provider in ["stripe", "Stripe-Stub", "x", "%00"] {
        let path = format!("/v1/billing/webhooks/{provider}");
        app.post(&path).json(&json!({})).expect(404).code("not_found").await;
    }
}
