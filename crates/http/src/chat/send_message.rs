//! `POST /v1/conversations/{id}/messages`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::{MessageAnswer, MessageEvent, SendMessage, SendMessageError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MessageResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::{Known, request_id};
use crate::problem::{Problem, ProblemBody};
use crate::{idempotency, query, sse};

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

/// The data of `message.started` and `message.completed`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MessageEventData {
    /// The message as it stands.
    message: MessageResponse,
}

/// The data of `message.delta`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MessageDeltaEventData {
    /// The message that goes on.
    message_id: uuid::Uuid,
    /// More of its text.
    text: String,
}

/// The data of `error`, which ends a stream.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorEventData {
    /// What went wrong.
    #[schema(value_type = ProblemBody)]
    problem: Value,
}

impl From<SendMessageError> for Problem {
    fn from(error: SendMessageError) -> Self {
        match error {
            SendMessageError::NotFound => Self::not_found("conversation"),
            SendMessageError::Refused(faults) => Self::refused(faults),
            SendMessageError::Busy => Self::new(
                StatusCode::CONFLICT,
                "conversation_busy",
                "an answer is under way in this conversation; wait for it",
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
/// `message.delta {message_id, text}`, `message.completed {message}` (sent after it is stored) or `error {problem}`. Their
/// data are the schemas `MessageEventData`, `MessageDeltaEventData` and `ErrorEventData`.
#[utoipa::path(post, path = "/v1/conversations/{id}/messages", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    request_body = SendMessageRequest, responses(
    (status = 200, description = "With `stream`: server-sent events.", body = String, content_type = "text/event-stream"),
    (status = 201, description = "The answer's message.", body = MessageResponse),
    (status = 402, description = "`quota_exceeded` or `subscription_inactive`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, description = "`model_not_in_plan`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`conversation_busy`, or `answer_not_kept`: it came too late, its conversation was deleted or another message took its turn", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let conversation_id = query::id(&request, "conversation")?;
    // JSON may write a byte as six (`\u0041`), so the body may be larger than the message.
    let limit = api.options.max_json_bytes.max(api.options.max_chat_bytes);
    let (ask, bytes) = body.json::<SendMessageRequest>(limit).await?;
    let ask = SendMessage {
        conversation_id,
        content: ask.content,
        stream: ask.stream,
    };
    let (gone, watch) = api.watchers.watch(&request);
    let (chat, user, who) = (Arc::clone(&api.chat), caller.who.user().id, caller.who);
    if ask.stream {
        let answer = api.run(async move { chat.send_message(&who, ask, gone).await }).await?;
        let MessageAnswer::Stream(events) = answer else {
            return Err(Problem::internal("a stream was asked for"));
        };
        let id = request_id(&request);
        return Ok(sse::response(events, watch, api.options.heartbeat, move |event| {
            frame(event, &id)
        }));
    }
    let make = async |_| {
        let answer = api.run(async move { chat.send_message(&who, ask, gone).await }).await?;
        let MessageAnswer::Whole(message) = answer else {
            return Err(Problem::internal("a whole answer was asked for"));
        };
        Ok(MessageResponse::from(&message))
    };
    idempotency::create(&api, &request, user, &bytes, make).await
}

fn frame(event: MessageEvent, request_id: &str) -> Bytes {
    let whole = |name, message| {
        let message = MessageResponse::from(message);
        sse::event(name, &MessageEventData { message })
    };
    match event {
        MessageEvent::Started(message) => whole("message.started", &message),
        MessageEvent::Delta(id, text) => {
            let message_id = id.0;
            sse::event("message.delta", &MessageDeltaEventData { message_id, text })
        }
        MessageEvent::Completed(message) => whole("message.completed", &message),
        MessageEvent::Failed(error) => {
            let problem = Problem::from(error).body(request_id);
            sse::event("error", &ErrorEventData { problem })
        }
    }
}
