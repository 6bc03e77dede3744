//! `POST /v1/messages/count_tokens`

use actix_web::web;
use serde::Serialize;

use super::dialects::anthropic::Request;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::Problem;

/// How many tokens a request would send.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenCount {
    /// An estimate: no tokenizer of the model's is asked.
    #[schema(example = 14)]
    input_tokens: usize,
}

/// How many tokens a request of Anthropic's would send, estimated: a token for three bytes of text, 1600 for a picture or
/// a document.
#[utoipa::path(post, path = "/v1/messages/count_tokens", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "A request as for `/v1/messages`; `max_tokens` may be absent."),
    responses((status = 200, description = "The estimate.", body = TokenCount)))]
pub async fn handle(_: Known, api: web::Data<Api>, body: Body) -> Result<web::Json<TokenCount>, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let Request { input_tokens, .. } = Request::read(&bytes, true)?;
    Ok(web::Json(TokenCount { input_tokens }))
}
