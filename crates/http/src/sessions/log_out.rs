//! `POST /v1/auth/logout`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::signed_out;
use crate::Api;
use crate::caller::{SignedIn, client};
use crate::problem::Problem;

/// End the session that asks, with everything that carries it.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "sessions", responses((status = 204, description = "Signed out; the cookie is cleared.")))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (sessions, live) = (Arc::clone(&api.sessions), Arc::clone(&caller.live));
    let client = client(&request);
    api.run(async move { sessions.log_out(&live.session, &client).await })
        .await?;
    Ok(signed_out(&api, caller.via))
}
