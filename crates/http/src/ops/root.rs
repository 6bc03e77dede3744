//! `GET /`

use actix_web::HttpResponse;
use actix_web::http::header;

use crate::caller::Anonymous;

/// Where a person who types the bare address goes: to the reference.
#[utoipa::path(get, path = "/", tag = "operations", responses((status = 302, description = "On to `/docs`.")))]
pub async fn handle(_caller: Anonymous) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, "/docs"))
        .finish()
}
