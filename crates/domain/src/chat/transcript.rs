//! What is said to a model and what it answers, in the shapes that OpenTelemetry's conventions for generative AI have for
//! it (semantic conventions 1.41, `gen_ai.input.messages` and `gen_ai.output.messages`). Both are read from OpenAI's
//! shapes, leniently: a part that has another shape than is known is told by its name alone, or not at all.
//!
//! Everything has a bound: ids and names by [`MAX_NAME`], texts by what the operator allows. What is sent along as bytes
//! (pictures, sound, files) is never told, only that it was there; and an address is told without its query, since that
//! often is a key.

mod answer;
mod question;

use serde_json::{Value, json};

pub use answer::AnswerTold;
pub use question::QuestionTold;

/// The longest id, name or reason that is told, in bytes.
const MAX_NAME: usize = 200;

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

/// As much of a text as fits into so many bytes.
fn head_of(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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
