//! `PATCH /v1/me/api-keys/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::Timestamp;
use anteroom_services::access::{ChangeApiKey, ChangeKeyError};
use serde::Deserialize;

use super::{ApiKeyResponse, BudgetRequest};
use crate::Api;
use crate::body::{Body, present};
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What is to change; what is absent stays, `null` takes a limit away.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeApiKeyRequest {
    /// The name; there is always one, so it cannot be `null`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// What it may be used for; something always, so it cannot be `null`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Vec<String>, required = false)]
    scopes: Option<Vec<String>>,
    /// The models it may be used with.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    models: Option<Option<Vec<String>>>,
    /// What may be spent with it. What was spent in a window counts on in that window.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<BudgetRequest>)]
    budget: Option<Option<BudgetRequest>>,
    /// How often it may be used in a minute.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    requests_per_minute: Option<Option<i64>>,
    /// When it ends by itself.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Option<Option<Timestamp>>,
}

impl From<ChangeKeyError> for Problem {
    fn from(error: ChangeKeyError) -> Self {
        match error {
            ChangeKeyError::NotFound => Self::not_found("API key"),
            ChangeKeyError::Refused(faults) => Self::refused(faults),
            ChangeKeyError::SessionOver(_) => Self::unauthenticated(),
            ChangeKeyError::Store(e) => e.into(),
        }
    }
}

/// Change what one of one's keys may do. Its secret stays; calls that it may no longer make end within a second.
#[utoipa::path(patch, path = "/v1/me/api-keys/{id}", tag = "api keys", params(("id" = uuid::Uuid, Path, description = "The key.")),
    request_body = ChangeApiKeyRequest, responses(
    (status = 200, description = "The key, changed.", body = ApiKeyResponse),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<ApiKeyResponse>, Problem> {
    let (ask, _) = body.json::<ChangeApiKeyRequest>(api.options.max_json_bytes).await?;
    let id = query::id(&request, "API key")?;
    let change = ChangeApiKey {
        name: ask.name,
        scopes: ask.scopes,
        models: ask.models,
        budget: ask.budget.map(|budget| budget.map(Into::into)),
        requests_per_minute: ask.requests_per_minute,
        expires_at: ask.expires_at,
    };
    let (access, live, client) = (Arc::clone(&api.access), caller.live, client(&request));
    let state = api
        .run(async move { access.change_api_key(&live, id, change, &client).await })
        .await?;
    Ok(web::Json(state.into()))
}
