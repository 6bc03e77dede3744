//! `GET /v1/conversations`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::ConversationResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// One's own conversations, newest first.
#[utoipa::path(get, path = "/v1/conversations", tag = "chat", params(PageQuery), responses((status = 200, description = "A page of conversations.", body = List<ConversationResponse>)))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<ConversationResponse>>, Problem> {
    let page: PageQuery = query::read(&request)?;
    let (before, limit) = (page.after()?, page.limit()?);
    let (chat, user) = (Arc::clone(&api.chat), caller.who.user().id);
    let found = api
        .run(async move { chat.list_conversations(user, before, limit).await })
        .await?;
    let next_cursor = found.items.last().filter(|_| found.more).map(|c| c.id.to_string());
    Ok(web::Json(List {
        data: found.items.iter().map(Into::into).collect(),
        next_cursor,
    }))
}
