//! Gemini's answer as OpenAI's.

use serde_json::{Value, json};

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{ChatReply, ProviderError};

use super::openai_error;
use crate::shared::failure;
use crate::shared::redact::Redactor;
use crate::translate::answer::{Head, Said, tokens};

/// Reads a whole answer.
pub(super) fn reply(body: &[u8], mut head: Head, redactor: &Redactor) -> Result<ChatReply, ProviderError> {
    let mut answer: Value =
        serde_json::from_slice(body).map_err(|_| failure::protocol("an answer that is not JSON"))?;
    refused(&answer, redactor)?;
    name(&mut head, &answer);
    let usage = usage(&answer["usageMetadata"]);
    let mut said = Vec::new();
    if let Some(Value::Array(candidates)) = answer.get_mut("candidates").map(Value::take) {
        for candidate in candidates {
            said.push(one(&head, said.len(), candidate)?);
        }
    }
    if said.is_empty() {
        if !blocked(&answer) {
            return Err(failure::protocol("an answer without candidates"));
        }
        said.push(Said {
            finish_reason: "content_filter",
            ..Said::default()
        });
    }
    Ok(head.whole(&said, usage, redactor))
}

fn one(head: &Head, choice: usize, mut candidate: Value) -> Result<Said, ProviderError> {
    let mut said = Said::default();
    if let Some(Value::Array(parts)) = candidate.pointer_mut("/content/parts").map(Value::take) {
        for part in parts {
            match read_part(part) {
                Bit::Text(text) => said.text.push_str(&text),
                Bit::Thought(text) => said.reasoning.push_str(&text),
                Bit::Call(call) => {
                    let call = tool_call(head, choice, said.calls.len(), call);
                    said.calls.push(call);
                }
                Bit::Other => {}
            }
        }
    }
    let reason = candidate["finishReason"].as_str();
    said.finish_reason = finish_reason(reason, !said.calls.is_empty())?;
    Ok(said)
}

/// What a part of an answer is.
pub(super) enum Bit {
    /// Text.
    Text(String),
    /// Thought, summed up.
    Thought(String),
    /// A call, as it came.
    Call(Value),
    /// What OpenAI's answers have no place for.
    Other,
}

/// Reads a part.
pub(super) fn read_part(mut part: Value) -> Bit {
    if part.get("functionCall").is_some_and(Value::is_object) {
        return Bit::Call(part);
    }
    let thought = part["thought"] == true;
    match part.get_mut("text").map(Value::take) {
        Some(Value::String(text)) if thought => Bit::Thought(text),
        Some(Value::String(text)) => Bit::Text(text),
        _ => Bit::Other,
    }
}

/// A call as OpenAI's. Where it has no id it gets one that no other call of the answer has; the mark of the thought
/// behind it goes along in the place that Google gave it on its OpenAI-compatible address.
pub(super) fn tool_call(head: &Head, choice: usize, number: usize, mut part: Value) -> Value {
    let call = part["functionCall"].take();
    let id = match call["id"].as_str() {
        Some(id) => id.to_owned(),
        None => format!("call_{}_{choice}_{number}", head.id.trim_start_matches("chatcmpl-")),
    };
    let arguments = if call["args"].is_object() {
        call["args"].to_string()
    } else {
        "{}".to_owned()
    };
    let function = json!({ "name": call["name"], "arguments": arguments });
    let mut made = json!({ "id": id, "type": "function", "function": function });
    if part["thoughtSignature"].is_string() {
        made["extra_content"] = json!({ "google": { "thought_signature": part["thoughtSignature"] } });
    }
    made
}

/// Whether the prompt itself was refused.
pub(super) fn blocked(answer: &Value) -> bool {
    answer["promptFeedback"]["blockReason"].is_string()
}

/// An error where an answer was due.
pub(super) fn refused(answer: &Value, redactor: &Redactor) -> Result<(), ProviderError> {
    let listed = answer.get(0).unwrap_or(answer);
    match listed.get("error") {
        Some(error) if error.is_object() => Err(failure::in_answer(Some(openai_error(error)), redactor)),
        _ => Ok(()),
    }
}

/// Takes over what the answer calls itself and its model.
pub(super) fn name(head: &mut Head, answer: &Value) {
    if let Some(id) = answer["responseId"].as_str() {
        id.clone_into(&mut head.id);
    }
    if let Some(model) = answer["modelVersion"].as_str() {
        model.clone_into(&mut head.model);
    }
}

/// OpenAI's word for why an answer ended. An answer that ended because the model got its call wrong is none.
pub(super) fn finish_reason(reason: Option<&str>, calls: bool) -> Result<&'static str, ProviderError> {
    match reason {
        Some("MAX_TOKENS") => Ok("length"),
        Some(
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR",
        ) => Ok("content_filter"),
        Some(
            word @ ("MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "MALFORMED_RESPONSE"),
        ) => {
            let error =
                json!({ "message": format!("the model did not bring its answer to an end: {word}"), "type": word });
            Err(ProviderError {
                kind: anteroom_ports::chat::ProviderErrorKind::Protocol { error: Some(error) },
                detail: format!("the model did not bring its answer to an end: {word}"),
            })
        }
        _ if calls => Ok("tool_calls"),
        _ => Ok("stop"),
    }
}

/// As OpenAI counts: thought is part of the answer, where Gemini counts it beside. What is cached is part of the prompt
/// here as well.
pub(super) fn usage(usage: &Value) -> Option<TokenUsage> {
    let count = |name: &str| tokens(&usage[name]);
    let (prompt, tools) = (
        count("promptTokenCount")?,
        count("toolUsePromptTokenCount").unwrap_or(0),
    );
    let thought = count("thoughtsTokenCount").unwrap_or(0);
    Some(TokenUsage {
        prompt_tokens: prompt.saturating_add(tools),
        completion_tokens: count("candidatesTokenCount").unwrap_or(0).saturating_add(thought),
        cached_tokens: count("cachedContentTokenCount").unwrap_or(0),
        reasoning_tokens: thought,
        ..TokenUsage::NONE
    })
}
