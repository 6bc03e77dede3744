//! `GET /v1/me`

use std::sync::Arc;

use actix_web::web;

use super::UserResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;

/// The user who asks.
#[utoipa::path(get, path = "/v1/me", tag = "accounts", responses((status = 200, description = "The user.", body = UserResponse)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<UserResponse>, Problem> {
    let (accounts, id) = (Arc::clone(&api.accounts), caller.who.user().id);
    let user = api
        .run(async move { accounts.get_user(id).await })
        .await?
        .ok_or_else(Problem::unauthenticated)?;
    Ok(web::Json((&user).into()))
}
