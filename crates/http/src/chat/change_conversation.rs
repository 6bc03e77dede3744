//! `PATCH /v1/conversations/{id}`

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use anteroom_services::chat::ChangeConversation;
use serde::Deserialize;

use super::ConversationResponse;
use crate::Api;
use crate::body::{Body, present};
use crate::caller::Known;
use crate::problem::{Problem, ProblemBody};
use crate::query;

/// What is to change; what is absent stays, `null` takes it away.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeConversationRequest {
    /// The title.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    title: Option<Option<String>>,
    /// The model.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    model: Option<Option<String>>,
    /// The instructions.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    instructions: Option<Option<String>>,
    /// The assistant.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    assistant: Option<Option<String>>,
}

/// Change one of one's own conversations.
#[utoipa::path(patch, path = "/v1/conversations/{id}", tag = "chat", params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    request_body = ChangeConversationRequest, responses(
    (status = 200, description = "The conversation, changed.", body = ConversationResponse),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<web::Json<ConversationResponse>, Problem> {
    let id = query::id(&request, "conversation")?;
    let (ask, _) = body
        .json::<ChangeConversationRequest>(api.options.max_json_bytes)
        .await?;
    let change = ChangeConversation {
        title: ask.title,
        model: ask.model,
        instructions: ask.instructions,
        assistant: ask.assistant,
    };
    let (chat, user) = (Arc::clone(&api.chat), caller.who.user().id);
    let conversation = api
        .run(async move { chat.change_conversation(user, id, change).await })
        .await?;
    Ok(web::Json((&conversation).into()))
}
