//! Changing what a subscription is for: the new items, what is settled in proportion, and who pays when.
//! <https://docs.stripe.com/billing/subscriptions/prorations>

use serde_json::Value;

use crate::billing::invoices::{self, Bill};
use crate::billing::lifecycle::{following, interval, period, set_period};
use crate::billing::lines::{self, item_cost};
use crate::billing::payments;
use crate::error::ApiError;
use crate::json::{at, hidden, int, items, set, set_hidden, text};
use crate::world::World;

/// How long a change waits for its payment (`pending_if_incomplete`).
const PENDING_FOR: i64 = 23 * 3600;

/// What a change comes to.
#[derive(Debug)]
pub(crate) struct Change {
    /// The subscription as it is then.
    pub(crate) subscription: Value,
    /// What is settled in proportion, or paid for a period that begins with it.
    pub(crate) lines: Vec<Value>,
    /// Whether a new period begins, which is paid at once.
    pub(crate) begins: bool,
}

/// Works out a change of the items at a time. `proration` is Stripe's `proration_behavior`.
pub(crate) fn plan(
    world: &World,
    subscription: &Value,
    list: Vec<Value>,
    proration: &str,
    now: i64,
) -> Result<Change, ApiError> {
    let Some(first) = list.first() else {
        return Err(ApiError::refused("A subscription must have at least one item."));
    };
    let new = interval(at(first, "price"));
    if list.iter().any(|item| interval(at(item, "price")) != new) {
        return Err(ApiError::refused(
            "stripe-stub bills all items of a subscription at the same interval.",
        ));
    }
    let currency = at(subscription, "currency");
    if list.iter().any(|item| at(item, "price/currency") != currency) {
        return Err(ApiError::refused(
            "All prices of a subscription must use the same currency.",
        ));
    }
    let (start, end) = period(subscription);
    let old = items(subscription, "items/data");
    let status = text(subscription, "status");
    let runs = ["active", "past_due", "unpaid"].contains(&status);
    let cost = |list: &[Value]| list.iter().map(item_cost).sum::<i64>();
    // Another interval, or the first thing that costs something, begins a new period.
    let begins = runs
        && (old.first().is_some_and(|item| interval(at(item, "price")) != new) || (cost(old) == 0 && cost(&list) > 0));
    let mut changed = subscription.clone();
    set_items(&mut changed, list);
    let mut all = Vec::new();
    let now = now.clamp(start, end);
    if runs && proration != "none" {
        let fresh = items(&changed, "items/data");
        let gone: Vec<_> = old
            .iter()
            .filter(|item| begins || !fresh.iter().any(|new| same(item, new)))
            .collect();
        let come: Vec<_> = fresh
            .iter()
            .filter(|item| !begins && !old.iter().any(|was| same(item, was)))
            .collect();
        all = lines::for_rest(world, subscription, (&gone, &come), (start, now, end));
        all.extend(used_till(world, subscription, &gone, (start, now)));
    }
    if begins {
        set(&mut changed, "billing_cycle_anchor", now);
        let next = following(&changed, now);
        set_period(&mut changed, (now, next));
        all.extend(lines::for_period(
            world,
            &changed,
            items(&changed, "items/data"),
            (now, next),
        ));
    }
    Ok(Change {
        subscription: changed,
        lines: all,
        begins,
    })
}

/// What was used of items that go. Only a subscription in flexible billing mode bills it:
/// <https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup>
fn used_till(world: &World, subscription: &Value, gone: &[&Value], period: (i64, i64)) -> Vec<Value> {
    if at(subscription, "billing_mode/type") != "flexible" {
        return Vec::new();
    }
    let mut used = lines::for_usage_of(world, subscription, gone, period);
    used.retain(|line| int(line, "quantity") != 0);
    used
}

/// The same where these items take the place of all that are there, at the end of the period.
pub(crate) fn used_of_gone(world: &World, subscription: &Value, fresh: &[Value]) -> Vec<Value> {
    let old = items(subscription, "items/data").iter();
    let gone: Vec<_> = old.filter(|item| !fresh.iter().any(|new| same(item, new))).collect();
    used_till(world, subscription, &gone, period(subscription))
}

fn same(one: &Value, other: &Value) -> bool {
    at(one, "id") == at(other, "id")
        && at(one, "price/id") == at(other, "price/id")
        && at(one, "quantity") == at(other, "quantity")
}

fn set_items(subscription: &mut Value, list: Vec<Value>) {
    let mut all = at(subscription, "items").clone();
    set(&mut all, "total_count", list.len());
    set(&mut all, "data", list);
    set(subscription, "items", all);
}

/// Makes a change. With `always_invoice`, or where a new period begins, it is paid at once; `behavior` is Stripe's
/// `payment_behavior` for when that fails. The caller's change is taken back as a whole if it is an error.
pub(crate) fn make(world: &mut World, change: Change, proration: &str, behavior: &str) -> Result<(), ApiError> {
    let Change {
        mut subscription,
        lines,
        begins,
    } = change;
    if !begins && proration != "always_invoice" {
        lines::put_off(&mut subscription, lines);
        world.change(subscription, "customer.subscription.updated");
        return Ok(());
    }
    let mut all = lines::take_pending(&mut subscription);
    all.extend(lines);
    if all.is_empty() {
        world.change(subscription, "customer.subscription.updated");
        return Ok(());
    }
    let bill = Bill {
        reason: "subscription_update",
        lines: all,
        period: (world.at, world.at),
    };
    let invoice = invoices::draft(world, &subscription, bill);
    let before = world.get(text(&subscription, "id")).cloned().unwrap_or_default();
    set(&mut subscription, "latest_invoice", at(&invoice, "id").clone());
    let new_items = at(&subscription, "items/data").clone();
    world.change(subscription, "customer.subscription.updated");
    let invoice = invoices::publish(world, invoice);
    if text(&invoice, "status") == "paid" || behavior == "default_incomplete" {
        payments::settled_if_paid(world, &invoice);
        return Ok(());
    }
    match payments::attempt(world, invoice, None) {
        Ok(invoice) => {
            payments::settled(world, &invoice);
            Ok(())
        }
        Err((_, decline)) if behavior == "error_if_incomplete" => Err(decline.error()),
        Err((invoice, _)) if behavior == "pending_if_incomplete" => {
            let mut held = before;
            set(&mut held, "latest_invoice", at(&invoice, "id").clone());
            payments::wait_for(&mut held, &invoice, &new_items, world.at + PENDING_FOR);
            world.change(held, "customer.subscription.updated");
            Ok(())
        }
        Err((invoice, _)) => {
            payments::failed(world, invoice);
            Ok(())
        }
    }
}

/// The invoice that a change waited for is paid.
pub(crate) fn apply_pending(world: &mut World, subscription: &mut Value) {
    let pending = hidden(subscription, "pending_update").clone();
    let list = at(&pending, "items").as_array().cloned().unwrap_or_default();
    set_hidden(subscription, "pending_update", Value::Null);
    set(subscription, "pending_update", Value::Null);
    if let Some(first) = list.first() {
        let begins = int(first, "current_period_start");
        if begins != period(subscription).0 {
            set(subscription, "billing_cycle_anchor", begins);
        }
        set_items(subscription, list);
    }
    world.change(subscription.clone(), "customer.subscription.updated");
    world.emit("customer.subscription.pending_update_applied", subscription, None);
}
