//! `GET /v1/models`, `GET /v1/models/{id}`

use anteroom_tests::{Script, Setup, Upstream, on_every_store};
use serde_json::{Value, json};

on_every_store![
    offers_echo_where_no_provider_is_set,
    offers_the_first_to_all_and_all_to_payers,
    asks_the_provider_where_the_operator_names_none,
    is_a_bad_gateway_while_the_list_cannot_be_had,
    finds_a_model_of_the_plan_by_its_name,
    needs_a_session,
];

fn names(list: &Value) -> Vec<&str> {
    assert_eq!(list["object"], "list");
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect()
}

async fn offers_echo_where_no_provider_is_set(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let list = app.get("/v1/models").by(&user).expect(200).await.json();
    assert_eq!(names(&list), ["echo"]);
    assert_eq!(list["data"][0]["object"], "model");
}

async fn offers_the_first_to_all_and_all_to_payers(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small, large,huge")).await;
    let user = app.user().await;
    let list = app.get("/v1/models").by(&user).expect(200).await.json();
    assert_eq!(names(&list), ["small"]);
    app.buy(&user, "pro").await;
    let list = app.get("/v1/models").by(&user).expect(200).await.json();
    assert_eq!(names(&list), ["small", "large", "huge"]);
}

async fn asks_the_provider_where_the_operator_names_none(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("")).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let list = app.get("/v1/models").by(&user).expect(200).await.json();
    let expected = json!([
        { "id": "listed-1", "object": "model", "created": 0, "owned_by": "unknown" },
        { "id": "listed-2", "object": "model", "created": 7, "owned_by": "them" },
    ]);
    assert_eq!(list["data"], expected);
    // The list is kept: that the provider is gone now is not noticed.
    upstream.on("models", Script::answer(500, &[], ""));
    app.get("/v1/models").by(&user).expect(200).await;
}

async fn is_a_bad_gateway_while_the_list_cannot_be_had(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("")).await;
    let user = app.user().await;
    for (status, code) in [(500, "upstream_error"), (401, "upstream_auth_failed")] {
        upstream.on("models", Script::answer(status, &[], r#"{"error":{"message":"no"}}"#));
        let ask = app.get("/v1/models").by(&user).expect(502).code(code);
        ask.events(&["models.list.failed", "request.failed"]).await;
    }
    // Sessions and plans know of it, and of the models that cannot be listed.
    let entitlements = app.get("/v1/me/entitlements").by(&user).expect(200);
    let models = entitlements.events(&["models.list.failed"]).await.json()["data"][0].clone();
    assert_eq!(models, json!({ "key": "models", "kind": "static", "value": null }));
    upstream.on("models", Script::json(r#"{"object":"list","data":[{"id":"back"}]}"#));
    let list = app.get("/v1/models").by(&user).expect(200).await.json();
    assert_eq!(names(&list), ["back"]);
}

async fn finds_a_model_of_the_plan_by_its_name(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small,maker/large v2")).await;
    let user = app.user().await;
    let expected = json!({ "id": "small", "object": "model", "created": 0, "owned_by": "openai" });
    let found = app.get("/v1/models/small").by(&user).expect(200).await.json();
    assert_eq!(found, expected);
    let large = ["/v1/models/maker/large%20v2", "/v1/models/maker%2Flarge%20v2"];
    for path in large.into_iter().chain(["/v1/models/none", "/v1/models/SMALL"]) {
        let answer = app.get(path).by(&user).expect(404).code("model_not_found").await.json();
        assert_eq!(
            (&answer["error"]["type"], &answer["error"]["param"]),
            (&json!("invalid_request_error"), &json!("model"))
        );
    }
    app.buy(&user, "pro").await;
    for path in large {
        let found = app.get(path).by(&user).expect(200).await.json();
        assert_eq!(found["id"], "maker/large v2");
    }
    app.get("/v1/models/small").expect(401).code("unauthenticated").await;
}

async fn needs_a_session(setup: &Setup) {
    let app = setup.app().await;
    let answer = app.get("/v1/models").expect(401).code("unauthenticated").await;
    assert_eq!(answer.json()["error"]["type"], "authentication_error");
}
