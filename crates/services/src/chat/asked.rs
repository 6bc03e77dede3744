//! The target that a call was last asked of: how far it came, what it is told of who asks, and what is counted of it.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anteroom_domain::chat::{ChatRequest, Direction, EndUser, Original, Outcome, ServedBy, Target, TokenUsage};
use anteroom_ports::chat::{ChatCall, ProviderError, ProviderErrorKind, TargetCall, TimeoutStage};
use serde_json::Value;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::Chat;
use super::call::Call;
use super::complete_chat::ChatError;
use super::targets::{OnDisconnect, Provider};
use super::told::Told;

/// The target that was asked last.
#[derive(Clone)]
pub(super) struct Asked {
    target: ServedBy,
    on_disconnect: OnDisconnect,
    at: Instant,
    /// When it began to answer.
    answered: Option<Instant>,
    streamed: bool,
    progress: Progress,
    failure: Option<&'static str>,
    /// Whether it broke its answer off itself: of one that took too long, its reader may have been the slow one.
    at_fault: bool,
    /// What is told of it to whoever follows traces.
    span: Span,
    /// What of its answer the span is told at its end; `None` where nobody follows, or there are no words.
    told: Option<Arc<Told>>,
}

impl Asked {
    /// From asking it to the first chunk of a streamed answer.
    fn first_chunk(&self) -> Option<Duration> {
        let at = self.answered.filter(|_| self.streamed)?;
        Some(at.saturating_duration_since(self.at))
    }

    /// Ends its span. Usage is told only where the provider told it; what was answered only where it may be.
    fn end(&self, outcome: Outcome, reported: Option<TokenUsage>, passed: bool) {
        if self.span.is_disabled() {
            return;
        }
        if let Some(kind) = self.failure {
            self.span.record("error.type", kind);
        }
        if let Some(usage) = reported {
            self.span.record("gen_ai.usage.input_tokens", usage.prompt_tokens);
            for (name, tokens) in [
                ("gen_ai.usage.output_tokens", usage.completion_tokens),
                ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
                ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
            ] {
                // None may also mean that nobody counted them.
                if tokens > 0 {
                    self.span.record(name, tokens);
                }
            }
        }
        if let Some(first) = self.first_chunk() {
            self.span
                .record("gen_ai.response.time_to_first_chunk", first.as_secs_f64());
        }
        if let Some(told) = &self.told {
            told.end(&self.span, outcome, passed);
        }
        self.span.record("anteroom.outcome", outcome.as_str());
        self.span.record("ended", true);
    }

    /// What is counted of it.
    fn counted(&self, operation: &'static str, outcome: Outcome) -> TargetCall<'_> {
        TargetCall {
            provider: &self.target.provider,
            model: &self.target.model,
            operation,
            outcome,
            failure: self.failure,
            usage: None,
            first_chunk: self.first_chunk(),
            first_token: None,
            total: self.at.elapsed(),
        }
    }
}

/// How far a target came with a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Answering,
    Failed,
}

impl Call {
    fn asked(&self) -> Option<Asked> {
        self.of_asked(Asked::clone)
    }

    fn of_asked<T>(&self, read: impl FnOnce(&Asked) -> T) -> Option<T> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.as_ref().map(read)
    }

    fn on_asked(&self, act: impl FnOnce(&mut Asked)) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = asked.as_mut() {
            act(asked);
        }
    }

    /// Notes whom it is asked of now. Its span is told so many bytes of what is said at most, if anything is.
    pub(super) fn goes_to(&self, provider: &Provider, target: &Target, content: Option<usize>) {
        let mut asked = Asked {
            target: ServedBy {
                provider: target.provider.clone(),
                model: target.model.clone(),
            },
            on_disconnect: provider.on_disconnect,
            at: Instant::now(),
            answered: None,
            streamed: false,
            progress: Progress::Waiting,
            failure: None,
            at_fault: false,
            span: info_span!(
                target: "anteroom::trace", "model",
                otel.name = %format_args!("{} {}", self.operation, target.model), otel.kind = "client",
                gen_ai.operation.name = self.operation, gen_ai.request.model = target.model,
                anteroom.provider = provider.name, anteroom.model = self.model, anteroom.call_id = %self.request_id,
                gen_ai.request.stream = Empty, gen_ai.response.time_to_first_chunk = Empty, gen_ai.response.id = Empty,
                gen_ai.response.model = Empty, gen_ai.response.finish_reasons = Empty,
                gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty,
                gen_ai.usage.cache_read.input_tokens = Empty, gen_ai.usage.reasoning.output_tokens = Empty,
                gen_ai.system_instructions = Empty, gen_ai.input.messages = Empty, gen_ai.output.messages = Empty,
                anteroom.content.truncated = Empty, error.type = Empty, anteroom.outcome = Empty, ended = Empty,
            ),
            told: None,
        };
        // Vectors have no words, and no reason to end.
        if !asked.span.is_disabled() && self.operation == "chat" {
            asked.told = Some(Arc::new(Told::new(content)));
        }
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
    }

    /// Notes that the target answers, or has begun to.
    pub(super) fn answers(&self) {
        self.on_asked(|asked| {
            asked.progress = Progress::Answering;
            asked.answered = Some(Instant::now());
        });
    }

    /// What of the answer its span is told at its end, if anybody follows.
    pub(super) fn span_told(&self) -> Option<Arc<Told>> {
        self.of_asked(|asked| asked.told.clone())?
    }

    /// Notes that the target did not answer.
    pub(super) fn refused(&self, error: &ProviderError) {
        self.on_asked(|asked| {
            asked.progress = Progress::Failed;
            asked.failure = Some(error.kind.as_str());
        });
    }

    /// Notes what ended the answer.
    pub(super) fn broke_off(&self, error: &ChatError) {
        if let ChatError::Provider(e) = error {
            self.on_asked(|asked| {
                asked.failure = Some(e.kind.as_str());
                asked.at_fault = match &e.kind {
                    ProviderErrorKind::Timeout(TimeoutStage::Total) => false,
                    ProviderErrorKind::Protocol { error: Some(error) } => !blames_request(error),
                    _ => true,
                };
            });
        }
    }

    /// Whether the target is asked for a stream.
    pub(super) fn is_streamed(&self) -> bool {
        self.of_asked(|asked| asked.streamed).unwrap_or_default()
    }

    /// Whether a target answers, or may be about to.
    pub(super) fn is_asked(&self) -> bool {
        self.of_asked(|asked| asked.progress != Progress::Failed)
            .unwrap_or_default()
    }

    pub(super) fn served_by(&self) -> Option<ServedBy> {
        self.of_asked(|asked| asked.target.clone())
    }

    /// Notes that nobody wants the answer any more. Answers until when it is read on, if what answers is to be.
    pub(super) fn abandon(&self) -> Option<Instant> {
        let asked = self.asked().filter(|asked| asked.progress != Progress::Failed)?;
        let OnDisconnect::Drain(longest) = asked.on_disconnect else {
            return None;
        };
        Some(*self.abandoned.get_or_init(Instant::now) + longest)
    }

    /// Whether it runs only to its end: nobody wants the answer, and no other target is asked for it.
    pub(super) fn abandoned(&self) -> bool {
        self.abandoned.get().is_some()
    }

    /// What was asked of its last target and what came of it, to be counted; unless that was counted when it failed.
    fn observed(&self, outcome: Outcome) -> Option<(Asked, Option<Duration>)> {
        let asked = self.asked()?;
        let counts = match asked.progress {
            Progress::Failed => false,
            Progress::Waiting => outcome == Outcome::Cancelled,
            Progress::Answering => true,
        };
        let first = self.first_token_at.filter(|_| asked.streamed);
        let first = first.map(|at| at.saturating_duration_since(asked.at));
        counts.then_some((asked, first))
    }
}

/// Refuses what cannot be said in the chat completion that was made of it.
pub(super) fn only_said(original: &Original) -> Result<(), ProviderError> {
    let Some(place) = original.known_tools.first() else {
        return Ok(());
    };
    Err(ProviderError {
        kind: ProviderErrorKind::Unsupported {
            parameter: place.clone(),
        },
        detail: format!(
            "`{place}` cannot be used here: the tool is known to models that are asked by their maker's own API only"
        ),
    })
}

/// Whether what a provider says in the middle of a stream is that the request is at fault, which any caller may be.
fn blames_request(error: &Value) -> bool {
    let number = |key: &str| error[key].as_u64();
    let of_client = number("code")
        .or_else(|| number("status"))
        .filter(|code| (400..500).contains(code));
    error["type"] == "invalid_request_error" || of_client.is_some()
}

impl Chat {
    /// What a target is sent. Not the request for tools that only another kind of provider knows.
    pub(super) fn outgoing(
        &self,
        call: &Call,
        request: &ChatRequest,
        provider: &Provider,
        target: &Target,
    ) -> Result<ChatCall, ProviderError> {
        if let Some(said) = &request.original
            && !provider.models.speaks(said.dialect)
        {
            only_said(said)?;
        }
        call.on_asked(|asked| {
            asked.streamed = request.stream;
            if request.stream {
                asked.span.record("gen_ai.request.stream", true);
            }
            if let Some(told) = &asked.told {
                told.asked(&asked.span, request, provider.models.takes_instructions_apart());
            }
        });
        let name = || self.name_of_user(call);
        let user = EndUser {
            send: provider.send_user,
            name: &name,
        };
        Ok(ChatCall {
            request_id: call.request_id,
            model: target.model.clone(),
            body: request.upstream_body(&call.alias, target, user).into(),
            original: request.original.clone(),
        })
    }

    /// What providers are told of who asks: always the same for an account, and nothing to anybody else.
    pub(super) fn name_of_user(&self, call: &Call) -> String {
        let digest = self.secrets.keyed("upstream-user", call.who.user().id.0.as_bytes());
        hex::encode(&digest[..16])
    }

    /// Has it counted how a call ended.
    pub(super) fn observe(&self, call: &Call, outcome: Outcome) {
        if let Some((asked, first_token)) = call.observed(outcome) {
            if asked.streamed && asked.progress == Progress::Answering {
                self.note_stream_end(&asked.target, outcome, asked.at_fault);
            }
            let usage = call.usage_reported();
            // What was refused is told to nobody, nor what nobody had looked at to its end.
            let passed = match outcome {
                Outcome::Complete => true,
                Outcome::Filtered => false,
                _ => self.moderator(Direction::Output).is_none(),
            };
            asked.end(outcome, usage, passed);
            self.observer.ended(TargetCall {
                usage,
                first_token,
                ..asked.counted(call.operation, outcome)
            });
        }
    }

    /// Has a try counted that failed.
    pub(super) fn observe_failure(&self, call: &Call, error: &ProviderError) {
        call.refused(error);
        if let Some(asked) = call.asked() {
            asked.end(Outcome::Failed, None, false);
            self.observer.ended(asked.counted(call.operation, Outcome::Failed));
        }
    }
}
