//! What a model answered, as it is told.

use serde_json::{Value, json};

use super::{MAX_NAME, called, head_of, leave_out_last, texts, tool_call};

/// More choices, or tools called in one of them, than any answer has.
const MAX_LISTED: usize = 128;

/// What is known of an answer, whole or as it comes.
#[derive(Debug, Default)]
pub struct AnswerTold {
    id: Option<String>,
    model: Option<String>,
    choices: Vec<Choice>,
    /// How many bytes of what it says may still be kept; `None`: none ever is.
    room: Option<usize>,
    cut: bool,
}

#[derive(Debug, Default)]
struct Choice {
    finish_reason: Option<String>,
    text: String,
    reasoning: String,
    refusal: String,
    calls: Vec<ToolCall>,
}

#[derive(Debug, Default)]
struct ToolCall {
    id: String,
    name: String,
    arguments: String,
}

impl AnswerTold {
    /// Nothing yet. Of what it says so many bytes are kept at most; `None`: nothing is.
    pub fn new(most: Option<usize>) -> Self {
        Self {
            room: most,
            ..Self::default()
        }
    }

    /// Reads a whole answer.
    pub fn whole(&mut self, body: &[u8]) {
        self.read(body, "message");
    }

    /// Reads a chunk. One that can hold nothing to be told is passed over without being read.
    pub fn chunk(&mut self, data: &[u8]) {
        if self.room.is_some() || self.id.is_none() || self.model.is_none() || names_a_reason(data) {
            self.read(data, "delta");
        }
    }

    fn read(&mut self, json: &[u8], said: &str) {
        let Ok(answer) = serde_json::from_slice::<Value>(json) else {
            return;
        };
        for (known, name) in [(&mut self.id, "id"), (&mut self.model, "model")] {
            let named = answer[name].as_str().filter(|text| !text.is_empty());
            if let (None, Some(text)) = (&known, named) {
                *known = Some(head_of(text, MAX_NAME).to_owned());
            }
        }
        let choices = answer["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, choice) in choices.iter().enumerate() {
            let index = choice["index"]
                .as_u64()
                .map_or(at, |n| usize::try_from(n).unwrap_or(usize::MAX));
            if index >= MAX_LISTED {
                continue;
            }
            if self.choices.len() <= index {
                self.choices.resize_with(index + 1, Choice::default);
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.choices[index].finish_reason = Some(head_of(reason, MAX_NAME).to_owned());
            }
            if let Some(room) = &mut self.room {
                self.cut |= self.choices[index].add(&choice[said], room);
            }
        }
    }

    /// The answer's id, as the provider says.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The model that answered, as the provider says.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Why each choice ended that did, in OpenAI's words.
    pub fn finish_reasons(&self) -> impl Iterator<Item = &str> {
        self.choices.iter().filter_map(|choice| choice.finish_reason.as_deref())
    }

    /// `gen_ai.output.messages`, JSON, at most so many bytes long, and whether anything was left out for that; `None` if
    /// nothing came. A choice that did not come to its end has the reason `unfinished`.
    pub fn messages(self, most: usize, unfinished: &str) -> Option<(String, bool)> {
        if self.choices.is_empty() {
            return None;
        }
        let told = |choice: Choice| {
            // The conventions have a word of their own for this one.
            let reason = match choice.finish_reason.as_deref() {
                Some("tool_calls" | "function_call") => "tool_call".to_owned(),
                Some(reason) => reason.to_owned(),
                None => unfinished.to_owned(),
            };
            json!({ "role": "assistant", "parts": choice.parts(), "finish_reason": reason })
        };
        let mut messages: Vec<Value> = self.choices.into_iter().map(told).collect();
        let cut = leave_out_last(&mut messages, most);
        Some((Value::from(messages).to_string(), self.cut || cut))
    }
}

/// Whether a chunk says why something ended. What a model says cannot look like it: there the quotes are escaped.
fn names_a_reason(data: &[u8]) -> bool {
    const NAME: &[u8] = b"\"finish_reason\"";
    let mut rest = data;
    while let Some(at) = rest.windows(NAME.len()).position(|bytes| bytes == NAME) {
        rest = &rest[at + NAME.len()..];
        let value = rest
            .iter()
            .find(|byte| !matches!(byte, b':' | b' ' | b'\t' | b'\n' | b'\r'));
        if value == Some(&b'"') {
            return true;
        }
    }
    false
}

impl Choice {
    /// Adds what a message, or what is added to one, says. Whether there was no room for all of it.
    fn add(&mut self, said: &Value, room: &mut usize) -> bool {
        let mut cut = false;
        let mut keep = |kept: &mut String, text: &str| {
            let fits = head_of(text, *room);
            *room -= fits.len();
            kept.push_str(fits);
            cut |= fits.len() < text.len();
        };
        for text in texts(&said["content"]) {
            keep(&mut self.text, text);
        }
        // Some servers send the same under both names.
        let reasoning = said["reasoning_content"].as_str().or(said["reasoning"].as_str());
        keep(&mut self.reasoning, reasoning.unwrap_or_default());
        keep(&mut self.refusal, said["refusal"].as_str().unwrap_or_default());
        let calls = said["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, call) in calls.iter().enumerate() {
            let index = call["index"]
                .as_u64()
                .map_or(at, |n| usize::try_from(n).unwrap_or(usize::MAX));
            if index >= MAX_LISTED {
                continue;
            }
            if self.calls.len() <= index {
                self.calls.resize_with(index + 1, ToolCall::default);
            }
            let kept = &mut self.calls[index];
            keep(&mut kept.id, call["id"].as_str().unwrap_or_default());
            let (name, arguments) = called(call);
            keep(&mut kept.name, name);
            keep(&mut kept.arguments, arguments);
        }
        cut
    }

    fn parts(self) -> Vec<Value> {
        let mut parts = Vec::new();
        for (kind, text) in [
            ("reasoning", self.reasoning),
            ("text", self.text),
            ("refusal", self.refusal),
        ] {
            if !text.is_empty() {
                parts.push(json!({ "type": kind, "content": text }));
            }
        }
        let call = |call: ToolCall| {
            let id = Some(call.id).filter(|id| !id.is_empty());
            tool_call(&Value::from(id), &call.name, &call.arguments)
        };
        parts.extend(self.calls.into_iter().map(call));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(most: Option<usize>, chunks: &[Value]) -> AnswerTold {
        let mut told = AnswerTold::new(most);
        for chunk in chunks {
            told.chunk(chunk.to_string().as_bytes());
        }
        told
    }

    fn choice(index: usize, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": "chatcmpl-7", "model": "m-0613",
            "choices": [{ "index": index, "delta": delta, "finish_reason": finish_reason }],
        })
    }

    #[test]
    fn an_answer_in_chunks_is_told_as_one_that_is_whole() {
        let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
            json!({ "tool_calls": [
            { "index": 0, "id": id, "function": { "name": name, "arguments": arguments } },
        ] })
        };
        let chunks = [
            choice(0, &json!({ "role": "assistant", "content": "" }), None),
            choice(0, &json!({ "reasoning_content": "Hm" }), None),
            choice(0, &json!({ "content": "Hel" }), None),
            choice(1, &call(Some("call_1"), Some("look"), ""), None),
            choice(0, &json!({ "content": "lo" }), None),
            choice(1, &call(None, None, "{\"at\""), None),
            choice(1, &call(None, None, ":1}"), None),
            choice(1, &json!({}), Some("tool_calls")),
            choice(0, &json!({}), Some("stop")),
            json!({ "id": "chatcmpl-7", "model": "m-0613", "choices": [], "usage": {} }),
        ];
        let mut whole = AnswerTold::new(Some(1000));
        let body = json!({ "id": "chatcmpl-7", "model": "m-0613", "choices": [
            { "index": 0, "message": { "content": "Hello", "reasoning_content": "Hm" }, "finish_reason": "stop" },
            { "index": 1, "message": { "content": null, "tool_calls": [
                { "id": "call_1", "function": { "name": "look", "arguments": "{\"at\":1}" } },
            ] }, "finish_reason": "tool_calls" },
        ] });
        whole.whole(body.to_string().as_bytes());
        for told in [whole, stream(Some(1000), &chunks)] {
            assert_eq!((told.id(), told.model()), (Some("chatcmpl-7"), Some("m-0613")));
            assert_eq!(told.finish_reasons().collect::<Vec<_>>(), ["stop", "tool_calls"]);
            let (messages, cut) = told.messages(1000, "error").unwrap();
            let expected = json!([
                { "role": "assistant", "finish_reason": "stop", "parts": [
                    { "type": "reasoning", "content": "Hm" }, { "type": "text", "content": "Hello" },
                ] },
                { "role": "assistant", "finish_reason": "tool_call", "parts": [
                    { "type": "tool_call", "id": "call_1", "name": "look", "arguments": { "at": 1 } },
                ] },
            ]);
            assert_eq!(
                (serde_json::from_str::<Value>(&messages).unwrap(), cut),
                (expected, false)
            );
        }
    }

    #[test]
    fn without_room_nothing_that_is_said_is_kept() {
        let chunks = [
            choice(0, &json!({ "content": "a secret" }), None),
            choice(0, &json!({ "content": "\"finish_reason\": \"stop\"" }), None),
            choice(0, &json!({ "content": "a secret" }), Some("length")),
        ];
        let told = stream(None, &chunks);
        assert_eq!(told.finish_reasons().collect::<Vec<_>>(), ["length"]);
        assert_eq!(told.id(), Some("chatcmpl-7"));
        assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    }

    #[test]
    fn only_a_chunk_that_names_a_reason_is_read_for_it() {
        for (json, names) in [
            (r#"{"choices":[{"finish_reason":"stop"}]}"#, true),
            ("{\"finish_reason\" :\n \"stop\"}", true),
            (r#"{"a":{"finish_reason":null},"b":{"finish_reason":"stop"}}"#, true),
            (r#"{"finish_reason":null}"#, false),
            (r#"{"content":"\"finish_reason\":\"stop\""}"#, false),
            (r#"{"finish_reason""#, false),
            ("", false),
        ] {
            assert_eq!(names_a_reason(json.as_bytes()), names, "{json}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_or_broke_off_is_told_as_far_as_it_goes() {
        let mut chunks: Vec<Value> = (0..100)
            .map(|_| choice(0, &json!({ "content": "word \n" }), None))
            .collect();
        chunks.push(choice(usize::MAX, &json!({ "content": "beyond" }), Some("stop")));
        chunks.push(choice(127, &json!({ "content": "late" }), None));
        chunks.push(json!("no answer"));
        for most in [0, 10, 100, 200, 400] {
            let told = stream(Some(most), &chunks);
            assert_eq!(told.finish_reasons().count(), 0);
            let (messages, cut) = told.messages(most.max(2), "error").unwrap();
            assert!(messages.len() <= most.max(2) && cut, "{most} {messages}");
            assert!(serde_json::from_str::<Value>(&messages).unwrap().is_array());
        }
        let (messages, _) = stream(Some(400), &chunks[..3]).messages(400, "error").unwrap();
        let messages: Value = serde_json::from_str(&messages).unwrap();
        assert_eq!(messages[0]["finish_reason"], "error");
        assert_eq!(messages[0]["parts"][0]["content"], "word \nword \nword \n");
        assert!(stream(Some(400), &[]).messages(400, "error").is_none());
    }
}
