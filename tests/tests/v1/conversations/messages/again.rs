//! `/v1/conversations/{id}/messages/{message}/regenerate` and `/edit`

use std::sync::Arc;

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Ask, Script, Setup, Step, TestApp, Upstream, User, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{create, path, said, say, say_streamed, shown};

on_every_store![
    answers_the_last_question_anew,
    keeps_the_old_answer_until_there_is_a_new_one,
    answers_what_is_said_instead,
    changes_nothing_when_it_is_refused,
    is_for_the_right_messages,
    comes_one_at_a_time,
];

fn answer(text: &str) -> Script {
    Script::data(&[&chunk(text), "[DONE]"])
}

async fn messages(app: &TestApp, user: &User, conversation: &Value) -> Vec<Value> {
    let list = app.get(&format!("{}/messages?limit=100", path(conversation))).by(user);
    list.await.is(200).json()["data"].as_array().unwrap().clone()
}

fn again(app: &TestApp, user: &User, message: &Value) -> Ask {
    let path = format!(
        "/v1/conversations/{}/messages/{}/regenerate",
        message["conversation_id"].as_str().unwrap(),
        message["id"].as_str().unwrap()
    );
    app.post(&path).by(user)
}

fn edit(app: &TestApp, user: &User, message: &Value, content: &str) -> Ask {
    let path = format!(
        "/v1/conversations/{}/messages/{}/edit",
        message["conversation_id"].as_str().unwrap(),
        message["id"].as_str().unwrap()
    );
    app.post(&path).by(user).json(&json!({ "content": content }))
}

/// A conversation of two questions and two answers.
async fn talked(app: &TestApp, user: &User, upstream: &Upstream) -> (Value, Vec<Value>) {
    let conversation = create(app, user, json!({})).await;
    for number in ["one", "two"] {
        upstream.on("m", answer(&format!("answer to {number}")));
        say(app, user, &conversation, number).await.is(201);
    }
    let messages = messages(app, user, &conversation).await;
    (conversation, messages)
}

async fn answers_the_last_question_anew(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let (conversation, before) = talked(&app, &user, &upstream).await;
    upstream.on("m", answer("a better one"));
    let new = again(&app, &user, &before[3])
        .header("idempotency-key", "once")
        .expect(201)
        .events(&["chat.call.ended"])
        .await;
    // The model is not shown the answer that is to be replaced.
    assert_eq!(shown(&upstream), ["user: one", "assistant: answer to one", "user: two"]);
    let new = new.json();
    assert_eq!(
        (&new["content"], &new["status"], &new["context"]),
        (
            &json!("a better one"),
            &json!("complete"),
            &json!({ "messages": 3, "left_out": 0 })
        )
    );
    assert_ne!(new["id"], before[3]["id"]);
    let after = messages(&app, &user, &conversation).await;
    assert_eq!((&after[..3], after.len()), (&before[..3], 4));
    assert_eq!((&after[3]["id"], &after[3]["content"]), (&new["id"], &new["content"]));
    // A repeat of the same request is the same answer, though the message that it names is gone.
    let repeat = again(&app, &user, &before[3])
        .header("idempotency-key", "once")
        .await
        .is(201);
    assert_eq!(
        (repeat.header("idempotency-replayed").as_deref(), repeat.json()),
        (Some("true"), new)
    );
    assert_eq!(upstream.calls().len(), 3);
    // Streamed.
    upstream.on("m", answer("a third"));
    let ask = again(&app, &user, &after[3]).json(&json!({ "stream": true }));
    let events = ask.stream().await.rest().await;
    let names: Vec<&str> = events.iter().map(|e| e.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["message.started", "message.delta", "message.completed"]);
    let after = said(&app, &user, &conversation).await;
    assert_eq!(
        (after.len(), &after[3]),
        (4, &json!(["assistant", "a third", "complete"]))
    );
}

async fn keeps_the_old_answer_until_there_is_a_new_one(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let (conversation, before) = talked(&app, &user, &upstream).await;
    // Nothing comes: what was there stays.
    upstream.on("m", Script::answer(500, &[], ""));
    again(&app, &user, &before[3])
        .expect(502)
        .code("upstream_error")
        .events(&["chat.call.failed", "chat.call.ended", "request.failed"])
        .await;
    assert_eq!(messages(&app, &user, &conversation).await, before);
    // While the new one is written the old one is still there.
    let gate = Arc::new(Semaphore::new(0));
    let steps = vec![sse(&chunk("half")), Step::Gate(Arc::clone(&gate)), Step::Cut];
    upstream.on("m", Script::stream(steps));
    let ask = again(&app, &user, &before[3]).json(&json!({ "stream": true }));
    let mut stream = ask.stream().await;
    stream.next().await.unwrap();
    let meanwhile = said(&app, &user, &conversation).await;
    assert_eq!(meanwhile[3], json!(["assistant", "answer to two", "complete"]));
    assert_eq!(meanwhile[4], json!(["assistant", "", "in_progress"]));
    // Half of one is one.
    gate.add_permits(1);
    stream.rest().await;
    let after = said(&app, &user, &conversation).await;
    assert_eq!((after.len(), &after[3]), (4, &json!(["assistant", "half", "partial"])));
}

async fn answers_what_is_said_instead(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let (conversation, before) = talked(&app, &user, &upstream).await;
    upstream.on("m", answer("answer to three"));
    let new = edit(&app, &user, &before[0], "three")
        .expect(201)
        .events(&["chat.call.ended"])
        .await
        .json();
    assert_eq!(shown(&upstream), ["user: three"]);
    assert_eq!(new["context"], json!({ "messages": 1, "left_out": 0 }));
    let after = messages(&app, &user, &conversation).await;
    assert_eq!(
        (after.len(), &after[0]["id"], &after[0]["content"]),
        (2, &before[0]["id"], &json!("three"))
    );
    assert_eq!(
        (&after[1]["id"], &after[1]["content"]),
        (&new["id"], &json!("answer to three"))
    );
    // Of a later one, what was before it stays; streamed.
    upstream.on("m", answer("more"));
    say(&app, &user, &conversation, "and").await.is(201);
    let last = messages(&app, &user, &conversation).await.remove(2);
    let ask = edit(&app, &user, &last, "or").json(&json!({ "content": "or", "stream": true }));
    let events = ask.stream().await.rest().await;
    assert_eq!(events.last().unwrap().name.as_deref(), Some("message.completed"));
    assert_eq!(
        shown(&upstream),
        ["user: three", "assistant: answer to three", "user: or"]
    );
    let contents: Vec<Value> = messages(&app, &user, &conversation)
        .await
        .iter()
        .map(|m| m["content"].clone())
        .collect();
    assert_eq!(contents, ["three", "answer to three", "or", "more"]);
}

async fn changes_nothing_when_it_is_refused(setup: &Setup) {
    let plans = r#"[{ key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 2, window = "day" }] }]"#;
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("billing.plans", plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let (conversation, before) = talked(&app, &user, &upstream).await;
    for ask in [again(&app, &user, &before[3]), edit(&app, &user, &before[0], "three")] {
        ask.expect(402).code("quota_exceeded").events(&["quota.denied"]).await;
    }
    for content in ["", " ", "nul \u{0}"] {
        edit(&app, &user, &before[0], content)
            .expect(422)
            .errors(&[("/content", "invalid_content")])
            .await;
    }
    assert_eq!(messages(&app, &user, &conversation).await, before);
    assert_eq!(upstream.calls().len(), 2);
}

async fn is_for_the_right_messages(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let (user, eve) = (app.user().await, app.user().await);
    let (conversation, before) = talked(&app, &user, &upstream).await;
    again(&app, &user, &before[1])
        .expect(409)
        .code("not_the_last_answer")
        .await;
    let other = create(&app, &user, json!({})).await;
    let elsewhere = |m: &Value| json!({ "conversation_id": other["id"], "id": m["id"] });
    let unknown = json!({ "conversation_id": conversation["id"], "id": other["id"] });
    for (who, answer, question) in [
        (&eve, &before[3], &before[2]),
        (&user, &before[2], &before[3]),
        (&user, &elsewhere(&before[3]), &elsewhere(&before[2])),
        (&user, &unknown, &unknown),
    ] {
        again(&app, who, answer).expect(404).code("not_found").await;
        edit(&app, who, question, "x").expect(404).code("not_found").await;
    }
    again(&app, &user, &before[3])
        .json(&json!({ "streamed": true }))
        .expect(422)
        .errors(&[("/streamed", "unknown_field")])
        .await;
    assert_eq!(messages(&app, &user, &conversation).await, before);
}

async fn comes_one_at_a_time(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let (conversation, before) = talked(&app, &user, &upstream).await;
    upstream.on("m", Script::stream(vec![sse(&chunk("so far")), Step::Hang]));
    let mut stream = say_streamed(&app, &user, &conversation, "three").stream().await;
    stream.next().await.unwrap();
    for ask in [again(&app, &user, &before[3]), edit(&app, &user, &before[0], "x")] {
        ask.expect(409).code("conversation_busy").await;
    }
    app.post(&format!("{}/stop", path(&conversation)))
        .by(&user)
        .await
        .is(200);
    // Of many at once as many are answered as the conversation is free for, and whatever their order it stays a
    // conversation: a question, and an answer to it.
    upstream.on("m", answer("fine"));
    let last = messages(&app, &user, &conversation).await.pop().unwrap();
    let tries = (0..16).map(|n| match n % 2 {
        0 => again(&app, &user, &last).into_future(),
        _ => edit(&app, &user, &before[2], &format!("edit {n}")).into_future(),
    });
    for answer in join_all(tries).await {
        let told = answer.told();
        let told = (told.0, told.1.as_str());
        let known = [
            (409, "conversation_busy"),
            (409, "not_the_last_answer"),
            (404, "not_found"),
        ];
        assert!(told.0 == 201 || known.contains(&told), "{told:?}");
    }
    let after = said(&app, &user, &conversation).await;
    let roles: Vec<&str> = after.iter().map(|m| m[0].as_str().unwrap()).collect();
    assert!(roles.chunks(2).all(|pair| pair == ["user", "assistant"]), "{after:?}");
    assert!(after.iter().all(|m| m[2] == "complete"), "{after:?}");
}
