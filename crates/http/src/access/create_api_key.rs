//! `POST /v1/me/api-keys`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::Timestamp;
use anteroom_domain::billing::Operation;
use anteroom_services::access::{ChangeApiKey, CreateKeyError};
use serde::Deserialize;

use super::{BudgetRequest, CreatedApiKeyResponse};
use crate::Api;
use crate::body::Body;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};

/// A key to be made. Whatever it may do, it never does more than its owner may.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKeyRequest {
    /// For the list: 1 to 200 characters.
    #[schema(example = "nightly report")]
    name: String,
    /// What it may be used for, of `models`, `chat`, `embeddings`, `conversations`, `usage:read`, `account:read` and `entitlements`;
    /// without this, the first three.
    #[schema(example = json!(["models", "chat"]))]
    scopes: Option<Vec<String>>,
    /// The models it may be used with; without this, all that the plan has.
    models: Option<Vec<String>>,
    /// What may be spent with it; without this, what its owner may.
    budget: Option<BudgetRequest>,
    /// How often it may be used in a minute; without this, as often as its owner.
    requests_per_minute: Option<i64>,
    /// When it ends by itself; without this, never.
    expires_at: Option<Timestamp>,
}

impl From<CreateKeyError> for Problem {
    fn from(error: CreateKeyError) -> Self {
        let detail = error.to_string();
        match error {
            CreateKeyError::Refused(faults) => Self::refused(faults),
            CreateKeyError::TooMany { limit } => {
                Self::new(StatusCode::CONFLICT, "too_many_api_keys", detail).with("limit", limit)
            }
            CreateKeyError::SessionOver(_) => Self::unauthenticated(),
            CreateKeyError::Store(e) => e.into(),
        }
    }
}

/// Make an API key for a program. Its secret is in this answer and nowhere else. The owner is told by mail.
#[utoipa::path(post, path = "/v1/me/api-keys", tag = "api keys", request_body = CreateApiKeyRequest, responses(
    (status = 201, description = "The key, with its secret.", body = CreatedApiKeyResponse),
    (status = 403, description = "`feature_not_in_plan`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`too_many_api_keys`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let holder = api.billing.access(&caller.live.holdings);
    api.billing.require_for(&holder, Operation::ApiKeys)?;
    let (ask, _) = body.json::<CreateApiKeyRequest>(api.options.max_json_bytes).await?;
    let said = ChangeApiKey {
        name: Some(ask.name),
        scopes: ask.scopes,
        models: Some(ask.models),
        budget: Some(ask.budget.map(Into::into)),
        requests_per_minute: Some(ask.requests_per_minute),
        expires_at: Some(ask.expires_at),
    };
    let (access, live, client) = (Arc::clone(&api.access), caller.live, client(&request));
    let made = api
        .run(async move { access.create_api_key(&live, said, &client).await })
        .await?;
    Ok(HttpResponse::Created().json(CreatedApiKeyResponse::from(made)))
}
