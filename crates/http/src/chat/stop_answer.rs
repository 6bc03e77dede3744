//! `POST /v1/conversations/{id}/stop`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::MessageResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query;

/// End the answer that is under way, on whichever node. What came of it is kept.
#[utoipa::path(post, path = "/v1/conversations/{id}/stop", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    responses(
    (status = 200, description = "The answer's message: `cancelled`, or what it became before that. Still `in_progress` if what writes it does not answer.", body = MessageResponse),
    (status = 204, description = "None was under way."),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = query::id(&request, "conversation")?;
    body.nothing().await?;
    let (chat, user) = (Arc::clone(&api.chat), caller.who.user().id);
    let stopped = api.run(async move { chat.stop_answer(user, id).await }).await?;
    Ok(match stopped {
        Some(message) => HttpResponse::Ok().json(MessageResponse::from(&message)),
        None => HttpResponse::NoContent().finish(),
    })
}
