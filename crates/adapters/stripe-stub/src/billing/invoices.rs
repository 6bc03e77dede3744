//! Invoices: what is on them and what that comes to. Paying them is in the next room.

use serde_json::{Value, json};

use crate::billing::{customers, discounts, lines, payments};
use crate::error::ApiError;
use crate::ids::random_id;
use crate::json::{at, int, set, some_text, text};
use crate::world::World;

/// What an invoice is for.
pub(crate) struct Bill {
    /// Stripe's `billing_reason`.
    pub(crate) reason: &'static str,
    pub(crate) lines: Vec<Value>,
    /// The period that the invoice says it is for.
    pub(crate) period: (i64, i64),
}

/// An invoice that nobody knows yet: a draft, not kept.
pub(crate) fn draft(world: &World, subscription: &Value, bill: Bill) -> Value {
    let id = random_id("in_");
    let Bill {
        reason,
        mut lines,
        period,
    } = bill;
    lines::belong(&mut lines, &id);
    let customer = world.get(text(subscription, "customer")).cloned().unwrap_or_default();
    let (subtotal, total, off) = sums(world, subscription, &lines);
    let mut invoice = totals(subtotal, total, &off, int(&customer, "balance"));
    let count = lines.len();
    let about = json!({
        "id": id, "object": "invoice", "billing_reason": reason, "created": world.at,
        "currency": text(subscription, "currency"), "customer": text(subscription, "customer"),
        "customer_email": at(&customer, "email").clone(), "customer_name": at(&customer, "name").clone(),
        "lines": {
            "object": "list", "data": lines, "has_more": false, "total_count": count, "url": format!("/v1/invoices/{id}/lines"),
        },
        "parent": {
            "quote_details": null, "type": "subscription_details",
            "subscription_details": {
                "metadata": at(subscription, "metadata").clone(), "subscription": text(subscription, "id"),
            },
        },
        "period_start": period.0, "period_end": period.1,
        "default_payment_method": null, "collection_method": "charge_automatically",
    });
    for part in [constant(), about] {
        if let (Some(members), Value::Object(part)) = (invoice.as_object_mut(), part) {
            members.extend(part);
        }
    }
    invoice
}

/// The sum of the lines, what is left after discounts, and what each discount took.
fn sums(world: &World, subscription: &Value, lines: &[Value]) -> (i64, i64, Vec<(String, i64)>) {
    let subtotal = lines
        .iter()
        .fold(0_i64, |sum, line| sum.saturating_add(int(line, "amount")));
    let applied: Vec<_> = crate::json::items(subscription, "discounts")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let off = discounts::amounts(world, &applied, subtotal);
    let total = subtotal - off.iter().map(|(_, amount)| amount).sum::<i64>();
    (subtotal, total, off)
}

/// What is due of a total, and what is left of the customer's balance: credit (below zero) is used up, a total below
/// zero becomes credit. <https://docs.stripe.com/billing/customer/balance>
pub(crate) fn settle(total: i64, balance: i64) -> (i64, i64) {
    let sum = total.saturating_add(balance);
    if total < 0 {
        return (0, sum);
    }
    (sum.max(0), sum.min(0))
}

fn totals(subtotal: i64, total: i64, off: &[(String, i64)], balance: i64) -> Value {
    let (due, _) = settle(total, balance);
    let amounts: Vec<_> = off
        .iter()
        .map(|(discount, amount)| json!({ "amount": amount, "discount": discount }))
        .collect();
    let discounts: Vec<_> = off.iter().map(|(discount, _)| discount.clone()).collect();
    json!({
        "subtotal": subtotal, "subtotal_excluding_tax": subtotal, "total": total, "total_excluding_tax": total,
        "amount_due": due, "amount_paid": 0, "amount_remaining": due, "starting_balance": balance, "ending_balance": null,
        "discounts": discounts, "total_discount_amounts": amounts,
    })
}

/// What is the same on every invoice that has just been made.
fn constant() -> Value {
    json!({
        "account_country": "US", "account_name": "stripe-stub", "account_tax_ids": null, "amount_overpaid": 0,
        "amount_shipping": 0, "application": null, "attempt_count": 0, "attempted": false, "auto_advance": true,
        "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null },
        "automatically_finalizes_at": null, "custom_fields": null, "customer_account": null, "customer_address": null,
        "customer_phone": null, "customer_shipping": null, "customer_tax_exempt": "none", "customer_tax_ids": [],
        "default_source": null, "default_tax_rates": [], "description": null, "due_date": null, "effective_at": null,
        "footer": null, "from_invoice": null, "hosted_invoice_url": null, "invoice_pdf": null, "issuer": { "type": "self" },
        "last_finalization_error": null, "latest_revision": null, "livemode": false, "metadata": {},
        "next_payment_attempt": null, "number": null, "on_behalf_of": null,
        "payment_settings": { "default_mandate": null, "payment_method_options": null, "payment_method_types": null },
        "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "receipt_number": null,
        "rendering": null, "shipping_cost": null, "shipping_details": null, "statement_descriptor": null, "status": "draft",
        "status_transitions": { "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null },
        "test_clock": null, "total_pretax_credit_amounts": [], "total_taxes": [], "webhooks_delivered_at": null,
    })
}

/// Makes a draft known, finalizes it, and pays it if there is nothing to pay. Discounts that apply once are used up by
/// that. Answers it as it is then: `open` or `paid`.
pub(crate) fn publish(world: &mut World, invoice: Value) -> Value {
    world.create(&invoice, "invoice.created");
    finalize(world, invoice)
}

/// Finalizes a draft that is known.
pub(crate) fn finalize(world: &mut World, mut invoice: Value) -> Value {
    let customer = text(&invoice, "customer").to_owned();
    let balance = world.get(&customer).map_or(0, |customer| int(customer, "balance"));
    let (due, left) = settle(int(&invoice, "total"), balance);
    for (key, amount) in [
        ("amount_due", due),
        ("amount_remaining", due),
        ("starting_balance", balance),
        ("ending_balance", left),
    ] {
        set(&mut invoice, key, amount);
    }
    let number = next_number(world, &customer);
    set(&mut invoice, "number", number);
    set(&mut invoice, "status", "open");
    set(&mut invoice, "effective_at", world.at);
    transition(&mut invoice, "finalized_at", world.at);
    use_up_discounts(world, &invoice);
    world.put(invoice.clone());
    world.emit("invoice.finalized", &invoice, None);
    customers::set_balance(world, &customer, left);
    if due == 0 {
        return payments::mark_paid(world, invoice);
    }
    invoice
}

/// When it changed its status.
pub(crate) fn transition(invoice: &mut Value, key: &str, when: i64) {
    let mut transitions = at(invoice, "status_transitions").clone();
    set(&mut transitions, key, when);
    set(invoice, "status_transitions", transitions);
}

fn next_number(world: &mut World, customer: &str) -> String {
    let Some(mut customer) = world.get(customer).cloned() else {
        return random_id("");
    };
    let number = int(&customer, "next_invoice_sequence").max(1);
    set(&mut customer, "next_invoice_sequence", number + 1);
    let text = format!("{}-{number:04}", text(&customer, "invoice_prefix"));
    world.put(customer);
    text
}

fn use_up_discounts(world: &mut World, invoice: &Value) {
    let Some(mut subscription) = subscription_of(invoice).and_then(|id| world.get(id)).cloned() else {
        return;
    };
    // A trial's invoice uses nothing up.
    if int(invoice, "subtotal") == 0 {
        return;
    }
    let lasting = discounts::lasting(world, &subscription);
    if lasting.len() != crate::json::items(&subscription, "discounts").len() {
        set(&mut subscription, "discounts", lasting);
        world.change(subscription, "customer.subscription.updated");
    }
}

/// The subscription that an invoice is for.
pub(crate) fn subscription_of(invoice: &Value) -> Option<&str> {
    some_text(at(invoice, "parent/subscription_details"), "subscription")
}

/// Makes an open invoice void.
pub(crate) fn void(world: &mut World, mut invoice: Value) -> Result<Value, ApiError> {
    if !["open", "uncollectible"].contains(&text(&invoice, "status")) {
        let message = format!(
            "You can only pass in open invoices. This invoice isn't open, it is {}.",
            text(&invoice, "status")
        );
        return Err(ApiError::refused(message));
    }
    set(&mut invoice, "status", "void");
    set(&mut invoice, "next_payment_attempt", Value::Null);
    transition(&mut invoice, "voided_at", world.at);
    world.put(invoice.clone());
    world.emit("invoice.voided", &invoice, None);
    Ok(invoice)
}

/// Gives an open invoice up: it stays, but is not tried any more.
pub(crate) fn stop_trying(world: &mut World, id: &str) {
    let Some(mut invoice) = world
        .get(id)
        .filter(|invoice| text(invoice, "status") == "open")
        .cloned()
    else {
        return;
    };
    set(&mut invoice, "next_payment_attempt", Value::Null);
    set(&mut invoice, "auto_advance", false);
    world.put(invoice);
}

/// A preview: what an invoice would be, under an identifier that leads nowhere.
pub(crate) fn preview(world: &World, subscription: &Value, bill: Bill, next_attempt: i64) -> Value {
    let mut invoice = draft(world, subscription, bill);
    let (_, left) = settle(int(&invoice, "total"), int(&invoice, "starting_balance"));
    set(&mut invoice, "id", random_id("upcoming_in_"));
    set(&mut invoice, "ending_balance", left);
    set(&mut invoice, "next_payment_attempt", next_attempt);
    invoice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_used_up_and_what_is_below_zero_becomes_credit() {
        assert_eq!(settle(1000, 0), (1000, 0));
        assert_eq!(settle(1000, -300), (700, 0));
        assert_eq!(settle(1000, -1500), (0, -500));
        assert_eq!(settle(-400, 0), (0, -400));
        assert_eq!(settle(-400, -100), (0, -500));
        assert_eq!(settle(1000, 200), (1200, 0));
        assert_eq!(settle(-400, 100), (0, -300));
        assert_eq!(settle(0, 0), (0, 0));
    }
}
