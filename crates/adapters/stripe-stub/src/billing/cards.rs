//! Payment methods: cards that are known by Stripe's names for tests, and what becomes of a payment with each.
//! <https://docs.stripe.com/testing>

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::ids::random_id;
use crate::json::{hidden, set, some_text, text};
use crate::world::World;

/// A card for tests.
struct Card {
    /// Its name, `pm_card_…`.
    name: &'static str,
    brand: &'static str,
    last4: &'static str,
    fingerprint: &'static str,
}

/// Pays always.
pub(crate) const GOOD: &str = "pm_card_visa";
/// Is refused as soon as it is put in.
pub(crate) const DECLINED: &str = "pm_card_chargeDeclined";
/// Can be put in, but no payment succeeds.
pub(crate) const FAILS: &str = "pm_card_chargeCustomerFail";
/// Every payment wants its owner, who is not there.
pub(crate) const ASKS: &str = "pm_card_authenticationRequired";
/// The stub's own: pays when its owner is there, and no renewal.
pub(crate) const FAILS_AT_RENEWAL: &str = "pm_card_failsAtRenewal";
/// Pays, and its owner has the bank take it back.
pub(crate) const DISPUTED: &str = "pm_card_createDispute";

/// A bank account that has the money.
const DEBIT: &str = "debit";
/// One that has not.
const DEBIT_FAILS: &str = "debit_fails";

const CARDS: [Card; 8] = [
    Card {
        name: GOOD,
        brand: "visa",
        last4: "4242",
        fingerprint: "Xt5EWLLDS7FJjR1c",
    },
    Card {
        name: "pm_card_mastercard",
        brand: "mastercard",
        last4: "4444",
        fingerprint: "BqjV1Zkq7YVDyA2k",
    },
    Card {
        name: DECLINED,
        brand: "visa",
        last4: "0002",
        fingerprint: "Hn2yQm7jTzWcR4pL",
    },
    Card {
        name: "pm_card_visa_chargeDeclinedInsufficientFunds",
        brand: "visa",
        last4: "9995",
        fingerprint: "Kw3xPv9dMzLsT6rB",
    },
    Card {
        name: FAILS,
        brand: "visa",
        last4: "0341",
        fingerprint: "Gd8nUq2fYxVtS5mJ",
    },
    Card {
        name: ASKS,
        brand: "visa",
        last4: "3184",
        fingerprint: "Pz7kBe4hNyCwQ9vF",
    },
    Card {
        name: FAILS_AT_RENEWAL,
        brand: "visa",
        last4: "0343",
        fingerprint: "Lm6tRa1gJxDuW8sH",
    },
    Card {
        name: DISPUTED,
        brand: "visa",
        last4: "0259",
        fingerprint: "Fy4cZo9iEnBvQ3kU",
    },
];

/// Why a payment did not come about.
#[derive(Debug, Clone)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) message: &'static str,
    /// Whether the card's owner could help.
    pub(crate) asks: bool,
}

const GENERIC: Decline = Decline {
    code: "card_declined",
    decline_code: Some("generic_decline"),
    message: "Your card was declined.",
    asks: false,
};
const NO_FUNDS: Decline = Decline {
    code: "card_declined",
    decline_code: Some("insufficient_funds"),
    message: "Your card has insufficient funds.",
    asks: false,
};
const AUTHENTICATE: Decline = Decline {
    code: "authentication_required",
    decline_code: Some("authentication_required"),
    message: "Your card was declined. This transaction requires authentication.",
    asks: true,
};
const NO_CARD: Decline = Decline {
    code: "card_declined",
    decline_code: Some("generic_decline"),
    message: "There is no payment method to charge.",
    asks: false,
};

impl Decline {
    /// As the API tells it.
    pub(crate) fn error(&self) -> ApiError {
        ApiError::card(self.code, self.decline_code, self.message)
    }
}

/// Whether a payment with this comes about. `renewal`: nobody is there.
pub(crate) fn charge(method: Option<&Value>, renewal: bool) -> Result<(), Decline> {
    let Some(method) = method else { return Err(NO_CARD) };
    match hidden(method, "card").as_str().unwrap_or_default() {
        DECLINED | FAILS | DEBIT_FAILS => Err(GENERIC),
        "pm_card_visa_chargeDeclinedInsufficientFunds" => Err(NO_FUNDS),
        ASKS => Err(AUTHENTICATE),
        FAILS_AT_RENEWAL if renewal => Err(GENERIC),
        _ => Ok(()),
    }
}

/// Puts a card for tests in: a payment method of this customer's, or of nobody's.
pub(crate) fn make(world: &mut World, name: &str, customer: Option<&str>) -> Result<Value, ApiError> {
    let card = CARDS.iter().find(|card| card.name == name);
    let card = card.ok_or_else(|| ApiError::not_found("PaymentMethod", name, "payment_method"))?;
    if customer.is_some() && [DECLINED, "pm_card_visa_chargeDeclinedInsufficientFunds"].contains(&name) {
        let why = if name == DECLINED { GENERIC } else { NO_FUNDS };
        return Err(why.error());
    }
    let method = json!({
        "id": random_id("pm_"), "object": "payment_method", "allow_redisplay": "unspecified",
        "billing_details": {
            "address": { "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null },
            "email": null, "name": null, "phone": null, "tax_id": null,
        },
        "card": {
            "brand": card.brand, "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass" },
            "country": "US", "display_brand": card.brand, "exp_month": 12, "exp_year": 2040,
            "fingerprint": card.fingerprint, "funding": "credit", "generated_from": null, "last4": card.last4,
            "networks": { "available": [card.brand], "preferred": null }, "regulated_status": "unregulated",
            "three_d_secure_usage": { "supported": true }, "wallet": null,
        },
        "created": world.at, "customer": null, "customer_account": null, "livemode": false, "metadata": {}, "type": "card",
        "_stub": { "card": card.name },
    });
    Ok(keep(world, method, customer))
}

/// Keeps a new one: this customer's, or nobody's.
fn keep(world: &mut World, method: Value, customer: Option<&str>) -> Value {
    match customer {
        Some(customer) => attach(world, method, customer),
        None => {
            world.put(method.clone());
            method
        }
    }
}

/// A mandate to take money from a bank account, which takes days: what a debit is paid with. It is this customer's, or
/// nobody's.
pub(crate) fn mandate(world: &mut World, customer: Option<&str>, arrives: bool) -> Value {
    let (card, fingerprint) = if arrives {
        (DEBIT, "Vb3nMk7cRsXp2QzT")
    } else {
        (DEBIT_FAILS, "Ws8jHg4dFqLy6NcK")
    };
    let method = json!({
        "id": random_id("pm_"), "object": "payment_method", "allow_redisplay": "unspecified",
        "billing_details": { "address": null, "email": null, "name": null, "phone": null, "tax_id": null },
        "created": world.at, "customer": null, "customer_account": null, "livemode": false, "metadata": {},
        "sepa_debit": {
            "bank_code": "37040044", "branch_code": "", "country": "DE", "fingerprint": fingerprint,
            "generated_from": { "charge": null, "setup_attempt": null }, "last4": "3000",
        },
        "type": "sepa_debit", "_stub": { "card": card },
    });
    keep(world, method, customer)
}

/// Makes it this customer's.
pub(crate) fn attach(world: &mut World, mut method: Value, customer: &str) -> Value {
    set(&mut method, "customer", customer);
    world.create(&method, "payment_method.attached");
    method
}

/// A payment method as a request names it: one of the customer's, or a card for tests, which is put in by that.
pub(crate) fn resolve(world: &mut World, name: &str, customer: &str, param: &str) -> Result<Value, ApiError> {
    if name.starts_with("pm_card_") {
        return make(world, name, Some(customer));
    }
    let method = world.find("payment_method", name, "PaymentMethod", param)?;
    if text(&method, "customer") != customer {
        let message = format!(
            "The customer does not have a payment method with the ID {name}. The payment method must be attached to the \
             customer."
        );
        return Err(ApiError::coded("resource_missing", message).about(param));
    }
    Ok(method)
}

/// What a subscription is paid with: its own, else the customer's.
pub(crate) fn of_subscription<'a>(world: &'a World, subscription: &Value) -> Option<&'a Value> {
    let own = some_text(subscription, "default_payment_method");
    let customer = world.get(text(subscription, "customer"));
    let general = customer
        .and_then(|customer| some_text(crate::json::at(customer, "invoice_settings"), "default_payment_method"));
    [own, general].into_iter().flatten().find_map(|id| world.get(id))
}
