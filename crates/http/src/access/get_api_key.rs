//! `GET /v1/me/api-keys/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::ApiKeyResponse;
use crate::Api;
use crate::caller::SignedIn;
use crate::problem::Problem;
use crate::query;

/// One of one's own API keys, without its secret.
#[utoipa::path(get, path = "/v1/me/api-keys/{id}", tag = "api keys", params(("id" = uuid::Uuid, Path, description = "The key.")),
    responses((status = 200, description = "The key.", body = ApiKeyResponse)))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<ApiKeyResponse>, Problem> {
    let id = query::id(&request, "API key")?;
    let (access, user) = (Arc::clone(&api.access), caller.live.user.id);
    let state = api.run(async move { access.get_api_key(user, id).await }).await?;
    Ok(web::Json(state.into()))
}
