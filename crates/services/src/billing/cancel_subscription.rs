//! An owner's subscription ends at the provider: their account does.

use anteroom_domain::billing::{Owner, Subscription};
use anteroom_ports::StoreError;
use anteroom_ports::billing::PaymentError;
use tracing::info;

use super::Billing;

/// Why it may run on.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// It is with a provider that is not the configured one.
    #[error("the subscription is with `{0}`, which is not configured")]
    AnotherProvider(String),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// Ends the owner's subscription at the provider, at once and for good. One that is over, or that there is none,
    /// is no fault; with `only`, neither is one that has another identifier at the provider, which is left alone. What it means for the owner's access follows from the provider's event, as always.
    pub async fn cancel_subscription_of(&self, owner: Owner, only: Option<&str>) -> Result<(), CancelError> {
        let found = self.store.read().await?.subscription_of(owner).await?;
        let meant = |s: &Subscription| !s.status.terminal() && only.is_none_or(|only| only == s.provider_id);
        let Some(subscription) = found.filter(meant) else {
            return Ok(());
        };
        let provider = self
            .provider
            .as_ref()
            .filter(|provider| provider.name() == subscription.provider)
            .ok_or_else(|| CancelError::AnotherProvider(subscription.provider.clone()))?;
        provider.cancel_subscription(&subscription, self.clock.now()).await?;
        info!(event = "subscription.cancel_requested", provider = %subscription.provider, owner_id = %owner.id);
        Ok(())
    }
}
