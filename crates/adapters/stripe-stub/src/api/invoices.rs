//! `/v1/invoices`.

use serde_json::Value;

use super::{Call, list, subscriptions};
use crate::billing::invoices::{self, Bill, subscription_of};
use crate::billing::{cards, changes, lifecycle, lines, payments};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::json::{at, items, set, text};
use crate::world::World;

/// Answers a request to invoices.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("GET", []) => list_all(world, call.params),
        ("POST", ["create_preview"]) => preview(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("GET", [id, "lines"]) => {
            let mut params = call.params;
            params.ignore(&["limit"]);
            params.finish()?;
            Ok(at(&find(world, id)?, "lines").clone())
        }
        ("POST", [id, "pay"]) => pay(world, id, call.params),
        ("POST", [id, "void"]) => {
            call.params.finish()?;
            let invoice = find(world, id)?;
            invoices::void(world, invoice)
        }
        ("POST", [id, "finalize"]) => finalize(world, id, call.params),
        ("POST", [id, "mark_uncollectible"]) => mark_uncollectible(world, id, call.params),
        _ => call.nowhere("invoices"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find("invoice", id, "invoice", "invoice")
}

fn pay(world: &mut World, id: &str, mut params: Params) -> Answer {
    let invoice = find(world, id)?;
    let method = params.opt("payment_method")?;
    let outside = params.boolean("paid_out_of_band")?.unwrap_or(false);
    params.ignore(&["forgive", "off_session"]);
    params.finish()?;
    let invoice = if text(&invoice, "status") == "draft" {
        invoices::finalize(world, invoice)
    } else {
        invoice
    };
    if outside && text(&invoice, "status") == "open" {
        let invoice = payments::mark_paid(world, invoice);
        payments::settled(world, &invoice);
        return Ok(invoice);
    }
    let with = match method {
        Some(name) => Some(cards::resolve(
            world,
            &name,
            text(&invoice, "customer"),
            "payment_method",
        )?),
        None => None,
    };
    payments::pay(world, invoice, with)
}

fn finalize(world: &mut World, id: &str, mut params: Params) -> Answer {
    params.ignore(&["auto_advance"]);
    params.finish()?;
    let invoice = find(world, id)?;
    if text(&invoice, "status") != "draft" {
        return Err(ApiError::refused(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
        ));
    }
    let invoice = invoices::finalize(world, invoice);
    payments::settled_if_paid(world, &invoice);
    Ok(invoice)
}

fn mark_uncollectible(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    let mut invoice = find(world, id)?;
    if text(&invoice, "status") != "open" {
        return Err(ApiError::refused("You can only mark an open invoice uncollectible."));
    }
    set(&mut invoice, "status", "uncollectible");
    set(&mut invoice, "next_payment_attempt", Value::Null);
    invoices::transition(&mut invoice, "marked_uncollectible_at", world.at);
    world.put(invoice.clone());
    world.emit("invoice.marked_uncollectible", &invoice, None);
    Ok(invoice)
}

/// What a change would cost at once (`always_invoice`, or a new period), else what the next renewal will.
/// <https://docs.stripe.com/api/invoices/create_preview>
fn preview(world: &mut World, mut params: Params) -> Answer {
    let id = params.required("subscription")?;
    let customer = params.opt("customer")?;
    let mut entries = None;
    let (mut proration, mut date) = (None, None);
    if let Some(mut details) = params.sub("subscription_details")? {
        entries = details.list("items")?;
        proration = details.one_of("proration_behavior", &["create_prorations", "none", "always_invoice"])?;
        date = details.int("proration_date")?;
        details.ignore(&["cancel_at_period_end"]);
        details.finish()?;
    }
    params.ignore(&["automatic_tax", "preview_mode"]);
    params.finish()?;
    let subscription = world.find("subscription", &id, "subscription", "subscription")?;
    if customer.is_some_and(|customer| customer != text(&subscription, "customer")) {
        return Err(ApiError::refused("The subscription does not belong to this customer."));
    }
    if lifecycle::is_over(&subscription) {
        let message = format!("No upcoming invoices for subscription: {id}");
        return Err(ApiError::coded("invoice_upcoming_none", message));
    }
    let proration = proration.unwrap_or_else(|| "create_prorations".to_owned());
    let changing = entries.is_some();
    let list = match entries {
        Some(entries) => subscriptions::wanted_items(world, &subscription, entries)?,
        None => items(&subscription, "items/data").to_vec(),
    };
    let now = date.unwrap_or(world.at);
    let change = changes::plan(world, &subscription, list, &proration, now)?;
    let changed = change.subscription;
    let mut all = lines::pending(&subscription);
    all.extend(change.lines);
    let (_, end) = lifecycle::period(&changed);
    if changing && (change.begins || proration == "always_invoice") {
        let bill = Bill {
            reason: "subscription_update",
            lines: all,
            period: (now, now),
        };
        return Ok(invoices::preview(world, &changed, bill, now));
    }
    let next = lifecycle::following(&changed, end);
    all.extend(lines::for_period(
        world,
        &changed,
        items(&changed, "items/data"),
        (end, next),
    ));
    let bill = Bill {
        reason: "upcoming",
        lines: all,
        period: lifecycle::period(&changed),
    };
    Ok(invoices::preview(world, &changed, bill, end))
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let (customer, subscription) = (params.opt("customer")?, params.opt("subscription")?);
    let status = params.one_of("status", &["draft", "open", "paid", "uncollectible", "void"])?;
    params.ignore(&["collection_method"]);
    list(world, params, ("invoice", "/v1/invoices"), |invoice| {
        customer
            .as_ref()
            .is_none_or(|customer| text(invoice, "customer") == customer)
            && subscription
                .as_ref()
                .is_none_or(|id| subscription_of(invoice) == Some(id))
            && status.as_ref().is_none_or(|status| text(invoice, "status") == status)
    })
}
