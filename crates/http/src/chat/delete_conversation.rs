//! `DELETE /v1/conversations/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query;

/// Delete one of one's own conversations, with its messages.
#[utoipa::path(delete, path = "/v1/conversations/{id}", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    responses((status = 204, description = "Gone.")))]
pub async fn handle(caller: Known, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = query::id(&request, "conversation")?;
    let (chat, user) = (Arc::clone(&api.chat), caller.who.user().id);
    api.run(async move { chat.delete_conversation(user, id).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
