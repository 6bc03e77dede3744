//! A payment provider that takes orders and says what it is told.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::SignedDuration;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::Subscription;
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{Checkout, CheckoutOrder, HostedCheckout, PaymentError, ProviderEvent, WebhookRejected};

use crate::lock;
use crate::store::assert_no_open_unit;

/// The header that a fake webhook's signature stands in.
pub const SIGNATURE_HEADER: &str = "fake-signature";

#[derive(Debug, Default)]
struct State {
    orders: Vec<CheckoutOrder>,
    paid: Vec<String>,
    cancelled: Vec<String>,
    events: HashMap<String, ProviderEvent>,
    failure: Option<PaymentError>,
}

/// Orders are recorded, pages are hosted, and a webhook's body is the identifier of an event the test has put here.
#[derive(Debug, Default)]
pub struct FakePayments {
    state: Mutex<State>,
}

impl FakePayments {
    /// A provider without orders.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on checkouts and payments fail so; `None` ends that.
    pub fn set_failure(&self, failure: Option<PaymentError>) {
        lock(&self.state).failure = failure;
    }

    /// Keeps an event and answers the webhook's body that stands for it.
    pub fn put_event(&self, event: ProviderEvent) -> Vec<u8> {
        let body = event.id.clone().into_bytes();
        lock(&self.state).events.insert(event.id.clone(), event);
        body
    }

    /// The orders so far, oldest first.
    pub fn orders(&self) -> Vec<CheckoutOrder> {
        lock(&self.state).orders.clone()
    }

    /// The checkouts that were paid, oldest first; one that was paid twice is here twice.
    pub fn paid(&self) -> Vec<String> {
        lock(&self.state).paid.clone()
    }

    /// The provider's identifiers of subscriptions that were cancelled, oldest first.
    pub fn cancelled(&self) -> Vec<String> {
        lock(&self.state).cancelled.clone()
    }

    /// Headers of a webhook whose signature is right, for `verify_webhook`.
    pub fn signed(name: &str) -> Option<String> {
        (name == SIGNATURE_HEADER).then(|| "valid".to_owned())
    }

    /// Headers of a webhook whose signature is right but old.
    pub fn signed_long_ago(name: &str) -> Option<String> {
        (name == SIGNATURE_HEADER).then(|| "stale".to_owned())
    }

    /// Headers of a webhook without a signature.
    pub fn unsigned(_name: &str) -> Option<String> {
        None
    }

    fn order(&self, id: &str) -> Option<CheckoutOrder> {
        let number: usize = id.strip_prefix("cs_fake_")?.parse().ok()?;
        lock(&self.state).orders.get(number).cloned()
    }

    fn working(&self) -> Result<(), PaymentError> {
        lock(&self.state).failure.clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl PaymentProvider for FakePayments {
    fn name(&self) -> &'static str {
        "fake-payments"
    }

    async fn checkout(&self, order: &CheckoutOrder, _now: Timestamp) -> Result<Checkout, PaymentError> {
        assert_no_open_unit("opening a checkout");
        self.working()?;
        let mut state = lock(&self.state);
        let id = format!("cs_fake_{}", state.orders.len());
        state.orders.push(order.clone());
        Ok(Checkout {
            url: format!("https://pay.example/{id}"),
            id,
        })
    }

    async fn cancel_subscription(&self, subscription: &Subscription, _now: Timestamp) -> Result<(), PaymentError> {
        assert_no_open_unit("cancelling a subscription");
        self.working()?;
        lock(&self.state).cancelled.push(subscription.provider_id.clone());
        Ok(())
    }

    fn verify_webhook(
        &self,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
        _now: Timestamp,
    ) -> Result<ProviderEvent, WebhookRejected> {
        match header(SIGNATURE_HEADER).as_deref() {
            Some("valid") => (),
            Some("stale") => return Err(WebhookRejected::Stale),
            _ => return Err(WebhookRejected::BadSignature),
        }
        let id = String::from_utf8_lossy(body);
        let event = lock(&self.state).events.get(&*id).cloned();
        event.ok_or_else(|| WebhookRejected::Malformed("no such event".to_owned()))
    }

    fn hosted_checkout(&self, id: &str, now: Timestamp) -> Option<HostedCheckout> {
        Some(HostedCheckout {
            order: self.order(id)?,
            expires_at: now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now),
        })
    }

    async fn pay_hosted(&self, id: &str, _now: Timestamp) -> Result<String, PaymentError> {
        assert_no_open_unit("paying");
        self.working()?;
        let order = self.order(id).ok_or(PaymentError::NoSuchCheckout)?;
        lock(&self.state).paid.push(id.to_owned());
        Ok(order.success_url)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use anteroom_domain::UserId;

    use super::*;

    #[tokio::test]
    async fn orders_are_recorded_and_events_found_by_their_signature() {
        let (payments, now) = (FakePayments::new(), Timestamp::UNIX_EPOCH);
        let order = CheckoutOrder {
            user_id: UserId(Uuid::nil()),
            plan: "pro".into(),
            plan_version: 1,
            plan_name: "Pro".into(),
            amount: 1900,
            currency: "usd".into(),
            interval: "month".into(),
            success_url: "https://app.example/done".into(),
            cancel_url: "https://app.example/".into(),
        };
        let checkout = payments.checkout(&order, now).await.unwrap();
        assert_eq!(payments.hosted_checkout(&checkout.id, now).unwrap().order, order);
        assert_eq!(payments.pay_hosted(&checkout.id, now).await.unwrap(), order.success_url);
        assert!(payments.pay_hosted("cs_fake_9", now).await.is_err());
        let event = ProviderEvent {
            id: "evt_1".into(),
            kind: "customer.subscription.updated".into(),
            subscription: None,
        };
        let body = payments.put_event(event.clone());
        assert_eq!(payments.verify_webhook(&FakePayments::signed, &body, now), Ok(event));
        let stale = payments.verify_webhook(&FakePayments::signed_long_ago, &body, now);
        assert_eq!(stale, Err(WebhookRejected::Stale));
        let unsigned = payments.verify_webhook(&FakePayments::unsigned, &body, now);
        assert_eq!(unsigned, Err(WebhookRejected::BadSignature));
    }
}
