//! `POST /v1/me/email`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::accounts::ChangeEmailError;
use serde::Deserialize;

use super::resend_verification::NextStepResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};

/// The address that the account is to have.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeEmailRequest {
    /// E-mail address; unique, whatever its case.
    #[schema(example = "ada@example.com")]
    email: String,
}

impl From<ChangeEmailError> for Problem {
    fn from(error: ChangeEmailError) -> Self {
        match error {
            ChangeEmailError::TooLongAgo(e) => e.into(),
            ChangeEmailError::SessionOver(e) => e.into(),
            ChangeEmailError::Refused(faults) => Self::refused(faults),
            ChangeEmailError::EmailTaken => super::email_taken(),
            ChangeEmailError::TooMany => {
                let detail = "too many changes of address were asked for; try again in an hour";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(3600)
            }
            ChangeEmailError::Store(e) => e.into(),
        }
    }
}

/// Change one's address. The new one is mailed a link, and is the account's once that is followed; the present one is
/// told, and can stop or undo it for 72 hours.
#[utoipa::path(post, path = "/v1/me/email", tag = "accounts", request_body = ChangeEmailRequest, responses(
    (status = 202, description = "`verify_email`: follow the link that the new address was mailed.", body = NextStepResponse),
    (status = 403, description = "`reauthentication_required`: the last login is older than 10 minutes", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`email_taken`; not told where `accounts.require_verified_email` is on", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused address.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<ChangeEmailRequest>(api.options.max_json_bytes).await?;
    let (accounts, client) = (Arc::clone(&api.accounts), client(&request));
    api.run(async move { accounts.change_email(&caller.live, &ask.email, &client).await })
        .await?;
    Ok(NextStepResponse::answer("verify_email"))
}
