//! The Responses API, translated there and back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Dialect as _;
use super::super::tests::{any_answer, stamp, stream};
use super::{Answer, Request};
use crate::problem::Problem;

fn asked(body: &Value) -> Request {
    Request::read(body.to_string().as_bytes()).unwrap()
}

fn sent(body: &Value) -> Value {
    serde_json::from_slice(&asked(body).call.bytes()).unwrap()
}

fn with(more: &Value) -> Value {
    let mut body = json!({ "model": "m", "input": "hi" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn each_parameter_is_said_in_its_way() {
    let tool = json!({ "type": "function", "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true });
    let told = json!({ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true } });
    let table = [
        (json!({}), json!({})),
        (json!({ "max_output_tokens": 5 }), json!({ "max_completion_tokens": 5 })),
        (
            json!({ "temperature": 0.5, "top_p": 1 }),
            json!({ "temperature": 0.5, "top_p": 1 }),
        ),
        (
            json!({ "stream": true, "stream_options": { "include_obfuscation": false } }),
            json!({ "stream": true, "stream_options": { "include_usage": true } }),
        ),
        (json!({ "tools": [tool] }), json!({ "tools": [told] })),
        (
            json!({ "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false }),
            json!({ "tools": [told], "tool_choice": "required", "parallel_tool_calls": false }),
        ),
        (
            json!({ "tools": [tool], "tool_choice": { "type": "function", "name": "f" } }),
            json!({ "tools": [told], "tool_choice": { "type": "function", "function": { "name": "f" } } }),
        ),
        // Servers refuse these where there are no tools, and SDKs send them always.
        (
            json!({ "tools": [], "tool_choice": "auto", "parallel_tool_calls": true }),
            json!({}),
        ),
        (json!({ "text": { "format": { "type": "text" } } }), json!({})),
        (
            json!({ "text": { "format": { "type": "json_object" }, "verbosity": "low" } }),
            json!({ "response_format": { "type": "json_object" }, "verbosity": "low" }),
        ),
        (
            json!({ "text": { "format": { "type": "json_schema", "name": "n", "strict": true, "schema": { "type": "object" } } } }),
            json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": { "type": "object" } } } }),
        ),
        (
            json!({ "reasoning": { "effort": "high" } }),
            json!({ "reasoning_effort": "high" }),
        ),
        (
            json!({ "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "flex" }),
            json!({ "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "flex" }),
        ),
        // What only the answer tells.
        (
            json!({ "metadata": { "a": "b" }, "store": true, "background": false, "truncation": "disabled" }),
            json!({}),
        ),
    ];
    for (more, expected) in table {
        let mut body = sent(&with(&more));
        let members = body.as_object_mut().unwrap();
        assert_eq!(
            members.remove("messages"),
            Some(json!([{ "role": "user", "content": "hi" }]))
        );
        assert_eq!(members.remove("model"), Some(json!("m")));
        assert_eq!(body, expected, "{more}");
        assert_eq!(asked(&with(&more)).call.dropped.header(), None, "{more}");
    }
}

#[test]
fn items_become_messages() {
    let call = |id: &str| json!({ "type": "function_call", "id": "fc_1", "call_id": id, "name": "f", "arguments": "{}", "status": "completed" });
    let called = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let table = [
        (
            json!([{ "role": "developer", "content": "be brief" }, { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "a" }] }]),
            json!([{ "role": "system", "content": "be brief" }, { "role": "user", "content": "a" }]),
        ),
        (
            json!([{ "role": "user", "content": [
                { "type": "input_text", "text": "a" }, { "type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low" },
                { "type": "input_file", "filename": "x.pdf", "file_data": "data:application/pdf;base64,AA" },
            ] }]),
            json!([{ "role": "user", "content": [
                { "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA", "detail": "low" } },
                { "type": "file", "file": { "filename": "x.pdf", "file_data": "data:application/pdf;base64,AA" } },
            ] }]),
        ),
        // A whole turn, as an answer of ours has it.
        (
            json!([
                { "type": "reasoning", "id": "rs_1", "summary": [] },
                { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{ "type": "output_text", "text": "a", "annotations": [] }, { "type": "refusal", "refusal": "b" }] },
                call("c"), call("d"),
                { "type": "function_call_output", "call_id": "c", "output": "rain" },
                { "type": "function_call_output", "call_id": "d", "output": [{ "type": "input_text", "text": "x" }, { "type": "input_image", "image_url": "https://x.test/i" }] },
            ]),
            json!([
                { "role": "assistant", "content": "ab", "tool_calls": [called("c"), called("d")] },
                { "role": "tool", "tool_call_id": "c", "content": "rain" },
                { "role": "tool", "tool_call_id": "d", "content": "x" },
                { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "https://x.test/i" } }] },
            ]),
        ),
        // Calls of different turns do not join.
        (
            json!([call("c"), { "type": "function_call_output", "call_id": "c", "output": "" }, call("d")]),
            json!([
                { "role": "assistant", "content": null, "tool_calls": [called("c")] },
                { "role": "tool", "tool_call_id": "c", "content": "" },
                { "role": "assistant", "content": null, "tool_calls": [called("d")] },
            ]),
        ),
        (
            json!([{ "role": "assistant", "content": "" }, call("c")]),
            json!([{ "role": "assistant", "content": null, "tool_calls": [called("c")] }]),
        ),
    ];
    for (input, expected) in table {
        assert_eq!(sent(&with(&json!({ "input": input })))["messages"], expected, "{input}");
    }
    let body = sent(&with(&json!({ "instructions": "be brief" })));
    assert_eq!(body["messages"][0], json!({ "role": "system", "content": "be brief" }));
}

#[test]
fn what_cannot_be_said_is_named() {
    let body = with(&json!({
        "include": ["reasoning.encrypted_content"], "truncation": "auto", "reasoning": { "summary": "auto" }, "top_logprobs": 2, "x_new": 1,
        "input": [{ "role": "user", "content": "a" }, { "type": "reasoning", "summary": [] }],
    }));
    let mut names: Vec<String> = asked(&body)
        .call
        .dropped
        .header()
        .unwrap()
        .split(", ")
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "include",
            "input.reasoning",
            "reasoning.summary",
            "top_logprobs",
            "truncation",
            "x_new"
        ]
    );
}

#[test]
fn a_refusal_names_its_place() {
    let table = [
        (json!({ "input": null }), "invalid_request", "input"),
        (json!({ "input": [] }), "invalid_request", "input"),
        (
            json!({ "input": [{ "type": "reasoning" }] }),
            "invalid_request",
            "input",
        ),
        (json!({ "input": 7 }), "invalid_request", "input"),
        (json!({ "model": null }), "invalid_request", "model"),
        (
            json!({ "input": [{ "role": "owner", "content": "a" }] }),
            "invalid_request",
            "input.0.role",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_audio" }] }] }),
            "unsupported_parameter",
            "input.0.content.0.type",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }] }),
            "unsupported_parameter",
            "input.0.content.0.file_id",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_file", "file_url": "u" }] }] }),
            "unsupported_parameter",
            "input.0.content.0.file_url",
        ),
        (
            json!({ "input": [{ "role": "assistant", "content": [{ "type": "input_image", "image_url": "u" }] }] }),
            "unsupported_parameter",
            "input.0.content",
        ),
        (
            json!({ "input": [{ "type": "item_reference", "id": "msg_1" }] }),
            "unsupported_parameter",
            "input.0.type",
        ),
        (
            json!({ "input": [{ "type": "web_search_call", "id": "w" }] }),
            "unsupported_parameter",
            "input.0.type",
        ),
        (
            json!({ "previous_response_id": "resp_1" }),
            "unsupported_parameter",
            "previous_response_id",
        ),
        (json!({ "conversation": "c" }), "unsupported_parameter", "conversation"),
        (json!({ "background": true }), "unsupported_parameter", "background"),
        (json!({ "prompt": { "id": "p" } }), "unsupported_parameter", "prompt"),
        (
            json!({ "tools": [{ "type": "web_search" }] }),
            "unsupported_parameter",
            "tools.0.type",
        ),
        (
            json!({ "tools": [{ "type": "custom", "name": "x" }] }),
            "unsupported_parameter",
            "tools.0.type",
        ),
        (json!({ "tool_choice": "most" }), "unsupported_parameter", "tool_choice"),
        (
            json!({ "tool_choice": { "type": "file_search" } }),
            "unsupported_parameter",
            "tool_choice.type",
        ),
        (
            json!({ "text": { "format": { "type": "grammar" } } }),
            "unsupported_parameter",
            "text.format.type",
        ),
        (
            json!({ "max_output_tokens": 0 }),
            "invalid_request",
            "max_output_tokens",
        ),
    ];
    for (more, code, param) in table {
        let refusal = Request::read(with(&more).to_string().as_bytes()).unwrap_err();
        assert_eq!((refusal.code, refusal.param.as_deref()), (code, Some(param)), "{more}");
    }
}

fn answer(more: &Value) -> Answer {
    let request = asked(&with(more));
    Answer::new(stamp(), request.model, request.echo)
}

fn whole(completion: &Value, more: &Value) -> Value {
    serde_json::from_slice(&answer(more).whole(completion.to_string().as_bytes()).unwrap()).unwrap()
}

#[test]
fn an_answer_is_a_response() {
    let completion = json!({
        "model": "m-1", "usage": { "prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": { "cached_tokens": 7 }, "completion_tokens_details": { "reasoning_tokens": 1 } },
        "choices": [{ "finish_reason": "tool_calls", "message": { "content": "a", "tool_calls": [{ "id": "c", "function": { "name": "f", "arguments": "{\"a\":1.50}" } }] } }],
    });
    let response = whole(
        &completion,
        &json!({ "metadata": { "k": "v" }, "temperature": 0.5, "store": true, "instructions": "i" }),
    );
    assert_eq!(
        response,
        json!({
            "id": "resp_01890000000070008000000000000000", "object": "response", "created_at": 1_700_000_000, "status": "completed",
            "background": false, "error": null, "incomplete_details": null, "instructions": "i", "max_output_tokens": null,
            "metadata": { "k": "v" }, "model": "m-1", "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "prompt_cache_key": null, "store": false,
            "temperature": 0.5, "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "top_p": null,
            "truncation": "disabled", "user": null,
            "output": [
                { "type": "message", "id": "msg_01890000000070008000000000000000", "status": "completed", "role": "assistant", "content": [{ "type": "output_text", "text": "a", "annotations": [], "logprobs": [] }] },
                { "type": "function_call", "id": "fc_01890000000070008000000000000000_0", "status": "completed", "call_id": "c", "name": "f", "arguments": "{\"a\":1.50}" },
            ],
            "usage": {
                "input_tokens": 10, "input_tokens_details": { "cached_tokens": 7, "cache_write_tokens": 0 },
                "output_tokens": 4, "output_tokens_details": { "reasoning_tokens": 1 }, "total_tokens": 14,
            },
        })
    );
}

#[test]
fn what_was_cut_is_incomplete() {
    for (finish, status, reason) in [
        ("stop", "completed", Value::Null),
        ("length", "incomplete", json!({ "reason": "max_output_tokens" })),
        ("content_filter", "incomplete", json!({ "reason": "content_filter" })),
    ] {
        let completion = json!({ "choices": [{ "finish_reason": finish, "message": { "content": "a" } }] });
        let response = whole(&completion, &json!({}));
        assert_eq!(
            (&response["status"], &response["incomplete_details"]),
            (&json!(status), &reason)
        );
        assert_eq!(
            (&response["output"][0]["status"], &response["usage"]),
            (&json!(status), &Value::Null)
        );
        let chunk = json!({ "choices": [{ "finish_reason": finish, "delta": { "content": "a" } }] });
        let events = stream(&mut answer(&json!({})), &[chunk], None);
        assert_eq!(events.last().unwrap().0, format!("response.{status}"));
    }
    let refused = whole(
        &json!({ "choices": [{ "message": { "content": null, "refusal": "no" } }] }),
        &json!({}),
    );
    assert_eq!(
        refused["output"][0]["content"],
        json!([{ "type": "refusal", "refusal": "no" }])
    );
    assert!(answer(&json!({})).whole(b"[]").is_none());
}

#[test]
fn a_stream_has_its_events_in_order() {
    let chunk = |delta: Value| json!({ "choices": [{ "index": 0, "delta": delta }] });
    let call = |index: i64, id: &str, name: &str, arguments: &str| {
        chunk(
            json!({ "tool_calls": [{ "index": index, "id": id, "function": { "name": name, "arguments": arguments } }] }),
        )
    };
    let chunks = [
        chunk(json!({ "role": "assistant", "content": "" })),
        chunk(json!({ "content": "a" })),
        chunk(json!({ "content": "b" })),
        call(0, "c", "f", ""),
        call(0, "", "", "{}"),
        call(1, "d", "g", "{}"),
    ];
    let events = stream(&mut answer(&json!({})), &chunks, None);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let numbers: Vec<u64> = events
        .iter()
        .map(|(_, data)| data["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..18).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_breaks_fails_and_says_why() {
    let problem = Problem::new(actix_web::http::StatusCode::BAD_GATEWAY, "upstream_error", "it broke");
    let chunk = json!({ "choices": [{ "delta": { "content": "a" } }] });
    for chunks in [&[chunk][..], &[]] {
        let events = stream(&mut answer(&json!({})), chunks, Some(&problem));
        let [.., (name, error), (failed, response)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((failed.as_str(), name.as_str()), ("response.failed", "error"));
        assert_eq!(response["response"]["status"], "failed");
        assert_eq!(
            response["response"]["error"],
            json!({ "code": "upstream_error", "message": "it broke" })
        );
        for part in [error, &error["error"]] {
            assert_eq!(
                (&part["code"], &part["message"]),
                (&json!("upstream_error"), &json!("it broke"))
            );
        }
        assert_eq!(error["error"]["type"], "server_error");
    }
}

/// What OpenAI's SDKs make of a stream's output.
fn assembled(events: &[(String, Value)]) -> Vec<Value> {
    let mut output: Vec<Value> = Vec::new();
    for (name, data) in events {
        let at = usize::try_from(data["output_index"].as_u64().unwrap_or(0)).unwrap();
        match name.as_str() {
            "response.output_item.added" => {
                assert_eq!(output.len(), at);
                output.push(data["item"].clone());
            }
            "response.content_part.added" => output[at]["content"].as_array_mut().unwrap().push(data["part"].clone()),
            "response.output_text.delta" => {
                assert_eq!(output[at]["id"], data["item_id"]);
                let part = usize::try_from(data["content_index"].as_u64().unwrap()).unwrap();
                let text = &mut output[at]["content"][part]["text"];
                *text = (text.as_str().unwrap().to_owned() + data["delta"].as_str().unwrap()).into();
            }
            "response.function_call_arguments.delta" => {
                assert_eq!(output[at]["id"], data["item_id"]);
                let text = &mut output[at]["arguments"];
                *text = (text.as_str().unwrap().to_owned() + data["delta"].as_str().unwrap()).into();
            }
            "response.output_text.done" => {
                let part = usize::try_from(data["content_index"].as_u64().unwrap()).unwrap();
                assert_eq!(output[at]["content"][part]["text"], data["text"]);
            }
            "response.function_call_arguments.done" => assert_eq!(output[at]["arguments"], data["arguments"]),
            "response.output_item.done" => {
                let mut item = data["item"].clone();
                let status = item["status"].clone();
                item["status"] = "in_progress".into();
                assert_eq!(output[at], item, "the pieces are the item");
                output[at]["status"] = status;
            }
            _ => {}
        }
    }
    output
}

proptest! {
    #[test]
    fn a_stream_says_what_the_whole_answer_says(said in any_answer()) {
        let events = stream(&mut answer(&json!({})), &said.chunks, None);
        let expected = whole(&said.whole, &json!({}));
        prop_assert_eq!(&json!(assembled(&events)), &expected["output"]);
        prop_assert_eq!(&events.last().unwrap().1["response"], &expected);
    }
}
