//! `POST /v1/admin/users/{id}/sessions/revoke`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use anteroom_domain::UserId;
use anteroom_domain::audit::Actor;
use anteroom_services::sessions::EndSessionsError;
use serde::Serialize;

use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What was ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EndedSessions)]
pub struct EndedSessionsResponse {
    /// How many sessions were open.
    #[schema(example = 2)]
    ended: usize,
}

impl From<EndSessionsError> for Problem {
    fn from(error: EndSessionsError) -> Self {
        match error {
            EndSessionsError::NotFound => Self::not_found("user"),
            EndSessionsError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", error.to_string()),
            EndSessionsError::Store(e) => e.into(),
        }
    }
}

/// End all sessions of a user: cookies, tokens and running streams.
#[utoipa::path(post, path = "/v1/admin/users/{id}/sessions/revoke", tag = "admin", params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 200, description = "They have ended.", body = EndedSessionsResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<EndedSessionsResponse>, Problem> {
    let id: UserId = query::id(&request, "user")?;
    let (sessions, actor, client) = (
        Arc::clone(&api.sessions),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    let ended = api
        .run(async move { sessions.end_sessions_of_user(id, actor, &client).await })
        .await?;
    Ok(web::Json(EndedSessionsResponse { ended }))
}
