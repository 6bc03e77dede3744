//! `/v1/events`.

use super::{Call, list};
use crate::error::Answer;
use crate::form::Params;
use crate::json::text;
use crate::world::World;

/// Answers a request to events.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("event", id, "event", "id")
        }
        _ => call.nowhere("events"),
    }
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let kind = params.opt("type")?;
    let kinds = params.texts("types")?;
    params.ignore(&["delivery_success"]);
    let wanted: Vec<_> = kind.into_iter().chain(kinds).collect();
    list(world, params, ("event", "/v1/events"), |event| {
        wanted.is_empty() || wanted.iter().any(|kind| matches(kind, text(event, "type")))
    })
}

/// `invoice.*` is every event of invoices.
fn matches(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => kind == wanted,
    }
}
