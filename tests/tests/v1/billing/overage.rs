//! What a plan sells beyond its limits: used, counted, reported and on the bill.

use anteroom_tests::{Setup, TestApp, User, eventually_asking, on_every_store};
use jiff::SignedDuration;
use serde_json::{Value, json};

on_every_store![is_sold_reported_and_billed, is_not_for_those_who_do_not_pay];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 1, window = "day" }] },
    { key = "pro", name = "Pro", version = 1, rank = 10, models = "all", prices = [{ amount = 2000, currency = "usd", interval = "month" }], entitlements = [
        { key = "messages", kind = "metered", limit = 3, window = "month", overage = { max = 2, prices = [{ currency = "usd", amount = "50" }] } },
        { key = "renders", kind = "metered", limit = 5, window = "month", overage = { max = 10, prices = [{ currency = "usd", amount = "2.5" }] } },
    ] },
]"#;

fn ask() -> Value {
    json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] })
}

async fn entitlement(app: &TestApp, user: &User, key: &str) -> Value {
    let all = app.get("/v1/me/entitlements").by(user).await.is(200).json();
    let found = all["data"].as_array().unwrap().iter().find(|it| it["key"] == key);
    found.unwrap().clone()
}

/// What the newest bill says: its total, and quantity and amount of each line.
async fn bill(app: &TestApp) -> (i64, Vec<(i64, i64)>) {
    let invoices = app.stripe_has("invoices?limit=1").await;
    let newest = &invoices["data"][0];
    let lines = newest["lines"]["data"].as_array().unwrap().iter();
    let lines = lines.map(|line| (line["quantity"].as_i64().unwrap(), line["amount"].as_i64().unwrap()));
    (newest["total"].as_i64().unwrap(), lines.collect())
}

async fn is_sold_reported_and_billed(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", PLANS)]).await;
    let user = app.user().await;
    let begun = anteroom_tests::now();
    let sold = app.get("/v1/plans").await.is(200).json();
    let overage = json!({ "max": 2, "prices": [{ "currency": "usd", "amount": "50" }] });
    assert_eq!(sold["data"][1]["entitlements"][0]["overage"], overage, "{sold}");
    app.buy(&user, "pro").await;
    app.stub().settled().await;
    assert_eq!(entitlement(&app, &user, "messages").await["overage"], overage);
    for made in 1..=5 {
        app.post("/v1/chat/completions").by(&user).json(&ask()).await.is(200);
        eventually_asking("the call is booked", async || {
            let booked = setup.number("SELECT count(*) AS n FROM usage_events").await;
            (booked == made).then_some(())
        })
        .await;
    }
    let refused = app.post("/v1/chat/completions").by(&user).json(&ask()).await.is(402);
    assert_eq!(refused.code(), "quota_exceeded");
    let shown = entitlement(&app, &user, "messages").await;
    assert_eq!((&shown["limit"], &shown["used"]), (&json!(3), &json!(5)), "{shown}");

    // The operator's own feature is counted with its use, and the same again is the same.
    for _ in 0..2 {
        let used = app
            .post("/v1/entitlements/consume")
            .by(&user)
            .header("idempotency-key", "render-1")
            .json(&json!({ "key": "renders", "amount": 7 }))
            .await
            .is(200)
            .json();
        assert_eq!(
            (&used["limit"], &used["used"], &used["remaining"]),
            (&json!(15), &json!(7), &json!(8)),
            "{used}"
        );
    }
    let billing = &app.services().billing;
    assert_eq!(billing.report_overage_since(begun).await.unwrap(), 1);
    assert_eq!(billing.report_overage_since(begun).await.unwrap(), 0, "reported before");
    app.errands_are_run().await;
    eventually_asking("both are reported", async || {
        let waiting = "SELECT count(*) AS n FROM outbox WHERE topic = 'billing.report_overage'";
        (setup.number(waiting).await == 0).then_some(())
    })
    .await;

    let stub = app.stub();
    stub.advance(SignedDuration::from_hours(24 * 32)).await;
    stub.settled().await;
    let (total, lines) = bill(&app).await;
    assert_eq!(total, 2000 + 2 * 50 + 5, "{lines:?}");
    for line in [(2, 100), (2, 5), (1, 2000)] {
        assert!(lines.contains(&line), "{line:?} is not among {lines:?}");
    }
    let held = app.get("/v1/me/subscription").by(&user).await.is(200).json();
    assert_eq!((&held["plan"], &held["status"]), (&json!("pro"), &json!("active")));
}

async fn is_not_for_those_who_do_not_pay(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", PLANS)]).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let grant = json!({ "plan": "pro", "reason": "a gift" });
    let path = format!("/v1/admin/users/{}/overrides", user.id);
    app.post(&path).by(&admin).json(&grant).await.is(201);
    let consume = async |amount: i64| {
        let ask = json!({ "key": "renders", "amount": amount });
        app.post("/v1/entitlements/consume").by(&user).json(&ask).await
    };
    consume(5).await.is(200);
    assert_eq!(consume(1).await.is(402).code(), "quota_exceeded");
    assert!(entitlement(&app, &user, "renders").await["overage"].is_null());
    let waiting = "SELECT count(*) AS n FROM outbox WHERE topic = 'billing.report_overage'";
    assert_eq!(setup.number(waiting).await, 0);
}
