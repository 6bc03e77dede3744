//! `POST /v1/billing/webhooks/{provider}`

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_ports::billing::WebhookRejected;
use anteroom_services::billing::ApplyWebhookError;

use crate::Api;
use crate::body::Body;
use crate::caller::Anonymous;
use crate::problem::{Problem, ProblemBody};

impl From<ApplyWebhookError> for Problem {
    fn from(error: ApplyWebhookError) -> Self {
        match error {
            ApplyWebhookError::UnknownProvider => Self::not_found("payment provider"),
            ApplyWebhookError::Rejected(rejected) => {
                let code = match rejected {
                    WebhookRejected::BadSignature => "bad_signature",
                    WebhookRejected::Stale => "stale_webhook",
                    WebhookRejected::Malformed(_) => "malformed_webhook",
                    WebhookRejected::OtherMode { .. } => "other_mode_webhook",
                };
                Self::new(StatusCode::BAD_REQUEST, code, rejected.to_string())
            }
            ApplyWebhookError::LookUp(e) => {
                let text = e.to_string();
                let detail = "the event is stored and has had no effect yet; send it again";
                Self::unavailable("payment_provider_failed", detail, 10).logged(text)
            }
            ApplyWebhookError::Store(e) => e.into(),
        }
    }
}

/// Receive an event of the payment provider. It is verified over the raw body.
#[utoipa::path(post, path = "/v1/billing/webhooks/{provider}", tag = "billing",
    params(("provider" = String, Path, description = "The provider's name.", example = "stripe-stub")),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Accepted; known events too.", body = Object),
        (status = 400, description = "`bad_signature`, `stale_webhook`, `malformed_webhook` or `other_mode_webhook`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`store_unavailable`, or the payment provider is away: send it again", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn handle(
    _caller: Anonymous,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let provider = request.match_info().get("provider").unwrap_or_default().to_owned();
    let bytes = body.bytes(api.options.max_json_bytes).await?;
    let headers: HashMap<String, String> = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let billing = Arc::clone(&api.billing);
    api.run(async move {
        billing
            .apply_webhook(&provider, &|name| headers.get(name).cloned(), &bytes)
            .await
    })
    .await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "received": true })))
}
