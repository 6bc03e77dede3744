//! `POST /v1/me/api-keys/{id}/rotate`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use anteroom_services::access::{DEFAULT_OVERLAP, RotateKeyError};
use jiff::SignedDuration;
use serde::Deserialize;

use super::CreatedApiKeyResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::{SignedIn, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// How a key is to be exchanged.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKeyRequest {
    /// For how many seconds the old secret works on: 0 (it ends at once, with all before it) to 2,592,000; 86,400 if
    /// absent.
    #[schema(minimum = 0, maximum = 2_592_000, example = 86_400)]
    overlap_seconds: Option<i64>,
}

impl From<RotateKeyError> for Problem {
    fn from(error: RotateKeyError) -> Self {
        let detail = error.to_string();
        match error {
            RotateKeyError::NotFound => Self::not_found("API key"),
            RotateKeyError::Refused(faults) => Self::refused(faults),
            RotateKeyError::TooMany => Self::new(StatusCode::CONFLICT, "too_many_secrets", detail),
            RotateKeyError::SessionOver(_) => Self::unauthenticated(),
            RotateKeyError::Store(e) => e.into(),
        }
    }
}

/// Give one of one's keys a new secret, which is in this answer and nowhere else. The old one works on for a while. The
/// owner is told by mail.
#[utoipa::path(post, path = "/v1/me/api-keys/{id}/rotate", tag = "api keys", params(("id" = uuid::Uuid, Path, description = "The key.")),
    request_body = Option<RotateApiKeyRequest>, responses(
    (status = 200, description = "The key, with its new secret.", body = CreatedApiKeyResponse),
    (status = 409, description = "`too_many_secrets`: it was exchanged often, and the secrets before still work", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<CreatedApiKeyResponse>, Problem> {
    let ask: Option<RotateApiKeyRequest> = body.optional_json(api.options.max_json_bytes).await?;
    let id = query::id(&request, "API key")?;
    let overlap = ask.and_then(|ask| ask.overlap_seconds);
    let overlap = overlap.map_or(DEFAULT_OVERLAP, SignedDuration::from_secs);
    let (access, live, client) = (Arc::clone(&api.access), caller.live, client(&request));
    let made = api
        .run(async move { access.rotate_api_key(&live, id, overlap, &client).await })
        .await?;
    Ok(web::Json(made.into()))
}
