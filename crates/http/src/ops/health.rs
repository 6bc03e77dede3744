//! `GET /health`

use actix_web::web;
use serde::Serialize;

use crate::Api;
use crate::caller::Anonymous;

/// The process is alive.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HealthResponse {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub(super) status: &'static str,
    /// Anteroom's version.
    pub(super) version: &'static str,
}

/// Is the process alive? Asks nothing else.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, description = "Alive.", body = HealthResponse)))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>) -> web::Json<HealthResponse> {
    web::Json(HealthResponse {
        status: "ok",
        version: api.options.version,
    })
}
