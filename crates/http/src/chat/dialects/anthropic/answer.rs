//! The answer to a request of the Messages API: a message, or the events of one.

use anteroom_domain::chat::{Dialect as Vendor, OWN_WORDS, RawObject, TokenUsage};
use bytes::BytesMut;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::canonical::{Called, Completion, Slots, Spoken};
use super::super::{Dialect, Stamp, push};
use crate::problem::Problem;

/// Puts an answer together.
#[derive(Debug)]
pub(crate) struct Answer {
    id: String,
    request_id: String,
    model: String,
    thinking: bool,
    usage: TokenUsage,
    stop: Option<String>,
    refused: bool,
    begun: bool,
    /// Whether the provider speaks this dialect itself, so that its own words are handed on.
    native: bool,
    /// The block that is being written, and how many there have been.
    open: Option<Open>,
    blocks: usize,
    slots: Slots,
    calls: Vec<Tool>,
}

/// What is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Thinking,
    Text,
    /// A call, by its slot.
    Call(usize),
}

/// A tool call under way.
#[derive(Debug, Default)]
struct Tool {
    id: String,
    name: String,
    /// Arguments that came before the name.
    held: String,
    /// The block it is written in, once it has one.
    block: Option<usize>,
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
            native: false,
            open: None,
            blocks: 0,
            slots: Slots::default(),
            calls: Vec::new(),
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
        self.usage = self.usage.max(read.usage().unwrap_or_default());
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

    /// Closes what is being written, unless it is this, and opens this.
    fn open(&mut self, what: Open, block: &Value, out: &mut BytesMut) {
        if self.open == Some(what) {
            return;
        }
        self.close(out);
        push(
            out,
            "content_block_start",
            &json!({ "type": "content_block_start", "index": self.blocks, "content_block": block }),
        );
        self.open = Some(what);
        self.blocks += 1;
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.open.take().is_some() {
            let index = self.blocks.saturating_sub(1);
            push(
                out,
                "content_block_stop",
                &json!({ "type": "content_block_stop", "index": index }),
            );
        }
    }

    fn delta(index: usize, delta: &Value, out: &mut BytesMut) {
        push(
            out,
            "content_block_delta",
            &json!({ "type": "content_block_delta", "index": index, "delta": delta }),
        );
    }

    fn spoken(&mut self, spoken: Spoken, out: &mut BytesMut) {
        let thought = spoken.thought();
        if self.thinking && !thought.is_empty() {
            self.open(
                Open::Thinking,
                &json!({ "type": "thinking", "thinking": "", "signature": "" }),
                out,
            );
            Self::delta(
                self.blocks - 1,
                &json!({ "type": "thinking_delta", "thinking": thought }),
                out,
            );
        }
        let refusal = spoken.refusal();
        self.refused |= !refusal.is_empty();
        for text in [spoken.text(), refusal] {
            if !text.is_empty() {
                self.open(Open::Text, &json!({ "type": "text", "text": "" }), out);
                Self::delta(self.blocks - 1, &json!({ "type": "text_delta", "text": text }), out);
            }
        }
        for (position, piece) in spoken.calls().into_iter().enumerate() {
            self.called(&piece, position, out);
        }
    }

    fn called(&mut self, piece: &Called, position: usize, out: &mut BytesMut) {
        let slot = self.slots.of(piece, position);
        if self.calls.len() <= slot {
            self.calls.resize_with(slot + 1, Tool::default);
        }
        let call = &mut self.calls[slot];
        if call.name.is_empty() {
            piece.name().clone_into(&mut call.name);
        }
        if call.id.is_empty() {
            call.id = piece.id.clone().unwrap_or_default();
        }
        let mut arguments = piece.arguments();
        if call.block.is_none() {
            call.held.push_str(&arguments);
            if call.name.is_empty() {
                return;
            }
            arguments = std::mem::take(&mut call.held);
            let (id, name) = (call.id.clone(), call.name.clone());
            let id = self.call_id(&id, slot);
            let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
            self.open(Open::Call(slot), &block, out);
            self.calls[slot].block = Some(self.blocks - 1);
        }
        if let Some(block) = self.calls[slot].block.filter(|_| !arguments.is_empty()) {
            Self::delta(
                block,
                &json!({ "type": "input_json_delta", "partial_json": arguments }),
                out,
            );
        }
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

/// The name of an event: a word, as it stands in a line of its own.
fn event_name(event: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: String,
    }
    let Typed { r#type: name } = serde_json::from_str(event.get()).ok()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(plain)).then_some(name)
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
        let (spoken, stop) = read.first();
        self.stop = stop;
        let mut content = Vec::new();
        let thought = spoken.thought();
        if self.thinking && !thought.is_empty() {
            content.push(to_raw(
                &json!({ "type": "thinking", "thinking": thought, "signature": "" }),
            )?);
        }
        let refusal = spoken.refusal();
        self.refused = !refusal.is_empty();
        let text = spoken.text() + &refusal;
        if !text.is_empty() {
            content.push(to_raw(&json!({ "type": "text", "text": text }))?);
        }
        let calls = spoken.calls();
        let reason = self.stop_reason(!calls.is_empty());
        for (number, call) in calls.into_iter().enumerate() {
            content.push(to_raw(&ToolUse {
                r#type: "tool_use",
                id: self.call_id(call.id.as_deref().unwrap_or_default(), number),
                name: call.name().to_owned(),
                input: input(&call.arguments()),
            })?);
        }
        // The blocks keep the bytes of what tools are called with, so they go in last.
        let mut message = RawObject::parse(self.message(&[], Some(reason)).to_string().as_bytes()).ok()?;
        message.set("content", &content).ok()?;
        Some(message.to_vec())
    }

    fn chunk(&mut self, chunk: &[u8], out: &mut BytesMut) -> Option<()> {
        if let Some(own) = own_words(chunk) {
            self.native = true;
            let events: Vec<Box<RawValue>> = serde_json::from_str(own.get()).ok()?;
            for event in events {
                if let Some(name) = event_name(&event) {
                    push(out, &name, &event);
                }
            }
        }
        if self.native {
            return Some(());
        }
        let read = Completion::read(chunk)?;
        self.note(&read);
        self.begin(out);
        let (spoken, stop) = read.first();
        if let Some(stop) = stop {
            self.stop = Some(stop);
        }
        self.spoken(spoken, out);
        Some(())
    }

    fn done(&mut self, out: &mut BytesMut) {
        if self.native {
            return;
        }
        self.begin(out);
        self.close(out);
        let reason = self.stop_reason(self.calls.iter().any(|call| call.block.is_some()));
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
