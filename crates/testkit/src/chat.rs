//! A model that answers from a script.

mod moderator;

pub use moderator::ScriptedModerator;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;

use anteroom_domain::chat::{Outcome, TokenUsage};
use anteroom_ports::chat::{
    ChatCall, ChatChunk, ChatEvent, ChatReply, ChatStream, OfferedModel, ProviderError, ProviderErrorKind, TargetCall,
};
use anteroom_ports::{ChatModel, TargetObserver};

use crate::lock;
use crate::store::assert_no_open_unit;

/// What a scripted stream does next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Brings this.
    Event(ChatEvent),
    /// Lets this time pass (tokio's, so that a paused runtime skips it).
    Wait(Duration),
    /// Fails and ends.
    Fail(ProviderError),
    /// Brings nothing more and never ends.
    Hang,
}

/// How a call ended, as the provider sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// It runs.
    Running,
    /// The answer, whole or failed, was fetched to its end.
    Finished,
    /// It was dropped before its end.
    Dropped,
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    /// What was asked.
    pub call: ChatCall,
    /// Whether as a stream.
    pub streamed: bool,
    /// Events that were fetched.
    pub events: usize,
    /// How it ended.
    pub end: StreamEnd,
}

#[derive(Debug, Default)]
struct State {
    models: Vec<String>,
    models_failure: Option<ProviderError>,
    wholes: VecDeque<(Duration, Result<ChatReply, ProviderError>)>,
    streams: VecDeque<Result<VecDeque<Step>, ProviderError>>,
    calls: Vec<RecordedCall>,
    dropped: Vec<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

/// Answers each call with what was scripted for it, in order. With an empty script it answers [`DEFAULT_TEXT`] and
/// [`DEFAULT_USAGE`], as a whole or as a stream of two words, the usage and the end.
#[derive(Debug)]
pub struct ScriptedModel {
    shared: Arc<Shared>,
}

/// What is answered without a script.
pub const DEFAULT_TEXT: &str = "Hello there";

/// What is used without a script.
pub const DEFAULT_USAGE: TokenUsage = TokenUsage {
    prompt_tokens: 7,
    completion_tokens: 2,
    cached_tokens: 0,
    reasoning_tokens: 0,
    ..TokenUsage::NONE
};

impl ScriptedModel {
    /// A provider that offers these models.
    pub fn new(models: &[&str]) -> Self {
        let shared = Arc::<Shared>::default();
        lock(&shared.state).models = models.iter().map(|&m| m.to_owned()).collect();
        Self { shared }
    }

    /// Changes the models it offers, or makes the question for them fail.
    pub fn set_models(&self, models: Result<&[&str], ProviderError>) {
        let mut state = lock(&self.shared.state);
        match models {
            Ok(models) => {
                state.models = models.iter().map(|&m| m.to_owned()).collect();
                state.models_failure = None;
            }
            Err(error) => state.models_failure = Some(error),
        }
    }

    /// From now on it cannot be told these parameters.
    pub fn drop_parameters(&self, names: &[&str]) {
        lock(&self.shared.state).dropped = names.iter().map(|&n| n.to_owned()).collect();
    }

    /// The next whole answer not yet scripted is this one.
    pub fn script_reply(&self, reply: Result<ChatReply, ProviderError>) {
        self.script_reply_after(Duration::ZERO, reply);
    }

    /// The same after a time.
    pub fn script_reply_after(&self, delay: Duration, reply: Result<ChatReply, ProviderError>) {
        lock(&self.shared.state).wholes.push_back((delay, reply));
    }

    /// The next stream not yet scripted does this. A script that ends without [`ChatEvent::Done`], a failure or
    /// [`Step::Hang`] gets the error that an adapter owes then.
    pub fn script_stream(&self, steps: impl IntoIterator<Item = Step>) {
        let script = Ok(steps.into_iter().collect());
        lock(&self.shared.state).streams.push_back(script);
    }

    /// The next stream not yet scripted does not begin.
    pub fn script_refusal(&self, error: ProviderError) {
        lock(&self.shared.state).streams.push_back(Err(error));
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<RecordedCall> {
        lock(&self.shared.state).calls.clone()
    }

    /// Waits until the call with this number (from 0) has been made and is over, and answers how it ended.
    pub async fn ended(&self, number: usize) -> StreamEnd {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed in between.
            changed.as_mut().enable();
            let end = lock(&self.shared.state).calls.get(number).map(|c| c.end);
            match end {
                Some(end) if end != StreamEnd::Running => return end,
                _ => changed.await,
            }
        }
    }

    fn record(&self, call: ChatCall, streamed: bool) -> CallGuard {
        assert_no_open_unit("calling a model");
        let mut state = lock(&self.shared.state);
        state.calls.push(RecordedCall {
            call,
            streamed,
            events: 0,
            end: StreamEnd::Running,
        });
        CallGuard {
            shared: Arc::clone(&self.shared),
            number: state.calls.len() - 1,
        }
    }
}

/// Notes how a call ended, also when its future or stream is dropped.
struct CallGuard {
    shared: Arc<Shared>,
    number: usize,
}

impl CallGuard {
    fn count_event(&self) {
        lock(&self.shared.state).calls[self.number].events += 1;
    }

    fn end(&self, end: StreamEnd) {
        let mut state = lock(&self.shared.state);
        let call = &mut state.calls[self.number];
        if call.end == StreamEnd::Running {
            call.end = end;
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.end(StreamEnd::Dropped);
    }
}

#[async_trait]
impl ChatModel for ScriptedModel {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError> {
        assert_no_open_unit("asking for models");
        let state = lock(&self.shared.state);
        if let Some(error) = &state.models_failure {
            return Err(error.clone());
        }
        let offer = |id: &String| OfferedModel {
            id: id.clone(),
            owned_by: "scripted".to_owned(),
            created: 0,
        };
        Ok(state.models.iter().map(offer).collect())
    }

    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        let model = call.model.clone();
        let guard = self.record(call, false);
        let script = lock(&self.shared.state).wholes.pop_front();
        let answer = match script {
            Some((delay, answer)) => {
                tokio::time::sleep(delay).await;
                answer
            }
            None => Ok(reply(&model, DEFAULT_TEXT, Some(DEFAULT_USAGE))),
        };
        guard.end(StreamEnd::Finished);
        let dropped = lock(&self.shared.state).dropped.clone();
        answer.map(|mut reply| {
            reply.dropped.extend(dropped);
            reply
        })
    }

    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError> {
        let model = call.model.clone();
        let guard = self.record(call, true);
        let script = lock(&self.shared.state).streams.pop_front();
        let steps = match script {
            Some(Ok(steps)) => steps,
            Some(Err(error)) => {
                guard.end(StreamEnd::Finished);
                return Err(error);
            }
            None => default_stream(&model),
        };
        let start = (steps, guard, false);
        let events = Box::pin(futures_util::stream::unfold(
            start,
            |(mut steps, guard, over)| async move {
                if over {
                    return None;
                }
                loop {
                    let item = match steps.pop_front() {
                        Some(Step::Wait(time)) => {
                            tokio::time::sleep(time).await;
                            continue;
                        }
                        Some(Step::Hang) => std::future::pending().await,
                        Some(Step::Event(event)) => Ok(event),
                        Some(Step::Fail(error)) => Err(error),
                        None => Err(provider_error(ProviderErrorKind::Protocol { error: None })),
                    };
                    guard.count_event();
                    let over = matches!(item, Err(_) | Ok(ChatEvent::Done));
                    if over {
                        guard.end(StreamEnd::Finished);
                    }
                    return Some((item, (steps, guard, over)));
                }
            },
        ));
        let dropped = lock(&self.shared.state).dropped.clone();
        Ok(ChatStream { events, dropped })
    }
}

fn default_stream(model: &str) -> VecDeque<Step> {
    let words = DEFAULT_TEXT.split_inclusive(' ').map(|word| text_step(model, word));
    words.chain([usage_step(model, DEFAULT_USAGE), done_step()]).collect()
}

/// A step that adds this text to the answer.
pub fn text_step(model: &str, text: &str) -> Step {
    let data = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": model,
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    });
    Step::Event(ChatEvent::Chunk(ChatChunk {
        data: Bytes::from(data.to_string()),
        text: text.to_owned(),
        output_bytes: text.len(),
        usage: None,
        usage_only: false,
    }))
}

/// A step that says what the call used.
pub fn usage_step(model: &str, usage: TokenUsage) -> Step {
    let data = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_767_225_600, "model": model,
        "choices": [], "usage": usage_json(usage),
    });
    Step::Event(ChatEvent::Chunk(ChatChunk {
        data: Bytes::from(data.to_string()),
        usage: Some(usage),
        usage_only: true,
        ..ChatChunk::default()
    }))
}

/// The step that ends a stream well.
pub fn done_step() -> Step {
    Step::Event(ChatEvent::Done)
}

/// A whole answer as an `OpenAI`-compatible provider sends it.
pub fn reply(model: &str, text: &str, usage: Option<TokenUsage>) -> ChatReply {
    let mut body = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_767_225_600, "model": model,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
    });
    if let Some(usage) = usage {
        body["usage"] = usage_json(usage);
    }
    ChatReply {
        body: Bytes::from(body.to_string()),
        text: text.to_owned(),
        usage,
        dropped: Vec::new(),
    }
}

/// An error of a given kind.
pub fn provider_error(kind: ProviderErrorKind) -> ProviderError {
    ProviderError {
        kind,
        detail: "scripted".to_owned(),
    }
}

/// A call of a target, as it was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedCall {
    /// The provider and its model, as `main/small`.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Which kind of failure ended it.
    pub failure: Option<&'static str>,
    /// Whether a first token was timed.
    pub first_token: bool,
    /// What was asked for.
    pub operation: &'static str,
    /// What it used, where that was told.
    pub usage: Option<TokenUsage>,
    /// Whether a first chunk was timed.
    pub first_chunk: bool,
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct CountingObserver {
    calls: Mutex<Vec<CountedCall>>,
}

impl CountingObserver {
    /// Everything so far, oldest first.
    pub fn calls(&self) -> Vec<CountedCall> {
        lock(&self.calls).clone()
    }
}

impl TargetObserver for CountingObserver {
    fn ended(&self, call: TargetCall<'_>) {
        assert!(
            call.first_token.is_none_or(|first| first <= call.total),
            "the first token comes before the end"
        );
        let earlier = |chunk| call.first_token.is_none_or(|token| chunk <= token) && chunk <= call.total;
        assert!(
            call.first_chunk.is_none_or(earlier),
            "the first chunk comes before the first token and the end"
        );
        lock(&self.calls).push(CountedCall {
            target: format!("{}/{}", call.provider, call.model),
            outcome: call.outcome,
            failure: call.failure,
            first_token: call.first_token.is_some(),
            operation: call.operation,
            usage: call.usage,
            first_chunk: call.first_chunk.is_some(),
        });
    }
}

fn usage_json(usage: TokenUsage) -> serde_json::Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use uuid::Uuid;

    use anteroom_domain::RequestId;

    use super::*;

    fn call() -> ChatCall {
        ChatCall {
            request_id: RequestId(Uuid::nil()),
            model: "m".into(),
            body: Bytes::from_static(b"{}"),
            original: None,
        }
    }

    #[tokio::test]
    async fn without_a_script_it_says_hello() {
        let model = ScriptedModel::new(&["m"]);
        assert_eq!(model.complete(call()).await.unwrap().text, DEFAULT_TEXT);
        let events: Vec<_> = model.stream(call()).await.unwrap().events.collect().await;
        assert_eq!(events.len(), 4);
        assert_eq!(events[3], Ok(ChatEvent::Done));
        assert_eq!(model.ended(1).await, StreamEnd::Finished);
        assert_eq!(model.models().await.unwrap()[0].id, "m");
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_early_is_noticed() {
        let model = ScriptedModel::new(&[]);
        model.script_stream([text_step("m", "a"), Step::Hang]);
        let mut stream = model.stream(call()).await.unwrap().events;
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(model.calls()[0].end, StreamEnd::Running);
        drop(stream);
        assert_eq!(model.ended(0).await, StreamEnd::Dropped);
        assert_eq!(model.calls()[0].events, 1);
    }

    #[tokio::test]
    async fn a_script_that_just_stops_is_an_error() {
        let model = ScriptedModel::new(&[]);
        model.script_stream([text_step("m", "a")]);
        let events: Vec<_> = model.stream(call()).await.unwrap().events.collect().await;
        assert!(events.len() == 2 && events[1].is_err());
        model.script_refusal(provider_error(ProviderErrorKind::Auth));
        assert!(model.stream(call()).await.is_err());
    }
}
