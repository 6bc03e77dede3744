//! `PATCH /v1/admin/users/{id}`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use anteroom_domain::UserId;
use anteroom_domain::audit::Actor;
use anteroom_services::accounts::{ChangeUser, ChangeUserError};
use serde::Deserialize;

use super::{RoleChoice, UserDetailsResponse};
use crate::Api;
use crate::body::{Body, present};
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What is to change; what is absent stays. Nobody sets another's password or address.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUserRequest {
    /// What the user may do.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = RoleChoice, required = false)]
    role: Option<RoleChoice>,
    /// Whether the account is closed: it cannot be logged in to, and its sessions end at once.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool, required = false)]
    disabled: Option<bool>,
    /// A name to show; `null` for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    /// A BCP 47 language tag; there is always one, so it cannot be `null`.
    #[serde(default, deserialize_with = "present")]
    #[schema(example = "de", value_type = String, required = false)]
    locale: Option<String>,
}

impl From<ChangeUserError> for Problem {
    fn from(error: ChangeUserError) -> Self {
        let text = error.to_string();
        match error {
            ChangeUserError::NotFound => Self::not_found("user"),
            ChangeUserError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", text),
            ChangeUserError::LastAdmin => Self::new(StatusCode::CONFLICT, "last_admin", text),
            ChangeUserError::Refused(faults) => Self::refused(faults),
            ChangeUserError::Store(e) => e.into(),
        }
    }
}

/// Change a user's role, close or open their account, correct their name or language.
#[utoipa::path(patch, path = "/v1/admin/users/{id}", tag = "admin", params(("id" = uuid::Uuid, Path, description = "The user.")), request_body = ChangeUserRequest, responses(
    (status = 200, description = "The user, changed.", body = UserDetailsResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`last_admin`: nobody could administer this place any more", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<UserDetailsResponse>, Problem> {
    let id: UserId = query::id(&request, "user")?;
    let (ask, _) = body.json::<ChangeUserRequest>(api.options.max_json_bytes).await?;
    let change = ChangeUser {
        role: ask.role.map(Into::into),
        disabled: ask.disabled,
        name: ask.name,
        locale: ask.locale,
    };
    let (accounts, actor, client) = (
        Arc::clone(&api.accounts),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    let details = api
        .run(async move {
            accounts.change_user(id, change, actor, &client).await?;
            Ok::<_, ChangeUserError>(accounts.show_user(id).await?)
        })
        .await?;
    let details = details.ok_or_else(|| Problem::not_found("user"))?;
    Ok(web::Json((&details).into()))
}
