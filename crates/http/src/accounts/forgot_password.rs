//! `POST /v1/auth/password/forgot`

use std::sync::Arc;

use actix_web::{HttpResponse, web};

use super::resend_verification::{EmailRequest, NextStepResponse};
use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

/// Mail a link that sets a new password. The answer, and the time it takes, are the same whether or not there is an
/// account; an account is mailed 5 an hour at most.
#[utoipa::path(post, path = "/v1/auth/password/forgot", tag = "accounts", request_body = EmailRequest, responses(
    (status = 202, description = "`check_email`: if there is such an account, it is mailed.", body = NextStepResponse),
    (status = 422, description = "What was sent is no address.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<EmailRequest>(api.options.max_json_bytes).await?;
    let (accounts, email) = (Arc::clone(&api.accounts), ask.email()?);
    api.run(async move { accounts.request_password_reset(&email, &caller.client).await })
        .await?;
    Ok(NextStepResponse::answer("check_email"))
}
