//! `DELETE /v1/admin/users/{id}/credits/{grant}`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::audit::Actor;
use anteroom_domain::{CreditGrantId, UserId};

use crate::Api;
use crate::caller::{Admin, client};
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// Take back what is left of a grant of credits; what was spent stays spent.
#[utoipa::path(delete, path = "/v1/admin/users/{id}/credits/{grant}", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user."), ("grant" = uuid::Uuid, Path, description = "The grant.")), responses(
    (status = 204, description = "Taken back."),
    (status = 404, description = "`not_found`: also where it was taken back or written off already", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let user: UserId = query::id(&request, "user")?;
    let id: CreditGrantId = query::named(&request, "grant", "grant")?;
    let (billing, actor, client) = (
        Arc::clone(&api.billing),
        Actor::User(caller.live.user.id),
        client(&request),
    );
    api.run(async move { billing.revoke_credits(user, id, actor, &client).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
