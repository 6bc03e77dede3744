//! `GET /v1/me/usage`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::{Owner, UsageGroup};

use super::usage::{UsageQuery, UsageRequest, UsageResponse};
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query::List;

/// By what one's own usage can be told apart.
const GROUPS: [UsageGroup; 3] = [UsageGroup::Day, UsageGroup::Model, UsageGroup::ApiKey];

/// What the account used, in days of UTC. `group_by` takes `day`, `model` and `api_key`.
#[utoipa::path(get, path = "/v1/me/usage", tag = "billing", params(UsageQuery),
    responses((status = 200, description = "The sums, in the order of the groups.", content((List<UsageResponse> = "application/json"), (String = "text/csv")))))]
pub async fn handle(caller: Known, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let ask = UsageRequest::read(&request, &GROUPS)?;
    let (billing, owner) = (Arc::clone(&api.billing), Owner::account(caller.who.user().id));
    let (from, until, by) = (ask.from, ask.until, ask.by.clone());
    let sums = api
        .run(async move { billing.list_usage(Some(owner), from, until, by).await })
        .await?;
    Ok(ask.answer(sums))
}
