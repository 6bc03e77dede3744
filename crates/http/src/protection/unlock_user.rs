//! `POST /v1/admin/users/{id}/unlock`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use anteroom_domain::audit::Actor;
use anteroom_services::protection::UnlockError;
use serde::Serialize;

use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What was forgotten.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = UnlockedUser)]
pub struct UnlockedUserResponse {
    /// Whether there were failed logins at all.
    cleared: bool,
}

impl From<UnlockError> for Problem {
    fn from(error: UnlockError) -> Self {
        match error {
            UnlockError::NotFound => Self::not_found("user"),
            UnlockError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", error.to_string()),
            UnlockError::Store(e) => e.into(),
        }
    }
}

/// Forget a user's failed logins, so that they can log in at once.
#[utoipa::path(post, path = "/v1/admin/users/{id}/unlock", tag = "admin", params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 200, description = "They are forgotten.", body = UnlockedUserResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<UnlockedUserResponse>, Problem> {
    let id = query::id(&request, "user")?;
    let (protection, actor, client) = (
        Arc::clone(&api.protection),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    let cleared = api
        .run(async move { protection.unlock_user(id, actor, &client).await })
        .await?;
    Ok(web::Json(UnlockedUserResponse { cleared }))
}
