//! Subscription schedules: what a subscription turns into, and when.
//! <https://docs.stripe.com/billing/subscriptions/subscription-schedules>

use serde_json::{Value, json};

use crate::billing::{changes, lifecycle, lines};
use crate::error::ApiError;
use crate::json::{at, int, items, set, some_int, some_text, text};
use crate::world::World;

/// When its running phase ends.
pub(crate) fn due(schedule: &Value) -> Option<i64> {
    let active = text(schedule, "status") == "active";
    some_int(at(schedule, "current_phase"), "end_date").filter(|_| active)
}

/// A phase's place in time as the schedule shows the running one.
pub(crate) fn current(phase: &Value) -> Value {
    json!({ "start_date": int(phase, "start_date"), "end_date": int(phase, "end_date") })
}

/// A phase has ended: the next begins, or the schedule is done.
pub(crate) fn next_phase(world: &mut World, mut schedule: Value) -> Result<(), ApiError> {
    let now = world.at;
    let next = items(&schedule, "phases")
        .iter()
        .find(|phase| int(phase, "start_date") >= now)
        .cloned();
    let Some(phase) = next else {
        done(world, schedule);
        return Ok(());
    };
    set(&mut schedule, "current_phase", current(&phase));
    world.change(schedule.clone(), "subscription_schedule.updated");
    enter(world, text(&schedule, "subscription"), &phase)
}

/// Turns the subscription into what a phase says.
pub(crate) fn enter(world: &mut World, subscription: &str, phase: &Value) -> Result<(), ApiError> {
    let Some(mut subscription) = world.get(subscription).cloned() else {
        return Ok(());
    };
    if lifecycle::is_over(&subscription) {
        return Ok(());
    }
    if let Some(metadata) = at(phase, "metadata")
        .as_object()
        .filter(|metadata| !metadata.is_empty())
    {
        let mut all = at(&subscription, "metadata").clone();
        for (key, value) in metadata {
            set(&mut all, key, value.clone());
        }
        set(&mut subscription, "metadata", all);
    }
    let list = phase_items(world, &subscription, phase)?;
    let (_, end) = lifecycle::period(&subscription);
    let proration = some_text(phase, "proration_behavior").unwrap_or("create_prorations");
    if world.at < end || text(&subscription, "status") == "trialing" {
        let change = changes::plan(world, &subscription, list, proration, world.at)?;
        return changes::make(world, change, proration, "allow_incomplete");
    }
    // At the period's end nothing is left to settle but what was used; the renewal, which follows in the same second, is of
    // the new items.
    let used = match proration {
        "none" => Vec::new(),
        _ => changes::used_of_gone(world, &subscription, &list),
    };
    let change = changes::plan(world, &subscription, list, "none", end)?;
    let mut turned = change.subscription;
    if !used.is_empty() {
        lines::put_off(&mut turned, used);
    }
    if change.begins {
        lifecycle::set_period(&mut turned, lifecycle::period(&subscription));
    }
    world.change(turned, "customer.subscription.updated");
    Ok(())
}

/// A phase's items as items of the subscription, which keep their identifiers: metered ones by their price, others in
/// their order.
fn phase_items(world: &World, subscription: &Value, phase: &Value) -> Result<Vec<Value>, ApiError> {
    let (start, end) = lifecycle::period(subscription);
    let old = items(subscription, "items/data").iter();
    let (counted, mut licensed): (Vec<_>, Vec<_>) = old.partition(|item| lines::is_metered(item));
    licensed.reverse();
    let mut list = Vec::new();
    for wanted in items(phase, "items") {
        let price = world.find("price", text(wanted, "price"), "price", "phases[items][price]")?;
        let mut item = lifecycle::item(
            world,
            text(subscription, "id"),
            &price,
            int(wanted, "quantity"),
            (start, end),
        );
        if lines::is_metered(&item) {
            let was = counted.iter().find(|was| at(was, "price/id") == at(&price, "id"));
            list.push(was.map_or(item, |was| (*was).clone()));
            continue;
        }
        if let Some(was) = licensed.pop() {
            set(&mut item, "id", at(was, "id").clone());
            set(&mut item, "created", at(was, "created").clone());
        }
        list.push(item);
    }
    Ok(list)
}

fn done(world: &mut World, mut schedule: Value) {
    if text(&schedule, "end_behavior") == "cancel" {
        set(&mut schedule, "status", "completed");
        set(&mut schedule, "completed_at", world.at);
        set(&mut schedule, "current_phase", Value::Null);
        let id = text(&schedule, "subscription").to_owned();
        world.put(schedule.clone());
        world.emit("subscription_schedule.completed", &schedule, None);
        if let Some(subscription) = world.get(&id).cloned() {
            lifecycle::cancel(world, subscription, "cancellation_requested");
        }
        return;
    }
    release(world, schedule);
}

/// Leaves the subscription as it is and to itself.
pub(crate) fn release(world: &mut World, mut schedule: Value) -> Value {
    let id = text(&schedule, "subscription").to_owned();
    set(&mut schedule, "status", "released");
    set(&mut schedule, "released_at", world.at);
    set(&mut schedule, "released_subscription", id.as_str());
    set(&mut schedule, "subscription", Value::Null);
    set(&mut schedule, "current_phase", Value::Null);
    world.put(schedule.clone());
    world.emit("subscription_schedule.released", &schedule, None);
    if let Some(mut subscription) = world.get(&id).cloned() {
        set(&mut subscription, "schedule", Value::Null);
        world.change(subscription, "customer.subscription.updated");
    }
    schedule
}

/// The subscription is over, and the schedule with it.
pub(crate) fn canceled(world: &mut World, mut schedule: Value) -> Value {
    if ["active", "not_started"].contains(&text(&schedule, "status")) {
        set(&mut schedule, "status", "canceled");
        set(&mut schedule, "canceled_at", world.at);
        set(&mut schedule, "current_phase", Value::Null);
        world.put(schedule.clone());
        world.emit("subscription_schedule.canceled", &schedule, None);
    }
    schedule
}
