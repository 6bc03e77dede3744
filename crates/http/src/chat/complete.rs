//! `POST /v1/chat/completions`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::chat::{ChatAnswer, Relayed};
use bytes::Bytes;

use super::name_dropped;
use crate::Api;
use crate::body::Body;
use crate::caller::{SignedIn, request_id};
use crate::problem::{OpenAiErrorBody, Problem};
use crate::{connection, sse};

/// OpenAI's chat completion, whole or streamed. What Anteroom does not know travels both ways untouched.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `messages`, `stream` and whatever the provider knows."),
    responses(
        (status = 200, description = "OpenAI's answer; with `stream`, `data:` chunks and `[DONE]`. After an error event the body ends without `[DONE]`.",
            headers(("anteroom-dropped-parameters" = String, description = "The parameters that the model's provider could not be told, where there are any.")),
            content((Object = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "`invalid_request`, or `unsupported_parameter`: the model's provider has no such thing, and going without would change what is asked for", body = OpenAiErrorBody),
        (status = 402, description = "`quota_exceeded` or `subscription_inactive`", body = OpenAiErrorBody),
        (status = 403, description = "`model_not_in_plan`", body = OpenAiErrorBody),
        (status = 429, description = "`rate_limited` or `upstream_rate_limited`", body = OpenAiErrorBody),
    ))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let (gone, watch) = connection::watch(&request, &api.runtime);
    let (chat, live) = (Arc::clone(&api.chat), Arc::clone(&caller.live));
    let answer = api
        .run(async move { chat.complete_chat(&live, &bytes, gone).await })
        .await?;
    Ok(match answer {
        ChatAnswer::Whole { body, dropped } => {
            let answer = HttpResponse::Ok().content_type("application/json").body(body);
            name_dropped(answer, &dropped)
        }
        ChatAnswer::Stream { events, dropped } => {
            let id = request_id(&request);
            let answer = sse::response(events, watch, move |item| frame(item, &id));
            name_dropped(answer, &dropped)
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
