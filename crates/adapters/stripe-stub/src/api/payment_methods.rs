//! `/v1/payment_methods`: cards for tests, by Stripe's names for them.

use serde_json::Value;

use super::{Call, customers, list, merge_metadata};
use crate::billing::cards;
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::json::{set, text};
use crate::world::World;

/// Answers a request to payment methods.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("payment_method", id, "PaymentMethod", "id")
        }
        ("POST", [id]) => update(world, id, call.params),
        ("POST", [id, "attach"]) => attach(world, id, call.params),
        ("POST", [id, "detach"]) => detach(world, id, call.params),
        _ => call.nowhere("payment_methods"),
    }
}

/// `type=card&card[token]=tok_visa`: the tokens have the names of the cards.
fn create(world: &mut World, mut params: Params) -> Answer {
    params
        .one_of("type", &["card"])?
        .ok_or_else(|| ApiError::missing("type"))?;
    let mut card = params.sub("card")?.ok_or_else(|| ApiError::missing("card"))?;
    let token = card.required("token")?;
    card.finish()?;
    let metadata = params.metadata("metadata")?;
    params.ignore(&["billing_details"]);
    params.finish()?;
    let name = format!("pm_card_{}", token.trim_start_matches("tok_"));
    let mut method = cards::make(world, &name, None)?;
    merge_metadata(&mut method, metadata);
    world.put(method.clone());
    Ok(method)
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut method = world.find("payment_method", id, "PaymentMethod", "id")?;
    merge_metadata(&mut method, params.metadata("metadata")?);
    params.ignore(&["billing_details"]);
    params.finish()?;
    world.change(method.clone(), "payment_method.updated");
    Ok(method)
}

fn attach(world: &mut World, id: &str, mut params: Params) -> Answer {
    let customer = params.required("customer")?;
    params.finish()?;
    customers::find(world, &customer, "customer")?;
    let id = customers::adopt(world, id, &customer, "payment_method")?;
    world.find("payment_method", &id, "PaymentMethod", "payment_method")
}

fn detach(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    let mut method = world.find("payment_method", id, "PaymentMethod", "payment_method")?;
    let customer = text(&method, "customer").to_owned();
    if customer.is_empty() {
        let message = "The payment method you provided is not attached to a customer so detachment is impossible.";
        return Err(ApiError::refused(message));
    }
    set(&mut method, "customer", Value::Null);
    world.put(method.clone());
    world.emit("payment_method.detached", &method, None);
    // Whatever was paid with it is paid with nothing now.
    if let Some(mut owner) = world.get(&customer).cloned() {
        let mut settings = crate::json::at(&owner, "invoice_settings").clone();
        if text(&settings, "default_payment_method") == id {
            set(&mut settings, "default_payment_method", Value::Null);
            set(&mut owner, "invoice_settings", settings);
            world.change(owner, "customer.updated");
        }
    }
    let using: Vec<_> = world
        .of_kind("subscription")
        .filter(|subscription| text(subscription, "default_payment_method") == id)
        .cloned()
        .collect();
    for mut subscription in using {
        set(&mut subscription, "default_payment_method", Value::Null);
        world.change(subscription, "customer.subscription.updated");
    }
    Ok(method)
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let (customer, kind) = (params.opt("customer")?, params.opt("type")?);
    if let Some(customer) = &customer {
        customers::find(world, customer, "customer")?;
    }
    list(world, params, ("payment_method", "/v1/payment_methods"), |method| {
        customer
            .as_ref()
            .is_some_and(|customer| text(method, "customer") == customer)
            && kind.as_ref().is_none_or(|kind| text(method, "type") == kind)
    })
}
