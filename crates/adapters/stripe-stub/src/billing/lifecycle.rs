//! A subscription's life: it begins, is tried, renewed, paused, resumed, and ends.
//! <https://docs.stripe.com/billing/subscriptions/overview#subscription-lifecycle>

use serde_json::{Value, json};

use crate::billing::discounts::{self, Wanted};
use crate::billing::invoices::{self, Bill};
use crate::billing::{cards, lines, payments, schedules};
use crate::error::{Answer, ApiError};
use crate::ids::random_id;
use crate::json::{at, hidden, int, items, items_mut, set, set_hidden, some_int, some_text, text, truth};
use crate::periods::{DAY, next_boundary};
use crate::world::World;

/// How long before its end a trial's end is told of.
const TRIAL_NOTICE: i64 = 3 * DAY;
/// How long a subscription waits for its first payment.
const INCOMPLETE_FOR: i64 = 23 * 3600;

/// What is subscribed to.
pub(crate) struct Plan {
    pub(crate) customer: String,
    /// Price and quantity of each item.
    pub(crate) items: Vec<(Value, i64)>,
    pub(crate) trial_end: Option<i64>,
    /// What becomes of a trial that ends without a card.
    pub(crate) missing_payment_method: String,
    pub(crate) metadata: Value,
    pub(crate) description: Option<String>,
    pub(crate) default_payment_method: Option<String>,
    pub(crate) discounts: Vec<Wanted>,
    /// Stripe's `payment_behavior`.
    pub(crate) behavior: String,
    /// Stripe's `billing_mode`, without which it is flexible since 2025-09-30.
    pub(crate) classic: bool,
}

/// An item of a subscription.
pub(crate) fn item(world: &World, subscription: &str, price: &Value, quantity: i64, period: (i64, i64)) -> Value {
    let mut item = json!({
        "id": random_id("si_"), "object": "subscription_item", "billing_thresholds": null, "created": world.at,
        "current_period_start": period.0, "current_period_end": period.1, "current_trial": null, "discounts": [],
        "metadata": {}, "plan": plan_of(price), "price": price.clone(), "subscription": subscription, "tax_rates": [],
    });
    if lines::is_metered(&item) {
        lines::count_from(&mut item, world.at);
    } else {
        set(&mut item, "quantity", quantity);
    }
    item
}

/// A price in the words of before there were prices, which Stripe still writes.
pub(crate) fn plan_of(price: &Value) -> Value {
    json!({
        "id": text(price, "id"), "object": "plan", "active": truth(price, "active"), "amount": at(price, "unit_amount"),
        "amount_decimal": at(price, "unit_amount_decimal"), "billing_scheme": "per_unit", "created": int(price, "created"),
        "currency": text(price, "currency"), "interval": at(price, "recurring/interval"),
        "interval_count": at(price, "recurring/interval_count"), "livemode": false, "metadata": at(price, "metadata"),
        "meter": at(price, "recurring/meter"), "nickname": at(price, "nickname"), "product": at(price, "product"),
        "tiers_mode": null, "transform_usage": null, "trial_period_days": null,
        "usage_type": at(price, "recurring/usage_type"),
    })
}

/// How often a price is paid.
pub(crate) fn interval(price: &Value) -> (&str, i64) {
    let recurring = at(price, "recurring");
    (text(recurring, "interval"), int(recurring, "interval_count").max(1))
}

/// The running period.
pub(crate) fn period(subscription: &Value) -> (i64, i64) {
    let first = at(subscription, "items/data/0");
    (int(first, "current_period_start"), int(first, "current_period_end"))
}

/// Sets it on every item.
pub(crate) fn set_period(subscription: &mut Value, period: (i64, i64)) {
    for item in items_mut(subscription, "items/data").into_iter().flatten() {
        set(item, "current_period_start", period.0);
        set(item, "current_period_end", period.1);
    }
}

/// Whether nothing happens to it any more.
pub(crate) fn is_over(subscription: &Value) -> bool {
    ["canceled", "incomplete_expired"].contains(&text(subscription, "status"))
}

/// When something happens to it by itself.
pub(crate) fn due(subscription: &Value) -> Option<i64> {
    let cancel_at = some_int(subscription, "cancel_at");
    let update = some_int(at(subscription, "pending_update"), "expires_at");
    let resumes = some_int(at(subscription, "pause_collection"), "resumes_at");
    let end = Some(period(subscription).1).filter(|end| *end > 0);
    let own = match text(subscription, "status") {
        "incomplete" => some_int(subscription, "created").map(|created| created.saturating_add(INCOMPLETE_FOR)),
        "trialing" if hidden(subscription, "trial_told").is_null() => {
            some_int(subscription, "trial_end").map(|end| end.saturating_sub(TRIAL_NOTICE))
        }
        "trialing" => some_int(subscription, "trial_end"),
        "active" | "past_due" | "unpaid" => end,
        "paused" => None,
        _ => return None,
    };
    [own, cancel_at, update, resumes].into_iter().flatten().min()
}

/// Does what is due.
pub(crate) fn fall_due(world: &mut World, mut subscription: Value) -> Result<(), ApiError> {
    let now = world.at;
    let passed = |when: Option<i64>| when.is_some_and(|when| when <= now);
    if text(&subscription, "status") == "incomplete" {
        return expire(world, subscription);
    }
    if passed(some_int(&subscription, "cancel_at")) {
        end(world, subscription);
        return Ok(());
    }
    if passed(some_int(at(&subscription, "pause_collection"), "resumes_at")) {
        set(&mut subscription, "pause_collection", Value::Null);
        world.change(subscription, "customer.subscription.updated");
        return Ok(());
    }
    if passed(some_int(at(&subscription, "pending_update"), "expires_at")) {
        return drop_update(world, subscription);
    }
    if text(&subscription, "status") == "trialing" {
        in_trial(world, subscription);
        return Ok(());
    }
    renew(world, subscription)
}

// ---- beginning

/// Begins a subscription. `error_if_incomplete` makes a first payment that fails a refusal; the caller's change is then
/// taken back as a whole.
pub(crate) fn start(world: &mut World, plan: &Plan) -> Answer {
    let (mut subscription, bill) = blank(world, plan)?;
    let applied: Vec<Value> = plan
        .discounts
        .iter()
        .map(|wanted| discounts::redeem(world, wanted, &subscription).into())
        .collect();
    set(&mut subscription, "discounts", applied);
    let invoice = invoices::draft(world, &subscription, bill);
    set(&mut subscription, "latest_invoice", at(&invoice, "id").clone());
    let id = text(&subscription, "id").to_owned();
    let due = int(&invoice, "amount_due");
    let waits = plan.behavior == "default_incomplete";
    if due > 0 && !waits && cards::of_subscription(world, &subscription).is_none() {
        let message = "This customer has no attached payment source or default payment method. Please consider adding a \
                       default payment method.";
        return Err(ApiError::coded("resource_missing", message));
    }
    world.create(&subscription, "customer.subscription.created");
    tell_of_short_trial(world, subscription);
    let invoice = invoices::publish(world, invoice);
    if text(&invoice, "status") == "paid" {
        payments::settled(world, &invoice);
    } else if !waits {
        match payments::attempt(world, invoice, None) {
            Ok(invoice) => payments::settled(world, &invoice),
            Err((_, decline)) if plan.behavior == "error_if_incomplete" => return Err(decline.error()),
            Err(_) => (),
        }
    }
    Ok(world.get(&id).cloned().unwrap_or_default())
}

fn billing_mode(classic: bool) -> Value {
    if classic {
        return json!({ "flexible": null, "type": "classic" });
    }
    json!({ "flexible": { "proration_discounts": "included" }, "type": "flexible" })
}

fn blank(world: &World, plan: &Plan) -> Result<(Value, Bill), ApiError> {
    let id = random_id("sub_");
    let Some((first, _)) = plan.items.first() else {
        return Err(ApiError::missing("items"));
    };
    let (word, count) = interval(first);
    if plan.items.iter().any(|(price, _)| interval(price) != (word, count)) {
        return Err(ApiError::refused(
            "stripe-stub bills all items of a subscription at the same interval.",
        ));
    }
    if plan
        .items
        .iter()
        .any(|(price, _)| text(price, "currency") != text(first, "currency"))
    {
        return Err(ApiError::refused(
            "All prices of a subscription must use the same currency.",
        ));
    }
    let now = world.at;
    let trial = plan.trial_end.filter(|end| *end > now);
    let period = (now, trial.unwrap_or_else(|| next_boundary(now, word, count, now)));
    let list: Vec<_> = plan
        .items
        .iter()
        .map(|(price, many)| item(world, &id, price, *many, period))
        .collect();
    let test_clock = world
        .get(&plan.customer)
        .map(|customer| at(customer, "test_clock").clone());
    let count = list.len();
    let subscription = json!({
        "id": id, "object": "subscription", "application": null, "application_fee_percent": null,
        "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
        "billing_cycle_anchor": trial.unwrap_or(now), "billing_cycle_anchor_config": null,
        "billing_mode": billing_mode(plan.classic), "billing_schedules": [], "billing_thresholds": null,
        "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null,
        "cancellation_details": { "comment": null, "feedback": null, "reason": null },
        "collection_method": "charge_automatically", "created": now, "currency": text(first, "currency"),
        "customer": plan.customer, "customer_account": null, "days_until_due": null,
        "default_payment_method": plan.default_payment_method, "default_source": null, "default_tax_rates": [],
        "description": plan.description, "discounts": [], "ended_at": null,
        "invoice_settings": { "account_tax_ids": null, "issuer": { "type": "self" } },
        "items": {
            "object": "list", "data": list, "has_more": false, "total_count": count,
            "url": format!("/v1/subscription_items?subscription={id}"),
        },
        "latest_invoice": null, "livemode": false, "managed_payments": null, "metadata": plan.metadata,
        "next_pending_invoice_item_invoice": null, "on_behalf_of": null, "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null, "pending_setup_intent": null, "pending_update": null, "schedule": null,
        "start_date": now, "status": if trial.is_some() { "trialing" } else { "incomplete" },
        "test_clock": test_clock, "transfer_data": null, "trial_end": trial,
        "trial_settings": { "end_behavior": { "missing_payment_method": plan.missing_payment_method } },
        "trial_start": trial.map(|_| now),
    });
    let lines = match trial {
        Some(_) => lines::for_trial(world, &subscription, period),
        None => lines::for_period(world, &subscription, items(&subscription, "items/data"), period),
    };
    let bill = Bill {
        reason: "subscription_create",
        lines,
        period: (now, now),
    };
    Ok((subscription, bill))
}

/// Stripe tells of a trial that is shorter than the notice at once.
pub(crate) fn tell_of_short_trial(world: &mut World, subscription: Value) {
    let soon = some_int(&subscription, "trial_end").is_some_and(|end| end - TRIAL_NOTICE <= world.at);
    if text(&subscription, "status") == "trialing" && soon {
        tell_of_trial(world, subscription);
    }
}

/// The same after a trial's end was moved, unless it has been told already.
pub(crate) fn tell_of_short_trial_once(world: &mut World, subscription: &Value) {
    if hidden(subscription, "trial_told").is_null() {
        tell_of_short_trial(world, subscription.clone());
    }
}

fn tell_of_trial(world: &mut World, mut subscription: Value) {
    set_hidden(&mut subscription, "trial_told", true);
    world.put(subscription.clone());
    world.emit("customer.subscription.trial_will_end", &subscription, None);
}

/// The first payment did not come in time.
fn expire(world: &mut World, mut subscription: Value) -> Result<(), ApiError> {
    let invoice = world.get(text(&subscription, "latest_invoice")).cloned();
    if let Some(invoice) = invoice.filter(|invoice| text(invoice, "status") == "open") {
        invoices::void(world, invoice)?;
    }
    set(&mut subscription, "status", "incomplete_expired");
    set(&mut subscription, "ended_at", world.at);
    world.change(subscription, "customer.subscription.updated");
    Ok(())
}

// ---- trials

fn in_trial(world: &mut World, subscription: Value) {
    if some_int(&subscription, "trial_end").is_none_or(|end| end <= world.at) {
        end_trial(world, subscription, "subscription_cycle");
        return;
    }
    tell_of_trial(world, subscription);
}

/// Ends a trial now, by itself or because it was asked for. Without a card happens what its settings say.
pub(crate) fn end_trial(world: &mut World, mut subscription: Value, reason: &'static str) -> Option<cards::Decline> {
    let missing = at(&subscription, "trial_settings/end_behavior/missing_payment_method");
    let missing = missing.as_str().unwrap_or("create_invoice").to_owned();
    if missing != "create_invoice" && cards::of_subscription(world, &subscription).is_none() {
        if missing == "cancel" {
            cancel(world, subscription, "payment_failed");
            return None;
        }
        set(&mut subscription, "status", "paused");
        world.change(subscription.clone(), "customer.subscription.updated");
        world.emit("customer.subscription.paused", &subscription, None);
        return None;
    }
    let now = world.at;
    let before = period(&subscription);
    set(&mut subscription, "billing_cycle_anchor", now);
    set(&mut subscription, "trial_end", now);
    let next = following(&subscription, now);
    set_period(&mut subscription, (now, next));
    set(&mut subscription, "status", "active");
    let mut all = lines::take_pending(&mut subscription);
    all.extend(lines::for_period(
        world,
        &subscription,
        items(&subscription, "items/data"),
        (now, next),
    ));
    let bill = Bill {
        reason,
        lines: all,
        period: before,
    };
    let invoice = invoices::draft(world, &subscription, bill);
    set(&mut subscription, "latest_invoice", at(&invoice, "id").clone());
    world.change(subscription, "customer.subscription.updated");
    let invoice = invoices::publish(world, invoice);
    payments::collect(world, invoice)
}

/// The end of a period that begins at `start`.
pub(crate) fn following(subscription: &Value, start: i64) -> i64 {
    let (word, count) = interval(at(subscription, "items/data/0/price"));
    next_boundary(int(subscription, "billing_cycle_anchor"), word, count, start)
}

// ---- going on

/// The period is over: the next one begins and is to be paid.
fn renew(world: &mut World, mut subscription: Value) -> Result<(), ApiError> {
    let (start, end) = period(&subscription);
    let mut all = lines::take_pending(&mut subscription);
    all.extend(lines::for_usage(world, &subscription, (start, end)));
    let next = following(&subscription, end);
    all.extend(lines::for_period(
        world,
        &subscription,
        items(&subscription, "items/data"),
        (end, next),
    ));
    set_period(&mut subscription, (end, next));
    let bill = Bill {
        reason: "subscription_cycle",
        lines: all,
        period: (start, end),
    };
    let mut invoice = invoices::draft(world, &subscription, bill);
    set(&mut subscription, "latest_invoice", at(&invoice, "id").clone());
    let held = some_text(at(&subscription, "pause_collection"), "behavior").map(str::to_owned);
    let unpaid = text(&subscription, "status") == "unpaid";
    world.change(subscription, "customer.subscription.updated");
    if let Some(behavior) = held {
        return payments::hold(world, invoice, &behavior);
    }
    if unpaid {
        // Nobody is charged for what they do not get: <https://docs.stripe.com/billing/subscriptions/overview#unpaid>
        set(&mut invoice, "auto_advance", false);
        world.create(&invoice, "invoice.created");
        return Ok(());
    }
    let invoice = invoices::publish(world, invoice);
    payments::collect(world, invoice);
    Ok(())
}

/// A change that waited for a payment is given up.
fn drop_update(world: &mut World, mut subscription: Value) -> Result<(), ApiError> {
    let invoice = text(hidden(&subscription, "pending_update"), "invoice");
    let invoice = world.get(invoice).cloned();
    set(&mut subscription, "pending_update", Value::Null);
    set_hidden(&mut subscription, "pending_update", Value::Null);
    world.put(subscription.clone());
    world.emit("customer.subscription.pending_update_expired", &subscription, None);
    match invoice.filter(|invoice| text(invoice, "status") == "open") {
        Some(invoice) => invoices::void(world, invoice).map(drop),
        None => Ok(()),
    }
}

/// Begins a paused subscription anew. It is active once its invoice is paid.
pub(crate) fn resume(world: &mut World, mut subscription: Value) -> Answer {
    if text(&subscription, "status") != "paused" {
        return Err(ApiError::refused("You can only resume a subscription that is paused."));
    }
    let now = world.at;
    let id = text(&subscription, "id").to_owned();
    set(&mut subscription, "billing_cycle_anchor", now);
    let next = following(&subscription, now);
    set_period(&mut subscription, (now, next));
    let bill = Bill {
        reason: "subscription_update",
        lines: lines::for_period(world, &subscription, items(&subscription, "items/data"), (now, next)),
        period: (now, now),
    };
    let invoice = invoices::draft(world, &subscription, bill);
    set(&mut subscription, "latest_invoice", at(&invoice, "id").clone());
    set_hidden(&mut subscription, "resumes_with", at(&invoice, "id").clone());
    world.change(subscription, "customer.subscription.updated");
    let invoice = invoices::publish(world, invoice);
    if text(&invoice, "status") == "paid" {
        payments::settled(world, &invoice);
    } else if let Ok(invoice) = payments::attempt(world, invoice, None) {
        payments::settled(world, &invoice);
    }
    Ok(world.get(&id).cloned().unwrap_or_default())
}

/// The invoice of a resumed subscription is paid.
pub(crate) fn resumed(world: &mut World, mut subscription: Value) {
    set_hidden(&mut subscription, "resumes_with", Value::Null);
    set(&mut subscription, "status", "active");
    world.change(subscription.clone(), "customer.subscription.updated");
    world.emit("customer.subscription.resumed", &subscription, None);
}

// ---- ending

/// Plans its end with the running period, or takes that back.
pub(crate) fn plan_end(world: &World, subscription: &mut Value, ends: bool) {
    let end = if text(subscription, "status") == "trialing" {
        some_int(subscription, "trial_end").unwrap_or_else(|| period(subscription).1)
    } else {
        period(subscription).1
    };
    set(subscription, "cancel_at_period_end", ends);
    set_end(world, subscription, ends.then_some(end));
}

/// Plans its end at a time, or takes that back.
pub(crate) fn set_end(world: &World, subscription: &mut Value, when: Option<i64>) {
    set(subscription, "cancel_at", when);
    set(subscription, "canceled_at", when.map(|_| world.at));
    let mut details = at(subscription, "cancellation_details").clone();
    set(&mut details, "reason", when.map(|_| "cancellation_requested"));
    set(subscription, "cancellation_details", details);
}

/// Its planned end has come: what was used in between is still to be paid.
fn end(world: &mut World, subscription: Value) {
    let id = text(&subscription, "id").to_owned();
    final_invoice(world, subscription, false);
    let subscription = world.get(&id).cloned().unwrap_or_default();
    cancel(world, subscription, "cancellation_requested");
}

/// Bills what waits, what was used, and (below zero) the rest of the period. Makes no invoice of nothing.
pub(crate) fn final_invoice(world: &mut World, mut subscription: Value, prorate: bool) {
    let (start, end) = period(&subscription);
    let now = world.at;
    let mut all = lines::take_pending(&mut subscription);
    all.extend(
        lines::for_usage(world, &subscription, (start, now.min(end)))
            .into_iter()
            .filter(|line| int(line, "amount") != 0),
    );
    if prorate && text(&subscription, "status") == "active" {
        let gone: Vec<_> = items(&subscription, "items/data").iter().collect();
        all.extend(lines::for_rest(world, &subscription, (&gone, &[]), (start, now, end)));
    }
    if all.is_empty() {
        return;
    }
    let bill = Bill {
        reason: "subscription_update",
        lines: all,
        period: (start, end),
    };
    let invoice = invoices::draft(world, &subscription, bill);
    set(&mut subscription, "latest_invoice", at(&invoice, "id").clone());
    world.put(subscription);
    let invoice = invoices::publish(world, invoice);
    if text(&invoice, "status") != "paid" {
        // The subscription ends, whether this is paid or not.
        payments::attempt(world, invoice, None).ok();
    }
}

/// Ends it now and for good.
pub(crate) fn cancel(world: &mut World, mut subscription: Value, reason: &str) -> Value {
    let now = world.at;
    let first = text(&subscription, "status") == "incomplete";
    set(
        &mut subscription,
        "status",
        if first { "incomplete_expired" } else { "canceled" },
    );
    if at(&subscription, "canceled_at").is_null() {
        set(&mut subscription, "canceled_at", now);
    }
    set(&mut subscription, "ended_at", now);
    set(&mut subscription, "pending_update", Value::Null);
    let mut details = at(&subscription, "cancellation_details").clone();
    set(&mut details, "reason", reason);
    set(&mut subscription, "cancellation_details", details);
    if let Some(schedule) = some_text(&subscription, "schedule")
        .and_then(|id| world.get(id))
        .cloned()
    {
        schedules::canceled(world, schedule);
    }
    set(&mut subscription, "schedule", Value::Null);
    let id = text(&subscription, "id").to_owned();
    let open: Vec<_> = world
        .of_kind("invoice")
        .filter(|invoice| text(invoice, "status") == "open" && invoices::subscription_of(invoice) == Some(&id))
        .map(|invoice| text(invoice, "id").to_owned())
        .collect();
    for invoice in open {
        invoices::stop_trying(world, &invoice);
    }
    world.put(subscription.clone());
    world.emit("customer.subscription.deleted", &subscription, None);
    subscription
}
