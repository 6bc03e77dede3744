//! `POST /v1/billing/checkout`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_ports::billing::Checkout;
use anteroom_services::billing::CheckoutAsk;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::Api;
use crate::body::Body;
use crate::caller::SignedIn;
use crate::idempotency;
use crate::origin;
use crate::problem::{Problem, ProblemBody};

/// What a user wants to buy.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutRequest {
    /// The plan's key.
    #[schema(example = "pro")]
    plan: String,
    /// How often it is paid, `month` or `year`; without this as the plan's first price.
    #[schema(example = "month")]
    interval: Option<String>,
    /// ISO 4217, lower case; without this as the plan's first price.
    #[schema(example = "usd")]
    currency: Option<String>,
    /// For how many seats; without this as few as the plan is sold for.
    #[schema(example = 3)]
    seats: Option<i64>,
    /// A coupon of the payment provider's; without this the page has a field for promotion codes.
    coupon: Option<String>,
    /// Where to go after paying: a page of the public URL or of `FRONTEND_URL`.
    success_url: Option<String>,
    /// Where to go after turning back: likewise.
    cancel_url: Option<String>,
}

/// A checkout at the payment provider.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CheckoutResponse {
    /// The provider's identifier.
    id: String,
    /// Send the user there.
    url: String,
}

impl From<Checkout> for CheckoutResponse {
    fn from(checkout: Checkout) -> Self {
        Self {
            id: checkout.id,
            url: checkout.url,
        }
    }
}

/// The longest address of a page; it travels in the checkout's own.
const MAX_URL_BYTES: usize = 2048;

/// Refuses addresses that are not the product's own: a checkout must not become an open redirect. Answers the address
/// as it was understood, not as it was written.
pub(super) fn own_page(field: &str, text: Option<&String>, allowed: &[String]) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let plain = text.len() <= MAX_URL_BYTES && !text.contains(|c: char| c.is_control() || c == '\\');
    let own = Url::parse(text).ok().filter(|url| {
        plain
            && matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && origin::allowed(&url.origin().ascii_serialization(), allowed)
    });
    if let Some(url) = own {
        return Ok(Some(url.into()));
    }
    let detail = format!(
        "`{field}` must be a page of this service or of the frontend ({})",
        allowed.join(", ")
    );
    Err(Problem::invalid_field(&format!("/{field}"), "url_not_allowed", detail))
}

/// Open a checkout for a plan. There can be one subscription: change it at `/v1/billing/change`.
#[utoipa::path(post, path = "/v1/billing/checkout", tag = "billing", request_body = CheckoutRequest, responses(
    (status = 201, description = "Send the user to `url`.", body = CheckoutResponse),
    (status = 409, description = "`already_subscribed`", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_plan`, `plan_not_for_sale`, `no_such_price`, `invalid_seats`, `coupon_refused` or `url_not_allowed` in `errors`", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn handle(
    caller: SignedIn,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let (ask, bytes) = body.json::<CheckoutRequest>(api.options.max_json_bytes).await?;
    let success_url = own_page("success_url", ask.success_url.as_ref(), &api.options.allowed_origins)?;
    let cancel_url = own_page("cancel_url", ask.cancel_url.as_ref(), &api.options.allowed_origins)?;
    let user_id = caller.live.user.id;
    let make = async |_| {
        let (billing, live) = (Arc::clone(&api.billing), Arc::clone(&caller.live));
        let open = async move {
            let ask = CheckoutAsk {
                user: &live.user,
                plan: ask.plan,
                interval: ask.interval,
                currency: ask.currency,
                seats: ask.seats,
                coupon: ask.coupon,
                success_url,
                cancel_url,
            };
            billing.open_checkout(ask).await
        };
        Ok(CheckoutResponse::from(api.run(open).await?))
    };
    idempotency::create(&api, &request, user_id, &bytes, make).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_pages_as_they_were_understood() {
        let allowed = ["https://app.example".to_owned()];
        let page = |text: &str| own_page("success_url", Some(&text.to_owned()), &allowed).ok().flatten();
        assert_eq!(
            page("https://app.example/ä?a=b").as_deref(),
            Some("https://app.example/%C3%A4?a=b")
        );
        let long = format!("https://app.example/{}", "x".repeat(2048));
        for foreign in [
            "https://evil.example/",
            "https://app.example.evil.example/",
            "https://app.example@evil.example/",
            "https://user@app.example/",
            "https://app.example/\r\nSet-Cookie: a=b",
            "https://app.example\\@evil.example",
            "http://app.example/",
            "javascript:alert(1)",
            "/relative",
            "",
            &long,
        ] {
            assert_eq!(page(foreign), None, "{foreign}");
        }
    }
}
