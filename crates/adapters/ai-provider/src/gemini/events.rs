//! Gemini's events as OpenAI's chunks: each is an answer with what has been added.

use std::collections::VecDeque;

use eventsource_stream::Event;
use serde_json::{Value, json};

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{ChatEvent, ProviderError};

use super::answer::{Bit, blocked, finish_reason, name, read_part, refused, tool_call, usage};
use crate::shared::failure;
use crate::shared::flow::Reader;
use crate::shared::redact::Redactor;
use crate::translate::answer::{Delta, Head};

/// More choices than any answer has.
const MAX_CHOICES: usize = 128;

/// A stream's state.
pub(super) struct Events {
    head: Head,
    choices: Vec<Choice>,
    used: Option<TokenUsage>,
}

/// A choice that is under way.
#[derive(Default, Clone)]
struct Choice {
    begun: bool,
    ended: bool,
    calls: usize,
}

impl Events {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            choices: Vec::new(),
            used: None,
        }
    }

    fn chunk(&mut self, mut delta: Delta, redactor: &Redactor) -> ChatEvent {
        delta.first = !std::mem::replace(&mut self.choices[delta.choice].begun, true);
        // Every chunk says what was used up to it, in case that it is the last to come.
        delta.usage = self.used;
        self.head.chunk(delta, redactor)
    }

    fn candidate(
        &mut self,
        mut candidate: Value,
        redactor: &Redactor,
        out: &mut VecDeque<ChatEvent>,
    ) -> Result<(), ProviderError> {
        let index = candidate["index"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(0);
        if index >= MAX_CHOICES {
            return Err(failure::protocol("a choice beyond bounds"));
        }
        if self.choices.len() <= index {
            self.choices.resize(index + 1, Choice::default());
        }
        let mut delta = Delta {
            choice: index,
            ..Delta::default()
        };
        if let Some(Value::Array(parts)) = candidate.pointer_mut("/content/parts").map(Value::take) {
            for part in parts {
                match read_part(part) {
                    Bit::Text(text) => delta.text.push_str(&text),
                    Bit::Thought(text) => delta.reasoning.push_str(&text),
                    Bit::Call(part) => {
                        let number = self.choices[index].calls;
                        self.choices[index].calls += 1;
                        let mut call = tool_call(&self.head, index, number, part);
                        call["index"] = json!(number);
                        let next = Delta {
                            choice: index,
                            ..Delta::default()
                        };
                        let mut before = std::mem::replace(&mut delta, next);
                        before.call = Some(call);
                        let chunk = self.chunk(before, redactor);
                        out.push_back(chunk);
                    }
                    Bit::Other => {}
                }
            }
        }
        if !delta.text.is_empty() || !delta.reasoning.is_empty() {
            let chunk = self.chunk(delta, redactor);
            out.push_back(chunk);
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            let reason = finish_reason(Some(reason), self.choices[index].calls > 0)?;
            self.ended(index, reason, redactor, out);
        }
        Ok(())
    }

    fn ended(&mut self, index: usize, reason: &'static str, redactor: &Redactor, out: &mut VecDeque<ChatEvent>) {
        if std::mem::replace(&mut self.choices[index].ended, true) {
            return;
        }
        let last = Delta {
            choice: index,
            finish_reason: Some(reason),
            ..Delta::default()
        };
        let chunk = self.chunk(last, redactor);
        out.push_back(chunk);
    }
}

impl Reader for Events {
    fn read(&mut self, event: Event, redactor: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
        if event.data.trim().is_empty() {
            return Ok(());
        }
        let mut answer: Value =
            serde_json::from_str(&event.data).map_err(|_| failure::protocol("an event that is not JSON"))?;
        refused(&answer, redactor)?;
        if !answer.is_object() {
            return Err(failure::protocol("an event that is no answer"));
        }
        name(&mut self.head, &answer);
        if let Some(used) = usage(&answer["usageMetadata"]) {
            self.used = Some(self.used.unwrap_or_default().max(used));
        }
        let was_blocked = blocked(&answer);
        if let Some(Value::Array(candidates)) = answer.get_mut("candidates").map(Value::take) {
            for candidate in candidates {
                self.candidate(candidate, redactor, out)?;
            }
        }
        if was_blocked && self.choices.is_empty() {
            self.choices.push(Choice::default());
            self.ended(0, "content_filter", redactor, out);
        }
        Ok(())
    }

    /// There is no mark of the end: the answer is whole if every choice has said why it ended.
    fn end(&mut self, redactor: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
        if self.choices.is_empty() || self.choices.iter().any(|choice| !choice.ended) {
            return Err(failure::protocol("a stream that ended before its answer was whole"));
        }
        out.extend(self.used.map(|used| self.head.spent(used, redactor)));
        out.push_back(ChatEvent::Done);
        Ok(())
    }
}
