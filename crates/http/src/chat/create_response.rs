//! `POST /v1/responses`

use actix_web::{HttpRequest, HttpResponse, web};

use super::dialects::responses::{Answer, Request};
use super::dialects::{self, Stamp};
use super::refusals::OpenAiRefusals;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::Problem;

/// OpenAI's response, whole or streamed. Nothing of it is kept: `store` is answered as false, and the whole conversation
/// comes with each request.
#[utoipa::path(post, path = "/v1/responses", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `input`, `instructions`, `tools` (functions), `stream` and more; docs/API.md lists what is mapped, dropped and refused."),
    responses(
        (status = 200, description = "OpenAI's response; with `stream`, its events. A stream that breaks off ends with `error` and `response.failed`.",
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
    let asked = Request::read(&bytes)?;
    let answer = Answer::new(Stamp::of(&request, &api), asked.model, asked.echo);
    dialects::relay(caller, &api, &request, asked.call, answer).await
}
