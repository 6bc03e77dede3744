//! What the span of a call is told of its words: what the provider calls its answer and why that ended, and, only where
//! the operator wants it, what was said and answered. Nothing of it is looked at while nobody follows traces.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anteroom_domain::chat::{AnswerTold, ChatRequest, Outcome, QuestionTold};
use bytes::Bytes;
use tracing::Span;

use super::call::Call;

/// What the span of one try will be told of its answer.
pub(super) struct Told {
    /// The most bytes that it is told of what is said, of either side; `None`: nothing.
    content: Option<usize>,
    answer: Mutex<Answer>,
}

struct Answer {
    /// One that came whole: read at the end, when nobody waits for it any more.
    whole: Option<Bytes>,
    told: AnswerTold,
}

impl Told {
    pub(super) fn new(content: Option<usize>) -> Self {
        Self {
            content,
            answer: Mutex::new(Answer {
                whole: None,
                told: AnswerTold::new(content),
            }),
        }
    }

    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is asked, if that is wanted.
    pub(super) fn asked(&self, span: &Span, request: &ChatRequest, instructions_apart: bool) {
        let Some(most) = self.content else { return };
        let told = QuestionTold::of(request.messages(), instructions_apart, most);
        if let Some(instructions) = told.instructions {
            span.record("gen_ai.system_instructions", instructions);
        }
        span.record("gen_ai.input.messages", told.messages);
        if told.cut {
            span.record("anteroom.content.truncated", true);
        }
    }

    /// Notes a chunk of the answer.
    pub(super) fn chunk(&self, data: &[u8]) {
        self.answer().told.chunk(data);
    }

    /// Tells what was answered; what that says only if it passed.
    pub(super) fn end(&self, span: &Span, outcome: Outcome, passed: bool) {
        let (whole, mut told) = {
            let mut answer = self.answer();
            (answer.whole.take(), std::mem::take(&mut answer.told))
        };
        if let Some(body) = whole {
            told.whole(&body);
        }
        if let Some(id) = told.id() {
            span.record("gen_ai.response.id", id);
        }
        if let Some(model) = told.model() {
            span.record("gen_ai.response.model", model);
        }
        let reasons: Vec<&str> = told.finish_reasons().collect();
        if !reasons.is_empty() {
            // A list is told as lines.
            span.record("gen_ai.response.finish_reasons", reasons.join("\n"));
        }
        let unfinished = if outcome == Outcome::Cancelled {
            "cancelled"
        } else {
            "error"
        };
        if let Some(most) = self.content.filter(|_| passed)
            && let Some((messages, cut)) = told.messages(most, unfinished)
        {
            span.record("gen_ai.output.messages", messages);
            if cut {
                span.record("anteroom.content.truncated", true);
            }
        }
    }
}

impl Call {
    /// Notes an answer that came whole, for its span.
    pub(super) fn note_whole(&self, body: &Bytes) {
        if let Some(told) = self.span_told() {
            told.answer().whole = Some(body.clone());
        }
    }
}
