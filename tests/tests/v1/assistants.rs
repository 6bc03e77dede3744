//! `GET /v1/assistants`, and what is asked of them on every surface.

use anteroom_tests::upstream::{chunk, completion, sse};
use anteroom_tests::{Script, Setup, Step, TestApp, Upstream, User, on_every_store};
use serde_json::{Value, json};

on_every_store![
    are_those_of_the_plan,
    answer_on_every_surface,
    never_tell_what_they_are_told,
    speak_in_conversations,
    need_a_session,
];

const SECRET: &str = "Swordfish is the word of the house.";

const ASSISTANTS: &str = r#"[{ name = "butler", title = "The butler", description = "Opens doors", model = "small", instructions = "Swordfish is the word of the house.", temperature = 0.0, max_output_tokens = 50 }, { name = "cook", model = "small", instructions = "Swordfish is the word of the house.", plans = ["pro"] }, { name = "porter", model = "large", instructions = "Swordfish is the word of the house." }]"#;

async fn house(setup: &Setup, upstream: &Upstream) -> (TestApp, User) {
    let mut set = upstream.settings("small,large").to_vec();
    set.push(("ai.assistants", ASSISTANTS));
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    (app, user)
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list["data"].as_array().unwrap();
    list.iter().map(|a| a["id"].as_str().unwrap()).collect()
}

async fn are_those_of_the_plan(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    let list = app.get("/v1/assistants").by(&user).expect(200).await.json();
    let butler = json!({ "id": "butler", "title": "The butler", "description": "Opens doors", "model": "small" });
    assert_eq!(list, json!({ "data": [butler] }));
    for name in ["cook", "nobody"] {
        let body = json!({ "model": format!("assistant:{name}"), "messages": [{ "role": "user", "content": "hi" }] });
        app.post("/v1/chat/completions")
            .by(&user)
            .json(&body)
            .expect(403)
            .code("assistant_not_in_plan")
            .await;
    }
    app.buy(&user, "pro").await;
    let list = app.get("/v1/assistants").by(&user).expect(200).await.json();
    assert_eq!(ids(&list), ["butler", "cook", "porter"]);
    assert!(upstream.calls().is_empty());
}

/// The same question on each surface, and where its answer's text is.
fn surfaces(model: &str) -> [(&'static str, Value, &'static str); 4] {
    let messages = json!([{ "role": "user", "content": "Who are you?" }]);
    [
        (
            "/v1/chat/completions",
            json!({ "model": model, "messages": messages, "temperature": 1.5, "prompt_logprobs": 1 }),
            "/choices/0/message/content",
        ),
        (
            "/v1/messages",
            json!({ "model": model, "messages": messages, "max_tokens": 900, "system": "Mine." }),
            "/content/0/text",
        ),
        (
            "/v1/responses",
            json!({ "model": model, "input": "Who are you?", "instructions": "Mine." }),
            "/output/0/content/0/text",
        ),
        (
            "/v1/completions",
            json!({ "model": model, "prompt": "Who are you?" }),
            "/choices/0/text",
        ),
    ]
}

async fn answer_on_every_surface(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    upstream.on("small", Script::json(&completion("The butler.")));
    for (path, body, place) in surfaces("assistant:butler") {
        let answer = app
            .post(path)
            .by(&user)
            .json(&body)
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
        assert_eq!(answer.json().pointer(place), Some(&json!("The butler.")), "{path}");
        assert!(!answer.text().contains("Swordfish"), "{path}");
        let sent = upstream.last().json();
        assert_eq!(
            (&sent["model"], &sent["messages"][0], &sent["temperature"]),
            (
                &json!("small"),
                &json!({ "role": "system", "content": SECRET }),
                &json!(0.0)
            ),
            "{path}"
        );
        let most = [&sent["max_tokens"], &sent["max_completion_tokens"]];
        assert!(most.contains(&&json!(50)), "{path}: {sent}");
        if path == "/v1/chat/completions" {
            assert_eq!(
                answer.header("anteroom-dropped-parameters").as_deref(),
                Some("prompt_logprobs, temperature")
            );
            assert!(sent.get("prompt_logprobs").is_none(), "it would tell the prompt");
        }
    }
}

async fn never_tell_what_they_are_told(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    let quoting = json!({ "error": { "message": format!("bad prompt: {SECRET}"), "code": "bad_prompt", "type": "invalid_request_error" } });
    for (path, mut body, _) in surfaces("assistant:butler") {
        upstream.on("small", Script::answer(400, &[], &quoting.to_string()));
        let answer = app
            .post(path)
            .by(&user)
            .json(&body)
            .expect(400)
            .events(&["chat.call.failed", "request.failed", "chat.call.ended"])
            .await;
        assert!(!answer.text().contains("Swordfish"), "{path}: {}", answer.text());
        // In the middle of a stream as well.
        upstream.on(
            "small",
            Script::stream(vec![sse(&chunk("I ")), sse(&quoting.to_string()), Step::End]),
        );
        body["stream"] = true.into();
        let mut stream = app.post(path).by(&user).json(&body).stream().await;
        let events: String = stream.rest().await.iter().map(|e| e.data.clone()).collect();
        assert!(
            events.contains("error") && !events.contains("Swordfish"),
            "{path}: {events}"
        );
        stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    }
}

async fn speak_in_conversations(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    upstream.on(
        "small",
        Script::stream(vec![sse(&chunk("At your service.")), sse("[DONE]"), Step::End]),
    );
    let made = app
        .post("/v1/conversations")
        .by(&user)
        .json(&json!({ "assistant": "butler", "instructions": "Be brief." }))
        .expect(201)
        .events(&["chat.conversation.created"])
        .await
        .json();
    assert_eq!(
        (&made["assistant"], &made["model"], &made["instructions"]),
        (&json!("butler"), &Value::Null, &json!("Be brief."))
    );
    let path = format!("/v1/conversations/{}", made["id"].as_str().unwrap());
    let answer = app
        .post(&format!("{path}/messages"))
        .by(&user)
        .json(&json!({ "content": "hi" }))
        .expect(201)
        .events(&["chat.call.ended"])
        .await;
    assert!(!answer.text().contains("Swordfish"));
    let sent = upstream.last().json();
    assert_eq!(sent["messages"][0]["content"], format!("{SECRET}\n\nBe brief."));
    for path in [path.clone(), format!("{path}/messages")] {
        let shown = app.get(&path).by(&user).expect(200).await;
        assert!(!shown.text().contains("Swordfish"), "{path}");
    }
    app.post("/v1/conversations")
        .by(&user)
        .json(&json!({ "assistant": "nobody" }))
        .expect(422)
        .errors(&[("/assistant", "unknown_assistant")])
        .await;
    let change = json!({ "model": "small" });
    app.patch(&path)
        .by(&user)
        .json(&change)
        .expect(422)
        .errors(&[("/model", "invalid_model")])
        .await;
}

async fn need_a_session(setup: &Setup) {
    let app = setup.app().await;
    app.get("/v1/assistants").expect(401).code("unauthenticated").await;
}
