//! `POST /v1/chat/completions`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::{ChatAnswer, Relayed};
use bytes::Bytes;

use crate::Api;
use crate::body::Body;
use crate::caller::{Known, request_id};
use crate::problem::{OpenAiErrorBody, Problem};
use crate::{connection, sse};

/// OpenAI's chat completion, whole or streamed. What Anteroom does not know travels both ways untouched.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `messages`, `stream` and whatever the provider knows."),
    responses(
        (status = 200, description = "OpenAI's answer; with `stream`, `data:` chunks and `[DONE]`. After an error event the body ends without `[DONE]`.",
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = 402, description = "`quota_exceeded` or `subscription_inactive`", body = OpenAiErrorBody),
        (status = 403, description = "`model_not_in_plan`", body = OpenAiErrorBody),
        (status = 429, description = "`rate_limited` or `upstream_rate_limited`", body = OpenAiErrorBody),
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let (gone, watch) = connection::watch(&request, &api.runtime);
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let answer = api
        .run(async move { chat.complete_chat(&who, &bytes, gone).await })
        .await?;
    Ok(match answer {
        ChatAnswer::Whole(body) => HttpResponse::Ok().content_type("application/json").body(body),
        ChatAnswer::Stream(receiver) => {
            let id = request_id(&request);
            sse::response(receiver, watch, move |item| frame(item, &id))
        }
    })
}

fn frame(item: Relayed, request_id: &str) -> Bytes {
    match item {
        Relayed::Chunk(data) => sse::data(&data),
        Relayed::Done => Bytes::from_static(b"data: [DONE]\n\n"),
        Relayed::Failed(error) => sse::data(Problem::from(error).openai_body(request_id).to_string().as_bytes()),
    }
}
