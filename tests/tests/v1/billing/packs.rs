//! `/v1/billing/credits`: packs of credits, bought at the stub.

use anteroom_tests::{FRONTEND, Setup, TestApp, User, eventually_asking, on_every_store};
use serde_json::{Value, json};

on_every_store![
    sell_credits_once_and_again,
    give_back_what_is_left,
    refuse_what_cannot_be_bought,
];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", limit = 5, window = "day" }] },
    { key = "payg", name = "Pay as you go", version = 1, rank = 1, models = "all", prices = [{ amount = 500, currency = "usd", interval = "month" }], entitlements = [
        { key = "credits", kind = "metered", limit = 0, window = "month" },
    ] },
]"#;

const PACKS: &str = r#"[
    { key = "small", name = "500 credits", credits = 500, amount = 500, currency = "usd" },
    { key = "large", name = "3000 credits", credits = 3000, amount = 2500, currency = "usd", expires_days = 365 },
]"#;

const SETTINGS: [(&str, &str); 2] = [("billing.plans", PLANS), ("billing.credit_packs", PACKS)];

async fn open(app: &TestApp, user: &User, ask: Value) -> String {
    let opened = app.post("/v1/billing/credits/checkout").by(user).json(&ask).expect(201);
    let opened = opened.events(&["billing.credits.checkout.opened"]).await.json();
    let url = opened["url"].as_str().unwrap();
    url.strip_prefix(app.url())
        .expect("the page is one of Anteroom's own")
        .to_owned()
}

async fn credits(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me/credits").by(user).await.is(200).json()
}

async fn sell_credits_once_and_again(setup: &Setup) {
    let app = setup.app_with(&SETTINGS).await;
    let user = app.user().await;
    let packs = app.get("/v1/billing/credits/packs").expect(200).await.json();
    assert_eq!(
        packs["data"][1],
        json!({ "key": "large", "name": "3000 credits", "credits": 3000.0, "amount": 2500, "currency": "usd", "expires_days": 365 })
    );
    app.buy(&user, "payg").await;
    let page = open(
        &app,
        &user,
        json!({ "pack": "small", "quantity": 2, "success_url": FRONTEND }),
    )
    .await;
    let text = app.get(&page).await.is(200).text();
    assert!(text.contains("500 credits") && text.contains("10.00 USD"), "{text}");
    assert_eq!(
        credits(&app, &user).await["available"],
        json!(0.0),
        "nothing is there before it is paid"
    );
    let paid = app.post(&page).await.is(303);
    assert!(paid.header("location").unwrap().starts_with(FRONTEND), "{paid:?}");
    app.stub().settled().await;
    let there = credits(&app, &user).await;
    let grant = &there["grants"][0];
    let shown = json!([
        there["available"],
        grant["source"],
        grant["reason"],
        grant["expires_at"]
    ]);
    assert_eq!(shown, json!([1000.0, "purchase", "500 credits", null]), "{there}");
    // Paying again, and hearing of it again, buys nothing more; a second checkout does.
    app.post(&page).await;
    let replayed = app
        .services()
        .billing
        .replay_events(jiff::Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    assert_eq!(replayed.changed, 0, "{replayed:?}");
    assert_eq!(credits(&app, &user).await["available"], json!(1000.0));
    let page = open(&app, &user, json!({ "pack": "large" })).await;
    app.post(&page).await.is(303);
    app.stub().settled().await;
    let there = credits(&app, &user).await;
    assert_eq!(there["available"], json!(4000.0));
    // Those that end are taken first.
    assert_eq!(there["grants"][0]["reason"], "3000 credits", "{there}");
    assert!(there["grants"][0]["expires_at"].is_string());
    let ask = json!({ "key": "credits", "amount": 3200 });
    app.post("/v1/entitlements/consume").by(&user).json(&ask).await.is(200);
    let left: Vec<_> = credits(&app, &user).await["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["left"].clone())
        .collect();
    assert_eq!(left, [json!(800.0)]);
}

async fn give_back_what_is_left(setup: &Setup) {
    let app = setup.app_with(&SETTINGS).await;
    let user = app.user().await;
    app.buy(&user, "payg").await;
    let page = open(&app, &user, json!({ "pack": "small" })).await;
    app.post(&page).await.is(303);
    app.stub().settled().await;
    let session =
        app.stub().events().into_iter().rfind(|event| {
            event["type"] == "checkout.session.completed" && event["data"]["object"]["mode"] == "payment"
        });
    let session = session.expect("the stub told of it");
    let payment = session["data"]["object"]["payment_intent"].as_str().unwrap();
    for (amount, left) in [("100", 400.0), ("400", 0.0)] {
        app.stripe("refunds", &[("payment_intent", payment), ("amount", amount)])
            .await;
        app.stub().settled().await;
        eventually_asking("they are taken back", async || {
            (credits(&app, &user).await["available"] == json!(left)).then_some(())
        })
        .await;
    }
    let lines = app.get("/v1/me/credits/entries").by(&user).await.is(200).json();
    let told: Vec<_> = lines["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| json!([line["kind"], line["amount"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["revoke", -400.0]),
            json!(["revoke", -100.0]),
            json!(["grant", 500.0])
        ]
    );
}

async fn refuse_what_cannot_be_bought(setup: &Setup) {
    let app = setup.app_with(&SETTINGS).await;
    let user = app.user().await;
    let ask = |ask: Value| app.post("/v1/billing/credits/checkout").by(&user).json(&ask);
    ask(json!({ "pack": "small" }))
        .expect(409)
        .code("credits_not_in_plan")
        .await;
    ask(json!({ "pack": "huge" }))
        .expect(422)
        .errors(&[("/pack", "unknown_pack")])
        .await;
    for quantity in [0, -1, 101] {
        let refused = ask(json!({ "pack": "small", "quantity": quantity })).expect(422);
        refused.errors(&[("/quantity", "refused")]).await;
    }
    let elsewhere = json!({ "pack": "small", "success_url": "https://evil.example/" });
    ask(elsewhere)
        .expect(422)
        .errors(&[("/success_url", "url_not_allowed")])
        .await;
    let anonymous = app
        .post("/v1/billing/credits/checkout")
        .json(&json!({ "pack": "small" }));
    anonymous.expect(401).code("unauthenticated").await;
    let sells_nothing = setup
        .app_with(&[SETTINGS[0], SETTINGS[1], ("billing.provider", "none")])
        .await;
    let user = sells_nothing.user().await;
    let packs = sells_nothing.get("/v1/billing/credits/packs").await.is(200).json();
    assert_eq!(packs, json!({ "data": [] }));
    let refused = sells_nothing
        .post("/v1/billing/credits/checkout")
        .by(&user)
        .json(&json!({ "pack": "small" }));
    refused.expect(501).code("payments_not_configured").await;
}
