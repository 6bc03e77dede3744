//! The Messages API, translated there and back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Dialect as _;
use super::super::tests::{any_answer, stamp, stream};
use super::{Answer, Request};
use crate::problem::Problem;

fn asked(body: &Value) -> Request {
    Request::read(body.to_string().as_bytes(), false).unwrap()
}

/// The chat completion that a request becomes.
fn sent(body: &Value) -> Value {
    serde_json::from_slice(&asked(body).call.bytes()).unwrap()
}

/// A request with these members beside the necessary ones.
fn with(more: &Value) -> Value {
    let mut body = json!({ "model": "m", "max_tokens": 10, "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn said(messages: &Value) -> Value {
    sent(&with(&json!({ "messages": messages })))["messages"].clone()
}

#[test]
fn the_small_request() {
    assert_eq!(
        sent(&with(&json!({}))),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_completion_tokens": 10 })
    );
}

#[test]
fn each_parameter_is_said_in_its_way() {
    let table = [
        (json!({ "stop_sequences": ["a", "b"] }), json!({ "stop": ["a", "b"] })),
        (json!({ "metadata": { "user_id": "u" } }), json!({ "user": "u" })),
        (json!({ "metadata": {} }), json!({})),
        (
            json!({ "metadata": { "user_id": "u".repeat(65) } }),
            json!({ "user": "u".repeat(65) }),
        ),
        (
            json!({ "stream": true }),
            json!({ "stream": true, "stream_options": { "include_usage": true } }),
        ),
        (json!({ "stream": false }), json!({})),
        (
            json!({ "tool_choice": { "type": "auto" } }),
            json!({ "tool_choice": "auto" }),
        ),
        (
            json!({ "tool_choice": { "type": "any" } }),
            json!({ "tool_choice": "required" }),
        ),
        (
            json!({ "tool_choice": { "type": "none" } }),
            json!({ "tool_choice": "none" }),
        ),
        (
            json!({ "tool_choice": { "type": "tool", "name": "f", "disable_parallel_tool_use": true } }),
            json!({ "tool_choice": { "type": "function", "function": { "name": "f" } }, "parallel_tool_calls": false }),
        ),
        (
            json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": false } }),
            json!({ "tool_choice": "auto" }),
        ),
        (
            json!({ "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" } }, { "type": "custom", "name": "g", "strict": true }] }),
            json!({ "tools": [
                { "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } },
                { "type": "function", "function": { "name": "g", "strict": true } },
            ] }),
        ),
        (json!({ "tools": [] }), json!({})),
        (json!({ "thinking": { "type": "disabled" } }), json!({})),
        (json!({ "thinking": { "type": "adaptive" } }), json!({})),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }),
            json!({ "reasoning_effort": "low" }),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 4096 } }),
            json!({ "reasoning_effort": "medium" }),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 32000 } }),
            json!({ "reasoning_effort": "high" }),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 }, "output_config": { "effort": "max" } }),
            json!({ "reasoning_effort": "xhigh" }),
        ),
        (
            json!({ "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } } }),
            json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "answer", "schema": { "type": "object" }, "strict": true } } }),
        ),
        (json!({ "temperature": null, "tools": null, "system": null }), json!({})),
    ];
    for (more, expected) in table {
        let mut body = sent(&with(&more));
        let members = body.as_object_mut().unwrap();
        for key in ["model", "messages", "max_completion_tokens"] {
            members.remove(key);
        }
        assert_eq!(body, expected, "{more}");
    }
}

#[test]
fn numbers_and_schemas_keep_their_bytes() {
    let body = r#"{"model":"m","max_tokens":10,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{"z":1.50, "a":12345678901234567890123}}]}],
        "temperature":0.50,"tools":[{"name":"f","input_schema":{"z":1.0,"a":[ 1 ]}}]}"#;
    let request = Request::read(body.as_bytes(), false).unwrap();
    let text = String::from_utf8(request.call.bytes()).unwrap();
    for piece in [
        r#""temperature":0.50"#,
        r#""parameters":{"z":1.0,"a":[ 1 ]}"#,
        r#""arguments":"{\"z\":1.50, \"a\":12345678901234567890123}""#,
    ] {
        assert!(text.contains(piece), "{piece} is not in {text}");
    }
}

#[test]
fn messages_become_messages() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } });
    let shown = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } });
    let table = [
        (
            json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }] }]),
            json!([{ "role": "user", "content": "a" }]),
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, image] }]),
            json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, shown] }]),
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "image", "source": { "type": "url", "url": "https://x.test/i" } }] }]),
            json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "https://x.test/i" } }] }]),
        ),
        (
            json!([{ "role": "user", "content": [
                { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "t" } },
                { "type": "document", "title": "d.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "AA" } },
            ] }]),
            json!([{ "role": "user", "content": [
                { "type": "text", "text": "t" },
                { "type": "file", "file": { "filename": "d.pdf", "file_data": "data:application/pdf;base64,AA" } },
            ] }]),
        ),
        (
            json!([{ "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "text", "text": "a" },
                { "type": "text", "text": "b" }, { "type": "tool_use", "id": "c", "name": "f", "input": {} },
            ] }]),
            json!([{ "role": "assistant", "content": "ab", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] }]),
        ),
        (
            json!([{ "role": "assistant", "content": [{ "type": "tool_use", "id": "c", "name": "f", "input": { "a": 1 } }] }]),
            json!([{ "role": "assistant", "content": null, "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } }] }]),
        ),
        // The results come first, as they have to follow the calls.
        (
            json!([{ "role": "user", "content": [
                { "type": "text", "text": "look" },
                { "type": "tool_result", "tool_use_id": "c", "content": "rain" },
                { "type": "tool_result", "tool_use_id": "d", "is_error": true, "content": [{ "type": "text", "text": "x" }, { "type": "text", "text": "y" }, image] },
                { "type": "tool_result", "tool_use_id": "e" },
            ] }]),
            json!([
                { "role": "tool", "tool_call_id": "c", "content": "rain" },
                { "role": "tool", "tool_call_id": "d", "content": "x\ny" },
                { "role": "tool", "tool_call_id": "e", "content": "" },
                { "role": "user", "content": [{ "type": "text", "text": "look" }, shown] },
            ]),
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "rain" }] }]),
            json!([{ "role": "tool", "tool_call_id": "c", "content": "rain" }]),
        ),
        (
            json!([{ "role": "user", "content": [] }]),
            json!([{ "role": "user", "content": "" }]),
        ),
        (
            json!([{ "role": "user", "content": "a" }, { "role": "system", "content": [{ "type": "text", "text": "b" }] }]),
            json!([{ "role": "user", "content": "a" }, { "role": "system", "content": "b" }]),
        ),
    ];
    for (messages, expected) in table {
        assert_eq!(said(&messages), expected, "{messages}");
    }
    for (system, text) in [
        (json!("be brief"), "be brief"),
        (
            json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b", "cache_control": { "type": "ephemeral" } }]),
            "a\n\nb",
        ),
    ] {
        let body = sent(&with(&json!({ "system": system })));
        assert_eq!(body["messages"][0], json!({ "role": "system", "content": text }));
    }
}

#[test]
fn what_cannot_be_said_is_named() {
    let lost = |more: &Value| asked(&with(more)).call.original.unwrap().lost;
    assert!(lost(&json!({})).is_empty());
    assert!(lost(&json!({ "metadata": { "user_id": "u".repeat(65) } })).is_empty());
    let more = json!({
        "top_k": 5, "service_tier": "auto", "x_new": 1, "system": [{ "type": "text", "text": "a", "cache_control": {} }],
        "tools": [{ "name": "f", "input_examples": [] }],
        "messages": [
            { "role": "assistant", "content": [{ "type": "redacted_thinking", "data": "x" }, { "type": "text", "text": "a", "citations": [] }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "is_error": true }] },
        ],
    });
    let call = asked(&with(&more)).call;
    assert_eq!(call.dropped.header().as_deref(), Some("service_tier, x_new"));
    let original = call.original.unwrap();
    let told: Vec<&str> = original.body.keys().collect();
    // Whoever speaks the dialect is told all the rest as it was said.
    assert_eq!(told, ["max_tokens", "messages", "model", "system", "tools", "top_k"]);
    assert_eq!(
        original.body.get("messages").unwrap().get(),
        more["messages"].to_string()
    );
    let mut names = original.lost;
    names.sort();
    assert_eq!(
        names,
        [
            "cache_control",
            "citations",
            "messages.content.is_error",
            "messages.content.thinking",
            "tools.input_examples",
            "top_k",
        ]
    );
}

#[test]
fn tools_that_only_its_models_know_are_said_to_whoever_speaks_the_dialect() {
    let tools = json!([
        { "name": "f", "input_schema": { "type": "object" } },
        { "type": "bash_20250124", "name": "bash" },
        { "type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 100 },
        { "type": "computer_20251124", "name": "computer", "display_width_px": 800, "display_height_px": 600 },
        { "type": "computer_toolset_20260801" },
        { "type": "memory_20250818", "name": "memory" },
        { "type": "custom", "name": "g" },
    ]);
    let request = asked(&with(&json!({ "tools": tools })));
    let body: Value = serde_json::from_slice(&request.call.bytes()).unwrap();
    let names: Vec<&Value> = body["tools"].as_array().unwrap().iter().collect();
    let names: Vec<&str> = names
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["f", "g"]);
    let plain = asked(&with(&json!({ "tools": [tools[0], tools[6]] })));
    assert!(
        request.input_tokens >= plain.input_tokens + 5 * 1000,
        "{} {}",
        request.input_tokens,
        plain.input_tokens
    );
    assert!(plain.call.original.unwrap().known_tools.is_empty());
    let original = request.call.original.unwrap();
    assert_eq!(original.body.get("tools").unwrap().get(), tools.to_string());
    let places: Vec<String> = (1..=5).map(|number| format!("tools.{number}.type")).collect();
    assert_eq!(original.known_tools, places);
    assert!(original.lost.is_empty(), "{:?}", original.lost);
    // None but the known ones, and no tools of the caller's.
    let only = asked(&with(&json!({ "tools": [tools[1]] })));
    let body: Value = serde_json::from_slice(&only.call.bytes()).unwrap();
    assert_eq!(body["tools"], Value::Null);
    for other in [
        "web_search_20250305",
        "web_fetch_20250910",
        "code_execution_20250825",
        "bash_code_execution_20250825",
        "mcp_toolset",
        "bash",
        "bash_2025",
        "bash_2025012x",
        "tool_search_tool_regex_20251119",
        "advisor_20260301",
    ] {
        let body = with(&json!({ "tools": [{ "type": other, "name": "x" }] }));
        let refusal = Request::read(body.to_string().as_bytes(), false).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.param.as_deref()),
            ("unsupported_parameter", Some("tools.0.type")),
            "{other}"
        );
    }
}

/// Moderation ends a stream in the words of a chat completion, whoever began it.
#[test]
fn what_a_provider_does_not_end_itself_is_ended() {
    let mut answer = Answer::new(&stamp(), "m".to_owned(), true);
    let mut out = bytes::BytesMut::new();
    let own = r#"[{"type":"message_start","message":{}},{"type":"content_block_start","index":3,"content_block":{"type":"text","text":""}}]"#;
    let chunk = format!(r#"{{"choices":[],"anteroom":{{"anthropic":{own}}}}}"#);
    answer.chunk(chunk.as_bytes(), &mut out).unwrap();
    out.clear();
    let closing = [
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}"#,
    ];
    for chunk in closing {
        answer.chunk(chunk.as_bytes(), &mut out).unwrap();
    }
    assert!(out.is_empty());
    answer.done(&mut out);
    let said = String::from_utf8(out.to_vec()).unwrap();
    let names: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["content_block_stop", "message_delta", "message_stop"], "{said}");
    assert!(
        said.contains(r#""index":3"#) && said.contains(r#""stop_reason":"refusal""#),
        "{said}"
    );
    assert!(said.contains(r#""output_tokens":2"#), "{said}");
}

#[test]
fn a_providers_own_words_are_handed_on_as_they_are() {
    let own = r#"{"type":"message","content":[{"signature":"s","thinking":"","type":"thinking"}],"n":1.50}"#;
    let whole = format!(r#"{{"choices":[{{"message":{{"content":"x"}}}}],"anteroom":{{"anthropic":{own}}}}}"#);
    let mut answer = Answer::new(&stamp(), "m".to_owned(), true);
    assert_eq!(answer.whole(whole.as_bytes()).unwrap(), own.as_bytes());

    let mut answer = Answer::new(&stamp(), "m".to_owned(), true);
    let mut out = bytes::BytesMut::new();
    for events in [
        r#"{"type":"message_start", "n":1.50},{"type":"content_block_start"}"#,
        r#"{"type":"no\nname"},{"type":"message_stop"}"#,
    ] {
        let chunk = format!(r#"{{"choices":[{{"delta":{{"content":"x"}}}}],"anteroom":{{"anthropic":[{events}]}}}}"#);
        answer.chunk(chunk.as_bytes(), &mut out).unwrap();
    }
    // The chunk that says what was used has none of its own.
    answer
        .chunk(
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
            &mut out,
        )
        .unwrap();
    answer.done(&mut out);
    assert_eq!(
        String::from_utf8(out.to_vec()).unwrap(),
        "event: message_start\ndata: {\"type\":\"message_start\", \"n\":1.50}\n\n\
         event: content_block_start\ndata: {\"type\":\"content_block_start\"}\n\n\
         event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    );
}

#[test]
fn a_refusal_names_its_place() {
    let table = [
        (json!({ "max_tokens": null }), "invalid_request", "max_tokens"),
        (json!({ "max_tokens": 0 }), "invalid_request", "max_tokens"),
        (json!({ "model": 7 }), "invalid_request", "model"),
        (json!({ "messages": [] }), "invalid_request", "messages"),
        (json!({ "messages": "hi" }), "invalid_request", "messages"),
        (json!({ "messages": [1] }), "invalid_request", "messages.0"),
        (
            json!({ "messages": [{ "role": "owner", "content": "x" }] }),
            "invalid_request",
            "messages.0.role",
        ),
        (
            json!({ "messages": [{ "role": "user" }] }),
            "invalid_request",
            "messages.0.content",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{}] }] }),
            "invalid_request",
            "messages.0.content.0.type",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "text" }] }] }),
            "invalid_request",
            "messages.0.content.0.text",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": { "type": "file", "file_id": "f" } }] }] }),
            "unsupported_parameter",
            "messages.0.content.0.source.type",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "container_upload", "file_id": "f" }] }] }),
            "unsupported_parameter",
            "messages.0.content.0.type",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": [{ "type": "server_tool_use" }] }] }),
            "unsupported_parameter",
            "messages.0.content.0.type",
        ),
        (
            json!({ "tools": [{ "name": "f" }, { "type": "web_search_20250305", "name": "web_search" }] }),
            "unsupported_parameter",
            "tools.1.type",
        ),
        (
            json!({ "tool_choice": { "type": "most" } }),
            "unsupported_parameter",
            "tool_choice.type",
        ),
        (json!({ "temperature": "hot" }), "invalid_request", "temperature"),
        (json!({ "stream": "yes" }), "invalid_request", "stream"),
        (json!({ "container": "c" }), "unsupported_parameter", "container"),
        (json!({ "mcp_servers": [{}] }), "unsupported_parameter", "mcp_servers"),
        (
            json!({ "thinking": { "type": "loud" } }),
            "unsupported_parameter",
            "thinking.type",
        ),
        (
            json!({ "system": [{ "type": "image" }] }),
            "unsupported_parameter",
            "system.0.type",
        ),
    ];
    for (more, code, param) in table {
        let refusal = Request::read(with(&more).to_string().as_bytes(), false).unwrap_err();
        assert_eq!((refusal.code, refusal.param.as_deref()), (code, Some(param)), "{more}");
    }
    for body in ["", "[]", "{", r#"{"model":"a","model":"b"}"#] {
        assert_eq!(Request::read(body.as_bytes(), false).unwrap_err().param, None, "{body}");
    }
}

#[test]
fn tokens_are_estimated_without_the_pictures_bytes() {
    let count = |content: &Value| {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
        Request::read(body.to_string().as_bytes(), true).unwrap().input_tokens
    };
    let text = count(&json!("x".repeat(3000)));
    assert!((1000..1050).contains(&text), "{text}");
    let image = json!([{ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "A".repeat(300_000) } }]);
    let picture = count(&image);
    assert!((1600..1700).contains(&picture), "{picture}");
    let source = json!({ "type": "url", "url": "https://a.example/i.png" });
    let shown = json!([{ "type": "image", "source": source }]);
    let result =
        json!([{ "type": "tool_result", "tool_use_id": "c", "content": [{ "type": "image", "source": source }] }]);
    for content in [shown, result] {
        let picture = count(&content);
        assert!((1600..1700).contains(&picture), "{picture}");
    }
}

fn whole(completion: &Value, thinking: bool) -> Value {
    let mut answer = Answer::new(&stamp(), "asked".to_owned(), thinking);
    serde_json::from_slice(&answer.whole(completion.to_string().as_bytes()).unwrap()).unwrap()
}

#[test]
fn an_answer_is_a_message() {
    let completion = json!({
        "model": "m-1", "usage": { "prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": { "cached_tokens": 7 } },
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": "a", "reasoning_content": "hm",
            "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1.50}" } }, { "function": { "name": "g", "arguments": "" } }, { "id": "e", "function": { "name": "h", "arguments": "{\"a\":" } }] } }],
    });
    let mut expected = json!({
        "id": "msg_01890000000070008000000000000000", "type": "message", "role": "assistant", "model": "m-1",
        "content": [
            { "type": "text", "text": "a" },
            { "type": "tool_use", "id": "c", "name": "f", "input": { "a": 1.5 } },
            { "type": "tool_use", "id": "toolu_01890000000070008000000000000000_1", "name": "g", "input": {} },
            { "type": "tool_use", "id": "e", "name": "h", "input": { "arguments": "{\"a\":" } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 3, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 0, "output_tokens": 4 },
    });
    assert_eq!(whole(&completion, false), expected);
    let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "" });
    expected["content"].as_array_mut().unwrap().insert(0, thought);
    assert_eq!(whole(&completion, true), expected);
    let mut answer = Answer::new(&stamp(), "asked".to_owned(), false);
    let bytes = String::from_utf8(answer.whole(completion.to_string().as_bytes()).unwrap()).unwrap();
    assert!(bytes.contains(r#""input":{"a":1.50}"#), "{bytes}");
}

#[test]
fn why_it_stopped_is_said_in_anthropics_words() {
    for (finish, more, reason) in [
        (json!("stop"), json!({ "content": "a" }), "end_turn"),
        (json!("eos"), json!({ "content": "a" }), "end_turn"),
        (json!(null), json!({}), "end_turn"),
        (json!("length"), json!({ "content": "a" }), "max_tokens"),
        (json!("content_filter"), json!({ "content": "" }), "refusal"),
        (json!("stop"), json!({ "refusal": "no" }), "refusal"),
        (
            json!("tool_calls"),
            json!({ "tool_calls": [{ "id": "c", "function": { "name": "f" } }] }),
            "tool_use",
        ),
        (
            json!("stop"),
            json!({ "tool_calls": [{ "id": "c", "function": { "name": "f" } }] }),
            "tool_use",
        ),
        (
            json!("length"),
            json!({ "tool_calls": [{ "id": "c", "function": { "name": "f" } }] }),
            "max_tokens",
        ),
    ] {
        let completion = json!({ "choices": [{ "message": more, "finish_reason": finish }] });
        assert_eq!(whole(&completion, false)["stop_reason"], reason, "{completion}");
        let chunk = json!({ "choices": [{ "delta": more, "finish_reason": finish }] });
        let events = stream(&mut Answer::new(&stamp(), "m".to_owned(), false), &[chunk], None);
        let (_, delta) = &events[events.len() - 2];
        assert_eq!(delta["delta"]["stop_reason"], reason, "{events:?}");
    }
    assert_eq!(whole(&json!({}), false)["model"], "asked");
    assert!(Answer::new(&stamp(), "m".to_owned(), false).whole(b"[]").is_none());
}

#[test]
fn a_stream_has_its_events_in_order() {
    let chunk = |delta: Value| json!({ "choices": [{ "index": 0, "delta": delta }] });
    let call = |index: i64, more: Value| {
        let mut call = json!({ "index": index });
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        chunk(json!({ "tool_calls": [call] }))
    };
    let chunks = [
        chunk(json!({ "reasoning_content": "hm" })),
        chunk(json!({ "content": "a" })),
        chunk(json!({ "content": "b" })),
        // The name comes late.
        call(0, json!({ "id": "c", "function": { "arguments": "{" } })),
        call(0, json!({ "function": { "name": "f", "arguments": "}" } })),
        call(1, json!({ "id": "d", "function": { "name": "g", "arguments": "{}" } })),
        json!({ "choices": [{ "delta": {}, "finish_reason": "tool_calls" }], "usage": { "prompt_tokens": 1, "completion_tokens": 1 } }),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2 } }),
    ];
    let events = stream(&mut Answer::new(&stamp(), "m".to_owned(), true), &chunks, None);
    let told: Vec<String> = events
        .iter()
        .map(|(name, data)| {
            let what = [&data["content_block"]["type"], &data["delta"]["type"]]
                .into_iter()
                .find_map(Value::as_str);
            match (data["index"].as_i64(), what) {
                (Some(index), Some(what)) => format!("{name} {index} {what}"),
                (Some(index), None) => format!("{name} {index}"),
                _ => name.clone(),
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "message_start",
            "ping",
            "content_block_start 0 thinking",
            "content_block_delta 0 thinking_delta",
            "content_block_stop 0",
            "content_block_start 1 text",
            "content_block_delta 1 text_delta",
            "content_block_delta 1 text_delta",
            "content_block_stop 1",
            "content_block_start 2 tool_use",
            "content_block_delta 2 input_json_delta",
            "content_block_stop 2",
            "content_block_start 3 tool_use",
            "content_block_delta 3 input_json_delta",
            "content_block_stop 3",
            "message_delta",
            "message_stop",
        ]
    );
    let (_, delta) = &events[events.len() - 2];
    assert_eq!(
        (&delta["usage"]["input_tokens"], &delta["usage"]["output_tokens"]),
        (&json!(5), &json!(2))
    );
}

#[test]
fn calls_that_come_in_turn_are_written_one_after_the_other() {
    let call = |index: i64, id: &str, name: &str, arguments: &str| {
        let mut call = json!({ "index": index, "function": { "arguments": arguments } });
        if !id.is_empty() {
            call["id"] = id.into();
        }
        if !name.is_empty() {
            call["function"]["name"] = name.into();
        }
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] })
    };
    let chunks = [
        call(0, "a", "f", "{\"x\":"),
        call(1, "", "g", "{\"y\":"),
        json!({ "choices": [{ "index": 0, "delta": { "content": "so" } }] }),
        call(0, "", "", "\"}\""),
        call(1, "", "", "2"),
        // The id comes last.
        call(1, "b", "", "}"),
        call(0, "", "", "}"),
        call(2, "", "h", "{}"),
    ];
    let events = stream(&mut Answer::new(&stamp(), "m".to_owned(), false), &chunks, None);
    let mut open = None;
    for (name, data) in &events {
        match name.as_str() {
            "content_block_start" => assert_eq!(open.replace(data["index"].clone()), None),
            "content_block_delta" => assert_eq!(open.as_ref(), Some(&data["index"])),
            "content_block_stop" => assert_eq!(open.take().as_ref(), Some(&data["index"])),
            _ => {}
        }
    }
    assert_eq!(
        assembled(&events)["content"],
        json!([
            { "type": "tool_use", "id": "a", "name": "f", "input": { "x": "}" } },
            { "type": "tool_use", "id": "b", "name": "g", "input": { "y": 2 } },
            { "type": "text", "text": "so" },
            { "type": "tool_use", "id": "toolu_01890000000070008000000000000000_2", "name": "h", "input": {} },
        ])
    );
}

#[test]
fn a_stream_that_breaks_ends_with_an_error() {
    let problem = Problem::new(actix_web::http::StatusCode::BAD_GATEWAY, "upstream_error", "it broke");
    let chunk = json!({ "choices": [{ "delta": { "content": "a" } }] });
    let events = stream(
        &mut Answer::new(&stamp(), "m".to_owned(), false),
        &[chunk],
        Some(&problem),
    );
    let (name, error) = events.last().unwrap();
    assert_eq!(name, "error");
    assert_eq!(
        (
            &error["error"]["type"],
            &error["error"]["code"],
            &error["error"]["message"]
        ),
        (&json!("api_error"), &json!("upstream_error"), &json!("it broke"))
    );
}

/// What Anthropic's SDKs make of a stream.
fn assembled(events: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut inputs: Vec<String> = Vec::new();
    for (name, data) in events {
        let index = usize::try_from(data["index"].as_u64().unwrap_or(0)).unwrap();
        match name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(content.len(), index);
                content.push(data["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                let (block, delta) = (&mut message["content"][index], &data["delta"]);
                if let Some(text) = delta["text"].as_str() {
                    block["text"] = (block["text"].as_str().unwrap().to_owned() + text).into();
                }
                if let Some(json) = delta["partial_json"].as_str() {
                    inputs[index].push_str(json);
                }
            }
            "content_block_stop" if !inputs[index].is_empty() => {
                message["content"][index]["input"] = serde_json::from_str(&inputs[index]).unwrap();
            }
            "message_delta" => {
                for key in ["stop_reason", "stop_sequence"] {
                    message[key] = data["delta"][key].clone();
                }
                message["usage"] = data["usage"].clone();
            }
            _ => {}
        }
    }
    message
}

proptest! {
    #[test]
    fn a_stream_says_what_the_whole_answer_says(said in any_answer()) {
        let events = stream(&mut Answer::new(&stamp(), "m".to_owned(), false), &said.chunks, None);
        prop_assert_eq!(assembled(&events), whole(&said.whole, false));
    }
}
