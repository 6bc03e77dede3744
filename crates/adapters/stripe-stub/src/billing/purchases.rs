//! What is bought once: payment intents, their charges, and what is given back of them.
//! <https://docs.stripe.com/api/payment_intents>

use serde_json::{Map, Value, json};

use crate::billing::cards::{self, Decline};
use crate::billing::checkout::{self, Outcome};
use crate::billing::{discounts, disputes};
use crate::error::{Answer, ApiError};
use crate::ids::random_id;
use crate::json::{at, hidden, int, set, set_hidden, some_text, text};
use crate::world::World;

/// Whether a session sells something once.
pub(crate) fn is_once(session: &Value) -> bool {
    text(session, "mode") == "payment"
}

/// Has such a session paid for, with what the buyer does. A card that is declined leaves its traces.
pub(crate) fn pay(world: &mut World, mut session: Value, outcome: Outcome) -> Answer {
    if outcome == Outcome::WithoutCard && !checkout::may_leave_card_out(&session) {
        return Err(ApiError::refused("A payment method is needed."));
    }
    if some_text(&session, "customer").is_some() || text(&session, "customer_creation") == "always" {
        let buyer = checkout::buyer(world, &session)?;
        set(&mut session, "customer", text(&buyer, "id"));
    }
    if int(&session, "amount_total") == 0 {
        return Ok(complete(world, session, "no_payment_required"));
    }
    let method = method(world, outcome)?;
    let mut intent = intent(world, &mut session);
    set(&mut intent, "payment_method", text(&method, "id"));
    if matches!(outcome, Outcome::DebitArrives | Outcome::DebitFails) {
        process(world, intent, &method);
        set_hidden(&mut session, "debit_at", world.at + checkout::DEBIT_TAKES);
        return Ok(complete(world, session, "unpaid"));
    }
    if let Err(decline) = cards::charge(Some(&method), false) {
        let charge = charge(world, &intent, &method, "failed");
        fail(world, intent, charge, &method, &decline);
        world.put(session);
        return Err(decline.error().keeping());
    }
    let charge = charge(world, &intent, &method, "succeeded");
    let charge = succeed(world, intent, charge);
    let session = complete(world, session, "paid");
    if outcome == Outcome::Disputed {
        disputes::open(world, charge);
    }
    Ok(session)
}

/// What the buyer puts in; nobody keeps it for later.
fn method(world: &mut World, outcome: Outcome) -> Result<Value, ApiError> {
    let card = match outcome {
        Outcome::Paid => cards::GOOD,
        Outcome::Declined => cards::DECLINED,
        Outcome::Disputed => cards::DISPUTED,
        Outcome::DebitArrives | Outcome::DebitFails => {
            return Ok(cards::mandate(world, None, outcome == Outcome::DebitArrives));
        }
        Outcome::FailsAtRenewal | Outcome::WithoutCard => {
            return Err(ApiError::refused("What is bought once is paid now and never renewed."));
        }
    };
    cards::make(world, card, None)
}

/// The session's payment intent, made at the first attempt to pay.
fn intent(world: &mut World, session: &mut Value) -> Value {
    let amount = int(session, "amount_total");
    if let Some(mut known) = world.get(text(session, "payment_intent")).cloned() {
        // A promotion code may have come since.
        set(&mut known, "amount", amount);
        return known;
    }
    let id = random_id("pi_");
    let data = hidden(session, "payment_intent_data");
    let intent = json!({
        "id": id, "object": "payment_intent", "allowed_payment_method_types": null, "amount": amount,
        "amount_capturable": 0, "amount_details": { "tip": {} }, "amount_received": 0, "application": null,
        "application_fee_amount": null, "automatic_payment_methods": null, "canceled_at": null,
        "cancellation_reason": null, "capture_method": "automatic_async",
        "client_secret": format!("{id}_{}", random_id("secret_")), "confirmation_method": "automatic",
        "created": world.at, "currency": text(session, "currency"), "customer": at(session, "customer"),
        "customer_account": null, "description": at(data, "description"), "excluded_payment_method_types": null,
        "last_payment_error": null, "latest_charge": null, "livemode": false, "managed_payments": null,
        "metadata": at(data, "metadata").as_object().cloned().unwrap_or_default(), "next_action": null,
        "on_behalf_of": null, "payment_method": null, "payment_method_configuration_details": null,
        "payment_method_options": {}, "payment_method_types": ["card"], "payment_record": null, "processing": null,
        "receipt_email": null, "review": null, "setup_future_usage": null, "shipping": null, "source": null,
        "statement_descriptor": null, "statement_descriptor_suffix": null, "status": "requires_payment_method",
        "transfer_data": null, "transfer_group": null,
    });
    set(session, "payment_intent", id);
    world.create(&intent, "payment_intent.created");
    intent
}

/// A new charge of it, not yet kept: `succeeded`, `pending` or `failed`.
fn charge(world: &World, intent: &Value, method: &Value, status: &str) -> Value {
    let (amount, kind) = (int(intent, "amount"), text(method, "type"));
    let mut details = json!({ "type": kind });
    set(&mut details, kind, at(method, kind).clone());
    let captured = status != "failed";
    json!({
        "id": random_id("ch_"), "object": "charge", "amount": amount, "amount_captured": if captured { amount } else { 0 },
        "amount_refunded": 0, "application": null, "application_fee": null, "application_fee_amount": null,
        "balance_transaction": null, "billing_details": at(method, "billing_details").clone(),
        "calculated_statement_descriptor": "STRIPE-STUB", "captured": captured, "created": world.at,
        "currency": text(intent, "currency"), "customer": at(intent, "customer"),
        "description": at(intent, "description"), "disputed": false, "failure_balance_transaction": null,
        "failure_code": null, "failure_message": null, "fraud_details": {}, "livemode": false,
        "metadata": at(intent, "metadata").clone(), "on_behalf_of": null,
        "outcome": {
            "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": status == "succeeded", "payment_intent": text(intent, "id"), "payment_method": text(method, "id"),
        "payment_method_details": details, "receipt_email": null, "receipt_number": null, "receipt_url": null,
        "refunded": false, "review": null, "shipping": null, "source": null, "source_transfer": null,
        "statement_descriptor": null, "statement_descriptor_suffix": null, "status": status, "transfer_data": null,
        "transfer_group": null,
    })
}

/// The money has come. Answers the charge.
fn succeed(world: &mut World, mut intent: Value, mut charge: Value) -> Value {
    set(&mut charge, "status", "succeeded");
    set(&mut charge, "paid", true);
    world.put(charge.clone());
    world.emit("charge.succeeded", &charge, None);
    let amount = int(&intent, "amount");
    set(&mut intent, "amount_received", amount);
    set(&mut intent, "last_payment_error", Value::Null);
    set(&mut intent, "latest_charge", text(&charge, "id"));
    set(&mut intent, "processing", Value::Null);
    set(&mut intent, "status", "succeeded");
    world.put(intent.clone());
    world.emit("payment_intent.succeeded", &intent, None);
    charge
}

/// It will come, or not: a debit is under way.
fn process(world: &mut World, mut intent: Value, method: &Value) {
    let charge = charge(world, &intent, method, "pending");
    world.create(&charge, "charge.pending");
    set(&mut intent, "latest_charge", text(&charge, "id"));
    set(&mut intent, "status", "processing");
    world.put(intent.clone());
    world.emit("payment_intent.processing", &intent, None);
}

/// It does not come; another way to pay may be tried.
fn fail(world: &mut World, mut intent: Value, mut charge: Value, method: &Value, decline: &Decline) {
    set(&mut charge, "status", "failed");
    set(&mut charge, "paid", false);
    set(&mut charge, "captured", false);
    set(&mut charge, "amount_captured", 0);
    set(&mut charge, "failure_code", decline.code);
    set(&mut charge, "failure_message", decline.message);
    let outcome = json!({
        "advice_code": "try_again_later", "network_advice_code": null, "network_decline_code": null,
        "network_status": "declined_by_network", "reason": decline.decline_code,
        "seller_message": "The bank did not return any further details with this decline.", "type": "issuer_declined",
    });
    set(&mut charge, "outcome", outcome);
    world.put(charge.clone());
    world.emit("charge.failed", &charge, None);
    let error = json!({
        "charge": text(&charge, "id"), "code": decline.code, "decline_code": decline.decline_code,
        "doc_url": format!("https://docs.stripe.com/error-codes/{}", decline.code.replace('_', "-")),
        "message": decline.message, "payment_method": method.clone(), "type": "card_error",
    });
    set(&mut intent, "last_payment_error", error);
    set(&mut intent, "latest_charge", text(&charge, "id"));
    set(&mut intent, "payment_method", Value::Null);
    set(&mut intent, "status", "requires_payment_method");
    world.put(intent.clone());
    world.emit("payment_intent.payment_failed", &intent, None);
}

/// Ends a checkout whose buyer has done what they had to.
fn complete(world: &mut World, mut session: Value, payment: &str) -> Value {
    for one in checkout::wanted(&session) {
        discounts::count(world, &one);
    }
    let customer = world.get(text(&session, "customer"));
    let email = match customer {
        Some(customer) => at(customer, "email").clone(),
        None => some_text(&session, "customer_email")
            .unwrap_or(checkout::STRANGER)
            .into(),
    };
    set(&mut session, "customer_details", checkout::details(&email));
    set(&mut session, "status", "complete");
    set(&mut session, "payment_status", payment);
    set(&mut session, "url", Value::Null);
    world.put(session.clone());
    world.emit("checkout.session.completed", &session, None);
    session
}

/// A debit arrives, or it does not. Answers whether it does.
pub(crate) fn arrive(world: &mut World, session: &Value) -> bool {
    let found = |id: &Value| id.as_str().and_then(|id| world.get(id)).cloned().unwrap_or_default();
    let intent = found(at(session, "payment_intent"));
    let charge = found(at(&intent, "latest_charge"));
    let method = found(at(&intent, "payment_method"));
    match cards::charge(Some(&method), false) {
        Ok(()) => {
            succeed(world, intent, charge);
            true
        }
        Err(decline) => {
            fail(world, intent, charge, &method, &decline);
            false
        }
    }
}

/// Nobody pays any more what was tried and not paid.
pub(crate) fn abandon(world: &mut World, session: &Value) {
    let Some(mut intent) = world.get(text(session, "payment_intent")).cloned() else {
        return;
    };
    set(&mut intent, "status", "canceled");
    set(&mut intent, "canceled_at", world.at);
    set(&mut intent, "cancellation_reason", "automatic");
    world.put(intent.clone());
    world.emit("payment_intent.canceled", &intent, None);
}

/// What is given back.
pub(crate) struct Refund {
    /// The charge it is of.
    pub(crate) charge: Value,
    /// How much; all that is left of it where nothing is said.
    pub(crate) amount: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Map<String, Value>,
}

/// Gives money back, which arrives at once. <https://docs.stripe.com/api/refunds/create>
pub(crate) fn refund(world: &mut World, refund: Refund) -> Answer {
    let mut charge = refund.charge;
    let id = text(&charge, "id").to_owned();
    if text(&charge, "status") != "succeeded" {
        return Err(ApiError::refused(format!(
            "This charge ({id}) did not succeed and cannot be refunded."
        )));
    }
    if disputes::is_gone(world, &id) {
        let message = format!("Charge {id} has been charged back; cannot issue a refund.");
        return Err(ApiError::coded("charge_disputed", message));
    }
    let before = int(&charge, "amount_refunded");
    let left = int(&charge, "amount") - before;
    if left == 0 {
        let message = format!("Charge {id} has already been refunded.");
        return Err(ApiError::coded("charge_already_refunded", message));
    }
    let amount = refund.amount.unwrap_or(left);
    if amount > left {
        let message = format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
        return Err(ApiError::refused(message).about("amount"));
    }
    let made = json!({
        "id": random_id("re_"), "object": "refund", "amount": amount, "balance_transaction": null, "charge": id,
        "created": world.at, "currency": text(&charge, "currency"), "customer": at(&charge, "customer"),
        "customer_account": null, "metadata": refund.metadata, "payment_intent": at(&charge, "payment_intent"),
        "payment_method": at(&charge, "payment_method"), "reason": refund.reason, "receipt_number": null,
        "source_transfer_reversal": null, "status": "succeeded", "transfer_reversal": null,
    });
    world.create(&made, "refund.created");
    set(&mut charge, "amount_refunded", before + amount);
    set(&mut charge, "refunded", amount == left);
    world.change(charge, "charge.refunded");
    Ok(made)
}
