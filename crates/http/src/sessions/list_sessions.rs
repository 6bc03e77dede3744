//! `GET /v1/me/sessions`

use std::sync::Arc;

use actix_web::web;

use super::SessionResponse;
use crate::Api;
use crate::caller::SignedIn;
use crate::problem::Problem;
use crate::query::List;

/// Where one is signed in: the sessions in force, newest first, never cut.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "sessions", responses((status = 200, description = "One's sessions.", body = List<SessionResponse>)))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>) -> Result<web::Json<List<SessionResponse>>, Problem> {
    let (sessions, user) = (Arc::clone(&api.sessions), caller.live.user.id);
    let found = api.run(async move { sessions.list(user).await }).await?;
    let current = caller.live.session.id;
    let shown = |session| SessionResponse::of(session, session.id == current);
    Ok(web::Json(List {
        data: found.iter().map(shown).collect(),
        next_cursor: None,
    }))
}
