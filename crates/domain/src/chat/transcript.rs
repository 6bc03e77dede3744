//! What is said to a model and what it answers, in the shapes that OpenTelemetry's conventions for generative AI have for
//! it (semantic conventions 1.41, `gen_ai.input.messages` and `gen_ai.output.messages`). Both are read from OpenAI's
//! shapes, leniently: a part that has another shape than is known is told by its name alone, or not at all.
//!
//! Everything has a bound: ids and names by [`MAX_NAME`], texts by what the operator allows. What is sent along as bytes
//! (pictures, sound, files) is never told, only that it was there; and an address is told without its query, since that
//! often is a key.

use serde_json::{Map, Value, json};

/// The longest id, name or reason that is told, in bytes.
const MAX_NAME: usize = 200;

/// More choices, or tools called in one of them, than any answer has.
const MAX_LISTED: usize = 128;

/// What was said to a model.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct QuestionTold {
    /// `gen_ai.system_instructions`, JSON; where there are any apart from the messages.
    pub instructions: Option<String>,
    /// `gen_ai.input.messages`, JSON.
    pub messages: String,
    /// Whether anything was left out for its length.
    pub cut: bool,
}

impl QuestionTold {
    /// Reads the messages of a request. Where instructions stand `apart`, those of system and developer are told as such,
    /// otherwise as messages in their place. Either is at most so many bytes long: the oldest messages are left out first.
    pub fn of(messages: Vec<Value>, apart: bool, most: usize) -> Self {
        let is_instruction = |message: &Value| matches!(message["role"].as_str(), Some("system" | "developer"));
        let (instructions, messages): (Vec<Value>, Vec<Value>) = messages
            .into_iter()
            .partition(|message| apart && is_instruction(message));
        let mut parts: Vec<Value> = instructions.iter().flat_map(parts_of).collect();
        let mut messages: Vec<Value> = messages.iter().map(message).collect();
        let (told, mut cut) = (!parts.is_empty(), shorten(&mut parts, most));
        cut |= leave_out_oldest(&mut messages, most);
        Self {
            instructions: told.then(|| Value::from(parts).to_string()),
            messages: Value::from(messages).to_string(),
            cut,
        }
    }
}

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

/// A tool's name, and what it is called with.
fn called(call: &Value) -> (&str, &str) {
    let text = |place: &str| call.pointer(place).and_then(Value::as_str);
    let name = text("/function/name").or(text("/custom/name"));
    let arguments = text("/function/arguments").or(text("/custom/input"));
    (name.unwrap_or_default(), arguments.unwrap_or_default())
}

fn tool_call(id: &Value, name: &str, arguments: &str) -> Value {
    let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| Value::from(arguments));
    json!({ "type": "tool_call", "id": id, "name": name, "arguments": arguments })
}

/// The texts of a content: it is one, or a list of parts that have some.
fn texts(content: &Value) -> impl Iterator<Item = &str> {
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let of_parts = parts.iter().filter_map(|part| part["text"].as_str());
    content.as_str().into_iter().chain(of_parts)
}

/// A message of a request.
fn message(said: &Value) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), said["role"].as_str().unwrap_or("user").into());
    if let Some(name) = said["name"].as_str() {
        message.insert("name".to_owned(), head_of(name, MAX_NAME).into());
    }
    message.insert("parts".to_owned(), parts_of(said).into());
    Value::Object(message)
}

fn parts_of(said: &Value) -> Vec<Value> {
    if matches!(said["role"].as_str(), Some("tool" | "function")) {
        let response: String = texts(&said["content"]).collect();
        return vec![json!({ "type": "tool_call_response", "id": said["tool_call_id"], "response": response })];
    }
    let mut parts = Vec::new();
    if let Some(text) = said["reasoning_content"].as_str() {
        parts.push(json!({ "type": "reasoning", "content": text }));
    }
    match &said["content"] {
        Value::String(text) => parts.push(json!({ "type": "text", "content": text })),
        Value::Array(listed) => parts.extend(listed.iter().map(part)),
        _ => {}
    }
    let calls = said["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    for call in calls {
        let (name, arguments) = called(call);
        parts.push(tool_call(&call["id"], name, arguments));
    }
    if let Some(name) = said["function_call"]["name"].as_str() {
        let arguments = said["function_call"]["arguments"].as_str().unwrap_or_default();
        parts.push(tool_call(&Value::Null, name, arguments));
    }
    parts
}

/// A part of a message.
fn part(part: &Value) -> Value {
    let kind = part["type"].as_str().unwrap_or("text");
    let bytes = |modality: &str, mime: Option<String>| json!({ "type": "blob", "modality": modality, "mime_type": mime, "content": "" });
    if let Some(text) = part["text"].as_str().or(part["refusal"].as_str()) {
        let kind = if kind == "refusal" { kind } else { "text" };
        return json!({ "type": kind, "content": text });
    }
    match kind {
        "image_url" => {
            let url = part["image_url"]["url"].as_str().or(part["image_url"].as_str());
            let url = url.unwrap_or_default();
            match url.strip_prefix("data:") {
                Some(data) => {
                    let mime = data.split([';', ',']).next().unwrap_or_default();
                    bytes("image", Some(head_of(mime, MAX_NAME).to_owned()))
                }
                None => {
                    let address = url.split(['?', '#']).next().unwrap_or_default();
                    json!({ "type": "uri", "modality": "image", "uri": address })
                }
            }
        }
        "input_audio" => {
            let format = part["input_audio"]["format"].as_str();
            bytes(
                "audio",
                format.map(|format| format!("audio/{}", head_of(format, MAX_NAME))),
            )
        }
        "file" => match part["file"]["file_id"].as_str() {
            Some(id) => json!({ "type": "file", "modality": "document", "file_id": head_of(id, MAX_NAME) }),
            None => bytes("document", None),
        },
        other => json!({ "type": head_of(other, MAX_NAME) }),
    }
}

/// As much of a text as fits into so many bytes.
fn head_of(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Leaves out the oldest messages until the rest fits; of one that is too long by itself, its end. Whether there was any.
fn leave_out_oldest(messages: &mut Vec<Value>, most: usize) -> bool {
    let mut room = most.saturating_sub(2);
    let fits = |message: &&Value| {
        let size = size(message) + 1;
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    let kept = messages.iter().rev().take_while(fits).count();
    if kept == messages.len() {
        return false;
    }
    let kept = kept.max(1);
    messages.drain(..messages.len() - kept);
    leave_out_last(messages, most);
    true
}

/// Leaves out the ends of the last texts until everything fits; last of all whole messages. Whether there was any.
fn leave_out_last(messages: &mut Vec<Value>, most: usize) -> bool {
    let whole: usize = messages.iter().map(|message| size(message) + 1).sum();
    let Some(mut excess) = (whole + 2).checked_sub(most).filter(|excess| *excess > 0) else {
        return false;
    };
    for message in messages.iter_mut().rev() {
        if let Some(Value::Array(parts)) = message.get_mut("parts") {
            excess = cut_texts(parts, excess);
        }
    }
    while excess > 0
        && let Some(message) = messages.pop()
    {
        excess = excess.saturating_sub(size(&message) + 1);
    }
    true
}

/// The same for a list of parts.
fn shorten(parts: &mut Vec<Value>, most: usize) -> bool {
    let whole: usize = parts.iter().map(|part| size(part) + 1).sum();
    let Some(excess) = (whole + 2).checked_sub(most).filter(|excess| *excess > 0) else {
        return false;
    };
    let mut excess = cut_texts(parts, excess);
    while excess > 0
        && let Some(part) = parts.pop()
    {
        excess = excess.saturating_sub(size(&part) + 1);
    }
    true
}

/// Cuts so many bytes of JSON out of the parts' texts, the last ones first. Answers how many could not be cut.
fn cut_texts(parts: &mut [Value], mut excess: usize) -> usize {
    let texts = ["content", "response", "arguments"];
    for part in parts.iter_mut().rev() {
        for name in texts {
            let Some(member) = part.get_mut(name).filter(|_| excess > 0) else {
                continue;
            };
            let before = size(member);
            if let Value::String(text) = member {
                let left = before.saturating_sub(2).saturating_sub(excess);
                text.truncate(escaped_head(text, left));
            } else {
                // What is left of an object is none.
                *member = Value::Null;
            }
            excess = excess.saturating_sub(before.saturating_sub(size(member)));
        }
    }
    excess
}

/// How many bytes of a text make at most so many of JSON.
fn escaped_head(text: &str, most: usize) -> usize {
    let mut room = most;
    let fits = |c: &char| {
        let size = match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            c if u32::from(*c) < 0x20 => 6,
            c => c.len_utf8(),
        };
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    text.chars().take_while(fits).map(char::len_utf8).sum()
}

/// The length of a value as JSON.
fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Values always serialise, and counting never fails.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(messages: Value, apart: bool, most: usize) -> (Option<Value>, Value, bool) {
        let Value::Array(messages) = messages else {
            panic!("a list")
        };
        let told = QuestionTold::of(messages, apart, most);
        let lengths = [told.messages.len(), told.instructions.as_ref().map_or(0, String::len)];
        assert!(lengths.iter().all(|length| *length <= most), "{lengths:?} {told:?}");
        let read = |text: String| serde_json::from_str(&text).unwrap();
        (told.instructions.map(read), read(told.messages), told.cut)
    }

    #[test]
    fn what_is_said_has_the_shapes_of_the_conventions() {
        let said = json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "name": "ada", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image_url", "image_url": { "url": "https://cdn.example/a.png?signature=s3cret#x" } },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGVsbG8=" } },
                { "type": "input_audio", "input_audio": { "data": "aGVsbG8=", "format": "wav" } },
                { "type": "file", "file": { "file_id": "file-1" } },
                { "type": "file", "file": { "file_data": "aGVsbG8=" } },
                { "type": "of_tomorrow", "bytes": "aGVsbG8=" },
            ] },
            { "role": "assistant", "content": null, "reasoning_content": "Hm.", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "look", "arguments": "{\"at\":1}" } },
                { "id": "call_2", "type": "custom", "custom": { "name": "draw", "input": "a circle" } },
            ] },
            { "role": "tool", "tool_call_id": "call_1", "content": "a cat" },
        ]);
        let (instructions, messages, cut) = question(said.clone(), false, 10_000);
        assert_eq!((instructions, cut), (None, false));
        let blob = |modality: &str, mime: Value| json!({ "type": "blob", "modality": modality, "mime_type": mime, "content": "" });
        let expected = json!([
            { "role": "system", "parts": [{ "type": "text", "content": "Be brief." }] },
            { "role": "user", "name": "ada", "parts": [
                { "type": "text", "content": "What is this?" },
                { "type": "uri", "modality": "image", "uri": "https://cdn.example/a.png" },
                blob("image", "image/png".into()),
                blob("audio", "audio/wav".into()),
                { "type": "file", "modality": "document", "file_id": "file-1" },
                blob("document", Value::Null),
                { "type": "of_tomorrow" },
            ] },
            { "role": "assistant", "parts": [
                { "type": "reasoning", "content": "Hm." },
                { "type": "tool_call", "id": "call_1", "name": "look", "arguments": { "at": 1 } },
                { "type": "tool_call", "id": "call_2", "name": "draw", "arguments": "a circle" },
            ] },
            { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "call_1", "response": "a cat" }] },
        ]);
        assert_eq!(messages, expected);

        let (instructions, messages, _) = question(said, true, 10_000);
        assert_eq!(instructions, Some(json!([{ "type": "text", "content": "Be brief." }])));
        assert_eq!(messages.as_array().unwrap().len(), 3);
        assert_eq!(messages[0], expected[1]);
    }

    #[test]
    fn the_newest_that_is_said_is_told_and_never_more_than_there_is_room_for() {
        let say = |text: &str| json!({ "role": "user", "content": text });
        let (old, new) = (say("something old"), say("something new"));
        let (_, messages, cut) = question(json!([old, new]), false, 200);
        assert_eq!((messages.as_array().unwrap().len(), cut), (2, false));
        let (_, messages, cut) = question(json!([old, new]), false, 100);
        let only = json!([{ "role": "user", "parts": [{ "type": "text", "content": "something new" }] }]);
        assert_eq!((messages, cut), (only, true));
        // What is escaped is longer than it looks.
        for text in [
            "\"\\\n\u{1}\u{7f}".repeat(200),
            "é\u{1f600}".repeat(200),
            "x".repeat(2000),
        ] {
            for most in [60, 75, 76, 77, 78, 79, 80, 500, 1000] {
                let (instructions, messages, cut) = question(json!([say(&text)]), false, most);
                assert!(cut && instructions.is_none(), "{most}");
                let kept = messages[0]["parts"][0]["content"].as_str().unwrap_or_default();
                assert!(text.starts_with(kept), "{most} {kept}");
                assert!(most < 80 || !kept.is_empty(), "{most}");
                let apart = json!([{ "role": "developer", "content": text }]);
                assert!(question(apart, true, most).2, "{most}");
            }
        }
        let long = json!([{ "role": "assistant", "tool_calls": [
            { "id": "1", "function": { "name": "f", "arguments": json!({ "x": "y".repeat(500) }).to_string() } },
        ] }]);
        let (_, messages, cut) = question(long, false, 300);
        let call = json!({ "type": "tool_call", "id": "1", "name": "f", "arguments": null });
        assert_eq!((&messages[0]["parts"][0], cut), (&call, true));
        let many: Vec<Value> = (0..500).map(|n| say(&n.to_string())).collect();
        let (_, messages, _) = question(Value::from(many), false, 1000);
        assert_eq!(
            messages.as_array().unwrap().last().unwrap()["parts"][0]["content"],
            "499"
        );
    }

    #[test]
    fn messages_of_no_known_shape_are_told_without_what_they_hold() {
        let (_, messages, _) = question(json!([1, "x", null, {}, { "role": 5, "content": 7 }]), true, 1000);
        let empty = json!({ "role": "user", "parts": [] });
        assert_eq!(messages, json!([empty, empty, empty, empty, empty]));
    }

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
