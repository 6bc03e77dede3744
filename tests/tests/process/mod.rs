//! The binary as a process: how it starts, stops, dies, and what it says.

mod administer;
mod cli;
mod import;
mod keys;
mod kill9;
mod log;
mod metrics;
mod migrate;
mod nodes;
mod own_schema;
mod refusals;
mod secrets;
mod shutdown;
mod store_down;
mod telemetry;

use anteroom_tests::{PASSWORD, app::http_client};
use serde_json::{Value, json};

/// Posts JSON to a process; `None` if no answer came. Answers of processes are judged elsewhere, in-process.
async fn post(client: &reqwest::Client, url: &str, body: &Value) -> Option<(u16, Value)> {
    let sent = client
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .ok()?;
    let status = sent.status().as_u16();
    let text = sent.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or_default()))
}

/// Signs somebody up and answers their access token.
async fn sign_up(url: &str, email: &str) -> String {
    let ask = json!({ "email": email, "password": PASSWORD });
    let (status, body) = post(&http_client(), &format!("{url}/v1/auth/signup"), &ask)
        .await
        .unwrap();
    assert_eq!(status, 201, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

/// The status of a login.
async fn log_in(client: &reqwest::Client, url: &str, email: &str) -> u16 {
    let ask = json!({ "email": email, "password": PASSWORD });
    post(client, &format!("{url}/v1/auth/login"), &ask)
        .await
        .map_or(0, |(status, _)| status)
}
