//! `GET /v1/models`

use std::sync::Arc;

use actix_web::web;
use anteroom_services::chat::ListedModel;
use serde::Serialize;

use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;

/// OpenAI's list shape.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelList {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The models.
    data: Vec<Model>,
}

/// A model, in OpenAI's shape.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Model {
    /// Its name.
    #[schema(example = "echo")]
    id: String,
    /// Always `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// Unix seconds, as the provider says; 0 where it does not.
    created: i64,
    /// Who made it, as the provider says.
    owned_by: String,
    /// How many tokens a call may have in and out together, where the operator says.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<i64>,
    /// The most tokens of answer that a call may ask for, where the operator says; more is clamped to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<i64>,
}

impl From<ListedModel> for Model {
    fn from(m: ListedModel) -> Self {
        Self {
            id: m.offered.id,
            object: "model",
            created: m.offered.created,
            owned_by: m.offered.owned_by,
            context_window: m.context_window,
            max_output_tokens: m.max_output_tokens,
        }
    }
}

/// The models that the plan of the user who asks includes.
#[utoipa::path(get, path = "/v1/models", tag = "chat", responses((status = 200, description = "OpenAI's list shape.", body = ModelList)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<ModelList>, Problem> {
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let models = api.run(async move { chat.list_models(&who).await }).await?;
    Ok(web::Json(ModelList {
        object: "list",
        data: models.into_iter().map(Into::into).collect(),
    }))
}
