//! The answer to a request of the Responses API: a response, or the events of one.

use anteroom_domain::chat::{RawObject, TokenUsage};
use bytes::BytesMut;
use serde_json::{Map, Value, json};

use super::super::canonical::{Calls, Completion, Spoken};
use super::super::{Dialect, Stamp, push};
use crate::problem::Problem;

/// Puts an answer together.
#[derive(Debug)]
pub(crate) struct Answer {
    stamp: Stamp,
    model: String,
    echo: RawObject,
    usage: Option<TokenUsage>,
    stop: Option<String>,
    begun: bool,
    sequence: u64,
    items: Vec<Item>,
    /// The item that is being written.
    open: Option<usize>,
    calls: Calls,
    /// Which item a call is, by its slot, once it is one.
    items_of_calls: Vec<Option<usize>>,
}

/// The status of what is not whole yet.
const IN_PROGRESS: &str = "in_progress";

/// What an answer consists of.
#[derive(Debug)]
enum Item {
    Message {
        id: String,
        parts: Vec<Said>,
        status: &'static str,
    },
    Call {
        id: String,
        call_id: String,
        name: String,
        arguments: String,
        status: &'static str,
    },
}

/// A part of a message.
#[derive(Debug)]
struct Said {
    refusal: bool,
    text: String,
}

impl Said {
    fn json(&self) -> Value {
        if self.refusal {
            json!({ "type": "refusal", "refusal": self.text })
        } else {
            json!({ "type": "output_text", "text": self.text, "annotations": [], "logprobs": [] })
        }
    }

    /// The names of its events begin so, and so is what they bring.
    fn kind(&self) -> (&'static str, &'static str) {
        if self.refusal {
            ("refusal", "refusal")
        } else {
            ("output_text", "text")
        }
    }
}

impl Item {
    fn id(&self) -> &str {
        match self {
            Self::Message { id, .. } | Self::Call { id, .. } => id,
        }
    }

    fn status(&mut self) -> &mut &'static str {
        match self {
            Self::Message { status, .. } | Self::Call { status, .. } => status,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Message { id, parts, status } => json!({
                "type": "message", "id": id, "status": status, "role": "assistant",
                "content": parts.iter().map(Said::json).collect::<Vec<_>>(),
            }),
            Self::Call {
                id,
                call_id,
                name,
                arguments,
                status,
            } => json!({
                "type": "function_call", "id": id, "status": status, "call_id": call_id, "name": name, "arguments": arguments,
            }),
        }
    }
}

impl Answer {
    /// To a request for this model, of which the answer repeats `echo`.
    pub(crate) fn new(stamp: Stamp, model: String, echo: RawObject) -> Self {
        Self {
            stamp,
            model,
            echo,
            usage: None,
            stop: None,
            begun: false,
            sequence: 0,
            items: Vec::new(),
            open: None,
            calls: Calls::default(),
            items_of_calls: Vec::new(),
        }
    }

    fn note(&mut self, read: &Completion) {
        if let Some(model) = read.model.as_ref().filter(|m| !m.is_empty()) {
            self.model.clone_from(model);
        }
        if let Some(usage) = read.usage {
            self.usage = Some(self.usage.unwrap_or_default().max(usage));
        }
    }

    /// Why the answer is not whole, if it is not.
    fn incomplete(&self) -> Option<&'static str> {
        match self.stop.as_deref() {
            Some("length") => Some("max_output_tokens"),
            Some("content_filter") => Some("content_filter"),
            _ => None,
        }
    }

    fn status(&self) -> &'static str {
        if self.incomplete().is_some() {
            "incomplete"
        } else {
            "completed"
        }
    }

    /// The response as it stands.
    fn response(&self, status: &str, error: &Value) -> RawObject {
        let ended = matches!(status, "completed" | "incomplete" | "failed");
        let output: Vec<Value> = self.items.iter().map(Item::json).collect();
        let usage = self.usage.filter(|_| ended).map(|u| {
            json!({
                "input_tokens": u.prompt_tokens,
                "input_tokens_details": { "cached_tokens": u.cached_tokens, "cache_write_tokens": 0 },
                "output_tokens": u.completion_tokens,
                "output_tokens_details": { "reasoning_tokens": u.reasoning_tokens },
                "total_tokens": u.prompt_tokens.saturating_add(u.completion_tokens),
            })
        });
        let reason = (status == "incomplete").then(|| self.incomplete()).flatten();
        let mut response = self.echo.clone();
        for (key, value) in [
            ("id", json!(self.stamp.id("resp"))),
            ("object", json!("response")),
            ("created_at", json!(self.stamp.created)),
            ("status", json!(status)),
            ("background", json!(false)),
            ("error", error.clone()),
            (
                "incomplete_details",
                reason.map_or(Value::Null, |reason| json!({ "reason": reason })),
            ),
            ("model", json!(self.model)),
            ("output", json!(output)),
            ("previous_response_id", Value::Null),
            ("store", json!(false)),
            ("truncation", json!("disabled")),
            ("usage", json!(usage)),
        ] {
            let set = response.set(key, &value);
            debug_assert!(set.is_ok(), "values always serialise");
        }
        response
    }

    /// Sends an event; each has its number.
    fn event(&mut self, name: &str, members: Value, out: &mut BytesMut) {
        let mut event = RawObject::default();
        let mut put = |key: &str, value: &Value| {
            let set = event.set(key, value);
            debug_assert!(set.is_ok(), "values always serialise");
        };
        put("type", &json!(name));
        put("sequence_number", &json!(self.sequence));
        if let Value::Object(members) = members {
            for (key, value) in &members {
                put(key, value);
            }
        }
        self.sequence += 1;
        push(out, name, &event);
    }

    /// Sends an event that brings the response.
    fn state(&mut self, name: &str, status: &str, error: &Value, out: &mut BytesMut) {
        let mut event = RawObject::default();
        let response = self.response(status, error);
        let set = event
            .set("type", name)
            .and_then(|()| event.set("sequence_number", &self.sequence))
            .and_then(|()| event.set("response", &response));
        debug_assert!(set.is_ok(), "values always serialise");
        self.sequence += 1;
        push(out, name, &event);
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !self.begun {
            self.begun = true;
            self.state("response.created", "in_progress", &Value::Null, out);
            self.state("response.in_progress", "in_progress", &Value::Null, out);
        }
    }

    /// Where an event belongs.
    fn place(&self, item: usize) -> Map<String, Value> {
        let id = self.items.get(item).map(Item::id).unwrap_or_default();
        Map::from_iter([
            ("item_id".to_owned(), json!(id)),
            ("output_index".to_owned(), json!(item)),
        ])
    }

    fn at(&self, item: usize, members: Value) -> Value {
        let mut place = self.place(item);
        if let Value::Object(members) = members {
            place.extend(members);
        }
        Value::Object(place)
    }

    /// Opens an item, and closes the one before.
    fn add(&mut self, item: Item, out: &mut BytesMut) -> usize {
        self.close(out);
        let index = self.items.len();
        let shown = item.json();
        self.items.push(item);
        self.open = Some(index);
        self.event(
            "response.output_item.added",
            json!({ "output_index": index, "item": shown }),
            out,
        );
        index
    }

    /// Ends the item that is being written. A call is not done before the end: pieces of it may still come.
    fn close(&mut self, out: &mut BytesMut) {
        let Some(index) = self.open.take() else { return };
        if matches!(self.items[index], Item::Message { .. }) {
            self.finish_part(index, out);
            self.finish(index, out);
        }
    }

    fn finish(&mut self, index: usize, out: &mut BytesMut) {
        // What is ended by the answer's own end is no more whole than that.
        *self.items[index].status() = self.status();
        let item = self.items[index].json();
        self.event(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
            out,
        );
    }

    fn finish_part(&mut self, index: usize, out: &mut BytesMut) {
        let Item::Message { parts, .. } = &self.items[index] else {
            return;
        };
        let Some(last) = parts.last() else { return };
        let number = parts.len() - 1;
        let ((kind, member), part) = (last.kind(), last.json());
        let mut said = json!({ "content_index": number, member: last.text });
        if !last.refusal {
            said["logprobs"] = json!([]);
        }
        let said = self.at(index, said);
        self.event(&format!("response.{kind}.done"), said, out);
        let part = self.at(index, json!({ "content_index": number, "part": part }));
        self.event("response.content_part.done", part, out);
    }

    fn say(&mut self, text: &str, refusal: bool, out: &mut BytesMut) {
        if text.is_empty() {
            return;
        }
        let open = self
            .open
            .filter(|index| matches!(self.items[*index], Item::Message { .. }));
        let index = match open {
            Some(index) => index,
            None => {
                let number = self
                    .items
                    .iter()
                    .filter(|item| matches!(item, Item::Message { .. }))
                    .count();
                let id = if number == 0 {
                    self.stamp.id("msg")
                } else {
                    format!("{}_{number}", self.stamp.id("msg"))
                };
                let message = Item::Message {
                    id,
                    parts: Vec::new(),
                    status: IN_PROGRESS,
                };
                self.add(message, out)
            }
        };
        let continues = match &self.items[index] {
            Item::Message { parts, .. } => parts.last().is_some_and(|part| part.refusal == refusal),
            Item::Call { .. } => false,
        };
        if !continues {
            self.finish_part(index, out);
            let part = Said {
                refusal,
                text: String::new(),
            };
            let shown = part.json();
            let mut number = 0;
            if let Item::Message { parts, .. } = &mut self.items[index] {
                parts.push(part);
                number = parts.len() - 1;
            }
            let added = self.at(index, json!({ "content_index": number, "part": shown }));
            self.event("response.content_part.added", added, out);
        }
        let Item::Message { parts, .. } = &mut self.items[index] else {
            return;
        };
        let number = parts.len().saturating_sub(1);
        let Some(part) = parts.last_mut() else { return };
        part.text.push_str(text);
        let (kind, _) = part.kind();
        let mut delta = json!({ "content_index": number, "delta": text });
        if !refusal {
            delta["logprobs"] = json!([]);
        }
        let delta = self.at(index, delta);
        self.event(&format!("response.{kind}.delta"), delta, out);
    }

    /// Writes what has come of a call. It is an item once its name and its id are known, or when there comes no more.
    fn called(&mut self, slot: usize, ending: bool, out: &mut BytesMut) {
        if self.items_of_calls.len() <= slot {
            self.items_of_calls.resize(slot + 1, None);
        }
        let Some(call) = self.calls.get(slot) else { return };
        let index = match self.items_of_calls[slot] {
            Some(index) => index,
            None if call.is_known() || (ending && !call.name.is_empty()) => {
                let call_id = if call.id.is_empty() {
                    format!("{}_{slot}", self.stamp.id("call"))
                } else {
                    call.id.clone()
                };
                let item = Item::Call {
                    id: format!("{}_{slot}", self.stamp.id("fc")),
                    call_id,
                    name: call.name.clone(),
                    arguments: String::new(),
                    status: IN_PROGRESS,
                };
                let index = self.add(item, out);
                self.items_of_calls[slot] = Some(index);
                index
            }
            None => return,
        };
        let arguments = self.calls.arguments(slot);
        if arguments.is_empty() {
            return;
        }
        if let Item::Call { arguments: all, .. } = &mut self.items[index] {
            all.push_str(&arguments);
        }
        let delta = self.at(index, json!({ "delta": arguments }));
        self.event("response.function_call_arguments.delta", delta, out);
    }

    fn spoken(&mut self, spoken: Spoken, out: &mut BytesMut) {
        self.say(&spoken.text, false, out);
        self.say(&spoken.refusal, true, out);
        for (position, piece) in spoken.calls.into_iter().enumerate() {
            let slot = self.calls.take(piece, position);
            self.called(slot, false, out);
        }
    }

    /// Ends all that is not.
    fn finish_all(&mut self, out: &mut BytesMut) {
        for slot in 0..self.calls.len() {
            self.called(slot, true, out);
        }
        self.close(out);
        for index in 0..self.items.len() {
            if *self.items[index].status() != IN_PROGRESS {
                continue;
            }
            if let Item::Call { arguments, name, .. } = &self.items[index] {
                let whole = self.at(index, json!({ "arguments": arguments, "name": name }));
                self.event("response.function_call_arguments.done", whole, out);
            }
            self.finish(index, out);
        }
    }

    fn hear(&mut self, bytes: &[u8], out: &mut BytesMut) -> Option<()> {
        let read = Completion::read(bytes)?;
        self.note(&read);
        self.begin(out);
        self.stop = read.finish.or(self.stop.take());
        self.spoken(read.spoken, out);
        Some(())
    }
}

impl Dialect for Answer {
    /// A whole answer is one that came in a single chunk, whose events nobody hears.
    fn whole(&mut self, answer: &[u8]) -> Option<Vec<u8>> {
        let mut unheard = BytesMut::new();
        self.hear(answer, &mut unheard)?;
        self.finish_all(&mut unheard);
        Some(self.response(self.status(), &Value::Null).to_vec())
    }

    fn chunk(&mut self, chunk: &[u8], out: &mut BytesMut) -> Option<()> {
        self.hear(chunk, out)
    }

    fn done(&mut self, out: &mut BytesMut) {
        self.begin(out);
        self.finish_all(out);
        let status = self.status();
        self.state(&format!("response.{status}"), status, &Value::Null, out);
    }

    /// What has an `error` is raised by the SDKs; `response.failed` is for those who read on, since every stream ends with
    /// the response.
    fn failed(&mut self, problem: &Problem, out: &mut BytesMut) {
        self.begin(out);
        for item in &mut self.items {
            if *item.status() == IN_PROGRESS {
                *item.status() = "incomplete";
            }
        }
        let error = problem.openai_body(&self.stamp.id)["error"].clone();
        let (code, message) = (error["code"].clone(), error["message"].clone());
        let members = json!({ "code": code, "message": message, "param": error["param"], "error": error });
        self.event("error", members, out);
        self.state(
            "response.failed",
            "failed",
            &json!({ "code": code, "message": message }),
            out,
        );
    }
}
