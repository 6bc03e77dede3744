//! `/v1/customers`.

use serde_json::{Value, json};

use super::{Call, deleted, list, merge_metadata, take_texts};
use crate::billing::{cards, customers, lifecycle};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::json::{at, set, some_text, text};
use crate::world::World;

/// Answers a request to customers.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            retrieve(world, id)
        }
        ("POST", [id]) => update(world, id, call.params),
        ("DELETE", [id]) => delete(world, id, call.params),
        ("GET", [id, "payment_methods"]) => methods(world, id, call.params),
        ("GET", [id, "payment_methods", method]) => {
            call.params.finish()?;
            world.find("customer", id, "customer", "customer")?;
            cards::resolve(world, method, id, "payment_method")
        }
        _ => call.nowhere("customers"),
    }
}

/// One who was deleted is known for having been there.
fn retrieve(world: &World, id: &str) -> Answer {
    let gone = world
        .get(id)
        .filter(|object| text(object, "object") == "customer" && at(object, "deleted") == true);
    gone.map_or_else(|| find(world, id, "id"), |_| Ok(deleted(id, "customer")))
}

/// A customer that is there.
pub(super) fn find(world: &World, id: &str, param: &str) -> Answer {
    let customer = world.find("customer", id, "customer", param)?;
    if at(&customer, "deleted") == true {
        return Err(ApiError::not_found("customer", id, param));
    }
    Ok(customer)
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let mut customer = customers::blank(world);
    if let Some(clock) = params.opt("test_clock")? {
        world.find("test_helpers.test_clock", &clock, "test clock", "test_clock")?;
        set(&mut customer, "test_clock", clock);
    }
    let method = params.opt("payment_method")?;
    let default = take(&mut customer, &mut params)?;
    params.finish()?;
    world.create(&customer, "customer.created");
    let id = text(&customer, "id").to_owned();
    if let Some(method) = method {
        let method = adopt(world, &method, &id, "payment_method")?;
        return with_default(world, customer, default.as_deref().map(|_| method));
    }
    with_default(world, customer, default)
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut customer = find(world, id, "id")?;
    let default = take(&mut customer, &mut params)?;
    params.finish()?;
    with_default(world, customer, default)
}

/// What create and update have in common. Answers the wanted default payment method.
fn take(customer: &mut Value, params: &mut Params) -> Result<Option<String>, ApiError> {
    take_texts(customer, params, &["email", "name", "description", "phone"])?;
    merge_metadata(customer, params.metadata("metadata")?);
    if let Some(balance) = params.int("balance")? {
        set(customer, "balance", balance);
    }
    params.ignore(&["preferred_locales", "address", "shipping", "tax_exempt", "tax"]);
    let Some(mut settings) = params.sub("invoice_settings")? else {
        return Ok(None);
    };
    let default = settings.text("default_payment_method")?;
    settings.ignore(&["footer"]);
    settings.finish()?;
    Ok(default)
}

/// Keeps a changed customer; an empty default is none.
fn with_default(world: &mut World, mut customer: Value, default: Option<String>) -> Answer {
    if let Some(name) = default {
        let id = text(&customer, "id").to_owned();
        let method = match name.as_str() {
            "" => None,
            name => Some(
                text(
                    &cards::resolve(world, name, &id, "invoice_settings[default_payment_method]")?,
                    "id",
                )
                .to_owned(),
            ),
        };
        let mut settings = at(&customer, "invoice_settings").clone();
        set(&mut settings, "default_payment_method", method);
        set(&mut customer, "invoice_settings", settings);
    }
    world.change(customer.clone(), "customer.updated");
    Ok(customer)
}

/// Attaches a payment method that a request names and answers its identifier.
pub(super) fn adopt(world: &mut World, name: &str, customer: &str, param: &str) -> Result<String, ApiError> {
    if name.starts_with("pm_card_") {
        return cards::make(world, name, Some(customer)).map(|method| text(&method, "id").to_owned());
    }
    let method = world.find("payment_method", name, "PaymentMethod", param)?;
    match some_text(&method, "customer") {
        Some(owner) if owner == customer => (),
        Some(_) => {
            return Err(ApiError::refused(
                "The payment method you provided has already been attached to a customer.",
            ));
        }
        None => {
            cards::attach(world, method, customer);
        }
    }
    Ok(name.to_owned())
}

fn delete(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    remove(world, id)
}

/// Deletes a customer: their subscriptions end at once.
pub(super) fn remove(world: &mut World, id: &str) -> Answer {
    let mut customer = find(world, id, "id")?;
    let running: Vec<_> = world
        .of_kind("subscription")
        .filter(|subscription| text(subscription, "customer") == id && !lifecycle::is_over(subscription))
        .cloned()
        .collect();
    for subscription in running {
        lifecycle::cancel(world, subscription, "cancellation_requested");
    }
    world.emit("customer.deleted", &customer, None);
    set(&mut customer, "deleted", true);
    world.put(json!({ "id": id, "object": "customer", "deleted": true, "created": at(&customer, "created") }));
    Ok(deleted(id, "customer"))
}

fn methods(world: &World, id: &str, mut params: Params) -> Answer {
    find(world, id, "customer")?;
    let kind = params.opt("type")?;
    let url = format!("/v1/customers/{id}/payment_methods");
    list(world, params, ("payment_method", &url), |method| {
        text(method, "customer") == id && kind.as_ref().is_none_or(|kind| text(method, "type") == kind)
    })
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let email = params.opt("email")?;
    let clock = params.opt("test_clock")?;
    list(world, params, ("customer", "/v1/customers"), |customer| {
        at(customer, "deleted") != true
            && email.as_ref().is_none_or(|email| text(customer, "email") == email)
            && clock.as_ref().is_none_or(|clock| text(customer, "test_clock") == clock)
    })
}
