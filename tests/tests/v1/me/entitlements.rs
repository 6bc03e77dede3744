//! `GET /v1/me/entitlements`

use anteroom_tests::{Setup, Upstream, on_every_store};
use serde_json::{Value, json};

on_every_store![shows_what_the_plan_grants_and_what_is_left];

async fn shows_what_the_plan_grants_and_what_is_left(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small,large")).await;
    app.get("/v1/me/entitlements").expect(401).code("unauthenticated").await;
    let user = app.user().await;
    let entitlements = async || app.get("/v1/me/entitlements").by(&user).expect(200).await.json()["data"].clone();
    let named = |list: &Value, key: &str| -> Value {
        let found = list.as_array().unwrap().iter().find(|e| e["key"] == key);
        found.unwrap_or_else(|| panic!("no `{key}` in {list}")).clone()
    };
    let free = entitlements().await;
    assert_eq!(
        named(&free, "models"),
        json!({ "key": "models", "kind": "static", "value": ["small"] })
    );
    let messages = named(&free, "messages");
    assert_eq!(
        (&messages["kind"], &messages["limit"], &messages["used"]),
        (&json!("metered"), &json!(50), &json!(0))
    );
    assert_eq!(messages["window"], "day");
    assert!(
        messages["resets_at"].as_str().unwrap().ends_with("T00:00:00Z"),
        "{messages}"
    );

    let ask = json!({ "model": "small", "messages": [{ "role": "user", "content": "hi" }] });
    app.post("/v1/chat/completions")
        .by(&user)
        .json(&ask)
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(named(&entitlements().await, "messages")["used"], 1);

    app.buy(&user, "pro").await;
    let paid = entitlements().await;
    assert_eq!(named(&paid, "models")["value"], json!(["small", "large"]));
    assert_eq!(named(&paid, "messages")["limit"], Value::Null);
    assert_eq!(named(&paid, "messages")["used"], 1);
}
