//! Paying invoices: attempts, retries, and what they do to the subscription.

use serde_json::{Value, json};

use crate::billing::cards::{self, Decline};
use crate::billing::invoices::{self, subscription_of, transition};
use crate::billing::{changes, lifecycle};
use crate::error::ApiError;
use crate::json::{at, hidden, int, set, set_hidden, text};
use crate::periods::DAY;
use crate::world::World;

/// When a payment that failed is tried again: so many days after the attempt before. Stripe's retries are a setting of
/// the account; <https://docs.stripe.com/billing/revenue-recovery/smart-retries>
pub(crate) const RETRY_DAYS: [i64; 3] = [3, 5, 7];

/// Tries to pay an open invoice: with this payment method, else with the subscription's. Writes down how it went on
/// the invoice; what it means for the subscription is [`settled`] and [`failed`].
pub(crate) fn attempt(world: &mut World, mut invoice: Value, with: Option<Value>) -> Result<Value, (Value, Decline)> {
    let subscription = subscription_of(&invoice)
        .and_then(|id| world.get(id))
        .cloned()
        .unwrap_or_default();
    let method = with.or_else(|| cards::of_subscription(world, &subscription).cloned());
    let renewal = text(&invoice, "billing_reason") == "subscription_cycle";
    let count = int(&invoice, "attempt_count") + 1;
    set(&mut invoice, "attempt_count", count);
    set(&mut invoice, "attempted", true);
    let Err(decline) = cards::charge(method.as_ref(), renewal) else {
        return Ok(mark_paid(world, invoice));
    };
    world.put(invoice.clone());
    world.emit("invoice.payment_failed", &invoice, None);
    if decline.asks {
        world.emit("invoice.payment_action_required", &invoice, None);
    }
    Err((invoice, decline))
}

/// An invoice that is paid, or had nothing to pay.
pub(crate) fn mark_paid(world: &mut World, mut invoice: Value) -> Value {
    let due = int(&invoice, "amount_due");
    for (key, value) in [("amount_paid", due), ("amount_remaining", 0)] {
        set(&mut invoice, key, value);
    }
    set(&mut invoice, "status", "paid");
    set(&mut invoice, "attempted", true);
    set(&mut invoice, "auto_advance", false);
    set(&mut invoice, "next_payment_attempt", Value::Null);
    transition(&mut invoice, "paid_at", world.at);
    world.put(invoice.clone());
    world.emit("invoice.paid", &invoice, None);
    world.emit("invoice.payment_succeeded", &invoice, None);
    invoice
}

/// What a paid invoice means for its subscription.
pub(crate) fn settled(world: &mut World, invoice: &Value) {
    let Some(mut subscription) = subscription_of(invoice).and_then(|id| world.get(id)).cloned() else {
        return;
    };
    if at(hidden(&subscription, "pending_update"), "invoice") == at(invoice, "id") {
        changes::apply_pending(world, &mut subscription);
    }
    if hidden(&subscription, "resumes_with") == at(invoice, "id") {
        lifecycle::resumed(world, subscription);
        return;
    }
    if at(&subscription, "latest_invoice") != at(invoice, "id") {
        return;
    }
    if ["incomplete", "past_due", "unpaid"].contains(&text(&subscription, "status")) {
        set(&mut subscription, "status", "active");
        world.change(subscription, "customer.subscription.updated");
    }
}

/// The same, if it is.
pub(crate) fn settled_if_paid(world: &mut World, invoice: &Value) {
    if text(invoice, "status") == "paid" {
        settled(world, invoice);
    }
}

/// What a failed payment means: the subscription is past due, and the payment is tried again later.
pub(crate) fn failed(world: &mut World, mut invoice: Value) {
    let tries = usize::try_from(int(&invoice, "attempt_count")).unwrap_or_default();
    let wait = RETRY_DAYS.get(tries.saturating_sub(1));
    let next = wait.map(|days| world.at + days * DAY);
    set(&mut invoice, "next_payment_attempt", next);
    world.put(invoice.clone());
    let Some(mut subscription) = subscription_of(&invoice).and_then(|id| world.get(id)).cloned() else {
        return;
    };
    if next.is_none() {
        return give_up(world, subscription, &invoice);
    }
    if ["active", "trialing"].contains(&text(&subscription, "status")) {
        set(&mut subscription, "status", "past_due");
        world.change(subscription, "customer.subscription.updated");
    }
}

/// The last retry failed.
fn give_up(world: &mut World, mut subscription: Value, invoice: &Value) {
    if lifecycle::is_over(&subscription) {
        return;
    }
    if world.unpaid {
        invoices::stop_trying(world, text(invoice, "id"));
        set(&mut subscription, "status", "unpaid");
        world.change(subscription, "customer.subscription.updated");
        return;
    }
    lifecycle::cancel(world, subscription, "payment_failed");
}

/// Pays an open invoice of a subscription at once, or leaves it open and past due.
pub(crate) fn collect(world: &mut World, invoice: Value) -> Option<Decline> {
    if text(&invoice, "status") == "paid" {
        settled(world, &invoice);
        return None;
    }
    match attempt(world, invoice, None) {
        Ok(invoice) => {
            settled(world, &invoice);
            None
        }
        Err((invoice, decline)) => {
            failed(world, invoice);
            Some(decline)
        }
    }
}

/// A retry that is due.
pub(crate) fn retry(world: &mut World, mut invoice: Value) {
    set(&mut invoice, "next_payment_attempt", Value::Null);
    collect(world, invoice);
}

/// Pays because somebody asked for it. A refusal leaves its traces and the retries as they were.
pub(crate) fn pay(world: &mut World, invoice: Value, with: Option<Value>) -> Result<Value, ApiError> {
    match text(&invoice, "status") {
        "open" | "uncollectible" => (),
        "paid" => return Err(ApiError::coded("invoice_already_paid", "Invoice is already paid")),
        status => {
            return Err(ApiError::refused(format!(
                "This invoice cannot be paid, it is {status}."
            )));
        }
    }
    let planned = at(&invoice, "next_payment_attempt").clone();
    match attempt(world, invoice, with) {
        Ok(invoice) => {
            settled(world, &invoice);
            Ok(invoice)
        }
        Err((mut invoice, decline)) => {
            set(&mut invoice, "next_payment_attempt", planned);
            world.put(invoice);
            Err(decline.error().keeping())
        }
    }
}

/// Deals with a renewal's invoice of a subscription whose collection is paused (`pause_collection`).
pub(crate) fn hold(world: &mut World, mut invoice: Value, behavior: &str) -> Result<(), ApiError> {
    world.create(&invoice, "invoice.created");
    if behavior == "keep_as_draft" {
        set(&mut invoice, "auto_advance", false);
        world.put(invoice);
        return Ok(());
    }
    let mut invoice = invoices::finalize(world, invoice);
    if text(&invoice, "status") == "paid" {
        return Ok(());
    }
    if behavior == "void" {
        return invoices::void(world, invoice).map(drop);
    }
    set(&mut invoice, "status", "uncollectible");
    transition(&mut invoice, "marked_uncollectible_at", world.at);
    world.put(invoice.clone());
    world.emit("invoice.marked_uncollectible", &invoice, None);
    Ok(())
}

/// Remembers a change that waits for an invoice to be paid.
pub(crate) fn wait_for(subscription: &mut Value, invoice: &Value, items: &Value, expires_at: i64) {
    set_hidden(
        subscription,
        "pending_update",
        json!({ "invoice": at(invoice, "id").clone(), "items": items.clone() }),
    );
    set(
        subscription,
        "pending_update",
        json!({
            "billing_cycle_anchor": null, "cancel_at_period_end": null, "discount": null, "discounts": null,
            "expires_at": expires_at, "metadata": null, "subscription_items": items.clone(), "trial_end": null,
            "trial_from_plan": null,
        }),
    );
}
