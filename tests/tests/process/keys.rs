//! `anteroom keys`, beside a running server.

use anteroom_tests::app::http_client;
use anteroom_tests::process::{Server, command, output};
use anteroom_tests::{Setup, eventually_asking, on_every_store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::sign_up;

on_every_store![lists_rotates_and_revokes_signing_keys_beside_a_running_server];

fn keys(setup: &Setup, arguments: &[&str]) -> (bool, String) {
    let words = [&["keys"][..], arguments].concat();
    let output = output(command(setup.folder(), &setup.variables(&[]), &words), "");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&output.stdout), said(&output.stderr));
    let ok = output.status.success();
    (ok, if ok { out } else { err })
}

/// The kid and the state of each key.
fn listed(setup: &Setup) -> Vec<(String, String)> {
    let (ok, said) = keys(setup, &["list"]);
    assert!(ok, "{said}");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0].to_owned(), words[2].to_owned())
    };
    said.lines().map(row).collect()
}

fn header(token: &str) -> Value {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

async fn published(server: &Server) -> usize {
    let set = http_client().get(format!("{}/.well-known/jwks.json", server.url));
    let set: Value = set.send().await.unwrap().json().await.unwrap();
    set["keys"].as_array().unwrap().len()
}

async fn me(server: &Server, token: &str) -> u16 {
    let ask = http_client().get(format!("{}/v1/me", server.url)).bearer_auth(token);
    ask.send().await.unwrap().status().as_u16()
}

async fn lists_rotates_and_revokes_signing_keys_beside_a_running_server(setup: &Setup) {
    let server = Server::start(setup.folder(), &setup.variables(&[])).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let first = header(&token)["kid"].as_str().unwrap().to_owned();
    assert_eq!(listed(setup), [(first.clone(), "signing".to_owned())]);

    let (ok, said) = keys(setup, &["rotate"]);
    assert!(ok && said.contains("(EdDSA), which signs from "), "{said}");
    let states: Vec<String> = listed(setup).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["signing", "pending"]);
    eventually_asking("it is published", async || {
        (published(&server).await == 2).then_some(())
    })
    .await;
    assert_eq!(me(&server, &token).await, 200);

    let (ok, said) = keys(setup, &["rotate", "--now", "--algorithm", "es256"]);
    assert!(ok && said.contains("(ES256), which signs from "), "{said}");
    eventually_asking("it is published", async || {
        (published(&server).await == 3).then_some(())
    })
    .await;
    let fresh = sign_up(&server.url, "bob@example.com").await;
    assert_eq!(header(&fresh)["alg"], "ES256");
    assert_eq!((me(&server, &token).await, me(&server, &fresh).await), (200, 200));

    let begun = std::time::Instant::now();
    let (ok, said) = keys(setup, &["revoke", &first]);
    assert!(ok && said.contains(&format!("revoked the key {first}")), "{said}");
    eventually_asking("it is refused", async || {
        (me(&server, &token).await == 401).then_some(())
    })
    .await;
    assert!(
        begun.elapsed().as_secs() < 10,
        "{:?}, a command's start included",
        begun.elapsed()
    );
    assert_eq!(me(&server, &fresh).await, 200);
    let (ok, said) = keys(setup, &["revoke", &first]);
    assert!(!ok && said.contains("has been revoked before"), "{said}");
    let (ok, said) = keys(setup, &["revoke", "-nothing"]);
    assert!(!ok && said.contains("there is no signing key `-nothing`"), "{said}");
}
