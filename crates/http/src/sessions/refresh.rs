//! `POST /v1/auth/refresh`

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::sessions::RefreshError;
use secrecy::SecretString;
use serde::Deserialize;

use super::{LoginResponse, login_answer, set_cookie};
use crate::Api;
use crate::body::Body;
use crate::caller::{Anonymous, Presented, presented, sign_in};
use crate::problem::{Problem, ProblemBody};

/// What a token client says; a cookie client sends no body.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token of the last answer.
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_refresh_token",
                "the refresh token is invalid, expired or revoked; log in again",
            ),
            RefreshError::Store(e) => e.into(),
        }
    }
}

/// Exchange a refresh token for new tokens, or renew a cookie.
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "sessions", request_body = Option<RefreshRequest>, responses(
    (status = 200, description = "Both tokens new; or, by cookie, the cookie renewed.", body = LoginResponse),
    (status = 401, description = "`invalid_refresh_token`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Anonymous,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    if let Some(ask) = body.optional_json::<RefreshRequest>(api.options.max_json_bytes).await? {
        let sessions = Arc::clone(&api.sessions);
        let grant = api
            .run(async move { sessions.refresh(&ask.refresh_token, &caller.client).await })
            .await?;
        return Ok(login_answer(&api, StatusCode::OK, &grant));
    }
    let Some(Presented::Cookie(value)) = presented(&request, &api.options.cookie.name) else {
        let detail = "send `{\"refresh_token\": …}`, or the session cookie and no body";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_refresh_token", detail));
    };
    let live = sign_in(&request).await?.live;
    // The session's life is absolute, so renewing the cookie lets it live as long as the session and no longer.
    let age = api.sessions.seconds_left(&live.session);
    let renewed = set_cookie(&api.options.cookie, &value, age);
    let body = LoginResponse::without_tokens(&live.user, &live.session);
    Ok(HttpResponse::Ok()
        .insert_header((header::SET_COOKIE, renewed))
        .json(body))
}
