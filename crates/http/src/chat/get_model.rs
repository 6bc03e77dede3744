//! `GET /v1/models/{id}`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};

use super::list_models::Model;
use crate::Api;
use crate::caller::Known;
use crate::problem::{OpenAiErrorBody, Problem};

/// A model that the plan of the user who asks includes. Its name may have slashes in it.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "chat", params(("id" = String, Path, description = "The model's name.")),
    responses(
        (status = 200, description = "OpenAI's object.", body = Model),
        (status = 404, description = "`model_not_found`: there is none, or the plan does not include it.", body = OpenAiErrorBody),
    ))]
pub async fn handle(caller: Known, api: web::Data<Api>, request: HttpRequest) -> Result<web::Json<Model>, Problem> {
    let name: String = request
        .match_info()
        .load()
        .map_err(|e| Problem::internal(e.to_string()))?;
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let asked = name.clone();
    let found = api.run(async move { chat.find_model(&who, &asked).await }).await?;
    match found {
        Some(model) => Ok(web::Json(model.into())),
        None => {
            let detail = format!("there is no model `{name}`, or your plan does not include it");
            Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", detail).param(Some("model")))
        }
    }
}
