//! Answers that are given again.

use anteroom_tests::upstream::{completion, sse};
use anteroom_tests::{Answer, Script, Setup, Step, TestApp, Upstream, User, on_every_store};
use serde_json::{Value, json};

use super::used;

on_every_store![
    are_marked_and_cost_nothing_on_every_surface,
    come_again_as_streams,
    are_new_when_the_caller_wants_it,
    are_off_by_default,
];

async fn house(setup: &Setup, upstream: &Upstream) -> (TestApp, User) {
    let mut set = upstream.settings("small").to_vec();
    set.push(("cache.max_bytes", "1000000"));
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    (app, user)
}

async fn ask(app: &TestApp, user: &User, path: &str, body: &Value) -> Answer {
    app.post(path)
        .by(user)
        .json(body)
        .expect(200)
        .events(&["chat.call.ended"])
        .await
}

fn marked(answer: &Answer) -> Option<String> {
    answer.header("anteroom-cache")
}

async fn are_marked_and_cost_nothing_on_every_surface(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    upstream.on("small", Script::json(&completion("Good day.")));
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let surfaces = [
        (
            "/v1/chat/completions",
            json!({ "model": "small", "temperature": 0, "messages": messages }),
        ),
        (
            "/v1/messages",
            json!({ "model": "small", "temperature": 0, "messages": messages, "max_tokens": 50 }),
        ),
        (
            "/v1/responses",
            json!({ "model": "small", "temperature": 0, "input": "hello" }),
        ),
        (
            "/v1/completions",
            json!({ "model": "small", "temperature": 0, "prompt": "good morning" }),
        ),
    ];
    for (number, (path, body)) in surfaces.iter().enumerate() {
        assert_eq!(
            marked(&ask(&app, &user, path, body).await).as_deref(),
            Some("miss"),
            "{path}"
        );
        let again = ask(&app, &user, path, body).await;
        assert_eq!(marked(&again).as_deref(), Some("hit"), "{path}");
        assert!(again.text().contains("Good day."), "{path}");
        assert_eq!(upstream.calls().len(), number + 1, "{path}");
    }
    assert_eq!(used(&app, &user).await, 8, "each is a message");
    let usage = app.get("/v1/me/usage").by(&user).expect(200).await.json();
    let one = upstream_tokens();
    assert!(
        usage.to_string().contains(&format!("\"prompt_tokens\":{}", one * 4)),
        "{usage}"
    );
}

/// What the upstream's answer says that its prompt had.
fn upstream_tokens() -> i64 {
    let answer: Value = serde_json::from_str(&completion("x")).unwrap();
    answer["usage"]["prompt_tokens"].as_i64().unwrap()
}

async fn come_again_as_streams(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    let piece = |delta: Value, reason: Value| json!({ "id": "c", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    let pieces = [
        piece(json!({ "content": "one " }), Value::Null),
        piece(json!({ "content": "two" }), Value::Null),
        piece(json!({}), json!("stop")),
    ];
    let mut steps: Vec<Step> = pieces.iter().map(|piece| sse(&piece.to_string())).collect();
    steps.extend([sse("[DONE]"), Step::End]);
    upstream.on("small", Script::stream(steps));
    let body = json!({ "model": "small", "temperature": 0, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut stream = app.post("/v1/chat/completions").by(&user).json(&body).stream().await;
        let events: Vec<String> = stream.rest().await.into_iter().map(|e| e.data).collect();
        stream.logged(&["chat.call.ended"]).await;
        seen.push(events);
    }
    assert_eq!((seen[0].len(), upstream.calls().len()), (4, 1));
    assert_eq!(seen[0], seen[1], "byte for byte");
}

async fn are_new_when_the_caller_wants_it(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    upstream.on("small", Script::json(&completion("Good day.")));
    let body = json!({ "model": "small", "temperature": 0, "messages": [{ "role": "user", "content": "hi" }] });
    let mut words = Vec::new();
    for control in ["", "no-store", "no-cache", "max-age=60"] {
        let ask = app
            .post("/v1/chat/completions")
            .by(&user)
            .header("cache-control", control)
            .json(&body);
        let answer = ask.expect(200).events(&["chat.call.ended"]).await;
        words.push(marked(&answer));
    }
    let word = |word: &str| Some(word.to_owned());
    assert_eq!(words, [word("miss"), None, word("miss"), word("hit")]);
    assert_eq!(upstream.calls().len(), 3);
}

async fn are_off_by_default(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small")).await;
    let user = app.user().await;
    upstream.on("small", Script::json(&completion("Good day.")));
    let body = json!({ "model": "small", "temperature": 0, "messages": [{ "role": "user", "content": "hi" }] });
    for calls in 1..3 {
        let answer = ask(&app, &user, "/v1/chat/completions", &body).await;
        assert_eq!((marked(&answer), upstream.calls().len()), (None, calls));
    }
}
