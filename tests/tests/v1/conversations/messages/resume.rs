//! `/v1/conversations/{id}/messages/{message}/stream`

use std::sync::Arc;
use std::time::Duration;

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Ask, Script, Setup, Sse, Step, Stream, TestApp, Upstream, User, on_every_store};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::endings::last_is;
use super::{create, path, said, say, say_streamed};

on_every_store![
    is_taken_up_where_it_was_lost,
    is_taken_up_on_another_node,
    is_read_by_two_at_once,
    is_told_again_when_it_is_over,
    ends_when_nobody_takes_it_up,
    ends_for_whose_session_ends,
    breaks_off_for_everybody,
    is_the_owners_only,
    is_finished_before_the_server_stops,
    is_cut_when_the_server_stops,
];

/// Servers whose model says a piece for each permit, three in all, and ends.
struct Scene {
    upstream: Upstream,
    gate: Arc<Semaphore>,
}

impl Scene {
    async fn set() -> Self {
        let (upstream, gate) = (Upstream::start().await, Arc::new(Semaphore::new(0)));
        let wait = || Step::Gate(Arc::clone(&gate));
        upstream.on(
            "m",
            Script::stream(vec![
                sse(&chunk("één ")),
                wait(),
                sse(&chunk("twee ")),
                wait(),
                sse(&chunk("drie")),
                sse("[DONE]"),
                Step::End,
            ]),
        );
        Self { upstream, gate }
    }

    async fn node(&self, setup: &Setup, more: &[(&str, &str)]) -> TestApp {
        let mut settings = self.upstream.settings("m").to_vec();
        settings.push(("server.public_url", "http://anteroom.example.test"));
        settings.extend(more);
        setup.app_with(&settings).await
    }

    fn on(&self, pieces: usize) {
        self.gate.add_permits(pieces);
    }
}

fn follow(app: &TestApp, user: &User, message: &Value, after: Option<&str>) -> Ask {
    let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let (conversation, id) = (message["conversation_id"].as_str(), message["id"].as_str());
    app.get(&format!(
        "/v1/conversations/{}/messages/{}/stream{after}",
        conversation.unwrap(),
        id.unwrap()
    ))
    .by(user)
}

/// Begins an answer, and reads until its first piece has come.
async fn begin(app: &TestApp, user: &User) -> (Value, Value, Stream, Sse) {
    let conversation = create(app, user, json!({})).await;
    let mut stream = say_streamed(app, user, &conversation, "count").stream().await;
    let started = stream.next().await.unwrap();
    let message = started.json()["message"].clone();
    assert_eq!(
        (started.id.as_deref(), &message["status"]),
        (Some("0"), &json!("in_progress"))
    );
    let first = stream.next().await.unwrap();
    assert_eq!(first.json()["text"], "één ");
    (conversation, message, stream, first)
}

fn text(events: &[Sse]) -> String {
    let deltas = events.iter().filter(|e| e.name.as_deref() == Some("message.delta"));
    deltas.map(|e| e.json()["text"].as_str().unwrap().to_owned()).collect()
}

fn ends(events: &[Sse], name: &str) -> Value {
    let last = events.last().unwrap();
    assert_eq!(last.name.as_deref(), Some(name), "{last:?}");
    last.json()
}

async fn is_taken_up_where_it_was_lost(setup: &Setup) {
    let scene = Scene::set().await;
    let app = scene.node(setup, &[]).await;
    let user = app.user().await;
    let (conversation, message, stream, first) = begin(&app, &user).await;
    drop(stream);
    // It goes on while nobody reads.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(said(&app, &user, &conversation).await[1][2], "in_progress");
    say(&app, &user, &conversation, "meanwhile")
        .expect(409)
        .code("conversation_busy")
        .await;
    scene.on(1);
    let mut again = follow(&app, &user, &message, first.id.as_deref()).stream().await;
    let second = again.next().await.unwrap();
    assert_eq!(second.json(), json!({ "message_id": message["id"], "text": "twee " }));
    drop(again);
    scene.on(1);
    // The header that browsers send by themselves goes before the query.
    let rest = follow(&app, &user, &message, Some("0"))
        .header("last-event-id", second.id.as_deref().unwrap())
        .stream()
        .await
        .rest()
        .await;
    assert_eq!(text(&rest), "drie");
    let completed = &ends(&rest, "message.completed")["message"];
    assert_eq!(
        (&completed["id"], &completed["content"], &completed["status"]),
        (&message["id"], &json!("één twee drie"), &json!("complete"))
    );
    assert_eq!(scene.upstream.calls().len(), 1, "asked once, read in three");
    assert_eq!(said(&app, &user, &conversation).await.len(), 2);
}

async fn is_taken_up_on_another_node(setup: &Setup) {
    let scene = Scene::set().await;
    // Shorter than what follows takes: who reads elsewhere counts as well.
    let resume = [("chat.resume_seconds", "3")];
    let (here, there) = (scene.node(setup, &resume).await, scene.node(setup, &resume).await);
    let user = here.user().await;
    let (_, message, stream, first) = begin(&here, &user).await;
    drop(stream);
    let mut from_start = follow(&there, &user, &message, None).stream().await;
    let started = from_start.next().await.unwrap();
    assert_eq!(
        (started.name.as_deref(), &started.json()["message"]["id"]),
        (Some("message.started"), &message["id"])
    );
    // What has come shows there while more is to come.
    assert_eq!(from_start.next().await.unwrap().json()["text"], "één ");
    let mut later = follow(&there, &user, &message, first.id.as_deref()).stream().await;
    scene.on(1);
    assert_eq!(later.next().await.unwrap().json()["text"], "twee ");
    tokio::time::sleep(Duration::from_secs(4)).await;
    scene.on(1);
    let rest = later.rest().await;
    assert_eq!(text(&rest), "drie");
    assert_eq!(ends(&rest, "message.completed")["message"]["content"], "één twee drie");
    let rest = from_start.rest().await;
    assert_eq!(text(&rest), "twee drie");
    ends(&rest, "message.completed");
}

async fn is_read_by_two_at_once(setup: &Setup) {
    let scene = Scene::set().await;
    let app = scene.node(setup, &[("chat.resume_seconds", "0")]).await;
    let user = app.user().await;
    let (_, message, mut stream, _) = begin(&app, &user).await;
    let other = follow(&app, &user, &message, None).stream().await;
    // A third, who leaves again: as long as one reads it goes on, even without a grace.
    drop(follow(&app, &user, &message, None).stream().await);
    scene.on(2);
    let (one, mut other) = (stream.rest().await, other);
    let other = other.rest().await;
    assert_eq!(
        (text(&one).as_str(), text(&other).as_str()),
        ("twee drie", "één twee drie")
    );
    assert_eq!(ends(&one, "message.completed"), ends(&other, "message.completed"));
}

async fn is_told_again_when_it_is_over(setup: &Setup) {
    let scene = Scene::set().await;
    let (app, other) = (scene.node(setup, &[]).await, scene.node(setup, &[]).await);
    let user = app.user().await;
    let (_, message, mut stream, first) = begin(&app, &user).await;
    scene.on(2);
    let end = stream.rest().await.pop().unwrap();
    for node in [&app, &other] {
        let whole = follow(node, &user, &message, None).stream().await.rest().await;
        let names: Vec<&str> = whole.iter().map(|e| e.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["message.started", "message.delta", "message.completed"]);
        assert_eq!(text(&whole), "één twee drie");
        assert_eq!(whole.last().unwrap().json(), end.json());
        let rest = follow(node, &user, &message, first.id.as_deref())
            .stream()
            .await
            .rest()
            .await;
        assert_eq!((text(&rest).as_str(), rest.len()), ("twee drie", 2));
        let all_but_the_end = follow(node, &user, &message, rest[0].id.as_deref()).stream().await;
        assert_eq!(ends(&{ all_but_the_end }.rest().await, "message.completed"), end.json());
        // What a browser is told so that it does not come again.
        follow(node, &user, &message, end.id.as_deref()).expect(204).await;
        for after in ["-1", "x", "1.5"] {
            follow(node, &user, &message, Some(after))
                .expect(400)
                .code("invalid_query")
                .await;
            follow(node, &user, &message, None)
                .header("last-event-id", after)
                .expect(400)
                .code("invalid_query")
                .await;
        }
    }
}

async fn ends_when_nobody_takes_it_up(setup: &Setup) {
    let scene = Scene::set().await;
    let app = scene.node(setup, &[("chat.resume_seconds", "1")]).await;
    let user = app.user().await;
    let (conversation, message, stream, _) = begin(&app, &user).await;
    drop(stream);
    let took = scene.upstream.hung_up().await;
    assert!((700..3000).contains(&took.as_millis()), "{took:?}");
    let kept = last_is(&app, &user, &conversation, "cancelled").await;
    assert_eq!(kept[1], "één ");
    let again = follow(&app, &user, &message, None).stream().await.rest().await;
    assert_eq!(text(&again), "één ");
    assert_eq!(ends(&again, "message.cancelled")["message"]["status"], "cancelled");
}

async fn ends_for_whose_session_ends(setup: &Setup) {
    let scene = Scene::set().await;
    let (here, there) = (scene.node(setup, &[]).await, scene.node(setup, &[]).await);
    let user = here.user().await;
    let reading = here.log_in(&user.email).await;
    let (_, message, mut stream, _) = begin(&here, &user).await;
    // Who reads with another session loses the line with it, on either node; the answer goes on.
    let mut readers = Vec::new();
    for node in [&here, &there] {
        let mut reader = follow(node, &reading, &message, None).stream().await;
        reader.next().await.unwrap();
        readers.push(reader);
    }
    here.post("/v1/auth/logout").by(&reading).await.is(204);
    let begun = std::time::Instant::now();
    for reader in &mut readers {
        let last = ends(&reader.rest().await, "error");
        assert_eq!(last["problem"]["code"], "unauthenticated");
    }
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    // With the session that asked the answer itself ends; another of the same user sees what came.
    let reading = here.log_in(&user.email).await;
    let mut reader = follow(&here, &reading, &message, None).stream().await;
    reader.next().await.unwrap();
    here.post("/v1/auth/logout").by(&user).await.is(204);
    assert_eq!(
        ends(&stream.rest().await, "error")["problem"]["code"],
        "unauthenticated"
    );
    let last = ends(&reader.rest().await, "message.cancelled");
    assert_eq!(last["message"]["content"], "één ");
    scene.upstream.hung_up().await;
}

async fn breaks_off_for_everybody(setup: &Setup) {
    let scene = Scene::set().await;
    let (here, there) = (scene.node(setup, &[]).await, scene.node(setup, &[]).await);
    let gate = Arc::clone(&scene.gate);
    let steps = vec![sse(&chunk("één ")), Step::Gate(gate), Step::Cut];
    scene.upstream.on("m", Script::stream(steps));
    let user = here.user().await;
    let (_, message, mut stream, _) = begin(&here, &user).await;
    let mut reader = follow(&here, &user, &message, None).stream().await;
    let mut elsewhere = follow(&there, &user, &message, None).stream().await;
    elsewhere.next().await.unwrap();
    scene.on(1);
    for stream in [&mut stream, &mut reader] {
        let last = ends(&stream.rest().await, "error");
        assert_eq!(last["problem"]["code"], "upstream_unreachable");
    }
    // Why is not kept, so it is not told again.
    for stream in [&mut elsewhere, &mut follow(&here, &user, &message, None).stream().await] {
        let last = ends(&stream.rest().await, "error");
        assert_eq!(last["problem"]["code"], "answer_broke_off");
    }
}

async fn is_the_owners_only(setup: &Setup) {
    let scene = Scene::set().await;
    let app = scene.node(setup, &[]).await;
    let (user, eve) = (app.user().await, app.user().await);
    let (conversation, message, stream, _) = begin(&app, &user).await;
    follow(&app, &eve, &message, None).expect(404).code("not_found").await;
    let other = create(&app, &user, json!({})).await;
    let elsewhere = json!({ "conversation_id": other["id"], "id": message["id"] });
    follow(&app, &user, &elsewhere, None)
        .expect(404)
        .code("not_found")
        .await;
    // A question has no stream.
    let list = app
        .get(&format!("{}/messages", path(&conversation)))
        .by(&user)
        .await
        .json();
    follow(&app, &user, &list["data"][0], None)
        .expect(404)
        .code("not_found")
        .await;
    follow(
        &app,
        &user,
        &json!({ "conversation_id": conversation["id"], "id": "x" }),
        None,
    )
    .expect(404)
    .code("not_found")
    .await;
    drop(stream);
}

async fn is_finished_before_the_server_stops(setup: &Setup) {
    let scene = Scene::set().await;
    let patient = [("server.shutdown_grace_seconds", "5")];
    let (app, other) = (scene.node(setup, &patient).await, scene.node(setup, &[]).await);
    let user = app.user().await;
    let (conversation, _, stream, _) = begin(&app, &user).await;
    drop(stream);
    // Nobody reads it at the moment; it may finish like what somebody reads.
    let gate = Arc::clone(&scene.gate);
    let opening = async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gate.add_permits(2);
    };
    tokio::join!(app.stop(), opening);
    let whole = json!(["assistant", "één twee drie", "complete"]);
    assert_eq!(said(&other, &user, &conversation).await[1], whole);
}

async fn is_cut_when_the_server_stops(setup: &Setup) {
    let scene = Scene::set().await;
    let (app, other) = (scene.node(setup, &[]).await, scene.node(setup, &[]).await);
    let user = app.user().await;
    let (conversation, _, stream, _) = begin(&app, &user).await;
    drop(stream);
    let begun = std::time::Instant::now();
    app.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // What came is kept, and the conversation is free.
    let kept = json!(["assistant", "één ", "cancelled"]);
    assert_eq!(said(&other, &user, &conversation).await[1], kept);
    scene.on(2);
    say(&other, &user, &conversation, "next").await.is(201);
}
