//! `POST /v1/billing/credits/checkout`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_services::billing::{BuyCreditsError, CreditsOrder};
use serde::Deserialize;

use super::open_checkout::{CheckoutResponse, own_page};
use super::refusals::not_configured;
use crate::Api;
use crate::body::Body;
use crate::caller::SignedIn;
use crate::idempotency;
use crate::problem::{Problem, ProblemBody};

/// What a user wants to buy.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyCreditsRequest {
    /// The pack's key.
    #[schema(example = "small")]
    pack: String,
    /// How many of it, 1 to 100; without this, 1.
    #[schema(example = 1)]
    quantity: Option<i64>,
    /// Where to go after paying: a page of the public URL or of `FRONTEND_URL`.
    success_url: Option<String>,
    /// Where to go after turning back: likewise.
    cancel_url: Option<String>,
}

impl From<BuyCreditsError> for Problem {
    fn from(error: BuyCreditsError) -> Self {
        let detail = error.to_string();
        match error {
            BuyCreditsError::NoProvider => not_configured(),
            BuyCreditsError::UnknownPack(_) => Self::invalid_field(
                "/pack",
                "unknown_pack",
                format!("{detail}; GET /v1/billing/credits/packs lists them"),
            ),
            BuyCreditsError::Quantity => Self::invalid_field("/quantity", "refused", detail),
            BuyCreditsError::NotTaken(_) => Self::new(StatusCode::CONFLICT, "credits_not_in_plan", detail),
            BuyCreditsError::Provider(e) => e.into(),
            BuyCreditsError::Store(e) => e.into(),
        }
    }
}

/// Open a checkout for credits. They are there once the payment provider says that they are paid.
#[utoipa::path(post, path = "/v1/billing/credits/checkout", tag = "billing", request_body = BuyCreditsRequest, responses(
    (status = 201, description = "Send the user to `url`.", body = CheckoutResponse),
    (status = 409, description = "`credits_not_in_plan`: calls take none in the plan in force", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_pack` or `url_not_allowed` in `errors`, or another refused field", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (ask, bytes) = body.json::<BuyCreditsRequest>(api.options.max_json_bytes).await?;
    let success_url = own_page("success_url", ask.success_url.as_ref(), &api.options.allowed_origins)?;
    let cancel_url = own_page("cancel_url", ask.cancel_url.as_ref(), &api.options.allowed_origins)?;
    let user_id = caller.live.user.id;
    let make = async |_| {
        let (billing, live) = (Arc::clone(&api.billing), Arc::clone(&caller.live));
        let open = async move {
            let order = CreditsOrder {
                user: &live.user,
                pack: ask.pack,
                quantity: ask.quantity.unwrap_or(1),
                success_url,
                cancel_url,
            };
            billing.buy_credits(order).await
        };
        Ok(CheckoutResponse::from(api.run(open).await?))
    };
    idempotency::create(&api, &request, user_id, &bytes, make).await
}
