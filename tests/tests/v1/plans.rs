//! `GET /v1/plans`

use anteroom_tests::{Setup, on_every_store};
use serde_json::{Value, json};

on_every_store![lists_what_is_on_offer, is_what_the_operator_says];

async fn lists_what_is_on_offer(setup: &Setup) {
    let app = setup.app().await;
    let plans = app.get("/v1/plans").expect(200).await.json()["data"].clone();
    let short: Vec<Value> = plans
        .as_array()
        .unwrap()
        .iter()
        .map(|p| json!([p["key"], p["name"], p["version"], p["prices"], p["for_sale"]]))
        .collect();
    let price = |amount: i64| json!([{ "amount": amount, "currency": "usd", "interval": "month" }]);
    let expected = [
        json!(["free", "Free", 1, [], false]),
        json!(["pro", "Pro", 1, price(1900), true]),
        json!(["business", "Business", 1, price(7900), true]),
        json!(["enterprise", "Enterprise", 1, [], false]),
    ];
    assert_eq!(short, expected);
    let free = json!([
        { "key": "messages", "kind": "metered", "limit": 50, "window": "day" },
        { "key": "users", "kind": "metered", "limit": 99, "window": "always" },
        { "key": "priority_support", "kind": "boolean", "value": false },
        { "key": "sso", "kind": "boolean", "value": false },
        { "key": "audit_export", "kind": "boolean", "value": false },
    ]);
    assert_eq!(plans[0]["entitlements"], free);
    // Every plan says something of every feature.
    let features = |plan: &Value, key: &str| {
        let all = plan["entitlements"].as_array().unwrap();
        let found = all.iter().find(|it| it["key"] == key).unwrap();
        found.get("value").or(found.get("limit")).unwrap().clone()
    };
    let tiers = |key: &str| -> Value {
        let plans = plans.as_array().unwrap().iter();
        plans.map(|plan| features(plan, key)).collect()
    };
    assert_eq!(tiers("users"), json!([99, null, null, null]));
    assert_eq!(tiers("priority_support"), json!([false, true, true, true]));
    assert_eq!(tiers("sso"), json!([false, false, true, true]));
    assert_eq!(tiers("audit_export"), json!([false, false, true, true]));
}

async fn is_what_the_operator_says(setup: &Setup) {
    let plans = r#"[
        { key = "start", name = "Start", version = 3, models = "first", entitlements = [
            { key = "support", kind = "boolean", value = false }, { key = "seats", kind = "static", value = 2 } ] },
        { key = "year", name = "A year", version = 1, models = "all", prices = [{ amount = 100, currency = "eur", interval = "year" }] },
    ]"#
    .replace('\n', " ");
    let app = setup
        .app_with(&[("billing.plans", &plans), ("billing.default_plan", "start")])
        .await;
    let plans = app.get("/v1/plans").expect(200).await.json()["data"].clone();
    assert_eq!(plans[0]["version"], 3);
    let entitlements = json!([
        { "key": "support", "kind": "boolean", "value": false },
        { "key": "seats", "kind": "static", "value": 2 },
    ]);
    assert_eq!(plans[0]["entitlements"], entitlements);
    assert_eq!(
        plans[1]["prices"],
        json!([{ "amount": 100, "currency": "eur", "interval": "year" }])
    );
    let user = app.user().await;
    assert_eq!(app.get("/v1/me/subscription").by(&user).await.json()["plan"], "start");
}
