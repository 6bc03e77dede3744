//! `GET /v1/assistants`

use std::sync::Arc;

use actix_web::web;
use anteroom_services::chat::ListedAssistant;
use serde::Serialize;

use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;

/// The assistants.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AssistantList {
    /// In the operator's order.
    data: Vec<Assistant>,
}

/// A preset of the operator's. What it tells the model is not shown.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Assistant {
    /// Its name: `assistant` of a conversation; after `assistant:`, the `model` of a chat completion.
    #[schema(example = "support")]
    id: String,
    /// Its name for people.
    title: String,
    /// What it is for.
    description: Option<String>,
    /// The model that answers.
    model: String,
}

impl From<ListedAssistant> for Assistant {
    fn from(a: ListedAssistant) -> Self {
        Self {
            id: a.id,
            title: a.title,
            description: a.description,
            model: a.model,
        }
    }
}

/// The assistants that the plan of the user who asks includes.
#[utoipa::path(get, path = "/v1/assistants", tag = "chat", responses((status = 200, description = "All of them.", body = AssistantList)))]
pub async fn handle(caller: Known, api: web::Data<Api>) -> Result<web::Json<AssistantList>, Problem> {
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let assistants = api.run(async move { chat.list_assistants(&who).await }).await?;
    Ok(web::Json(AssistantList {
        data: assistants.into_iter().map(Into::into).collect(),
    }))
}
