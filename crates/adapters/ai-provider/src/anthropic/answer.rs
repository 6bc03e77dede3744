//! Anthropic's answer as OpenAI's.

use serde_json::{Value, json};

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{ChatReply, ProviderError};

use crate::shared::failure;
use crate::shared::redact::Redactor;
use crate::translate::answer::{Head, Said, tokens};

/// Reads a whole answer.
pub(super) fn reply(body: &[u8], created: i64, redactor: &Redactor) -> Result<ChatReply, ProviderError> {
    let mut answer: Value =
        serde_json::from_slice(body).map_err(|_| failure::protocol("an answer that is not JSON"))?;
    if answer["type"] == "error" {
        return Err(failure::in_answer(failure::error_object(answer), redactor));
    }
    let Some(Value::Array(blocks)) = answer.get_mut("content").map(Value::take) else {
        return Err(failure::protocol("an answer without content"));
    };
    let mut said = Said::default();
    for mut block in blocks {
        match block["type"].as_str() {
            Some("text") => said.text.push_str(block["text"].as_str().unwrap_or_default()),
            Some("thinking") => {
                said.reasoning.push_str(block["thinking"].as_str().unwrap_or_default());
                said.thoughts.push(block);
            }
            Some("redacted_thinking") => said.thoughts.push(block),
            Some("tool_use") => {
                let arguments = block.get_mut("input").map(Value::take).filter(Value::is_object);
                let arguments = arguments.unwrap_or_else(|| json!({})).to_string();
                let function = json!({ "name": block["name"], "arguments": arguments });
                said.calls
                    .push(json!({ "id": block["id"], "type": "function", "function": function }));
            }
            _ => {}
        }
    }
    said.finish_reason = finish_reason(answer["stop_reason"].as_str());
    let mut spent = Spent::default();
    spent.note(&answer["usage"]);
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let head = Head {
        id: text("id"),
        created,
        model: text("model"),
    };
    Ok(head.whole(&[said], spent.usage(), redactor))
}

/// OpenAI's word for why an answer ended.
pub(super) fn finish_reason(stop_reason: Option<&str>) -> &'static str {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_use") => "tool_calls",
        Some("refusal") => "content_filter",
        _ => "stop",
    }
}

/// What a call has used, as far as it has been said. Counts of a stream are of the whole so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Spent {
    input: Option<i64>,
    cache_read: i64,
    cache_written: i64,
    written_for_an_hour: i64,
    output: Option<i64>,
    thinking: i64,
}

impl Spent {
    /// The first event's count: its output is no more than a beginning.
    pub(super) fn note_input(&mut self, usage: &Value) {
        let output = self.output;
        self.note(usage);
        self.output = output;
    }

    pub(super) fn note(&mut self, usage: &Value) {
        let count = |name: &str| tokens(&usage[name]);
        self.input = self.input.max(count("input_tokens"));
        self.output = self.output.max(count("output_tokens"));
        let larger = |old: &mut i64, new: Option<i64>| *old = (*old).max(new.unwrap_or(0));
        larger(&mut self.cache_read, count("cache_read_input_tokens"));
        larger(&mut self.cache_written, count("cache_creation_input_tokens"));
        let for_an_hour = &usage["cache_creation"]["ephemeral_1h_input_tokens"];
        larger(&mut self.written_for_an_hour, tokens(for_an_hour));
        let thinking = &usage["output_tokens_details"]["thinking_tokens"];
        larger(&mut self.thinking, tokens(thinking));
    }

    /// What is known before the answer is whole: all that went in, from the first event on.
    pub(super) fn so_far(&self) -> Option<TokenUsage> {
        let known = Self {
            output: self.output.or(Some(0)),
            ..*self
        };
        known.usage()
    }

    /// As OpenAI counts: what is cached is part of the prompt, where Anthropic counts it beside.
    pub(super) fn usage(&self) -> Option<TokenUsage> {
        let input = self
            .input?
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_written);
        Some(TokenUsage {
            prompt_tokens: input,
            completion_tokens: self.output?,
            cached_tokens: self.cache_read,
            reasoning_tokens: self.thinking,
            cache_write_tokens: self.cache_written,
            hour_write_tokens: self.written_for_an_hour,
        })
    }
}
