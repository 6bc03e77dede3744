//! `GET /stripe-stub/checkout/{id}`: the stub's page, with one form without fields.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_ports::billing::HostedCheckout;

use crate::Api;
use crate::caller::Anonymous;
use crate::problem::Problem;

/// The provider whose pages Anteroom serves.
pub(super) const PROVIDER: &str = "stripe-stub";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f4f4f1;color:#1b1b18}\
main{max-width:26rem;margin:12vh auto;padding:2rem;background:#fff;border-radius:12px;box-shadow:0 1px 6px #0002}\
h1{font-size:1.25rem;margin:0 0 .25rem}p{margin:.5rem 0}.price{font-size:1.75rem;font-weight:600}\
.note{background:#fff6d6;border-radius:8px;padding:.6rem .8rem;font-size:.9rem}\
button{font:inherit;width:100%;padding:.7rem;margin:1rem 0 .5rem;border:0;border-radius:8px;background:#1b1b18;color:#fff;cursor:pointer}\
button:focus-visible,a:focus-visible{outline:3px solid #5b8def;outline-offset:2px}a{color:inherit}\
@media(prefers-color-scheme:dark){body{background:#1b1b18;color:#f4f4f1}main{background:#262622}button{background:#f4f4f1;color:#1b1b18}.note{background:#4a3f12}}\
@media(max-width:30rem){main{margin:0;min-height:100vh;border-radius:0;box-sizing:border-box}}";

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn page(checkout: &HostedCheckout) -> String {
    let order = &checkout.order;
    let (plan, interval, cancel) = (
        escape(&order.plan_name),
        escape(&order.interval),
        escape(&order.cancel_url),
    );
    let price = format!(
        "{}.{:02} {}",
        order.amount / 100,
        order.amount % 100,
        escape(&order.currency.to_uppercase())
    );
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Checkout: {plan}</title><style>{STYLE}</style></head><body><main><h1>{plan}</h1>\
         <p class=\"price\">{price} <small>/ {interval}</small></p>\
         <p class=\"note\">This is stripe-stub, the payment provider for trying things out. No money is taken.</p>\
         <form method=\"post\"><button type=\"submit\">Pay {price}</button></form>\
         <p><a href=\"{cancel}\">Cancel and go back</a></p></main></body></html>"
    )
}

/// The stub's checkout page. Whoever holds its address may pay.
#[utoipa::path(get, path = "/stripe-stub/checkout/{id}", tag = "billing", params(("id" = String, Path, description = "The checkout.")),
    responses((status = 200, description = "A page with one form.", content_type = "text/html", body = String)))]
pub async fn handle(_caller: Anonymous, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = request.match_info().get("id").unwrap_or_default();
    let checkout = api
        .billing
        .hosted_checkout(PROVIDER, id)
        .ok_or_else(|| Problem::not_found("checkout; it may be over: open a new one"))?;
    let csp = csp(&checkout, &api);
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, csp))
        // Without a referrer at all browsers send the form with `Origin: null`, which is no allowed origin.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .body(page(&checkout)))
}

/// The form is answered with a redirect to the success page, which browsers hold against `form-action` as well.
fn csp(checkout: &HostedCheckout, api: &Api) -> String {
    let target = url::Url::parse(&checkout.order.success_url)
        .map(|u| u.origin().ascii_serialization())
        .unwrap_or_default();
    let frames = &api.options.frame_ancestors;
    let ancestors = if frames.is_empty() {
        "'none'".to_owned()
    } else {
        frames.join(" ")
    };
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self' {target}; frame-ancestors {ancestors}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_the_page_is_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
