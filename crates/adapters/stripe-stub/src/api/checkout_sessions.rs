//! `/v1/checkout/sessions`.

use serde_json::{Map, Value, json};

use super::{Call, customers, list, prices, subscriptions};
use crate::billing::{checkout, discounts};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{set, set_hidden, text};
use crate::periods::DAY;
use crate::world::World;

/// What changes nothing here.
const IGNORED: [&str; 7] = [
    "automatic_tax",
    "billing_address_collection",
    "customer_update",
    "payment_method_types",
    "locale",
    "submit_type",
    "tax_id_collection",
];

/// Answers a request to checkout sessions.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", ["sessions"]) => create(world, call.params),
        ("GET", ["sessions"]) => list_all(world, call.params),
        ("GET", ["sessions", id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("GET", ["sessions", id, "line_items"]) => {
            let session = find(world, id)?;
            let mut params = call.params;
            params.ignore(&["limit"]);
            params.finish()?;
            Ok(checkout::line_items(world, &session))
        }
        ("POST", ["sessions", id, "expire"]) => expire(world, id, call.params),
        _ => call.nowhere("checkout"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find("checkout.session", id, "checkout.session", "session")
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let mode = read_mode(&mut params)?;
    let once = mode == "payment";
    let entries = params
        .list("line_items")?
        .ok_or_else(|| ApiError::missing("line_items"))?;
    let (lines, currency) = read_lines(world, entries, once)?;
    let customer = params.opt("customer")?;
    if let Some(id) = &customer {
        customers::find(world, id, "customer")?;
    }
    let email = params.opt("customer_email")?;
    if customer.is_some() && email.is_some() {
        return Err(ApiError::refused(
            "You may only specify one of these parameters: customer, customer_email.",
        ));
    }
    let creation = params.one_of("customer_creation", &["always", "if_required"])?;
    let creation = once.then(|| creation.unwrap_or_else(|| "if_required".to_owned()));
    let data = read_subscription_data(&mut params)?;
    let payment = read_payment_intent_data(&mut params)?;
    let collection = params.one_of("payment_method_collection", &["always", "if_required"])?;
    let collected = if once { "if_required" } else { "always" };
    let codes = params.boolean("allow_promotion_codes")?;
    let wanted = discounts::read(world, &mut params)?.unwrap_or_default();
    if codes.is_some() && !wanted.is_empty() {
        return Err(ApiError::refused(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
        ));
    }
    let (success, cancel) = (params.required("success_url")?, params.opt("cancel_url")?);
    check_url("success_url", &success)?;
    cancel
        .as_deref()
        .map_or(Ok(()), |cancel| check_url("cancel_url", cancel))?;
    let reference = params.opt("client_reference_id")?;
    let metadata = params.metadata("metadata")?.flatten().unwrap_or_default();
    let expires_at = read_expiry(world, &mut params)?;
    params.one_of("ui_mode", &["hosted", "hosted_page"])?;
    params.ignore(&IGNORED);
    params.finish()?;
    let id = random_id("cs_test_");
    let applied: Vec<_> = wanted
        .iter()
        .map(|one| json!({ "coupon": one.coupon, "promotion_code": one.promotion_code }))
        .collect();
    let mut session = json!({
        "id": id, "object": "checkout.session", "allow_promotion_codes": codes, "cancel_url": cancel,
        "client_reference_id": reference, "created": world.at, "currency": currency, "customer": customer,
        "customer_email": email, "discounts": applied, "expires_at": expires_at, "metadata": metadata, "mode": mode,
        "payment_method_collection": collection.as_deref().unwrap_or(collected), "status": "open",
        "success_url": success, "url": format!("{}/checkout/{id}", world.public_url),
    });
    if let (Some(members), Value::Object(rest)) = (session.as_object_mut(), constant()) {
        members.extend(rest);
    }
    set(&mut session, "customer_creation", creation);
    set_hidden(&mut session, "line_items", lines);
    set_hidden(&mut session, "subscription_data", data);
    set_hidden(&mut session, "payment_intent_data", payment);
    set_hidden(&mut session, "discounts", applied);
    checkout::set_amounts(world, &mut session);
    world.put(session.clone());
    Ok(session)
}

/// The mode, and nothing in the request that belongs to the other.
fn read_mode(params: &mut Params) -> Result<String, ApiError> {
    let mode = params.required("mode")?;
    let foreign = match mode.as_str() {
        "payment" => &["subscription_data", "payment_method_collection"][..],
        "subscription" => &["payment_intent_data"],
        _ => return Err(ApiError::refused("stripe-stub has the modes payment and subscription.").about("mode")),
    };
    match foreign.iter().find(|key| params.has(key)) {
        None => Ok(mode),
        Some(key) => Err(ApiError::refused(format!("You can not pass `{key}` in `{mode}` mode.")).about(key)),
    }
}

fn check_url(param: &str, url: &str) -> Result<(), ApiError> {
    let plain = url.replace("{CHECKOUT_SESSION_ID}", "");
    let known = url::Url::parse(&plain).is_ok() && !url.chars().any(char::is_control);
    if known {
        Ok(())
    } else {
        Err(ApiError::invalid(param, "url_invalid", "Not a valid URL"))
    }
}

/// What is the same in every session.
fn constant() -> Value {
    json!({
        "adaptive_pricing": { "enabled": false }, "after_expiration": null, "allowed_payment_method_types": null,
        "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null },
        "billing_address_collection": null, "client_secret": null, "collected_information": null, "consent": null,
        "consent_collection": null, "currency_conversion": null, "custom_fields": [],
        "custom_text": { "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null },
        "customer_account": null, "customer_creation": null, "customer_details": null, "integration_identifier": null,
        "invoice": null, "invoice_creation": null, "livemode": false, "locale": null, "managed_payments": null,
        "origin_context": null, "payment_intent": null, "payment_link": null,
        "payment_method_configuration_details": null, "payment_method_options": null, "payment_method_types": ["card"],
        "payment_status": "unpaid", "permissions": null, "phone_number_collection": { "enabled": false },
        "recovered_from": null, "saved_payment_method_options": null, "setup_intent": null,
        "shipping_address_collection": null, "shipping_cost": null, "shipping_options": [], "submit_type": null,
        "subscription": null, "ui_mode": "hosted_page", "wallet_options": null,
    })
}

/// Price and quantity of each line, and their currency. What is bought once has prices that are paid once.
fn read_lines(world: &mut World, entries: Vec<Params>, once: bool) -> Result<(Value, String), ApiError> {
    let mut lines = Vec::new();
    let mut currency = String::new();
    for mut entry in entries {
        let name = entry.name("price");
        let price = match (entry.opt("price")?, entry.sub("price_data")?) {
            (Some(id), None) => world.find("price", &id, "price", &name)?,
            (None, Some(data)) => prices::from_data(world, data)?,
            _ => return Err(ApiError::missing(&name)),
        };
        let metered = crate::json::at(&price, "recurring/usage_type") == "metered";
        let quantity = entry.count("quantity", 1)?;
        let quantity_name = entry.name("quantity");
        entry.ignore(&["adjustable_quantity"]);
        entry.finish()?;
        if quantity.is_none() && !metered {
            return Err(ApiError::missing(&quantity_name));
        }
        if crate::json::at(&price, "recurring").is_null() != once {
            return Err(ApiError::refused(if once {
                "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use \
                 only one-time prices."
            } else {
                "You must provide at least one recurring price in `subscription` mode."
            }));
        }
        text(&price, "currency").clone_into(&mut currency);
        lines.push(json!({ "price": text(&price, "id"), "quantity": quantity.unwrap_or(0) }));
    }
    if lines.is_empty() {
        return Err(ApiError::missing("line_items"));
    }
    Ok((lines.into(), currency))
}

fn read_subscription_data(params: &mut Params) -> Result<Value, ApiError> {
    let mut data = json!({});
    let Some(mut inner) = params.sub("subscription_data")? else {
        return Ok(data);
    };
    set(
        &mut data,
        "metadata",
        inner.metadata("metadata")?.flatten().unwrap_or_else(Map::new),
    );
    set(&mut data, "description", inner.opt("description")?);
    set(&mut data, "trial_period_days", inner.count("trial_period_days", 1)?);
    set(&mut data, "trial_end", inner.int("trial_end")?);
    set(
        &mut data,
        "missing_payment_method",
        subscriptions::read_missing(&mut inner)?,
    );
    set(&mut data, "classic", subscriptions::read_classic(&mut inner)?);
    inner.ignore(&["proration_behavior"]);
    inner.finish()?;
    Ok(data)
}

fn read_payment_intent_data(params: &mut Params) -> Result<Value, ApiError> {
    let mut data = json!({});
    let Some(mut inner) = params.sub("payment_intent_data")? else {
        return Ok(data);
    };
    let metadata = inner.metadata("metadata")?.flatten().unwrap_or_default();
    set(&mut data, "metadata", metadata);
    set(&mut data, "description", inner.opt("description")?);
    inner.ignore(&["receipt_email", "statement_descriptor", "statement_descriptor_suffix"]);
    inner.finish()?;
    Ok(data)
}

/// Between half an hour and a day from now, a day unless it is said.
fn read_expiry(world: &World, params: &mut Params) -> Result<i64, ApiError> {
    let given = params.int("expires_at")?;
    // The caller's clock may be some seconds behind.
    let within = given.is_none_or(|end| (world.at + 1740..=world.at + DAY + 60).contains(&end));
    if !within {
        let message = "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation, and at most 24 hours.";
        return Err(ApiError::invalid("expires_at", "parameter_invalid_integer", message));
    }
    Ok(given.unwrap_or(world.at + DAY))
}

fn expire(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    let session = find(world, id)?;
    if text(&session, "status") != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of {}.",
            text(&session, "status")
        );
        return Err(ApiError::refused(message));
    }
    Ok(checkout::expire(world, session))
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let (customer, subscription) = (params.opt("customer")?, params.opt("subscription")?);
    let intent = params.opt("payment_intent")?;
    let status = params.one_of("status", &["open", "complete", "expired"])?;
    let is = |session: &Value, key: &str, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| text(session, key) == wanted)
    };
    list(
        world,
        params,
        ("checkout.session", "/v1/checkout/sessions"),
        |session| {
            is(session, "customer", &customer)
                && is(session, "subscription", &subscription)
                && is(session, "payment_intent", &intent)
                && is(session, "status", &status)
        },
    )
}
