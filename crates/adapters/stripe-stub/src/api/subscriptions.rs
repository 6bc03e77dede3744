//! `/v1/subscriptions`.

use serde_json::{Map, Value, json};

use super::{Call, customers, list, merge_metadata, prices, take_texts};
use crate::billing::changes;
use crate::billing::discounts::{self, Wanted};
use crate::billing::lifecycle::{self, Plan};
use crate::billing::{cards, invoices};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::json::{at, items, set, set_hidden, some_int, some_text, text};
use crate::periods::DAY;
use crate::world::World;

const BEHAVIORS: [&str; 4] = [
    "allow_incomplete",
    "error_if_incomplete",
    "default_incomplete",
    "pending_if_incomplete",
];
const PRORATIONS: [&str; 3] = ["create_prorations", "none", "always_invoice"];
/// What changes nothing here.
const IGNORED: [&str; 4] = ["off_session", "payment_settings", "collection_method", "automatic_tax"];

/// Answers a request to subscriptions.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            find(world, id)
        }
        ("POST", [id]) => update(world, id, call.params),
        ("DELETE", [id]) => cancel(world, id, call.params),
        ("POST", [id, "resume"]) => resume(world, id, call.params),
        _ => call.nowhere("subscriptions"),
    }
}

fn find(world: &World, id: &str) -> Answer {
    world.find("subscription", id, "subscription", "id")
}

/// One that is not over; of the others Stripe says that they are not there.
fn find_running(world: &World, id: &str) -> Answer {
    let subscription = find(world, id)?;
    if lifecycle::is_over(&subscription) {
        return Err(ApiError::not_found("subscription", id, "id"));
    }
    Ok(subscription)
}

fn refuse_invoices(params: &Params) -> Result<(), ApiError> {
    if params.clone().opt("collection_method")?.as_deref() == Some("send_invoice") {
        return Err(ApiError::refused(
            "stripe-stub only charges automatically, it sends no invoices.",
        ));
    }
    Ok(())
}

fn create(world: &mut World, mut params: Params) -> Answer {
    refuse_invoices(&params)?;
    let customer = params.required("customer")?;
    customers::find(world, &customer, "customer")?;
    let entries = params.list("items")?.ok_or_else(|| ApiError::missing("items"))?;
    let mut wanted = Vec::new();
    for mut entry in entries {
        let price = read_price(world, &mut entry)?;
        let name = entry.name("price");
        let price = price.ok_or_else(|| ApiError::missing(&name))?;
        let quantity = entry.count("quantity", 0)?.unwrap_or(1);
        entry.ignore(&["metadata"]);
        entry.finish()?;
        wanted.push((price, quantity));
    }
    let trial = read_trial(world, &mut params)?;
    let missing = read_missing(&mut params)?;
    let discounts = discounts::read(world, &mut params)?.unwrap_or_default();
    let behavior = params.one_of("payment_behavior", &BEHAVIORS)?;
    let method = params.opt("default_payment_method")?;
    let classic = read_classic(&mut params)?;
    let (metadata, description) = (params.metadata("metadata")?, params.opt("description")?);
    let (ends, cancel_at) = (params.boolean("cancel_at_period_end")?, params.int("cancel_at")?);
    params.ignore(&IGNORED);
    params.ignore(&["proration_behavior"]);
    params.finish()?;
    let method = match method {
        Some(name) => Some(
            text(
                &cards::resolve(world, &name, &customer, "default_payment_method")?,
                "id",
            )
            .to_owned(),
        ),
        None => None,
    };
    let plan = Plan {
        customer,
        items: wanted,
        trial_end: trial.flatten(),
        missing_payment_method: missing.unwrap_or_else(|| "create_invoice".to_owned()),
        metadata: metadata.flatten().unwrap_or_default().into(),
        description,
        default_payment_method: method,
        discounts,
        behavior: behavior.unwrap_or_else(|| "allow_incomplete".to_owned()),
        classic,
    };
    let mut subscription = lifecycle::start(world, &plan)?;
    if ends == Some(true) || cancel_at.is_some() {
        plan_end(world, &mut subscription, ends, cancel_at.map(Some));
        world.put(subscription.clone());
    }
    Ok(subscription)
}

/// `billing_mode`: whether it is the old one. <https://docs.stripe.com/billing/subscriptions/billing-mode>
pub(super) fn read_classic(params: &mut Params) -> Result<bool, ApiError> {
    let Some(mut mode) = params.sub("billing_mode")? else {
        return Ok(false);
    };
    let kind = mode.one_of("type", &["classic", "flexible"])?;
    mode.ignore(&["flexible"]);
    mode.finish()?;
    Ok(kind.as_deref() == Some("classic"))
}

/// `price` or `price_data`, of which subscriptions take no product's data.
fn read_price(world: &mut World, entry: &mut Params) -> Result<Option<Value>, ApiError> {
    if let Some(data) = entry.sub("price_data")? {
        return prices::from_data(world, data).map(Some);
    }
    let name = entry.name("price");
    let Some(id) = entry.opt("price")? else { return Ok(None) };
    let price = world.find("price", &id, "price", &name)?;
    if at(&price, "active") == false {
        let message = format!("The price specified is inactive. This field only accepts active prices: `{id}`.");
        return Err(ApiError::coded("price_inactive", message).about(&name));
    }
    if at(&price, "recurring").is_null() {
        let message =
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.";
        return Err(ApiError::refused(message).about(&name));
    }
    Ok(Some(price))
}

/// `trial_end` or `trial_period_days`; `Some(None)` is `now`.
fn read_trial(world: &World, params: &mut Params) -> Result<Option<Option<i64>>, ApiError> {
    let days = params.count("trial_period_days", 0)?.filter(|days| *days > 0);
    params.ignore(&["trial_from_plan"]);
    if params.clone().opt("trial_end")?.as_deref() == Some("now") {
        params.ignore(&["trial_end"]);
        return Ok(Some(None));
    }
    let end = params.int("trial_end")?;
    if end.is_some_and(|end| end <= world.at) {
        let message = "Invalid timestamp: must be an integer Unix timestamp in the future.";
        return Err(ApiError::invalid("trial_end", "parameter_invalid_integer", message));
    }
    if end.is_some() && days.is_some() {
        return Err(ApiError::refused(
            "You can only use one of trial_end and trial_period_days.",
        ));
    }
    Ok(end.or_else(|| days.map(|days| world.at + days * DAY)).map(Some))
}

/// `trial_settings[end_behavior][missing_payment_method]`.
pub(super) fn read_missing(params: &mut Params) -> Result<Option<String>, ApiError> {
    let Some(mut settings) = params.sub("trial_settings")? else {
        return Ok(None);
    };
    let Some(mut end) = settings.sub("end_behavior")? else {
        settings.finish()?;
        return Ok(None);
    };
    let missing = end.one_of("missing_payment_method", &["cancel", "create_invoice", "pause"])?;
    end.finish()?;
    settings.finish()?;
    Ok(missing)
}

fn plan_end(world: &World, subscription: &mut Value, ends: Option<bool>, cancel_at: Option<Option<i64>>) {
    if let Some(ends) = ends {
        let planned = at(subscription, "cancel_at_period_end") == true;
        if ends != planned || (!ends && cancel_at.is_none() && planned) {
            lifecycle::plan_end(world, subscription, ends);
        }
    }
    if let Some(when) = cancel_at {
        if when.is_some() {
            set(subscription, "cancel_at_period_end", false);
        }
        if some_int(subscription, "cancel_at") != when {
            lifecycle::set_end(world, subscription, when);
            set(subscription, "cancel_at_period_end", false);
        }
    }
}

/// What an update asks for, read before anything is changed.
struct Wishes {
    entries: Option<Vec<Params>>,
    proration: String,
    proration_date: Option<i64>,
    behavior: String,
    ends: Option<bool>,
    cancel_at: Option<Option<i64>>,
    pause: Option<Value>,
    trial: Option<Option<i64>>,
    missing: Option<String>,
    method: Option<String>,
    discounts: Option<Vec<Wanted>>,
    details: Map<String, Value>,
}

fn read_wishes(world: &World, subscription: &Value, params: &mut Params) -> Result<Wishes, ApiError> {
    let proration = params.one_of("proration_behavior", &PRORATIONS)?;
    let behavior = params.one_of("payment_behavior", &BEHAVIORS)?;
    let anchor = params.one_of("billing_cycle_anchor", &["unchanged", "now"])?;
    if anchor.as_deref() == Some("now") {
        return Err(ApiError::refused("stripe-stub moves no billing cycle by itself."));
    }
    Ok(Wishes {
        entries: params.list("items")?,
        proration: proration.unwrap_or_else(|| "create_prorations".to_owned()),
        proration_date: params.int("proration_date")?,
        behavior: behavior.unwrap_or_else(|| "allow_incomplete".to_owned()),
        ends: params.boolean("cancel_at_period_end")?,
        cancel_at: read_cancel_at(world, subscription, params)?,
        pause: read_pause(params)?,
        trial: read_trial(world, params)?,
        missing: read_missing(params)?,
        method: params.text("default_payment_method")?,
        discounts: discounts::read(world, params)?,
        details: read_details(params)?,
    })
}

/// A time, `''` for none, or `min_period_end` and its like, which are the period's end here.
fn read_cancel_at(world: &World, subscription: &Value, params: &mut Params) -> Result<Option<Option<i64>>, ApiError> {
    let given = params.clone().text("cancel_at")?;
    match given.as_deref() {
        None => Ok(None),
        Some("") => {
            params.ignore(&["cancel_at"]);
            Ok(Some(None))
        }
        Some("min_period_end" | "max_period_end" | "max_billed_until") => {
            params.ignore(&["cancel_at"]);
            Ok(Some(Some(lifecycle::period(subscription).1)))
        }
        Some(_) => {
            let when = params.int("cancel_at")?;
            if when.is_some_and(|when| when <= world.at) {
                let message = "Invalid timestamp: must be an integer Unix timestamp in the future.";
                return Err(ApiError::invalid("cancel_at", "parameter_invalid_integer", message));
            }
            Ok(Some(when))
        }
    }
}

/// `pause_collection`; `Some(Null)` takes it back.
fn read_pause(params: &mut Params) -> Result<Option<Value>, ApiError> {
    if !params.has("pause_collection") {
        return Ok(None);
    }
    let Some(mut pause) = params.sub("pause_collection")? else {
        return Ok(Some(Value::Null));
    };
    let behavior = pause.one_of("behavior", &["keep_as_draft", "mark_uncollectible", "void"])?;
    let behavior = behavior.ok_or_else(|| ApiError::missing(&pause.name("behavior")))?;
    let resumes_at = pause.int("resumes_at")?;
    pause.finish()?;
    Ok(Some(json!({ "behavior": behavior, "resumes_at": resumes_at })))
}

/// `cancellation_details`: what a customer says.
fn read_details(params: &mut Params) -> Result<Map<String, Value>, ApiError> {
    let mut details = Map::new();
    let Some(mut inner) = params.sub("cancellation_details")? else {
        return Ok(details);
    };
    for key in ["comment", "feedback"] {
        if let Some(text) = inner.text(key)? {
            details.insert(key.to_owned(), Some(text).filter(|text| !text.is_empty()).into());
        }
    }
    inner.finish()?;
    Ok(details)
}

fn set_details(subscription: &mut Value, given: Map<String, Value>) {
    let mut details = at(subscription, "cancellation_details").clone();
    for (key, value) in given {
        set(&mut details, &key, value);
    }
    set(subscription, "cancellation_details", details);
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    refuse_invoices(&params)?;
    let mut subscription = find(world, id)?;
    let wishes = read_wishes(world, &subscription, &mut params)?;
    let metadata = params.metadata("metadata")?;
    if lifecycle::is_over(&subscription) {
        let others = wishes.entries.is_some() || wishes.ends.is_some() || wishes.cancel_at.is_some();
        if others || params.has("description") || wishes.trial.is_some() {
            let message = "A canceled subscription can only update its cancellation_details and metadata.";
            return Err(ApiError::refused(message));
        }
    }
    take_texts(&mut subscription, &mut params, &["description"])?;
    params.ignore(&IGNORED);
    params.finish()?;
    refuse_managed(&subscription, &wishes)?;
    merge_metadata(&mut subscription, metadata);
    set_details(&mut subscription, wishes.details.clone());
    if let Some(missing) = &wishes.missing {
        set(
            &mut subscription,
            "trial_settings",
            json!({ "end_behavior": { "missing_payment_method": missing } }),
        );
    }
    if let Some(name) = &wishes.method {
        let customer = text(&subscription, "customer").to_owned();
        let method = match name.as_str() {
            "" => None,
            name => Some(text(&cards::resolve(world, name, &customer, "default_payment_method")?, "id").to_owned()),
        };
        set(&mut subscription, "default_payment_method", method);
    }
    if let Some(pause) = wishes.pause.clone() {
        set(&mut subscription, "pause_collection", pause);
    }
    if let Some(wanted) = &wishes.discounts {
        let applied: Vec<Value> = wanted
            .iter()
            .map(|one| discounts::redeem(world, one, &subscription).into())
            .collect();
        set(&mut subscription, "discounts", applied);
    }
    plan_end(world, &mut subscription, wishes.ends, wishes.cancel_at);
    if let Some(Some(end)) = wishes.trial {
        move_trial(&mut subscription, end);
    }
    change_items(world, subscription, wishes)?;
    find(world, id)
}

/// The end of a subscription with a schedule is the schedule's affair.
fn refuse_managed(subscription: &Value, wishes: &Wishes) -> Result<(), ApiError> {
    let Some(schedule) = some_text(subscription, "schedule") else {
        return Ok(());
    };
    if wishes.ends.is_none() && wishes.cancel_at.is_none() {
        return Ok(());
    }
    let message = format!(
        "The subscription is managed by the subscription schedule `{schedule}`, and updating any cancelation behavior \
         directly is not allowed. Please update the schedule instead."
    );
    Err(ApiError::refused(message))
}

fn move_trial(subscription: &mut Value, end: i64) {
    let start = lifecycle::period(subscription).0;
    set(subscription, "status", "trialing");
    set(subscription, "trial_end", end);
    if at(subscription, "trial_start").is_null() {
        set(subscription, "trial_start", start);
    }
    set(subscription, "billing_cycle_anchor", end);
    lifecycle::set_period(subscription, (start, end));
    set_hidden(subscription, "trial_told", Value::Null);
    if at(subscription, "cancel_at_period_end") == true {
        set(subscription, "cancel_at", end);
    }
}

fn change_items(world: &mut World, mut subscription: Value, wishes: Wishes) -> Result<(), ApiError> {
    let list = match wishes.entries {
        Some(entries) => Some(wanted_items(world, &subscription, entries)?),
        None => None,
    };
    let ends_trial = wishes.trial == Some(None) && text(&subscription, "status") == "trialing";
    if ends_trial {
        if let Some(list) = list {
            let change = changes::plan(world, &subscription, list, "none", world.at)?;
            subscription = change.subscription;
        }
        let declined = lifecycle::end_trial(world, subscription, "subscription_update");
        return match declined {
            Some(decline) if wishes.behavior == "error_if_incomplete" => Err(decline.error()),
            _ => Ok(()),
        };
    }
    let Some(list) = list else {
        world.change(subscription.clone(), "customer.subscription.updated");
        lifecycle::tell_of_short_trial_once(world, &subscription);
        return Ok(());
    };
    let now = wishes.proration_date.unwrap_or(world.at);
    let change = changes::plan(world, &subscription, list, &wishes.proration, now)?;
    changes::make(world, change, &wishes.proration, &wishes.behavior)
}

/// The items as an update wants them: those it names changed, removed or added, the others as they are.
pub(super) fn wanted_items(
    world: &mut World,
    subscription: &Value,
    entries: Vec<Params>,
) -> Result<Vec<Value>, ApiError> {
    let mut list = items(subscription, "items/data").to_vec();
    let period = lifecycle::period(subscription);
    for mut entry in entries {
        let name = entry.name("id");
        let id = entry.opt("id")?;
        let price = read_price(world, &mut entry)?;
        let quantity = entry.count("quantity", 0)?;
        let gone = entry.boolean("deleted")?.unwrap_or(false);
        entry.ignore(&["metadata", "clear_usage"]);
        let price_name = entry.name("price");
        entry.finish()?;
        let Some(id) = id else {
            let price = price.ok_or_else(|| ApiError::missing(&price_name))?;
            let added = lifecycle::item(world, text(subscription, "id"), &price, quantity.unwrap_or(1), period);
            list.push(added);
            continue;
        };
        let place = list.iter().position(|item| text(item, "id") == id);
        let place = place.ok_or_else(|| ApiError::not_found("subscription_item", &id, &name))?;
        if gone {
            list.remove(place);
            continue;
        }
        if let Some(item) = list.get_mut(place) {
            if let Some(price) = price {
                set(item, "plan", lifecycle::plan_of(&price));
                set(item, "price", price);
                crate::billing::lines::count_from(item, world.at);
            }
            if let Some(quantity) = quantity {
                set(item, "quantity", quantity);
            }
        }
    }
    Ok(list)
}

fn cancel(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut subscription = find_running(world, id)?;
    let (now, prorate) = (params.boolean("invoice_now")?, params.boolean("prorate")?);
    let details = read_details(&mut params)?;
    params.finish()?;
    set_details(&mut subscription, details);
    world.put(subscription.clone());
    let prorate = prorate.unwrap_or(false);
    if now.unwrap_or(false) {
        lifecycle::final_invoice(world, subscription, prorate);
    } else if prorate {
        credit(world, &subscription);
    }
    let subscription = find(world, id)?;
    Ok(lifecycle::cancel(world, subscription, "cancellation_requested"))
}

/// The rest of the period goes to the customer's credit, for whatever they buy next.
fn credit(world: &mut World, subscription: &Value) {
    let (start, end) = lifecycle::period(subscription);
    let gone: Vec<_> = items(subscription, "items/data").iter().collect();
    let lines = crate::billing::lines::for_rest(world, subscription, (&gone, &[]), (start, world.at, end));
    let sum: i64 = lines.iter().map(|line| crate::json::int(line, "amount")).sum();
    let customer = text(subscription, "customer").to_owned();
    let balance = world
        .get(&customer)
        .map_or(0, |customer| crate::json::int(customer, "balance"));
    let (_, left) = invoices::settle(sum.min(0), balance);
    if sum < 0 {
        crate::billing::customers::set_balance(world, &customer, left);
    }
}

fn resume(world: &mut World, id: &str, mut params: Params) -> Answer {
    let subscription = find_running(world, id)?;
    params.one_of("billing_cycle_anchor", &["now"])?;
    params.ignore(&["proration_behavior", "payment_behavior"]);
    params.finish()?;
    lifecycle::resume(world, subscription)
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let (customer, price) = (params.opt("customer")?, params.opt("price")?);
    let words = [
        "active",
        "all",
        "canceled",
        "ended",
        "incomplete",
        "incomplete_expired",
        "past_due",
        "paused",
        "trialing",
        "unpaid",
    ];
    let status = params.one_of("status", &words)?;
    params.ignore(&["collection_method"]);
    let by_status = |subscription: &Value| match status.as_deref() {
        None => text(subscription, "status") != "canceled",
        Some("all") => true,
        Some("ended") => lifecycle::is_over(subscription),
        Some(status) => text(subscription, "status") == status,
    };
    list(world, params, ("subscription", "/v1/subscriptions"), |subscription| {
        by_status(subscription)
            && customer
                .as_ref()
                .is_none_or(|customer| text(subscription, "customer") == customer)
            && price.as_ref().is_none_or(|price| {
                items(subscription, "items/data")
                    .iter()
                    .any(|item| at(item, "price/id") == price.as_str())
            })
    })
}
