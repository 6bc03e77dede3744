//! `POST /v1/auth/email/undo`

use std::sync::Arc;

use actix_web::{HttpResponse, web};

use super::verify_email::TokenRequest;
use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

/// Stop or take back a change of address, with the link that the former address was mailed. Every session ends, and a
/// link for a new password is mailed to that address.
#[utoipa::path(post, path = "/v1/auth/email/undo", tag = "accounts", request_body = TokenRequest, responses(
    (status = 204, description = "The account has the former address."),
    (status = 400, description = "`invalid_token`: unknown, used or expired", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`email_taken`: somebody else has it", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Anonymous, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<TokenRequest>(api.options.max_json_bytes).await?;
    let accounts = Arc::clone(&api.accounts);
    api.run(async move { accounts.undo_email_change(&ask.token, &caller.client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
