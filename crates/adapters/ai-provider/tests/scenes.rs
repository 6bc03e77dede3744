//! An OpenAI-compatible server against the contracts.

use std::time::Duration;

use anteroom_ai_provider::{OpenAiCompatible, OpenAiOptions};
use anteroom_contract::chat_model::USAGE;
use anteroom_contract::chat_model::{ANSWER, ARGUMENTS, FAILURE, KEY, Scene};
use anteroom_domain::chat::TokenUsage;
use serde_json::{Value, json};

use crate::options;
use crate::stage::{Stage, VectorStage, base64, vector_of};
use crate::upstream::{Received, Step, body, data, end, head, json as answer, whole};

fn stage() -> Stage {
    Stage::new(play, |base_url, timeouts| Box::new(openai(base_url, timeouts)))
}

fn vectors() -> VectorStage {
    VectorStage::new(embed, |base_url, timeouts| Box::new(openai(base_url, timeouts)))
}

fn openai(base_url: &str, timeouts: anteroom_ai_provider::Timeouts) -> OpenAiCompatible {
    let options = OpenAiOptions {
        timeouts,
        ..options(base_url, KEY)
    };
    OpenAiCompatible::new(options).unwrap()
}

anteroom_contract::chat_model_contract!(stage(); answers);
anteroom_contract::chat_model_contract!(stage(); failures);
anteroom_contract::chat_model_contract!(stage(); cumulative);
anteroom_contract::embedder_contract!(vectors(); answers);
anteroom_contract::embedder_contract!(vectors(); failures);

/// What the provider does with a request.
fn play(scene: Scene, request: &Received) -> Vec<Step> {
    match scene {
        Scene::Refuses(429) => {
            let headers = "content-type: application/json\r\nretry-after: 7\r\n";
            return vec![whole(429, headers, &failure().to_string())];
        }
        Scene::Refuses(status) => return vec![answer(status, &failure().to_string())],
        Scene::Garbage => return vec![whole(200, "content-type: text/html\r\n", "<html>It works!</html>")],
        Scene::Silent => return vec![Step::Hang],
        _ => {}
    }
    if request.method == "GET" {
        let listed =
            json!({ "object": "list", "data": [{ "id": "m", "object": "model", "created": 1, "owned_by": "o" }] });
        return vec![answer(200, &listed.to_string())];
    }
    let request: Value = serde_json::from_slice(&request.body).unwrap();
    if request["stream"] == true {
        streamed(scene)
    } else {
        at_once(scene)
    }
}

/// The vectors that a request asks for.
fn embed(request: &Received, usage: bool) -> Vec<Step> {
    assert_eq!(request.path, "/v1/embeddings");
    let request: Value = serde_json::from_slice(&request.body).unwrap();
    let texts = request["input"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap());
    let entry = |(index, text)| {
        let vector = vector_of(text);
        let embedding = match request["encoding_format"].as_str() {
            Some("base64") => json!(base64(&vector)),
            _ => json!(vector),
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let mut made = json!({ "object": "list", "model": "m", "data": texts.enumerate().map(entry).collect::<Vec<_>>() });
    if usage {
        made["usage"] = json!({ "prompt_tokens": 7, "total_tokens": 7 });
    }
    vec![answer(200, &made.to_string())]
}

fn failure() -> Value {
    let message = format!("{FAILURE} {KEY}");
    json!({ "error": { "message": message, "type": "server_error", "param": null, "code": "fell_over" } })
}

fn usage(usage: TokenUsage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    })
}

fn at_once(scene: Scene) -> Vec<Step> {
    let mut message = json!({ "role": "assistant", "content": ANSWER });
    if scene == Scene::ToolCall {
        let function = json!({ "name": "weather", "arguments": ARGUMENTS });
        message = json!({ "role": "assistant", "content": null,
            "tool_calls": [{ "id": "call_1", "type": "function", "function": function }] });
    }
    let mut whole_answer =
        json!({ "id": "x", "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
    if scene != Scene::NoUsage {
        whole_answer["usage"] = usage(USAGE);
    }
    let whole_answer = whole_answer.to_string();
    if scene == Scene::Breaks {
        let part = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"choices\":";
        return vec![Step::Send(part.into()), Step::Close];
    }
    vec![answer(200, &whole_answer)]
}

fn chunk(delta: &Value, usage: &Value) -> String {
    json!({ "id": "x", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }], "usage": usage }).to_string()
}

fn streamed(scene: Scene) -> Vec<Step> {
    let words: Vec<&str> = ANSWER.split_inclusive(' ').collect();
    let word = |word: &&str| data(&chunk(&json!({ "content": word }), &Value::Null));
    let role = data(&chunk(&json!({ "role": "assistant", "content": "" }), &Value::Null));
    let last = data(&json!({ "id": "x", "choices": [], "usage": usage(USAGE) }).to_string());
    let done = data("[DONE]");
    let part = [vec![head(), role.clone()], words[..2].iter().map(word).collect()].concat();
    let all = [vec![head(), role], words.iter().map(word).collect()].concat();
    let flood = |size: usize, pause| {
        let data = chunk(&json!({ "content": "x".repeat(size) }), &Value::Null);
        let Step::Send(bytes) = body(&format!("data: {data}\n\n")) else {
            unreachable!();
        };
        vec![Step::Repeat(bytes, Duration::from_millis(pause))]
    };
    match scene {
        Scene::NoUsage => [all, vec![done, end()]].concat(),
        Scene::CumulativeUsage => {
            let so_far = |(number, word): (usize, &&str)| {
                // What comes last is not what is largest.
                let share = |n: i64| n.min(i64::try_from(number).unwrap() * 2 + 1);
                let said = TokenUsage {
                    prompt_tokens: USAGE.prompt_tokens,
                    completion_tokens: share(USAGE.completion_tokens),
                    cached_tokens: share(USAGE.cached_tokens),
                    reasoning_tokens: USAGE.reasoning_tokens * i64::from(number == 2),
                    ..TokenUsage::NONE
                };
                data(&chunk(&json!({ "content": word }), &usage(said)))
            };
            let words = words.iter().enumerate().map(so_far).collect();
            let last = data(&chunk(
                &json!({}),
                &usage(TokenUsage {
                    reasoning_tokens: 0,
                    ..USAGE
                }),
            ));
            [vec![head()], words, vec![last, done, end()]].concat()
        }
        Scene::ToolCall => {
            let (one, two) = ARGUMENTS.split_at(9);
            let call = |function: Value| {
                chunk(
                    &json!({ "tool_calls": [{ "index": 0, "function": function }] }),
                    &Value::Null,
                )
            };
            let begin = data(&call(json!({ "name": "weather", "arguments": one })));
            vec![
                head(),
                begin,
                data(&call(json!({ "arguments": two }))),
                last,
                done,
                end(),
            ]
        }
        Scene::EndsEarly => [part, vec![end()]].concat(),
        Scene::Breaks => [part, vec![Step::Close]].concat(),
        Scene::FailsMidway => [part, vec![data(&failure().to_string()), done, end()]].concat(),
        Scene::FallsSilent => [part, vec![Step::Hang]].concat(),
        Scene::Drips => [part, flood(1, 20)].concat(),
        Scene::Floods => [part, flood(16 * 1024, 0)].concat(),
        _ => [all, vec![last, done, end()]].concat(),
    }
}
