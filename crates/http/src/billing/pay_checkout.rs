//! `POST /stripe-stub/checkout/{id}`

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::show_checkout::PROVIDER;
use crate::Api;
use crate::caller::Anonymous;
use crate::problem::Problem;

/// Press "pay" on the stub's page: it sends Anteroom a signed event and goes on to the success page.
#[utoipa::path(post, path = "/stripe-stub/checkout/{id}", tag = "billing", params(("id" = String, Path, description = "The checkout.")),
    responses((status = 303, description = "Paid; go on to the success page.")))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = request.match_info().get("id").unwrap_or_default().to_owned();
    let billing = Arc::clone(&api.billing);
    let target = api
        .run(async move { billing.pay_hosted_checkout(PROVIDER, &id).await })
        .await?;
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, target))
        .finish())
}
