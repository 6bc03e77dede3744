//! `GET /health/ready`

use std::sync::Arc;

use actix_web::web;
use serde::Serialize;

use crate::Api;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

/// This node can serve.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReadyResponse {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Anteroom's version.
    version: &'static str,
    /// Always `current`: the store's schema is the one this version was built for.
    #[schema(example = "current")]
    schema: &'static str,
}

/// Can this node serve? Asks the store.
#[utoipa::path(get, path = "/health/ready", tag = "operations", responses(
    (status = 200, description = "Ready.", body = ReadyResponse),
    (status = 503, description = "`store_unavailable` or `schema_not_current`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>) -> Result<web::Json<ReadyResponse>, Problem> {
    let ops = Arc::clone(&api.ops);
    let health = api.run(async move { ops.check_health().await }).await?;
    if !health.schema_current {
        return Err(Problem::unavailable(
            "schema_not_current",
            "the store's schema is not the one this version was built for",
            10,
        ));
    }
    Ok(web::Json(ReadyResponse {
        status: "ok",
        version: api.options.version,
        schema: "current",
    }))
}
