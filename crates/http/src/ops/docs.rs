//! `GET /docs`: a browsable reference. Its assets are part of the binary; nothing is loaded from elsewhere.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::Config;

use crate::caller::{Anonymous, api};
use crate::problem::Problem;

/// Browse this reference.
#[utoipa::path(get, path = "/docs", tag = "operations", responses((status = 200, description = "A page.", content_type = "text/html", body = String)))]
pub async fn handle(_caller: Anonymous, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let file = request.match_info().get("file").unwrap_or_default().to_owned();
    let config = Arc::new(
        Config::new(["/openapi.json"])
            .try_it_out_enabled(true)
            .persist_authorization(false),
    );
    let found = utoipa_swagger_ui::serve(&file, config).map_err(|e| Problem::internal(e.to_string()))?;
    let found = found.ok_or_else(|| Problem::not_found("page"))?;
    let mut bytes = found.bytes.into_owned();
    if file.is_empty() || file == "index.html" {
        // The page's own links are relative to a folder, and it is served without the slash at its end.
        bytes = String::from_utf8_lossy(&bytes)
            .replace("href=\"./", "href=\"/docs/")
            .replace("href=\"index.css", "href=\"/docs/index.css")
            .replace("src=\"./", "src=\"/docs/")
            .into_bytes();
    }
    let frames = &api(&request)?.options.frame_ancestors;
    let ancestors = if frames.is_empty() {
        "'none'".to_owned()
    } else {
        frames.join(" ")
    };
    let csp = format!(
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    );
    Ok(HttpResponse::Ok()
        .content_type(found.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, csp))
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .body(bytes))
}
