//! What goes to models and comes from them is looked at, and a refusal is an answer on every surface.

use anteroom_tests::scenario::recorded;
use anteroom_tests::upstream::{chunk, completion, sse, usage_chunk};
use anteroom_tests::{Ask, Script, Setup, Step, TestApp, Upstream, User, logs, on_every_store};
use serde_json::{Value, json};

use super::used;

on_every_store![
    a_refused_question_is_an_answer_on_every_surface,
    a_refused_answer_is_one_too,
    a_stream_ends_before_the_last_part_is_sent,
    a_flag_is_only_recorded,
    is_refused_in_conversations,
    is_asked_of_a_server_and_closed_while_that_is_away,
];

const RULES: &str = r#"[{ name = "fish", words = ["swordfish", "red herring"] }, { name = "cards", pattern = '\b\d{4}-\d{4}\b', action = "flag" }]"#;

async fn house(setup: &Setup, upstream: &Upstream) -> (TestApp, User) {
    let mut set = upstream.settings("small").to_vec();
    set.extend([
        ("moderation.adapter", "rules"),
        ("moderation.rules", RULES),
        ("moderation.refusal", "Not here."),
    ]);
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    (app, user)
}

fn question(said: &str, stream: bool) -> Value {
    json!({ "model": "small", "stream": stream, "messages": [{ "role": "user", "content": said }] })
}

fn ask(app: &TestApp, user: &User, body: &Value) -> Ask {
    app.post("/v1/chat/completions").by(user).json(body)
}

/// The same question on each surface, with what its answer says and why it ended.
fn surfaces(said: &str) -> [(&'static str, Value, &'static str, &'static str, &'static str); 4] {
    let messages = json!([{ "role": "user", "content": said }]);
    [
        (
            "/v1/chat/completions",
            json!({ "model": "small", "messages": messages }),
            "/choices/0/message/content",
            "/choices/0/finish_reason",
            "content_filter",
        ),
        (
            "/v1/messages",
            json!({ "model": "small", "messages": messages, "max_tokens": 50 }),
            "/content/0/text",
            "/stop_reason",
            "refusal",
        ),
        (
            "/v1/responses",
            json!({ "model": "small", "input": said }),
            "/output/0/content/0/text",
            "/incomplete_details/reason",
            "content_filter",
        ),
        (
            "/v1/completions",
            json!({ "model": "small", "prompt": said }),
            "/choices/0/text",
            "/choices/0/finish_reason",
            "content_filter",
        ),
    ]
}

async fn a_refused_question_is_an_answer_on_every_surface(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    for (path, mut body, text, reason, word) in surfaces("the SwordFish, please") {
        let answer = app
            .post(path)
            .by(&user)
            .json(&body)
            .expect(200)
            .events(&["chat.moderation.refused"])
            .audit(&["chat.moderation.refused succeeded"])
            .await;
        let said = answer.json();
        assert_eq!(
            (said.pointer(text), said.pointer(reason)),
            (Some(&json!("Not here.")), Some(&json!(word))),
            "{path}: {said}"
        );
        body["stream"] = true.into();
        let mut stream = app.post(path).by(&user).json(&body).stream().await;
        let events: String = stream.rest().await.iter().map(|e| e.data.clone()).collect();
        assert!(
            events.contains("Not here.") && events.contains(word),
            "{path}: {events}"
        );
        assert!(!events.contains("error\":{"), "{path}: {events}");
        stream.logged(&["chat.moderation.refused"]).await;
    }
    assert!(upstream.calls().is_empty());
    assert_eq!(used(&app, &user).await, 0);
    let usage = app.get("/v1/me/usage").by(&user).expect(200).await.text();
    assert!(usage.contains("\"calls\":8"), "each has its row: {usage}");
    assert!(!logs::mention("SwordFish"), "never the text");
}

async fn a_refused_answer_is_one_too(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    upstream.on("small", Script::json(&completion("It was a red\n herring.")));
    for (path, body, text, reason, word) in surfaces("hi") {
        let answer = app
            .post(path)
            .by(&user)
            .json(&body)
            .expect(200)
            .events(&["chat.moderation.refused", "chat.call.ended"])
            .audit(&["chat.moderation.refused succeeded"])
            .await;
        let said = answer.json();
        assert_eq!(
            (said.pointer(text), said.pointer(reason)),
            (Some(&json!("Not here.")), Some(&json!(word))),
            "{path}: {said}"
        );
        assert!(!answer.text().contains("herring"), "{path}");
    }
    assert_eq!(used(&app, &user).await, 4, "the model was asked");
}

async fn a_stream_ends_before_the_last_part_is_sent(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    let parts = ["All is well. ", "A sw", "ord", "fi", "sh swims"];
    let mut steps: Vec<Step> = parts.iter().map(|part| sse(&chunk(part))).collect();
    steps.push(Step::Hang);
    upstream.on("small", Script::stream(steps));
    let mut body = question("hi", true);
    body["stream_options"] = json!({ "include_usage": true });
    let mut stream = ask(&app, &user, &body).stream().await;
    let events = stream.rest().await;
    let (last, events) = events.split_last().unwrap();
    assert_eq!(last.data, "[DONE]");
    let chunks: Vec<Value> = events.iter().map(anteroom_tests::Sse::json).collect();
    let text: String = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "All is well. ");
    let [.., end, usage] = chunks.as_slice() else {
        panic!("{chunks:?}")
    };
    assert_eq!(end["choices"][0]["finish_reason"], "content_filter");
    assert!(usage["usage"]["completion_tokens"].as_i64() > Some(0), "{usage}");
    assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"]), "one answer");
    stream.logged(&["chat.moderation.refused", "chat.call.ended"]).await;
    upstream.hung_up().await;
    assert_eq!(used(&app, &user).await, 1);

    // What is harmless comes as it came, byte for byte.
    let steps = vec![
        sse(&chunk("a swor")),
        sse(&chunk("d and a fish")),
        sse(&usage_chunk(3, 4)),
        sse("[DONE]"),
        Step::End,
    ];
    upstream.on("small", Script::stream(steps));
    let mut stream = ask(&app, &user, &question("hi", true)).stream().await;
    let events = stream.rest().await;
    let data: Vec<&str> = events.iter().map(|e| e.data.as_str()).collect();
    assert_eq!(
        data,
        [chunk("a swor").as_str(), chunk("d and a fish").as_str(), "[DONE]"]
    );
    stream.logged(&["chat.call.ended"]).await;
}

async fn a_flag_is_only_recorded(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    let admin = app.admin().await;
    upstream.on("small", Script::json(&completion("Thanks.")));
    let answer = ask(&app, &user, &question("my card is 1234-5678", false))
        .expect(200)
        .events(&["chat.moderation.flagged", "chat.call.ended"])
        .audit(&["chat.moderation.flagged succeeded"])
        .await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Thanks.");
    let rows = app
        .get("/v1/admin/audit?act=chat.moderation")
        .by(&admin)
        .expect(200)
        .await;
    let row = rows.json()["data"][0].clone();
    assert_eq!(
        (
            &row["details"]["rule"],
            &row["details"]["direction"],
            &row["details"]["moderator"]
        ),
        (&json!("cards"), &json!("input"), &json!("rules"))
    );
    assert_eq!(row["subject_id"], json!(user.id));
    assert!(
        row["details"]["call_id"].is_string() && !rows.text().contains("1234"),
        "{row}"
    );
    assert_eq!(
        recorded(&app, &answer.request_id()).await,
        ["chat.moderation.flagged succeeded"]
    );
}

async fn is_refused_in_conversations(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (app, user) = house(setup, &upstream).await;
    let made = app.post("/v1/conversations").by(&user).json(&json!({})).expect(201);
    let made = made.events(&["chat.conversation.created"]).await.json();
    let path = format!("/v1/conversations/{}/messages", made["id"].as_str().unwrap());
    let answer = app
        .post(&path)
        .by(&user)
        .json(&json!({ "content": "swordfish" }))
        .expect(201)
        .events(&["chat.moderation.refused"])
        .audit(&["chat.moderation.refused succeeded"])
        .await
        .json();
    assert_eq!(
        (&answer["content"], &answer["status"], &answer["finish_reason"]),
        (&json!("Not here."), &json!("complete"), &json!("content_filter"))
    );
    let ask = app
        .post(&path)
        .by(&user)
        .json(&json!({ "content": "swordfish", "stream": true }));
    let mut stream = ask.stream().await;
    let names: Vec<String> = stream.rest().await.into_iter().filter_map(|e| e.name).collect();
    assert_eq!(names, ["message.started", "message.delta", "message.completed"]);
    assert!(upstream.calls().is_empty());

    upstream.on(
        "small",
        Script::stream(vec![sse(&chunk("Good day.")), sse("[DONE]"), Step::End]),
    );
    let ask = app
        .post(&path)
        .by(&user)
        .json(&json!({ "content": "hello" }))
        .expect(201);
    let answer = ask.events(&["chat.call.ended"]).await.json();
    assert_eq!(
        (&answer["content"], &answer["finish_reason"]),
        (&json!("Good day."), &Value::Null)
    );
    let sent = upstream.last().json();
    assert_eq!(sent["messages"], json!([{ "role": "user", "content": "hello" }]));
}

async fn is_asked_of_a_server_and_closed_while_that_is_away(setup: &Setup) {
    let (upstream, judge) = (Upstream::start().await, Upstream::start().await);
    let url = judge.url.clone();
    let mut set = upstream.settings("small").to_vec();
    set.extend([
        ("moderation.adapter", "openai"),
        ("moderation.openai_base_url", url.as_str()),
        ("moderation.openai_api_key", "key-of-the-judge-0123456789"),
        ("moderation.openai_where", "input"),
        (
            "moderation.openai_thresholds",
            r#"[{ category = "violence", score = 0.5 }]"#,
        ),
    ]);
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    upstream.on("small", Script::json(&completion("Good day.")));
    let verdict = |score: f64| json!({ "results": [{ "flagged": false, "categories": { "violence": false }, "category_scores": { "violence": score } }] });
    judge.on("omni-moderation-latest", Script::json(&verdict(0.1).to_string()));
    let ask_one = |status| ask(&app, &user, &question("hi", false)).expect(status);
    ask_one(200).events(&["chat.call.ended"]).await;
    let call = judge.last();
    assert_eq!(
        (
            call.path.as_str(),
            &call.json()["input"],
            call.headers["authorization"].as_str()
        ),
        ("/v1/moderations", &json!(["hi"]), "Bearer key-of-the-judge-0123456789")
    );
    judge.on("omni-moderation-latest", Script::json(&verdict(0.9).to_string()));
    let refused = ask_one(200).events(&["chat.moderation.refused"]);
    let refused = refused.audit(&["chat.moderation.refused succeeded"]).await;
    assert_eq!(refused.json()["choices"][0]["finish_reason"], "content_filter");
    judge.on(
        "omni-moderation-latest",
        Script::answer(500, &[], "key-of-the-judge-0123456789 hi"),
    );
    let closed = ask_one(503)
        .code("moderation_unavailable")
        .events(&["chat.moderation.failed"])
        .await;
    assert!(closed.header("retry-after").is_some());
    assert_eq!(upstream.calls().len(), 1);
}
