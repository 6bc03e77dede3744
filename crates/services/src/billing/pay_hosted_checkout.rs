//! The checkout page of a provider whose pages Anteroom serves itself.

use anteroom_ports::billing::{HostedCheckout, PaymentError};
use tracing::info;

use super::Billing;

impl Billing {
    /// What the page shows; `None` if there is no such page.
    pub fn hosted_checkout(&self, provider: &str, id: &str) -> Option<HostedCheckout> {
        self.named(provider)?.hosted_checkout(id, self.clock.now())
    }

    /// The buyer pressed "pay". Answers where they go now.
    pub async fn pay_hosted_checkout(&self, provider: &str, id: &str) -> Result<String, PaymentError> {
        let found = self.named(provider).ok_or(PaymentError::NoSuchCheckout)?;
        let outcome = found.pay_hosted(id, self.clock.now()).await;
        match &outcome {
            Ok(_) => info!(event = "subscription.checkout.paid", provider),
            Err(e) => info!(event = "subscription.checkout.failed", provider, reason = %e),
        }
        outcome
    }

    pub(super) fn named(&self, provider: &str) -> Option<&dyn anteroom_ports::PaymentProvider> {
        self.provider.as_deref().filter(|p| p.name() == provider)
    }
}
