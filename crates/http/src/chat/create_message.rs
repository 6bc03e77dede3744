//! `POST /v1/messages`

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::Operation;
use serde::Serialize;
use serde_json::Value;

use super::dialects::anthropic::{Answer, Request};
use super::dialects::{self, Stamp};
use super::refusals::AnthropicRefusals;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::{AnthropicError, Problem};

/// Anthropic's message, whole or streamed, whichever provider answers. The token may come as `x-api-key`.
#[utoipa::path(post, path = "/v1/messages", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "Anthropic's request: `model`, `max_tokens`, `messages`, `system`, `tools`, `stream` and more; docs/API.md lists what is mapped, dropped and refused."),
    responses(
        (status = 200, description = "Anthropic's message; with `stream`, events, whose data are each an `AnthropicEvent`. A stream that breaks off ends with `error`.",
            content((AnthropicMessageSchema = "application/json"), (String = "text/event-stream")),
            headers(("anteroom-dropped-parameters" = String, description = "What of the request was not passed on."))),
        AnthropicRefusals,
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let asked = Request::read(&bytes, false)?;
    let answer = Answer::new(&Stamp::of(&request, &api), asked.model, asked.thinking);
    dialects::relay(caller, &api, &request, Operation::Messages, asked.call, answer).await
}

/// Anthropic's message. What else a provider of Anthropic's own says is there too.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AnthropicMessage)]
pub struct AnthropicMessageSchema {
    /// The message's id.
    pub id: String,
    /// Always this.
    #[schema(example = "message")]
    pub r#type: String,
    /// Always this.
    #[schema(example = "assistant")]
    pub role: String,
    /// The model, as its provider names it.
    pub model: String,
    /// What it says.
    pub content: Vec<AnthropicBlockSchema>,
    /// Why it ended, once it has: `end_turn`, `max_tokens`, `tool_use`, `refusal` or a word of Anthropic's.
    pub stop_reason: Option<String>,
    /// The sequence that ended it, where Anthropic says.
    pub stop_sequence: Option<String>,
    /// What it used so far.
    pub usage: AnthropicUsageSchema,
}

/// Tokens, as Anthropic counts them: what is cached stands beside the input.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AnthropicUsage)]
pub struct AnthropicUsageSchema {
    /// Tokens sent that no cache had.
    pub input_tokens: Option<i64>,
    /// Tokens sent that were written to the cache.
    pub cache_creation_input_tokens: Option<i64>,
    /// Tokens sent that the cache had.
    pub cache_read_input_tokens: Option<i64>,
    /// Tokens received.
    pub output_tokens: i64,
}

/// A part of a message.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AnthropicBlock)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicBlockSchema {
    /// Text.
    Text {
        /// What is said.
        text: String,
    },
    /// Thought.
    Thinking {
        /// What is thought, where that is shown.
        thinking: String,
        /// By which Anthropic knows it again; empty from other providers.
        signature: String,
    },
    /// Thought that is shown to nobody.
    RedactedThinking {
        /// It, encrypted.
        data: String,
    },
    /// A tool is called.
    ToolUse {
        /// The call.
        id: String,
        /// The tool.
        name: String,
        /// What it is called with.
        #[schema(value_type = Object)]
        input: Value,
    },
}

/// More of a part.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AnthropicDelta)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicDeltaSchema {
    /// More text.
    TextDelta {
        /// It.
        text: String,
    },
    /// More thought.
    ThinkingDelta {
        /// It.
        thinking: String,
    },
    /// Thought's signature.
    SignatureDelta {
        /// It.
        signature: String,
    },
    /// More of what a tool is called with.
    InputJsonDelta {
        /// A piece of JSON.
        partial_json: String,
    },
    /// Where something is quoted from.
    CitationsDelta {
        /// It.
        #[schema(value_type = Object)]
        citation: Value,
    },
}

/// How a message ended.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AnthropicEnding)]
pub struct AnthropicEndingSchema {
    /// Why.
    pub stop_reason: Option<String>,
    /// The sequence that ended it, where Anthropic says.
    pub stop_sequence: Option<String>,
}

/// The data of an event of a stream, which is named like its `type`. A stream ends with `message_stop`, or with `error` where
/// it breaks off.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AnthropicEvent)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnthropicEventSchema {
    /// The message begins.
    MessageStart {
        /// As it stands, without content.
        message: AnthropicMessageSchema,
    },
    /// A sign of life.
    Ping,
    /// A part begins.
    ContentBlockStart {
        /// Which.
        index: u64,
        /// As it stands.
        content_block: AnthropicBlockSchema,
    },
    /// It goes on.
    ContentBlockDelta {
        /// Which.
        index: u64,
        /// By this.
        delta: AnthropicDeltaSchema,
    },
    /// It is whole.
    ContentBlockStop {
        /// Which.
        index: u64,
    },
    /// The message is about to end.
    MessageDelta {
        /// How.
        delta: AnthropicEndingSchema,
        /// What it used.
        usage: AnthropicUsageSchema,
    },
    /// The message is whole.
    MessageStop,
    /// It broke off.
    Error {
        /// Why.
        error: AnthropicError,
        /// Under which the log has it.
        request_id: String,
    },
}
