//! `POST /v1/admin/migrations/down`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::migrations::{Back, Version};
use serde::Deserialize;

use super::RunResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::{Admin, client};
use crate::problem::{FieldError, Problem, ProblemBody};
use crate::query::List;

/// How far: one of the two.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeBackMigrationsRequest {
    /// Until this one is the newest that is applied.
    #[schema(value_type = Option<String>)]
    to: Option<Version>,
    /// So many of them.
    #[schema(minimum = 1)]
    steps: Option<usize>,
}

impl TakeBackMigrationsRequest {
    fn back(self) -> Result<Back, Problem> {
        let wrong = |pointer: &str, detail: &str| {
            Problem::invalid(vec![FieldError {
                pointer: pointer.into(),
                code: "invalid".into(),
                detail: detail.into(),
            }])
        };
        match (self.to, self.steps) {
            (Some(version), None) => Ok(Back::To(version)),
            (None, Some(0)) => Err(wrong("/steps", "1 at least")),
            (None, Some(steps)) => Ok(Back::Steps(steps)),
            _ => Err(wrong("/to", "either `to` or `steps`")),
        }
    }
}

/// Take the newest migrations of Anteroom's own schema back, newest first, with what is in the tables and columns that they
/// brought. This server is not ready any more then. Needs what applying them needs.
#[utoipa::path(post, path = "/v1/admin/migrations/down", tag = "admin", request_body = TakeBackMigrationsRequest, responses(
    (status = 200, description = "What was run.", body = List<RunResponse>),
    (status = 403, description = "`migrations_disabled`, `reauthentication_required`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`migration_refused`, `migration_failed`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "`migration_locked`: somebody else migrates, or holds a table", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<List<RunResponse>>, Problem> {
    let (ask, _) = body
        .json::<TakeBackMigrationsRequest>(api.options.max_json_bytes)
        .await?;
    let back = ask.back()?;
    let (migrations, client) = (Arc::clone(&api.migrations), client(&request));
    let live = caller.live;
    let runs = api
        .run(async move { migrations.down(&back, &live, &client).await })
        .await?;
    Ok(web::Json(List {
        data: runs.iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}
