//! `GET /v1/admin/models`

use std::sync::Arc;

use actix_web::web;

use super::model_details::AdminModel;
use crate::Api;
use crate::caller::Admin;
use crate::problem::Problem;
use crate::query::List;

/// All models that are configured by name and all that are stored, in the order in which they are offered. Those that a
/// provider lists by itself are not among them.
#[utoipa::path(get, path = "/v1/admin/models", tag = "admin", responses((status = 200, description = "All of them.", body = List<AdminModel>)))]
pub async fn handle(_caller: Admin, api: web::Data<Api>) -> Result<web::Json<List<AdminModel>>, Problem> {
    let chat = Arc::clone(&api.chat);
    let models = api.run(async move { chat.show_models().await }).await?;
    Ok(web::Json(List {
        data: models.iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}
