//! `GET /v1/admin/migrations`

use std::sync::Arc;

use actix_web::web;

use super::MigrationResponse;
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::List;

/// How every migration of Anteroom's own schema stands, oldest first.
#[utoipa::path(get, path = "/v1/admin/migrations", tag = "admin", responses((status = 200, description = "All of them.", body = List<MigrationResponse>)))]
pub async fn handle(_caller: Admin, api: web::Data<Api>) -> Result<web::Json<List<MigrationResponse>>, Problem> {
    let migrations = Arc::clone(&api.migrations);
    let entries = api.run(async move { migrations.status().await }).await?;
    Ok(web::Json(List {
        data: entries.iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}
