//! Anthropic's API against the contract, and what is its own on top of it. The server is written from the API's
//! documentation.

use std::sync::Arc;
use std::time::Duration;

use anteroom_ai_provider::{Anthropic, AnthropicOptions, Timeouts};
use anteroom_contract::chat_model::{ANSWER, ARGUMENTS, FAILURE, KEY, Scene, USAGE};
use anteroom_domain::chat::{Dialect, Original, RawObject, TokenUsage};
use anteroom_ports::ChatModel as _;
use anteroom_ports::chat::{ChatCall, ChatEvent, ProviderErrorKind};
use anteroom_testkit::FixedClock;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::upstream::{Received, Step, Upstream, body, end, head, json as answer, whole};
use crate::{PATIENT, call, datas};

fn stage() -> Stage {
    Stage::new(play, |base_url, timeouts| Box::new(model(base_url, KEY, timeouts)))
}

pub fn model(base_url: &str, key: &str, timeouts: Timeouts) -> Anthropic {
    let options = AnthropicOptions {
        base_url: base_url.parse().unwrap(),
        api_key: key.into(),
        timeouts,
        max_tokens: 4096,
    };
    Anthropic::new(options, Arc::new(FixedClock::new())).unwrap()
}

anteroom_contract::chat_model_contract!(stage(); answers);
anteroom_contract::chat_model_contract!(stage(); failures);

/// An event, named by its type as the API does.
fn event(data: &Value) -> Step {
    body(&format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap()))
}

fn failure() -> Value {
    let error = json!({ "type": "overloaded_error", "message": format!("{FAILURE} {KEY}") });
    json!({ "type": "error", "error": error, "request_id": "req_1" })
}

/// What was used as Anthropic counts: what is cached beside what is not.
fn usage() -> Value {
    json!({
        "input_tokens": USAGE.prompt_tokens - USAGE.cached_tokens - 2, "cache_read_input_tokens": USAGE.cached_tokens,
        "cache_creation_input_tokens": 2, "cache_creation": { "ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1 },
        "output_tokens": USAGE.completion_tokens,
        "output_tokens_details": { "thinking_tokens": USAGE.reasoning_tokens },
    })
}

fn message(content: &Value, stop_reason: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage(),
    })
}

fn start(usage: bool) -> Step {
    let mut message = message(&json!([]), "");
    message["stop_reason"] = Value::Null;
    message["usage"]["output_tokens"] = json!(1);
    if !usage {
        message.as_object_mut().unwrap().remove("usage");
    }
    event(&json!({ "type": "message_start", "message": message }))
}

fn block_start(index: u32, block: &Value) -> Step {
    event(&json!({ "type": "content_block_start", "index": index, "content_block": block }))
}

fn block_delta(index: u32, delta: &Value) -> Step {
    event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

fn block_stop(index: u32) -> Step {
    event(&json!({ "type": "content_block_stop", "index": index }))
}

fn ping() -> Step {
    event(&json!({ "type": "ping" }))
}

fn text_start() -> Step {
    block_start(0, &json!({ "type": "text", "text": "" }))
}

fn word(text: &str) -> Step {
    block_delta(0, &json!({ "type": "text_delta", "text": text }))
}

/// The end, with what was used.
fn last(stop_reason: &str, usage: &Value) -> Vec<Step> {
    let delta = json!({ "stop_reason": stop_reason, "stop_sequence": null });
    vec![
        event(&json!({ "type": "message_delta", "delta": delta, "usage": usage })),
        event(&json!({ "type": "message_stop" })),
        end(),
    ]
}

fn play(scene: Scene, request: &Received) -> Vec<Step> {
    match scene {
        Scene::Refuses(status) => {
            let headers = "content-type: application/json\r\nretry-after: 7\r\n";
            return vec![whole(status, headers, &failure().to_string())];
        }
        Scene::Garbage => return vec![whole(200, "content-type: text/html\r\n", "<html>It works!</html>")],
        Scene::Silent => return vec![Step::Hang],
        _ => {}
    }
    assert_eq!(request.header("x-api-key"), Some(KEY));
    assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
    if request.method == "GET" {
        assert_eq!(request.path, "/v1/models?limit=1000");
        let entry =
            json!({ "id": "claude-x-1", "type": "model", "display_name": "X", "created_at": "2026-01-01T00:00:00Z" });
        return vec![answer(200, &json!({ "data": [entry], "has_more": false }).to_string())];
    }
    assert_eq!(request.path, "/v1/messages");
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    assert!(asked["max_tokens"].is_u64() && asked["messages"].is_array());
    if asked["stream"] == true {
        streamed(scene)
    } else {
        at_once(scene)
    }
}

fn at_once(scene: Scene) -> Vec<Step> {
    if scene == Scene::Breaks {
        let part = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"content\":";
        return vec![Step::Send(part.into()), Step::Close];
    }
    let arguments: Value = serde_json::from_str(ARGUMENTS).unwrap();
    let mut message = match scene {
        Scene::ToolCall => message(
            &json!([{ "type": "tool_use", "id": "toolu_1", "name": "weather", "input": arguments }]),
            "tool_use",
        ),
        _ => message(&json!([{ "type": "text", "text": ANSWER }]), "end_turn"),
    };
    if scene == Scene::NoUsage {
        message.as_object_mut().unwrap().remove("usage");
    }
    vec![answer(200, &message.to_string())]
}

fn streamed(scene: Scene) -> Vec<Step> {
    let words: Vec<&str> = ANSWER.split_inclusive(' ').collect();
    let begin = vec![head(), start(scene != Scene::NoUsage), ping(), text_start()];
    let part = [begin.clone(), words[..2].iter().map(|w| word(w)).collect()].concat();
    let all = [begin, words.iter().map(|w| word(w)).collect(), vec![block_stop(0)]].concat();
    let flood = |size: usize, pause| {
        let Step::Send(bytes) = word(&"x".repeat(size)) else {
            unreachable!();
        };
        vec![Step::Repeat(bytes, Duration::from_millis(pause))]
    };
    match scene {
        Scene::NoUsage => [all, last("end_turn", &json!({}))].concat(),
        Scene::ToolCall => {
            let (one, two) = ARGUMENTS.split_at(9);
            let tool = json!({ "type": "tool_use", "id": "toolu_1", "name": "weather", "input": {} });
            let json_delta = |part: &str| block_delta(0, &json!({ "type": "input_json_delta", "partial_json": part }));
            let steps = vec![
                head(),
                start(true),
                block_start(0, &tool),
                json_delta(""),
                json_delta(one),
                json_delta(two),
                block_stop(0),
            ];
            [steps, last("tool_use", &usage())].concat()
        }
        Scene::EndsEarly => [part, vec![end()]].concat(),
        Scene::Breaks => [part, vec![Step::Close]].concat(),
        Scene::FailsMidway => [part, vec![event(&failure()), end()]].concat(),
        Scene::FallsSilent => [part, vec![Step::Hang]].concat(),
        Scene::Drips => [part, flood(1, 20)].concat(),
        Scene::Floods => [part, flood(16 * 1024, 0)].concat(),
        _ => [all, last("end_turn", &usage())].concat(),
    }
}

/// The chunks of a stream that a server sends so, but for what they all repeat.
async fn chunks(steps: Vec<Step>) -> Vec<Value> {
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let stream = model.stream(call("{\"messages\":[]}")).await.unwrap();
    let chunk = |data: bytes::Bytes| {
        let chunk: Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!((&chunk["id"], &chunk["model"]), (&json!("msg_1"), &json!("claude-x-1")));
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
    let tool = |index: u32, id: &str| {
        let block = json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
        block_start(index, &block)
    };
    let thought = json!({ "type": "thinking", "thinking": "", "signature": "" });
    let steps = vec![
        head(),
        start(true),
        block_start(0, &thought),
        block_delta(0, &json!({ "type": "thinking_delta", "thinking": "hm" })),
        block_delta(0, &json!({ "type": "thinking_delta", "thinking": "m" })),
        block_delta(0, &json!({ "type": "signature_delta", "signature": "s" })),
        block_stop(0),
        block_start(1, &json!({ "type": "text", "text": "" })),
        ping(),
        block_delta(1, &json!({ "type": "text_delta", "text": "I look." })),
        block_delta(1, &json!({ "type": "citations_delta", "citation": {} })),
        block_stop(1),
        tool(2, "toolu_1"),
        block_delta(2, &json!({ "type": "input_json_delta", "partial_json": "" })),
        block_delta(2, &json!({ "type": "input_json_delta", "partial_json": "{\"a\":" })),
        block_delta(2, &json!({ "type": "input_json_delta", "partial_json": "1}" })),
        block_stop(2),
        tool(3, "toolu_2"),
        block_stop(3),
        event(&json!({ "type": "something_new", "index": 9 })),
    ];
    let call = |index: u32, id: &str| json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": "f", "arguments": "" } }] });
    let arguments =
        |index: u32, text: &str| json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] });
    let expected = [
        json!({ "role": "assistant", "content": "" }),
        json!({ "reasoning_content": "hm" }),
        json!({ "reasoning_content": "m" }),
        json!({ "thinking_blocks": [{ "type": "thinking", "thinking": "hmm", "signature": "s" }] }),
        json!({}),
        json!({ "content": "I look." }),
        call(0, "toolu_1"),
        arguments(0, "{\"a\":"),
        arguments(0, "1}"),
        call(1, "toolu_2"),
        arguments(1, "{}"),
        json!("tool_calls"),
    ];
    let chunks = chunks([steps, last("tool_use", &usage())].concat()).await;
    assert_eq!(chunks[..expected.len()], expected);
    let usage = json!({
        "prompt_tokens": 23, "completion_tokens": 11, "total_tokens": 34,
        "prompt_tokens_details": { "cached_tokens": 5 }, "completion_tokens_details": { "reasoning_tokens": 3 },
    });
    assert_eq!(chunks[expected.len()..], [usage]);
}

/// So that the prompt of a stream that is cut is booked as it was counted.
#[tokio::test]
async fn what_has_gone_in_is_told_with_the_first_word() {
    let steps = vec![head(), start(true), text_start(), word("a"), end()];
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let mut stream = model.stream(call("{\"messages\":[]}")).await.unwrap();
    let mut told = Vec::new();
    while let Some(Ok(event)) = stream.events.next().await {
        let ChatEvent::Chunk(chunk) = event else {
            panic!("it is not whole")
        };
        assert!(!chunk.usage_only);
        told.extend(chunk.usage);
    }
    // Its first count of what comes out is no more than a beginning.
    assert!(!told.is_empty(), "nothing was told");
    for usage in told {
        let (prompt, cached) = (usage.prompt_tokens, usage.cached_tokens);
        assert_eq!((prompt, cached), (USAGE.prompt_tokens, USAGE.cached_tokens));
        assert_eq!(usage.completion_tokens, 0);
    }
}

#[tokio::test]
async fn counts_that_are_said_again_are_not_added_up() {
    let more = |output: i64| {
        event(
            &json!({ "type": "message_delta", "delta": {}, "usage": { "input_tokens": 10, "output_tokens": output } }),
        )
    };
    let steps = vec![
        head(),
        start(true),
        text_start(),
        word("a"),
        more(4),
        word("b"),
        more(9),
    ];
    let chunks = chunks([steps, last("end_turn", &json!({ "output_tokens": 7 }))].concat()).await;
    let spent = chunks.last().unwrap();
    assert_eq!(
        (&spent["prompt_tokens"], &spent["completion_tokens"]),
        (&json!(23), &json!(9))
    );
}

#[tokio::test]
async fn why_an_answer_ended_is_said_in_openais_words() {
    for (theirs, ours) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("a_new_word", "stop"),
    ] {
        let message = message(&json!([{ "type": "text", "text": "x" }]), theirs).to_string();
        let upstream = Upstream::start(move |_| vec![answer(200, &message)]).await;
        let model = model(&upstream.base_url, KEY, PATIENT);
        let reply = model.complete(call("{\"messages\":[]}")).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply["choices"][0]["finish_reason"], ours);
        let steps = [
            vec![head(), start(true), text_start(), word("x")],
            last(theirs, &usage()),
        ]
        .concat();
        assert!(chunks(steps).await.contains(&json!(ours)));
    }
}

#[tokio::test]
async fn a_whole_answer_has_openais_shape() {
    let content = json!([
        { "type": "thinking", "thinking": "hmm", "signature": "s" },
        { "type": "redacted_thinking", "data": "d" },
        { "type": "text", "text": "I " },
        { "type": "text", "text": "look." },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "a": 1 } },
        { "type": "server_tool_use", "id": "x" },
    ]);
    let message = message(&content, "tool_use").to_string();
    let upstream = Upstream::start(move |_| vec![answer(200, &message)]).await;
    let asked = json!({ "model": "an alias", "messages": [{ "role": "user", "content": "hi" }], "seed": 1, "top_k": 3, "n": 1 });
    let reply = model(&upstream.base_url, KEY, PATIENT)
        .complete(call(asked.to_string()))
        .await
        .unwrap();
    assert_eq!(reply.dropped, ["seed", "top_k"]);
    let usage = TokenUsage {
        prompt_tokens: 23,
        completion_tokens: 11,
        cached_tokens: 5,
        reasoning_tokens: 3,
        cache_write_tokens: 2,
        hour_write_tokens: 1,
    };
    assert_eq!((reply.text.as_str(), reply.usage), ("I look.", Some(usage)));
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    let function = json!({ "name": "f", "arguments": "{\"a\":1}" });
    let expected = json!([{ "index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": "I look.", "refusal": null, "reasoning_content": "hmm",
        "thinking_blocks": [content[0], content[1]],
        "tool_calls": [{ "id": "toolu_1", "type": "function", "function": function }],
    } }]);
    assert_eq!(reply["choices"], expected);
    assert_eq!(
        (&reply["object"], &reply["id"]),
        (&json!("chat.completion"), &json!("msg_1"))
    );
    assert!(reply["created"].as_i64().unwrap() > 0);
    let seen = upstream.seen();
    let sent: Value = serde_json::from_slice(&seen.requests[0].body).unwrap();
    // The upstream's name of the model, not the caller's.
    assert_eq!(sent["model"], "m");
    let mut names: Vec<_> = seen.requests[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "anthropic-version",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-api-key",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn an_error_before_anything_was_said_has_a_kind_of_its_own() {
    for (kind, expected) in [
        ("overloaded_error", ProviderErrorKind::Upstream { status: 529 }),
        ("api_error", ProviderErrorKind::Upstream { status: 500 }),
        ("timeout_error", ProviderErrorKind::Upstream { status: 504 }),
        ("rate_limit_error", ProviderErrorKind::RateLimited { retry_after: None }),
    ] {
        let error = json!({ "type": "error", "error": { "type": kind, "message": "no" } });
        let steps = vec![head(), start(true), ping(), event(&error), end()];
        let upstream = Upstream::start(move |_| steps.clone()).await;
        let model = model(&upstream.base_url, KEY, PATIENT);
        let failure = model.stream(call("{\"messages\":[]}")).await.unwrap_err();
        assert_eq!(failure.kind, expected);
    }
    let overloaded = failure().to_string();
    let upstream = Upstream::start(move |_| vec![answer(529, &overloaded)]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let failure = model.complete(call("{\"messages\":[]}")).await.unwrap_err();
    assert_eq!(failure.kind, ProviderErrorKind::Upstream { status: 529 });
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_before_anything_is_sent() {
    let upstream = Upstream::start(|_| vec![answer(500, "{}")]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let asked = || call("{\"messages\":[],\"n\":2}");
    let parameter = "n".to_owned();
    let expected = ProviderErrorKind::Unsupported { parameter };
    assert_eq!(model.complete(asked()).await.unwrap_err().kind, expected);
    assert_eq!(model.stream(asked()).await.unwrap_err().kind, expected);
    assert!(upstream.seen().requests.is_empty());
}

#[tokio::test]
async fn models_that_no_longer_answer_are_not_offered() {
    let entry = |id: &str, lifecycle: &str| json!({ "id": id, "type": "model", "created_at": "2026-01-02T00:00:00Z", "lifecycle": lifecycle });
    let entries = [
        entry("new", "active"),
        entry("old", "deprecated"),
        entry("gone", "retired"),
        json!({ "id": "plain" }),
    ];
    let listed = json!({ "data": entries, "has_more": false }).to_string();
    let upstream = Upstream::start(move |_| vec![answer(200, &listed)]).await;
    let offered = model(&upstream.base_url, KEY, PATIENT).models().await.unwrap();
    let offered: Vec<_> = offered
        .iter()
        .map(|m| (m.id.as_str(), m.owned_by.as_str(), m.created))
        .collect();
    let expected = [
        ("new", "anthropic", 1_767_312_000),
        ("old", "anthropic", 1_767_312_000),
        ("plain", "anthropic", 0),
    ];
    assert_eq!(offered, expected);
}

#[tokio::test]
async fn a_key_in_an_answer_is_redacted() {
    let steps = [
        vec![head(), start(true), text_start(), word(&format!("it is {KEY}"))],
        last("end_turn", &usage()),
    ]
    .concat();
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let events: Vec<_> = model
        .stream(call("{\"messages\":[]}"))
        .await
        .unwrap()
        .events
        .collect()
        .await;
    let shown: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event.unwrap() {
            ChatEvent::Chunk(chunk) => Some(format!("{:?} {}", chunk.data, chunk.text)),
            ChatEvent::Done => None,
        })
        .collect();
    assert!(shown.concat().contains("it is [redacted]") && !shown.concat().contains(KEY));
}

/// A call that was said in Anthropic's words: the chat completion that it became, and itself.
fn said(completion: &str, original: &str) -> ChatCall {
    let original = Original {
        dialect: Dialect::AnthropicMessages,
        body: RawObject::parse(original.as_bytes()).unwrap(),
        lost: vec!["top_k".to_owned()],
        known_tools: Vec::new(),
    };
    ChatCall {
        original: Some(Arc::new(original)),
        ..call(completion.to_owned())
    }
}

const ODD: &str = r#"{"top_k":5,"model":"alias","system":[{"cache_control":{"type":"ephemeral"},"text":"s","type":"text"}],"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":4000},"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"h\u006d","signature":"c2ln+/="},{"type":"tool_use","id":"t","name":"f","input":{"z":1.50, "a":12345678901234567890}}]}]}"#;

#[tokio::test]
async fn what_was_said_in_its_own_words_arrives_as_it_was_said() {
    let upstream = Upstream::start(|_| vec![answer(200, &message(&json!([]), "end_turn").to_string())]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let sent = async |completion: &str| {
        let reply = model.complete(said(completion, ODD)).await.unwrap();
        assert!(reply.dropped.is_empty(), "nothing is lost");
        let request = upstream.seen().requests.pop().unwrap();
        String::from_utf8(request.body).unwrap()
    };
    let expected = ODD.replace(r#""alias""#, r#""m""#);
    let expected = format!(r#"{},"stream":false}}"#, expected.strip_suffix('}').unwrap());
    assert_eq!(sent(r#"{"messages":[],"max_completion_tokens":9000}"#).await, expected);
    // Nobody is named as the caller named them.
    let named = ODD.replacen('{', r#"{"metadata":{"user_id":"ada@example.com"},"#, 1);
    for (completion, metadata) in [
        (r#"{"user":"opaque"}"#, r#","metadata":{"user_id":"opaque"}"#),
        ("{}", ""),
    ] {
        model.complete(said(completion, &named)).await.unwrap();
        let request = upstream.seen().requests.pop().unwrap();
        let expected = expected.replacen("false}", &format!("false{metadata}}}"), 1);
        assert_eq!(String::from_utf8(request.body).unwrap(), expected);
    }
    // A smaller answer than was asked for, by the model's own maximum.
    let smaller = expected.replace("9000", "2000").replace("4000", "1999");
    assert_eq!(
        sent(r#"{"messages":[],"max_completion_tokens":9000,"max_tokens":2000}"#).await,
        smaller
    );
    let small = sent(r#"{"messages":[],"max_tokens":1024}"#).await;
    assert!(!small.contains(r#""budget_tokens""#), "{small}");
    // Whoever does not speak it says what is lost.
    let upstream = Upstream::start(|_| vec![answer(200, r#"{"choices":[]}"#)]).await;
    let openai = crate::model(&upstream.base_url, KEY);
    assert_eq!(openai.complete(said("{}", ODD)).await.unwrap().dropped, ["top_k"]);
}

#[tokio::test]
async fn the_tools_for_computers_bring_the_betas_of_their_dates() {
    let upstream = Upstream::start(|_| vec![answer(200, &message(&json!([]), "end_turn").to_string())]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let tools = r#"{"type":"bash_20250124","name":"bash"}"#;
    let computers = r#"{"type":"computer_20251124","name":"c"},{"type":"computer_20250124","name":"d"},{"type":"computer_toolset_20260801"},{"type":"computer_2025012\n","name":"e"}"#;
    for (tools, known, expected) in [
        (tools.to_owned(), true, None),
        (
            format!("{tools},{computers},{computers}"),
            true,
            Some("computer-use-2025-01-24,computer-use-2025-11-24"),
        ),
        (computers.to_owned(), false, None),
    ] {
        let body = format!(r#"{{"model":"m","max_tokens":9,"tools":[{tools}],"messages":[]}}"#);
        let mut call = said(r#"{"messages":[]}"#, &body);
        if known {
            let mut original = Original::clone(call.original.as_deref().unwrap());
            original.known_tools = vec!["tools.0.type".to_owned()];
            call.original = Some(Arc::new(original));
        }
        model.complete(call).await.unwrap();
        let request = upstream.seen().requests.pop().unwrap();
        let beta = request.headers.iter().find(|(name, _)| name == "anthropic-beta");
        assert_eq!(beta.map(|(_, value)| value.as_str()), expected, "{tools}");
        let sent = String::from_utf8(request.body).unwrap();
        assert!(sent.contains(&format!(r#""tools":[{tools}]"#)), "{sent}");
    }
}

#[tokio::test]
async fn an_answer_brings_its_own_words_along_for_those_who_speak_them() {
    let own = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"x","content":[{{"type":"thinking","thinking":"","signature":"s{KEY}"}},{{"type":"tool_use","id":"t","name":"f","input":{{"z":1.50 }}}}],"stop_reason":"tool_use","usage":{{"input_tokens":1,"output_tokens":2}}}}"#
    );
    let whole = own.clone();
    let upstream = Upstream::start(move |_| vec![answer(200, &whole)]).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let reply = model.complete(said("{}", ODD)).await.unwrap();
    let body = RawObject::parse(&reply.body).unwrap();
    let clean = own.replace(KEY, "[redacted]");
    assert_eq!(
        body.get("anteroom").unwrap().get(),
        format!(r#"{{"anthropic":{clean}}}"#)
    );
    assert!(body.get("choices").is_some());
    let plain = model.complete(call("{}")).await.unwrap();
    assert!(RawObject::parse(&plain.body).unwrap().get("anteroom").is_none());
}

#[tokio::test]
async fn a_streams_own_events_come_along_in_their_order() {
    let own = [
        r#"{"type":"message_start","message":{"id":"m","model":"x","usage":{"input_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"d"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"something_new", "n":1.50}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"hi"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let mut steps = vec![head(), ping()];
    steps.extend(own.iter().map(|event| body(&format!("data: {event}\n\n"))));
    steps.push(end());
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let model = model(&upstream.base_url, KEY, PATIENT);
    let chunks = datas(model.stream(said("{}", ODD)).await.unwrap()).await;
    let mut told = Vec::new();
    for chunk in &chunks {
        if let Some(beside) = RawObject::parse(chunk).unwrap().get("anteroom") {
            let beside = RawObject::parse(beside.get().as_bytes()).unwrap();
            let events: Vec<Box<serde_json::value::RawValue>> = beside.read("anthropic").unwrap().unwrap();
            told.extend(events.iter().map(|event| event.get().to_owned()));
        }
    }
    assert_eq!(told, own);
    let plain = datas(model.stream(call("{}")).await.unwrap()).await;
    assert!(
        plain
            .iter()
            .all(|chunk| RawObject::parse(chunk).unwrap().get("anteroom").is_none())
    );
}
