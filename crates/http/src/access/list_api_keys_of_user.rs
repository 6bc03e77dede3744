//! `GET /v1/admin/users/{id}/api-keys`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::UserId;

use super::ApiKeyResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query::{self, List, PageQuery};

/// A user's API keys, newest first, without their secrets.
#[utoipa::path(get, path = "/v1/admin/users/{id}/api-keys", tag = "admin", params(("id" = uuid::Uuid, Path, description = "The user."), PageQuery), responses(
    (status = 200, description = "A page of the user's keys.", body = List<ApiKeyResponse>),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<ApiKeyResponse>>, Problem> {
    let id: UserId = query::id(&request, "user")?;
    let query: PageQuery = query::read(&request)?;
    let (before, limit) = (query.after()?, query.limit()?);
    let access = Arc::clone(&api.access);
    let page = api
        .run(async move { access.list_api_keys(id, before, limit).await })
        .await?;
    Ok(web::Json(super::page(page)))
}
