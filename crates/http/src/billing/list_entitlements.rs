//! `GET /v1/me/entitlements`

use std::sync::Arc;

use actix_web::web;

use super::EntitlementResponse;
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query::List;

/// Everything the plan of the user who asks grants, with what is left of it. The value of `models` is `null` while
/// the model provider is away and its list is not known.
#[utoipa::path(get, path = "/v1/me/entitlements", tag = "billing", responses((status = 200, description = "The entitlements.", body = List<EntitlementResponse>)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<List<EntitlementResponse>>, Problem> {
    let (billing, chat, who) = (Arc::clone(&api.billing), Arc::clone(&api.chat), caller.who);
    let states = api
        .run(async move {
            let offered = chat.offered().await.ok();
            billing.list_entitlements(who.user(), offered.as_deref()).await
        })
        .await?;
    Ok(web::Json(List {
        data: states.into_iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}
