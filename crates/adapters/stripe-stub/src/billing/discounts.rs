//! Coupons and promotion codes on invoices.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{at, int, items, set, some_int, text, truth};
use crate::periods::{next_boundary, prorate};
use crate::world::World;

/// What a request wants to have applied: a coupon, perhaps by one of its codes.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) coupon: String,
    pub(crate) promotion_code: Option<String>,
}

/// Reads `discounts[0][coupon|promotion_code]`; `None` where the request says nothing about it.
pub(crate) fn read(world: &World, params: &mut Params) -> Result<Option<Vec<Wanted>>, ApiError> {
    if params.has("discounts") && params.clone().text("discounts").ok().flatten().is_some() {
        params.ignore(&["discounts"]);
        return Ok(Some(Vec::new()));
    }
    let Some(list) = params.list("discounts")? else {
        return Ok(None);
    };
    let mut wanted = Vec::new();
    for mut one in list {
        let (coupon, code) = (one.opt("coupon")?, one.opt("promotion_code")?);
        let name = one.name(if coupon.is_some() { "coupon" } else { "promotion_code" });
        one.finish()?;
        wanted.push(match (coupon, code) {
            (Some(coupon), None) => by_coupon(world, &coupon, &name)?,
            (None, Some(code)) => by_code(world, &world.find("promotion_code", &code, "promotion code", &name)?)?,
            _ => return Err(ApiError::missing(&name)),
        });
    }
    Ok(Some(wanted))
}

/// By a coupon's own identifier.
pub(crate) fn by_coupon(world: &World, id: &str, param: &str) -> Result<Wanted, ApiError> {
    let coupon = world.find("coupon", id, "coupon", param)?;
    redeemable(world, &coupon)?;
    Ok(Wanted {
        coupon: id.to_owned(),
        promotion_code: None,
    })
}

/// By a promotion code object.
pub(crate) fn by_code(world: &World, code: &Value) -> Result<Wanted, ApiError> {
    let over = some_int(code, "expires_at").is_some_and(|end| end <= world.at)
        || some_int(code, "max_redemptions").is_some_and(|most| int(code, "times_redeemed") >= most);
    if !truth(code, "active") || over {
        return Err(ApiError::coded(
            "promotion_code_expired",
            "This promotion code is no longer valid.",
        ));
    }
    let coupon = text(at(code, "promotion"), "coupon").to_owned();
    let coupon = world.find("coupon", &coupon, "coupon", "promotion_code")?;
    redeemable(world, &coupon)?;
    Ok(Wanted {
        coupon: text(&coupon, "id").to_owned(),
        promotion_code: Some(text(code, "id").to_owned()),
    })
}

/// The active promotion code that people know by this text, in any case.
pub(crate) fn find_code<'a>(world: &'a World, typed: &str) -> Option<&'a Value> {
    let typed = typed.trim();
    let mut codes = world.of_kind("promotion_code");
    codes.find(|code| truth(code, "active") && text(code, "code").eq_ignore_ascii_case(typed))
}

fn redeemable(world: &World, coupon: &Value) -> Result<(), ApiError> {
    let over = some_int(coupon, "redeem_by").is_some_and(|end| end <= world.at)
        || some_int(coupon, "max_redemptions").is_some_and(|most| int(coupon, "times_redeemed") >= most);
    if over || !truth(coupon, "valid") {
        let message = format!("Coupon expired: {}", text(coupon, "id"));
        return Err(ApiError::coded("coupon_expired", message).about("coupon"));
    }
    Ok(())
}

/// Redeems it for a subscription: keeps a discount and answers its identifier.
pub(crate) fn redeem(world: &mut World, wanted: &Wanted, subscription: &Value) -> String {
    let id = random_id("di_");
    let coupon = world.get(&wanted.coupon).cloned().unwrap_or_default();
    let end = (text(&coupon, "duration") == "repeating").then(|| {
        let months = int(&coupon, "duration_in_months");
        next_boundary(world.at, "month", months, world.at)
    });
    world.put(json!({
        "id": id, "object": "discount", "checkout_session": null, "customer": text(subscription, "customer"),
        "customer_account": null, "end": end, "invoice": null, "invoice_item": null,
        "promotion_code": wanted.promotion_code, "source": { "coupon": wanted.coupon, "type": "coupon" },
        "start": world.at, "subscription": text(subscription, "id"), "subscription_item": null,
    }));
    count(world, wanted);
    id
}

/// Counts that it was redeemed.
pub(crate) fn count(world: &mut World, wanted: &Wanted) {
    for counted in [Some(&wanted.coupon), wanted.promotion_code.as_ref()]
        .into_iter()
        .flatten()
    {
        if let Some(mut object) = world.get(counted).cloned() {
            let times = int(&object, "times_redeemed") + 1;
            set(&mut object, "times_redeemed", times);
            world.put(object);
        }
    }
}

/// What these discounts take off a sum, each from what the one before left: discount and amount.
pub(crate) fn amounts(world: &World, discounts: &[String], sum: i64) -> Vec<(String, i64)> {
    let mut left = sum;
    let mut amounts = Vec::new();
    for id in discounts {
        let Some(discount) = world.get(id) else { continue };
        if some_int(discount, "end").is_some_and(|end| end <= world.at) {
            continue;
        }
        let coupon = world.get(text(at(discount, "source"), "coupon"));
        let amount = coupon.map_or(0, |coupon| off(coupon, left));
        left -= amount;
        amounts.push((id.clone(), amount));
    }
    amounts
}

/// What a coupon takes off a sum.
pub(crate) fn off(coupon: &Value, sum: i64) -> i64 {
    if let Some(amount) = some_int(coupon, "amount_off") {
        return amount.min(sum.max(0));
    }
    let percent = at(coupon, "percent_off").as_f64().unwrap_or_default();
    // Four decimals are more than Stripe takes.
    #[expect(clippy::cast_possible_truncation, reason = "at most 100 * 10,000")]
    let parts = (percent * 10_000.0).round() as i64;
    prorate(sum, parts, 1_000_000)
}

/// The discounts that apply to later invoices too, once these have been applied.
pub(crate) fn lasting(world: &World, subscription: &Value) -> Vec<Value> {
    let lasts = |id: &&Value| {
        let discount = id.as_str().and_then(|id| world.get(id));
        let coupon = discount.and_then(|discount| world.get(text(at(discount, "source"), "coupon")));
        coupon.is_some_and(|coupon| text(coupon, "duration") != "once")
            && discount
                .and_then(|discount| some_int(discount, "end"))
                .is_none_or(|end| end > world.at)
    };
    items(subscription, "discounts").iter().filter(lasts).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coupons_take_off_what_they_say() {
        assert_eq!(off(&json!({"percent_off": 25}), 1999), 500);
        assert_eq!(off(&json!({"percent_off": 33.33}), 1000), 333);
        assert_eq!(off(&json!({"percent_off": 100}), 1999), 1999);
        assert_eq!(off(&json!({"percent_off": 50}), -1000), -500);
        assert_eq!(off(&json!({"amount_off": 500, "percent_off": null}), 300), 300);
        assert_eq!(off(&json!({"amount_off": 500}), -300), 0);
    }
}
