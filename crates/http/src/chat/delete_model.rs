//! `DELETE /v1/admin/models/{name}`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_services::chat::DeleteModelError;

use super::model_details;
use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};

impl From<DeleteModelError> for Problem {
    fn from(error: DeleteModelError) -> Self {
        let text = error.to_string();
        match error {
            DeleteModelError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", text),
            DeleteModelError::NotFound => Self::not_found("model"),
            DeleteModelError::Configured(_) => Self::new(StatusCode::CONFLICT, "model_configured", text),
            DeleteModelError::Changed => model_details::changed(text),
            DeleteModelError::Store(e) => e.into(),
        }
    }
}

/// Delete a stored model. One of its name that the configuration has comes back.
#[utoipa::path(delete, path = "/v1/admin/models/{name}", tag = "admin",
    params(
        ("name" = String, Path, description = "The model's name; it may have slashes in it."),
        ("If-Match" = Option<String>, Header, description = "Only if this is the state that is stored (its `ETag`)."),
    ), responses(
    (status = 204, description = "Deleted."),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`model_configured`: only the configuration has it", body = ProblemBody, content_type = "application/problem+json"),
    (status = 412, description = "`model_changed`: another state is stored", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (name, expected) = (model_details::name(&request)?, model_details::expected(&request)?);
    let (chat, actor, client) = (
        Arc::clone(&api.chat),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    api.run(async move { chat.delete_model(&name, expected, actor, &client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
