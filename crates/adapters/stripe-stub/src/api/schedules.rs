//! `/v1/subscription_schedules`.

use serde_json::{Value, json};

use super::{Call, list, merge_metadata};
use crate::billing::{lifecycle, schedules};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{at, int, items, set, some_text, text};
use crate::periods::next_boundary;
use crate::world::World;

const PRORATIONS: [&str; 3] = ["create_prorations", "none", "always_invoice"];

/// Answers a request to subscription schedules.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("POST", [id]) => update(world, id, call.params),
        ("POST", [id, "release"]) => release(world, id, call.params),
        ("POST", [id, "cancel"]) => cancel(world, id, call.params),
        _ => call.nowhere("subscription_schedules"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find("subscription_schedule", id, "subscription_schedule", "schedule")
}

fn find_active(world: &World, id: &str, what: &str) -> Answer {
    let schedule = find(world, id)?;
    if text(&schedule, "status") != "active" {
        let message = format!(
            "You cannot {what} a subscription schedule that is currently in the `{}` status.",
            text(&schedule, "status")
        );
        return Err(ApiError::refused(message));
    }
    Ok(schedule)
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let Some(id) = params.opt("from_subscription")? else {
        return Err(ApiError::refused(
            "stripe-stub makes schedules of subscriptions that are there: from_subscription.",
        ));
    };
    params.finish()?;
    let mut subscription = world.find("subscription", &id, "subscription", "from_subscription")?;
    if lifecycle::is_over(&subscription) {
        return Err(ApiError::refused(
            "You cannot migrate a subscription that is canceled to a subscription schedule.",
        ));
    }
    if let Some(schedule) = some_text(&subscription, "schedule") {
        let message =
            format!("You cannot migrate a subscription that is already attached to a schedule: `{schedule}`.");
        return Err(ApiError::refused(message));
    }
    let (start, end) = lifecycle::period(&subscription);
    let mut phase = blank_phase(&subscription, (start, end));
    let list: Vec<_> = items(&subscription, "items/data")
        .iter()
        .map(|item| phase_item(text(at(item, "price"), "id"), int(item, "quantity")))
        .collect();
    set(&mut phase, "items", list);
    set(&mut phase, "trial_end", at(&subscription, "trial_end").clone());
    let ends = at(&subscription, "cancel_at_period_end") == true;
    let schedule = json!({
        "id": random_id("sub_sched_"), "object": "subscription_schedule", "application": null,
        "billing_mode": at(&subscription, "billing_mode").clone(), "canceled_at": null, "completed_at": null,
        "created": world.at, "current_phase": schedules::current(&phase), "customer": text(&subscription, "customer"),
        "customer_account": null,
        "default_settings": {
            "application_fee_percent": null, "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
            "billing_cycle_anchor": "automatic", "billing_thresholds": null, "collection_method": "charge_automatically",
            "default_payment_method": null, "default_source": null, "description": null,
            "invoice_settings": { "account_tax_ids": null, "days_until_due": null, "issuer": { "type": "self" } },
            "on_behalf_of": null, "transfer_data": null,
        },
        "end_behavior": if ends { "cancel" } else { "release" }, "livemode": false, "metadata": {}, "pause_schedules": [],
        "phases": [phase], "released_at": null, "released_subscription": null, "status": "active", "subscription": id,
        "test_clock": at(&subscription, "test_clock").clone(),
    });
    world.create(&schedule, "subscription_schedule.created");
    set(&mut subscription, "schedule", at(&schedule, "id").clone());
    world.change(subscription, "customer.subscription.updated");
    Ok(schedule)
}

fn blank_phase(subscription: &Value, (start, end): (i64, i64)) -> Value {
    json!({
        "add_invoice_items": [], "application_fee_percent": null, "billing_cycle_anchor": null, "billing_thresholds": null,
        "collection_method": null, "currency": text(subscription, "currency"), "default_payment_method": null,
        "default_tax_rates": [], "description": null, "discounts": [], "end_date": end, "invoice_settings": null,
        "items": [], "metadata": {}, "on_behalf_of": null, "proration_behavior": "create_prorations",
        "start_date": start, "transfer_data": null, "trial_end": null,
    })
}

fn phase_item(price: &str, quantity: i64) -> Value {
    json!({
        "billing_thresholds": null, "discounts": [], "metadata": {}, "plan": price, "price": price, "quantity": quantity,
        "tax_rates": [], "trial": null,
    })
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut schedule = find_active(world, id, "update")?;
    let subscription = world.find(
        "subscription",
        text(&schedule, "subscription"),
        "subscription",
        "subscription",
    )?;
    if let Some(end) = params.one_of("end_behavior", &["release", "cancel", "none", "renew"])? {
        set(&mut schedule, "end_behavior", end);
    }
    merge_metadata(&mut schedule, params.metadata("metadata")?);
    let general = params.one_of("proration_behavior", &PRORATIONS)?;
    params.ignore(&["default_settings"]);
    let phases = params.list("phases")?;
    params.finish()?;
    let running = int(at(&schedule, "current_phase"), "start_date");
    let mut turns = None;
    if let Some(given) = phases {
        let phases = read_phases(world, &subscription, given, running)?;
        let now = world.at;
        let active = |phase: &&Value| int(phase, "start_date") <= now && now < int(phase, "end_date");
        let Some(current) = phases.iter().find(active).cloned() else {
            return Err(
                ApiError::refused("The subscription schedule update is missing the current phase.").about("phases"),
            );
        };
        let was = items(&schedule, "phases").iter().find(active);
        if was.map(|was| at(was, "items")) != Some(at(&current, "items")) {
            turns = Some(current.clone());
        }
        set(&mut schedule, "current_phase", schedules::current(&current));
        set(&mut schedule, "phases", phases);
    }
    world.change(schedule, "subscription_schedule.updated");
    if let Some(mut phase) = turns {
        if let Some(behavior) = general {
            set(&mut phase, "proration_behavior", behavior);
        }
        schedules::enter(world, text(&subscription, "id"), &phase)?;
    }
    find(world, id)
}

/// Phases that follow each other without a gap, the first from the running phase's start on.
fn read_phases(world: &World, subscription: &Value, given: Vec<Params>, running: i64) -> Result<Vec<Value>, ApiError> {
    let mut phases = Vec::new();
    let mut start = running;
    for mut entry in given {
        let name = entry.name("start_date");
        let wanted = match entry.clone().opt("start_date")?.as_deref() {
            Some("now") => {
                entry.ignore(&["start_date"]);
                Some(world.at)
            }
            _ => entry.int("start_date")?,
        };
        if wanted.is_some_and(|wanted| wanted != start) {
            let message = if phases.is_empty() {
                "You can not modify the start date of the current phase."
            } else {
                "Each phase must start where the one before ends."
            };
            return Err(ApiError::refused(message).about(&name));
        }
        let list = read_items(world, &mut entry)?;
        let end = read_end(world, &mut entry, &list, start)?;
        let mut phase = blank_phase(subscription, (start, end));
        set(&mut phase, "items", list);
        if let Some(behavior) = entry.one_of("proration_behavior", &PRORATIONS)? {
            set(&mut phase, "proration_behavior", behavior);
        }
        merge_metadata(&mut phase, entry.metadata("metadata")?);
        set(&mut phase, "trial_end", entry.int("trial_end")?);
        entry.ignore(&[
            "billing_cycle_anchor",
            "collection_method",
            "currency",
            "description",
            "discounts",
        ]);
        entry.finish()?;
        phases.push(phase);
        start = end;
    }
    if phases.is_empty() {
        return Err(ApiError::missing("phases"));
    }
    Ok(phases)
}

fn read_items(world: &World, entry: &mut Params) -> Result<Vec<Value>, ApiError> {
    let name = entry.name("items");
    let mut list = Vec::new();
    for mut item in entry.list("items")?.ok_or_else(|| ApiError::missing(&name))? {
        let price_name = item.name("price");
        let price = item.required("price")?;
        world.find("price", &price, "price", &price_name)?;
        let quantity = item.count("quantity", 0)?.unwrap_or(1);
        item.ignore(&["metadata"]);
        item.finish()?;
        list.push(phase_item(&price, quantity));
    }
    if list.is_empty() {
        return Err(ApiError::missing(&name));
    }
    Ok(list)
}

/// `end_date`, or `duration`, or one period of its price.
fn read_end(world: &World, entry: &mut Params, list: &[Value], start: i64) -> Result<i64, ApiError> {
    let name = entry.name("end_date");
    let end = entry.int("end_date")?;
    let duration = entry.sub("duration")?;
    let end = match (end, duration) {
        (Some(end), None) => end,
        (None, Some(mut duration)) => {
            let interval = duration.one_of("interval", &["day", "week", "month", "year"])?;
            let interval = interval.ok_or_else(|| ApiError::missing(&duration.name("interval")))?;
            let count = duration.count("interval_count", 1)?.unwrap_or(1);
            duration.finish()?;
            next_boundary(start, &interval, count, start)
        }
        (None, None) => {
            let price = list.first().and_then(|item| world.get(text(item, "price")));
            let (interval, count) = price.map_or(("month", 1), lifecycle::interval);
            next_boundary(start, interval, count, start)
        }
        _ => return Err(ApiError::refused("A phase has an `end_date` or a `duration`, not both.").about(&name)),
    };
    if end <= start {
        return Err(ApiError::refused("A phase ends after it begins.").about(&name));
    }
    Ok(end)
}

fn release(world: &mut World, id: &str, mut params: Params) -> Answer {
    params.ignore(&["preserve_cancel_date"]);
    params.finish()?;
    let schedule = find_active(world, id, "release")?;
    Ok(schedules::release(world, schedule))
}

fn cancel(world: &mut World, id: &str, mut params: Params) -> Answer {
    params.ignore(&["invoice_now", "prorate"]);
    params.finish()?;
    let schedule = find_active(world, id, "cancel")?;
    let subscription = world.get(text(&schedule, "subscription")).cloned();
    if let Some(subscription) = subscription.filter(|subscription| !lifecycle::is_over(subscription)) {
        lifecycle::cancel(world, subscription, "cancellation_requested");
    }
    find(world, id)
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let customer = params.opt("customer")?;
    let scheduled = params.boolean("scheduled")?.unwrap_or(false);
    list(
        world,
        params,
        ("subscription_schedule", "/v1/subscription_schedules"),
        |schedule| {
            customer
                .as_ref()
                .is_none_or(|customer| text(schedule, "customer") == customer)
                && (!scheduled || text(schedule, "status") == "not_started")
        },
    )
}
