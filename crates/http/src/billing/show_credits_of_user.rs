//! `GET /v1/admin/users/{id}/credits`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::UserId;

use super::credits::CreditsResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What a user has of credits.
#[utoipa::path(get, path = "/v1/admin/users/{id}/credits", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 200, description = "The credits.", body = CreditsResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<CreditsResponse>, Problem> {
    let user: UserId = query::id(&request, "user")?;
    let billing = Arc::clone(&api.billing);
    let shown = api.run(async move { billing.show_credits_of(user).await }).await?;
    Ok(web::Json(shown.into()))
}
