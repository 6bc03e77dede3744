//! `GET /v1/admin/users/{id}/credits/entries`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_domain::UserId;

use super::credits::{CreditEntryResponse, page};
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};
use crate::query::{self, List, PageQuery};

/// The ledger of a user's credits, newest first.
#[utoipa::path(get, path = "/v1/admin/users/{id}/credits/entries", tag = "admin",
    params(("id" = uuid::Uuid, Path, description = "The user."), PageQuery), responses(
    (status = 200, description = "A page of the ledger.", body = List<CreditEntryResponse>),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    _caller: Admin,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<CreditEntryResponse>>, Problem> {
    let user: UserId = query::id(&request, "user")?;
    let asked: PageQuery = query::read(&request)?;
    let (before, limit) = (asked.after()?, asked.limit()?);
    let billing = Arc::clone(&api.billing);
    let lines = api
        .run(async move { billing.list_credit_entries_of(user, before, limit + 1).await })
        .await?;
    Ok(page(lines, limit))
}
