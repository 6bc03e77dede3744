//! `POST /v1/auth/sessions/revoke`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use anteroom_services::sessions::RevokeByLinkError;
use secrecy::SecretString;
use serde::Deserialize;

use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

/// What the page behind a mail's link sends.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeSessionRequest {
    /// The token of the link.
    #[schema(value_type = String)]
    token: SecretString,
}

impl From<RevokeByLinkError> for Problem {
    fn from(error: RevokeByLinkError) -> Self {
        match error {
            RevokeByLinkError::InvalidToken => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_token",
                "the link is unknown, used or expired; end the session among your own sessions instead",
            ),
            RevokeByLinkError::Store(e) => e.into(),
        }
    }
}

/// End the session that a mail told of, by the token in the mail's link. It works once, within 7 days.
#[utoipa::path(post, path = "/v1/auth/sessions/revoke", tag = "sessions", request_body = RevokeSessionRequest, responses(
    (status = 204, description = "The session has ended."),
    (status = 400, description = "`invalid_token`: unknown, used or expired", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<RevokeSessionRequest>(api.options.max_json_bytes).await?;
    let sessions = Arc::clone(&api.sessions);
    api.run(async move { sessions.revoke_by_link(&ask.token, &caller.client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
