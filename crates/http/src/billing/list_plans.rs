//! `GET /v1/plans`

use actix_web::web;

use super::PlanResponse;
use crate::Api;
use crate::caller::Anonymous;
use crate::query::List;

/// All plans, in the operator's order.
#[utoipa::path(get, path = "/v1/plans", tag = "billing", responses((status = 200, description = "The plans.", body = List<PlanResponse>)))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>) -> web::Json<List<PlanResponse>> {
    let data = api
        .billing
        .catalogue()
        .plans()
        .iter()
        .map(|plan| PlanResponse::from(&**plan))
        .collect();
    web::Json(List {
        data,
        next_cursor: None,
    })
}
