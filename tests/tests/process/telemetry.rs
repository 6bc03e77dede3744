//! Traces at a collector, from the real binary.

use std::time::{Duration, Instant};

use anteroom_testkit::{CollectedSpan, Collector};
use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::upstream::chunk;
use anteroom_tests::{Script, Setup, Upstream, eventually, on_every_store};
use rustix::process::Signal;
use serde_json::json;

use super::sign_up;

on_every_store![
    a_call_is_traced_down_to_its_targets,
    a_collector_that_is_away_holds_nobody_up,
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PROMPT: &str = "a question that no collector is told";

async fn ask(server: &Server, token: &str, model: &str, stream: bool) -> u16 {
    let body = json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": PROMPT }] });
    let request = http_client().post(format!("{}/v1/chat/completions?key=canary", server.url));
    let request = request
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    answer.text().await.unwrap();
    status
}

fn of<'a>(spans: &'a [CollectedSpan], name: &str) -> Vec<&'a CollectedSpan> {
    let mine = |span: &&CollectedSpan| span.trace == TRACE && span.name == name;
    spans.iter().filter(mine).collect()
}

async fn a_call_is_traced_down_to_its_targets(setup: &Setup) {
    let (upstream, collector) = (Upstream::start().await, Collector::start());
    upstream.on("broken", Script::answer(500, &[], ""));
    upstream.on(
        "fine",
        Script::data(&[&chunk("an answer that no collector is told"), "[DONE]"]),
    );
    let providers = format!(
        r#"[{{ name = "far", kind = "openai", base_url = "{}" }}]"#,
        upstream.url
    );
    let aliases = r#"[{ name = "fast", targets = [{ provider = "far", model = "broken" }, { provider = "far", model = "fine" }] }]"#;
    let settings = [
        ("telemetry.otlp_endpoint", collector.url.as_str()),
        ("telemetry.otlp_headers", "x-key=k3y"),
        ("ai.providers", &providers),
        ("ai.aliases", aliases),
        // What is traced does not depend on what is logged; and what is traced is in no line, however much is.
        ("log.level", "warn,anteroom_app::server=info"),
    ];
    let mut server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    assert_eq!(ask(&server, &token, "fast", true).await, 200);
    assert_eq!(ask(&server, &token, "made up", false).await, 403);
    let spans = eventually("the spans arrive", || {
        let spans = collector.spans();
        (spans.iter().filter(|span| span.trace == TRACE).count() == 4).then_some(spans)
    })
    .await;

    let requests = of(&spans, "POST /v1/chat/completions");
    let (broken, fine) = (of(&spans, "chat broken"), of(&spans, "chat fine"));
    assert_eq!((requests.len(), broken.len(), fine.len()), (2, 1, 1), "{spans:?}");
    for request in &requests {
        assert_eq!((request.kind, request.parent.as_str()), (2, "00f067aa0ba902b7"));
        assert_eq!(request.attributes["http.route"], "/v1/chat/completions");
        assert_eq!(request.attributes["http.request.method"], "POST");
        assert_eq!(request.resource["service.name"], "anteroom");
    }
    let status = |status: u16| {
        let is_it = |span: &&&CollectedSpan| span.attributes["http.response.status_code"] == status;
        requests.iter().find(is_it).unwrap()
    };
    assert!(!status(403).failed, "a refusal is no failure of the server");
    let (broken, fine) = (broken[0], fine[0]);
    for call in [broken, fine] {
        assert_eq!((call.kind, &call.parent), (3, &status(200).id));
        assert_eq!(call.attributes["gen_ai.operation.name"], "chat");
        assert_eq!(call.attributes["gen_ai.provider.name"], "openai");
        assert_eq!(call.attributes["anteroom.provider"], "far");
        assert_eq!(call.attributes["anteroom.model"], "fast");
        assert_eq!(call.attributes["server.address"], "127.0.0.1");
    }
    assert!(broken.failed && !fine.failed);
    assert_eq!(broken.attributes["gen_ai.request.model"], "broken");
    assert_eq!(broken.attributes["error.type"], "upstream");
    assert_eq!(fine.attributes["gen_ai.request.model"], "fine");
    assert_eq!(fine.attributes["anteroom.outcome"], "complete");

    // What the last moment brings is sent before the end.
    let before = collector.spans().len();
    assert_eq!(ask(&server, &token, "fast", true).await, 200);
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    assert!(collector.spans().len() > before);
    for canary in [PROMPT, "no collector is told", "ada@example.com", &token, "key=canary"] {
        assert!(!collector.was_sent(canary), "{canary}");
    }
    assert!(!server.said().contains("gen_ai."), "{}", server.said());
}

async fn a_collector_that_is_away_holds_nobody_up(setup: &Setup) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let settings = [("telemetry.otlp_endpoint", url.as_str()), ("ai.models", "echo")];
    let mut server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    for _ in 0..20 {
        assert_eq!(ask(&server, &token, "echo", true).await, 200);
    }
    eventually("it is said", || {
        server.said().contains("telemetry.collector.away").then_some(())
    })
    .await;
    assert_eq!(ask(&server, &token, "echo", true).await, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.said().matches("telemetry.collector.away").count(), 1);
}
