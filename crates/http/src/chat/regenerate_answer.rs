//! `POST /v1/conversations/{id}/messages/{message}/regenerate`

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::RegenerateAnswer;
use serde::Deserialize;

use super::MessageResponse;
use super::send_message::answer;
use crate::Api;
use crate::body::Body;
use crate::caller::{Known, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// How the new answer is given.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegenerateAnswerRequest {
    /// Whether it is streamed.
    #[serde(default)]
    stream: bool,
}

/// Ask again what the conversation's last message answers. The new answer takes the place of the old one once it has
/// ended; if nothing comes of it, the old one stays. Answers and events are those of sending a message.
#[utoipa::path(post, path = "/v1/conversations/{id}/messages/{message}/regenerate", tag = "chat",
    params(("id" = uuid::Uuid, Path, description = "The conversation."), ("message" = uuid::Uuid, Path, description = "Its last message: an answer.")),
    request_body = Option<RegenerateAnswerRequest>, responses(
    (status = 200, description = "With `stream`: server-sent events.", body = String, content_type = "text/event-stream"),
    (status = 201, description = "The new answer's message.", body = MessageResponse),
    (status = 402, description = "`quota_exceeded` or `subscription_inactive`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`conversation_busy`, `not_the_last_answer` or `answer_not_kept`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let conversation_id = query::id(&request, "conversation")?;
    let message_id = query::named(&request, "message", "message")?;
    let ask = body
        .optional_json::<RegenerateAnswerRequest>(api.options.max_json_bytes)
        .await?;
    let stream = ask.unwrap_or_default().stream;
    let ask = RegenerateAnswer {
        conversation_id,
        message_id,
        stream,
    };
    let (who, from) = (caller.who.clone(), client(&request));
    // What tells one from another stands in the path.
    let told = if stream { "stream" } else { "" };
    answer(
        &caller,
        &api,
        &request,
        told.as_bytes(),
        stream,
        async move |chat, gone| chat.regenerate_answer(&who, &from, ask, gone).await,
    )
    .await
}
