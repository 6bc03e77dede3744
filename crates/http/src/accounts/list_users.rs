//! `GET /v1/admin/users`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::UserResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// All users, newest first.
#[utoipa::path(get, path = "/v1/admin/users", tag = "admin", params(PageQuery), responses((status = 200, description = "A page of users.", body = List<UserResponse>)))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<UserResponse>>, Problem> {
    let page: PageQuery = query::read(&request)?;
    let (before, limit) = (page.after()?, page.limit()?);
    let accounts = Arc::clone(&api.accounts);
    let users = api.run(async move { accounts.list_users(before, limit).await }).await?;
    let next_cursor = users.items.last().filter(|_| users.more).map(|u| u.id.to_string());
    Ok(web::Json(List {
        data: users.items.iter().map(Into::into).collect(),
        next_cursor,
    }))
}
