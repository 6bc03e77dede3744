//! `DELETE /v1/admin/users/{id}/overrides/{override}`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_domain::{OverrideId, UserId};

use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// Take back what was granted. It holds nowhere any more within a second.
#[utoipa::path(delete, path = "/v1/admin/users/{id}/overrides/{override}", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user."), ("override" = uuid::Uuid, Path, description = "What was granted.")), responses(
    (status = 204, description = "Taken back."),
    (status = 404, description = "`not_found`: also where it was taken back already", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let user: UserId = query::id(&request, "user")?;
    let id: OverrideId = query::named(&request, "override", "override")?;
    let (billing, actor, client) = (
        Arc::clone(&api.billing),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    api.run(async move { billing.revoke_override(user, id, actor, &client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
