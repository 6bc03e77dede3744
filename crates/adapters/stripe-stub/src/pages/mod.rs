//! The pages that people see: checkout and portal. No script, nothing from elsewhere, everything escaped.

mod checkout;
mod portal;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::Stub;
use crate::form::Params;
use crate::json::{at, some_text, text};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f4f4f1;color:#1b1b18}\
main{max-width:28rem;margin:8vh auto;padding:2rem;background:#fff;border-radius:12px;box-shadow:0 1px 6px #0002}\
h1{font-size:1.25rem;margin:0 0 .25rem}h2{font-size:1rem;margin:1.5rem 0 .25rem}p,ul{margin:.5rem 0}ul{padding-left:1.1rem}\
.price{font-size:1.75rem;font-weight:600}.note,.error{border-radius:8px;padding:.6rem .8rem;font-size:.9rem}\
.note{background:#fff6d6}.error{background:#fde2e0}small{color:#6a6a62}\
label,select,input{display:block;width:100%;box-sizing:border-box;font:inherit}label{margin:.75rem 0 0;font-size:.9rem}\
select,input{padding:.5rem;border:1px solid #b9b9b0;border-radius:8px;background:#fff;color:inherit}\
button{font:inherit;width:100%;padding:.7rem;margin:1rem 0 .5rem;border:0;border-radius:8px;background:#1b1b18;color:#fff;cursor:pointer}\
button.plain{background:none;color:inherit;border:1px solid #b9b9b0}\
button:focus-visible,a:focus-visible,select:focus-visible,input:focus-visible{outline:3px solid #5b8def;outline-offset:2px}a{color:inherit}\
@media(prefers-color-scheme:dark){body{background:#1b1b18;color:#f4f4f1}main{background:#262622}button{background:#f4f4f1;color:#1b1b18}\
.note{background:#4a3f12}.error{background:#5a201c}small{color:#b9b9b0}select,input{background:#1b1b18;border-color:#5a5a52}}\
@media(max-width:30rem){main{margin:0;min-height:100vh;border-radius:0;box-sizing:border-box}}";

/// The longest that a redirect waits for deliveries.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What every page says.
const NOTE: &str =
    "<p class=\"note\">This is stripe-stub, the payment provider for trying things out. No money is taken.</p>";

/// The routes.
pub(crate) fn configure(stub: &Arc<Stub>, config: &mut web::ServiceConfig) {
    let state = stub.clone();
    let checkout = move |request: HttpRequest, body: web::Bytes| {
        let state = state.clone();
        async move { told(&state, serve(&state, &request, &body, checkout::serve)).await }
    };
    config.service(web::resource("/checkout/{id}").to(checkout));
    let state = stub.clone();
    let portal = move |request: HttpRequest, body: web::Bytes| {
        let state = state.clone();
        async move { told(&state, serve(&state, &request, &body, portal::serve)).await }
    };
    config.service(web::resource("/portal/{id}").to(portal));
}

/// Holds a redirect back until whoever is to hear of it has, but not for long: so does Stripe after a checkout, for up to
/// ten seconds, and the buyer comes back to a product that knows.
/// <https://docs.stripe.com/checkout/fulfillment>
async fn told(stub: &Stub, mut answer: HttpResponse) -> HttpResponse {
    if let Some(policy) = answer.headers_mut().get_mut(header::CONTENT_SECURITY_POLICY) {
        let said = policy.to_str().unwrap_or_default();
        let whole = format!("{said}; frame-ancestors {}", stub.frame_ancestors);
        if let Ok(whole) = whole.parse() {
            *policy = whole;
        }
    }
    if answer.status() == StatusCode::SEE_OTHER {
        let _ = tokio::time::timeout(LONGEST_WAIT, stub.settled()).await;
    }
    answer
}

/// What is asked of a page.
struct Visit<'a> {
    id: &'a str,
    /// The fields of a form that was sent; `None` of a page that is looked at.
    form: Option<Params>,
}

fn serve(
    stub: &Stub,
    request: &HttpRequest,
    body: &[u8],
    page: impl FnOnce(&Stub, Visit<'_>) -> HttpResponse,
) -> HttpResponse {
    let form = match *request.method() {
        Method::GET | Method::HEAD => None,
        Method::POST if !own_form(stub, request) => {
            return message(
                StatusCode::FORBIDDEN,
                "That form is not this page's",
                "Another site cannot press a button here. Open the page itself.",
            );
        }
        Method::POST => {
            let parsed = std::str::from_utf8(body)
                .ok()
                .and_then(|body| Params::parse(&[body]).ok());
            let Some(form) = parsed else {
                return message(
                    StatusCode::BAD_REQUEST,
                    "That form cannot be read",
                    "Go back and try again.",
                );
            };
            Some(form)
        }
        _ => {
            return HttpResponse::MethodNotAllowed()
                .insert_header((header::ALLOW, "GET, HEAD, POST"))
                .finish();
        }
    };
    let id = request.match_info().get("id").unwrap_or_default();
    page(stub, Visit { id, form })
}

/// Whether a form comes from the page itself, as far as the browser says: another site must not press its buttons.
fn own_form(stub: &Stub, request: &HttpRequest) -> bool {
    let said = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    match (said("sec-fetch-site"), said("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            Url::parse(&stub.world().public_url).is_ok_and(|own| own.origin().ascii_serialization() == origin)
        }
        (None, None) => true,
    }
}

/// A page. `leads_to`: where its form may end up, which browsers hold against `form-action` as well.
fn html(status: StatusCode, title: &str, content: &str, leads_to: &str) -> HttpResponse {
    let origin = Url::parse(leads_to)
        .ok()
        .map(|url| url.origin())
        .filter(url::Origin::is_tuple);
    let origin = origin.map(|origin| origin.ascii_serialization()).unwrap_or_default();
    let policy = format!("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self' {origin}");
    let title = escape(title);
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy.trim_end()))
        // Without a referrer at all browsers send the form with `Origin: null`, which is no allowed origin.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head><body><main>{content}</main></body></html>"
        ))
}

/// A page that only says something.
fn message(status: StatusCode, title: &str, words: &str) -> HttpResponse {
    let content = format!("<h1>{}</h1><p>{}</p>{NOTE}", escape(title), escape(words));
    html(status, title, &content, "")
}

/// To another address, by GET.
fn see_other(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// A link, if it leads where a link may lead.
fn link(address: &str, words: &str) -> String {
    let safe = Url::parse(address).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if !safe {
        return String::new();
    }
    format!("<p><a href=\"{}\">{}</a></p>", escape(address), escape(words))
}

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

/// Currencies whose smallest unit is the whole one. <https://docs.stripe.com/currencies#zero-decimal>
const WHOLE: [&str; 16] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
];

/// An amount for people: `19.00 USD`.
fn money(amount: i64, currency: &str) -> String {
    let word = currency.to_uppercase();
    if WHOLE.contains(&currency) {
        return format!("{amount} {word}");
    }
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    format!("{sign}{}.{:02} {word}", amount / 100, amount % 100)
}

/// A fraction of the currency's smallest unit, as Stripe writes it (`0.05`), in the currency: `0.0005 USD`.
fn fine_money(amount: &str, currency: &str) -> String {
    let word = currency.to_uppercase();
    if WHOLE.contains(&currency) {
        return format!("{amount} {word}");
    }
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = format!("{whole:0>3}{fraction}");
    let (units, rest) = digits.split_at(digits.len() - fraction.len() - 2);
    match rest.trim_end_matches('0') {
        "" => format!("{units} {word}"),
        rest => format!("{units}.{rest} {word}"),
    }
}

/// What is paid for something by how much of it is used.
fn metered(price: &Value, currency: &str) -> String {
    let name = some_text(price, "nickname").unwrap_or("What is used");
    let amount = fine_money(text(price, "unit_amount_decimal"), currency);
    let (name, amount) = (escape(name), escape(&amount));
    format!("<p>{name}: {amount} each, at the end of the period.</p>")
}

/// How often: `/ month`, `/ 3 months`.
fn each(price: &Value) -> String {
    let recurring = at(price, "recurring");
    let interval = text(recurring, "interval");
    match crate::json::int(recurring, "interval_count") {
        0 | 1 => format!("/ {interval}"),
        count => format!("/ {count} {interval}s"),
    }
}

/// A day for people: `2026-03-31`.
fn day(second: i64) -> String {
    let time = Timestamp::from_second(second).unwrap_or_default();
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_a_page_is_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!(link("javascript:alert(1)", "x"), "");
        assert_eq!(
            link("https://a.example/?a=1&b", "Back"),
            "<p><a href=\"https://a.example/?a=1&amp;b\">Back</a></p>"
        );
    }

    #[test]
    fn amounts_are_written_as_their_currency_is() {
        assert_eq!(money(1900, "usd"), "19.00 USD");
        assert_eq!(money(-5, "eur"), "-0.05 EUR");
        assert_eq!(money(1900, "jpy"), "1900 JPY");
        for (amount, currency, said) in [
            ("0.05", "usd", "0.0005 USD"),
            ("2", "usd", "0.02 USD"),
            ("250", "usd", "2.5 USD"),
            ("100", "eur", "1 EUR"),
            ("1234.5", "eur", "12.345 EUR"),
            ("0.5", "jpy", "0.5 JPY"),
        ] {
            assert_eq!(fine_money(amount, currency), said);
        }
    }
}
