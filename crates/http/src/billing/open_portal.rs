//! `POST /v1/billing/portal`

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::open_checkout::own_page;
use crate::Api;
use crate::body::Body;
use crate::caller::SignedIn;
use crate::problem::{Problem, ProblemBody};

/// Where the portal leads back to.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalRequest {
    /// A page of the public URL or of `FRONTEND_URL`.
    return_url: Option<String>,
}

/// A page of the payment provider's.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PortalResponse {
    /// Send the user there; it opens once, soon.
    url: String,
}

/// Open the payment provider's page on which a user sees their invoices and changes their means of payment.
#[utoipa::path(post, path = "/v1/billing/portal", tag = "billing", request_body = PortalRequest, responses(
    (status = 201, description = "Send the user to `url`.", body = PortalResponse),
    (status = 422, description = "`url_not_allowed` in `errors`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 502, description = "`payment_provider_failed`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(caller: SignedIn, api: web::Data<Api>, body: Body) -> Result<HttpResponse, Problem> {
    let (ask, _) = body.json::<PortalRequest>(api.options.max_json_bytes).await?;
    let return_url = own_page("return_url", ask.return_url.as_ref(), &api.options.allowed_origins)?;
    let (billing, live) = (Arc::clone(&api.billing), caller.live);
    let url = api
        .run(async move { billing.open_portal(&live.user, return_url).await })
        .await?;
    Ok(HttpResponse::Created().json(PortalResponse { url }))
}
