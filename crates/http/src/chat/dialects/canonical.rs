//! The dialect in the middle, OpenAI's chat completions: what a translated request is written in, and what of an answer
//! is read. Answers are read leniently, since every server has its own idea of what may be absent.

use anteroom_domain::chat::TokenUsage;
use serde::{Deserialize, Serialize};
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

/// A whole answer or a chunk of one, as far as it is read. Every part is read on its own: one that is absent or has
/// another shape than expected costs nothing but itself.
#[derive(Debug, Default)]
pub(super) struct Completion {
    pub(super) model: Option<String>,
    /// What the first choice says: only one is ever asked for.
    pub(super) spoken: Spoken,
    /// Why it ended, if it has.
    pub(super) finish: Option<String>,
    /// The tokens, where they are told.
    pub(super) usage: Option<TokenUsage>,
}

/// What the model said: all of it, or a piece.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// Its text.
    pub(super) text: String,
    /// What it thought, where the server shows that.
    pub(super) thought: String,
    /// Why it says nothing.
    pub(super) refusal: String,
    /// The tools it calls.
    pub(super) calls: Vec<Called>,
}

/// A tool call, or a piece of one.
#[derive(Debug, Default)]
pub(super) struct Called {
    index: Option<usize>,
    /// Its id; empty where none is told.
    pub(super) id: String,
    /// The tool's name; empty where none is told.
    pub(super) name: String,
    /// What it is called with: JSON as text. A few servers send the object itself.
    pub(super) arguments: String,
}

type Raw<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
struct BodyView<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    choices: Raw<'a>,
    #[serde(borrow, default)]
    usage: Raw<'a>,
}

#[derive(Deserialize)]
struct ChoiceView<'a> {
    #[serde(borrow, default)]
    index: Raw<'a>,
    /// In a chunk.
    #[serde(borrow, default)]
    delta: Raw<'a>,
    /// In a whole answer.
    #[serde(borrow, default)]
    message: Raw<'a>,
    #[serde(borrow, default)]
    finish_reason: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct SpokenView<'a> {
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
}

#[derive(Default, Deserialize)]
struct CalledView<'a> {
    #[serde(borrow, default)]
    index: Raw<'a>,
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    function: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct FunctionView<'a> {
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    arguments: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct UsageView<'a> {
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
struct DetailsView<'a> {
    #[serde(borrow, default)]
    cached_tokens: Raw<'a>,
    #[serde(borrow, default)]
    reasoning_tokens: Raw<'a>,
}

/// An object's members. Derived readers would take a list for an object, member by member.
fn object<'a, T: Deserialize<'a>>(raw: &'a str) -> Option<T> {
    let object = raw.trim_ascii_start().starts_with('{');
    object.then(|| serde_json::from_str(raw).ok())?
}

/// A part, if it is there and has this shape.
fn part<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

fn members<'a, T: Deserialize<'a> + Default>(raw: Raw<'a>) -> T {
    raw.and_then(|raw| object(raw.get())).unwrap_or_default()
}

/// A list; empty where it is absent or `null`, and `None` where it is something else.
fn list(raw: Raw<'_>) -> Option<Vec<&RawValue>> {
    match raw {
        Some(raw) if raw.get() != "null" => serde_json::from_str(raw.get()).ok(),
        _ => Some(Vec::new()),
    }
}

/// A whole number of at least 0. Some servers write all numbers with a point.
fn count(raw: Raw<'_>) -> Option<i64> {
    let whole = part::<i64>(raw).or_else(|| {
        let number = part::<f64>(raw).filter(|n| n.abs() < 9e15)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is far within bounds")]
        Some(number as i64)
    });
    whole.filter(|n| *n >= 0)
}

/// A name or an id. Some servers number what others name.
fn word(raw: Raw<'_>) -> String {
    let number = || {
        raw.filter(|raw| part::<f64>(Some(raw)).is_some())
            .map(|raw| raw.get().to_owned())
    };
    part::<String>(raw).or_else(number).unwrap_or_default()
}

/// A text, or the text parts of a list.
fn text_of(raw: Raw<'_>) -> String {
    #[derive(Deserialize)]
    struct Piece<'a> {
        #[serde(borrow, default)]
        text: Raw<'a>,
    }
    if let Some(text) = part::<String>(raw) {
        return text;
    }
    let pieces = part::<Vec<&RawValue>>(raw).unwrap_or_default();
    let texts = pieces.into_iter().filter_map(|piece| object::<Piece<'_>>(piece.get()));
    texts.filter_map(|piece| part::<String>(piece.text)).collect()
}

impl Completion {
    /// Reads one; `None` if it is none: no object, or its choices or what the first of them says are something else than
    /// they are everywhere, so that what it says would be lost.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let body: BodyView<'_> = object(std::str::from_utf8(bytes).ok()?)?;
        let mut read = Self {
            model: part(body.model),
            usage: usage(body.usage),
            ..Self::default()
        };
        for choice in list(body.choices)? {
            let choice: ChoiceView<'_> = object(choice.get())?;
            if count(choice.index).unwrap_or(0) != 0 {
                continue;
            }
            let there = |raw: Raw<'_>| raw.is_some_and(|raw| raw.get() != "null");
            let said = if there(choice.delta) {
                choice.delta
            } else {
                choice.message
            };
            if there(said) {
                read.spoken = spoken(&object(said?.get())?);
            }
            read.finish = part(choice.finish_reason);
            break;
        }
        Some(read)
    }
}

/// A choice of an answer, as far as a completion of a text tells of it.
#[derive(Debug)]
pub(super) struct PlainChoice<'a> {
    pub(super) index: Option<i64>,
    pub(super) text: String,
    /// Why it ended, as it came.
    pub(super) finish_reason: Option<&'a RawValue>,
}

/// The choices of an answer; `None` if that has something else in their place.
pub(super) fn plain_choices(choices: Option<&RawValue>) -> Option<Vec<PlainChoice<'_>>> {
    let choices = list(choices)?.into_iter();
    let plain = choices.map(|choice| {
        let choice: ChoiceView<'_> = object(choice.get())?;
        let said: SpokenView<'_> = members(choice.message.or(choice.delta));
        Some(PlainChoice {
            index: count(choice.index),
            text: text_of(said.content),
            finish_reason: choice.finish_reason,
        })
    });
    plain.collect()
}

fn spoken(view: &SpokenView<'_>) -> Spoken {
    let mut thought = text_of(view.reasoning_content);
    if thought.is_empty() {
        // The other name that servers have for it.
        thought = text_of(view.reasoning);
    }
    let calls = list(view.tool_calls).unwrap_or_default();
    let calls = calls
        .into_iter()
        .filter_map(|call| object::<CalledView<'_>>(call.get()));
    Spoken {
        text: text_of(view.content),
        thought,
        refusal: text_of(view.refusal),
        calls: calls.map(|call| called(&call)).collect(),
    }
}

fn called(view: &CalledView<'_>) -> Called {
    let function: FunctionView<'_> = members(view.function);
    let arguments = match function.arguments {
        Some(raw) if raw.get() != "null" => part::<String>(Some(raw)).unwrap_or_else(|| raw.get().to_owned()),
        _ => String::new(),
    };
    Called {
        index: count(view.index).and_then(|n| usize::try_from(n).ok()),
        id: word(view.id),
        name: word(function.name),
        arguments,
    }
}

fn usage(raw: Raw<'_>) -> Option<TokenUsage> {
    let view: UsageView<'_> = object(raw?.get())?;
    let prompt: DetailsView<'_> = members(view.prompt_tokens_details);
    let completion: DetailsView<'_> = members(view.completion_tokens_details);
    let tokens = |raw: Raw<'_>| count(raw).unwrap_or(0);
    Some(TokenUsage {
        prompt_tokens: tokens(view.prompt_tokens),
        completion_tokens: tokens(view.completion_tokens),
        cached_tokens: tokens(prompt.cached_tokens),
        reasoning_tokens: tokens(completion.reasoning_tokens),
        ..TokenUsage::NONE
    })
}

/// The calls of a stream, put together from their pieces, which may come in turn; name and id may come late.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Slots,
    calls: Vec<Call>,
}

/// A call under way.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Empty until it comes.
    pub(super) id: String,
    /// Empty until it comes.
    pub(super) name: String,
    /// Arguments that have come and were not taken yet.
    held: String,
    brackets: Brackets,
}

impl Calls {
    /// Takes a piece up, and says which call it belongs to: a new one is the last.
    pub(super) fn take(&mut self, piece: Called, position: usize) -> usize {
        let slot = self.slots.of(&piece, position);
        if self.calls.len() <= slot {
            self.calls.resize_with(slot + 1, Call::default);
        }
        let call = &mut self.calls[slot];
        if call.name.is_empty() {
            call.name = piece.name;
        }
        if call.id.is_empty() {
            call.id = piece.id;
        }
        call.brackets.read(&piece.arguments);
        call.held.push_str(&piece.arguments);
        slot
    }

    /// A call by its number.
    pub(super) fn get(&self, slot: usize) -> Option<&Call> {
        self.calls.get(slot)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// What has come of a call's arguments since the last time.
    pub(super) fn arguments(&mut self, slot: usize) -> String {
        self.calls
            .get_mut(slot)
            .map(|call| std::mem::take(&mut call.held))
            .unwrap_or_default()
    }
}

impl Call {
    /// Whether its arguments are an object that has been closed.
    pub(super) fn is_whole(&self) -> bool {
        self.brackets.closed
    }

    /// Whether it can be begun. There are servers that never send an id.
    pub(super) fn is_known(&self) -> bool {
        !self.name.is_empty() && (!self.id.is_empty() || self.is_whole())
    }
}

/// Where JSON that comes in pieces stands.
#[derive(Debug, Default)]
struct Brackets {
    depth: usize,
    in_text: bool,
    escaped: bool,
    closed: bool,
}

impl Brackets {
    fn read(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.closed |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

/// Which call the pieces of a stream belong to. The index says it; but there are servers without, and servers that give
/// every call the same.
#[derive(Debug, Default)]
struct Slots(Vec<(usize, String)>);

impl Slots {
    /// The number of the call that a piece belongs to, which may be a new one.
    fn of(&mut self, piece: &Called, position: usize) -> usize {
        let index = piece.index.unwrap_or(position);
        let id = piece.id.as_str();
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
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Completion {
        Completion::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn answers_are_read_whatever_is_absent() {
        for empty in [
            json!({}),
            json!({"choices": []}),
            json!({"choices": null, "usage": 7}),
            json!({"choices": [{}], "usage": null, "model": null}),
            json!({"choices": [{"delta": null, "message": null, "finish_reason": null}]}),
            json!({"choices": [{"delta": {"content": null, "tool_calls": null, "refusal": null}}]}),
        ] {
            let answer = read(&empty);
            assert_eq!((answer.usage, answer.finish), (None, None), "{empty}");
            let said = answer.spoken;
            assert_eq!(
                (said.text, said.thought, said.calls.len()),
                (String::new(), String::new(), 0)
            );
        }
        let answer = read(&json!({
            "choices": [
                {"index": 1, "message": {"content": "other"}},
                {"index": 0, "finish_reason": "eos", "message": {"content": [{"type": "thinking"}, {"type": "text", "text": "a"}, {"text": "b"}],
                    "reasoning": "hm", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]}},
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {}},
        }));
        let usage = answer.usage.unwrap();
        assert_eq!(
            (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens),
            (5, 0, 2)
        );
        let said = answer.spoken;
        assert_eq!(
            (said.text, said.thought, answer.finish),
            ("ab".into(), "hm".into(), Some("eos".into()))
        );
        let call = &said.calls[0];
        assert_eq!((call.name.as_str(), call.arguments.as_str()), ("f", r#"{"a":1}"#));
    }

    #[test]
    fn a_part_of_another_shape_costs_nothing_but_itself() {
        let odd = r#"{"model":7,"created":1e400,"choices":[{"index":0.0,"finish_reason":3,"logprobs":1e999,"delta":{
            "content":"a","reasoning_content":{"x":1},"refusal":7,"extra":1e400,
            "tool_calls":[null,7,{"index":1.0,"id":42,"function":{"name":"f","arguments":{"n":1e400, "z":1.50}}},{"function":"g"}]}}],
            "usage":{"prompt_tokens":12.0,"completion_tokens":"x","prompt_tokens_details":[],"cost":1e400}}"#;
        let read = Completion::read(odd.as_bytes()).unwrap();
        assert_eq!((read.model, read.finish), (None, None));
        let usage = read.usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (12, 0));
        let said = read.spoken;
        assert_eq!((said.text.as_str(), said.refusal.as_str()), ("a", ""));
        let call = &said.calls[0];
        assert_eq!((call.index, call.id.as_str(), call.name.as_str()), (Some(1), "42", "f"));
        assert_eq!(call.arguments, r#"{"n":1e400, "z":1.50}"#);
        assert_eq!(said.calls.len(), 2);
    }

    #[test]
    fn what_would_lose_all_that_was_said_is_no_answer() {
        for none in [
            "",
            "[]",
            "7",
            r#"{"choices":1}"#,
            r#"{"choices":[1]}"#,
            r#"{"choices":[{"delta":"hello"}]}"#,
            r#"{"choices":[{"message":["hello"]}]}"#,
        ] {
            assert!(Completion::read(none.as_bytes()).is_none(), "{none}");
        }
    }

    fn piece(value: &Value) -> Called {
        called(&object(&value.to_string()).unwrap())
    }

    #[test]
    fn pieces_find_their_call() {
        let mut slots = Slots::default();
        assert_eq!(slots.of(&piece(&json!({"index": 0, "id": "a"})), 0), 0);
        assert_eq!(slots.of(&piece(&json!({"index": 0})), 0), 0);
        assert_eq!(slots.of(&piece(&json!({"index": 1, "id": "b"})), 0), 1);
        assert_eq!(slots.of(&piece(&json!({"index": 0})), 0), 0);
        // The same index for another call.
        assert_eq!(slots.of(&piece(&json!({"index": 1, "id": "c"})), 0), 2);
        assert_eq!(slots.of(&piece(&json!({"index": 1})), 0), 2);
        // No index at all: the place in the chunk.
        let mut slots = Slots::default();
        assert_eq!(slots.of(&piece(&json!({"id": "a"})), 0), 0);
        assert_eq!(slots.of(&piece(&json!({"id": "b"})), 1), 1);
    }

    #[test]
    fn a_call_is_known_by_name_and_id_and_whole_once_it_is_closed() {
        let mut calls = Calls::default();
        let mut take = |value: Value| {
            let slot = calls.take(piece(&value), 0);
            let call = calls.get(slot).unwrap();
            (slot, call.is_known(), call.is_whole())
        };
        assert_eq!(
            take(json!({"index": 0, "function": {"arguments": r#"{"a":"}\""#}})),
            (0, false, false)
        );
        assert_eq!(take(json!({"index": 0, "function": {"name": "f"}})), (0, false, false));
        assert_eq!(
            take(json!({"index": 1, "id": "b", "function": {"name": "g"}})),
            (1, true, false)
        );
        assert_eq!(
            take(json!({"index": 0, "id": "a", "function": {"arguments": r#"{","b":[{}]"#}})),
            (0, true, false)
        );
        assert_eq!(
            take(json!({"index": 0, "function": {"arguments": " }"}})),
            (0, true, true)
        );
        assert_eq!(calls.arguments(0), r#"{"a":"}\"{","b":[{}] }"#);
        assert_eq!(calls.arguments(0), "");
        // One that never gets an id.
        assert_eq!(calls.len(), 2);
        let slot = calls.take(
            piece(&json!({"index": 2, "function": {"name": "h", "arguments": "{}"}})),
            0,
        );
        assert!(calls.get(slot).unwrap().is_known());
    }
}
