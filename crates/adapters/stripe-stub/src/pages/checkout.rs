//! `/checkout/{id}`: a form without fields, which pays, and one in which something else can be chosen. Whoever holds the address may pay.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::Value;
use tracing::info;

use super::{NOTE, Visit, day, each, escape, html, link, message, metered, money, see_other};
use crate::Stub;
use crate::billing::checkout::{self, Outcome};
use crate::billing::purchases;
use crate::error::ApiError;
use crate::form::Params;
use crate::json::{at, int, some_text, text, truth};
use crate::world::{Cause, World};

/// Shows the page, or does what its form says.
pub(super) fn serve(stub: &Stub, visit: Visit<'_>) -> HttpResponse {
    match visit.form {
        None => show(stub, visit.id, StatusCode::OK, ""),
        Some(form) => pay(stub, visit.id, form),
    }
}

fn find(world: &World, id: &str) -> Option<Value> {
    let session = world.get(id)?;
    let here = text(session, "object") == "checkout.session" && text(session, "status") != "expired";
    here.then(|| session.clone())
}

fn gone() -> HttpResponse {
    let words = "There is no such checkout, or it is over. Go back to where you came from and open a new one.";
    message(StatusCode::NOT_FOUND, "This checkout is not there", words)
}

fn pay(stub: &Stub, id: &str, form: Params) -> HttpResponse {
    let done = stub.change(Cause::default(), |world| {
        let session = find(world, id).ok_or_else(|| ApiError::not_found("checkout.session", id, "session"))?;
        let (outcome, code) = read(form)?;
        checkout::pay(world, session, outcome, &code)
    });
    match done {
        Ok(session) => {
            info!(
                event = "stripe_stub.paid",
                checkout = id,
                subscription = text(&session, "subscription"),
                payment_intent = text(&session, "payment_intent")
            );
            see_other(&target(&session))
        }
        Err(error) if error.status == 404 => gone(),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            show(stub, id, status, &error.message)
        }
    }
}

fn read(mut form: Params) -> Result<(Outcome, String), ApiError> {
    let word = form.text("outcome")?.unwrap_or_default();
    let outcome = Outcome::read(&word).ok_or_else(|| ApiError::refused("There is no such outcome."))?;
    let code = form.text("promotion_code")?.unwrap_or_default();
    form.finish()?;
    Ok((outcome, code))
}

/// Where the buyer goes after paying. <https://docs.stripe.com/payments/checkout/custom-success-page>
fn target(session: &Value) -> String {
    text(session, "success_url").replace("{CHECKOUT_SESSION_ID}", text(session, "id"))
}

fn show(stub: &Stub, id: &str, status: StatusCode, error: &str) -> HttpResponse {
    stub.tick();
    let world = stub.world();
    let Some(session) = find(&world, id) else { return gone() };
    if text(&session, "status") == "complete" {
        let content = format!("<h1>This is paid for</h1>{}{NOTE}", link(&target(&session), "Go on"));
        return html(StatusCode::OK, "Checkout", &content, "");
    }
    let content = content(&world, &session, error);
    html(status, "Checkout", &content, text(&session, "success_url"))
}

fn content(world: &World, session: &Value, error: &str) -> String {
    let currency = text(session, "currency");
    let mut what = String::new();
    for (price, quantity) in checkout::bought(world, session) {
        if at(&price, "recurring/usage_type") == "metered" {
            what += &metered(&price, currency);
            continue;
        }
        let name = world
            .get(text(&price, "product"))
            .map(|product| text(product, "name"))
            .unwrap_or_default();
        let amount = money(crate::billing::lines::cost(&price, quantity), currency);
        let many = if quantity > 1 {
            format!("{quantity} × ")
        } else {
            String::new()
        };
        let often = if !at(&price, "recurring").is_null() {
            each(&price)
        } else if quantity > 1 {
            format!("{} each", money(crate::billing::lines::cost(&price, 1), currency))
        } else {
            String::new()
        };
        write!(
            what,
            "<h1>{many}{}</h1><p class=\"price\">{} <small>{}</small></p>",
            escape(name),
            escape(&amount),
            escape(&often)
        )
        .ok();
    }
    if let Some(end) = checkout::trial_end(world, session) {
        write!(what, "<p>Free until {}.</p>", day(end)).ok();
    }
    for wanted in checkout::wanted(session) {
        let name = world
            .get(&wanted.coupon)
            .map(|coupon| some_text(coupon, "name").unwrap_or(&wanted.coupon));
        write!(
            what,
            "<p>With the coupon {}.</p>",
            escape(name.unwrap_or(&wanted.coupon))
        )
        .ok();
    }
    let due = escape(&money(int(session, "amount_total"), currency));
    let error = if error.is_empty() {
        String::new()
    } else {
        format!("<p class=\"error\" role=\"alert\">{}</p>", escape(error))
    };
    // Whoever was refused wants to choose again.
    let open = if error.is_empty() { "" } else { " open" };
    let outcomes = outcomes(session);
    let code = if truth(session, "allow_promotion_codes") {
        "<label for=\"code\">Promotion code</label><input id=\"code\" name=\"promotion_code\" autocomplete=\"off\">"
    } else {
        ""
    };
    format!(
        "{what}<p>Due today: <strong>{due}</strong></p>{NOTE}{error}<form method=\"post\"><button type=\"submit\">Pay {due}</button></form>\
         <details{open}><summary>Let something else happen</summary><form method=\"post\">{code}\
         <label for=\"outcome\">What is to happen</label><select id=\"outcome\" name=\"outcome\">{outcomes}</select>\
         <button class=\"plain\" type=\"submit\">Go on with this</button></form></details>{}",
        link(text(session, "cancel_url"), "Cancel and go back")
    )
}

/// What can happen, as options of a list.
fn outcomes(session: &Value) -> String {
    let once = purchases::is_once(session);
    let all = [
        ("paid", "the card pays", true),
        (
            "fails_at_renewal",
            "the card pays now and fails at the next renewal",
            !once,
        ),
        ("declined", "the card is declined", true),
        ("debit", "a bank account pays, three days later", true),
        ("debit_fails", "a bank account is to pay, and does not", true),
        ("disputed", "the card pays, and its owner takes the money back", once),
        ("without_card", "without a card", checkout::may_leave_card_out(session)),
    ];
    let mut options = String::new();
    for (outcome, words, _) in all.iter().filter(|(.., shown)| *shown) {
        write!(options, "<option value=\"{outcome}\">{words}</option>").ok();
    }
    options
}
