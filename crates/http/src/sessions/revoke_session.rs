//! `DELETE /v1/me/sessions/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::SessionId;
use anteroom_services::sessions::RevokeError;

use super::signed_out;
use crate::Api;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::NotFound => Self::not_found("session"),
            RevokeError::Store(e) => e.into(),
        }
    }
}

/// End one of one's sessions, with everything that carries it. The one that asks is logged out.
#[utoipa::path(delete, path = "/v1/me/sessions/{id}", tag = "sessions", params(("id" = uuid::Uuid, Path, description = "The session.")), responses(
    (status = 204, description = "It has ended; if it was the one that asked, its cookie is cleared."),
    (status = 404, description = "`not_found`: none, one that has ended, or somebody else's", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id: SessionId = query::id(&request, "session")?;
    let (sessions, live, client) = (Arc::clone(&api.sessions), Arc::clone(&caller.live), client(&request));
    if id == live.session.id {
        api.run(async move { sessions.log_out(&live.session, &client).await })
            .await?;
        return Ok(signed_out(&api, caller.via));
    }
    let user = live.user.id;
    api.run(async move { sessions.revoke(user, id, &client).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}
