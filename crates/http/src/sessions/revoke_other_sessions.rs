//! `DELETE /v1/me/sessions`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use serde::Serialize;

use crate::Api;
use crate::caller::{SignedIn, client};
use crate::problem::Problem;

/// What came of it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RevokedSessionsResponse {
    /// How many sessions have ended.
    ended: usize,
}

/// End all of one's sessions but the one that asks.
#[utoipa::path(delete, path = "/v1/me/sessions", tag = "sessions", responses((status = 200, description = "The others have ended.", body = RevokedSessionsResponse)))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<RevokedSessionsResponse>, Problem> {
    let (sessions, live, client) = (Arc::clone(&api.sessions), Arc::clone(&caller.live), client(&request));
    let ended = api
        .run(async move { sessions.revoke_others(&live.session, &client).await })
        .await?;
    Ok(web::Json(RevokedSessionsResponse { ended }))
}
