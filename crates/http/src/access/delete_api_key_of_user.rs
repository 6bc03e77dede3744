//! `DELETE /v1/admin/users/{id}/api-keys/{key}`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::UserId;
use anteroom_domain::audit::Actor;

use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// Delete an API key of a user, who is told by mail.
#[utoipa::path(delete, path = "/v1/admin/users/{id}/api-keys/{key}", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user."), ("key" = uuid::Uuid, Path, description = "The key.")), responses(
    (status = 204, description = "Deleted."),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let user: UserId = query::id(&request, "user")?;
    let id = query::named(&request, "key", "API key")?;
    let (access, actor, client) = (
        Arc::clone(&api.access),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    api.run(async move { access.delete_api_key_of(user, id, actor, &client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
