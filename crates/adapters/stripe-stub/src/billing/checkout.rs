//! Checkout sessions: what is bought, and what paying does. <https://docs.stripe.com/payments/checkout>

use serde_json::{Value, json};

use crate::billing::discounts::{self, Wanted};
use crate::billing::lifecycle::{self, Plan};
use crate::billing::lines::cost;
use crate::billing::{cards, customers, payments, purchases};
use crate::error::{Answer, ApiError};
use crate::ids::random_id;
use crate::json::{at, hidden, int, items, set, set_hidden, some_int, some_text, text, truth};
use crate::periods::DAY;
use crate::world::World;

/// How long a debit takes to arrive, in seconds.
pub(crate) const DEBIT_TAKES: i64 = 3 * DAY;

/// The address of a buyer who is nobody's customer and gives none.
pub(crate) const STRANGER: &str = "buyer@example.com";

/// What the buyer does on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Puts a card in that is good.
    Paid,
    /// Puts a card in that pays now and at no renewal.
    FailsAtRenewal,
    /// Puts a card in that is declined.
    Declined,
    /// Puts no card in, where nothing is due today.
    WithoutCard,
    /// Has it taken from a bank account, which arrives days later.
    DebitArrives,
    /// The same, and it does not arrive.
    DebitFails,
    /// Puts a card in that pays, and has the bank take that back. Only of what is bought once.
    Disputed,
}

impl Outcome {
    /// As the form names it.
    pub(crate) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "" | "paid" => Self::Paid,
            "fails_at_renewal" => Self::FailsAtRenewal,
            "declined" => Self::Declined,
            "without_card" => Self::WithoutCard,
            "debit" => Self::DebitArrives,
            "debit_fails" => Self::DebitFails,
            "disputed" => Self::Disputed,
            _ => return None,
        })
    }
}

/// What is bought: price and quantity.
pub(crate) fn bought(world: &World, session: &Value) -> Vec<(Value, i64)> {
    let lines = hidden(session, "line_items")
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let read = |line: &Value| Some((world.get(text(line, "price"))?.clone(), int(line, "quantity")));
    lines.iter().filter_map(read).collect()
}

/// The session's lines as the API lists them.
pub(crate) fn line_items(world: &World, session: &Value) -> Value {
    let lines: Vec<_> = bought(world, session)
        .iter()
        .map(|(price, quantity)| {
            let amount = cost(price, *quantity);
            let product = world.get(text(price, "product"));
            json!({
                "id": random_id("li_"), "object": "item", "adjustable_quantity": null, "amount_discount": 0,
                "amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "currency": text(price, "currency"),
                "description": product.map(|product| text(product, "name")), "metadata": {}, "price": world.shown(price),
                "quantity": quantity,
            })
        })
        .collect();
    json!({
        "object": "list", "data": lines, "has_more": false,
        "url": format!("/v1/checkout/sessions/{}/line_items", text(session, "id")),
    })
}

/// When the trial of a subscription that begins now would end.
pub(crate) fn trial_end(world: &World, session: &Value) -> Option<i64> {
    let data = hidden(session, "subscription_data");
    let days = some_int(data, "trial_period_days").map(|days| world.at + days * DAY);
    days.or_else(|| some_int(data, "trial_end"))
}

/// What these discounts are on the session.
pub(crate) fn wanted(session: &Value) -> Vec<Wanted> {
    let read = |one: &Value| Wanted {
        coupon: text(one, "coupon").to_owned(),
        promotion_code: some_text(one, "promotion_code").map(str::to_owned),
    };
    items(session, "_stub/discounts").iter().map(read).collect()
}

/// Works out what is due today.
pub(crate) fn set_amounts(world: &World, session: &mut Value) {
    let subtotal: i64 = match trial_end(world, session) {
        Some(_) => 0,
        None => bought(world, session)
            .iter()
            .map(|(price, quantity)| cost(price, *quantity))
            .sum(),
    };
    let mut total = subtotal;
    for one in wanted(session) {
        total -= world.get(&one.coupon).map_or(0, |coupon| discounts::off(coupon, total));
    }
    set(session, "amount_subtotal", subtotal);
    set(session, "amount_total", total);
    let details = json!({ "amount_discount": subtotal - total, "amount_shipping": 0, "amount_tax": 0 });
    set(session, "total_details", details);
}

/// Whether the buyer may leave without a card.
pub(crate) fn may_leave_card_out(session: &Value) -> bool {
    text(session, "payment_method_collection") == "if_required" && int(session, "amount_total") == 0
}

/// Has a session paid for, with what the buyer does. One that is complete stays as it is.
pub(crate) fn pay(world: &mut World, mut session: Value, outcome: Outcome, code: &str) -> Answer {
    match text(&session, "status") {
        "complete" => return Ok(session),
        "open" => (),
        _ => return Err(ApiError::not_found("checkout.session", text(&session, "id"), "session")),
    }
    apply_code(world, &mut session, code)?;
    if purchases::is_once(&session) {
        return purchases::pay(world, session, outcome);
    }
    let customer = text(&buyer(world, &session)?, "id").to_owned();
    let without = outcome == Outcome::WithoutCard;
    if without && !may_leave_card_out(&session) {
        return Err(ApiError::refused("A payment method is needed."));
    }
    let method = method(world, &customer, outcome)?;
    let debit = matches!(outcome, Outcome::DebitArrives | Outcome::DebitFails) && int(&session, "amount_total") > 0;
    let data = hidden(&session, "subscription_data").clone();
    let plan = Plan {
        customer: customer.clone(),
        items: bought(world, &session),
        trial_end: trial_end(world, &session),
        missing_payment_method: some_text(&data, "missing_payment_method")
            .unwrap_or("create_invoice")
            .to_owned(),
        metadata: at(&data, "metadata").as_object().cloned().unwrap_or_default().into(),
        description: some_text(&data, "description").map(str::to_owned),
        default_payment_method: method,
        discounts: wanted(&session),
        behavior: if debit {
            "default_incomplete"
        } else {
            "error_if_incomplete"
        }
        .to_owned(),
        classic: truth(&data, "classic"),
    };
    let mut subscription = lifecycle::start(world, &plan)?;
    if debit {
        // Stripe trusts the mandate meanwhile.
        set(&mut subscription, "status", "active");
        world.change(subscription.clone(), "customer.subscription.updated");
        set_hidden(&mut session, "debit_at", world.at + DEBIT_TAKES);
    }
    let email = world.get(&customer).map(|customer| at(customer, "email").clone());
    set(&mut session, "customer", customer);
    set(&mut session, "customer_details", details(&email.unwrap_or_default()));
    set(&mut session, "subscription", at(&subscription, "id").clone());
    set(&mut session, "invoice", at(&subscription, "latest_invoice").clone());
    set(&mut session, "status", "complete");
    let payment = match int(&session, "amount_total") {
        0 => "no_payment_required",
        _ if debit => "unpaid",
        _ => "paid",
    };
    set(&mut session, "payment_status", payment);
    set(&mut session, "url", Value::Null);
    world.put(session.clone());
    world.emit("checkout.session.completed", &session, None);
    Ok(session)
}

/// What is known of a buyer with this address.
pub(crate) fn details(email: &Value) -> Value {
    json!({ "address": null, "email": email, "name": null, "phone": null, "tax_exempt": "none", "tax_ids": [] })
}

/// What the buyer puts in.
fn method(world: &mut World, customer: &str, outcome: Outcome) -> Result<Option<String>, ApiError> {
    let method = match outcome {
        Outcome::Paid => cards::make(world, cards::GOOD, Some(customer))?,
        Outcome::FailsAtRenewal => cards::make(world, cards::FAILS_AT_RENEWAL, Some(customer))?,
        Outcome::Declined => cards::make(world, cards::DECLINED, Some(customer))?,
        Outcome::DebitArrives | Outcome::DebitFails => {
            cards::mandate(world, Some(customer), outcome == Outcome::DebitArrives)
        }
        Outcome::Disputed => {
            return Err(ApiError::refused("Only what is bought once can be disputed here."));
        }
        Outcome::WithoutCard => return Ok(None),
    };
    Ok(Some(text(&method, "id").to_owned()))
}

/// When something happens to a session by itself.
pub(crate) fn due(session: &Value) -> Option<i64> {
    match text(session, "status") {
        "open" => some_int(session, "expires_at"),
        "complete" => hidden(session, "debit_at").as_i64(),
        _ => None,
    }
}

/// It ends unpaid, or its debit arrives or does not.
pub(crate) fn fall_due(world: &mut World, mut session: Value) {
    if text(&session, "status") == "open" {
        expire(world, session);
        return;
    }
    set_hidden(&mut session, "debit_at", Value::Null);
    let paid = if purchases::is_once(&session) {
        purchases::arrive(world, &session)
    } else {
        collect(world, &session)
    };
    let event = if paid {
        set(&mut session, "payment_status", "paid");
        "checkout.session.async_payment_succeeded"
    } else {
        "checkout.session.async_payment_failed"
    };
    world.put(session.clone());
    world.emit(event, &session, None);
}

/// The debit that a subscription began with. Answers whether its invoice is paid.
fn collect(world: &mut World, session: &Value) -> bool {
    let invoice = world.get(text(session, "invoice")).cloned();
    let open = invoice.filter(|invoice| text(invoice, "status") == "open");
    if let Some(invoice) = open {
        payments::collect(world, invoice);
    }
    world
        .get(text(session, "invoice"))
        .is_some_and(|invoice| text(invoice, "status") == "paid")
}

/// A promotion code that the buyer typed.
fn apply_code(world: &World, session: &mut Value, code: &str) -> Result<(), ApiError> {
    if code.trim().is_empty() {
        return Ok(());
    }
    let known = discounts::find_code(world, code)
        .filter(|_| truth(session, "allow_promotion_codes"))
        .cloned();
    let refused = || ApiError::coded("promotion_code_invalid", "This code is invalid.");
    let wanted = discounts::by_code(world, &known.ok_or_else(refused)?)?;
    let list = json!([{ "coupon": wanted.coupon, "promotion_code": wanted.promotion_code }]);
    set_hidden(session, "discounts", list.clone());
    set(session, "discounts", list);
    set_amounts(world, session);
    Ok(())
}

/// The session's customer, or a new one.
pub(crate) fn buyer(world: &mut World, session: &Value) -> Answer {
    if let Some(known) = some_text(session, "customer") {
        let customer = world.find("customer", known, "customer", "customer")?;
        let gone = at(&customer, "deleted") == true;
        return if gone {
            Err(ApiError::not_found("customer", known, "customer"))
        } else {
            Ok(customer)
        };
    }
    let mut customer = customers::blank(world);
    let email = some_text(session, "customer_email").unwrap_or(STRANGER);
    set(&mut customer, "email", email);
    world.create(&customer, "customer.created");
    Ok(customer)
}

/// Nobody can pay it any more.
pub(crate) fn expire(world: &mut World, mut session: Value) -> Value {
    set(&mut session, "status", "expired");
    set(&mut session, "url", Value::Null);
    purchases::abandon(world, &session);
    world.put(session.clone());
    world.emit("checkout.session.expired", &session, None);
    session
}
