//! A process that is killed loses nothing that it has acknowledged.

mod booked;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{PASSWORD, Script, Setup, Step, Upstream, eventually, eventually_asking, on_every_store};
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Response;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{log_in, post, sign_up};

on_every_store![
    every_acknowledged_signup_can_log_in_afterwards,
    a_conversation_and_a_key_are_free_again_soon,
    a_running_answer_holds_its_conversation_for_longer_than_a_lease,
    what_is_made_under_a_key_is_made_once,
];

const SIGNUPS: usize = 1000;
const CONNECTIONS: usize = 64;
/// After these many acknowledgements the process dies, with 64 more on their way.
const ENOUGH: usize = 400;

async fn every_acknowledged_signup_can_log_in_afterwards(setup: &Setup) {
    let variables = setup.variables(&[("log.level", "warn,anteroom_app=info")]);
    let mut server = Server::start(setup.folder(), &variables).await;
    let client = http_client();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let url = format!("{}/v1/auth/signup", server.url);
    let server_ref = &server;
    let acked: Vec<String> = stream::iter(0..SIGNUPS)
        .map(|number| {
            let (client, url, acknowledged) = (client.clone(), url.clone(), Arc::clone(&acknowledged));
            async move {
                let email = format!("person{number}@example.com");
                let ask = json!({ "email": email, "password": PASSWORD });
                let (status, body) = post(&client, &url, &ask).await?;
                assert_eq!(status, 201, "{body}");
                if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == ENOUGH {
                    server_ref.signal(Signal::KILL);
                }
                Some(email)
            }
        })
        .buffer_unordered(CONNECTIONS)
        .filter_map(async |email| email)
        .collect()
        .await;
    server.ended().await;
    assert!(
        (ENOUGH..SIGNUPS).contains(&acked.len()),
        "{} were acknowledged",
        acked.len()
    );

    let server = Server::start(setup.folder(), &variables).await;
    let statuses: Vec<(String, u16)> = stream::iter(acked)
        .map(|email| {
            let (client, url) = (client.clone(), server.url.clone());
            async move {
                let status = log_in(&client, &url, &email).await;
                (email, status)
            }
        })
        .buffer_unordered(CONNECTIONS)
        .collect()
        .await;
    let lost: Vec<_> = statuses.iter().filter(|(_, status)| *status != 200).collect();
    assert!(
        lost.is_empty(),
        "{} of {} cannot log in: {lost:?}",
        lost.len(),
        statuses.len()
    );
    // Who was not told may or may not have an account, but nothing in between.
    let url = format!("{}/v1/auth/signup", server.url);
    for number in SIGNUPS - 20..SIGNUPS {
        let email = format!("person{number}@example.com");
        let ask = json!({ "email": email, "password": PASSWORD });
        let (status, body) = post(&client, &url, &ask).await.unwrap();
        assert!(status == 201 || status == 409, "{body}");
        assert_eq!(log_in(&client, &server.url, &email).await, 200);
    }
}

/// Somebody who is signed in, at whichever server runs.
#[derive(Clone)]
struct Caller {
    http: reqwest::Client,
    token: String,
}

impl Caller {
    async fn new(server: &Server) -> Self {
        Self {
            http: http_client(),
            token: sign_up(&server.url, "ada@example.com").await,
        }
    }

    /// Posts, under a key if there is one; `None` if no answer came.
    async fn post(&self, url: &str, path: &str, key: &str, body: &Value) -> Option<Response> {
        let mut ask = self.http.post(format!("{url}{path}"));
        if !key.is_empty() {
            ask = ask.header("idempotency-key", key);
        }
        let ask = ask.header("content-type", "application/json").bearer_auth(&self.token);
        ask.body(body.to_string()).send().await.ok()
    }

    /// Posts what must succeed.
    async fn made(&self, url: &str, path: &str, body: &Value) -> Value {
        let answer = self.post(url, path, "", body).await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json().await.unwrap()
    }

    async fn get(&self, url: &str, path: &str) -> Value {
        let ask = self.http.get(format!("{url}{path}")).bearer_auth(&self.token);
        ask.send().await.unwrap().json().await.unwrap()
    }

    /// Posts again and again as long as the code is one of these, which say what still holds it; what is answered then.
    async fn post_until_free(&self, url: &str, path: &str, key: &str, body: &Value, held: &[&str]) -> (u16, Value) {
        eventually_asking("what died holds nothing any more", async || {
            let answer = self.post(url, path, key, body).await.unwrap();
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            if held.iter().any(|code| body["code"] == *code) {
                assert_eq!(status, 409, "{body}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                return None;
            }
            Some((status, body))
        })
        .await
    }
}

/// `[content, status]` of each message.
async fn said(caller: &Caller, url: &str, messages: &str) -> Vec<Value> {
    let list = caller.get(url, messages).await;
    let data = list["data"].as_array().unwrap();
    data.iter().map(|m| json!([m["content"], m["status"]])).collect()
}

const ONE_URL: (&str, &str) = ("server.public_url", "http://anteroom.example.test");

async fn a_conversation_and_a_key_are_free_again_soon(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([("server.lease_seconds", "2"), ONE_URL]);
    let variables = setup.variables(&settings);
    let mut server = Server::start(setup.folder(), &variables).await;
    let caller = Caller::new(&server).await;
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let made = caller.made(&server.url, "/v1/conversations", &json!({})).await;
        rooms.push(format!("/v1/conversations/{}/messages", made["id"].as_str().unwrap()));
    }
    // One answer is streamed and one is waited for under a key when the process dies.
    upstream.on("m", Script::stream(vec![sse(&chunk("half")), Step::Hang]));
    let ask = json!({ "content": "one", "stream": true });
    let mut stream = caller.post(&server.url, &rooms[0], "", &ask).await.unwrap();
    let mut came = String::new();
    while !came.contains("half") {
        came.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
    }
    let keyed = json!({ "content": "one" });
    let waiting = tokio::spawn({
        let (caller, url, room, keyed) = (caller.clone(), server.url.clone(), rooms[1].clone(), keyed.clone());
        async move { caller.post(&url, &room, "once", &keyed).await.is_some() }
    });
    upstream.called(2).await;
    server.signal(Signal::KILL);
    let died = Instant::now();
    server.ended().await;
    assert!(!waiting.await.unwrap(), "nothing was answered");

    upstream.on("m", Script::data(&[&chunk("fine"), "[DONE]"]));
    let server = Server::start(setup.folder(), &variables).await;
    let url = &server.url;
    let ask = json!({ "content": "two" });
    let (status, answer) = caller
        .post_until_free(url, &rooms[0], "", &ask, &["conversation_busy"])
        .await;
    assert_eq!((status, &answer["content"]), (201, &json!("fine")), "{answer}");
    // Each has a lease of its own, so that the key may be free a moment before the conversation.
    let held = ["idempotency_key_in_use", "conversation_busy"];
    let (status, first) = caller.post_until_free(url, &rooms[1], "once", &keyed, &held).await;
    assert_eq!((status, &first["content"]), (201, &json!("fine")), "{first}");
    assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    let again = caller.post(url, &rooms[1], "once", &keyed).await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    for (room, second) in [(&rooms[0], "two"), (&rooms[1], "one")] {
        let expected = [
            json!(["one", "complete"]),
            json!(["", "failed"]),
            json!([second, "complete"]),
            json!(["fine", "complete"]),
        ];
        assert_eq!(said(&caller, url, room).await, expected);
    }
    // Both calls that died are booked, once.
    let lost = || server.said().matches("\"chat.call.lost\"").count();
    eventually("what died is booked", || (lost() == 2).then_some(())).await;
    let list = caller.get(url, "/v1/me/entitlements").await;
    assert_eq!(list["data"][1]["used"], 4, "{list}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lost(), 2, "{}", server.said());
}

async fn a_running_answer_holds_its_conversation_for_longer_than_a_lease(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([("server.lease_seconds", "1"), ONE_URL]);
    let variables = setup.variables(&settings);
    let servers = [
        Server::start(setup.folder(), &variables).await,
        Server::start(setup.folder(), &variables).await,
    ];
    let caller = Caller::new(&servers[0]).await;
    let made = caller.made(&servers[0].url, "/v1/conversations", &json!({})).await;
    let room = format!("/v1/conversations/{}/messages", made["id"].as_str().unwrap());
    let gate = Arc::new(Semaphore::new(0));
    let steps = vec![
        Step::Gate(Arc::clone(&gate)),
        sse(&chunk("whole")),
        sse("[DONE]"),
        Step::End,
    ];
    upstream.on("m", Script::stream(steps));
    let keyed = json!({ "content": "one" });
    let waiting = tokio::spawn({
        let (caller, url, room, keyed) = (caller.clone(), servers[0].url.clone(), room.clone(), keyed.clone());
        async move { caller.post(&url, &room, "once", &keyed).await.unwrap() }
    });
    upstream.called(1).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        for (key, code) in [("", "conversation_busy"), ("once", "idempotency_key_in_use")] {
            let refused = caller.post(&servers[1].url, &room, key, &keyed).await.unwrap();
            let body: Value = refused.json().await.unwrap();
            assert_eq!(body["code"], code, "{body}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    gate.add_permits(1);
    let answer: Value = waiting.await.unwrap().json().await.unwrap();
    assert_eq!(answer["content"], "whole", "{answer}");
    let again = caller.post(&servers[1].url, &room, "once", &keyed).await.unwrap();
    assert_eq!(again.json::<Value>().await.unwrap(), answer);
    for server in &servers {
        assert!(!server.said().contains("chat.call.lost"), "{}", server.said());
    }
}

const KEYS: usize = 90;

async fn what_is_made_under_a_key_is_made_once(setup: &Setup) {
    let variables = setup.variables(&[("server.lease_seconds", "1"), ONE_URL]);
    let mut server = Server::start(setup.folder(), &variables).await;
    let caller = Caller::new(&server).await;
    let make = |url: &str, number: usize| {
        let (caller, url) = (caller.clone(), url.to_owned());
        async move {
            let ask = json!({ "title": format!("number {number}") });
            let key = format!("key-{number}");
            caller
                .post_until_free(&url, "/v1/conversations", &key, &ask, &["idempotency_key_in_use"])
                .await
        }
    };
    // The process dies at whatever point each of them has come to.
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let first: Vec<Option<Value>> = stream::iter(0..KEYS)
        .map(|number| {
            let (caller, url) = (caller.clone(), server.url.clone());
            let (acknowledged, server) = (Arc::clone(&acknowledged), &server);
            async move {
                let ask = json!({ "title": format!("number {number}") });
                let key = format!("key-{number}");
                let answer = caller.post(&url, "/v1/conversations", &key, &ask).await?;
                assert_eq!(answer.status(), 201);
                let made = answer.json().await.ok()?;
                if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == KEYS / 3 {
                    server.signal(Signal::KILL);
                }
                Some(made)
            }
        })
        .buffered(CONNECTIONS)
        .collect()
        .await;
    server.ended().await;
    let unanswered = first.iter().filter(|made| made.is_none()).count();
    assert!(unanswered > 0, "it died too late");

    let server = Server::start(setup.folder(), &variables).await;
    let second: Vec<(u16, Value)> = stream::iter(0..KEYS)
        .map(|number| make(&server.url, number))
        .buffered(CONNECTIONS)
        .collect()
        .await;
    for (before, (status, now)) in first.iter().zip(&second) {
        assert_eq!(*status, 201, "{now}");
        // Who was answered is answered the same. Its key may have died unanswered, but what it made is found again.
        assert!(before.as_ref().is_none_or(|before| before == now), "{before:?}, {now}");
    }
    let list = caller.get(&server.url, "/v1/conversations?limit=100").await;
    let mut titles: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["title"].as_str().unwrap())
        .collect();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(
        (titles.len(), list["data"].as_array().unwrap().len()),
        (KEYS, KEYS),
        "each once: {list}"
    );
}
