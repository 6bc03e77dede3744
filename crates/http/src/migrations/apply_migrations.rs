//! `POST /v1/admin/migrations/up`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::migrations::Version;
use serde::Deserialize;

use super::RunResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query::List;

/// How far.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyMigrationsRequest {
    /// Up to and including this one; all that are pending if absent.
    #[schema(value_type = Option<String>)]
    to: Option<Version>,
}

/// Apply the pending migrations of Anteroom's own schema, oldest first. Needs a login no older than 10 minutes, and
/// `database.migrate_api`, which is off in production unless it is turned on.
#[utoipa::path(post, path = "/v1/admin/migrations/up", tag = "admin", request_body = ApplyMigrationsRequest, responses(
    (status = 200, description = "What was run; nothing if nothing was pending.", body = List<RunResponse>),
    (status = 403, description = "`migrations_disabled`, `reauthentication_required`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: there is no such migration", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`migration_changed`, `migration_refused`, `migration_failed`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "`migration_locked`: somebody else migrates, or holds a table", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<List<RunResponse>>, Problem> {
    let (ask, _) = body.json::<ApplyMigrationsRequest>(api.options.max_json_bytes).await?;
    let (migrations, client) = (Arc::clone(&api.migrations), client(&request));
    let live = caller.live;
    let runs = api
        .run(async move { migrations.up(ask.to, &live, &client).await })
        .await?;
    Ok(web::Json(List {
        data: runs.iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}
