//! The payment provider that needs nothing: it signs and sends itself real-shaped events.
//!
//! It takes no money. Its checkout page is one of Anteroom's own; pressing "pay" there makes this adapter send
//! Anteroom the events that Stripe would, over HTTP and under Stripe's signature scheme, so that everything behind the
//! webhook is what it is with Stripe. [`StripeStub::send`] sends any other event of a subscription's life.

mod checkout;
mod events;
mod signature;

pub use events::{SubscriptionEvent, SubscriptionObject, subscription_event};
pub use signature::{SIGNATURE_HEADER, sign};

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, header, redirect};
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tracing::{debug, info};
use url::Url;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::Subscription;
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{Checkout, CheckoutOrder, HostedCheckout, PaymentError, ProviderEvent, WebhookRejected};

use checkout::{CheckoutIds, derived_id};

/// Its name in the webhook's path and in the store.
pub const NAME: &str = "stripe-stub";

/// How long Anteroom may take to answer its own event.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Waits before trying again to connect, for a server that is just starting.
const RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
];

/// Where the stub is and what it signs with.
#[derive(Debug, Clone)]
pub struct StubOptions {
    /// Anteroom's public URL; checkout pages are below it, at `stripe-stub/checkout/{id}`.
    pub public_url: Url,
    /// Where events are sent: Anteroom's own `/v1/billing/webhooks/stripe-stub`, as this process reaches it.
    pub webhook_url: Url,
    /// What events are signed with.
    pub webhook_secret: SecretString,
}

/// The payment provider `stripe-stub`.
pub struct StripeStub {
    options: StubOptions,
    checkouts: CheckoutIds,
    // Made at the first payment: reading the system's certificates would slow every start.
    client: OnceCell<Client>,
}

impl StripeStub {
    /// A provider that keeps nothing: checkouts are in their identifiers.
    pub fn new(options: StubOptions) -> Self {
        Self {
            checkouts: CheckoutIds::new(&options.webhook_secret),
            options,
            client: OnceCell::new(),
        }
    }

    /// The `Stripe-Signature` header for this body at this time.
    pub fn sign(&self, body: &[u8], now: Timestamp) -> String {
        sign(&self.options.webhook_secret, body, now)
    }

    /// Signs an event's body and sends it to Anteroom, as Stripe would: to simulate what happens to a subscription
    /// later (see [`subscription_event`]).
    pub async fn send(&self, body: Vec<u8>, now: Timestamp) -> Result<(), PaymentError> {
        let client = self.client.get_or_try_init(|| async { client() }).await?;
        let signature = self.sign(&body, now);
        let mut retries = RETRY_AFTER.into_iter();
        let answer = loop {
            let request = client
                .post(self.options.webhook_url.clone())
                .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
                .header(SIGNATURE_HEADER, &signature)
                .body(body.clone());
            match (request.send().await, retries.next()) {
                // Nothing was delivered, so that trying again cannot deliver it twice.
                (Err(error), Some(wait)) if error.is_connect() => {
                    debug!(%error, "the webhook cannot be reached yet");
                    tokio::time::sleep(wait).await;
                }
                (answer, _) => break answer,
            }
        };
        let status = answer.map_err(|e| unavailable(&e))?.status();
        if !status.is_success() {
            return Err(PaymentError::Unavailable(format!("the webhook answered {status}")));
        }
        Ok(())
    }
}

#[async_trait]
impl PaymentProvider for StripeStub {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn checkout(&self, order: &CheckoutOrder, now: Timestamp) -> Result<Checkout, PaymentError> {
        let id = self.checkouts.make(order, now)?;
        let base = self.options.public_url.as_str().trim_end_matches('/');
        Ok(Checkout {
            url: format!("{base}/{NAME}/checkout/{id}"),
            id,
        })
    }

    /// The event has an identifier that follows from the subscription's, so that a second is known already.
    async fn cancel_subscription(&self, subscription: &Subscription, now: Timestamp) -> Result<(), PaymentError> {
        let object = SubscriptionObject::canceled(subscription, now);
        let event_id = derived_id("evt", &format!("{}/canceled", subscription.provider_id));
        let event = subscription_event(SubscriptionEvent::Deleted, &event_id, now, &object);
        self.send(event, now).await?;
        info!(event = "stripe_stub.canceled", owner_id = %subscription.owner.id, plan = %subscription.plan);
        Ok(())
    }

    fn verify_webhook(
        &self,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookRejected> {
        let given = header(SIGNATURE_HEADER).ok_or(WebhookRejected::BadSignature)?;
        signature::verify(&self.options.webhook_secret, &given, body, now)?;
        events::read_event(NAME, body)
    }

    fn hosted_checkout(&self, id: &str, now: Timestamp) -> Option<HostedCheckout> {
        let checkout = self.checkouts.read(id, now)?;
        Some(HostedCheckout {
            order: checkout.order,
            expires_at: checkout.expires_at,
        })
    }

    /// Events have identifiers that follow from the checkout's, so that those of a second payment are known already.
    async fn pay_hosted(&self, id: &str, now: Timestamp) -> Result<String, PaymentError> {
        let checkout = self.checkouts.read(id, now).ok_or(PaymentError::NoSuchCheckout)?;
        let subscription = SubscriptionObject::bought(&checkout, now);
        let created_id = derived_id("evt", &format!("{id}/created"));
        let created = subscription_event(SubscriptionEvent::Created, &created_id, now, &subscription);
        self.send(created, now).await?;
        let completed_id = derived_id("evt", &format!("{id}/completed"));
        let completed = events::checkout_completed(&checkout, &subscription, &completed_id, now);
        self.send(completed, now).await?;
        info!(event = "stripe_stub.paid", user_id = %checkout.order.user_id, plan = %checkout.order.plan);
        Ok(checkout.order.success_url)
    }
}

fn client() -> Result<Client, PaymentError> {
    // The address is Anteroom's own, mostly on loopback: no proxy can reach it, and it has nowhere to redirect to.
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(|e| unavailable(&e))
}

/// reqwest's own text is just "error sending request"; the cause says why.
fn unavailable(error: &reqwest::Error) -> PaymentError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    PaymentError::Unavailable(format!("{error}{}", cause.unwrap_or_default()))
}
