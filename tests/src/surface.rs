//! The ways in which a model is asked without a conversation, so that a test can take any of them.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// One of the ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// OpenAI's chat completions.
    ChatCompletions,
    /// OpenAI's older completions.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's embeddings, which are never streamed.
    Embeddings,
}

impl Surface {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
    ];

    /// Where it is.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// What is posted there to have a model answer this, in at most so many tokens.
    pub fn body(self, model: &str, said: &str, longest: i64, stream: bool) -> Value {
        let turns = || json!([{ "role": "user", "content": said }]);
        match self {
            Self::ChatCompletions | Self::Messages => {
                json!({ "model": model, "max_tokens": longest, "messages": turns(), "stream": stream })
            }
            Self::Completions => json!({ "model": model, "max_tokens": longest, "prompt": said, "stream": stream }),
            Self::Responses => json!({ "model": model, "max_output_tokens": longest, "input": said, "stream": stream }),
            Self::Embeddings => json!({ "model": model, "input": said }),
        }
    }

    /// Sends a token as the SDKs for it do.
    pub fn with_token(self, ask: RequestBuilder, token: &str) -> RequestBuilder {
        match self {
            Self::Messages => ask.header("x-api-key", token),
            _ => ask.bearer_auth(token),
        }
    }
}
