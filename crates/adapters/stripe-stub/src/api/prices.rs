//! `/v1/prices`.

use serde_json::{Value, json};

use super::{Call, list, merge_metadata, products, take_texts};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{at, set, some_text, text, truth};
use crate::world::World;

/// Most lookup keys in a request. <https://docs.stripe.com/api/prices/list>
const MOST_KEYS: usize = 10;

/// Answers a request to prices.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("price", id, "price", "id")
        }
        ("POST", [id]) => update(world, id, call.params),
        _ => call.nowhere("prices"),
    }
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let mut price = read(world, &mut params)?;
    if let Some(active) = params.boolean("active")? {
        set(&mut price, "active", active);
    }
    take_texts(&mut price, &mut params, &["nickname"])?;
    merge_metadata(&mut price, params.metadata("metadata")?);
    let key = params.opt("lookup_key")?;
    let transfer = params.boolean("transfer_lookup_key")?.unwrap_or(false);
    params.finish()?;
    claim_key(world, text(&price, "id"), key.as_deref(), transfer)?;
    set(&mut price, "lookup_key", key);
    world.create(&price, "price.created");
    Ok(price)
}

/// A price that is made where it is used (`price_data`); nobody can use it again.
pub(super) fn from_data(world: &mut World, mut data: Params) -> Result<Value, ApiError> {
    let mut price = read(world, &mut data)?;
    data.finish()?;
    set(&mut price, "active", false);
    world.create(&price, "price.created");
    Ok(price)
}

fn read(world: &mut World, params: &mut Params) -> Result<Value, ApiError> {
    let currency = params.required("currency")?.to_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_lowercase()) {
        let message = format!("Invalid currency: {currency}.");
        return Err(ApiError::invalid(
            &params.name("currency"),
            "parameter_invalid_value",
            message,
        ));
    }
    let (amount, decimal) = (params.int_from("unit_amount", 0)?, params.opt("unit_amount_decimal")?);
    if amount.is_none() && decimal.is_none() {
        return Err(ApiError::missing(&params.name("unit_amount")));
    }
    if decimal.as_ref().is_some_and(|text| text.parse::<f64>().is_err()) {
        let name = params.name("unit_amount_decimal");
        return Err(ApiError::invalid(&name, "parameter_invalid_value", "Invalid decimal"));
    }
    let recurring = read_recurring(world, params)?;
    params.ignore(&["billing_scheme", "tax_behavior"]);
    let product = read_product(world, params)?;
    let whole = decimal.as_ref().and_then(|text| text.parse().ok());
    let amount: Option<i64> = amount.or(whole);
    Ok(json!({
        "id": random_id("price_"), "object": "price", "active": true, "billing_scheme": "per_unit", "created": world.at,
        "currency": currency, "custom_unit_amount": null, "livemode": false, "lookup_key": null, "metadata": {},
        "nickname": null, "product": product, "tax_behavior": "unspecified", "tiers_mode": null,
        "transform_quantity": null, "type": if recurring.is_null() { "one_time" } else { "recurring" },
        "recurring": recurring, "unit_amount": amount,
        "unit_amount_decimal": decimal.or_else(|| amount.map(|amount| amount.to_string())),
    }))
}

fn read_product(world: &mut World, params: &mut Params) -> Result<String, ApiError> {
    let name = params.name("product");
    match (params.opt("product")?, params.sub("product_data")?) {
        (Some(id), None) => {
            world.find("product", &id, "product", &name)?;
            Ok(id)
        }
        (None, Some(data)) => products::from_data(world, data).map(|product| text(&product, "id").to_owned()),
        _ => Err(ApiError::missing(&name)),
    }
}

fn read_recurring(world: &World, params: &mut Params) -> Result<Value, ApiError> {
    let Some(mut recurring) = params.sub("recurring")? else {
        return Ok(Value::Null);
    };
    let interval = recurring.one_of("interval", &["day", "week", "month", "year"])?;
    let interval = interval.ok_or_else(|| ApiError::missing(&recurring.name("interval")))?;
    let count = recurring.count("interval_count", 1)?.unwrap_or(1);
    let usage = recurring.one_of("usage_type", &["licensed", "metered"])?;
    let meter = recurring.opt("meter")?;
    if let Some(id) = &meter {
        world.find("billing.meter", id, "meter", &recurring.name("meter"))?;
    }
    let name = recurring.name("meter");
    recurring.finish()?;
    if usage.as_deref() == Some("metered") && meter.is_none() {
        return Err(ApiError::missing(&name));
    }
    Ok(json!({
        "interval": interval, "interval_count": count, "meter": meter, "trial_period_days": null,
        "usage_type": usage.as_deref().unwrap_or("licensed"),
    }))
}

/// Makes a lookup key free for this price, or refuses: one price of an account has each.
fn claim_key(world: &mut World, id: &str, key: Option<&str>, transfer: bool) -> Result<(), ApiError> {
    let Some(key) = key else { return Ok(()) };
    let other = world
        .of_kind("price")
        .find(|price| some_text(price, "lookup_key") == Some(key) && text(price, "id") != id);
    let Some(mut other) = other.cloned() else { return Ok(()) };
    if !transfer {
        let message = format!("A price (`{}`) already uses that lookup key.", text(&other, "id"));
        return Err(ApiError::coded("resource_already_exists", message).about("lookup_key"));
    }
    set(&mut other, "lookup_key", Value::Null);
    world.change(other, "price.updated");
    Ok(())
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut price = world.find("price", id, "price", "id")?;
    if let Some(active) = params.boolean("active")? {
        set(&mut price, "active", active);
    }
    take_texts(&mut price, &mut params, &["nickname"])?;
    merge_metadata(&mut price, params.metadata("metadata")?);
    let key = params.text("lookup_key")?;
    let transfer = params.boolean("transfer_lookup_key")?.unwrap_or(false);
    params.ignore(&["tax_behavior"]);
    params.finish()?;
    if let Some(key) = key {
        let key = Some(key).filter(|key| !key.is_empty());
        claim_key(world, id, key.as_deref(), transfer)?;
        set(&mut price, "lookup_key", key);
    }
    world.change(price.clone(), "price.updated");
    Ok(price)
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let active = params.boolean("active")?;
    let keys = params.texts("lookup_keys")?;
    if keys.len() > MOST_KEYS {
        let message = format!("You can list prices of at most {MOST_KEYS} lookup keys.");
        return Err(ApiError::invalid("lookup_keys", "parameter_invalid_value", message));
    }
    let (product, currency) = (params.opt("product")?, params.opt("currency")?);
    let kind = params.one_of("type", &["one_time", "recurring"])?;
    let (mut interval, mut usage, mut meter) = (None, None, None);
    if let Some(mut recurring) = params.sub("recurring")? {
        interval = recurring.opt("interval")?;
        usage = recurring.opt("usage_type")?;
        meter = recurring.opt("meter")?;
        recurring.finish()?;
    }
    let is = |value: &Value, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| value == wanted.as_str());
    list(world, params, ("price", "/v1/prices"), |price| {
        active.is_none_or(|active| truth(price, "active") == active)
            && (keys.is_empty() || keys.iter().any(|key| key == text(price, "lookup_key")))
            && is(at(price, "product"), &product)
            && is(at(price, "currency"), &currency)
            && is(at(price, "type"), &kind)
            && is(at(price, "recurring/interval"), &interval)
            && is(at(price, "recurring/usage_type"), &usage)
            && is(at(price, "recurring/meter"), &meter)
    })
}
