//! `GET /v1/conversations/{id}/messages`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::MessageResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// What was said, oldest first.
#[utoipa::path(get, path = "/v1/conversations/{id}/messages", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation."), PageQuery),
    responses((status = 200, description = "A page of messages.", body = List<MessageResponse>)))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<MessageResponse>>, Problem> {
    let id = query::id(&request, "conversation")?;
    let page: PageQuery = query::read(&request)?;
    let (after, limit) = (page.after()?, page.limit()?);
    let (chat, user) = (Arc::clone(&api.chat), caller.who.user().id);
    let found = api
        .run(async move { chat.list_messages(user, id, after, limit).await })
        .await?;
    let next_cursor = found.items.last().filter(|_| found.more).map(|m| m.id.to_string());
    Ok(web::Json(List {
        data: found.items.iter().map(Into::into).collect(),
        next_cursor,
    }))
}
