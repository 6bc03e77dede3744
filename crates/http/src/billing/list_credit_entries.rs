//! `GET /v1/me/credits/entries`

use std::sync::Arc;

use actix_web::{HttpRequest, web};

use super::credits::{CreditEntryResponse, page};
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query::{self, List, PageQuery};

/// The ledger of one's credits, newest first.
#[utoipa::path(get, path = "/v1/me/credits/entries", tag = "billing", params(PageQuery), responses((status = 200, description = "A page of the ledger.", body = List<CreditEntryResponse>)))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<web::Json<List<CreditEntryResponse>>, Problem> {
    let asked: PageQuery = query::read(&request)?;
    let (before, limit) = (asked.after()?, asked.limit()?);
    let (billing, user) = (Arc::clone(&api.billing), caller.who.user().id);
    let lines = api
        .run(async move { billing.list_credit_entries(user, before, limit + 1).await })
        .await?;
    Ok(page(lines, limit))
}
