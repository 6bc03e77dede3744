//! A provider of vectors that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::Embedder;
use anteroom_ports::chat::{EmbedCall, EmbedReply, ProviderError};

use crate::chat::StreamEnd;
use crate::lock;
use crate::store::assert_no_open_unit;

/// What is answered without a script.
pub const DEFAULT_VECTORS: &str =
    r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]}],"model":"scripted"}"#;

#[derive(Debug, Default)]
struct State {
    answers: VecDeque<(Duration, Result<EmbedReply, ProviderError>)>,
    calls: Vec<(EmbedCall, StreamEnd)>,
}

/// Answers each call with what was scripted for it, in order; with an empty script, [`DEFAULT_VECTORS`] for 3 tokens.
#[derive(Debug, Default, Clone)]
pub struct ScriptedEmbedder {
    state: Arc<Mutex<State>>,
}

impl ScriptedEmbedder {
    /// With an empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next call not yet scripted is answered so, after this time.
    pub fn script(&self, delay: Duration, answer: Result<EmbedReply, ProviderError>) {
        lock(&self.state).answers.push_back((delay, answer));
    }

    /// Every call so far, oldest first, and how it ended.
    pub fn calls(&self) -> Vec<(EmbedCall, StreamEnd)> {
        lock(&self.state).calls.clone()
    }
}

/// Vectors that used this.
pub fn vectors(usage: Option<TokenUsage>) -> EmbedReply {
    EmbedReply {
        body: Bytes::from_static(DEFAULT_VECTORS.as_bytes()),
        usage,
        dropped: Vec::new(),
    }
}

/// Notes how a call ended, also when its future is dropped.
struct Guard(Arc<Mutex<State>>, usize);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        let end = &mut state.calls[self.1].1;
        if *end == StreamEnd::Running {
            *end = StreamEnd::Dropped;
        }
    }
}

#[async_trait]
impl Embedder for ScriptedEmbedder {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn embed(&self, call: EmbedCall) -> Result<EmbedReply, ProviderError> {
        assert_no_open_unit("asking for vectors");
        let (guard, script) = {
            let mut state = lock(&self.state);
            state.calls.push((call, StreamEnd::Running));
            (
                Guard(Arc::clone(&self.state), state.calls.len() - 1),
                state.answers.pop_front(),
            )
        };
        let usage = TokenUsage {
            prompt_tokens: 3,
            ..TokenUsage::default()
        };
        let (delay, answer) = script.unwrap_or_else(|| (Duration::ZERO, Ok(vectors(Some(usage)))));
        tokio::time::sleep(delay).await;
        lock(&self.state).calls[guard.1].1 = StreamEnd::Finished;
        answer
    }
}
