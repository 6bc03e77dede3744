//! Answers in OpenAI's shapes, whole and in chunks.

use bytes::Bytes;
use serde_json::{Value, json};

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{ChatChunk, ChatEvent, ChatReply};

use crate::shared::redact::Redactor;

/// What every chunk of an answer repeats.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The answer's id.
    pub(crate) id: String,
    /// When it was given, in Unix seconds.
    pub(crate) created: i64,
    /// The model that gave it.
    pub(crate) model: String,
}

/// A choice of a whole answer.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Its text.
    pub(crate) text: String,
    /// What it thought, where that is told.
    pub(crate) reasoning: String,
    /// Anthropic's blocks of thought, for the next turn.
    pub(crate) thoughts: Vec<Value>,
    /// The tools it calls.
    pub(crate) calls: Vec<Value>,
    /// Why it ended, in OpenAI's word.
    pub(crate) finish_reason: &'static str,
}

/// What a chunk adds.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// The choice.
    pub(crate) choice: usize,
    /// Whether it is the choice's first.
    pub(crate) first: bool,
    /// More text.
    pub(crate) text: String,
    /// More of what it thinks.
    pub(crate) reasoning: String,
    /// A block of thought that is whole, for the next turn.
    pub(crate) thought: Option<Value>,
    /// More of its calls.
    pub(crate) call: Option<Value>,
    /// Why it ended.
    pub(crate) finish_reason: Option<&'static str>,
    /// What was used up to here.
    pub(crate) usage: Option<TokenUsage>,
}

impl Head {
    /// A whole answer.
    pub(crate) fn whole(&self, said: &[Said], usage: Option<TokenUsage>, redactor: &Redactor) -> ChatReply {
        let text = redactor.said(said.first().map(|first| first.text.clone()).unwrap_or_default());
        let choices = said.iter().enumerate().map(|(index, said)| choice(index, said));
        let choices: Vec<Value> = choices.collect();
        let mut body = json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            body["usage"] = usage_object(usage);
        }
        ChatReply {
            body: redactor.answer(body.to_string()),
            text,
            usage,
            dropped: Vec::new(),
        }
    }

    /// A chunk of a stream.
    pub(crate) fn chunk(&self, delta: Delta, redactor: &Redactor) -> ChatEvent {
        let calls = delta.call.iter().map(|call| {
            let size = |name: &str| call["function"][name].as_str().map_or(0, str::len);
            size("name") + size("arguments")
        });
        let output_bytes = delta.text.len() + delta.reasoning.len() + calls.sum::<usize>();
        let mut members = json!({});
        if delta.first {
            members = json!({ "role": "assistant", "content": "" });
        }
        if !delta.text.is_empty() {
            members["content"] = json!(delta.text);
        }
        if !delta.reasoning.is_empty() {
            members["reasoning_content"] = json!(delta.reasoning);
        }
        if let Some(thought) = delta.thought {
            members["thinking_blocks"] = json!([thought]);
        }
        if let Some(call) = delta.call {
            members["tool_calls"] = json!([call]);
        }
        let choices = json!([{
            "index": delta.choice, "delta": members, "logprobs": null, "finish_reason": delta.finish_reason,
        }]);
        ChatEvent::Chunk(ChatChunk {
            data: self.data(&choices, &Value::Null, redactor),
            text: if delta.choice == 0 {
                redactor.said(delta.text)
            } else {
                String::new()
            },
            output_bytes,
            usage: delta.usage,
            usage_only: false,
        })
    }

    /// The chunk that says what was used.
    pub(crate) fn spent(&self, usage: TokenUsage, redactor: &Redactor) -> ChatEvent {
        ChatEvent::Chunk(ChatChunk {
            data: self.data(&json!([]), &usage_object(usage), redactor),
            usage: Some(usage),
            usage_only: true,
            ..ChatChunk::default()
        })
    }

    fn data(&self, choices: &Value, usage: &Value, redactor: &Redactor) -> Bytes {
        let chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices, "usage": usage,
        });
        redactor.answer(chunk.to_string())
    }
}

fn choice(index: usize, said: &Said) -> Value {
    let content = if said.text.is_empty() && !said.calls.is_empty() {
        Value::Null
    } else {
        json!(said.text)
    };
    let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
    if !said.reasoning.is_empty() {
        message["reasoning_content"] = json!(said.reasoning);
    }
    if !said.thoughts.is_empty() {
        message["thinking_blocks"] = json!(said.thoughts);
    }
    if !said.calls.is_empty() {
        message["tool_calls"] = json!(said.calls);
    }
    json!({ "index": index, "message": message, "logprobs": null, "finish_reason": said.finish_reason })
}

fn usage_object(usage: TokenUsage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens.saturating_add(usage.completion_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    })
}

/// A count of tokens, where a provider said one that can be.
pub(crate) fn tokens(value: &Value) -> Option<i64> {
    value.as_i64().filter(|n| *n >= 0)
}
