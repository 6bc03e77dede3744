//! `GET /v1/admin/users/{id}/overrides`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::UserId;
use serde::Serialize;

use super::grant_override::OverrideResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// Everything that was granted to somebody.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OverrideList {
    /// Newest first, with what is over.
    data: Vec<OverrideResponse>,
}

/// What was granted to a user, with what expired or was taken back.
#[utoipa::path(get, path = "/v1/admin/users/{id}/overrides", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 200, description = "All of it.", body = OverrideList),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<OverrideList>, Problem> {
    let user_id: UserId = query::id(&request, "user")?;
    let billing = Arc::clone(&api.billing);
    let granted = api.run(async move { billing.list_overrides(user_id).await }).await?;
    let data = granted
        .into_iter()
        .map(|(granted, revoked)| OverrideResponse::new(granted, revoked));
    Ok(web::Json(OverrideList { data: data.collect() }))
}
