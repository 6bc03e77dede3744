//! `POST /v1/auth/password/reset`

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use anteroom_services::accounts::ResetPasswordError;
use secrecy::SecretString;
use serde::Deserialize;

use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

/// A mailed token and what is to be the password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPasswordRequest {
    /// As it was mailed; good for one use within 30 minutes.
    #[schema(value_type = String)]
    token: SecretString,
    /// 8 to 1024 bytes, not easy to guess.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    password: SecretString,
}

impl From<ResetPasswordError> for Problem {
    fn from(error: ResetPasswordError) -> Self {
        match error {
            ResetPasswordError::InvalidToken => Self::invalid_token(),
            ResetPasswordError::Refused(faults) => Self::refused(faults),
            ResetPasswordError::Hash(e) => e.into(),
            ResetPasswordError::Store(e) => e.into(),
        }
    }
}

/// Set a new password with a mailed link. Every session of the account ends. A refused password leaves the link good.
#[utoipa::path(post, path = "/v1/auth/password/reset", tag = "accounts", request_body = ResetPasswordRequest, responses(
    (status = 204, description = "The password is set; log in with it."),
    (status = 400, description = "`invalid_token`: unknown, used or expired", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused password; `errors` says by which rule.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<ResetPasswordRequest>(api.options.max_json_bytes).await?;
    let accounts = Arc::clone(&api.accounts);
    api.run(async move { accounts.reset_password(&ask.token, &ask.password, &caller.client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
