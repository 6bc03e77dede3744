//! A process that is killed loses nothing that it has acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::{PASSWORD, Setup, on_every_store};
use futures_util::StreamExt as _;
use futures_util::stream;
use rustix::process::Signal;
use serde_json::json;

use super::{log_in, post};

on_every_store![every_acknowledged_signup_can_log_in_afterwards];

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
