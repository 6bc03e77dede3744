//! `GET /v1/conversations/{id}/messages/{message}/stream`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::{FollowAnswer, FollowError};
use serde::Deserialize;

use super::message_events;
use crate::Api;
use crate::caller::{Known, request_id};
use crate::problem::Problem;
use crate::query;

/// From where on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FollowQuery {
    /// The `id` of the last event that one has. Absent: from the beginning. The header `Last-Event-ID` says the same, and
    /// goes before it.
    after: Option<usize>,
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::NotFound => Self::not_found("conversation"),
            FollowError::NoMessage => Self::not_found("answer"),
            FollowError::Store(e) => e.into(),
        }
    }
}

/// Take up an answer's stream: what came after an event is told again, and what comes is followed to the end. The events
/// are those of sending a message; of an answer that has ended, its text is one piece.
#[utoipa::path(get, path = "/v1/conversations/{id}/messages/{message}/stream", tag = "chat",
    params(("id" = uuid::Uuid, Path, description = "The conversation."), ("message" = uuid::Uuid, Path, description = "The answer."), FollowQuery),
    responses(
    (status = 200, description = "Server-sent events.", body = String, content_type = "text/event-stream"),
    (status = 204, description = "It has ended, and its end was read."),
))]
pub async fn handle(caller: Known, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let conversation_id = query::id(&request, "conversation")?;
    let message_id = query::named(&request, "message", "answer")?;
    let asked: FollowQuery = query::read(&request)?;
    let after = match request.headers().get("last-event-id") {
        Some(id) => Some(position(id.to_str().ok())?),
        None => asked.after,
    };
    let ask = FollowAnswer {
        conversation_id,
        message_id,
        after,
    };
    let (gone, watch) = api.watchers.watch(&request);
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let events = api
        .run(async move { chat.follow_answer(&who, ask, gone).await })
        .await?;
    Ok(match events {
        Some(events) => message_events::stream(&api, events, after, watch, request_id(&request)),
        None => HttpResponse::NoContent().finish(),
    })
}

fn position(id: Option<&str>) -> Result<usize, Problem> {
    let invalid = || query::invalid("`Last-Event-ID` is not one that this stream handed out".to_owned());
    id.and_then(|id| id.trim().parse().ok()).ok_or_else(invalid)
}
