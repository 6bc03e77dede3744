//! SIGTERM and Ctrl-C: no new requests, running ones finish, exit 0.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Script, Setup, Step, Upstream, eventually_asking, on_every_store};
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::Semaphore;

use super::sign_up;

on_every_store![
    lets_running_answers_finish,
    ends_what_takes_longer_than_the_grace_time_and_books_it,
    is_quick_when_nothing_runs,
];

async fn ask(server: &Server, token: &str, stream: bool) -> reqwest::Response {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "stream": stream });
    let request = http_client().post(format!("{}/v1/chat/completions", server.url));
    let request = request
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(body.to_string());
    request.send().await.unwrap()
}

async fn refused(server: &Server) {
    eventually_asking("new connections are refused", async || {
        let client = http_client();
        let sent = client.get(format!("{}/health", server.url)).send().await;
        sent.is_err_and(|e| e.is_connect()).then_some(())
    })
    .await;
}

async fn lets_running_answers_finish(setup: &Setup) {
    for signal in [Signal::TERM, Signal::INT] {
        let upstream = Upstream::start().await;
        let mut settings = upstream.settings("m").to_vec();
        settings.push(("server.shutdown_grace_seconds", "10"));
        let mut server = Server::start(setup.folder(), &setup.variables(&settings)).await;
        let token = sign_up(&server.url, &format!("{}@example.com", signal.as_raw())).await;
        let gate = Arc::new(Semaphore::new(0));
        let steps = vec![
            sse(&chunk("begun, ")),
            Step::Gate(Arc::clone(&gate)),
            sse(&chunk("done")),
            sse("[DONE]"),
            Step::End,
        ];
        upstream.on("m", Script::stream(steps));
        let mut stream = ask(&server, &token, true).await;
        let first = stream.chunk().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("begun"), "{first:?}");
        server.signal(signal);
        refused(&server).await;
        // It goes on to its end, although nobody new is let in.
        gate.add_permits(1);
        let rest = stream.text().await.unwrap();
        assert!(rest.contains("done") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
        let said = server.ended().await;
        assert_eq!(said.code(), Some(0), "{}", server.said());
        assert!(server.said().contains("\"server.stopped\""), "{}", server.said());
        assert!(!server.said().contains("unsettled"), "{}", server.said());
    }
}

async fn ends_what_takes_longer_than_the_grace_time_and_books_it(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let variables = setup.variables(&settings);
    let mut server = Server::start(setup.folder(), &variables).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    upstream.on("m", Script::stream(vec![sse(&chunk("for ever")), Step::Hang]));
    let mut stream = ask(&server, &token, true).await;
    stream.chunk().await.unwrap().unwrap();
    let begun = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{}", server.said());
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(8)).contains(&took),
        "{took:?}"
    );
    upstream.hung_up().await;
    // The call was booked before the end, so that nothing is left to sweep.
    let again = Server::start(setup.folder(), &variables).await;
    let list = http_client()
        .get(format!("{}/v1/me/entitlements", again.url))
        .bearer_auth(&token);
    let list: serde_json::Value = list.send().await.unwrap().json().await.unwrap();
    assert_eq!(list["data"][1]["used"], 1, "{list}");
    assert!(server.said().contains("\"chat.call.ended\""), "{}", server.said());
}

async fn is_quick_when_nothing_runs(setup: &Setup) {
    let mut server = Server::start(
        setup.folder(),
        &setup.variables(&[("server.shutdown_grace_seconds", "30")]),
    )
    .await;
    // A connection that is kept open for a next request holds nobody up.
    let client = http_client();
    client.get(format!("{}/health", server.url)).send().await.unwrap();
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.said());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(client);
}
