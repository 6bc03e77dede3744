//! `/v1/conversations/{id}/stop`

use std::time::{Duration, Instant};

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Script, Setup, Step, TestApp, Upstream, User, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{create, path, said, say, say_streamed};

on_every_store![
    ends_the_answer_on_this_node,
    ends_the_answer_on_another_node,
    ends_a_whole_answer,
    ends_one_that_has_not_begun,
    is_no_error_when_nothing_runs,
    works_once_and_for_all_of_many_at_once,
    is_the_owners_only,
];

const EVENTS: [&str; 1] = ["chat.answer.stopped"];

/// Two nodes on one store whose model says something and then nothing more.
async fn nodes(setup: &Setup, upstream: &Upstream) -> [TestApp; 2] {
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    upstream.on("m", Script::stream(vec![sse(&chunk("so far")), Step::Hang]));
    [setup.app_with(&settings).await, setup.app_with(&settings).await]
}

fn stop(app: &TestApp, user: &User, conversation: &Value) -> anteroom_tests::Ask {
    app.post(&format!("{}/stop", path(conversation))).by(user)
}

/// Streams an answer on one node until its text has come, and stops it on the other.
async fn stopped_on(nodes: &[TestApp; 2], upstream: &Upstream, here: usize, there: usize) {
    let user = nodes[0].user().await;
    let conversation = create(&nodes[0], &user, json!({})).await;
    let mut stream = say_streamed(&nodes[here], &user, &conversation, "one").stream().await;
    let started = stream.next().await.unwrap().json();
    stream.next().await.unwrap();
    let begun = Instant::now();
    let stopped = stop(&nodes[there], &user, &conversation)
        .expect(200)
        .events(&EVENTS)
        .await
        .json();
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_eq!(
        (&stopped["id"], &stopped["content"], &stopped["status"]),
        (&started["message"]["id"], &json!("so far"), &json!("cancelled"))
    );
    upstream.hung_up().await;
    // Whoever reads is told so, and sees what is kept.
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_deref(), &last.json()["message"]),
        (Some("message.cancelled"), &stopped)
    );
    stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    let cancelled = json!(["assistant", "so far", "cancelled"]);
    assert_eq!(said(&nodes[there], &user, &conversation).await[1], cancelled);
    // The conversation is free at once, and the call counts.
    upstream.on("m", Script::data(&[&chunk("fine"), "[DONE]"]));
    say(&nodes[there], &user, &conversation, "two").await.is(201);
    let entitlements = nodes[0].get("/v1/me/entitlements").by(&user).await.json();
    let messages = entitlements["data"].as_array().unwrap().iter();
    let used: Vec<&Value> = messages
        .filter(|e| e["key"] == "messages")
        .map(|e| &e["used"])
        .collect();
    assert_eq!(used, [&json!(2)]);
}

async fn ends_the_answer_on_this_node(setup: &Setup) {
    let upstream = Upstream::start().await;
    let nodes = nodes(setup, &upstream).await;
    stopped_on(&nodes, &upstream, 0, 0).await;
}

async fn ends_the_answer_on_another_node(setup: &Setup) {
    let upstream = Upstream::start().await;
    let nodes = nodes(setup, &upstream).await;
    stopped_on(&nodes, &upstream, 0, 1).await;
}

async fn ends_a_whole_answer(setup: &Setup) {
    let upstream = Upstream::start().await;
    let nodes = nodes(setup, &upstream).await;
    let user = nodes[0].user().await;
    let conversation = create(&nodes[0], &user, json!({})).await;
    let asking = say(&nodes[0], &user, &conversation, "one").header("idempotency-key", "once");
    let asking = tokio::spawn(asking.into_future());
    upstream.called(1).await;
    // What came before it was stopped may be nothing yet; what is told is what is kept.
    let stopped = stop(&nodes[1], &user, &conversation)
        .expect(200)
        .events(&EVENTS)
        .await
        .json();
    let mut answer = asking.await.unwrap().is(201).json();
    answer.as_object_mut().unwrap().remove("context");
    assert_eq!(answer, stopped);
    assert_eq!(answer["status"], "cancelled");
    upstream.hung_up().await;
}

async fn ends_one_that_has_not_begun(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    upstream.on("m", Script::new(vec![Step::Hang]));
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let asking = tokio::spawn(say_streamed(&app, &user, &conversation, "one").stream());
    upstream.called(1).await;
    let stopped = stop(&app, &user, &conversation)
        .expect(200)
        .events(&EVENTS)
        .await
        .json();
    assert_eq!(
        (&stopped["content"], &stopped["status"]),
        (&json!(""), &json!("cancelled"))
    );
    let events = asking.await.unwrap().rest().await;
    let names: Vec<&str> = events.iter().map(|e| e.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["message.started", "message.cancelled"]);
    upstream.hung_up().await;
}

async fn is_no_error_when_nothing_runs(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    stop(&app, &user, &conversation).expect(204).await;
    say(&app, &user, &conversation, "one").await.is(201);
    stop(&app, &user, &conversation).expect(204).await;
    assert_eq!(said(&app, &user, &conversation).await[1][2], "complete");
}

async fn works_once_and_for_all_of_many_at_once(setup: &Setup) {
    let upstream = Upstream::start().await;
    let nodes = nodes(setup, &upstream).await;
    let user = nodes[0].user().await;
    let conversation = create(&nodes[0], &user, json!({})).await;
    let mut stream = say_streamed(&nodes[0], &user, &conversation, "one").stream().await;
    stream.next().await.unwrap();
    stream.next().await.unwrap();
    let stops = (0..16).map(|n| stop(&nodes[n % 2], &user, &conversation).into_future());
    for answer in join_all(stops).await {
        assert!(matches!(answer.told().0, 200 | 204), "{answer:?}");
        if answer.told().0 == 200 {
            assert_eq!(answer.json()["status"], "cancelled");
        }
    }
    assert_eq!(stream.rest().await.len(), 1);
    // The next answer is not stopped by what was told of this one.
    upstream.on("m", Script::data(&[&chunk("fine"), "[DONE]"]));
    let next = say(&nodes[0], &user, &conversation, "two").await.is(201).json();
    assert_eq!(
        (&next["content"], &next["status"]),
        (&json!("fine"), &json!("complete"))
    );
}

async fn is_the_owners_only(setup: &Setup) {
    let upstream = Upstream::start().await;
    let nodes = nodes(setup, &upstream).await;
    let (user, eve) = (nodes[0].user().await, nodes[0].user().await);
    let conversation = create(&nodes[0], &user, json!({})).await;
    let mut stream = say_streamed(&nodes[0], &user, &conversation, "one").stream().await;
    stream.next().await.unwrap();
    for node in &nodes {
        stop(node, &eve, &conversation).expect(404).code("not_found").await;
        stop(node, &user, &json!({ "id": "none" }))
            .expect(404)
            .code("not_found")
            .await;
    }
    assert_eq!(said(&nodes[0], &user, &conversation).await[1][2], "in_progress");
    stop(&nodes[0], &user, &conversation).await.is(200);
}
