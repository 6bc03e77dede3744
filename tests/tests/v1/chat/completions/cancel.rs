//! When nobody wants the answer any more, the upstream is told at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Script, Setup, Step, Upstream, eventually, logs, on_every_store};
use tokio::sync::Semaphore;

use super::{ask, question, streamed, used};

on_every_store![
    hangs_up_when_the_reader_of_a_stream_leaves,
    hangs_up_when_the_reader_of_a_silent_stream_leaves,
    hangs_up_when_the_reader_of_a_whole_answer_leaves,
    ends_a_stream_whose_session_ends,
    ends_a_whole_answer_whose_session_ends,
    goes_no_faster_than_its_reader,
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
