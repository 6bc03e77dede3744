//! `POST /v1/chat/completions`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::Operation;
use anteroom_services::chat::{ChatAnswer, Relayed};
use bytes::Bytes;

use super::dropped::Dropped;
use super::rates::announce;
use super::refusals::OpenAiRefusals;
use super::{manner, marked};
use crate::Api;
use crate::body::Body;
use crate::caller::{Known, request_id};
use crate::problem::Problem;
use crate::sse;

/// OpenAI's chat completion, whole or streamed. What Anteroom does not know travels both ways untouched.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `messages`, `stream` and whatever the provider knows."),
    responses(
        (status = 200, description = "OpenAI's answer; with `stream`, `data:` events, each a `ChatCompletionChunk`, and `[DONE]`. After an error event the body ends without `[DONE]`.",
            headers(("anteroom-dropped-parameters" = String, description = "The parameters that the model's provider could not be told, or that the assistant fixes, where there are any."),
                ("anteroom-cache" = String, description = "`hit` or `miss`, where answers like this one are kept.")),
            content((ChatCompletionSchema = "application/json"), (String = "text/event-stream"))),
        OpenAiRefusals,
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let manner = manner(&request, Operation::ChatCompletions);
    let (gone, watch) = api.watchers.watch(&request);
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let answer = api
        .run_call(bytes.len(), async move {
            chat.complete_chat_as(&who, &bytes, None, gone, manner).await
        })
        .await?;
    let (answer, rates) = match answer {
        ChatAnswer::Whole {
            body,
            dropped,
            rates,
            cache,
        } => {
            let answer = HttpResponse::Ok().content_type("application/json").body(body);
            (marked(Dropped::default().name_in(answer, &dropped), cache), rates)
        }
        ChatAnswer::Stream {
            events,
            dropped,
            rates,
            cache,
        } => {
            let id = request_id(&request);
            let answer = sse::response(events, watch, api.options.heartbeat, move |item| frame(item, &id));
            (marked(Dropped::default().name_in(answer, &dropped), cache), rates)
        }
    };
    Ok(announce(answer, &request, &api, rates))
}

fn frame(item: Relayed, request_id: &str) -> Bytes {
    match item {
        Relayed::Chunk(data) => sse::data(&data),
        Relayed::Done => Bytes::from_static(b"data: [DONE]\n\n"),
        Relayed::Failed(error) => sse::data(Problem::from(*error).openai_body(request_id).to_string().as_bytes()),
    }
}

/// A whole answer, as OpenAI documents it. What else the provider says is there too.
#[derive(utoipa::ToSchema)]
#[schema(as = ChatCompletion)]
pub struct ChatCompletionSchema {
    /// The provider's name for the answer.
    pub id: Option<String>,
    /// Always this.
    #[schema(example = "chat.completion")]
    pub object: Option<String>,
    /// When, in Unix seconds.
    pub created: Option<i64>,
    /// The model, as the provider names it.
    pub model: Option<String>,
    /// The answers: one, unless `n` asked for more.
    pub choices: Vec<ChatChoiceSchema>,
    /// What it used, where the provider says.
    pub usage: Option<ChatUsageSchema>,
}

/// One answer.
#[derive(utoipa::ToSchema)]
#[schema(as = ChatChoice)]
pub struct ChatChoiceSchema {
    /// Which one.
    pub index: Option<i64>,
    /// What the model says: `role`, `content`, `tool_calls` and whatever else the provider adds.
    #[schema(value_type = Object)]
    pub message: serde_json::Value,
    /// Why it ended: `stop`, `length`, `tool_calls`, `content_filter`, or a word of the provider's.
    pub finish_reason: Option<String>,
}

/// The data of one event of a stream, as OpenAI documents it. What else the provider says is there too. The last event
/// is `[DONE]`; one that breaks off ends with an `OpenAiErrorBody` instead.
#[derive(utoipa::ToSchema)]
#[schema(as = ChatCompletionChunk)]
pub struct ChatCompletionChunkSchema {
    /// The provider's name for the answer, the same in all its chunks.
    pub id: Option<String>,
    /// Always this.
    #[schema(example = "chat.completion.chunk")]
    pub object: Option<String>,
    /// When, in Unix seconds.
    pub created: Option<i64>,
    /// The model, as the provider names it.
    pub model: Option<String>,
    /// What is added to which answer; empty in the chunk that says what was used.
    pub choices: Vec<ChatChunkChoiceSchema>,
    /// What it used, in the last chunk, if `stream_options.include_usage` asked.
    pub usage: Option<ChatUsageSchema>,
}

/// What is added to an answer.
#[derive(utoipa::ToSchema)]
#[schema(as = ChatChunkChoice)]
pub struct ChatChunkChoiceSchema {
    /// Which one.
    pub index: Option<i64>,
    /// What is added: pieces of `content`, of `tool_calls` and whatever else the provider adds.
    #[schema(value_type = Object)]
    pub delta: serde_json::Value,
    /// Why it ended, once it has.
    pub finish_reason: Option<String>,
}

/// Tokens, as OpenAI counts them.
#[derive(utoipa::ToSchema)]
#[schema(as = ChatUsage)]
pub struct ChatUsageSchema {
    /// Tokens sent, cached ones included.
    pub prompt_tokens: i64,
    /// Tokens received, reasoning included.
    pub completion_tokens: i64,
    /// Their sum.
    pub total_tokens: Option<i64>,
}
