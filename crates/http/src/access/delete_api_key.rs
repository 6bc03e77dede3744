//! `DELETE /v1/me/api-keys/{id}`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::access::DeleteKeyError;

use crate::Api;
use crate::caller::{SignedIn, client};
use crate::problem::Problem;
use crate::query;

impl From<DeleteKeyError> for Problem {
    fn from(error: DeleteKeyError) -> Self {
        match error {
            DeleteKeyError::NotFound => Self::not_found("API key"),
            DeleteKeyError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", error.to_string()),
            DeleteKeyError::SessionOver(_) => Self::unauthenticated(),
            DeleteKeyError::Store(e) => e.into(),
        }
    }
}

/// Delete one of one's API keys: it opens nothing any more, running streams end. The owner is told by mail.
#[utoipa::path(delete, path = "/v1/me/api-keys/{id}", tag = "api keys", params(("id" = uuid::Uuid, Path, description = "The key.")), responses((status = 204, description = "Deleted.")))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = query::id(&request, "API key")?;
    let (access, live, client) = (Arc::clone(&api.access), caller.live, client(&request));
    api.run(async move { access.delete_api_key(&live, id, &client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
