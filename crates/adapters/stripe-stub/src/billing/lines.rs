//! An invoice's lines: what is paid for which period, and the proportions when something changes in between.

use serde_json::{Value, json};

use crate::ids::random_id;
use crate::json::{at, hidden, int, items, set, set_hidden, some_int, text};
use crate::periods::prorate;
use crate::world::World;

/// Whether an item is paid for by how much was used.
pub(crate) fn is_metered(item: &Value) -> bool {
    at(item, "price/recurring/usage_type") == "metered"
}

/// What so many of this price cost. Stripe rounds once, on the line.
pub(crate) fn cost(price: &Value, quantity: i64) -> i64 {
    if let Some(amount) = some_int(price, "unit_amount") {
        return amount.saturating_mul(quantity);
    }
    decimal(text(price, "unit_amount_decimal"), quantity)
}

/// `"0.05"` times so many, to the nearest unit.
fn decimal(text: &str, quantity: i64) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let (Ok(number), Ok(places)) = (digits.parse::<i64>(), u32::try_from(fraction.len())) else {
        return 0;
    };
    let scale = 10_i64.checked_pow(places).unwrap_or(i64::MAX);
    let total = i128::from(number) * i128::from(quantity);
    let rounded = (total * 2 + i128::from(scale) * total.signum()) / (i128::from(scale) * 2);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// What an item costs for a whole period.
pub(crate) fn item_cost(item: &Value) -> i64 {
    if is_metered(item) {
        return 0;
    }
    cost(at(item, "price"), int(item, "quantity"))
}

/// What is to stand on a line.
pub(crate) struct Entry<'a> {
    pub(crate) item: &'a Value,
    pub(crate) amount: i64,
    pub(crate) quantity: i64,
    pub(crate) period: (i64, i64),
    pub(crate) proration: bool,
    pub(crate) description: String,
}

/// The line.
pub(crate) fn line(subscription: &Value, entry: &Entry<'_>) -> Value {
    let price = at(entry.item, "price");
    let unit = match at(price, "unit_amount_decimal") {
        Value::Null => some_int(price, "unit_amount").map(|amount| amount.to_string()).into(),
        decimal => decimal.clone(),
    };
    json!({
        "id": random_id("il_"), "object": "line_item", "amount": entry.amount, "currency": text(subscription, "currency"),
        "description": entry.description, "discount_amounts": [], "discountable": !entry.proration, "discounts": [],
        "invoice": null, "livemode": false, "metadata": at(subscription, "metadata").clone(),
        "parent": {
            "invoice_item_details": null, "type": "subscription_item_details",
            "subscription_item_details": {
                "invoice_item": null, "proration": entry.proration, "proration_details": { "credited_items": null },
                "subscription": text(subscription, "id"), "subscription_item": text(entry.item, "id"),
            },
        },
        "period": { "start": entry.period.0, "end": entry.period.1 }, "pretax_credit_amounts": [],
        "pricing": {
            "price_details": { "price": text(price, "id"), "product": text(price, "product") }, "type": "price_details",
            "unit_amount_decimal": unit,
        },
        "quantity": entry.quantity, "quantity_decimal": entry.quantity.to_string(), "subscription": text(subscription, "id"),
        "subtotal": entry.amount, "taxes": [],
    })
}

fn product_name(world: &World, item: &Value) -> String {
    let product = world.get(text(at(item, "price"), "product"));
    product.map_or_else(|| "Subscription".to_owned(), |product| text(product, "name").to_owned())
}

/// What these items cost for a period that begins.
pub(crate) fn for_period(world: &World, subscription: &Value, list: &[Value], period: (i64, i64)) -> Vec<Value> {
    let licensed = list.iter().filter(|item| !is_metered(item));
    let lines = licensed.map(|item| {
        let quantity = int(item, "quantity");
        let entry = Entry {
            item,
            amount: item_cost(item),
            quantity,
            period,
            proration: false,
            description: format!("{quantity} × {}", product_name(world, item)),
        };
        line(subscription, &entry)
    });
    lines.collect()
}

/// A trial's line, which costs nothing.
pub(crate) fn for_trial(world: &World, subscription: &Value, period: (i64, i64)) -> Vec<Value> {
    let licensed = items(subscription, "items/data")
        .iter()
        .filter(|item| !is_metered(item));
    let lines = licensed.map(|item| {
        let entry = Entry {
            item,
            amount: 0,
            quantity: int(item, "quantity"),
            period,
            proration: false,
            description: format!("Trial period for {}", product_name(world, item)),
        };
        line(subscription, &entry)
    });
    lines.collect()
}

/// What was used in a period that ends.
pub(crate) fn for_usage(world: &World, subscription: &Value, period: (i64, i64)) -> Vec<Value> {
    let all: Vec<_> = items(subscription, "items/data").iter().collect();
    for_usage_of(world, subscription, &all, period)
}

/// What was used of these items, from when each was added on.
pub(crate) fn for_usage_of(world: &World, subscription: &Value, list: &[&Value], period: (i64, i64)) -> Vec<Value> {
    let metered = list.iter().filter(|item| is_metered(item));
    let lines = metered.map(|item| {
        let meter = text(at(item, "price/recurring"), "meter");
        let since = some_int(hidden(item, "counts"), "from").unwrap_or_default();
        let start = period.0.max(since);
        let quantity = usage(world, meter, text(subscription, "customer"), start, period.1);
        let entry = Entry {
            item,
            amount: cost(at(item, "price"), quantity),
            quantity,
            period,
            proration: false,
            description: format!("{quantity} × {}", product_name(world, item)),
        };
        line(subscription, &entry)
    });
    lines.collect()
}

/// Lets a metered item count from now on: what was used before it was there is not its affair.
pub(crate) fn count_from(item: &mut Value, now: i64) {
    if is_metered(item) {
        set_hidden(item, "counts", json!({ "from": now }));
    }
}

/// What a customer used by a meter from `start` on and before `end`.
pub(crate) fn usage(world: &World, meter: &str, customer: &str, start: i64, end: i64) -> i64 {
    let name = world
        .get(meter)
        .map(|meter| text(meter, "event_name"))
        .unwrap_or_default();
    let counted = world.of_kind("billing.meter_event").filter(|event| {
        text(event, "event_name") == name
            && hidden(event, "customer") == customer
            && (start..end).contains(&int(event, "timestamp"))
    });
    counted.filter_map(|event| hidden(event, "value").as_i64()).sum()
}

/// What is given back for items that go, and paid for those that come, for the rest of a period.
pub(crate) fn for_rest(
    world: &World,
    subscription: &Value,
    (gone, come): (&[&Value], &[&Value]),
    (start, now, end): (i64, i64, i64),
) -> Vec<Value> {
    let mut lines = Vec::new();
    let sides = [(gone, -1, "Unused time on"), (come, 1, "Remaining time on")];
    for (list, sign, words) in sides {
        for item in list.iter().filter(|item| !is_metered(item)) {
            let quantity = int(item, "quantity");
            let entry = Entry {
                item,
                amount: sign * prorate(item_cost(item), end - now, end - start),
                quantity,
                period: (now, end),
                proration: true,
                description: format!("{words} {quantity} × {}", product_name(world, item)),
            };
            lines.push(line(subscription, &entry));
        }
    }
    lines
}

/// Lines that wait for the next invoice.
pub(crate) fn pending(subscription: &Value) -> Vec<Value> {
    hidden(subscription, "pending_lines")
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// Adds to them.
pub(crate) fn put_off(subscription: &mut Value, lines: Vec<Value>) {
    let mut all = pending(subscription);
    all.extend(lines);
    set_hidden(subscription, "pending_lines", all);
}

/// Takes them.
pub(crate) fn take_pending(subscription: &mut Value) -> Vec<Value> {
    let lines = pending(subscription);
    set_hidden(subscription, "pending_lines", Value::Null);
    lines
}

/// Tells each line which invoice it is on.
pub(crate) fn belong(lines: &mut [Value], invoice: &str) {
    for line in lines {
        set(line, "invoice", invoice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_once() {
        assert_eq!(decimal("0.05", 10), 1);
        assert_eq!(decimal("0.05", 9), 0);
        assert_eq!(decimal("0.05", 1000), 50);
        assert_eq!(decimal("12", 3), 36);
        assert_eq!(decimal("", 3), 0);
        assert_eq!(cost(&json!({"unit_amount": 300, "unit_amount_decimal": "300"}), 3), 900);
    }
}
