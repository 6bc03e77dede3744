//! `GET /.well-known/jwks.json`

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::Api;
use crate::caller::Anonymous;

/// The public keys that access tokens are checked with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "sessions", responses((status = 200, description = "A JWK set.", body = Object)))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .json(api.sessions.jwks())
}
