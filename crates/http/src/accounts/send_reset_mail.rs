//! `POST /v1/admin/users/{id}/password/reset-mail`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_services::accounts::SendResetMailError;

use super::resend_verification::NextStepResponse;
use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

impl From<SendResetMailError> for Problem {
    fn from(error: SendResetMailError) -> Self {
        let refused = |status, code| Self::new(status, code, error.to_string());
        match error {
            SendResetMailError::NotFound => Self::not_found("user"),
            SendResetMailError::Forbidden => refused(StatusCode::FORBIDDEN, "forbidden"),
            SendResetMailError::Disabled => refused(StatusCode::CONFLICT, "account_disabled"),
            SendResetMailError::NoMailer => refused(StatusCode::CONFLICT, "mail_not_configured"),
            SendResetMailError::Store(e) => e.into(),
        }
    }
}

/// Mail a user a link that sets a new password. Nobody else sees the link.
#[utoipa::path(post, path = "/v1/admin/users/{id}/password/reset-mail", tag = "admin", params(("id" = uuid::Uuid, Path, description = "The user.")), responses(
    (status = 202, description = "`check_email`: the user is mailed.", body = NextStepResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`account_disabled`, `mail_not_configured`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = query::id(&request, "user")?;
    let (accounts, actor, client) = (
        Arc::clone(&api.accounts),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    api.run(async move { accounts.send_reset_mail(id, actor, &client).await })
        .await?;
    Ok(NextStepResponse::answer("check_email"))
}
