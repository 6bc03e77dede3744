//! `POST /v1/auth/reauthenticate`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use anteroom_services::accounts::{ReauthenticateError, SessionOver, TooLongAgo};
use secrecy::SecretString;
use serde::Deserialize;

use crate::Api;
use crate::body::Body;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};
use crate::sessions::LoginResponse;

/// The proof.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReauthenticateRequest {
    /// The account's password.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

impl From<TooLongAgo> for Problem {
    fn from(_: TooLongAgo) -> Self {
        let detail = "this needs a login no older than 10 minutes; POST the password to /v1/auth/reauthenticate first";
        Self::new(StatusCode::FORBIDDEN, "reauthentication_required", detail)
    }
}

impl From<SessionOver> for Problem {
    fn from(_: SessionOver) -> Self {
        Self::unauthenticated()
    }
}

impl From<ReauthenticateError> for Problem {
    fn from(error: ReauthenticateError) -> Self {
        match error {
            ReauthenticateError::Wrong => Self::new(
                StatusCode::FORBIDDEN,
                "invalid_credentials",
                "this is not the account's password; the session goes on",
            ),
            ReauthenticateError::Blocked { retry_after_seconds } => Self::login_blocked(retry_after_seconds),
            ReauthenticateError::SessionOver(e) => e.into(),
            ReauthenticateError::Hash(e) => e.into(),
            ReauthenticateError::Store(e) => e.into(),
        }
    }
}

/// Prove again, within the session, who is there: for ten minutes what is sensitive is open.
///
/// A wrong password is 403 and not 401: the session is as good as before.
#[utoipa::path(post, path = "/v1/auth/reauthenticate", tag = "sessions", request_body = ReauthenticateRequest, responses(
    (status = 200, description = "Proven. No new token and no new cookie.", body = LoginResponse),
    (status = 403, description = "`invalid_credentials`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "`login_blocked`: too many have failed", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<LoginResponse>, Problem> {
    let (ask, _) = body.json::<ReauthenticateRequest>(api.options.max_json_bytes).await?;
    let (accounts, live, client) = (Arc::clone(&api.accounts), Arc::clone(&caller.live), client(&request));
    let session = api
        .run(async move { accounts.reauthenticate(&live, &ask.password, &client).await })
        .await?;
    Ok(web::Json(LoginResponse::without_tokens(&caller.live.user, &session)))
}
