//! Stripe's part of a test: what it has, and what it tells.

use std::sync::Arc;

use anteroom_stripe_stub::{Stub, sign};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{Answer, Ask, STUB_KEY, TestApp, User, WEBHOOK_SECRET, now};

/// A subscription as Stripe has it.
#[derive(Debug, Clone)]
pub struct StripeSubscription {
    /// `sub_…`
    pub id: String,
    /// `cus_…`
    pub customer: String,
    /// Whose it is, by the metadata that checkout writes.
    pub owner: String,
    /// The plan's key, by the price's metadata.
    pub plan: String,
    /// Stripe's word.
    pub status: String,
    /// When the running period began.
    pub current_period_start: Timestamp,
    /// When it ends.
    pub current_period_end: Timestamp,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// When its trial ends.
    pub trial_end: Option<Timestamp>,
}

impl StripeSubscription {
    /// A subscription to `pro` for 30 days from now on.
    pub fn new(user: &User, id: &str, status: &str) -> Self {
        Self {
            id: id.to_owned(),
            customer: format!("cus_of_{}", user.id),
            owner: user.id.clone(),
            plan: "pro".to_owned(),
            status: status.to_owned(),
            current_period_start: now(),
            current_period_end: now() + SignedDuration::from_hours(24 * 30),
            cancel_at_period_end: false,
            trial_end: None,
        }
    }

    /// Stripe's object.
    pub fn json(&self) -> Value {
        let seconds = Timestamp::as_second;
        json!({
            "id": self.id,
            "object": "subscription",
            "cancel_at": self.cancel_at_period_end.then(|| seconds(self.current_period_end)),
            "cancel_at_period_end": self.cancel_at_period_end,
            "created": seconds(self.current_period_start),
            "currency": "usd",
            "customer": self.customer,
            "default_payment_method": null,
            "items": { "object": "list", "has_more": false, "data": [{
                "id": format!("si_{}", self.id),
                "object": "subscription_item",
                "current_period_start": seconds(self.current_period_start),
                "current_period_end": seconds(self.current_period_end),
                "price": {
                    "id": format!("price_{}", self.plan),
                    "object": "price",
                    "active": true,
                    "currency": "usd",
                    "lookup_key": null,
                    "metadata": { "anteroom_plan": self.plan, "anteroom_plan_version": "1" },
                    "recurring": { "interval": "month", "interval_count": 1, "usage_type": "licensed" },
                    "type": "recurring",
                    "unit_amount": 1900,
                },
                "quantity": 1,
                "subscription": self.id,
            }] },
            "latest_invoice": null,
            "livemode": false,
            "metadata": { "anteroom_owner_kind": "account", "anteroom_owner_id": self.owner },
            "pause_collection": null,
            "schedule": null,
            "status": self.status,
            "trial_end": self.trial_end.map(seconds),
        })
    }

    /// The body of an event about it.
    pub fn event(&self, kind: &str, id: &str) -> Vec<u8> {
        event(kind, id, &self.json())
    }
}

/// The body of an event, as Stripe sends it.
pub fn event(kind: &str, id: &str, object: &Value) -> Vec<u8> {
    let event = json!({
        "id": id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": now().as_second(),
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": kind,
    });
    event.to_string().into_bytes()
}

impl TestApp {
    /// The server's own stub of Stripe.
    pub fn stub(&self) -> Arc<Stub> {
        self.own_stub().expect("the server has a stub of its own")
    }

    /// From now on the stub has this subscription, and its customer.
    pub fn stub_has(&self, subscription: &StripeSubscription) {
        let stub = self.stub();
        stub.put(json!({
            "id": subscription.customer,
            "object": "customer",
            "created": now().as_second(),
            "email": null,
            "invoice_settings": { "default_payment_method": null },
            "livemode": false,
            "metadata": {},
        }));
        stub.put(subscription.json());
    }

    /// Asks the stub's API for something, as somebody with the key does, and answers what it answers.
    pub async fn stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let ask = self.http().post(format!("{}/stripe-stub/v1/{path}", self.url()));
        let ask = ask
            .bearer_auth(STUB_KEY)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = ask.body(form).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// What the stub's API answers to a question, as to somebody with the key.
    pub async fn stripe_has(&self, path: &str) -> Value {
        let ask = self.http().get(format!("{}/stripe-stub/v1/{path}", self.url()));
        let answer = ask.bearer_auth(STUB_KEY).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// An event, signed at a time, ready to be sent.
    pub fn signed(&self, body: Vec<u8>, at: Timestamp) -> Ask {
        let signature = sign(&SecretString::from(WEBHOOK_SECRET), &body, at);
        self.post("/v1/billing/webhooks/stripe-stub")
            .header("stripe-signature", &signature)
            .header("content-type", "application/json")
            .body(body)
    }

    /// The stub has a subscription in a new state, and the server is told.
    pub async fn subscription_is(&self, event: &str, subscription: &StripeSubscription) -> Answer {
        self.stub_has(subscription);
        let body = subscription.event("customer.subscription.updated", event);
        self.signed(body, now()).await.is(200)
    }
}
