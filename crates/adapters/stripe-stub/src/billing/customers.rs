//! Customers: who they are and what they have to their credit.

use serde_json::{Value, json};

use crate::ids::random_id;
use crate::json::{int, set};
use crate::world::World;

/// A new customer, not yet kept.
pub(crate) fn blank(world: &World) -> Value {
    let id = random_id("cus_");
    let prefix: String = id.chars().rev().take(8).collect::<String>().to_uppercase();
    json!({
        "id": id, "object": "customer", "address": null, "balance": 0, "created": world.at, "currency": null,
        "customer_account": null, "default_source": null, "delinquent": false, "description": null, "discount": null,
        "email": null, "invoice_prefix": prefix,
        "invoice_settings": { "custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null },
        "livemode": false, "metadata": {}, "name": null, "next_invoice_sequence": 1, "phone": null,
        "preferred_locales": [], "shipping": null, "tax_exempt": "none", "test_clock": null,
    })
}

/// Changes what they owe (above zero) or have to their credit (below), and tells of it.
pub(crate) fn set_balance(world: &mut World, customer: &str, balance: i64) {
    let Some(mut customer) = world.get(customer).cloned() else {
        return;
    };
    if int(&customer, "balance") != balance {
        set(&mut customer, "balance", balance);
        world.change(customer, "customer.updated");
    }
}
