//! `DELETE /v1/me`

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::Timestamp;
use anteroom_domain::sessions::Transport;
use anteroom_services::accounts::DeleteAccountError;
use serde::Serialize;

use crate::Api;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};
use crate::sessions::set_cookie;

/// When the account is erased.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeletionResponse {
    /// Logging in before takes it back.
    delete_after: Timestamp,
}

impl From<DeleteAccountError> for Problem {
    fn from(error: DeleteAccountError) -> Self {
        match error {
            DeleteAccountError::TooLongAgo(e) => e.into(),
            DeleteAccountError::SessionOver(e) => e.into(),
            DeleteAccountError::LastAdmin => Self::last_admin(),
            DeleteAccountError::Store(e) => e.into(),
        }
    }
}

/// Delete one's account. It is signed out everywhere and its subscription is cancelled at once; it is erased after a
/// grace time (14 days unless configured otherwise), in which logging in takes the deletion back.
#[utoipa::path(delete, path = "/v1/me", tag = "accounts", responses(
    (status = 202, description = "It will be erased.", body = DeletionResponse),
    (status = 403, description = "`reauthentication_required`: the last login is older than 10 minutes", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`last_admin`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (accounts, live, client) = (Arc::clone(&api.accounts), Arc::clone(&caller.live), client(&request));
    let delete_after = api
        .run(async move { accounts.delete_account(&live, &client).await })
        .await?;
    let mut answer = HttpResponse::build(StatusCode::ACCEPTED);
    if caller.via == Transport::Cookie {
        answer.insert_header((header::SET_COOKIE, set_cookie(&api.options.cookie, "", 0)));
    }
    Ok(answer.json(DeletionResponse { delete_after }))
}
