//! `POST /v1/messages`

use actix_web::{HttpRequest, HttpResponse, web};

use super::dialects::anthropic::{Answer, Request};
use super::dialects::{self, Stamp};
use super::refusals::AnthropicRefusals;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::Problem;

/// Anthropic's message, whole or streamed, whichever provider answers. The token may come as `x-api-key`.
#[utoipa::path(post, path = "/v1/messages", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "Anthropic's request: `model`, `max_tokens`, `messages`, `system`, `tools`, `stream` and more; docs/API.md lists what is mapped, dropped and refused."),
    responses(
        (status = 200, description = "Anthropic's message; with `stream`, its events. A stream that breaks off ends with `error`.",
            content((Object = "application/json"), (String = "text/event-stream")),
            headers(("anteroom-dropped-parameters" = String, description = "What of the request was not passed on."))),
        AnthropicRefusals,
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let asked = Request::read(&bytes, false)?;
    let answer = Answer::new(&Stamp::of(&request, &api), asked.model, asked.thinking);
    dialects::relay(caller, &api, &request, asked.call, answer).await
}
