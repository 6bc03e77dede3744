//! `GET /v1/me/subscription`

use std::sync::Arc;

use actix_web::web;
use anteroom_domain::UserId;

use super::SubscriptionResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;

/// What the user who asks holds.
#[utoipa::path(get, path = "/v1/me/subscription", tag = "billing", responses((status = 200, description = "The subscription.", body = SubscriptionResponse)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<SubscriptionResponse>, Problem> {
    held(&api, caller.who.user().id).await
}

/// What a user holds now.
pub(super) async fn held(api: &web::Data<Api>, user: UserId) -> Result<web::Json<SubscriptionResponse>, Problem> {
    let billing = Arc::clone(&api.billing);
    let (access, holdings) = api.run(async move { billing.get_subscription(user).await }).await?;
    Ok(web::Json(SubscriptionResponse::new(
        &access,
        holdings.subscription.as_ref(),
    )))
}
