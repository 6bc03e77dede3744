//! `POST /v1/embeddings`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::dropped::Dropped;
use super::rates::announce;
use super::refusals::OpenAiRefusals;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::Problem;

/// OpenAI's embeddings. What Anteroom does not know travels both ways untouched. A request counts as one message.
#[utoipa::path(post, path = "/v1/embeddings", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `input` (at most 2048 texts), `encoding_format` (`float` or `base64`), `dimensions` and whatever the provider knows."),
    responses(
        (status = 200, description = "OpenAI's list of vectors.", body = Object,
            headers(("anteroom-dropped-parameters" = String, description = "The parameters that the model's provider could not be told, where there are any."))),
        OpenAiRefusals,
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let (gone, _watch) = api.watchers.watch(&request);
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let embedded = api
        .run_call(
            bytes.len(),
            async move { chat.create_embeddings(&who, &bytes, gone).await },
        )
        .await?;
    let answer = HttpResponse::Ok().content_type("application/json").body(embedded.body);
    let answer = Dropped::default().name_in(answer, &embedded.dropped);
    Ok(announce(answer, &request, &api, embedded.rates))
}
