//! `/v1/test_helpers/test_clocks`, on top of the one clock that the stub has: advancing any of them advances all.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Call, customers, deleted, list};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{int, set, text};
use crate::periods::DAY;
use crate::world::World;

const KIND: &str = "test_helpers.test_clock";

/// Answers a request to test clocks.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", ["test_clocks"]) => create(world, call.params),
        ("GET", ["test_clocks"]) => list(world, call.params, (KIND, "/v1/test_helpers/test_clocks"), |_| true),
        ("GET", ["test_clocks", id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("POST", ["test_clocks", id, "advance"]) => advance(world, id, call.params),
        ("DELETE", ["test_clocks", id]) => delete(world, id, call.params),
        _ => call.nowhere("test_helpers"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find(KIND, id, "test clock", "test_clock")
}

/// Moves the stub's clock to a time, unless it is there already.
fn move_to(world: &mut World, time: i64) -> Result<(), ApiError> {
    let by = time - world.now().as_second();
    if by <= 0 {
        return Ok(());
    }
    // What was changed so far is kept: everything that falls due is a change of its own.
    let cause = world.cause.clone();
    world.commit()?;
    world.move_clock(SignedDuration::from_secs(by))?;
    world.run_due();
    world.at = world.now().as_second();
    world.cause = cause;
    Ok(())
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let time = params
        .int("frozen_time")?
        .ok_or_else(|| ApiError::missing("frozen_time"))?;
    let name = params.opt("name")?;
    params.finish()?;
    move_to(world, time)?;
    let clock = json!({
        "id": random_id("clock_"), "object": KIND, "created": world.at, "deletes_after": world.at + 30 * DAY,
        "frozen_time": time, "livemode": false, "name": name, "status": "ready", "status_details": {},
    });
    world.create(&clock, "test_helpers.test_clock.created");
    Ok(clock)
}

fn advance(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut clock = find(world, id)?;
    let time = params
        .int("frozen_time")?
        .ok_or_else(|| ApiError::missing("frozen_time"))?;
    params.finish()?;
    if time <= int(&clock, "frozen_time") {
        return Err(
            ApiError::refused("The frozen time must be after the clock's current frozen time.").about("frozen_time"),
        );
    }
    move_to(world, time)?;
    set(&mut clock, "frozen_time", time);
    world.put(clock.clone());
    world.emit("test_helpers.test_clock.ready", &clock, None);
    Ok(clock)
}

/// Its customers go with it.
fn delete(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    find(world, id)?;
    let those: Vec<_> = world
        .of_kind("customer")
        .filter(|customer: &&Value| text(customer, "test_clock") == id)
        .map(|customer| text(customer, "id").to_owned())
        .collect();
    for customer in those {
        customers::remove(world, &customer)?;
    }
    world.remove(id);
    Ok(deleted(id, KIND))
}
