//! `POST /v1/embeddings`

use anteroom_tests::upstream::KEY;
use anteroom_tests::{Ask, Script, Setup, Step, TestApp, Upstream, User, eventually, logs, on_every_store};
use serde_json::{Value, json};

on_every_store![
    turns_texts_into_vectors_without_a_provider,
    hands_everything_on_byte_for_byte,
    keeps_models_to_their_plans_and_counts_each_request,
    refuses_what_cannot_be_relayed,
    gives_back_what_a_failed_call_held,
    hangs_up_when_the_caller_leaves,
    needs_a_session,
];

fn ask(app: &TestApp, user: &User, body: &Value) -> Ask {
    app.post("/v1/embeddings").by(user).json(body)
}

async fn used(app: &TestApp, user: &User) -> i64 {
    let list = app.get("/v1/me/entitlements").by(user).await.is(200).json();
    let messages = list["data"].as_array().unwrap().iter().find(|e| e["key"] == "messages");
    messages.unwrap()["used"].as_i64().unwrap()
}

async fn turns_texts_into_vectors_without_a_provider(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let mut body = json!({ "model": "echo", "input": ["a red house", "a red door"], "dimensions": 8, "x": 1 });
    let answer = ask(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
    assert_eq!(answer.header("anteroom-dropped-parameters").as_deref(), Some("x"));
    let numbers = answer.json();
    assert_eq!(numbers["usage"], json!({ "prompt_tokens": 6, "total_tokens": 6 }));
    let first: Vec<f64> = serde_json::from_value(numbers["data"][0]["embedding"].clone()).unwrap();
    assert_eq!((first.len(), numbers["data"].as_array().unwrap().len()), (8, 2));
    body["encoding_format"] = json!("base64");
    let answer = ask(&app, &user, &body)
        .expect(200)
        .events(&["chat.call.ended"])
        .await
        .json();
    // Eight floats of four bytes.
    assert_eq!(answer["data"][1]["embedding"].as_str().unwrap().len(), 44);
    assert_eq!(used(&app, &user).await, 2);
}

async fn hands_everything_on_byte_for_byte(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let answer = "{ \"data\" : [ {\"embedding\":[1.50, 1e-7],\"x\":1} ],\r\n \"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}, \"x\":1 }";
    upstream.on("m", Script::json(answer));
    let body = "{\"input\":[\"h\\u0069\"],\"x_custom\":{\"k\" : 1.0},\"model\":\"m\",\"dimensions\":1e2}";
    let relayed = app
        .post("/v1/embeddings")
        .by(&user)
        .header("content-type", "application/json")
        .body(body)
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(relayed.text(), answer);
    assert_eq!(relayed.header("anteroom-dropped-parameters"), None);
    let call = upstream.last();
    assert_eq!(String::from_utf8(call.body.clone()).unwrap(), body);
    assert_eq!(
        (call.path.as_str(), call.headers["authorization"].as_str()),
        ("/v1/embeddings", &*format!("Bearer {KEY}"))
    );
    assert!(!format!("{:?}", call.headers).contains(&user.access_token));
}

async fn keeps_models_to_their_plans_and_counts_each_request(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = r#"[{ key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 2, window = "day" }] }]"#;
    let mut settings = upstream.settings("small,large").to_vec();
    settings.push(("billing.plans", plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let answer = ask(&app, &user, &json!({ "model": "large", "input": "x" }))
        .expect(403)
        .code("model_not_in_plan")
        .await
        .json();
    assert_eq!(answer["error"]["param"], "model");
    for _ in 0..2 {
        ask(&app, &user, &json!({ "model": "small", "input": "x" }))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    ask(&app, &user, &json!({ "model": "small", "input": "x" }))
        .expect(402)
        .code("quota_exceeded")
        .events(&["quota.denied"])
        .await;
    assert_eq!((upstream.calls().len(), used(&app, &user).await), (2, 2));
}

async fn refuses_what_cannot_be_relayed(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    for (body, param) in [
        (json!({ "input": "x" }), json!("model")),
        (json!({ "model": "m" }), json!("input")),
        (json!({ "model": "m", "input": [] }), json!("input")),
        (json!({ "model": "m", "input": { "text": "x" } }), json!("input")),
        (json!({ "model": "m", "input": vec!["x"; 2049] }), json!("input")),
        (json!([]), Value::Null),
    ] {
        let answer = ask(&app, &user, &body).expect(400).code("invalid_request").await.json();
        assert_eq!(answer["error"]["param"], param, "{answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    assert_eq!((upstream.calls().len(), used(&app, &user).await), (0, 0));
}

async fn gives_back_what_a_failed_call_held(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let body = json!({ "model": "m", "input": "x" });
    let failed = ["chat.call.failed", "chat.call.ended", "request.failed"];
    for (theirs, ours, code) in [
        (500, 502, "upstream_error"),
        (401, 502, "upstream_auth_failed"),
        (429, 429, "upstream_rate_limited"),
    ] {
        upstream.on(
            "m",
            Script::answer(theirs, &[], &format!("{{\"error\":{{\"message\":\"no {KEY}\"}}}}")),
        );
        let answer = ask(&app, &user, &body).expect(ours).code(code).events(&failed).await;
        assert!(!answer.text().contains(KEY));
    }
    assert_eq!(used(&app, &user).await, 0);
    // It may have made some all the same.
    upstream.on("m", Script::json("{\"no\":\"vectors\"}"));
    ask(&app, &user, &body)
        .expect(502)
        .code("upstream_error")
        .events(&failed)
        .await;
    assert_eq!(used(&app, &user).await, 1);
}

async fn hangs_up_when_the_caller_leaves(setup: &Setup) {
    let upstream = Upstream::start().await;
    let model = format!("leaves-vectors-{:?}", setup.kind());
    let app = setup.app_with(&upstream.settings(&model)).await;
    let user = app.user().await;
    upstream.on(&model, Script::new(vec![Step::Hang]));
    let asked = ask(&app, &user, &json!({ "model": model, "input": "x" }));
    let asking = tokio::spawn(asked.into_future());
    upstream.called(1).await;
    asking.abort();
    let took = upstream.hung_up().await;
    assert!(took.as_millis() < 1500, "{took:?}");
    let outcome = eventually("the call is booked", || {
        let ended = logs::about("chat.call.ended", &model);
        ended.last().map(|e| e.fields["outcome"].clone())
    });
    assert_eq!(outcome.await, "cancelled");
    assert_eq!(used(&app, &user).await, 1, "what has begun counts");
}

async fn needs_a_session(setup: &Setup) {
    let app = setup.app().await;
    let ask = app
        .post("/v1/embeddings")
        .json(&json!({ "model": "echo", "input": "x" }));
    let answer = ask.expect(401).code("unauthenticated").await;
    assert_eq!(answer.json()["error"]["type"], "authentication_error");
}
