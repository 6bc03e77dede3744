//! Purchases of credits of which no event arrives: the comparison with the provider finds them.

use anteroom_stripe_stub::Knobs;
use anteroom_tests::{Setup, TestApp, User, on_every_store};
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};

on_every_store![
    are_granted_once_by_the_comparison,
    are_taken_back_when_their_money_went_back,
];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "credits", kind = "metered", limit = 0, window = "month" }] },
]"#;

const PACKS: &str = r#"[{ key = "small", name = "500 credits", credits = 500, amount = 500, currency = "usd" }]"#;

async fn start(setup: &Setup) -> TestApp {
    let set = [("billing.plans", PLANS), ("billing.credit_packs", PACKS)];
    setup.app_with(&set).await
}

/// From now on the stub's events are lost, or arrive.
fn lose(app: &TestApp, lost: bool) {
    let drop_probability = if lost { 1.0 } else { 0.0 };
    app.stub().set_knobs(Knobs {
        drop_probability,
        ..Knobs::default()
    });
}

/// Buys a pack on the stub's page, in this way.
async fn buy(app: &TestApp, user: &User, outcome: &str) {
    let ask = app.post("/v1/billing/credits/checkout").by(user);
    let opened = ask.json(&json!({ "pack": "small" })).await.is(201).json();
    let path = opened["url"].as_str().unwrap().strip_prefix(app.url()).unwrap();
    let form = app
        .post(path)
        .header("content-type", "application/x-www-form-urlencoded");
    form.body(format!("outcome={outcome}").into_bytes()).await.is(303);
    app.stub().settled().await;
}

async fn available(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me/credits").by(user).await.is(200).json()["available"].clone()
}

/// How many lines somebody's ledger has.
async fn lines(app: &TestApp, user: &User) -> usize {
    let entries = app.get("/v1/me/credits/entries").by(user).await.is(200).json();
    entries["data"].as_array().unwrap().len()
}

/// Compares; how many purchases were looked at, and how many stood differently.
async fn compare(app: &TestApp) -> (usize, usize) {
    let compared = app.services().billing.reconcile().await.unwrap();
    (compared.purchases, compared.purchases_changed)
}

async fn are_granted_once_by_the_comparison(setup: &Setup) {
    let app = start(setup).await;
    let user = app.user().await;
    lose(&app, true);
    buy(&app, &user, "paid").await;
    buy(&app, &user, "debit").await;
    assert_eq!(available(&app, &user).await, json!(0.0), "nobody was told");
    let rounds = (0..64).map(|_| compare(&app));
    let changed: usize = join_all(rounds).await.into_iter().map(|(_, changed)| changed).sum();
    assert_eq!(changed, 1, "once");
    assert_eq!(available(&app, &user).await, json!(500.0));
    // The money of the other one comes some days later.
    app.stub().advance(SignedDuration::from_hours(24 * 4)).await;
    app.stub().settled().await;
    assert_eq!(compare(&app).await, (2, 1));
    assert_eq!(compare(&app).await, (2, 0));
    assert_eq!(available(&app, &user).await, json!(1000.0));
    assert_eq!(lines(&app, &user).await, 2);
    // An event that arrives after all has nothing left to do.
    lose(&app, false);
    let sold = app.stub().events();
    let sold = sold
        .iter()
        .find(|it| it["type"] == "checkout.session.completed")
        .unwrap();
    let resend = format!(
        "{}/stripe-stub/_stub/events/{}/resend",
        app.url(),
        sold["id"].as_str().unwrap()
    );
    let resent = app.http().post(resend).bearer_auth(anteroom_tests::STUB_KEY);
    assert!(resent.send().await.unwrap().status().is_success());
    app.stub().settled().await;
    assert_eq!(lines(&app, &user).await, 2);
}

async fn are_taken_back_when_their_money_went_back(setup: &Setup) {
    let app = start(setup).await;
    let user = app.user().await;
    buy(&app, &user, "paid").await;
    assert_eq!(available(&app, &user).await, json!(500.0));
    assert_eq!(compare(&app).await, (1, 0), "what was heard of agrees");
    lose(&app, true);
    let sold = app.stub().events();
    let sold = sold
        .iter()
        .rfind(|it| it["type"] == "checkout.session.completed")
        .unwrap();
    let payment = sold["data"]["object"]["payment_intent"].as_str().unwrap().to_owned();
    let form = [("payment_intent", payment.as_str()), ("amount", "100")];
    app.stripe("refunds", &form).await;
    app.stub().settled().await;
    assert_eq!(available(&app, &user).await, json!(500.0), "nobody was told");
    let rounds = (0..64).map(|_| compare(&app));
    let changed: usize = join_all(rounds).await.into_iter().map(|(_, changed)| changed).sum();
    assert_eq!(changed, 1, "once");
    assert_eq!(available(&app, &user).await, json!(400.0));
    // What is disputed is gone while that runs, and all of it had been granted for a moment at most.
    buy(&app, &user, "disputed").await;
    assert_eq!(compare(&app).await.0, 2);
    assert_eq!(available(&app, &user).await, json!(400.0));
    assert_eq!(compare(&app).await, (2, 0));
}
