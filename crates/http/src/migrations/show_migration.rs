//! `GET /v1/admin/migrations/{version}`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::migrations::Version;
use serde::Serialize;

use super::{MigrationResponse, RunResponse};
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};

/// A migration with all that was done to it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MigrationDetails)]
pub struct MigrationDetailsResponse {
    /// How it stands.
    migration: MigrationResponse,
    /// Each time that it was run, taken back or vouched for, oldest first.
    runs: Vec<RunResponse>,
}

/// What has been done with one migration: by whom, when, for how long, and how it ended.
#[utoipa::path(get, path = "/v1/admin/migrations/{version}", tag = "admin", params(("version" = String, Path, description = "The migration's version.")), responses(
    (status = 200, description = "How it stands, and its runs.", body = MigrationDetailsResponse),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<MigrationDetailsResponse>, Problem> {
    let version: Option<Version> = request
        .match_info()
        .get("version")
        .and_then(|version| version.parse().ok());
    let version = version.ok_or_else(|| Problem::not_found("migration"))?;
    let migrations = Arc::clone(&api.migrations);
    let found = api.run(async move { migrations.show(&version).await }).await?;
    let found = found.ok_or_else(|| Problem::not_found("migration"))?;
    Ok(web::Json(MigrationDetailsResponse {
        migration: (&found.entry).into(),
        runs: found.runs.iter().map(Into::into).collect(),
    }))
}
