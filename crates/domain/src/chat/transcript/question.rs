//! What was said to a model, as it is told.

use serde_json::{Map, Value, json};

use super::{MAX_NAME, called, cut_texts, head_of, leave_out_last, size, texts, tool_call};

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

/// Leaves out the ends of the last texts of parts until everything fits; last of all whole parts. Whether there was any.
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
}
