//! Google's API for Gemini against the contracts, and what is its own on top of them. The server is written from the
//! API's documentation.

use std::sync::Arc;
use std::time::Duration;

use anteroom_ai_provider::{Gemini, GeminiOptions, Timeouts};
use anteroom_contract::chat_model::{ANSWER, ARGUMENTS, FAILURE, KEY, Scene, USAGE};
use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{EmbedCall, ProviderErrorKind};
use anteroom_ports::{ChatModel as _, Embedder as _};
use anteroom_testkit::FixedClock;
use serde_json::{Value, json};

use crate::stage::{Stage, VectorStage, vector_of};
use crate::upstream::{Received, Step, Upstream, data, end, head, json as answer, whole};
use crate::{PATIENT, call, datas};

fn stage() -> Stage {
    Stage::new(play, |base_url, timeouts| Box::new(model(base_url, KEY, timeouts)))
}

fn vectors() -> VectorStage {
    VectorStage::new(embed, |base_url, timeouts| Box::new(model(base_url, KEY, timeouts)))
}

pub fn model(base_url: &str, key: &str, timeouts: Timeouts) -> Gemini {
    let options = GeminiOptions {
        base_url: base_url.parse().unwrap(),
        api_key: key.into(),
        timeouts,
    };
    Gemini::new(options, Arc::new(FixedClock::new())).unwrap()
}

anteroom_contract::chat_model_contract!(stage(); answers);
anteroom_contract::chat_model_contract!(stage(); failures);
anteroom_contract::chat_model_contract!(stage(); cumulative);
anteroom_contract::embedder_contract!(vectors(); answers);
anteroom_contract::embedder_contract!(vectors(); failures);

fn failure(status: u16) -> Value {
    let message = format!("{FAILURE} {KEY}");
    json!({ "error": { "code": status, "message": message, "status": "INVALID_ARGUMENT" } })
}

/// What was used as Gemini counts: thought beside the answer.
fn usage(usage: TokenUsage) -> Value {
    json!({
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens - usage.reasoning_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "totalTokenCount": usage.prompt_tokens + usage.completion_tokens,
    })
}

fn part_of(parts: &Value, finish_reason: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if let Some(reason) = finish_reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({ "candidates": [candidate], "modelVersion": "gemini-x-1", "responseId": "r1" })
}

fn text(text: &str) -> Value {
    part_of(&json!([{ "text": text }]), None)
}

fn with_usage(mut part: Value, used: TokenUsage) -> Value {
    part["usageMetadata"] = usage(used);
    part
}

fn event(part: &Value) -> Step {
    data(&part.to_string())
}

fn play(scene: Scene, request: &Received) -> Vec<Step> {
    match scene {
        Scene::Refuses(status) => {
            let headers = "content-type: application/json\r\nretry-after: 7\r\n";
            return vec![whole(status, headers, &failure(status).to_string())];
        }
        Scene::Garbage => return vec![whole(200, "content-type: text/html\r\n", "<html>It works!</html>")],
        Scene::Silent => return vec![Step::Hang],
        _ => {}
    }
    assert_eq!(request.header("x-goog-api-key"), Some(KEY));
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/models?pageSize=1000") => {
            let entry = json!({ "name": "models/gemini-x-1", "supportedGenerationMethods": ["generateContent"] });
            vec![answer(200, &json!({ "models": [entry] }).to_string())]
        }
        ("POST", "/v1/models/m:generateContent") => at_once(scene),
        ("POST", "/v1/models/m:streamGenerateContent?alt=sse") => streamed(scene),
        other => panic!("{other:?}"),
    }
}

fn tool_part() -> Value {
    let arguments: Value = serde_json::from_str(ARGUMENTS).unwrap();
    json!([{ "functionCall": { "name": "weather", "args": arguments } }])
}

fn at_once(scene: Scene) -> Vec<Step> {
    if scene == Scene::Breaks {
        let part = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"candidates\":";
        return vec![Step::Send(part.into()), Step::Close];
    }
    let parts = if scene == Scene::ToolCall {
        tool_part()
    } else {
        json!([{ "text": ANSWER }])
    };
    let made = part_of(&parts, Some("STOP"));
    let made = if scene == Scene::NoUsage {
        made
    } else {
        with_usage(made, USAGE)
    };
    vec![answer(200, &made.to_string())]
}

fn streamed(scene: Scene) -> Vec<Step> {
    let words: Vec<&str> = ANSWER.split_inclusive(' ').collect();
    let part = [vec![head()], words[..2].iter().map(|w| event(&text(w))).collect()].concat();
    let all = [vec![head()], words.iter().map(|w| event(&text(w))).collect()].concat();
    let last = part_of(&json!([{ "text": "" }]), Some("STOP"));
    let flood = |size: usize, pause| {
        let Step::Send(bytes) = event(&text(&"x".repeat(size))) else {
            unreachable!();
        };
        vec![Step::Repeat(bytes, Duration::from_millis(pause))]
    };
    match scene {
        Scene::NoUsage => [all, vec![event(&last), end()]].concat(),
        Scene::CumulativeUsage => {
            let so_far = |(number, word): (usize, &&str)| {
                let number = i64::try_from(number).unwrap();
                let said = TokenUsage {
                    completion_tokens: USAGE.completion_tokens.min(number * 2 + 3),
                    ..USAGE
                };
                event(&with_usage(text(word), said))
            };
            let words = words.iter().enumerate().map(so_far).collect();
            [vec![head()], words, vec![event(&with_usage(last, USAGE)), end()]].concat()
        }
        Scene::ToolCall => {
            let called = with_usage(part_of(&tool_part(), Some("STOP")), USAGE);
            vec![head(), event(&called), end()]
        }
        Scene::EndsEarly => [part, vec![end()]].concat(),
        Scene::Breaks => [part, vec![Step::Close]].concat(),
        Scene::FailsMidway => [part, vec![event(&failure(503)), end()]].concat(),
        Scene::FallsSilent => [part, vec![Step::Hang]].concat(),
        Scene::Drips => [part, flood(1, 20)].concat(),
        Scene::Floods => [part, flood(16 * 1024, 0)].concat(),
        _ => [all, vec![event(&with_usage(last, USAGE)), end()]].concat(),
    }
}

/// The vectors that a request asks for: at most 100 at a time.
fn embed(request: &Received, usage: bool) -> Vec<Step> {
    assert_eq!(request.path, "/v1/models/m:batchEmbedContents");
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let requests = asked["requests"].as_array().unwrap();
    if requests.len() > 100 {
        return vec![answer(400, &failure(400).to_string())];
    }
    let vector = |request: &Value| {
        assert_eq!(request["model"], "models/m");
        json!({ "values": vector_of(request["content"]["parts"][0]["text"].as_str().unwrap()) })
    };
    let mut made = json!({ "embeddings": requests.iter().map(vector).collect::<Vec<_>>() });
    if usage {
        made["usageMetadata"] = json!({ "promptTokenCount": 7 });
    }
    vec![answer(200, &made.to_string())]
}

/// The chunks of a stream that a server sends so, but for what they all repeat.
async fn chunks(events: &[Value]) -> Vec<Value> {
    let events = events.iter().map(event).collect();
    let steps = [vec![head()], events, vec![end()]].concat();
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let stream = model.stream(call("{\"messages\":[]}")).await.unwrap();
    let chunk = |data: bytes::Bytes| {
        let chunk: Value = serde_json::from_slice(&data).unwrap();
        assert_eq!((&chunk["id"], &chunk["model"]), (&json!("r1"), &json!("gemini-x-1")));
        let choices = chunk["choices"].as_array().unwrap();
        match choices.first() {
            Some(choice) if choice["finish_reason"].is_string() => choice["finish_reason"].clone(),
            Some(choice) => choice["delta"].clone(),
            None => chunk["usage"].clone(),
        }
    };
    datas(stream).await.into_iter().map(chunk).collect()
}

#[tokio::test]
async fn thought_text_and_calls_are_streamed_as_openai_streams_them() {
    let call = |name: &str| json!({ "functionCall": { "name": name, "args": { "a": 1 } } });
    let mut signed = call("f");
    signed["thoughtSignature"] = json!("s");
    let named = json!({ "functionCall": { "id": "theirs", "name": "h" } });
    let chunks = chunks(&[
        part_of(&json!([{ "text": "hmm", "thought": true }]), None),
        part_of(&json!([{ "text": "I look." }, signed, call("g")]), None),
        with_usage(part_of(&json!([named]), Some("STOP")), USAGE),
    ])
    .await;
    let called = |index: u32, id: &str, name: &str, arguments: &str| json!({ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let mut first = called(0, "call_r1_0_0", "f", "{\"a\":1}");
    first["extra_content"] = json!({ "google": { "thought_signature": "s" } });
    let expected = [
        json!({ "role": "assistant", "content": "", "reasoning_content": "hmm" }),
        json!({ "content": "I look.", "tool_calls": [first] }),
        json!({ "tool_calls": [called(1, "call_r1_0_1", "g", "{\"a\":1}")] }),
        json!({ "tool_calls": [called(2, "theirs", "h", "{}")] }),
        json!("tool_calls"),
    ];
    assert_eq!(chunks[..5], expected);
    assert_eq!(
        (&chunks[5]["prompt_tokens"], &chunks[5]["completion_tokens"]),
        (&json!(23), &json!(11))
    );
}

#[tokio::test]
async fn a_stream_that_never_said_why_it_ended_is_no_whole_answer() {
    let nothing = json!({ "candidates": [{ "index": 0 }], "modelVersion": "gemini-x-1", "responseId": "r1" });
    let mut second = text("b");
    second["candidates"][0]["index"] = json!(1);
    for torn in [
        vec![text("a")],
        vec![nothing.clone()],
        vec![nothing, with_usage(json!({}), USAGE)],
        vec![part_of(&json!([]), Some("STOP")), second],
    ] {
        let steps = [vec![head()], torn.iter().map(event).collect(), vec![end()]].concat();
        let upstream = Upstream::start(move |_| steps.clone()).await;
        let model = model(&upstream.base_url, KEY, PATIENT);
        let failure = match model.stream(call("{\"messages\":[]}")).await {
            Ok(stream) => {
                let events: Vec<_> = futures_util::StreamExt::collect(stream.events).await;
                events.into_iter().next_back().unwrap().unwrap_err()
            }
            Err(failure) => failure,
        };
        assert_eq!(failure.kind, ProviderErrorKind::Protocol { error: None }, "{torn:?}");
    }
}

#[tokio::test]
async fn several_choices_are_streamed_beside_each_other() {
    let one = |index: u32, text: &str, reason: Option<&str>| {
        let mut part = part_of(&json!([{ "text": text }]), reason);
        part["candidates"][0]["index"] = json!(index);
        part
    };
    let events = [
        one(0, "a", None),
        one(1, "b", None),
        one(1, "c", Some("MAX_TOKENS")),
        one(0, "d", Some("STOP")),
    ];
    let role = |text: &str| json!({ "role": "assistant", "content": text });
    let expected = [
        role("a"),
        role("b"),
        json!({ "content": "c" }),
        json!("length"),
        json!({ "content": "d" }),
        json!("stop"),
    ];
    assert_eq!(chunks(&events).await, expected);
    // One of them never came to its end.
    let steps = [vec![head()], events[..3].iter().map(event).collect(), vec![end()]].concat();
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let stream = model.stream(call("{\"messages\":[]}")).await.unwrap();
    let events: Vec<_> = futures_util::StreamExt::collect(stream.events).await;
    let last = events.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.kind, ProviderErrorKind::Protocol { error: None });
}

#[tokio::test]
async fn why_an_answer_ended_is_said_in_openais_words() {
    for (theirs, ours) in [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("A_NEW_WORD", "stop"),
    ] {
        let made = part_of(&json!([{ "text": "x" }]), Some(theirs));
        assert!(chunks(std::slice::from_ref(&made)).await.contains(&json!(ours)));
        let upstream = Upstream::start(move |_| vec![answer(200, &made.to_string())]).await;
        let model = model(&upstream.base_url, KEY, PATIENT);
        let reply = model.complete(call("{\"messages\":[]}")).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply["choices"][0]["finish_reason"], ours);
    }
}

#[tokio::test]
async fn a_prompt_that_is_blocked_is_an_answer_that_was_filtered() {
    let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": usage(USAGE),
        "modelVersion": "gemini-x-1", "responseId": "r1" });
    let chunks = chunks(std::slice::from_ref(&blocked)).await;
    assert!(chunks.contains(&json!("content_filter")), "{chunks:?}");
    let upstream = Upstream::start(move |_| vec![answer(200, &blocked.to_string())]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let reply = model.complete(call("{\"messages\":[]}")).await.unwrap();
    assert_eq!(reply.usage, Some(USAGE));
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply["choices"][0]["finish_reason"], "content_filter");
}

#[tokio::test]
async fn an_answer_that_the_model_got_wrong_is_a_failure() {
    let made = part_of(&json!([]), Some("MALFORMED_FUNCTION_CALL"));
    let upstream = Upstream::start(move |_| vec![answer(200, &made.to_string())]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let failure = model.complete(call("{\"messages\":[]}")).await.unwrap_err();
    let ProviderErrorKind::Protocol { error: Some(error) } = failure.kind else {
        panic!("{failure:?}");
    };
    assert_eq!(error["type"], "MALFORMED_FUNCTION_CALL");
}

#[tokio::test]
async fn a_wrong_key_is_the_operators_affair_and_other_faults_are_the_callers() {
    let reason = |reason: &str| {
        let info = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason });
        let mut failure = failure(400);
        failure["error"]["details"] = json!([info]);
        failure.to_string()
    };
    for (body, expected) in [
        (reason("API_KEY_INVALID"), ProviderErrorKind::Auth),
        (
            reason("FIELD_INVALID"),
            ProviderErrorKind::BadRequest {
                status: 400,
                error: Some(json!({ "message": format!("{FAILURE} [redacted]"), "type": "INVALID_ARGUMENT" })),
            },
        ),
    ] {
        let upstream = Upstream::start(move |_| vec![answer(400, &body)]).await;
        let model = model(&upstream.base_url, KEY, PATIENT);
        let asked = || call("{\"messages\":[]}");
        assert_eq!(model.complete(asked()).await.unwrap_err().kind, expected);
        assert_eq!(model.stream(asked()).await.unwrap_err().kind, expected);
        assert_eq!(model.models().await.unwrap_err().kind, expected);
    }
}

#[tokio::test]
async fn vectors_are_asked_for_in_their_size_and_never_for_tokens() {
    let upstream = Upstream::start(|request| embed(request, true)).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let asked = |body: Value| {
        let plain = call(body.to_string());
        EmbedCall {
            request_id: plain.request_id,
            model: "models/m".to_owned(),
            body: plain.body,
        }
    };
    let reply = model
        .embed(asked(json!({ "input": "a", "dimensions": 768, "user": "u" })))
        .await
        .unwrap();
    assert_eq!(reply.dropped, ["user"]);
    let sent: Value = serde_json::from_slice(&upstream.seen().requests[0].body).unwrap();
    assert_eq!(sent["requests"][0]["outputDimensionality"], 768);
    let parameter = "input".to_owned();
    let refused = model.embed(asked(json!({ "input": [[1, 2]] }))).await.unwrap_err();
    assert_eq!(refused.kind, ProviderErrorKind::Unsupported { parameter });
    assert_eq!(upstream.seen().requests.len(), 1);
}
