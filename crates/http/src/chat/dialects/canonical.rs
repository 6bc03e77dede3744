//! The dialect in the middle, OpenAI's chat completions: what a translated request is written in, and what of an answer
//! is read. Answers are read leniently, since every server has its own idea of what may be absent.

use anteroom_domain::chat::TokenUsage;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A message of a request.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) role: &'static str,
    /// `null` beside tool calls.
    pub(super) content: Option<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<String>,
}

impl Message {
    /// What somebody says.
    pub(super) fn said(role: &'static str, content: Content) -> Self {
        Self {
            role,
            content: Some(content),
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    /// What a tool answered.
    pub(super) fn result(id: String, text: String) -> Self {
        Self {
            tool_call_id: Some(id),
            ..Self::said("tool", Content::Text(text))
        }
    }
}

/// What is said.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

impl Content {
    /// A single text needs no list, which older servers do not know.
    pub(super) fn of(mut parts: Vec<Part>) -> Self {
        match parts.pop() {
            None => Self::Text(String::new()),
            Some(Part::Text { text }) if parts.is_empty() => Self::Text(text),
            Some(last) => {
                parts.push(last);
                Self::Parts(parts)
            }
        }
    }
}

/// A part of what is said.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
    File { file: File },
}

/// A picture, as an address or as `data:`.
#[derive(Debug, Serialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
}

/// A document, as `data:`.
#[derive(Debug, Serialize)]
pub(super) struct File {
    pub(super) filename: String,
    pub(super) file_data: String,
}

/// That the model called a tool.
#[derive(Debug, Serialize)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) r#type: &'static str,
    pub(super) function: Function,
}

impl ToolCall {
    pub(super) fn new(id: String, name: String, arguments: String) -> Self {
        Self {
            id,
            r#type: "function",
            function: Function { name, arguments },
        }
    }
}

/// What was called.
#[derive(Debug, Serialize)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) arguments: String,
}

/// A tool that the model may call.
#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    pub(super) r#type: &'static str,
    pub(super) function: Declaration<'a>,
}

/// What it is and takes.
#[derive(Debug, Serialize)]
pub(super) struct Declaration<'a> {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}

/// The schema that an answer has to keep to.
#[derive(Debug, Serialize)]
pub(super) struct ResponseFormat<'a> {
    pub(super) r#type: &'static str,
    pub(super) json_schema: JsonSchema<'a>,
}

/// Its name and itself.
#[derive(Debug, Serialize)]
pub(super) struct JsonSchema<'a> {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}

/// A whole answer or a chunk of one, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<i64>,
    /// In a chunk.
    #[serde(default)]
    delta: Option<Spoken>,
    /// In a whole answer.
    #[serde(default)]
    message: Option<Spoken>,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// What the model said: all of it, or a piece.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Spoken {
    #[serde(default)]
    content: Value,
    #[serde(default)]
    reasoning_content: Value,
    #[serde(default)]
    reasoning: Value,
    #[serde(default)]
    refusal: Value,
    #[serde(default)]
    tool_calls: Option<Vec<Called>>,
}

/// A tool call, or a piece of one.
#[derive(Debug, Deserialize)]
pub(super) struct Called {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    function: Option<CalledFunction>,
}

#[derive(Debug, Default, Deserialize)]
struct CalledFunction {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Value,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<i64>,
    #[serde(default)]
    completion_tokens: Option<i64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<i64>,
}

impl Completion {
    /// Reads one; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        // Derived readers would take a list for an object, member by member.
        let object = bytes.trim_ascii_start().first() == Some(&b'{');
        object.then(|| serde_json::from_slice(bytes).ok())?
    }

    /// What the first choice says, and why it ended if it has: only one is ever asked for.
    pub(super) fn first(self) -> (Spoken, Option<String>) {
        let first = self.choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        first.map_or_else(Default::default, |choice| {
            (
                choice.delta.or(choice.message).unwrap_or_default(),
                choice.finish_reason,
            )
        })
    }

    /// The tokens, where they are told.
    pub(super) fn usage(&self) -> Option<TokenUsage> {
        let usage = self.usage.as_ref()?;
        let cached = usage.prompt_tokens_details.as_ref().and_then(|d| d.cached_tokens);
        let reasoning = usage
            .completion_tokens_details
            .as_ref()
            .and_then(|d| d.reasoning_tokens);
        let tokens = |n: Option<i64>| n.unwrap_or(0).max(0);
        Some(TokenUsage {
            prompt_tokens: tokens(usage.prompt_tokens),
            completion_tokens: tokens(usage.completion_tokens),
            cached_tokens: tokens(cached),
            reasoning_tokens: tokens(reasoning),
        })
    }
}

impl Spoken {
    /// Its text.
    pub(super) fn text(&self) -> String {
        text_of(&self.content)
    }

    /// What it thought, where the server shows that, under either of the names that servers have for it.
    pub(super) fn thought(&self) -> String {
        let thought = text_of(&self.reasoning_content);
        if thought.is_empty() {
            text_of(&self.reasoning)
        } else {
            thought
        }
    }

    /// Why it says nothing.
    pub(super) fn refusal(&self) -> String {
        text_of(&self.refusal)
    }

    /// The tools it calls.
    pub(super) fn calls(self) -> Vec<Called> {
        self.tool_calls.unwrap_or_default()
    }
}

impl Called {
    /// The tool's name.
    pub(super) fn name(&self) -> &str {
        self.function
            .as_ref()
            .and_then(|f| f.name.as_deref())
            .unwrap_or_default()
    }

    /// What it is called with: JSON as text. A few servers send the object itself.
    pub(super) fn arguments(&self) -> String {
        match self.function.as_ref().map(|f| &f.arguments) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// A text, or the text parts of a list.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Which call the pieces of a stream belong to. The index says it; but there are servers without, and servers that give
/// every call the same.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<(usize, String)>);

impl Slots {
    /// The number of the call that a piece belongs to, which may be a new one.
    pub(super) fn of(&mut self, piece: &Called, position: usize) -> usize {
        let index = piece.index.unwrap_or(position);
        let id = piece.id.as_deref().unwrap_or_default();
        let known = self.0.iter_mut().enumerate().rfind(|(_, (i, _))| *i == index);
        match known {
            Some((slot, (_, known))) if id.is_empty() || known.is_empty() || known == id => {
                if known.is_empty() {
                    id.clone_into(known);
                }
                slot
            }
            _ => {
                self.0.push((index, id.to_owned()));
                self.0.len() - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read_whatever_is_absent() {
        let read = |value: Value| Completion::read(value.to_string().as_bytes()).unwrap();
        for empty in [
            json!({}),
            json!({"choices": []}),
            json!({"choices": [{}], "usage": null, "model": null}),
        ] {
            let answer = read(empty);
            assert_eq!(answer.usage(), None);
            let (spoken, finish) = answer.first();
            assert_eq!(
                (spoken.text(), spoken.thought(), finish),
                (String::new(), String::new(), None)
            );
        }
        let answer = read(json!({
            "choices": [
                {"index": 1, "message": {"content": "other"}},
                {"index": 0, "finish_reason": "eos", "message": {"content": [{"type": "thinking"}, {"type": "text", "text": "a"}, {"text": "b"}],
                    "reasoning": "hm", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]}},
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {}},
        }));
        let usage = answer.usage().unwrap();
        assert_eq!(
            (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens),
            (5, 0, 2)
        );
        let (spoken, finish) = answer.first();
        assert_eq!(
            (spoken.text(), spoken.thought(), finish),
            ("ab".into(), "hm".into(), Some("eos".into()))
        );
        let calls = spoken.calls();
        assert_eq!((calls[0].name(), calls[0].arguments()), ("f", r#"{"a":1}"#.into()));
        assert!(Completion::read(b"[]").is_none() && Completion::read(b"{\"choices\":1}").is_none());
    }

    #[test]
    fn pieces_find_their_call() {
        let piece = |value: Value| serde_json::from_value::<Called>(value).unwrap();
        let mut slots = Slots::default();
        assert_eq!(slots.of(&piece(json!({"index": 0, "id": "a"})), 0), 0);
        assert_eq!(slots.of(&piece(json!({"index": 0})), 0), 0);
        assert_eq!(slots.of(&piece(json!({"index": 1, "id": "b"})), 0), 1);
        assert_eq!(slots.of(&piece(json!({"index": 0})), 0), 0);
        // The same index for another call.
        assert_eq!(slots.of(&piece(json!({"index": 1, "id": "c"})), 0), 2);
        assert_eq!(slots.of(&piece(json!({"index": 1})), 0), 2);
        // No index at all: the place in the chunk.
        let mut slots = Slots::default();
        assert_eq!(slots.of(&piece(json!({"id": "a"})), 0), 0);
        assert_eq!(slots.of(&piece(json!({"id": "b"})), 1), 1);
    }
}
