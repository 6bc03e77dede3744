//! Traces at a collector, from the real binary.

use std::time::{Duration, Instant};

use anteroom_testkit::{CollectedSpan, Collector};
use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::upstream::{KEY, chunk, completion, usage_chunk};
use anteroom_tests::{PASSWORD, Script, Setup, Upstream, eventually, on_every_store};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::sign_up;

on_every_store![
    a_call_is_traced_down_to_its_targets,
    answers_are_told_of_in_every_dialect,
    what_is_said_is_told_only_where_that_is_wanted,
    a_collector_that_is_away_holds_nobody_up,
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CONTENT: [&str; 4] = [
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "anteroom.content.truncated",
];

const PROMPT: &str = "a question that no collector is told";

async fn ask(server: &Server, token: &str, model: &str, stream: bool) -> u16 {
    let messages = json!([{ "role": "user", "content": PROMPT }]);
    ask_about(server, token, model, stream, &messages).await
}

async fn ask_about(server: &Server, token: &str, model: &str, stream: bool, messages: &Value) -> u16 {
    let body = json!({ "model": model, "stream": stream, "messages": messages });
    post(server, token, "/v1/chat/completions?key=canary", &body).await.0
}

/// Posts within the trace. The answer's body is `null` where it is no JSON.
async fn post(server: &Server, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = http_client().post(format!("{}{path}", server.url));
    let request = request
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// The chunk that says why the answer ended.
fn ended(reason: &str) -> String {
    chunk("").replace("\"finish_reason\":null", &format!("\"finish_reason\":\"{reason}\""))
}

#[expect(clippy::cast_precision_loss, reason = "a test does not take for days")]
fn as_f64(nanoseconds: u64) -> f64 {
    nanoseconds as f64
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
        Script::data(&[
            &chunk("an answer that no collector is told"),
            &ended("stop"),
            &usage_chunk(5, 2),
            "[DONE]",
        ]),
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
    assert_eq!(fine.attributes["gen_ai.request.stream"], true);
    assert_eq!(fine.attributes["gen_ai.response.id"], "chatcmpl-1");
    assert_eq!(fine.attributes["gen_ai.response.model"], "scripted");
    assert_eq!(fine.attributes["gen_ai.response.finish_reasons"], json!(["stop"]));
    assert_eq!(fine.attributes["gen_ai.usage.output_tokens"], 2);
    let first = fine.attributes["gen_ai.response.time_to_first_chunk"].as_f64().unwrap();
    assert!(
        first > 0.0 && first * 1e9 <= as_f64(fine.nanoseconds),
        "{first} {fine:?}"
    );
    for told in CONTENT.into_iter().chain(["gen_ai.response.id"]) {
        assert!(!broken.attributes.contains_key(told), "{told}");
    }
    for told in CONTENT {
        assert!(!fine.attributes.contains_key(told), "{told}");
    }

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

/// What Anthropic's and Gemini's own APIs answer.
fn foreign(path: &str, streamed: bool) -> Option<Script> {
    let data = |data: &[String]| Script::data(&data.iter().map(String::as_str).collect::<Vec<_>>());
    if path.ends_with("/messages") {
        let message = |content: Value, reason: Value| {
            json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-0613", "content": content,
                "stop_reason": reason, "usage": { "input_tokens": 5, "output_tokens": 2 },
            })
        };
        if !streamed {
            let content = json!([{ "type": "text", "text": "an answer that no collector is told" }]);
            return Some(Script::json(&message(content, "max_tokens".into()).to_string()));
        }
        let events = [
            json!({ "type": "message_start", "message": message(json!([]), Value::Null) }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "an answer that no collector is told" } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "max_tokens" }, "usage": { "output_tokens": 2 } }),
            json!({ "type": "message_stop" }),
        ];
        return Some(data(&events.map(|event| event.to_string())));
    }
    let answer = json!({
        "responseId": "gem_1", "modelVersion": "gem-0613",
        "candidates": [{ "index": 0, "content": { "parts": [{ "text": "an answer that no collector is told" }] }, "finishReason": "MAX_TOKENS" }],
        "usageMetadata": { "promptTokenCount": 5, "candidatesTokenCount": 2 },
    })
    .to_string();
    match path.rsplit_once(':')?.1 {
        "generateContent" => Some(Script::json(&answer)),
        _ => Some(data(&[answer])),
    }
}

const PLANS: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", limit = 100, window = "day" }] }]"#;

/// Providers of every kind, and an alias of each.
fn of_every_kind(upstream: &Upstream) -> [(&'static str, String); 3] {
    let base = &upstream.url;
    let providers = format!(
        r#"[{{ name = "o", kind = "openai", base_url = "{base}", api_key_variable = "O_KEY" }}, {{ name = "a", kind = "anthropic", base_url = "{base}" }}, {{ name = "g", kind = "gemini", base_url = "{base}" }}, {{ name = "e", kind = "echo" }}]"#
    );
    let aliases = ["o", "a", "g", "e"].map(|name| {
        let model = if name == "e" { "echo" } else { name };
        format!(r#"{{ name = "{name}", targets = [{{ provider = "{name}", model = "{model}" }}] }}"#)
    });
    [
        ("ai.providers", providers),
        ("ai.aliases", format!("[{}]", aliases.join(", "))),
        ("billing.plans", PLANS.to_owned()),
    ]
}

async fn answers_are_told_of_in_every_dialect(setup: &Setup) {
    let (upstream, collector) = (Upstream::start().await, Collector::start());
    upstream.judge(|call| {
        let streamed = serde_json::from_slice::<Value>(&call.body).is_ok_and(|body| body["stream"] == true);
        foreign(&call.path, streamed)
    });
    let answer = |text: &str| completion(text).replace("\"stop\"", "\"length\"");
    let kinds = of_every_kind(&upstream);
    let mut settings: Vec<(&str, &str)> = kinds.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.extend([
        ("telemetry.otlp_endpoint", collector.url.as_str()),
        ("O_KEY", "key-of-the-upstream"),
    ]);
    let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    for stream in [false, true] {
        upstream.on(
            "o",
            if stream {
                Script::data(&[
                    &chunk("an answer that no collector is told"),
                    &ended("length"),
                    "[DONE]",
                ])
            } else {
                Script::json(&answer("an answer that no collector is told"))
            },
        );
        for model in ["o", "a", "g", "e"] {
            assert_eq!(ask(&server, &token, model, stream).await, 200, "{model}");
        }
    }
    let spans = eventually("the spans arrive", || {
        let spans = collector.spans();
        let calls = spans.iter().filter(|span| span.name.starts_with("chat ")).count();
        (calls == 8).then_some(spans)
    })
    .await;
    for (name, kind, id, model, reason) in [
        ("chat o", "openai", "chatcmpl-1", "scripted", "length"),
        ("chat a", "anthropic", "msg_1", "claude-0613", "length"),
        ("chat g", "gcp.gemini", "gem_1", "gem-0613", "length"),
        ("chat echo", "anteroom.echo", "chatcmpl-", "echo", "stop"),
    ] {
        let calls = of(&spans, name);
        assert_eq!(calls.len(), 2, "{name} {spans:?}");
        let streamed = |call: &&&CollectedSpan| call.attributes.contains_key("gen_ai.request.stream");
        assert_eq!(calls.iter().filter(streamed).count(), 1, "{name}");
        for call in calls {
            let told = &call.attributes;
            assert_eq!(told["gen_ai.provider.name"], kind);
            assert!(told["gen_ai.response.id"].as_str().unwrap().starts_with(id), "{call:?}");
            assert_eq!(told["gen_ai.response.model"], model);
            assert_eq!(told["gen_ai.response.finish_reasons"], json!([reason]));
            assert_eq!(
                told.contains_key("gen_ai.request.stream"),
                told.contains_key("gen_ai.response.time_to_first_chunk"),
                "{call:?}"
            );
        }
    }
    for canary in [PROMPT, "no collector is told", &token] {
        assert!(!collector.was_sent(canary), "{canary}");
    }
}

async fn what_is_said_is_told_only_where_that_is_wanted(setup: &Setup) {
    let (upstream, collector) = (Upstream::start().await, Collector::start());
    let said = "what is said to models";
    upstream.judge(|call| foreign(&call.path, false));
    upstream.on(
        "o",
        Script::data(&[&chunk("fi"), &chunk("ne"), &ended("stop"), "[DONE]"]),
    );
    let kinds = of_every_kind(&upstream);
    let mut settings: Vec<(&str, &str)> = kinds.iter().map(|(key, value)| (*key, value.as_str())).collect();
    settings.extend([
        ("telemetry.otlp_endpoint", collector.url.as_str()),
        ("telemetry.content", "true"),
        ("telemetry.content_max_bytes", "1024"),
        (
            "ai.assistants",
            r#"[{ name = "butler", model = "a", instructions = "Be polite." }]"#,
        ),
        ("moderation.adapter", "rules"),
        (
            "moderation.rules",
            r#"[{ name = "fish", words = ["swordfish", "red herring"] }]"#,
        ),
        ("O_KEY", KEY),
        ("log.level", "trace"),
    ]);
    let server = Server::start(setup.folder(), &setup.variables(&settings)).await;
    let token = sign_up(&server.url, "ada@example.com").await;
    let system = json!({ "role": "system", "content": "Be brief." });
    let user = json!({ "role": "user", "content": said });
    // Said and answered; said to an assistant; and three that moderation refuses: a question, and answers.
    let both = json!([system, user]);
    assert_eq!(ask_about(&server, &token, "o", true, &both).await, 200);
    assert_eq!(ask_about(&server, &token, "assistant:butler", false, &both).await, 200);
    let refused = json!([{ "role": "user", "content": "A red herring?" }]);
    assert_eq!(ask_about(&server, &token, "g", false, &refused).await, 200);
    let fish = format!("Swordfish, says {KEY}.");
    for (stream, script) in [
        (true, Script::data(&[&chunk(&fish), &ended("stop"), "[DONE]"])),
        (false, Script::json(&completion(&fish))),
    ] {
        upstream.on("o", script);
        assert_eq!(ask_about(&server, &token, "o", stream, &both).await, 200);
    }
    // An answer with the key in it, and a question that is too long.
    upstream.on("o", Script::json(&completion(&format!("My key is {KEY}."))));
    let long = json!([system, user, { "role": "user", "content": "x".repeat(5000) }]);
    assert_eq!(ask_about(&server, &token, "o", false, &long).await, 200);
    // A conversation, whose second question brings the first one along.
    let begin = json!({ "model": "e", "instructions": "Be brief." });
    let (_, conversation) = post(&server, &token, "/v1/conversations", &begin).await;
    let path = format!("/v1/conversations/{}/messages", conversation["id"].as_str().unwrap());
    for stream in [false, true] {
        let asked = post(&server, &token, &path, &json!({ "content": said, "stream": stream })).await;
        assert!(matches!(asked.0, 200 | 201), "{asked:?}");
    }

    let spans = eventually("the spans arrive", || {
        let spans = collector.spans();
        let calls = spans.iter().filter(|span| span.name.starts_with("chat ")).count();
        (calls == 7).then_some(spans)
    })
    .await;
    let read = |span: &CollectedSpan, name: &str| -> Value {
        let text = span.attributes.get(name).and_then(Value::as_str);
        text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    };
    let message = |role: &str, text: &str| json!({ "role": role, "parts": [{ "type": "text", "content": text }] });
    let answer = |text: &str, reason: &str| {
        let mut answer = message("assistant", text);
        answer["finish_reason"] = reason.into();
        json!([answer])
    };
    let question = json!([message("system", "Be brief."), message("user", said)]);
    let (mut told, mut refused, mut cut) = (0, 0, 0);
    for span in of(&spans, "chat o") {
        if span.attributes.contains_key("anteroom.content.truncated") {
            cut += 1;
            let text = span.attributes["gen_ai.input.messages"].as_str().unwrap();
            assert!(
                text.len() <= 1024 && text.contains("xxx") && !text.contains(said),
                "{text}"
            );
            assert!(span.attributes.contains_key("gen_ai.output.messages"));
            continue;
        }
        assert_eq!(read(span, "gen_ai.input.messages"), question);
        // They are messages there.
        assert!(!span.attributes.contains_key("gen_ai.system_instructions"));
        if span.attributes["anteroom.outcome"] == "filtered" {
            refused += 1;
            assert!(!span.attributes.contains_key("gen_ai.output.messages"), "{span:?}");
        } else {
            told += 1;
            assert_eq!(read(span, "gen_ai.output.messages"), answer("fine", "stop"));
        }
    }
    assert_eq!((told, refused, cut), (1, 2, 1), "{spans:?}");
    let butler = of(&spans, "chat a")[0];
    let instructions = read(butler, "gen_ai.system_instructions");
    assert_eq!(instructions[0], json!({ "type": "text", "content": "Be polite." }));
    assert_eq!(read(butler, "gen_ai.input.messages"), json!([message("user", said)]));
    let spoken = answer("an answer that no collector is told", "length");
    assert_eq!(read(butler, "gen_ai.output.messages"), spoken);
    let mut remembered = Vec::new();
    for span in of(&spans, "chat echo") {
        assert_eq!(read(span, "gen_ai.output.messages"), answer(said, "stop"));
        let messages = read(span, "gen_ai.input.messages");
        assert_eq!(messages[0], message("system", "Be brief."));
        remembered.push(messages.as_array().unwrap().len());
    }
    remembered.sort_unstable();
    assert_eq!(remembered, [2, 4], "{spans:?}");

    for canary in [KEY, &token, "ada@example.com", PASSWORD, "wordfish", "red herring"] {
        assert!(!collector.was_sent(canary), "{canary}");
    }
    // The log says that it is on, and has none of it.
    let log = server.said();
    assert!(log.contains("telemetry.content is on"), "{log:.2000}");
    assert!(
        !log.contains(said) && !log.contains("gen_ai."),
        "what is told stands in the log"
    );
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
