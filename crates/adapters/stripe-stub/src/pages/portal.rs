//! `/portal/{id}`: a customer's subscriptions and invoices. An address serves for an hour.

use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::Value;

use super::{NOTE, Visit, day, each, escape, html, link, message, metered, money, see_other};
use crate::Stub;
use crate::billing::{cards, lifecycle};
use crate::error::ApiError;
use crate::form::Params;
use crate::json::{at, int, items, set, some_int, some_text, text};
use crate::world::{Cause, World};

/// How long an address serves, in seconds.
const SERVES_FOR: i64 = 3600;
/// Invoices on the page.
const INVOICES: usize = 12;

/// Shows the page, or does what one of its forms says.
pub(super) fn serve(stub: &Stub, visit: Visit<'_>) -> HttpResponse {
    let Some(form) = visit.form else {
        return show(stub, visit.id, StatusCode::OK, "");
    };
    let done = stub.change(Cause::default(), |world| {
        let session = find(world, visit.id).ok_or_else(|| ApiError::not_found("session", visit.id, "session"))?;
        act(world, text(&session, "customer"), form)
    });
    match done {
        Ok(()) => see_other(&format!("{}/portal/{}", stub.world().public_url, visit.id)),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            show(stub, visit.id, status, &error.message)
        }
    }
}

fn find(world: &World, id: &str) -> Option<Value> {
    let session = world
        .get(id)
        .filter(|session| text(session, "object") == "billing_portal.session")?;
    let now = world.now().as_second();
    (now < int(session, "created") + SERVES_FOR).then(|| session.clone())
}

/// Cancels, takes that back, or changes the card.
fn act(world: &mut World, customer: &str, mut form: Params) -> Result<(), ApiError> {
    let action = form.one_of("action", &["cancel", "keep", "card", "pay"])?;
    let subject = form.opt("subject")?;
    let card = form.opt("card")?;
    form.finish()?;
    match action.as_deref() {
        Some("card") => change_card(world, customer, card.as_deref().unwrap_or_default()),
        Some("pay") => {
            let invoice = world.find("invoice", subject.as_deref().unwrap_or_default(), "invoice", "subject")?;
            own(&invoice, customer)?;
            crate::billing::payments::pay(world, invoice, None).map(drop)
        }
        Some(action) => {
            let id = subject.unwrap_or_default();
            let mut subscription = world.find("subscription", &id, "subscription", "subject")?;
            own(&subscription, customer)?;
            if some_text(&subscription, "schedule").is_some() {
                return Err(ApiError::refused(
                    "A change of this subscription is planned: take that back first.",
                ));
            }
            if lifecycle::is_over(&subscription) {
                return Err(ApiError::refused("This subscription is over."));
            }
            if action == "cancel" && at(&subscription, "billing_mode/type") == "flexible" {
                // The one way of cancelling that does not set `cancel_at_period_end`:
                // <https://docs.stripe.com/billing/subscriptions/billing-mode/compare>
                let end = lifecycle::period(&subscription).1;
                lifecycle::set_end(world, &mut subscription, Some(end));
            } else {
                lifecycle::plan_end(world, &mut subscription, action == "cancel");
            }
            world.change(subscription, "customer.subscription.updated");
            Ok(())
        }
        None => Err(ApiError::missing("action")),
    }
}

fn own(object: &Value, customer: &str) -> Result<(), ApiError> {
    if text(object, "customer") == customer {
        return Ok(());
    }
    Err(ApiError::not_found(
        text(object, "object"),
        text(object, "id"),
        "subject",
    ))
}

/// A new card, for whatever runs.
fn change_card(world: &mut World, customer: &str, word: &str) -> Result<(), ApiError> {
    let name = if word == "fails_at_renewal" {
        cards::FAILS_AT_RENEWAL
    } else {
        cards::GOOD
    };
    let method = cards::make(world, name, Some(customer))?;
    let id = text(&method, "id");
    if let Some(mut owner) = world.get(customer).cloned() {
        let mut settings = at(&owner, "invoice_settings").clone();
        set(&mut settings, "default_payment_method", id);
        set(&mut owner, "invoice_settings", settings);
        world.change(owner, "customer.updated");
    }
    for mut subscription in of_customer(world, "subscription", customer) {
        if !lifecycle::is_over(&subscription) {
            set(&mut subscription, "default_payment_method", id);
            world.change(subscription, "customer.subscription.updated");
        }
    }
    Ok(())
}

/// What a customer has of a kind, newest first.
fn of_customer(world: &World, kind: &str, customer: &str) -> Vec<Value> {
    let own = world
        .of_kind(kind)
        .rev()
        .filter(|object| text(object, "customer") == customer);
    own.cloned().collect()
}

fn show(stub: &Stub, id: &str, status: StatusCode, error: &str) -> HttpResponse {
    stub.tick();
    let world = stub.world();
    let Some(session) = find(&world, id) else {
        let words = "This page is over. Go back to where you came from and open it again.";
        return message(StatusCode::NOT_FOUND, "This page is not there", words);
    };
    let customer = text(&session, "customer");
    let mut content = format!("<h1>Your billing</h1>{NOTE}");
    if !error.is_empty() {
        write!(content, "<p class=\"error\" role=\"alert\">{}</p>", escape(error)).ok();
    }
    for subscription in of_customer(&world, "subscription", customer) {
        content += &about_subscription(&world, &subscription);
    }
    content += "<h2>Card</h2><form method=\"post\"><input type=\"hidden\" name=\"action\" value=\"card\">\
                <label for=\"card\">New card</label><select id=\"card\" name=\"card\"><option value=\"good\">one that pays\
                </option><option value=\"fails_at_renewal\">one that fails at the next renewal</option></select>\
                <button class=\"plain\" type=\"submit\">Change the card</button></form>";
    content += &about_invoices(&world, customer);
    content += &link(text(&session, "return_url"), "Back");
    html(status, "Billing", &content, "")
}

fn about_subscription(world: &World, subscription: &Value) -> String {
    let mut out = String::new();
    for item in items(subscription, "items/data") {
        let price = at(item, "price");
        if crate::billing::lines::is_metered(item) {
            out += &metered(price, text(subscription, "currency"));
            continue;
        }
        let name = world
            .get(text(price, "product"))
            .map(|product| text(product, "name"))
            .unwrap_or_default();
        let amount = money(crate::billing::lines::item_cost(item), text(subscription, "currency"));
        let many = match int(item, "quantity") {
            quantity @ 2.. => format!("{quantity} × "),
            _ => String::new(),
        };
        let (name, amount, each) = (escape(name), escape(&amount), escape(&each(price)));
        write!(out, "<h2>{many}{name}</h2><p>{amount} <small>{each}</small></p>").ok();
    }
    let status = text(subscription, "status");
    let ends = some_int(subscription, "cancel_at");
    let next = lifecycle::period(subscription).1;
    let words = match (status, ends) {
        ("canceled" | "incomplete_expired", _) => "<p>It is over.</p>".to_owned(),
        (_, Some(end)) => format!("<p>It ends on {}.</p>", day(end)),
        ("past_due" | "unpaid" | "incomplete", None) => "<p>A payment is missing.</p>".to_owned(),
        ("paused", None) => "<p>It is paused.</p>".to_owned(),
        ("trialing", None) => format!("<p>It is free until {}.</p>", day(next)),
        (_, None) => format!("<p>The next payment is on {}.</p>", day(next)),
    };
    out += &words;
    if lifecycle::is_over(subscription) || some_text(subscription, "schedule").is_some() {
        return out;
    }
    let (action, words) = if ends.is_some() {
        ("keep", "Keep it")
    } else {
        ("cancel", "Cancel with the end of the period")
    };
    out + &button(action, text(subscription, "id"), words)
}

fn button(action: &str, subject: &str, words: &str) -> String {
    format!(
        "<form method=\"post\"><input type=\"hidden\" name=\"action\" value=\"{action}\"><input type=\"hidden\" \
         name=\"subject\" value=\"{}\"><button class=\"plain\" type=\"submit\">{words}</button></form>",
        escape(subject)
    )
}

fn about_invoices(world: &World, customer: &str) -> String {
    let mut out = String::from("<h2>Invoices</h2><ul>");
    for invoice in of_customer(world, "invoice", customer).iter().take(INVOICES) {
        let amount = money(int(invoice, "amount_due"), text(invoice, "currency"));
        let (amount, status) = (escape(&amount), escape(text(invoice, "status")));
        write!(out, "<li>{}: {amount}, {status}", day(int(invoice, "created"))).ok();
        if status == "open" {
            out += &button("pay", text(invoice, "id"), "Pay it now");
        }
        out += "</li>";
    }
    out + "</ul>"
}
