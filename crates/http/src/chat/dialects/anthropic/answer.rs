//! The answer to a request of the Messages API: a message, or the events of one.

use anteroom_domain::chat::{Dialect as Vendor, OWN_WORDS, RawObject, TokenUsage};
use bytes::BytesMut;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::canonical::{Calls, Completion, Spoken};
use super::super::{Dialect, Stamp, push};
use crate::problem::Problem;

/// Puts an answer together.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that has happened or not, in any combination"
)]
pub(crate) struct Answer {
    id: String,
    request_id: String,
    model: String,
    thinking: bool,
    usage: TokenUsage,
    stop: Option<String>,
    refused: bool,
    begun: bool,
    /// Whether the provider speaks this dialect itself, so that its own words are handed on; and how far they are.
    native: Option<Native>,
    /// What there is to write, in order, which of it is being written, and how many blocks have been.
    blocks: Vec<Block>,
    current: usize,
    written: usize,
    calls: Calls,
    /// Whether a call has been written.
    called: bool,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thinking,
    Text,
    /// A call, by its slot.
    Call(usize),
}

impl Kind {
    /// The type of its deltas, and the member that they bring.
    fn delta(self) -> (&'static str, &'static str) {
        match self {
            Self::Thinking => ("thinking_delta", "thinking"),
            Self::Text => ("text_delta", "text"),
            Self::Call(_) => ("input_json_delta", "partial_json"),
        }
    }
}

/// A block, written or to be written.
#[derive(Debug)]
struct Block {
    kind: Kind,
    /// What has come of it and is not written. A call keeps that itself.
    held: String,
    begun: bool,
}

impl Answer {
    /// To a request for this model. `thinking` says whether the caller wants to see thoughts.
    pub(crate) fn new(stamp: &Stamp, model: String, thinking: bool) -> Self {
        Self {
            id: stamp.id("msg"),
            request_id: stamp.id.clone(),
            model,
            thinking,
            usage: TokenUsage::default(),
            stop: None,
            refused: false,
            begun: false,
            native: None,
            blocks: Vec::new(),
            current: 0,
            written: 0,
            calls: Calls::default(),
            called: false,
        }
    }

    fn message(&self, content: &[Value], stop_reason: Option<&str>) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": stop_reason, "stop_sequence": null, "usage": self.usage(),
        })
    }

    /// OpenAI counts cached tokens among the prompt's, Anthropic beside them.
    fn usage(&self) -> Value {
        let cached = self.usage.cached_tokens.min(self.usage.prompt_tokens);
        json!({
            "input_tokens": self.usage.prompt_tokens - cached, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached, "output_tokens": self.usage.completion_tokens,
        })
    }

    /// A server may say `stop` although it calls tools. Which sequence stopped it a chat completion does not tell.
    fn stop_reason(&self, calls: bool) -> &'static str {
        match self.stop.as_deref() {
            Some("length") => "max_tokens",
            Some("content_filter") => "refusal",
            _ if calls => "tool_use",
            _ if self.refused => "refusal",
            _ => "end_turn",
        }
    }

    fn note(&mut self, read: &Completion) {
        if let Some(model) = read.model.as_ref().filter(|m| !m.is_empty()) {
            self.model.clone_from(model);
        }
        self.usage = self.usage.max(read.usage.unwrap_or_default());
    }

    fn call_id(&self, id: &str, number: usize) -> String {
        if id.is_empty() {
            format!("toolu_{}_{number}", self.request_id.replace('-', ""))
        } else {
            id.to_owned()
        }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !self.begun {
            self.begun = true;
            push(
                out,
                "message_start",
                &json!({ "type": "message_start", "message": self.message(&[], None) }),
            );
            push(out, "ping", &json!({ "type": "ping" }));
        }
    }

    /// Adds to the last block, or begins another. An empty piece is none.
    fn add(&mut self, kind: Kind, piece: &str) {
        if piece.is_empty() {
            return;
        }
        match self.blocks.last_mut() {
            Some(last) if last.kind == kind => last.held.push_str(piece),
            _ => self.blocks.push(Block {
                kind,
                held: piece.to_owned(),
                begun: false,
            }),
        }
    }

    /// Writes what can be written. Blocks come one after the other, so that what belongs to a later one is held until the
    /// one before is whole; of a call whose pieces alternate with another's only its closing bracket tells.
    fn write(&mut self, ending: bool, out: &mut BytesMut) {
        while self.current < self.blocks.len() {
            let Some((kind, piece, over)) = self.piece(ending) else {
                if !ending {
                    return;
                }
                // A call of nothing.
                self.current += 1;
                continue;
            };
            if !std::mem::replace(&mut self.blocks[self.current].begun, true) {
                self.start(kind, out);
            }
            let index = self.written;
            if !piece.is_empty() {
                let (name, member) = kind.delta();
                let delta = json!({ "type": name, member: piece });
                let delta = json!({ "type": "content_block_delta", "index": index, "delta": delta });
                push(out, "content_block_delta", &delta);
            }
            let later = self.current + 1 < self.blocks.len();
            let over = later && over;
            if !(ending || over) {
                return;
            }
            let stop = json!({ "type": "content_block_stop", "index": index });
            push(out, "content_block_stop", &stop);
            self.written += 1;
            self.current += 1;
        }
    }

    /// What there is to write of the current block, and whether a later one ends it; `None` while it cannot be begun.
    fn piece(&mut self, ending: bool) -> Option<(Kind, String, bool)> {
        let block = self.blocks.get_mut(self.current)?;
        let kind = block.kind;
        let Kind::Call(slot) = kind else {
            return Some((kind, std::mem::take(&mut block.held), true));
        };
        let call = self.calls.get(slot)?;
        let can_begin = call.is_known() || (ending && !call.name.is_empty());
        let over = call.is_whole();
        can_begin.then(|| (kind, self.calls.arguments(slot), over))
    }

    fn start(&mut self, kind: Kind, out: &mut BytesMut) {
        let block = match kind {
            Kind::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Kind::Text => json!({ "type": "text", "text": "" }),
            Kind::Call(slot) => {
                self.called = true;
                let (id, name) = self.calls.get(slot).map_or(("", ""), |call| (&call.id, &call.name));
                json!({ "type": "tool_use", "id": self.call_id(id, slot), "name": name, "input": {} })
            }
        };
        let start = json!({ "type": "content_block_start", "index": self.written, "content_block": block });
        push(out, "content_block_start", &start);
    }

    fn spoken(&mut self, spoken: Spoken, out: &mut BytesMut) {
        if self.thinking {
            self.add(Kind::Thinking, &spoken.thought);
        }
        self.refused |= !spoken.refusal.is_empty();
        self.add(Kind::Text, &spoken.text);
        self.add(Kind::Text, &spoken.refusal);
        for (position, piece) in spoken.calls.into_iter().enumerate() {
            let known = self.calls.len();
            let slot = self.calls.take(piece, position);
            if slot == known {
                self.blocks.push(Block {
                    kind: Kind::Call(slot),
                    held: String::new(),
                    begun: false,
                });
            }
        }
        self.write(false, out);
    }
}

/// What a tool is called with. Something that is no JSON is kept as text, since an input is an object.
fn input(arguments: &str) -> Box<RawValue> {
    let text = if arguments.trim().is_empty() { "{}" } else { arguments };
    let read = serde_json::from_str::<Box<RawValue>>(text)
        .ok()
        .filter(|raw| raw.get().starts_with('{'));
    read.or_else(|| serde_json::value::to_raw_value(&json!({ "arguments": arguments })).ok())
        .unwrap_or_default()
}

/// What a provider that speaks this dialect itself has put beside its answer, as it came.
fn own_words(answer: &[u8]) -> Option<Box<RawValue>> {
    let answer = RawObject::parse(answer).ok()?;
    let own = RawObject::parse(answer.get(OWN_WORDS)?.get().as_bytes()).ok()?;
    own.get(Vendor::AnthropicMessages.key()).map(ToOwned::to_owned)
}

/// An event that a provider sent in this dialect, as far as it has to be understood.
#[derive(serde::Deserialize)]
struct Event {
    r#type: String,
    index: Option<u64>,
}

impl Event {
    /// Reads one whose name is a word, as it stands in a line of its own.
    fn read(event: &RawValue) -> Option<Self> {
        let read: Self = serde_json::from_str(event.get()).ok()?;
        let (name, plain) = (&read.r#type, |b: u8| b.is_ascii_lowercase() || b == b'_');
        (!name.is_empty() && name.len() <= 64 && name.bytes().all(plain)).then_some(read)
    }
}

/// How far a provider has come that speaks this dialect itself. What is refused on the way is not said to its end by it.
#[derive(Debug, Default)]
struct Native {
    /// The block that has begun and not ended.
    open: Option<u64>,
    ended: bool,
}

impl Native {
    fn note(&mut self, event: &Event) {
        match event.r#type.as_str() {
            "content_block_start" => self.open = event.index,
            "content_block_stop" => self.open = None,
            "message_stop" => self.ended = true,
            _ => {}
        }
    }
}

impl Dialect for Answer {
    fn whole(&mut self, answer: &[u8]) -> Option<Vec<u8>> {
        #[derive(serde::Serialize)]
        struct ToolUse {
            r#type: &'static str,
            id: String,
            name: String,
            input: Box<RawValue>,
        }
        if let Some(own) = own_words(answer) {
            return Some(own.get().as_bytes().to_vec());
        }
        let read = Completion::read(answer)?;
        self.note(&read);
        self.stop = read.finish;
        let mut spoken = read.spoken;
        let mut content = Vec::new();
        if self.thinking && !spoken.thought.is_empty() {
            let thought = json!({ "type": "thinking", "thinking": spoken.thought, "signature": "" });
            content.push(to_raw(&thought)?);
        }
        self.refused = !spoken.refusal.is_empty();
        let text = spoken.text + &spoken.refusal;
        if !text.is_empty() {
            content.push(to_raw(&json!({ "type": "text", "text": text }))?);
        }
        spoken.calls.retain(|call| !call.name.is_empty());
        let reason = self.stop_reason(!spoken.calls.is_empty());
        for (number, call) in spoken.calls.into_iter().enumerate() {
            content.push(to_raw(&ToolUse {
                r#type: "tool_use",
                id: self.call_id(&call.id, number),
                name: call.name,
                input: input(&call.arguments),
            })?);
        }
        // The blocks keep the bytes of what tools are called with, so they go in last.
        let mut message = RawObject::parse(self.message(&[], Some(reason)).to_string().as_bytes()).ok()?;
        message.set("content", &content).ok()?;
        Some(message.to_vec())
    }

    fn chunk(&mut self, chunk: &[u8], out: &mut BytesMut) -> Option<()> {
        if let Some(own) = own_words(chunk) {
            let native = self.native.get_or_insert_default();
            let events: Vec<Box<RawValue>> = serde_json::from_str(own.get()).ok()?;
            for event in events {
                if let Some(read) = Event::read(&event) {
                    native.note(&read);
                    push(out, &read.r#type, &event);
                }
            }
            return Some(());
        }
        let read = Completion::read(chunk)?;
        self.note(&read);
        self.stop = read.finish.or(self.stop.take());
        if self.native.is_some() {
            return Some(());
        }
        self.begin(out);
        self.spoken(read.spoken, out);
        Some(())
    }

    fn done(&mut self, out: &mut BytesMut) {
        match &self.native {
            Some(native) if native.ended => return,
            Some(native) => {
                if let Some(index) = native.open {
                    let stop = json!({ "type": "content_block_stop", "index": index });
                    push(out, "content_block_stop", &stop);
                }
            }
            None => {
                self.begin(out);
                self.write(true, out);
            }
        }
        let reason = self.stop_reason(self.called);
        let delta = json!({
            "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": self.usage(),
        });
        push(out, "message_delta", &delta);
        push(out, "message_stop", &json!({ "type": "message_stop" }));
    }

    fn failed(&mut self, problem: &Problem, out: &mut BytesMut) {
        push(out, "error", &problem.anthropic_body(&self.request_id));
    }
}

fn to_raw<T: serde::Serialize>(value: &T) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}
