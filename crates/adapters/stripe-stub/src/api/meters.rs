//! `/v1/billing/meters` and `/v1/billing/meter_events`: what is paid for by how much was used.

use serde_json::{Value, json};

use super::{Call, customers, list};
use crate::billing::lines::usage;
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{set, set_hidden, text};
use crate::periods::DAY;
use crate::world::World;

/// How old an event may be, and how far ahead, in seconds. <https://docs.stripe.com/api/billing/meter-event/create>
const OLDEST: i64 = 35 * DAY;
const AHEAD: i64 = 300;

/// Answers a request to meters and what they count.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", ["meters"]) => create(world, call.params),
        ("GET", ["meters"]) => list_all(world, call.params),
        ("GET", ["meters", id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("POST", ["meters", id, "deactivate"]) => switch(world, id, call.params, false),
        ("POST", ["meters", id, "reactivate"]) => switch(world, id, call.params, true),
        ("GET", ["meters", id, "event_summaries"]) => summaries(world, id, call.params),
        ("POST", ["meter_events"]) => report(world, call.params),
        _ => call.nowhere("billing"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find("billing.meter", id, "meter", "id")
}

fn by_name<'a>(world: &'a World, name: &str) -> Option<&'a Value> {
    let mut meters = world.of_kind("billing.meter");
    meters.find(|meter| text(meter, "event_name") == name && text(meter, "status") == "active")
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let (name, display) = (params.required("event_name")?, params.required("display_name")?);
    let mut formula = params
        .sub("default_aggregation")?
        .ok_or_else(|| ApiError::missing("default_aggregation"))?;
    let word = formula
        .one_of("formula", &["sum"])?
        .ok_or_else(|| ApiError::missing("default_aggregation[formula]"))?;
    formula.finish()?;
    let mut customer_key = "stripe_customer_id".to_owned();
    if let Some(mut mapping) = params.sub("customer_mapping")? {
        mapping.one_of("type", &["by_id"])?;
        customer_key = mapping.required("event_payload_key")?;
        mapping.finish()?;
    }
    let mut value_key = "value".to_owned();
    if let Some(mut settings) = params.sub("value_settings")? {
        value_key = settings.required("event_payload_key")?;
        settings.finish()?;
    }
    let window = params.one_of("event_time_window", &["day", "hour"])?;
    params.finish()?;
    if by_name(world, &name).is_some() {
        let message = format!("An active meter with event_name {name} already exists.");
        return Err(ApiError::coded("resource_already_exists", message).about("event_name"));
    }
    let meter = json!({
        "id": random_id("mtr_"), "object": "billing.meter", "created": world.at,
        "customer_mapping": { "event_payload_key": customer_key, "type": "by_id" },
        "default_aggregation": { "formula": word }, "display_name": display, "event_name": name,
        "event_time_window": window, "livemode": false, "status": "active",
        "status_transitions": { "deactivated_at": null }, "updated": world.at,
        "value_settings": { "event_payload_key": value_key },
    });
    world.create(&meter, "billing.meter.created");
    Ok(meter)
}

fn switch(world: &mut World, id: &str, params: Params, on: bool) -> Answer {
    params.finish()?;
    let mut meter = find(world, id)?;
    set(&mut meter, "status", if on { "active" } else { "inactive" });
    set(
        &mut meter,
        "status_transitions",
        json!({ "deactivated_at": (!on).then_some(world.at) }),
    );
    set(&mut meter, "updated", world.at);
    let event = if on {
        "billing.meter.reactivated"
    } else {
        "billing.meter.deactivated"
    };
    world.change(meter.clone(), event);
    Ok(meter)
}

fn report(world: &mut World, mut params: Params) -> Answer {
    let name = params.required("event_name")?;
    let payload = params
        .metadata("payload")?
        .flatten()
        .ok_or_else(|| ApiError::missing("payload"))?;
    let identifier = params.opt("identifier")?.unwrap_or_else(|| random_id(""));
    let timestamp = params.int("timestamp")?.unwrap_or(world.at);
    params.finish()?;
    if identifier.len() > 100 {
        let message = "Invalid string: must be at most 100 characters";
        return Err(ApiError::invalid("identifier", "parameter_invalid_string", message));
    }
    let Some(meter) = by_name(world, &name).cloned() else {
        return Err(
            ApiError::coded("no_meter", format!("No active meter found for event_name {name}.")).about("event_name"),
        );
    };
    if timestamp < world.at - OLDEST || timestamp > world.at + AHEAD {
        let message = "The timestamp must be within the past 35 calendar days or up to 5 minutes in the future.";
        return Err(ApiError::coded("timestamp_out_of_range", message).about("timestamp"));
    }
    let read = |settings: &str| {
        payload
            .get(text(crate::json::at(&meter, settings), "event_payload_key"))
            .and_then(Value::as_str)
    };
    let customer = read("customer_mapping")
        .ok_or_else(|| ApiError::missing("payload[stripe_customer_id]"))?
        .to_owned();
    let value = read("value_settings").ok_or_else(|| ApiError::missing("payload[value]"))?;
    let value: i64 = value.parse().map_err(|_| {
        ApiError::coded(
            "meter_event_invalid_value",
            format!("Invalid value: {value}. stripe-stub counts whole numbers."),
        )
    })?;
    customers::find(world, &customer, "payload[stripe_customer_id]")?;
    let id = format!("_meter_event_{identifier}");
    if world.get(&id).is_some() {
        return Err(ApiError::refused(format!(
            "An event already exists with identifier {identifier}."
        )));
    }
    let mut event = json!({
        "id": id, "object": "billing.meter_event", "created": world.at, "event_name": name, "identifier": identifier,
        "livemode": false, "payload": payload, "timestamp": timestamp,
    });
    set_hidden(&mut event, "customer", customer);
    set_hidden(&mut event, "value", value);
    world.put(event.clone());
    if let Some(members) = event.as_object_mut() {
        members.remove("id");
    }
    Ok(event)
}

/// One sum of the whole time that is asked for.
fn summaries(world: &World, id: &str, mut params: Params) -> Answer {
    find(world, id)?;
    let customer = params.required("customer")?;
    let start = params
        .int("start_time")?
        .ok_or_else(|| ApiError::missing("start_time"))?;
    let end = params.int("end_time")?.ok_or_else(|| ApiError::missing("end_time"))?;
    params.ignore(&["limit"]);
    params.finish()?;
    if start % 60 != 0 || end % 60 != 0 {
        return Err(ApiError::refused(
            "The start_time and end_time must be aligned with minute boundaries.",
        ));
    }
    let sum = usage(world, id, &customer, start, end);
    Ok(json!({
        "object": "list", "has_more": false, "url": format!("/v1/billing/meters/{id}/event_summaries"),
        "data": [{
            "id": random_id("mtrusg_"), "object": "billing.meter_event_summary", "aggregated_value": sum,
            "end_time": end, "livemode": false, "meter": id, "start_time": start,
        }],
    }))
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let status = params.one_of("status", &["active", "inactive"])?;
    list(world, params, ("billing.meter", "/v1/billing/meters"), |meter| {
        status.as_ref().is_none_or(|status| text(meter, "status") == status)
    })
}
