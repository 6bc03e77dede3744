//! `POST /v1/conversations`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::ConversationId;
use anteroom_services::chat::NewConversation;
use serde::Deserialize;
use uuid::Uuid;

use super::ConversationResponse;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::idempotency;
use crate::problem::{Problem, ProblemBody};

/// What a conversation begins with; all of it may change later.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConversationRequest {
    /// For the list.
    title: Option<String>,
    /// The model; the plan's first without one.
    model: Option<String>,
    /// What the model is told before every turn.
    instructions: Option<String>,
    /// One of the operator's assistants, by its id; it brings its own model, and `instructions` come after its own.
    assistant: Option<String>,
}

/// Begin a conversation.
#[utoipa::path(post, path = "/v1/conversations", tag = "chat", request_body = CreateConversationRequest, responses(
    (status = 201, description = "The conversation.", body = ConversationResponse),
    (status = 422, description = "A refused field; `errors` says which.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (ask, bytes) = body
        .json::<CreateConversationRequest>(api.options.max_json_bytes)
        .await?;
    let user = caller.who.user().id;
    let make = async |id: Option<Uuid>| {
        let new = NewConversation {
            id: id.map(ConversationId),
            title: ask.title,
            model: ask.model,
            instructions: ask.instructions,
            assistant: ask.assistant,
        };
        let chat = Arc::clone(&api.chat);
        let conversation = api
            .run(async move { chat.create_conversation(user, new).await })
            .await?;
        Ok(ConversationResponse::from(&conversation))
    };
    idempotency::create(&api, &request, user, &bytes, make).await
}
