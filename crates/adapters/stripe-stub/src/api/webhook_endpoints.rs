//! `/v1/webhook_endpoints`.

use serde_json::{Value, json};
use url::Url;

use super::{Call, deleted, list, merge_metadata, take_texts};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{set, set_hidden};
use crate::world::World;

/// Answers a request to webhook endpoints.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list(
            world,
            call.params,
            ("webhook_endpoint", "/v1/webhook_endpoints"),
            |_| true,
        ),
        ("GET", [id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("POST", [id]) => update(world, id, call.params),
        ("DELETE", [id]) => {
            call.params.finish()?;
            find(world, id)?;
            world.remove(id);
            Ok(deleted(id, "webhook_endpoint"))
        }
        _ => call.nowhere("webhook_endpoints"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find("webhook_endpoint", id, "webhook endpoint", "id")
}

/// An endpoint, not yet kept.
pub(crate) fn endpoint(id: &str, url: &str, events: &[String], world: &World) -> Value {
    json!({
        "id": id, "object": "webhook_endpoint", "api_version": crate::API_VERSION, "application": null,
        "created": world.now().as_second(), "description": null, "enabled_events": events, "livemode": false,
        "metadata": {}, "status": "enabled", "url": url,
    })
}

/// Whoever can reach the stub could make it ask anything that it reaches; the key is the guard.
fn check_url(url: &str) -> Result<(), ApiError> {
    let parsed = Url::parse(url)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()));
    parsed
        .map(drop)
        .ok_or_else(|| ApiError::coded("url_invalid", "Invalid URL: an explicit scheme is needed.").about("url"))
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let url = params.required("url")?;
    check_url(&url)?;
    let events = params.texts("enabled_events")?;
    if events.is_empty() {
        return Err(ApiError::missing("enabled_events"));
    }
    params.ignore(&["api_version", "connect"]);
    let mut made = endpoint(&random_id("we_"), &url, &events, world);
    take_texts(&mut made, &mut params, &["description"])?;
    merge_metadata(&mut made, params.metadata("metadata")?);
    params.finish()?;
    let secret = random_id("whsec_");
    set_hidden(&mut made, "secret", secret.as_str());
    world.put(made.clone());
    // It is shown this once.
    set(&mut made, "secret", secret);
    Ok(made)
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut changed = find(world, id)?;
    if let Some(url) = params.opt("url")? {
        check_url(&url)?;
        set(&mut changed, "url", url);
    }
    let events = params.texts("enabled_events")?;
    if !events.is_empty() {
        set(&mut changed, "enabled_events", events);
    }
    if let Some(disabled) = params.boolean("disabled")? {
        set(&mut changed, "status", if disabled { "disabled" } else { "enabled" });
    }
    take_texts(&mut changed, &mut params, &["description"])?;
    merge_metadata(&mut changed, params.metadata("metadata")?);
    params.finish()?;
    world.put(changed.clone());
    Ok(changed)
}
