//! `PATCH /v1/me`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_services::accounts::{ChangeProfile, ChangeProfileError};
use serde::Deserialize;

use super::UserResponse;
use crate::Api;
use crate::body::{Body, present};
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};

/// What is to change; what is absent stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMeRequest {
    /// A name to show; `null` for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    /// A BCP 47 language tag; there is always one, so it cannot be `null`.
    #[serde(default, deserialize_with = "present")]
    #[schema(example = "de", value_type = String, required = false)]
    locale: Option<String>,
}

impl From<ChangeProfileError> for Problem {
    fn from(error: ChangeProfileError) -> Self {
        match error {
            ChangeProfileError::NotFound => Self::unauthenticated(),
            ChangeProfileError::Refused(faults) => Self::refused(faults),
            ChangeProfileError::Store(e) => e.into(),
        }
    }
}

/// Change one's name or language.
#[utoipa::path(patch, path = "/v1/me", tag = "accounts", request_body = ChangeMeRequest, responses(
    (status = 200, description = "The user, changed.", body = UserResponse),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<UserResponse>, Problem> {
    let (ask, _) = body.json::<ChangeMeRequest>(api.options.max_json_bytes).await?;
    let change = ChangeProfile {
        name: ask.name,
        locale: ask.locale,
    };
    let (accounts, id, client) = (Arc::clone(&api.accounts), caller.live.user.id, client(&request));
    let user = api
        .run(async move { accounts.change_profile(id, change, &client).await })
        .await?;
    Ok(web::Json((&user).into()))
}
