//! `GET /v1/me/api-keys`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::ApiKeyResponse;
use crate::Api;
use crate::caller::SignedIn;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// One's own API keys, newest first, without their secrets. Expired ones are listed for 30 days.
#[utoipa::path(get, path = "/v1/me/api-keys", tag = "api keys", params(PageQuery), responses((status = 200, description = "A page of one's own keys.", body = List<ApiKeyResponse>)))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<ApiKeyResponse>>, Problem> {
    let query: PageQuery = query::read(&request)?;
    let (before, limit) = (query.after()?, query.limit()?);
    let (access, user) = (Arc::clone(&api.access), caller.live.user.id);
    let page = api
        .run(async move { access.list_api_keys(user, before, limit).await })
        .await?;
    Ok(web::Json(super::page(page)))
}
