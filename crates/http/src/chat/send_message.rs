//! `POST /v1/conversations/{id}/messages`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::{Chat, MessageAnswer, SendMessage, SendMessageError};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{MessageResponse, message_events};
use crate::Api;
use crate::body::Body;
use crate::caller::{Known, client, request_id};
use crate::problem::{Problem, ProblemBody};
use crate::{idempotency, query};

/// What a user says.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessageRequest {
    /// What is said.
    #[schema(example = "What is an anteroom?")]
    content: String,
    /// Whether the answer is streamed.
    #[serde(default)]
    stream: bool,
}

impl From<SendMessageError> for Problem {
    fn from(error: SendMessageError) -> Self {
        let detail = error.to_string();
        match error {
            SendMessageError::NotFound => Self::not_found("conversation"),
            SendMessageError::NoMessage => Self::not_found("message"),
            SendMessageError::NotLast => Self::new(StatusCode::CONFLICT, "not_the_last_answer", detail),
            SendMessageError::Full(most) => {
                let detail = format!("{detail}; begin a new one");
                Self::new(StatusCode::CONFLICT, "conversation_full", detail).with("limit", most)
            }
            SendMessageError::Refused(faults) => Self::refused(faults),
            SendMessageError::Busy => Self::new(
                StatusCode::CONFLICT,
                "conversation_busy",
                "an answer is under way in this conversation; wait for it, or stop it",
            )
            .retry_after(1),
            SendMessageError::NoModel => Self::new(
                StatusCode::FORBIDDEN,
                "model_not_in_plan",
                "your plan has no model, or none is offered",
            ),
            SendMessageError::Chat(e) => e.into(),
            SendMessageError::Store(e) => e.into(),
        }
    }
}

/// Say something, and get the model's answer. Streamed, the events are `message.started {message}`,
/// `message.delta {message_id, text}`, and at the end `message.completed {message}` (sent after it is stored),
/// `message.cancelled {message}` (it was stopped) or `error {problem}`. Their data are the schemas `MessageEventData`,
/// `MessageDeltaEventData` and `ErrorEventData`. A stream whose line is lost can be taken up again.
#[utoipa::path(post, path = "/v1/conversations/{id}/messages", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    request_body = SendMessageRequest, responses(
    (status = 200, description = "With `stream`: server-sent events.", body = String, content_type = "text/event-stream"),
    (status = 201, description = "The answer's message; `cancelled` if it was stopped.", body = MessageResponse),
    (status = 402, description = "`quota_exceeded` or `subscription_inactive`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, description = "`model_not_in_plan` or `feature_not_in_plan`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`conversation_busy`, `conversation_full`, or `answer_not_kept`: it came too late, its conversation was deleted or another message took its turn", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let conversation_id = query::id(&request, "conversation")?;
    let (ask, bytes) = body.json::<SendMessageRequest>(content_limit(&api)).await?;
    let ask = SendMessage {
        conversation_id,
        content: ask.content,
        stream: ask.stream,
    };
    let (stream, who, from) = (ask.stream, caller.who.clone(), client(&request));
    answer(&caller, &api, &request, &bytes, stream, async move |chat, gone| {
        chat.send_message_from(&who, &from, ask, gone).await
    })
    .await
}

/// The largest body that holds a message: JSON may write a byte as six (`\u0041`).
pub(super) fn content_limit(api: &Api) -> usize {
    api.options.max_json_bytes.max(api.options.max_chat_bytes)
}

/// The answer to a question, whole (once per `Idempotency-Key`) or streamed.
pub(super) async fn answer<F>(
    caller: &Known,
    api: &web::Data<Api>,
    request: &HttpRequest,
    body: &[u8],
    stream: bool,
    ask: impl FnOnce(Arc<Chat>, CancellationToken) -> F,
) -> Result<HttpResponse, Problem>
where
    F: Future<Output = Result<MessageAnswer, SendMessageError>> + Send + 'static,
{
    let (gone, watch) = api.watchers.watch(request);
    let chat = Arc::clone(&api.chat);
    if stream {
        let answer = api.run(ask(chat, gone)).await?;
        let MessageAnswer::Stream(events) = answer else {
            return Err(Problem::internal("a stream was asked for"));
        };
        return Ok(message_events::stream(api, events, None, watch, request_id(request)));
    }
    let make = async |_| {
        let answer = api.run(ask(chat, gone)).await?;
        let MessageAnswer::Whole(message, window) = answer else {
            return Err(Problem::internal("a whole answer was asked for"));
        };
        Ok(MessageResponse::from(&message).shown(Some(window)))
    };
    idempotency::create(api, request, caller.who.user().id, body, make).await
}
