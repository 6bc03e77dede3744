//! `GET /v1/conversations/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::ConversationResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query;

/// One of one's own conversations.
#[utoipa::path(get, path = "/v1/conversations/{id}", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    responses((status = 200, description = "The conversation.", body = ConversationResponse)))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<ConversationResponse>, Problem> {
    let id = query::id(&request, "conversation")?;
    let (chat, user) = (Arc::clone(&api.chat), caller.who.user().id);
    let conversation = api.run(async move { chat.get_conversation(user, id).await }).await?;
    Ok(web::Json((&conversation).into()))
}
