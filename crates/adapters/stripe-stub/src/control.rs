//! `/_stub/…`: what Stripe has no API for. The clock, the deliveries, objects as they are.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Stub;
use crate::deliveries::Knobs;
use crate::error::{Answer, ApiError};
use crate::json::text;
use crate::world::{Cause, shown_event};

/// How far the clock is to go: by so many seconds, or to a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: Option<i64>,
    to: Option<Timestamp>,
}

/// What becomes of subscriptions whose last retry failed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retries {
    unpaid: bool,
}

/// Answers a request of the control API.
pub(crate) fn dispatch(stub: &Stub, method: &str, path: &str, body: &[u8]) -> Answer {
    let segments: Vec<_> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["clock"]) => Ok(clock(stub.now())),
        ("POST", ["clock", "advance"]) => advance(stub, &read(body)?),
        ("GET", ["deliveries"]) => Ok(deliveries(stub)),
        ("PUT", ["deliveries"]) => {
            stub.set_knobs(read::<Knobs>(body)?);
            Ok(deliveries(stub))
        }
        ("POST", ["deliveries", "release"]) => {
            stub.release();
            Ok(deliveries(stub))
        }
        ("PUT", ["retries"]) => {
            let retries: Retries = read(body)?;
            stub.set_unpaid(retries.unpaid);
            Ok(json!({ "unpaid": retries.unpaid }))
        }
        ("PUT", ["objects"]) => put(stub, read(body)?),
        ("POST", ["events", id, "resend"]) => resend(stub, id),
        ("POST", ["reset"]) => {
            stub.reset()?;
            Ok(json!({}))
        }
        _ => Err(ApiError::no_route(method, &format!("/_stub/{path}"))),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::refused(format!("The body does not serve: {error}")))
}

fn clock(now: Timestamp) -> Value {
    json!({ "now": now.to_string(), "unix": now.as_second() })
}

fn advance(stub: &Stub, to: &Advance) -> Answer {
    let by = match (to.seconds, to.to) {
        (Some(seconds), None) => SignedDuration::from_secs(seconds),
        (None, Some(to)) => to.duration_since(stub.now()),
        _ => return Err(ApiError::refused("Say either `seconds` or `to`.")),
    };
    stub.advance_clock(by).map(clock)
}

fn deliveries(stub: &Stub) -> Value {
    let mut answer = json!({ "waiting": stub.outbox.waiting() });
    if let Ok(knobs) = serde_json::to_value(stub.knobs()) {
        crate::json::set(&mut answer, "knobs", knobs);
    }
    answer
}

fn put(stub: &Stub, object: Value) -> Answer {
    if text(&object, "id").is_empty() || text(&object, "object").is_empty() {
        return Err(ApiError::refused("An object has an `id` and an `object`."));
    }
    stub.change(Cause::default(), |world| {
        world.put(object.clone());
        Ok(())
    })?;
    Ok(object)
}

/// Sends an event again to every endpoint that is enabled, whatever became of it before.
fn resend(stub: &Stub, id: &str) -> Answer {
    let world = stub.world();
    let event = world.find("event", id, "event", "id")?;
    let endpoints: Vec<_> = world
        .of_kind("webhook_endpoint")
        .map(|endpoint| text(endpoint, "id").to_owned())
        .collect();
    drop(world);
    stub.outbox.push(id, &endpoints);
    Ok(shown_event(&event))
}
