//! What is kept of an answer that does not come to its end.

use std::sync::Arc;
use std::time::Duration;

use anteroom_tests::upstream::{chunk, sse, usage_chunk};
use anteroom_tests::{Script, Setup, Step, TestApp, Upstream, User, eventually_asking, on_every_store};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{create, path, said, say, say_streamed, shown};

on_every_store![
    are_kept_when_the_upstream_breaks_off,
    are_kept_when_the_client_leaves,
    are_kept_when_the_session_ends,
    outlive_a_conversation_that_is_deleted_meanwhile,
];

/// Waits until the last message has this status.
pub(super) async fn last_is(app: &TestApp, user: &User, conversation: &Value, status: &str) -> Value {
    eventually_asking(&format!("the answer is {status}"), async || {
        let last = said(app, user, conversation).await.pop()?;
        (last[2] == status).then_some(last)
    })
    .await
}

async fn are_kept_when_the_upstream_breaks_off(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    // In the middle: what came is kept, whole or streamed.
    upstream.on(
        "m",
        Script::stream(vec![sse(&chunk("half an ")), sse(&chunk("answer")), Step::Cut]),
    );
    let failed = ["chat.call.failed", "chat.call.ended", "request.failed"];
    say(&app, &user, &conversation, "one")
        .expect(502)
        .code("upstream_unreachable")
        .events(&failed)
        .await;
    let partial = json!(["assistant", "half an answer", "partial"]);
    assert_eq!(said(&app, &user, &conversation).await[1], partial);
    let mut stream = say_streamed(&app, &user, &conversation, "two").stream().await;
    let events = stream.rest().await;
    let names: Vec<&str> = events.iter().map(|e| e.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["message.started", "message.delta", "message.delta", "error"]);
    let problem = events[3].json()["problem"].clone();
    assert_eq!(
        (&problem["status"], &problem["code"]),
        (&json!(502), &json!("upstream_unreachable"))
    );
    assert_eq!(problem["request_id"], stream.request_id);
    assert_eq!(said(&app, &user, &conversation).await[3], partial);
    // Before anything came: a status of its own, and an answer that failed.
    upstream.on("m", Script::answer(429, &[("retry-after", "9")], ""));
    for ask in [
        say(&app, &user, &conversation, "three"),
        say_streamed(&app, &user, &conversation, "three"),
    ] {
        let answer = ask.expect(429).code("upstream_rate_limited").events(&failed).await;
        assert_eq!(answer.header("retry-after").as_deref(), Some("9"));
    }
    let list = said(&app, &user, &conversation).await;
    assert_eq!(list[5], json!(["assistant", "", "failed"]));
    // The conversation goes on. Of what failed, the model is shown nothing that it did not say.
    upstream.on("m", Script::data(&[&chunk("fine"), &usage_chunk(1, 1), "[DONE]"]));
    say(&app, &user, &conversation, "four")
        .expect(201)
        .events(&["chat.call.ended"])
        .await;
    let turns = shown(&upstream);
    assert!(!turns.contains(&"assistant: ".to_owned()), "{turns:?}");
    assert_eq!(turns.last().unwrap(), "user: four");
}

async fn are_kept_when_the_client_leaves(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("chat.resume_seconds", "0"));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    upstream.on("m", Script::stream(vec![sse(&chunk("so far")), Step::Hang]));
    let mut stream = say_streamed(&app, &user, &conversation, "one").stream().await;
    stream.next().await.unwrap();
    stream.next().await.unwrap();
    drop(stream);
    let took = upstream.hung_up().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let cancelled = json!(["assistant", "so far", "cancelled"]);
    assert_eq!(last_is(&app, &user, &conversation, "cancelled").await, cancelled);

    let asking = tokio::spawn(say(&app, &user, &conversation, "two").into_future());
    upstream.called(2).await;
    assert_eq!(
        said(&app, &user, &conversation).await[3],
        json!(["assistant", "", "in_progress"])
    );
    asking.abort();
    let took = upstream.hung_up().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    last_is(&app, &user, &conversation, "cancelled").await;
    upstream.on("m", Script::data(&[&chunk("fine"), "[DONE]"]));
    say(&app, &user, &conversation, "three").await.is(201);
}

async fn are_kept_when_the_session_ends(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    upstream.on("m", Script::stream(vec![sse(&chunk("so far")), Step::Hang]));
    let mut stream = say_streamed(&app, &user, &conversation, "one").stream().await;
    stream.next().await.unwrap();
    app.post("/v1/auth/logout").by(&user).await.is(204);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_deref(), &last.json()["problem"]["code"]),
        (Some("error"), &json!("unauthenticated"))
    );
    upstream.hung_up().await;
    let user = app.log_in(&user.email).await;
    let kept = last_is(&app, &user, &conversation, "cancelled").await;
    assert_eq!(kept[1], "so far");
}

async fn outlive_a_conversation_that_is_deleted_meanwhile(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let gate = Arc::new(Semaphore::new(0));
    upstream.on(
        "m",
        Script::stream(vec![
            sse(&chunk("a")),
            Step::Gate(Arc::clone(&gate)),
            sse("[DONE]"),
            Step::End,
        ]),
    );
    let mut stream = say_streamed(&app, &user, &conversation, "hi").stream().await;
    stream.next().await.unwrap();
    app.delete(&path(&conversation)).by(&user).await.is(204);
    gate.add_permits(1);
    let last = stream.rest().await.pop().unwrap();
    // Whatever the stream says of it: it ends properly, the call is booked, and nothing comes back.
    assert!(
        matches!(last.name.as_deref(), Some("message.completed" | "error")),
        "{last:?}"
    );
    app.get(&path(&conversation))
        .by(&user)
        .expect(404)
        .code("not_found")
        .await;
    assert_eq!(
        app.get("/v1/conversations").by(&user).await.json(),
        json!({ "data": [] })
    );
}
