//! When nobody wants the answer any more, the upstream is told at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_tests::upstream::{chunk, completion, sse, usage_chunk};
use anteroom_tests::{
    Script, Setup, Step, TestApp, Upstream, User, eventually, eventually_asking, logs, on_every_store,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{ask, question, streamed, used};

on_every_store![
    hangs_up_when_the_reader_of_a_stream_leaves,
    hangs_up_when_the_reader_of_a_silent_stream_leaves,
    hangs_up_when_the_reader_of_a_whole_answer_leaves,
    ends_a_stream_whose_session_ends,
    ends_a_whole_answer_whose_session_ends,
    goes_no_faster_than_its_reader,
    reads_on_where_that_is_billed_and_books_what_the_provider_counts,
    hangs_up_on_a_draining_provider_when_its_time_or_the_session_is_over,
    does_not_wait_for_what_nobody_wants_when_it_shuts_down,
];

/// What is promised, and what a busy machine may take besides.
const SOON: Duration = Duration::from_millis(1000 + 500);

/// How the newest call of a model has ended, once it has.
async fn outcome(model: &str) -> String {
    eventually("the call is booked", || {
        let ended = logs::about("chat.call.ended", model);
        ended.last().map(|e| e.fields["outcome"].clone())
    })
    .await
}

async fn hangs_up_when_the_reader_of_a_stream_leaves(setup: &Setup) {
    let upstream = Upstream::start().await;
    let model = format!("leaves-a-stream-{:?}", setup.kind());
    let app = setup.app_with(&upstream.settings(&model)).await;
    let user = app.user().await;
    let drip = || [sse(&chunk("word ")), Step::Pause(Duration::from_millis(50))];
    upstream.on(&model, Script::stream((0..10_000).flat_map(|_| drip()).collect()));
    let mut stream = ask(&app, &user, &streamed(&model)).stream().await;
    stream.next().await.unwrap();
    drop(stream);
    let took = upstream.hung_up().await;
    assert!(took < SOON, "{took:?}");
    assert_eq!(outcome(&model).await, "cancelled");
    assert_eq!(used(&app, &user).await, 1, "what has begun counts");
}

async fn hangs_up_when_the_reader_of_a_silent_stream_leaves(setup: &Setup) {
    let upstream = Upstream::start().await;
    let model = format!("leaves-a-silent-stream-{:?}", setup.kind());
    let app = setup.app_with(&upstream.settings(&model)).await;
    let user = app.user().await;
    for steps in [vec![sse(&chunk("word ")), Step::Hang], vec![Step::Hang]] {
        let begins = steps.len() > 1;
        let before = upstream.calls().len();
        upstream.on(&model, Script::stream(steps));
        let asking = tokio::spawn({
            let asked = ask(&app, &user, &streamed(&model));
            async move {
                let mut stream = asked.stream().await;
                stream.next().await.unwrap();
                if begins {
                    return stream;
                }
                unreachable!("nothing comes")
            }
        });
        upstream.called(before + 1).await;
        if begins {
            drop(asking.await.unwrap());
        } else {
            asking.abort();
        }
        let took = upstream.hung_up().await;
        assert!(took < SOON, "{took:?}");
        assert_eq!(outcome(&model).await, "cancelled");
    }
}

async fn hangs_up_when_the_reader_of_a_whole_answer_leaves(setup: &Setup) {
    let upstream = Upstream::start().await;
    let model = format!("leaves-a-whole-answer-{:?}", setup.kind());
    let app = setup.app_with(&upstream.settings(&model)).await;
    let user = app.user().await;
    upstream.on(&model, Script::new(vec![Step::Hang]));
    let asking = tokio::spawn(ask(&app, &user, &question(&model)).into_future());
    upstream.called(1).await;
    asking.abort();
    let took = upstream.hung_up().await;
    assert!(took < SOON, "{took:?}");
    assert_eq!(outcome(&model).await, "cancelled");
}

async fn ends_a_stream_whose_session_ends(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let (here, there) = (setup.app_with(&settings).await, setup.app_with(&settings).await);
    // The one stream still speaks, the other is silent; the session may end on this node or on another.
    let drip = || [sse(&chunk("word ")), Step::Pause(Duration::from_millis(50))];
    let speaking: Vec<Step> = (0..10_000).flat_map(|_| drip()).collect();
    for (script, node) in [
        (Script::stream(speaking), &here),
        (Script::stream(vec![sse(&chunk("word ")), Step::Hang]), &there),
    ] {
        let user = here.user().await;
        upstream.on("m", script);
        let mut stream = ask(&here, &user, &streamed("m")).stream().await;
        stream.next().await.unwrap();
        let begun = Instant::now();
        node.post("/v1/auth/logout").by(&user).await.is(204);
        let last = stream.rest().await.pop().expect("an error says why it ends");
        let took = begun.elapsed();
        assert_eq!(last.json()["error"]["code"], "unauthenticated", "{last:?}");
        assert!(took < SOON, "{took:?}");
        upstream.hung_up().await;
        stream.logged(&["chat.call.ended"]).await;
    }
}

async fn ends_a_whole_answer_whose_session_ends(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    upstream.on("m", Script::new(vec![Step::Hang]));
    let asking = tokio::spawn(ask(&app, &user, &question("m")).into_future());
    upstream.called(1).await;
    let begun = Instant::now();
    app.post("/v1/auth/logout").by(&user).await.is(204);
    asking.await.unwrap().refused(401, "unauthenticated");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    upstream.hung_up().await;
}

async fn goes_no_faster_than_its_reader(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    // 64 MB of answer, of which the reader takes the first event and then nothing.
    let large = sse(&chunk(&"x".repeat(64 * 1024)));
    let gate = Arc::new(Semaphore::new(0));
    let mut steps = vec![large.clone(); 1000];
    steps.push(Step::Gate(Arc::clone(&gate)));
    upstream.on("m", Script::stream(steps));
    let mut stream = ask(&app, &user, &streamed("m")).stream().await;
    stream.next().await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Nobody waits at the gate, since the upstream could not get rid of all that comes before it.
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        gate.available_permits(),
        1,
        "the answer was taken in faster than it was read"
    );
    drop(stream);
    upstream.hung_up().await;
}

/// A provider that is read to the end, for so many seconds at most.
fn draining(upstream: &Upstream, seconds: u32) -> [(&'static str, String); 4] {
    let providers = format!(
        r#"[{{ name = "billing", kind = "openai", base_url = "{}", on_disconnect = "drain", drain_seconds = {seconds} }}]"#,
        upstream.url
    );
    [
        ("ai.providers", providers),
        ("ai.retries", "0".to_owned()),
        (
            "ai.prices",
            r#"[{ model = "m", input_usd_per_million = 1000.0, output_usd_per_million = 10000.0 }]"#.to_owned(),
        ),
        ("ai.models", "m".to_owned()),
    ]
}

async fn drains(setup: &Setup, upstream: &Upstream, seconds: u32) -> TestApp {
    let settings = draining(upstream, seconds);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    setup.app_with(&settings).await
}

/// What somebody has used, once so many calls are booked.
async fn usage(app: &TestApp, user: &User, calls: i64) -> Value {
    eventually_asking("the calls are booked", async || {
        let usage = app.get("/v1/me/usage?group_by=model").by(user).await.is(200).json();
        let row = usage["data"][0].clone();
        (row["calls"] == calls).then_some(row)
    })
    .await
}

async fn reads_on_where_that_is_billed_and_books_what_the_provider_counts(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = drains(setup, &upstream, 60).await;
    let user = app.user().await;
    let gate = Arc::new(Semaphore::new(0));
    let rest = || {
        vec![
            Step::Gate(Arc::clone(&gate)),
            sse(&chunk("more ")),
            sse(&usage_chunk(1234, 567)),
            sse("[DONE]"),
            Step::End,
        ]
    };
    // In the middle of a stream.
    let mut steps = vec![sse(&chunk("word "))];
    steps.extend(rest());
    upstream.on("m", Script::stream(steps));
    let mut stream = ask(&app, &user, &streamed("m")).stream().await;
    stream.next().await.unwrap();
    drop(stream);
    tokio::time::sleep(SOON).await;
    assert!(!upstream.last().hung_up, "it is read on");
    gate.add_permits(1);
    let booked = usage(&app, &user, 1).await;
    assert_eq!(
        (
            &booked["prompt_tokens"],
            &booked["completion_tokens"],
            &booked["cost_usd"]
        ),
        (&json!(1234), &json!(567), &json!(6.904)),
        "{booked}"
    );
    // Before its first word, and while a whole answer is waited for.
    for stream in [true, false] {
        let before = upstream.calls().len();
        let body = completion("late").replace("\"prompt_tokens\":5", "\"prompt_tokens\":1234");
        let whole = [
            Step::Gate(Arc::clone(&gate)),
            Step::Raw(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .into(),
            ),
        ];
        upstream.on(
            "m",
            if stream {
                Script::stream(rest())
            } else {
                Script::new(whole.into())
            },
        );
        let question = if stream { streamed("m") } else { question("m") };
        let asking = tokio::spawn(ask(&app, &user, &question).into_future());
        upstream.called(before + 1).await;
        asking.abort();
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(!upstream.last().hung_up, "it is waited for");
        gate.add_permits(1);
        let calls = i64::try_from(before + 1).unwrap();
        let booked = usage(&app, &user, calls).await;
        assert_eq!(booked["prompt_tokens"], 1234 * calls, "{booked}");
    }
    assert_eq!(used(&app, &user).await, 3);
}

async fn hangs_up_on_a_draining_provider_when_its_time_or_the_session_is_over(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = drains(setup, &upstream, 2).await;
    let user = app.user().await;
    upstream.on("m", Script::stream(vec![sse(&chunk("word ")), Step::Hang]));
    let mut stream = ask(&app, &user, &streamed("m")).stream().await;
    stream.next().await.unwrap();
    let begun = Instant::now();
    drop(stream);
    upstream.hung_up().await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(2) && took < Duration::from_secs(2) + SOON,
        "{took:?}"
    );
    app.stop().await;

    let app = drains(setup, &upstream, 60).await;
    let user = app.user().await;
    let mut stream = ask(&app, &user, &streamed("m")).stream().await;
    stream.next().await.unwrap();
    drop(stream);
    tokio::time::sleep(SOON).await;
    assert!(!upstream.last().hung_up, "it is read on");
    app.post("/v1/auth/logout").by(&user).await.is(204);
    let took = upstream.hung_up().await;
    assert!(took < SOON, "{took:?}");
}

async fn does_not_wait_for_what_nobody_wants_when_it_shuts_down(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = drains(setup, &upstream, 60).await;
    let user = app.user().await;
    upstream.on("m", Script::stream(vec![sse(&chunk("word ")), Step::Hang]));
    let mut stream = ask(&app, &user, &streamed("m")).stream().await;
    stream.next().await.unwrap();
    drop(stream);
    tokio::time::sleep(SOON).await;
    let begun = Instant::now();
    app.stop().await;
    // The grace time is a second here.
    assert!(begun.elapsed() < Duration::from_secs(1) + SOON, "{:?}", begun.elapsed());
    upstream.hung_up().await;
    let again = drains(setup, &upstream, 60).await;
    assert_eq!(
        usage(&again, &again.log_in(&user.email).await, 1).await["calls"],
        1,
        "it was booked"
    );
}
