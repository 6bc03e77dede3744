//! `GET /v1/admin/models/{name}`

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::model_details::{self, AdminModel};
use crate::Api;
use crate::caller::Admin;
use crate::problem::{Problem, ProblemBody};

/// A model, as it is configured or stored.
#[utoipa::path(get, path = "/v1/admin/models/{name}", tag = "admin",
    params(("name" = String, Path, description = "The model's name; it may have slashes in it.")), responses(
    (status = 200, description = "The model. A stored one has an `ETag`.", body = AdminModel),
    (status = 404, description = "`not_found`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(_caller: Admin, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (chat, name) = (Arc::clone(&api.chat), model_details::name(&request)?);
    let found = api.run(async move { chat.show_model(&name).await }).await?;
    let found = found.ok_or_else(|| Problem::not_found("model"))?;
    let mut answer = HttpResponse::Ok();
    if let Some(tag) = model_details::tag(&found) {
        answer.insert_header((header::ETAG, tag));
    }
    Ok(answer.json(AdminModel::from(&found)))
}
