//! Stripe's events: written as Stripe writes them (API version 2025-03-31, since which periods stand on a
//! subscription's items), and read as far as Anteroom needs them.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use anteroom_domain::billing::{Owner, OwnerKind, Subscription, SubscriptionStatus};
use anteroom_ports::billing::{ProviderEvent, WebhookRejected};

use crate::checkout::{OpenCheckout, derived_id};

const API_VERSION: &str = "2025-03-31.basil";

/// The longest identifier that is taken in; Stripe's have at most 255 characters.
const MAX_ID_BYTES: usize = 255;

/// What happened to a subscription, in Stripe's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionEvent {
    /// `customer.subscription.created`
    Created,
    /// `customer.subscription.updated`
    Updated,
    /// `customer.subscription.deleted`: it is over.
    Deleted,
    /// `customer.subscription.paused`
    Paused,
    /// `customer.subscription.resumed`
    Resumed,
}

impl SubscriptionEvent {
    const ALL: [Self; 5] = [Self::Created, Self::Updated, Self::Deleted, Self::Paused, Self::Resumed];

    /// The event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "customer.subscription.created",
            Self::Updated => "customer.subscription.updated",
            Self::Deleted => "customer.subscription.deleted",
            Self::Paused => "customer.subscription.paused",
            Self::Resumed => "customer.subscription.resumed",
        }
    }
}

/// A subscription as Stripe's events describe it: what [`subscription_event`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionObject {
    /// `sub_…`
    pub id: String,
    /// `cus_…`
    pub customer: String,
    /// Whose it is; travels in the metadata.
    pub owner: Owner,
    /// The plan's key; travels in the metadata and as the price's `lookup_key`.
    pub plan: String,
    /// The plan's version; travels in the metadata.
    pub plan_version: i32,
    /// Stripe's word.
    pub status: String,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// `month` or `year`.
    pub interval: String,
    /// When it began.
    pub created: Timestamp,
    /// When the paid period began.
    pub current_period_start: Timestamp,
    /// When it ends.
    pub current_period_end: Timestamp,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// When its trial ends.
    pub trial_end: Option<Timestamp>,
}

impl SubscriptionObject {
    /// What paying this checkout at this time buys.
    pub(crate) fn bought(checkout: &OpenCheckout, now: Timestamp) -> Self {
        let order = &checkout.order;
        Self {
            id: derived_id("sub", &checkout.id),
            customer: derived_id("cus", &order.user_id.to_string()),
            owner: Owner::account(order.user_id),
            plan: order.plan.clone(),
            plan_version: order.plan_version,
            status: "active".to_owned(),
            amount: order.amount,
            currency: order.currency.clone(),
            interval: order.interval.clone(),
            created: now,
            current_period_start: now,
            current_period_end: period_end(now, &order.interval),
            cancel_at_period_end: false,
            trial_end: None,
        }
    }

    /// A subscription that is over now. The stub keeps nothing of a purchase, so its price is no longer known.
    pub(crate) fn canceled(subscription: &Subscription, now: Timestamp) -> Self {
        let end = subscription.current_period_end.unwrap_or(now);
        Self {
            id: subscription.provider_id.clone(),
            customer: derived_id("cus", &subscription.owner.id.to_string()),
            owner: subscription.owner,
            plan: subscription.plan.clone(),
            plan_version: subscription.plan_version,
            status: "canceled".to_owned(),
            amount: 0,
            currency: "usd".to_owned(),
            interval: "month".to_owned(),
            created: subscription.as_of,
            current_period_start: subscription.as_of,
            current_period_end: end,
            cancel_at_period_end: false,
            trial_end: subscription.trial_end,
        }
    }

    fn metadata(&self) -> Value {
        json!({
            "anteroom_owner_kind": self.owner.kind.as_str(),
            "anteroom_owner_id": self.owner.id,
            "anteroom_plan": self.plan,
            "anteroom_plan_version": self.plan_version.to_string(),
        })
    }

    fn json(&self) -> Value {
        let item = derived_id("si", &self.id);
        let price = derived_id("price", &format!("{}/{}", self.plan, self.plan_version));
        json!({
            "id": self.id,
            "object": "subscription",
            "cancel_at_period_end": self.cancel_at_period_end,
            "collection_method": "charge_automatically",
            "created": self.created.as_second(),
            "currency": self.currency,
            "customer": self.customer,
            "items": {
                "object": "list",
                "data": [{
                    "id": item,
                    "object": "subscription_item",
                    "created": self.created.as_second(),
                    "current_period_start": self.current_period_start.as_second(),
                    "current_period_end": self.current_period_end.as_second(),
                    "metadata": {},
                    "price": {
                        "id": price,
                        "object": "price",
                        "active": true,
                        "currency": self.currency,
                        "lookup_key": self.plan,
                        "metadata": {},
                        "product": derived_id("prod", &self.plan),
                        "recurring": { "interval": self.interval, "interval_count": 1, "usage_type": "licensed" },
                        "type": "recurring",
                        "unit_amount": self.amount,
                    },
                    "quantity": 1,
                    "subscription": self.id,
                }],
                "has_more": false,
                "total_count": 1,
                "url": format!("/v1/subscription_items?subscription={}", self.id),
            },
            "livemode": false,
            "metadata": self.metadata(),
            "start_date": self.created.as_second(),
            "status": self.status,
            "trial_end": self.trial_end.map(Timestamp::as_second),
        })
    }
}

/// The body of an event about a subscription, as Stripe would send it. `event_id` is what makes it known again.
pub fn subscription_event(
    kind: SubscriptionEvent,
    event_id: &str,
    created: Timestamp,
    subscription: &SubscriptionObject,
) -> Vec<u8> {
    event(event_id, kind.as_str(), created, &subscription.json())
}

/// The event that tells of a paid checkout.
pub(crate) fn checkout_completed(
    checkout: &OpenCheckout,
    subscription: &SubscriptionObject,
    event_id: &str,
    now: Timestamp,
) -> Vec<u8> {
    let order = &checkout.order;
    let session = json!({
        "id": checkout.id,
        "object": "checkout.session",
        "amount_total": order.amount,
        "cancel_url": order.cancel_url,
        "client_reference_id": order.user_id,
        "created": checkout.created.as_second(),
        "currency": order.currency,
        "customer": subscription.customer,
        "expires_at": checkout.expires_at.as_second(),
        "livemode": false,
        "metadata": subscription.metadata(),
        "mode": "subscription",
        "payment_status": "paid",
        "status": "complete",
        "subscription": subscription.id,
        "success_url": order.success_url,
    });
    event(event_id, "checkout.session.completed", now, &session)
}

fn event(id: &str, kind: &str, created: Timestamp, object: &Value) -> Vec<u8> {
    let event = json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created.as_second(),
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": kind,
    });
    event.to_string().into_bytes()
}

/// A month or a year later, in UTC; the 31st becomes the last of a shorter month, as Stripe has it.
fn period_end(start: Timestamp, interval: &str) -> Timestamp {
    let span = if interval == "year" {
        Span::new().years(1)
    } else {
        Span::new().months(1)
    };
    let end = start.to_zoned(TimeZone::UTC).checked_add(span);
    end.map_or(start, |end| end.timestamp())
}

#[derive(Deserialize)]
struct EventWire {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: DataWire,
}

#[derive(Deserialize)]
struct DataWire {
    object: Value,
}

#[derive(Deserialize)]
struct SubscriptionWire {
    id: String,
    status: String,
    #[serde(default)]
    cancel_at_period_end: bool,
    #[serde(default)]
    current_period_end: Option<i64>,
    #[serde(default)]
    trial_end: Option<i64>,
    #[serde(default)]
    items: ItemsWire,
    #[serde(default)]
    metadata: MetadataWire,
}

#[derive(Default, Deserialize)]
struct ItemsWire {
    data: Vec<ItemWire>,
}

#[derive(Deserialize)]
struct ItemWire {
    #[serde(default)]
    current_period_end: Option<i64>,
    #[serde(default)]
    price: Option<PriceWire>,
}

#[derive(Deserialize)]
struct PriceWire {
    #[serde(default)]
    lookup_key: Option<String>,
}

#[derive(Default, Deserialize)]
struct MetadataWire {
    #[serde(rename = "anteroom_owner_kind")]
    owner_kind: Option<String>,
    #[serde(rename = "anteroom_owner_id")]
    owner_id: Option<Uuid>,
    #[serde(rename = "anteroom_plan")]
    plan: Option<String>,
    #[serde(rename = "anteroom_plan_version")]
    plan_version: Option<String>,
}

/// Reads a verified body. Kinds that are not about a subscription, and subscriptions that are not Anteroom's, come
/// without one.
pub(crate) fn read_event(provider: &str, body: &[u8]) -> Result<ProviderEvent, WebhookRejected> {
    let wire: EventWire = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    if wire.id.is_empty() || wire.id.len() > MAX_ID_BYTES || wire.kind.is_empty() || wire.kind.len() > MAX_ID_BYTES {
        return Err(malformed(&"`id` or `type` is empty or too long"));
    }
    let kind = SubscriptionEvent::ALL.into_iter().find(|k| k.as_str() == wire.kind);
    let subscription = match kind {
        Some(kind) => {
            let object = SubscriptionWire::deserialize(wire.data.object).map_err(|e| malformed(&e))?;
            read_subscription(provider, kind, object, time(wire.created)?)?
        }
        None => None,
    };
    Ok(ProviderEvent {
        id: wire.id,
        kind: wire.kind,
        subscription,
    })
}

fn read_subscription(
    provider: &str,
    kind: SubscriptionEvent,
    object: SubscriptionWire,
    created: Timestamp,
) -> Result<Option<Subscription>, WebhookRejected> {
    let metadata = object.metadata;
    let (Some(owner_kind), Some(owner_id)) = (metadata.owner_kind, metadata.owner_id) else {
        return Ok(None);
    };
    let owner_kind = OwnerKind::parse(&owner_kind).ok_or_else(|| malformed(&"no such kind of owner"))?;
    if object.id.is_empty() || object.id.len() > MAX_ID_BYTES {
        return Err(malformed(&"the subscription's `id` is empty or too long"));
    }
    // A plan that is changed at the provider changes the price; the metadata stay those of the checkout.
    let lookup_key = object
        .items
        .data
        .iter()
        .find_map(|item| item.price.as_ref()?.lookup_key.clone());
    let plan = lookup_key
        .or(metadata.plan)
        .ok_or_else(|| malformed(&"the subscription names no plan"))?;
    let plan_version = match metadata.plan_version {
        Some(version) => version
            .parse()
            .map_err(|_| malformed(&"the plan's version is no number"))?,
        None => 1,
    };
    let status = match kind {
        SubscriptionEvent::Deleted => SubscriptionStatus::Canceled,
        _ => SubscriptionStatus::parse(&object.status),
    };
    // Before 2025-03-31 the period stood on the subscription itself.
    let period_end = object
        .items
        .data
        .iter()
        .filter_map(|item| item.current_period_end)
        .max();
    let past_due_since = (status == SubscriptionStatus::PastDue).then_some(created);
    Ok(Some(Subscription {
        provider: provider.to_owned(),
        provider_id: object.id,
        owner: Owner {
            kind: owner_kind,
            id: owner_id,
        },
        plan,
        plan_version,
        status,
        current_period_end: period_end.or(object.current_period_end).map(time).transpose()?,
        cancel_at_period_end: object.cancel_at_period_end,
        trial_end: object.trial_end.map(time).transpose()?,
        past_due_since,
        as_of: created,
    }))
}

fn time(seconds: i64) -> Result<Timestamp, WebhookRejected> {
    Timestamp::from_second(seconds).map_err(|_| malformed(&"a time is out of range"))
}

fn malformed(reason: &dyn std::fmt::Display) -> WebhookRejected {
    WebhookRejected::Malformed(reason.to_string())
}
