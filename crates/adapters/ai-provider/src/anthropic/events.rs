//! Anthropic's events as OpenAI's chunks (<https://docs.anthropic.com/en/docs/build-with-claude/streaming>).

use std::collections::{HashMap, VecDeque};

use eventsource_stream::Event;
use serde_json::{Value, json};

use anteroom_ports::chat::{ChatEvent, ProviderError, ProviderErrorKind};

use super::answer::{Spent, finish_reason};
use super::original;
use crate::shared::failure;
use crate::shared::flow::Reader;
use crate::shared::redact::Redactor;
use crate::translate::answer::{Delta, Head};

/// The longest block of thought that is kept to be handed on whole.
const MAX_THOUGHT: usize = 4 * 1024 * 1024;

/// The most bytes of events that are held until there is something to say.
const MAX_HELD: usize = 64 * 1024;

/// A stream's state.
pub(super) struct Events {
    head: Head,
    /// Whether the role has been told. It waits for the first block, so that what fails before has a status.
    begun: bool,
    blocks: HashMap<u64, Block>,
    calls: usize,
    stop_reason: Option<String>,
    spent: Spent,
    /// The events since the last chunk as they came, where the caller speaks this API's words.
    held: Option<String>,
}

/// A block that is under way.
enum Block {
    /// A call of a tool: its number, and whether arguments have come.
    Call { number: usize, any: bool },
    /// Thought, with its signature once that has come; `None` if it was too long.
    Thought(Option<(String, String)>),
    /// Text, and whatever else.
    Other,
}

impl Events {
    /// With `own_words` chunks bring the events that they were made of along.
    pub(super) fn new(model: String, created: i64, own_words: bool) -> Self {
        Self {
            head: Head {
                id: String::new(),
                created,
                model,
            },
            begun: false,
            blocks: HashMap::new(),
            calls: 0,
            stop_reason: None,
            spent: Spent::default(),
            held: own_words.then(String::new),
        }
    }

    fn chunk(&mut self, mut delta: Delta, redactor: &Redactor) -> ChatEvent {
        delta.first = !std::mem::replace(&mut self.begun, true);
        // Every chunk says what was used up to it, in case that it is the last to come.
        delta.usage = self.spent.so_far();
        let mut chunk = self.head.chunk(delta, redactor);
        if let (Some(held), ChatEvent::Chunk(chunk)) = (&mut self.held, &mut chunk)
            && !held.is_empty()
        {
            chunk.data = original::beside(&chunk.data, &format!("[{held}]"), redactor);
            held.clear();
        }
        chunk
    }

    /// Keeps an event for the next chunk. Whether there has to be one now.
    fn hold(&mut self, event: &str) -> bool {
        let Some(held) = &mut self.held else { return false };
        if !held.is_empty() {
            held.push(',');
        }
        held.push_str(event);
        held.len() > MAX_HELD
    }

    /// An error in the stream. Before anything was said it is the same as one with a status.
    fn failed(&self, data: Value, redactor: &Redactor) -> ProviderError {
        let kind = match data["error"]["type"].as_str() {
            Some("overloaded_error") => Some(ProviderErrorKind::Upstream { status: 529 }),
            Some("api_error") => Some(ProviderErrorKind::Upstream { status: 500 }),
            Some("timeout_error") => Some(ProviderErrorKind::Upstream { status: 504 }),
            Some("rate_limit_error") => Some(ProviderErrorKind::RateLimited { retry_after: None }),
            _ => None,
        };
        let failed = failure::in_answer(failure::error_object(data), redactor);
        match kind {
            Some(kind) if !self.begun => ProviderError { kind, ..failed },
            _ => failed,
        }
    }

    fn started(&mut self, message: &Value) {
        let text = |name: &str| message[name].as_str().map(str::to_owned);
        self.head.id = text("id").unwrap_or_default();
        self.head.model = text("model").unwrap_or_else(|| std::mem::take(&mut self.head.model));
        self.spent.note_input(&message["usage"]);
    }

    fn block_started(&mut self, index: u64, content: &Value) -> Option<Delta> {
        let text = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
        let (block, delta) = match content["type"].as_str() {
            Some("text") => (
                Block::Other,
                Delta {
                    text: text("text"),
                    ..Delta::default()
                },
            ),
            Some("tool_use") => {
                let number = self.calls;
                self.calls += 1;
                let function = json!({ "name": content["name"], "arguments": "" });
                let call = json!({ "index": number, "id": content["id"], "type": "function", "function": function });
                (
                    Block::Call { number, any: false },
                    Delta {
                        call: Some(call),
                        ..Delta::default()
                    },
                )
            }
            Some("thinking") => {
                let (thought, signature) = (text("thinking"), text("signature"));
                let delta = Delta {
                    reasoning: thought.clone(),
                    ..Delta::default()
                };
                (Block::Thought(Some((thought, signature))), delta)
            }
            Some("redacted_thinking") => (
                Block::Other,
                Delta {
                    thought: Some(content.clone()),
                    ..Delta::default()
                },
            ),
            _ => return None,
        };
        self.blocks.insert(index, block);
        Some(delta)
    }

    fn block_goes_on(&mut self, index: u64, more: &Value) -> Option<Delta> {
        let text = |name: &str| more[name].as_str().unwrap_or_default().to_owned();
        let mut delta = Delta::default();
        match (more["type"].as_str(), self.blocks.get_mut(&index)) {
            (Some("text_delta"), _) => delta.text = text("text"),
            (Some("input_json_delta"), Some(Block::Call { number, any })) => {
                let arguments = text("partial_json");
                if arguments.is_empty() {
                    return None;
                }
                *any = true;
                delta.call = Some(json!({ "index": *number, "function": { "arguments": arguments } }));
            }
            (Some("thinking_delta"), block) => {
                delta.reasoning = text("thinking");
                if let Some(Block::Thought(kept)) = block {
                    if let Some((thought, _)) = kept {
                        thought.push_str(&delta.reasoning);
                    }
                    kept.take_if(|(thought, _)| thought.len() > MAX_THOUGHT);
                }
            }
            (Some("signature_delta"), Some(Block::Thought(Some((_, signature))))) => {
                *signature = text("signature");
                return None;
            }
            _ => return None,
        }
        Some(delta)
    }

    fn block_ended(&mut self, index: u64) -> Option<Delta> {
        match self.blocks.remove(&index)? {
            // A call without arguments has no events for them.
            Block::Call { number, any: false } => Some(Delta {
                call: Some(json!({ "index": number, "function": { "arguments": "{}" } })),
                ..Delta::default()
            }),
            Block::Thought(Some((thought, signature))) if !signature.is_empty() => Some(Delta {
                thought: Some(json!({ "type": "thinking", "thinking": thought, "signature": signature })),
                ..Delta::default()
            }),
            _ => None,
        }
    }
}

impl Reader for Events {
    fn read(&mut self, event: Event, redactor: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
        if event.data.trim().is_empty() {
            return Ok(());
        }
        let data: Value =
            serde_json::from_str(&event.data).map_err(|_| failure::protocol("an event that is not JSON"))?;
        let Some(kind) = data["type"].as_str() else {
            return Err(failure::protocol("an event without a type"));
        };
        let index = data["index"].as_u64().unwrap_or(0);
        // An error ends the stream in words of its caller's surface.
        let full = !matches!(kind, "error" | "ping") && self.hold(&event.data);
        let delta = match kind {
            "message_start" => {
                self.started(&data["message"]);
                None
            }
            "content_block_start" => self.block_started(index, &data["content_block"]),
            "content_block_delta" => self.block_goes_on(index, &data["delta"]),
            "content_block_stop" => self.block_ended(index),
            "message_delta" => {
                if let Some(reason) = data["delta"]["stop_reason"].as_str() {
                    self.stop_reason = Some(reason.to_owned());
                }
                self.spent.note(&data["usage"]);
                None
            }
            "message_stop" => {
                let last = Delta {
                    finish_reason: Some(finish_reason(self.stop_reason.as_deref())),
                    ..Delta::default()
                };
                let last = self.chunk(last, redactor);
                let spent = self.spent.usage().map(|usage| self.head.spent(usage, redactor));
                out.extend([Some(last), spent, Some(ChatEvent::Done)].into_iter().flatten());
                None
            }
            "error" => return Err(self.failed(data, redactor)),
            // `ping`, and what may be added: "your code should handle unknown event types gracefully".
            _ => None,
        };
        if let Some(delta) = delta.or_else(|| (full && kind != "message_stop").then(Delta::default)) {
            let chunk = self.chunk(delta, redactor);
            out.push_back(chunk);
        }
        Ok(())
    }
}
