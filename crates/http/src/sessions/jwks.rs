//! `GET /.well-known/jwks.json`

use actix_web::http::header::{self, EntityTag, Header as _, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::sessions::JWKS_MAX_AGE_SECONDS;

use crate::Api;
use crate::caller::Anonymous;

/// The public keys that access tokens are checked with, now or within minutes (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "sessions",
    responses(
        (status = 200, description = "A JWK set.", body = Object),
        (status = 304, description = "It is the one that `If-None-Match` names."),
    )
)]
pub async fn handle(_caller: Anonymous, request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    let keys = api.sessions.public_keys();
    let tag = EntityTag::new_strong(keys.tag);
    let known = match IfNoneMatch::parse(&request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut answer = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    answer
        .insert_header((header::CACHE_CONTROL, format!("public, max-age={JWKS_MAX_AGE_SECONDS}")))
        .insert_header((header::ETAG, tag.to_string()));
    if known {
        return answer.finish();
    }
    answer.content_type("application/json").body(keys.json)
}
