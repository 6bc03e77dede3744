//! A trial that asks for no means of payment: what it opens, how it ends, and how it goes on.

use anteroom_tests::{Setup, TestApp, Upstream, User, eventually_asking, logs, on_every_store};
use jiff::SignedDuration;
use serde_json::{Value, json};

on_every_store![
    pauses_at_its_end_and_is_resumed_with_a_card,
    goes_on_with_a_card_that_was_added_in_time,
    is_had_once,
    is_not_had_again_with_a_card_that_had_one,
];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 5, window = "month" }] },
    { key = "pro", name = "Pro", version = 1, rank = 10, trial_days = 14, trial_without_card = true, models = "all",
      entitlements = [{ key = "messages", kind = "metered", limit = 500, window = "month" }],
      prices = [{ amount = 1900, currency = "usd", interval = "month" }] },
]"#;

/// Sends a page's form.
async fn send(app: &TestApp, url: &Value, form: &str) {
    let path = url.as_str().unwrap().strip_prefix(app.url()).unwrap();
    let ask = app
        .post(path)
        .header("content-type", "application/x-www-form-urlencoded");
    ask.body(form.as_bytes().to_vec()).await.is(303);
    app.stub().settled().await;
}

/// Goes through the checkout without putting a card in.
async fn try_out(app: &TestApp, user: &User) {
    let ask = app
        .post("/v1/billing/checkout")
        .by(user)
        .json(&json!({ "plan": "pro" }));
    let opened = ask.await.is(201).json();
    send(app, &opened["url"], "outcome=without_card").await;
}

/// Puts a card in at the portal.
async fn add_card(app: &TestApp, user: &User) {
    let opened = app.post("/v1/billing/portal").by(user).json(&json!({}));
    let opened = opened.await.is(201).json();
    send(app, &opened["url"], "action=card&card=good").await;
}

/// Lets the stub's time pass, and waits until the server has heard of everything.
async fn pass(app: &TestApp, days: i64) {
    let stub = app.stub();
    stub.advance(SignedDuration::from_hours(24 * days)).await;
    stub.settled().await;
}

/// The plan in force, the provider's status and why it is so.
async fn held(app: &TestApp, user: &User) -> Value {
    let held = app.get("/v1/me/subscription").by(user).await.is(200).json();
    json!([held["plan"], held["status"], held["active"], held["reason"]])
}

/// The models that somebody may use, and the limit of messages.
async fn opened(app: &TestApp, user: &User) -> (Vec<Value>, Value) {
    let models = app.get("/v1/models").by(user).await.is(200).json();
    let models = models["data"].as_array().unwrap().iter();
    let shown = app.get("/v1/me/entitlements").by(user).await.is(200).json();
    let mut all = shown["data"].as_array().unwrap().iter();
    let messages = all.find(|one| one["key"] == "messages").unwrap();
    (
        models.map(|model| model["id"].clone()).collect(),
        messages["limit"].clone(),
    )
}

/// What the stub has taken in all.
fn paid(app: &TestApp) -> Vec<i64> {
    let events = app.stub().events();
    let invoices = events.iter().filter(|event| event["type"] == "invoice.paid");
    let amounts = invoices.map(|event| event["data"]["object"]["amount_paid"].as_i64().unwrap());
    amounts.filter(|amount| *amount > 0).collect()
}

/// A server with two models, of which the free plan has one.
async fn start(setup: &Setup, upstream: &Upstream) -> TestApp {
    let mut settings = upstream.settings("small,large").to_vec();
    settings.extend([("billing.plans", PLANS), ("billing.trial_ending_days", "20")]);
    setup.app_with(&settings).await
}

async fn pauses_at_its_end_and_is_resumed_with_a_card(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = start(setup, &upstream).await;
    let user = app.proven_user().await;
    let free = (vec![json!("small")], json!(5));
    let pro = (vec![json!("small"), json!("large")], json!(500));
    assert_eq!(opened(&app, &user).await, free);
    try_out(&app, &user).await;
    app.mailed(&user, "Your plan at Anteroom is Pro now").await;
    assert_eq!(held(&app, &user).await, json!(["pro", "trialing", true, "trialing"]));
    assert_eq!(opened(&app, &user).await, pro);
    assert_eq!(app.services().billing.tell_of_ending_trials().await.unwrap(), 1);
    let ending = app.mailed(&user, "Your trial of Pro at Anteroom ends soon").await;
    assert!(ending.contains("Without one the plan pauses"), "{ending}");

    pass(&app, 15).await;
    let over = app.mailed(&user, "Your plan at Anteroom is Free now").await;
    assert!(over.contains("Your trial of Pro at Anteroom is over"), "{over}");
    assert_eq!(held(&app, &user).await, json!(["free", "paused", false, "paused"]));
    assert_eq!(opened(&app, &user).await, free);
    // It is held still, so no other one is sold; and without a card it does not go on.
    let again = app.post("/v1/billing/checkout").by(&user);
    let again = again.json(&json!({ "plan": "pro" })).expect(409);
    let again = again.code("already_subscribed").await.json();
    assert!(again["detail"].as_str().unwrap().contains("resume"), "{again}");
    let change = app.post("/v1/billing/change").by(&user).json(&json!({ "plan": "pro" }));
    change.expect(409).code("subscription_not_changeable").await;
    let resume = || app.post("/v1/billing/resume").by(&user);
    let refused = resume().expect(402).code("payment_declined").await.json();
    assert_eq!(refused["decline_code"], "no_payment_method", "{refused}");
    assert_eq!(held(&app, &user).await, json!(["free", "paused", false, "paused"]));

    // A card on file alone changes nothing: nobody pays without having said so.
    add_card(&app, &user).await;
    assert_eq!(held(&app, &user).await, json!(["free", "paused", false, "paused"]));
    assert_eq!(paid(&app), [0; 0]);
    let resumed = resume().await.is(200).json();
    assert_eq!(
        json!([resumed["plan"], resumed["status"], resumed["reason"]]),
        json!(["pro", "active", "active"])
    );
    app.stub().settled().await;
    app.mailed(&user, "Your plan at Anteroom is Pro now").await;
    assert_eq!(opened(&app, &user).await, pro);
    assert_eq!(paid(&app), [1900]);
    resume().expect(409).code("nothing_to_resume").await;
    // The period runs from then on, and is followed by the next.
    pass(&app, 32).await;
    assert_eq!(held(&app, &user).await, json!(["pro", "active", true, "active"]));
    assert_eq!(paid(&app), [1900, 1900]);
    let compared = app.services().billing.reconcile().await.unwrap();
    assert_eq!(compared.changed, 0, "{compared:?}");
}

async fn goes_on_with_a_card_that_was_added_in_time(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = start(setup, &upstream).await;
    let user = app.user().await;
    try_out(&app, &user).await;
    add_card(&app, &user).await;
    assert_eq!(held(&app, &user).await, json!(["pro", "trialing", true, "trialing"]));
    assert_eq!(paid(&app), [0; 0], "the trial is the user's own first one");
    pass(&app, 15).await;
    assert_eq!(held(&app, &user).await, json!(["pro", "active", true, "active"]));
    assert_eq!(paid(&app), [1900]);
}

async fn is_had_once(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = start(setup, &upstream).await;
    let user = app.user().await;
    try_out(&app, &user).await;
    pass(&app, 15).await;
    let cancel = app.post("/v1/billing/cancel").by(&user);
    cancel.json(&json!({ "when": "now" })).await.is(200);
    app.stub().settled().await;
    assert_eq!(held(&app, &user).await, json!(["free", "canceled", false, "canceled"]));
    // Another checkout has no trial: it is to be paid, and cannot be left without a card.
    let ask = app
        .post("/v1/billing/checkout")
        .by(&user)
        .json(&json!({ "plan": "pro" }));
    let opened = ask.await.is(201).json();
    let path = opened["url"]
        .as_str()
        .unwrap()
        .strip_prefix(app.url())
        .unwrap()
        .to_owned();
    let page = app.get(&path).await.is(200).text();
    assert!(page.contains("19.00 USD") && !page.contains("Free until"), "{page}");
    let form = app
        .post(&path)
        .header("content-type", "application/x-www-form-urlencoded");
    form.body(b"outcome=without_card".to_vec()).await.is(400);
    send(&app, &opened["url"], "outcome=paid").await;
    assert_eq!(held(&app, &user).await, json!(["pro", "active", true, "active"]));
    assert_eq!(paid(&app), [1900]);
}

async fn is_not_had_again_with_a_card_that_had_one(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = start(setup, &upstream).await;
    let (first, second, third) = (app.user().await, app.user().await, app.user().await);
    // The first one's card is known only from when they go on after the pause.
    try_out(&app, &first).await;
    pass(&app, 15).await;
    add_card(&app, &first).await;
    app.post("/v1/billing/resume").by(&first).await.is(200);
    assert_eq!(held(&app, &first).await, json!(["pro", "active", true, "active"]));
    // With that card others have none: neither from the beginning nor by adding it on the way.
    app.buy(&second, "pro").await;
    try_out(&app, &third).await;
    assert_eq!(held(&app, &third).await, json!(["pro", "trialing", true, "trialing"]));
    add_card(&app, &third).await;
    for user in [&second, &third] {
        eventually_asking("the trial ends", async || {
            let is = held(&app, user).await;
            (is == json!(["pro", "active", true, "active"])).then_some(())
        })
        .await;
        assert!(!logs::about("subscription.trial.repeated", &user.id).is_empty());
    }
    app.stub().settled().await;
    assert_eq!(paid(&app), [1900; 3]);
}
