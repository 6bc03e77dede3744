//! `GET /v1/admin/usage`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::UsageGroup;

use super::usage::{UsageQuery, UsageRequest, UsageResponse};
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::List;

/// What everybody used, in days of UTC. `group_by` takes `day`, `account`, `model`, `plan` and `api_key`.
#[utoipa::path(get, path = "/v1/admin/usage", tag = "admin", params(UsageQuery),
    responses((status = 200, description = "The sums, in the order of the groups.", content((List<UsageResponse> = "application/json"), (String = "text/csv")))))]
pub async fn handle(_caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let ask = UsageRequest::read(&request, &UsageGroup::ALL)?;
    let billing = Arc::clone(&api.billing);
    let (from, until, by) = (ask.from, ask.until, ask.by.clone());
    let sums = api
        .run(async move { billing.list_usage(None, from, until, by).await })
        .await?;
    Ok(ask.answer(sums))
}
