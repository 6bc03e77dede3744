//! `POST /v1/auth/email/verify`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use anteroom_services::accounts::TokenError;
use secrecy::SecretString;
use serde::Deserialize;

use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

/// The token of a mailed link: what stands behind `#token=`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenRequest)]
pub struct TokenRequest {
    /// As it was mailed; good for one use.
    #[schema(value_type = String)]
    pub(super) token: SecretString,
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::invalid_token(),
            TokenError::EmailTaken => super::email_taken(),
            TokenError::Store(e) => e.into(),
        }
    }
}

/// Prove an address: the account's own, or the one it is to have.
#[utoipa::path(post, path = "/v1/auth/email/verify", tag = "accounts", request_body = TokenRequest, responses(
    (status = 204, description = "The address is proven; if it is a new one, it is the account's from now on."),
    (status = 400, description = "`invalid_token`: unknown, used or expired", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`email_taken`: somebody else has the new address meanwhile", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<TokenRequest>(api.options.max_json_bytes).await?;
    let accounts = Arc::clone(&api.accounts);
    api.run(async move { accounts.verify_email(&ask.token, &caller.client).await })
        .await?;
    Ok(HttpResponse::build(StatusCode::NO_CONTENT).finish())
}
