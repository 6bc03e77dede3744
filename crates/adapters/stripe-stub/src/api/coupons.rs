//! `/v1/coupons` and `/v1/promotion_codes`.

use serde_json::{Value, json};

use super::{Call, customers, deleted, list, merge_metadata, take_texts};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{at, set, text, truth};
use crate::world::World;

/// Answers a request to coupons.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list(world, call.params, ("coupon", "/v1/coupons"), |_| true),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("coupon", id, "coupon", "coupon")
        }
        ("POST", [id]) => update(world, id, call.params),
        ("DELETE", [id]) => delete(world, id, call.params),
        _ => call.nowhere("coupons"),
    }
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let id = params.opt("id")?.unwrap_or_else(|| random_id(""));
    let duration = params
        .one_of("duration", &["once", "forever", "repeating"])?
        .unwrap_or_else(|| "once".to_owned());
    let months = params.count("duration_in_months", 1)?;
    if (duration == "repeating") != months.is_some() {
        return Err(ApiError::refused(
            "`duration_in_months` goes with `duration=repeating`, and only with it.",
        ));
    }
    let amount = params.int_from("amount_off", 1)?;
    let percent = params.opt("percent_off")?;
    let percent: Option<f64> = match percent.as_deref().map(str::parse) {
        None => None,
        Some(Ok(percent)) if percent > 0.0 && percent <= 100.0 => Some(percent),
        Some(_) => {
            return Err(ApiError::invalid(
                "percent_off",
                "parameter_invalid_value",
                "Must be above 0 and at most 100.",
            ));
        }
    };
    if amount.is_some() == percent.is_some() {
        return Err(ApiError::refused("Must provide percent_off or amount_off, not both."));
    }
    let currency = params.opt("currency")?;
    if amount.is_some() && currency.is_none() {
        return Err(ApiError::missing("currency"));
    }
    let (most, until) = (params.count("max_redemptions", 1)?, params.int("redeem_by")?);
    let mut coupon = json!({
        "id": id, "object": "coupon", "amount_off": amount, "created": world.at, "currency": currency,
        "duration": duration, "duration_in_months": months, "livemode": false, "max_redemptions": most, "metadata": {},
        "name": null, "percent_off": percent, "redeem_by": until, "times_redeemed": 0, "valid": true,
    });
    take_texts(&mut coupon, &mut params, &["name"])?;
    merge_metadata(&mut coupon, params.metadata("metadata")?);
    params.finish()?;
    if world.get(&id).is_some() {
        return Err(ApiError::coded("resource_already_exists", "Coupon already exists.").about("id"));
    }
    world.create(&coupon, "coupon.created");
    Ok(coupon)
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut coupon = world.find("coupon", id, "coupon", "coupon")?;
    take_texts(&mut coupon, &mut params, &["name"])?;
    merge_metadata(&mut coupon, params.metadata("metadata")?);
    params.finish()?;
    world.change(coupon.clone(), "coupon.updated");
    Ok(coupon)
}

/// Whoever has redeemed it keeps it: it only stops being valid.
fn delete(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    let mut coupon = world.find("coupon", id, "coupon", "coupon")?;
    set(&mut coupon, "valid", false);
    world.put(coupon.clone());
    world.emit("coupon.deleted", &coupon, None);
    Ok(deleted(id, "coupon"))
}

/// Answers a request to promotion codes.
pub(super) fn route_codes(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create_code(world, call.params),
        ("GET", []) => list_codes(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("promotion_code", id, "promotion code", "promotion_code")
        }
        ("POST", [id]) => update_code(world, id, call.params),
        _ => call.nowhere("promotion_codes"),
    }
}

fn create_code(world: &mut World, mut params: Params) -> Answer {
    let mut promotion = params.sub("promotion")?.ok_or_else(|| ApiError::missing("promotion"))?;
    promotion.one_of("type", &["coupon"])?;
    let coupon = promotion.required("coupon")?;
    promotion.finish()?;
    world.find("coupon", &coupon, "coupon", "promotion[coupon]")?;
    let code = params
        .opt("code")?
        .unwrap_or_else(|| random_id("").chars().take(8).collect::<String>().to_uppercase());
    let customer = params.opt("customer")?;
    if let Some(id) = &customer {
        customers::find(world, id, "customer")?;
    }
    let active = params.boolean("active")?.unwrap_or(true);
    let (most, until) = (params.count("max_redemptions", 1)?, params.int("expires_at")?);
    let metadata = params.metadata("metadata")?;
    params.finish()?;
    if crate::billing::discounts::find_code(world, &code).is_some() {
        let message = "An active promotion code with the same code already exists.";
        return Err(ApiError::coded("resource_already_exists", message).about("code"));
    }
    let mut object = json!({
        "id": random_id("promo_"), "object": "promotion_code", "active": active, "code": code, "created": world.at,
        "customer": customer, "customer_account": null, "expires_at": until, "livemode": false, "max_redemptions": most,
        "metadata": {}, "promotion": { "coupon": coupon, "type": "coupon" },
        "restrictions": { "first_time_transaction": false, "minimum_amount": null, "minimum_amount_currency": null },
        "times_redeemed": 0,
    });
    merge_metadata(&mut object, metadata);
    world.create(&object, "promotion_code.created");
    Ok(object)
}

fn update_code(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut code = world.find("promotion_code", id, "promotion code", "promotion_code")?;
    if let Some(active) = params.boolean("active")? {
        set(&mut code, "active", active);
    }
    merge_metadata(&mut code, params.metadata("metadata")?);
    params.finish()?;
    world.change(code.clone(), "promotion_code.updated");
    Ok(code)
}

fn list_codes(world: &World, mut params: Params) -> Answer {
    let (code, coupon, active) = (params.opt("code")?, params.opt("coupon")?, params.boolean("active")?);
    list(
        world,
        params,
        ("promotion_code", "/v1/promotion_codes"),
        |object: &Value| {
            code.as_ref().is_none_or(|code| text(object, "code") == code)
                && coupon
                    .as_ref()
                    .is_none_or(|coupon| at(object, "promotion/coupon") == coupon.as_str())
                && active.is_none_or(|active| truth(object, "active") == active)
        },
    )
}
