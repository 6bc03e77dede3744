//! `/v1/conversations/{id}/messages`

mod again;
mod endings;
mod resume;
mod stop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Answer, Ask, Script, Setup, Step, StripeSubscription, TestApp, Upstream, User, on_every_store};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{create, path};

on_every_store![
    are_answered_whole,
    are_answered_as_a_stream,
    are_said_to_be_answered_while_the_model_thinks,
    remember_recent_turns_within_the_budget,
    are_told_the_instructions_every_time,
    come_one_at_a_time,
    count_towards_the_plans_limit,
    use_models_of_the_plan_only,
    come_in_pages,
    are_some,
    are_said_once_under_an_idempotency_key,
];

fn say(app: &TestApp, user: &User, conversation: &Value, content: &str) -> Ask {
    let path = format!("{}/messages", path(conversation));
    app.post(&path).by(user).json(&json!({ "content": content }))
}

fn say_streamed(app: &TestApp, user: &User, conversation: &Value, content: &str) -> Ask {
    let path = format!("{}/messages", path(conversation));
    app.post(&path)
        .by(user)
        .json(&json!({ "content": content, "stream": true }))
}

/// What has been said, as `[role, content, status]`.
async fn said(app: &TestApp, user: &User, conversation: &Value) -> Vec<Value> {
    let list = app
        .get(&format!("{}/messages?limit=100", path(conversation)))
        .by(user)
        .await
        .is(200)
        .json();
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| json!([m["role"], m["content"], m["status"]]))
        .collect()
}

async fn are_answered_whole(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let answer = say(&app, &user, &conversation, "hello there")
        .expect(201)
        .events(&["chat.call.ended"])
        .await
        .json();
    assert_eq!(
        (&answer["role"], &answer["content"], &answer["status"]),
        (&json!("assistant"), &json!("hello there"), &json!("complete"))
    );
    assert_eq!(
        (&answer["conversation_id"], &answer["model"]),
        (&conversation["id"], &json!("echo"))
    );
    assert_eq!(
        answer["usage"],
        json!({ "prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4 })
    );
    let mut stored = answer.clone();
    let context = stored.as_object_mut().unwrap().remove("context");
    assert_eq!(context, Some(json!({ "messages": 1, "left_out": 0 })));
    let list = app
        .get(&format!("{}/messages", path(&conversation)))
        .by(&user)
        .expect(200)
        .await
        .json();
    let question = &list["data"][0];
    assert_eq!(
        (&question["role"], &question["content"], &question["status"]),
        (&json!("user"), &json!("hello there"), &json!("complete"))
    );
    assert_eq!((&question["model"], &question["usage"]), (&Value::Null, &Value::Null));
    assert_eq!(list["data"][1], stored);
    let later = app.get(&path(&conversation)).by(&user).await.json();
    assert!(
        later["updated_at"].as_str() > conversation["updated_at"].as_str(),
        "it was spoken in"
    );
}

async fn are_answered_as_a_stream(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let mut stream = say_streamed(&app, &user, &conversation, "one two three").stream().await;
    let events = stream.rest().await;
    let names: Vec<&str> = events.iter().map(|e| e.name.as_deref().unwrap()).collect();
    let (first, last) = (events[0].json(), events.last().unwrap().json());
    assert_eq!(
        (names[0], *names.last().unwrap()),
        ("message.started", "message.completed")
    );
    let started = &first["message"];
    assert_eq!(
        (&started["status"], &started["content"]),
        (&json!("in_progress"), &json!(""))
    );
    let deltas: Vec<Value> = events[1..events.len() - 1]
        .iter()
        .map(anteroom_tests::Sse::json)
        .collect();
    assert!(
        names[1..names.len() - 1].iter().all(|name| *name == "message.delta"),
        "{names:?}"
    );
    assert!(deltas.iter().all(|d| d["message_id"] == started["id"]), "{deltas:?}");
    let text: String = deltas.iter().map(|d| d["text"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), deltas.len()), ("one two three", 3));
    let completed = &last["message"];
    assert_eq!(
        (&completed["id"], &completed["content"], &completed["status"]),
        (&started["id"], &json!("one two three"), &json!("complete"))
    );
    // It was stored before that was said.
    let list = app
        .get(&format!("{}/messages", path(&conversation)))
        .by(&user)
        .await
        .json();
    assert_eq!(&list["data"][1], completed);
    stream.logged(&["chat.call.ended"]).await;
}

/// A proxy that waits for no longer than a model thinks must not take the connection for a dead one.
async fn are_said_to_be_answered_while_the_model_thinks(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.heartbeat_seconds", "1"));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let thought = Duration::from_millis(3500);
    upstream.on(
        "m",
        Script::stream(vec![
            Step::Pause(thought),
            sse(&chunk("Done.")),
            sse("[DONE]"),
            Step::End,
        ]),
    );
    let begun = Instant::now();
    let mut stream = say_streamed(&app, &user, &conversation, "one").stream().await;
    let started = stream.next().await.unwrap();
    assert!(begun.elapsed() < thought, "{:?}", begun.elapsed());
    assert_eq!(started.json()["message"]["status"], "in_progress");
    let rest = stream.rest().await;
    let names: Vec<&str> = rest.iter().map(|e| e.name.as_deref().unwrap()).collect();
    assert_eq!(
        (started.name.as_deref(), names),
        (Some("message.started"), vec!["message.delta", "message.completed"])
    );
    assert!(stream.heartbeats >= 1, "{}", stream.heartbeats);
    stream.logged(&["chat.call.ended"]).await;

    // What goes wrong then has no status of its own any more, and is said all the same.
    upstream.on(
        "m",
        Script::stream(vec![Step::Pause(Duration::from_secs(2)), Step::Cut]),
    );
    let mut stream = say_streamed(&app, &user, &conversation, "two").stream().await;
    let events = stream.rest().await;
    let names: Vec<&str> = events.iter().map(|e| e.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["message.started", "error"]);
    assert_eq!(events[1].json()["problem"]["code"], "upstream_unreachable");
    stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    let failed = json!(["assistant", "", "failed"]);
    assert_eq!(said(&app, &user, &conversation).await[3], failed);
}

/// The turns that the upstream was shown, as `role: content`.
fn shown(upstream: &Upstream) -> Vec<String> {
    let sent = upstream.last().json();
    let line = |m: &Value| format!("{}: {}", m["role"].as_str().unwrap(), m["content"].as_str().unwrap());
    sent["messages"].as_array().unwrap().iter().map(line).collect()
}

async fn remember_recent_turns_within_the_budget(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("chat.memory_tokens", "60"));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    upstream.on("m", Script::data(&[&chunk("pong"), "[DONE]"]));
    say(&app, &user, &conversation, "first").await.is(201);
    assert_eq!(shown(&upstream), ["user: first"]);
    say(&app, &user, &conversation, "second").await.is(201);
    assert_eq!(shown(&upstream), ["user: first", "assistant: pong", "user: second"]);
    say_streamed(&app, &user, &conversation, "third")
        .stream()
        .await
        .rest()
        .await;
    assert_eq!(
        shown(&upstream),
        [
            "user: first",
            "assistant: pong",
            "user: second",
            "assistant: pong",
            "user: third"
        ]
    );
    for number in 4..12 {
        say(&app, &user, &conversation, &format!("number {number}"))
            .await
            .is(201);
    }
    let turns = shown(&upstream);
    assert_eq!(turns.last().unwrap(), "user: number 11");
    assert!(
        turns[0].starts_with("user: number"),
        "the oldest are forgotten, a user speaks first: {turns:?}"
    );
    assert!((3..12).contains(&turns.len()), "{turns:?}");
    // What alone is larger than the budget is sent all the same.
    let long = "long ".repeat(100);
    say(&app, &user, &conversation, &long).await.is(201);
    assert_eq!(shown(&upstream), [format!("user: {long}")]);
    // Another conversation remembers nothing of this one.
    let other = create(&app, &user, json!({})).await;
    say(&app, &user, &other, "fresh").await.is(201);
    assert_eq!(shown(&upstream), ["user: fresh"]);
}

async fn are_told_the_instructions_every_time(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({ "instructions": "Speak like a pirate." })).await;
    say(&app, &user, &conversation, "hello").await.is(201);
    say(&app, &user, &conversation, "again").await.is(201);
    let expected = [
        "system: Speak like a pirate.",
        "user: hello",
        "assistant: scripted answer",
        "user: again",
    ];
    assert_eq!(shown(&upstream), expected);
    app.patch(&path(&conversation))
        .by(&user)
        .json(&json!({ "instructions": null }))
        .await
        .is(200);
    say(&app, &user, &conversation, "third").await.is(201);
    assert_eq!(shown(&upstream)[0], "user: hello");
}

async fn come_one_at_a_time(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let nodes = [setup.app_with(&settings).await, setup.app_with(&settings).await];
    let user = nodes[0].user().await;
    let conversation = create(&nodes[0], &user, json!({})).await;
    let gate = Arc::new(Semaphore::new(0));
    upstream.on(
        "m",
        Script::stream(vec![
            Step::Gate(Arc::clone(&gate)),
            sse(&chunk("done")),
            sse("[DONE]"),
            Step::End,
        ]),
    );
    let mut tries: FuturesUnordered<_> = (0..16)
        .map(|number| {
            let ask = say(&nodes[number % 2], &user, &conversation, &format!("try {number}"));
            tokio::spawn(ask.into_future())
        })
        .collect();
    upstream.called(1).await;
    let other = create(&nodes[0], &user, json!({})).await;
    // While one is answered, another conversation can be spoken in.
    let elsewhere = tokio::spawn(say(&nodes[0], &user, &other, "meanwhile").into_future());
    upstream.called(2).await;
    let refused = say_streamed(&nodes[1], &user, &conversation, "meanwhile")
        .expect(409)
        .code("conversation_busy")
        .await;
    assert!(refused.header("retry-after").is_some());
    // All but the one that is answered have been refused before the gate opens: a try that comes after the answer is
    // not one of two at a time.
    let mut answers: Vec<Answer> = Vec::new();
    while answers.len() < 15 {
        answers.push(tries.next().await.unwrap().unwrap());
    }
    gate.add_permits(2);
    elsewhere.await.unwrap().is(201);
    answers.push(tries.next().await.unwrap().unwrap());
    let told: Vec<_> = answers.iter().map(Answer::told).collect();
    assert_eq!(told.iter().filter(|t| t.0 == 201).count(), 1, "{told:?}");
    assert!(
        told.iter()
            .all(|t| t.0 == 201 || *t == (409, "conversation_busy".to_owned())),
        "{told:?}"
    );
    assert_eq!(
        said(&nodes[0], &user, &conversation).await.len(),
        2,
        "what was refused was not said"
    );
    gate.add_permits(1);
    say(&nodes[1], &user, &conversation, "now").await.is(201);
}

async fn count_towards_the_plans_limit(setup: &Setup) {
    let plans = r#"[{ key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 2, window = "day" }] }]"#;
    let app = setup.app_with(&[("billing.plans", plans)]).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    say(&app, &user, &conversation, "one").await.is(201);
    say_streamed(&app, &user, &conversation, "two")
        .stream()
        .await
        .rest()
        .await;
    for ask in [
        say(&app, &user, &conversation, "three"),
        say_streamed(&app, &user, &conversation, "three"),
    ] {
        let refused = ask
            .expect(402)
            .code("quota_exceeded")
            .events(&["quota.denied"])
            .await
            .json();
        assert_eq!((&refused["limit"], &refused["used"]), (&json!(2), &json!(2)));
        assert!(refused["resets_at"].is_string());
    }
    assert_eq!(
        said(&app, &user, &conversation).await.len(),
        4,
        "what was refused was not said"
    );
    let whole = json!({ "model": "echo", "messages": [{ "role": "user", "content": "x" }] });
    app.post("/v1/chat/completions")
        .by(&user)
        .json(&whole)
        .await
        .refused(402, "quota_exceeded");
}

async fn use_models_of_the_plan_only(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small,large")).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({ "model": "large" })).await;
    for ask in [
        say(&app, &user, &conversation, "hi"),
        say_streamed(&app, &user, &conversation, "hi"),
    ] {
        ask.expect(403).code("model_not_in_plan").await;
    }
    assert_eq!(said(&app, &user, &conversation).await.len(), 0);
    // Without a model it is the plan's first.
    app.patch(&path(&conversation))
        .by(&user)
        .json(&json!({ "model": null }))
        .await
        .is(200);
    assert_eq!(
        say(&app, &user, &conversation, "hi").await.is(201).json()["model"],
        "small"
    );
    let mut bought = StripeSubscription::new(&user, "sub_1", "active");
    app.subscription_is("evt_1", &bought).await;
    app.patch(&path(&conversation))
        .by(&user)
        .json(&json!({ "model": "large" }))
        .await
        .is(200);
    assert_eq!(
        say(&app, &user, &conversation, "hi").await.is(201).json()["model"],
        "large"
    );
    assert_eq!(upstream.last().json()["model"], "large");
    // When the plan ends, the conversation stays, and says why it is silent.
    "canceled".clone_into(&mut bought.status);
    app.subscription_is("evt_2", &bought).await;
    for ask in [
        say(&app, &user, &conversation, "hi"),
        say_streamed(&app, &user, &conversation, "hi"),
    ] {
        ask.expect(402).code("subscription_inactive").await;
    }
    app.get(&path(&conversation)).by(&user).await.is(200);
}

async fn come_in_pages(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    for number in 0..4 {
        say(&app, &user, &conversation, &format!("number {number}"))
            .await
            .is(201);
    }
    let base = format!("{}/messages?limit=3", path(&conversation));
    let mut next = base.clone();
    let mut seen = Vec::new();
    for expected in [3, 3, 2] {
        let page = app.get(&next).by(&user).expect(200).await.json();
        let data = page["data"].as_array().unwrap();
        assert_eq!(data.len(), expected);
        seen.extend(
            data.iter()
                .map(|m| format!("{}/{}", m["role"].as_str().unwrap(), m["content"].as_str().unwrap())),
        );
        next = format!("{base}&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
        assert_eq!(page.get("next_cursor").is_some(), expected == 3);
    }
    let expected: Vec<String> = (0..4)
        .flat_map(|n| [format!("user/number {n}"), format!("assistant/number {n}")])
        .collect();
    assert_eq!(seen, expected, "oldest first");
}

async fn are_some(setup: &Setup) {
    let app = setup.app_with(&[("chat.max_message_bytes", "100")]).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    for content in ["", "  \n ", "nul \u{0} inside", &"x".repeat(101)] {
        say(&app, &user, &conversation, content)
            .expect(422)
            .errors(&[("/content", "invalid_content")])
            .await;
    }
    let path = format!("{}/messages", path(&conversation));
    for (body, pointer, code) in [
        (json!({}), "/content", "required"),
        (json!({ "content": null }), "/content", "invalid_type"),
        (json!({ "content": ["a"] }), "/content", "invalid_type"),
        (json!({ "content": "a", "stream": "yes" }), "/stream", "invalid_type"),
        (json!({ "content": "a", "role": "system" }), "/role", "unknown_field"),
        (json!({ "content": "a", "model": "other" }), "/model", "unknown_field"),
    ] {
        app.post(&path)
            .by(&user)
            .json(&body)
            .expect(422)
            .errors(&[(pointer, code)])
            .await;
    }
    assert_eq!(said(&app, &user, &conversation).await.len(), 0);
    let longest = "é".repeat(50);
    let answer = say(&app, &user, &conversation, &longest).await.is(201).json();
    assert_eq!(answer["content"], longest);
}

async fn are_said_once_under_an_idempotency_key(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let first = say(&app, &user, &conversation, "hi")
        .header("idempotency-key", "once")
        .await
        .is(201);
    let again = say(&app, &user, &conversation, "hi")
        .header("idempotency-key", "once")
        .await
        .is(201);
    assert_eq!(
        (again.header("idempotency-replayed").as_deref(), &again.body),
        (Some("true"), &first.body)
    );
    say(&app, &user, &conversation, "ho")
        .header("idempotency-key", "once")
        .await
        .refused(409, "idempotency_key_reused");
    assert_eq!(
        (upstream.calls().len(), said(&app, &user, &conversation).await.len()),
        (1, 2)
    );
}
