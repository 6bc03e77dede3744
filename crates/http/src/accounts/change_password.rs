//! `POST /v1/me/password`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::accounts::ChangePasswordError;
use secrecy::SecretString;
use serde::Deserialize;

use crate::Api;
use crate::body::Body;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};

/// The password that is, and the one that is to be.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePasswordRequest {
    /// The account's password.
    #[schema(value_type = String, format = Password)]
    current_password: SecretString,
    /// 8 to 1024 bytes, not easy to guess.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    new_password: SecretString,
}

impl From<ChangePasswordError> for Problem {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::TooLongAgo(e) => e.into(),
            ChangePasswordError::SessionOver(e) => e.into(),
            ChangePasswordError::Refused(faults) => Self::refused(faults),
            ChangePasswordError::Blocked { retry_after_seconds } => Self::login_blocked(retry_after_seconds),
            ChangePasswordError::Hash(e) => e.into(),
            ChangePasswordError::Store(e) => e.into(),
        }
    }
}

/// Change one's password. All other sessions end.
#[utoipa::path(post, path = "/v1/me/password", tag = "accounts", request_body = ChangePasswordRequest, responses(
    (status = 204, description = "The password is changed; this session goes on."),
    (status = 403, description = "`reauthentication_required`: the last login is older than 10 minutes", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused password, the current one (`wrong_password`) or the new one; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "`login_blocked`: too many have failed", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<ChangePasswordRequest>(api.options.max_json_bytes).await?;
    let (accounts, client) = (Arc::clone(&api.accounts), client(&request));
    let change = async move {
        accounts
            .change_password(&caller.live, &ask.current_password, &ask.new_password, &client)
            .await
    };
    api.run(change).await?;
    Ok(HttpResponse::NoContent().finish())
}
