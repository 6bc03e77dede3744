//! The little that Anteroom reads of an answer. Every part is read on its own: one that has another shape than
//! expected counts as absent, so that a server's own fields and words never cost an answer.

use bytes::Bytes;
use eventsource_stream::Event;
use serde::Deserialize;
use serde_json::value::RawValue;

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{ChatChunk, ChatEvent, ChatReply, EmbedReply, ProviderError};

use crate::shared::failure;
use crate::shared::redact::Redactor;

type Raw<'a> = Option<&'a RawValue>;

/// Largest error object that is handed on.
const MAX_ERROR: usize = 64 * 1024;

#[derive(Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    object: Raw<'a>,
    #[serde(borrow, default)]
    choices: Raw<'a>,
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default)]
    usage: Raw<'a>,
    #[serde(borrow, default)]
    error: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    index: Raw<'a>,
    #[serde(borrow, default)]
    delta: Raw<'a>,
    #[serde(borrow, default)]
    message: Raw<'a>,
}

/// A message, or what a chunk adds to one.
#[derive(Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Raw<'a>,
    #[serde(borrow, default)]
    reasoning_content: Raw<'a>,
    #[serde(borrow, default)]
    reasoning: Raw<'a>,
    #[serde(borrow, default)]
    refusal: Raw<'a>,
    #[serde(borrow, default)]
    tool_calls: Raw<'a>,
    #[serde(borrow, default)]
    function_call: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    arguments: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Usage<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Raw<'a>,
    #[serde(borrow, default)]
    completion_tokens: Raw<'a>,
    #[serde(borrow, default)]
    prompt_tokens_details: Raw<'a>,
    #[serde(borrow, default)]
    completion_tokens_details: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    cached_tokens: Raw<'a>,
    #[serde(borrow, default)]
    reasoning_tokens: Raw<'a>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

fn read<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Reads an object. A list is refused by hand: serde would take one for a struct's fields in order.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn member<'a, T: Deserialize<'a> + Default>(raw: Raw<'a>) -> T {
    raw.and_then(|raw| object(raw.get())).unwrap_or_default()
}

/// Text: a string, or the texts of a list of parts.
fn text(raw: Raw<'_>) -> String {
    read::<String>(raw)
        .or_else(|| read::<Vec<Part>>(raw).map(|parts| parts.into_iter().map(|p| p.text).collect()))
        .unwrap_or_default()
}

/// The size of a string; of anything else, that of its JSON.
fn size(raw: Raw<'_>) -> usize {
    raw.map_or(0, |raw| read::<String>(Some(raw)).map_or(raw.get().len(), |s| s.len()))
}

impl Said<'_> {
    fn output_bytes(&self) -> usize {
        let function = |raw| {
            let function: Function<'_> = member(raw);
            size(function.name) + size(function.arguments)
        };
        let calls: Vec<&RawValue> = read(self.tool_calls).unwrap_or_default();
        let calls = calls.into_iter().map(|call| {
            let call: ToolCall<'_> = member(Some(call));
            function(call.function)
        });
        // Some servers send the same reasoning under both names.
        let reasoning = size(self.reasoning_content).max(size(self.reasoning));
        size(self.content) + reasoning + size(self.refusal) + calls.sum::<usize>() + function(self.function_call)
    }
}

fn tokens(raw: Raw<'_>) -> Option<i64> {
    read::<i64>(raw).filter(|n| *n >= 0)
}

fn usage(raw: Raw<'_>) -> Option<TokenUsage> {
    let usage: Usage<'_> = member(raw);
    let prompt: Details<'_> = member(usage.prompt_tokens_details);
    let completion: Details<'_> = member(usage.completion_tokens_details);
    Some(TokenUsage {
        prompt_tokens: tokens(usage.prompt_tokens)?,
        completion_tokens: tokens(usage.completion_tokens)?,
        cached_tokens: tokens(prompt.cached_tokens).unwrap_or(0),
        reasoning_tokens: tokens(completion.reasoning_tokens).unwrap_or(0),
        ..TokenUsage::NONE
    })
}

impl<'a> Body<'a> {
    /// Reads an object; one that reports an error is an `Err`.
    fn parse(text: &'a str, redactor: &Redactor) -> Result<Self, ProviderError> {
        let body: Self = object(text).ok_or_else(|| failure::protocol("something that is not a JSON object"))?;
        let is_error = read::<&str>(body.object) == Some("error");
        if body.error.is_none() && !is_error {
            return Ok(body);
        }
        let error = (text.len() <= MAX_ERROR)
            .then(|| serde_json::from_str(text).ok())
            .flatten()
            .and_then(failure::error_object);
        Err(failure::in_answer(error, redactor))
    }

    fn choices(&self) -> Option<Vec<&'a RawValue>> {
        read(self.choices)
    }
}

/// Reads an event. `None` is one that means nothing: a sign of life.
pub(super) fn event(event: Event, redactor: &Redactor) -> Result<Option<ChatEvent>, ProviderError> {
    match event.data.trim() {
        "[DONE]" => return Ok(Some(ChatEvent::Done)),
        "" => return Ok(None),
        _ if matches!(event.event.as_str(), "keepalive" | "ping") => return Ok(None),
        _ => {}
    }
    let mut chunk = chunk(&event.data, redactor)?;
    chunk.data = redactor.answer(event.data);
    Ok(Some(ChatEvent::Chunk(chunk)))
}

/// The view of a chunk; its `data` is left empty.
fn chunk(data: &str, redactor: &Redactor) -> Result<ChatChunk, ProviderError> {
    let body = Body::parse(data, redactor)?;
    let choices = body.choices();
    let mut chunk = ChatChunk {
        usage: usage(body.usage),
        // Without usage it is something else, such as Azure's verdict on the prompt, and belongs to the client.
        usage_only: body.usage.is_some() && choices.as_ref().is_some_and(Vec::is_empty),
        ..ChatChunk::default()
    };
    for choice in choices.unwrap_or_default() {
        let choice: Choice<'_> = member(Some(choice));
        let delta: Said<'_> = member(choice.delta);
        chunk.output_bytes += delta.output_bytes();
        if read(choice.index).unwrap_or(0) == 0_i64 {
            chunk.text.push_str(&redactor.said(text(delta.content)));
        }
    }
    Ok(chunk)
}

/// Reads a whole answer.
pub(super) fn reply(body: Bytes, redactor: &Redactor) -> Result<ChatReply, ProviderError> {
    let body = String::from_utf8(body.into()).map_err(|_| failure::protocol("an answer that is not UTF-8"))?;
    let view = Body::parse(&body, redactor)?;
    let choices = view
        .choices()
        .ok_or_else(|| failure::protocol("an answer without choices"))?;
    let choices: Vec<Choice<'_>> = choices.into_iter().map(|c| member(Some(c))).collect();
    let first = choices
        .iter()
        .find(|c| read(c.index) == Some(0_i64))
        .or(choices.first());
    let message: Said<'_> = first.map(|choice| member(choice.message)).unwrap_or_default();
    let (text, usage) = (redactor.said(text(message.content)), usage(view.usage));
    Ok(ChatReply {
        body: redactor.answer(body),
        text,
        usage,
        dropped: Vec::new(),
    })
}

/// Reads an answer with vectors.
pub(super) fn embedded(body: Bytes, redactor: &Redactor) -> Result<EmbedReply, ProviderError> {
    #[derive(Deserialize)]
    struct Spent<'a> {
        #[serde(borrow, default)]
        prompt_tokens: Raw<'a>,
    }
    let body = String::from_utf8(body.into()).map_err(|_| failure::protocol("an answer that is not UTF-8"))?;
    let view = Body::parse(&body, redactor)?;
    if read::<Vec<&RawValue>>(view.data).is_none() {
        return Err(failure::protocol("an answer without vectors"));
    }
    let spent = view.usage.and_then(|raw| object::<Spent<'_>>(raw.get()));
    let usage = spent.and_then(|spent| tokens(spent.prompt_tokens)).map(|n| TokenUsage {
        prompt_tokens: n,
        ..TokenUsage::default()
    });
    Ok(EmbedReply {
        body: redactor.answer(body),
        usage,
        dropped: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use anteroom_ports::chat::ProviderErrorKind;
    use serde_json::{Value, json};

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new("sk-canary-0123456789abcdef".into())
    }

    fn view(data: &Value) -> ChatChunk {
        chunk(&data.to_string(), &redactor()).unwrap()
    }

    fn read_event(name: &str, data: &str) -> Result<Option<ChatEvent>, ProviderError> {
        let read = Event {
            event: name.to_owned(),
            data: data.to_owned(),
            ..Event::default()
        };
        event(read, &redactor())
    }

    #[test]
    fn a_chunk_shows_its_text_and_how_much_it_brings() {
        for (delta, text, output_bytes) in [
            (json!({ "role": "assistant", "content": "" }), "", 0),
            (json!({ "content": "grüß" }), "grüß", 6),
            (json!({ "content": null, "refusal": "no." }), "", 3),
            (json!({ "reasoning_content": "hmm" }), "", 3),
            (json!({ "reasoning_content": "hmm", "reasoning": "hmm" }), "", 3),
            (json!({ "function_call": { "name": "f", "arguments": "{}" } }), "", 3),
            (
                json!({ "tool_calls": [{ "index": 0, "function": { "name": "f", "arguments": "{\"a\":1}" } },
                { "index": 1, "function": { "arguments": "xy" } }, { "custom": 1 }, 7] }),
                "",
                10,
            ),
            (
                json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }),
                "ab",
                55,
            ),
            (json!({ "content": { "new": "shape" } }), "", 15),
            (json!({ "content": 5 }), "", 1),
            (json!("delta"), "", 0),
            (json!(["content"]), "", 0),
            (Value::Null, "", 0),
        ] {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": "a_new_word" });
            let chunk = view(&json!({ "object": "new.object", "service_tier": "new", "choices": [choice] }));
            assert_eq!(
                (chunk.text.as_str(), chunk.output_bytes),
                (text, output_bytes),
                "{delta}"
            );
            assert!(!chunk.usage_only);
        }
    }

    #[test]
    fn text_is_the_first_choices_and_output_all_choices() {
        let choices = json!([
            { "index": 1, "delta": { "content": "other" } },
            { "index": 0, "delta": { "content": "first" } },
            { "delta": { "content": "!" } },
            "nonsense",
        ]);
        let chunk = view(&json!({ "choices": choices }));
        assert_eq!((chunk.text.as_str(), chunk.output_bytes), ("first!", 11));
    }

    #[test]
    fn usage_is_read_in_its_known_shape_only() {
        let details = json!({
            "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": 1.5,
            "prompt_tokens_details": { "cached_tokens": 4, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 3 },
        });
        let expected = TokenUsage {
            prompt_tokens: 10,
            completion_tokens: 5,
            cached_tokens: 4,
            reasoning_tokens: 3,
            ..TokenUsage::NONE
        };
        assert_eq!(view(&json!({ "choices": [], "usage": details })).usage, Some(expected));
        let plain = TokenUsage {
            cached_tokens: 0,
            reasoning_tokens: 0,
            ..expected
        };
        for details in [
            Value::Null,
            json!(7),
            json!([1]),
            json!({ "cached_tokens": -1, "reasoning_tokens": "x" }),
        ] {
            let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5,
                "prompt_tokens_details": details, "completion_tokens_details": details });
            assert_eq!(view(&json!({ "usage": usage })).usage, Some(plain));
        }
        for usage in [
            Value::Null,
            json!({}),
            json!([10, 5]),
            json!("10"),
            json!({ "prompt_tokens": 10 }),
            json!({ "prompt_tokens": -1, "completion_tokens": 5 }),
            json!({ "prompt_tokens": 1.5, "completion_tokens": 5 }),
            json!({ "input_tokens": 10, "output_tokens": 5 }),
        ] {
            assert_eq!(view(&json!({ "usage": usage })).usage, None);
        }
    }

    #[test]
    fn a_chunk_is_nothing_but_usage_if_it_has_usage_and_no_choice() {
        let usage = json!({ "prompt_tokens": 1, "completion_tokens": 1 });
        for (chunk, usage_only) in [
            (json!({ "choices": [], "usage": usage }), true),
            (json!({ "choices": [], "usage": { "new": "shape" } }), true),
            (
                json!({ "choices": [], "usage": null, "prompt_filter_results": [] }),
                false,
            ),
            (json!({ "choices": [], "prompt_filter_results": [] }), false),
            (
                json!({ "choices": [{ "index": 0, "delta": {} }], "usage": usage }),
                false,
            ),
            (json!({ "choices": null, "usage": usage }), false),
            (json!({ "usage": usage }), false),
        ] {
            assert_eq!(view(&chunk).usage_only, usage_only, "{chunk}");
        }
    }

    #[test]
    fn events_keep_their_bytes() {
        let data = "{ \"choices\":[ ],\n\"n\":1.50 ,\"e\":1e999,\"u\":\"\\u00e4\" }";
        let Ok(Some(ChatEvent::Chunk(chunk))) = read_event("message", data) else {
            panic!("no chunk");
        };
        assert_eq!(chunk.data, data);
        assert_eq!(read_event("message", " [DONE] "), Ok(Some(ChatEvent::Done)));
        for (name, data) in [("message", ""), ("message", " "), ("keepalive", "{}"), ("ping", "{}")] {
            assert_eq!(read_event(name, data), Ok(None));
        }
    }

    #[test]
    fn an_error_in_the_place_of_a_chunk_is_found_and_freed_of_the_key() {
        let key = "sk-canary-0123456789abcdef";
        let error = json!({ "message": format!("no {key}"), "code": 502 });
        let clean = Some(json!({ "message": "no [redacted]", "code": 502 }));
        for (data, expected) in [
            (json!({ "error": error }), clean.clone()),
            (
                json!({ "error": error, "choices": [{ "index": 0, "delta": {}, "finish_reason": "error" }] }),
                clean,
            ),
            (json!({ "error": key }), Some(json!({ "message": "[redacted]" }))),
            (
                json!({ "object": "error", "message": "m" }),
                Some(json!({ "object": "error", "message": "m" })),
            ),
            (json!({ "error": { "message": "x".repeat(100_000) } }), None),
        ] {
            let failure = read_event("message", &data.to_string()).unwrap_err();
            assert_eq!(failure.kind, ProviderErrorKind::Protocol { error: expected });
            assert!(!format!("{failure:?} {failure}").contains(key));
        }
        assert!(read_event("message", r#"{"error":null,"choices":[]}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_no_chunk() {
        for data in ["[]", "[1]", "1", "\"a\"", "null", "{", "{\"a\":}", "<html>", "{} {}"] {
            let failure = read_event("message", data).unwrap_err();
            assert_eq!(failure.kind, ProviderErrorKind::Protocol { error: None }, "{data}");
        }
    }

    #[test]
    fn the_key_does_not_leave_in_an_answer_either() {
        let data = r#"{"choices":[],"echo":"Bearer sk-canary-0123456789abcdef"}"#;
        let Ok(Some(ChatEvent::Chunk(chunk))) = read_event("message", data) else {
            panic!("no chunk");
        };
        assert_eq!(chunk.data, r#"{"choices":[],"echo":"Bearer [redacted]"}"#);
    }

    #[test]
    fn a_whole_answer_shows_the_first_choices_text() {
        for (choices, text) in [
            (json!([{ "index": 0, "message": { "content": "a" } }]), "a"),
            (
                json!([{ "index": 1, "message": { "content": "b" } }, { "index": 0, "message": { "content": "a" } }]),
                "a",
            ),
            (
                json!([{ "message": { "content": "a" } }, { "message": { "content": "b" } }]),
                "a",
            ),
            (
                json!([{ "index": 0, "message": { "content": null, "tool_calls": [] } }]),
                "",
            ),
            (
                json!([{ "index": 0, "message": { "content": [{ "type": "text", "text": "a" }] } }]),
                "a",
            ),
            (json!([]), ""),
            (json!(["nonsense"]), ""),
        ] {
            let body = json!({ "choices": choices }).to_string();
            let read = reply(body.clone().into(), &redactor()).unwrap();
            assert_eq!((read.text.as_str(), read.body, read.usage), (text, body.into(), None));
        }
        for body in [
            &b"{}"[..],
            b"[]",
            b"{\"choices\":null}",
            b"ok",
            b"",
            b"\xff",
            b"{\"choices\":{}}",
        ] {
            assert!(reply(Bytes::from_static(body), &redactor()).is_err());
        }
    }
}
