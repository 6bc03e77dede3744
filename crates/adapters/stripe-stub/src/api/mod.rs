//! `/v1/…`: one room for each of Stripe's resources, and what they have in common.

mod checkout_sessions;
mod coupons;
mod customers;
mod events;
mod invoices;
mod meters;
mod payment_methods;
mod payments;
mod portal;
mod prices;
mod products;
mod schedules;
mod subscriptions;
mod test_clocks;
pub(crate) mod webhook_endpoints;

use serde_json::{Map, Value, json};

use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::json::{at, int, set, text};
use crate::world::World;

/// How deep `expand` goes.
const EXPAND_DEPTH: usize = 4;

/// What Stripe shows only where it is asked for, and the stub has nothing to say about.
const INCLUDABLE: [(&str, &str); 6] = [
    ("invoice", "payments"),
    ("invoice", "confirmation_secret"),
    ("customer", "sources"),
    ("customer", "tax"),
    ("price", "tiers"),
    ("price", "currency_options"),
];

/// Answers a request.
pub(crate) fn dispatch(world: &mut World, method: &str, path: &str, mut params: Params) -> Answer {
    let expand = params.texts("expand")?;
    let segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let (first, rest) = segments
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let call = Call { method, rest, params };
    let answer = match first {
        "products" => products::route(world, call),
        "prices" => prices::route(world, call),
        "customers" => customers::route(world, call),
        "payment_methods" => payment_methods::route(world, call),
        "checkout" => checkout_sessions::route(world, call),
        "coupons" => coupons::route(world, call),
        "promotion_codes" => coupons::route_codes(world, call),
        "billing_portal" => portal::route(world, call),
        "subscriptions" => subscriptions::route(world, call),
        "subscription_schedules" => schedules::route(world, call),
        "invoices" => invoices::route(world, call),
        "payment_intents" => payments::route_intents(world, call),
        "charges" => payments::route_charges(world, call),
        "refunds" => payments::route_refunds(world, call),
        "disputes" => payments::route_disputes(world, call),
        "billing" => meters::route(world, call),
        "events" => events::route(world, call),
        "webhook_endpoints" => webhook_endpoints::route(world, call),
        "test_helpers" => test_clocks::route(world, call),
        _ => Err(ApiError::no_route(method, &format!("/v1/{path}"))),
    };
    let mut answer = world.shown(&answer?);
    for path in expand {
        expand_path(world, &mut answer, &path)?;
    }
    Ok(answer)
}

/// A request to one resource.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// The path behind the resource's name.
    pub(crate) rest: &'a [&'a str],
    pub(crate) params: Params,
}

impl Call<'_> {
    /// 404, where nothing is.
    pub(crate) fn nowhere(&self, resource: &str) -> Answer {
        Err(ApiError::no_route(
            self.method,
            &format!("/v1/{resource}/{}", self.rest.join("/")),
        ))
    }
}

/// What a resource answers when it is deleted.
pub(crate) fn deleted(id: &str, kind: &str) -> Value {
    json!({ "id": id, "object": kind, "deleted": true })
}

/// Metadata as they are after a request: keys with an empty text go. <https://docs.stripe.com/api/metadata>
pub(crate) fn merge_metadata(object: &mut Value, given: Option<Option<Map<String, Value>>>) {
    let Some(given) = given else { return };
    let mut metadata = match &given {
        Some(_) => at(object, "metadata").as_object().cloned().unwrap_or_default(),
        None => Map::new(),
    };
    for (key, value) in given.unwrap_or_default() {
        if value == "" {
            metadata.remove(&key);
        } else {
            metadata.insert(key, value);
        }
    }
    set(object, "metadata", metadata);
}

/// Sets members from texts of the same names, empty ones to null.
pub(crate) fn take_texts(object: &mut Value, params: &mut Params, keys: &[&str]) -> Result<(), ApiError> {
    for key in keys {
        if let Some(text) = params.text(key)? {
            set(object, key, Some(text).filter(|text| !text.is_empty()));
        }
    }
    Ok(())
}

/// A list, newest first. <https://docs.stripe.com/api/pagination>
pub(crate) fn list<'a>(
    world: &'a World,
    mut params: Params,
    (kind, url): (&str, &str),
    filter: impl Fn(&Value) -> bool,
) -> Answer {
    let limit = params.int("limit")?.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::invalid(
            "limit",
            "parameter_invalid_integer",
            "The limit is from 1 to 100.",
        ));
    }
    let created = read_created(&mut params)?;
    let (after, before) = (params.opt("starting_after")?, params.opt("ending_before")?);
    params.finish()?;
    if after.is_some() && before.is_some() {
        return Err(ApiError::refused("Use starting_after or ending_before, not both."));
    }
    for (id, param) in [(&after, "starting_after"), (&before, "ending_before")] {
        if let Some(id) = id {
            world.find(kind, id, noun(kind), param)?;
        }
    }
    let within = |object: &&'a Value| filter(object) && created.iter().all(|test| test.holds(int(object, "created")));
    let all: Vec<_> = world.of_kind(kind).rev().filter(within).collect();
    let limit = usize::try_from(limit).unwrap_or(10);
    let place = |id: &str| all.iter().position(|object| text(object, "id") == id);
    // The object to begin after may not pass the filter, being changed in between: then its number decides.
    let (some, more) = match (&after, &before) {
        (Some(id), _) => {
            let from = place(id).map_or_else(|| older(world, kind, id, &all), |index| index + 1);
            let rest = all.get(from..).unwrap_or_default();
            (rest.iter().take(limit).copied().collect::<Vec<_>>(), rest.len() > limit)
        }
        (_, Some(id)) => {
            let to = place(id).unwrap_or_else(|| older(world, kind, id, &all));
            let from = to.saturating_sub(limit);
            (all.get(from..to).unwrap_or_default().to_vec(), from > 0)
        }
        _ => (all.iter().take(limit).copied().collect(), all.len() > limit),
    };
    let data: Vec<_> = some.into_iter().map(|object| world.shown(object)).collect();
    Ok(json!({ "object": "list", "data": data, "has_more": more, "url": url }))
}

/// The first place in a list that is older than an object which is not in it.
fn older(world: &World, kind: &str, id: &str, all: &[&Value]) -> usize {
    let order: Vec<_> = world.of_kind(kind).rev().map(|object| text(object, "id")).collect();
    let number = |id: &str| order.iter().position(|other| *other == id);
    let its = number(id);
    all.iter()
        .position(|object| number(text(object, "id")) > its)
        .unwrap_or(all.len())
}

fn noun(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or(kind)
}

struct CreatedTest {
    word: &'static str,
    time: i64,
}

impl CreatedTest {
    fn holds(&self, created: i64) -> bool {
        match self.word {
            "gt" => created > self.time,
            "gte" => created >= self.time,
            "lt" => created < self.time,
            "lte" => created <= self.time,
            _ => created == self.time,
        }
    }
}

/// `created=…` or `created[gte]=…`.
fn read_created(params: &mut Params) -> Result<Vec<CreatedTest>, ApiError> {
    let mut tests = Vec::new();
    if params.clone().sub("created").is_err() {
        if let Some(time) = params.int("created")? {
            tests.push(CreatedTest { word: "eq", time });
        }
        return Ok(tests);
    }
    if let Some(mut inner) = params.sub("created")? {
        for word in ["gt", "gte", "lt", "lte"] {
            if let Some(time) = inner.int(word)? {
                tests.push(CreatedTest { word, time });
            }
        }
        inner.finish()?;
    }
    Ok(tests)
}

/// Puts objects in the place of their identifiers. <https://docs.stripe.com/api/expanding_objects>
fn expand_path(world: &World, answer: &mut Value, path: &str) -> Result<(), ApiError> {
    let list = path.starts_with("data.");
    let segments: Vec<_> = path.split('.').collect();
    if segments.len() > EXPAND_DEPTH + usize::from(list) {
        let message = format!("You cannot expand more than {EXPAND_DEPTH} levels of a property: {path}");
        return Err(ApiError::coded("property_expansion_max_depth", message));
    }
    if expand_into(world, answer, &segments) {
        return Ok(());
    }
    let message = format!("This property cannot be expanded ({path}).");
    Err(ApiError::refused(message).about("expand"))
}

/// Whether there is such a member.
fn expand_into(world: &World, value: &mut Value, segments: &[&str]) -> bool {
    let Some((first, rest)) = segments.split_first() else {
        if let Value::Array(items) = value {
            return items.iter_mut().all(|item| expand_into(world, item, segments));
        }
        if let Some(object) = value.as_str().and_then(|id| world.get(id)) {
            *value = world.shown(object);
        }
        return true;
    };
    match value {
        Value::Array(items) => {
            // Not all elements need have it; an empty list has nothing to say.
            let known = items
                .iter_mut()
                .map(|item| expand_into(world, item, segments))
                .filter(|known| *known)
                .count();
            known > 0 || items.is_empty()
        }
        Value::Object(members) => {
            if *first == "line_items"
                && !members.contains_key("line_items")
                && members.get("object").is_some_and(|o| o == "checkout.session")
            {
                let kept = members.get("id").and_then(Value::as_str).and_then(|id| world.get(id));
                let lines = kept.map(|session| crate::billing::checkout::line_items(world, session));
                members.insert("line_items".to_owned(), lines.unwrap_or_default());
            }
            let kind = members.get("object").and_then(Value::as_str).unwrap_or_default();
            if INCLUDABLE.contains(&(kind, *first)) {
                members.entry(*first).or_insert(Value::Null);
            }
            let Some(inner) = members.get_mut(*first) else {
                return false;
            };
            // What is expanded on the way.
            if !rest.is_empty() && inner.is_string() {
                expand_into(world, inner, &[]);
            }
            inner.is_null() || expand_into(world, inner, rest)
        }
        // An identifier of something that is gone.
        Value::String(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_merged_key_by_key() {
        let mut object = json!({"metadata": {"a": "1", "b": "2"}});
        let mut params = Params::parse(&["metadata[a]=&metadata[c]=3"]).unwrap();
        merge_metadata(&mut object, params.metadata("metadata").unwrap());
        assert_eq!(object["metadata"], json!({"b": "2", "c": "3"}));
        merge_metadata(&mut object, None);
        assert_eq!(object["metadata"], json!({"b": "2", "c": "3"}));
        merge_metadata(&mut object, Some(None));
        assert_eq!(object["metadata"], json!({}));
    }
}
