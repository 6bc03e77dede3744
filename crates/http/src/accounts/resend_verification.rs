//! `POST /v1/auth/email/resend`

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use anteroom_domain::accounts::Email;
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{FieldError, Problem, ProblemBody};

/// An address that is to be mailed.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailRequest {
    /// The account's address.
    #[schema(example = "ada@example.com")]
    email: String,
}

impl EmailRequest {
    /// The address, or what is wrong with it. Its form tells nothing of whether there is an account.
    pub(super) fn email(&self) -> Result<Email, Problem> {
        Email::parse(&self.email).map_err(|e| {
            Problem::invalid(vec![FieldError {
                pointer: "/email".to_owned(),
                code: "invalid_email".to_owned(),
                detail: e.to_string(),
            }])
        })
    }
}

/// What there is to do next.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NextStepResponse {
    /// `verify_email`: follow the link in the mail. `check_email`: if the address has an account, it has mail now.
    #[schema(example = "verify_email")]
    pub(super) status: &'static str,
}

impl NextStepResponse {
    pub(super) fn answer(status: &'static str) -> HttpResponse {
        HttpResponse::Accepted().json(Self { status })
    }
}

/// Mail another link that proves the account's address. The answer is the same whether or not there is an account that
/// needs one; an account is mailed 5 an hour at most.
#[utoipa::path(post, path = "/v1/auth/email/resend", tag = "accounts", request_body = EmailRequest, responses(
    (status = 202, description = "`check_email`: if there is such an account with an unproven address, it is mailed.", body = NextStepResponse),
    (status = 422, description = "What was sent is no address.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<EmailRequest>(api.options.max_json_bytes).await?;
    let (accounts, email) = (Arc::clone(&api.accounts), ask.email()?);
    api.run(async move { accounts.resend_verification(&email, &caller.client).await })
        .await?;
    Ok(NextStepResponse::answer("check_email"))
}
