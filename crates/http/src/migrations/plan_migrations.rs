//! `GET /v1/admin/migrations/plan`

use std::sync::Arc;

use actix_web::web;

use super::PlannedMigrationResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query::List;

/// What applying the pending migrations would run: every statement as it is sent, what it locks and what it costs.
#[utoipa::path(get, path = "/v1/admin/migrations/plan", tag = "admin", responses(
    (status = 200, description = "The pending migrations, oldest first.", body = List<PlannedMigrationResponse>),
    (status = 409, description = "`migration_changed`, `migration_refused`: what stands against applying any", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(_caller: Admin, api: web::Data<Api>) -> Result<web::Json<List<PlannedMigrationResponse>>, Problem> {
    let migrations = Arc::clone(&api.migrations);
    let planned = api.run(async move { migrations.plan().await }).await?;
    Ok(web::Json(List {
        data: planned.iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}
