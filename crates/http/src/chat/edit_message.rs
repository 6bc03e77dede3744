//! `POST /v1/conversations/{id}/messages/{message}/edit`

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::EditMessage;
use serde::Deserialize;

use super::MessageResponse;
use super::send_message::{answer, content_limit};
use crate::Api;
use crate::body::Body;
use crate::caller::{Known, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What a user says instead.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditMessageRequest {
    /// What is said.
    #[schema(example = "What is an antechamber?")]
    content: String,
    /// Whether the answer is streamed.
    #[serde(default)]
    stream: bool,
}

/// Say something else instead of what one said: everything after it is taken back, and the new words are answered.
/// Answers and events are those of sending a message.
#[utoipa::path(post, path = "/v1/conversations/{id}/messages/{message}/edit", tag = "chat",
    params(("id" = uuid::Uuid, Path, description = "The conversation."), ("message" = uuid::Uuid, Path, description = "The user's message.")),
    request_body = EditMessageRequest, responses(
    (status = 200, description = "With `stream`: server-sent events.", body = String, content_type = "text/event-stream"),
    (status = 201, description = "The answer's message.", body = MessageResponse),
    (status = 402, description = "`quota_exceeded` or `subscription_inactive`; nothing was changed", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`conversation_busy` or `answer_not_kept`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let conversation_id = query::id(&request, "conversation")?;
    let message_id = query::named(&request, "message", "message")?;
    let (ask, bytes) = body.json::<EditMessageRequest>(content_limit(&api)).await?;
    let ask = EditMessage {
        conversation_id,
        message_id,
        content: ask.content,
        stream: ask.stream,
    };
    let (stream, who, from) = (ask.stream, caller.who.clone(), client(&request));
    answer(&caller, &api, &request, &bytes, stream, async move |chat, gone| {
        chat.edit_message(&who, &from, ask, gone).await
    })
    .await
}
