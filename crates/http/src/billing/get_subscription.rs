//! `GET /v1/me/subscription`

use std::sync::Arc;

use actix_web::web;

use super::SubscriptionResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;

/// What the user who asks holds.
#[utoipa::path(get, path = "/v1/me/subscription", tag = "billing", responses((status = 200, description = "The subscription.", body = SubscriptionResponse)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<SubscriptionResponse>, Problem> {
    let (billing, id) = (Arc::clone(&api.billing), caller.who.user().id);
    let access = api.run(async move { billing.get_subscription(id).await }).await?;
    Ok(web::Json((&access).into()))
}
