//! `GET /openapi.json`

use actix_web::web;

use crate::Api;
use crate::caller::Anonymous;

/// This API as OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
pub async fn handle(_caller: Anonymous, _api: web::Data<Api>) -> web::Json<utoipa::openapi::OpenApi> {
    web::Json(crate::openapi())
}
