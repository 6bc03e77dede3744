//! The contract's scenes in OpenAI's words.

use std::sync::Mutex;
use std::time::Duration;

use anteroom_ai_provider::{OpenAiCompatible, OpenAiOptions};
use anteroom_contract::chat_model::{ANSWER, ARGUMENTS, Bench, FAILURE, KEY, Patience, Scene, USAGE};
use anteroom_domain::chat::TokenUsage;
use anteroom_ports::ChatModel;
use anteroom_ports::chat::ChatCall;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::upstream::{Received, Step, Upstream, body, data, end, head, json as answer, whole};
use crate::{call, options};

/// A provider behind the adapter, which plays a scene.
#[derive(Default)]
struct Stage {
    upstreams: Mutex<Vec<Upstream>>,
}

impl Stage {
    fn count(&self, of: impl Fn(&Upstream) -> usize) -> usize {
        self.upstreams.lock().unwrap().iter().map(of).sum()
    }
}

#[async_trait]
impl Bench for Stage {
    async fn model(&self, scene: Scene, patience: Patience) -> Box<dyn ChatModel> {
        let upstream = Upstream::start(move |request| play(scene, request)).await;
        let model = OpenAiCompatible::new(OpenAiOptions {
            first_token_timeout: patience.first_token,
            idle_timeout: patience.idle,
            total_timeout: patience.total,
            ..options(&upstream.base_url, KEY)
        });
        if scene != Scene::Away {
            self.upstreams.lock().unwrap().push(upstream);
        }
        Box::new(model.unwrap())
    }

    fn call(&self, streamed: bool) -> ChatCall {
        call(json!({ "model": "m", "messages": [], "stream": streamed }).to_string())
    }

    fn arrived(&self) -> usize {
        self.count(|upstream| upstream.seen().requests.len())
    }

    fn hung_up(&self) -> usize {
        self.count(|upstream| upstream.seen().hung_up)
    }

    fn sent_bytes(&self) -> usize {
        self.count(|upstream| upstream.seen().sent_bytes)
    }
}

anteroom_contract::chat_model_contract!(Stage::default(); answers);
anteroom_contract::chat_model_contract!(Stage::default(); failures);

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
