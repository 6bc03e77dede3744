//! Lines of the log: one for each thing that happened, whatever strangers send.

use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::{PASSWORD, Script, Setup, Upstream, eventually, on_every_store};
use serde_json::{Value, json};

use super::{post, sign_up};

on_every_store![no_line_is_forged, an_untrusted_proxy_is_told_of_once,];

/// What would be a line of its own, or hide one, if it came through as it is.
const FORGED: &str = "x\n2026-01-01T00:00:00.000000Z  INFO event=\"forged.line\"\r\n{\"level\":\"INFO\",\"event\":\"forged.line\"}\u{85}a\u{2028}b\u{2029}c\u{1b}[2Kd\u{9b}2Ke";

/// The part of it that a header may have: bytes over 127 are allowed there (RFC 9110 section 5.5).
const IN_HEADERS: &str = "x\u{85}a\u{2028}event=\"forged.line\"\u{2029}c\u{9b}2Ke";

async fn no_line_is_forged(setup: &Setup) {
    let upstream = Upstream::start().await;
    let error = json!({ "error": { "message": FORGED, "type": FORGED, "code": FORGED } }).to_string();
    // A provider that cannot be trusted to name its models.
    upstream.on(
        "models",
        Script::json(&json!({ "object": "list", "data": [{ "id": FORGED }] }).to_string()),
    );
    for format in ["json", "text"] {
        let mut settings = upstream.settings("").to_vec();
        settings.extend([("log.format", format), ("log.level", "trace")]);
        let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
        let (client, url) = (http_client(), &server.url);
        let token = sign_up(url, &format!("{format}@example.com")).await;
        for (path, body) in [
            ("/v1/auth/login", json!({ "email": FORGED, "password": FORGED })),
            (
                "/v1/auth/login",
                json!({ "email": format!("{FORGED}@example.com"), "password": PASSWORD }),
            ),
            ("/v1/auth/login", json!({ "email": "a@example.com", FORGED: 1 })),
            (
                "/v1/auth/signup",
                json!({ "email": format!("\"{FORGED}\"@example.com"), "password": PASSWORD }),
            ),
            ("/v1/auth/password/forgot", json!({ "email": FORGED })),
            ("/v1/auth/email/verify", json!({ "token": FORGED })),
        ] {
            post(&client, &format!("{url}{path}"), &body).await.unwrap();
        }
        let by = |method: &str, path: &str, body: &Value| {
            let request = client.request(method.parse().unwrap(), format!("{url}{path}"));
            let header = |text: &str| reqwest::header::HeaderValue::from_bytes(text.as_bytes()).unwrap();
            request
                .bearer_auth(&token)
                .header("content-type", "application/json")
                .header("user-agent", header(IN_HEADERS))
                .header("x-forwarded-for", header(IN_HEADERS))
                .header("idempotency-key", header(IN_HEADERS))
                .body(body.to_string())
        };
        let ask = json!({ "model": FORGED, "messages": [{ "role": "user", "content": FORGED }] });
        for status in [200, 400, 401, 500] {
            upstream.on(
                FORGED,
                Script::answer(status, &[("content-type", "application/json")], &error),
            );
            by("POST", "/v1/chat/completions", &ask).send().await.unwrap();
        }
        let unknown = json!({ "model": format!("{FORGED}!"), "messages": [{ "role": "user", "content": FORGED }] });
        by("POST", "/v1/chat/completions", &unknown).send().await.unwrap();
        by("PATCH", "/v1/me", &json!({ "name": FORGED, "locale": FORGED }))
            .send()
            .await
            .unwrap();
        by(
            "POST",
            "/v1/conversations",
            &json!({ "title": FORGED, "instructions": FORGED }),
        )
        .send()
        .await
        .unwrap();
        by(
            "GET",
            "/v1/conversations?cursor=%0a%1b%5b2K%e2%80%a8event=forged.line",
            &json!({}),
        )
        .send()
        .await
        .unwrap();
        by("GET", "/%0aevent=%22forged.line%22%e2%80%a8", &json!({}))
            .send()
            .await
            .unwrap();
        by(
            "POST",
            "/v1/auth/login",
            &json!({ "email": format!("{format}@example.com"), "password": PASSWORD }),
        )
        .send()
        .await
        .unwrap();
        let last = json!({ "email": "the-last@example.com", "password": PASSWORD });
        post(&client, &format!("{url}/v1/auth/signup"), &last).await;
        let said = eventually("the refused call is logged", || {
            let said = server.said();
            (said.contains("chat.call.failed") && said.matches("/v1/auth/signup").count() >= 2).then_some(said)
        })
        .await;
        drop(server);
        let lines: Vec<&str> = said.split('\n').filter(|line| !line.is_empty()).collect();
        assert!(said.contains("forged.line"), "{format}: it was to be said, escaped");
        let odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let begun = lines.iter().position(|line| line.contains("server.started")).unwrap();
        for line in &lines[begun..] {
            assert!(!line.chars().any(odd), "{format}: {line:?}");
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
                assert!(
                    line["event"] != "forged.line" && line["timestamp"].is_string(),
                    "{line}"
                );
            } else if !line.starts_with("  ") && line.contains("event=") {
                // Lines of the log begin with when it was; the greeting to people is no line of the log.
                let stamp = line.split(' ').next().unwrap();
                assert!(stamp.parse::<jiff::Timestamp>().is_ok(), "{line:?}");
                assert!(!stamp.starts_with("2026-01-01T00:00:00"), "{line:?}");
            }
        }
    }
}

async fn an_untrusted_proxy_is_told_of_once(setup: &Setup) {
    let said_by = async |trusted: &str| {
        let settings = [("server.trusted_proxies", trusted)];
        let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
        let client = http_client();
        for number in 0..5 {
            let ask = client.get(format!("{}/v1/plans", server.url));
            let ask = ask.header("x-forwarded-for", format!("203.0.113.{number}"));
            assert_eq!(ask.send().await.unwrap().status(), 200);
        }
        eventually("all requests are logged", || {
            let said = server.said();
            (said.matches("\"/v1/plans\"").count() == 5).then_some(said)
        })
        .await
    };
    let said = said_by("").await;
    let told: Vec<Value> = said
        .lines()
        .filter(|line| line.contains("\"proxy.untrusted\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["level"], &told[0]["peer"]),
        (&json!("WARN"), &json!("127.0.0.1"))
    );
    assert!(!said_by("127.0.0.0/8").await.contains("proxy.untrusted"));
}
