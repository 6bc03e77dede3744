//! `GET /v1/admin/users/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::UserDetailsResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// One user.
#[utoipa::path(get, path = "/v1/admin/users/{id}", tag = "admin", params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 200, description = "The user.", body = UserDetailsResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<UserDetailsResponse>, Problem> {
    let id = query::id(&request, "user")?;
    let accounts = Arc::clone(&api.accounts);
    let details = api.run(async move { accounts.show_user(id).await }).await?;
    let details = details.ok_or_else(|| Problem::not_found("user"))?;
    Ok(web::Json((&details).into()))
}
