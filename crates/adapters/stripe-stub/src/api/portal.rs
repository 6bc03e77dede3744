//! `/v1/billing_portal`.

use serde_json::{Value, json};

use super::{Call, customers, list, merge_metadata};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{set, text, truth};
use crate::world::World;

/// Answers a request to the portal's resources.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", ["sessions"]) => create(world, call.params),
        ("POST", ["configurations"]) => configure(world, call.params),
        ("GET", ["configurations"]) => list_all(world, call.params),
        ("GET", ["configurations", id]) => {
            call.params.finish()?;
            world.find("billing_portal.configuration", id, "configuration", "configuration")
        }
        _ => call.nowhere("billing_portal"),
    }
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let customer = params.required("customer")?;
    customers::find(world, &customer, "customer")?;
    let back = params.opt("return_url")?;
    let configuration = match params.opt("configuration")? {
        Some(id) => world.find("billing_portal.configuration", &id, "configuration", "configuration")?,
        None => default_configuration(world),
    };
    params.ignore(&["flow_data", "locale"]);
    params.finish()?;
    let id = random_id("bps_");
    let session = json!({
        "id": id, "object": "billing_portal.session", "configuration": text(&configuration, "id"), "created": world.at,
        "customer": customer, "customer_account": null, "flow": null, "livemode": false, "locale": null,
        "on_behalf_of": null, "return_url": back, "url": format!("{}/portal/{id}", world.public_url),
    });
    world.create(&session, "billing_portal.session.created");
    Ok(session)
}

fn default_configuration(world: &mut World) -> Value {
    let known = world
        .of_kind("billing_portal.configuration")
        .find(|one| truth(one, "is_default"))
        .cloned();
    known.unwrap_or_else(|| {
        let fresh = configuration(world, true);
        world.put(fresh.clone());
        fresh
    })
}

fn configuration(world: &World, is_default: bool) -> Value {
    json!({
        "id": random_id("bpc_"), "object": "billing_portal.configuration", "active": true, "application": null,
        "business_profile": { "headline": null, "privacy_policy_url": null, "terms_of_service_url": null },
        "created": world.at, "default_return_url": null,
        "features": {
            "customer_update": { "allowed_updates": [], "enabled": false }, "invoice_history": { "enabled": true },
            "payment_method_update": { "enabled": true, "payment_method_configuration": null },
            "subscription_cancel": {
                "cancellation_reason": { "enabled": false, "options": [] }, "enabled": true, "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_update": { "default_allowed_updates": [], "enabled": false, "proration_behavior": "none" },
        },
        "is_default": is_default, "livemode": false, "login_page": { "enabled": false, "url": null }, "metadata": {},
        "name": null, "updated": world.at,
    })
}

fn configure(world: &mut World, mut params: Params) -> Answer {
    if !params.has("features") {
        return Err(ApiError::missing("features"));
    }
    // What the stub's own portal offers does not depend on it.
    params.ignore(&["features", "business_profile", "login_page"]);
    let mut made = configuration(world, false);
    set(&mut made, "default_return_url", params.opt("default_return_url")?);
    set(&mut made, "name", params.opt("name")?);
    merge_metadata(&mut made, params.metadata("metadata")?);
    params.finish()?;
    world.create(&made, "billing_portal.configuration.created");
    Ok(made)
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let (active, is_default) = (params.boolean("active")?, params.boolean("is_default")?);
    let url = "/v1/billing_portal/configurations";
    list(world, params, ("billing_portal.configuration", url), |one| {
        active.is_none_or(|active| truth(one, "active") == active)
            && is_default.is_none_or(|is_default| truth(one, "is_default") == is_default)
    })
}
