//! `POST /v1/completions`

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::Operation;

use super::dialects::{self, text};
use super::refusals::OpenAiRefusals;
use crate::Api;
use crate::body::Body;
use crate::caller::{Known, request_id};
use crate::problem::Problem;

/// OpenAI's older completion of a text, whole or streamed: a chat completion whose one message is the prompt.
#[utoipa::path(post, path = "/v1/completions", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `prompt` (one string), `stream` and what a chat completion knows."),
    responses(
        (status = 200, description = "OpenAI's `text_completion`; with `stream`, `data:` chunks and `[DONE]`.",
            content((Object = "application/json"), (String = "text/event-stream")),
            headers(("anteroom-dropped-parameters" = String, description = "What of the request was not passed on."))),
        OpenAiRefusals,
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let call = text::read(&bytes)?;
    let answer = text::Answer {
        request_id: request_id(&request),
    };
    dialects::relay(caller, &api, &request, Operation::Completions, call, answer).await
}
