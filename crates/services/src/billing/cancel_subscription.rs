//! A subscription ends: its owner wants it so, or their account ends.

use anteroom_domain::billing::{Owner, Subscription};
use anteroom_ports::StoreError;
use anteroom_ports::billing::{PaymentError, When};
use tracing::{info, warn};

use super::{Billing, ChangeError};

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
    /// Ends the owner's subscription: with the running period, or at once and for good.
    pub async fn cancel_subscription(&self, owner: Owner, when: When) -> Result<(), ChangeError> {
        let held = self.held(owner).await?;
        let provider = self.provider_of(&held)?;
        if when == When::Now {
            self.settle_overage(owner).await?;
        }
        let key = format!("cancel-{}", self.ids.uuid());
        let cancelled = provider.cancel(&held.provider_id, when, &key).await;
        self.unless_gone(provider, &held, cancelled).await?;
        info!(event = "subscription.cancel_requested", provider = %held.provider, owner_id = %owner.id, now = (when == When::Now));
        self.look_up(provider, &held.provider_id).await?;
        Ok(())
    }

    /// Ends the owner's subscription at the provider, at once and for good, because their account ends. One that is
    /// over, or that there is none, is no fault; with `only`, neither is one that has another identifier at the provider,
    /// which is left alone.
    pub async fn cancel_subscription_of(&self, owner: Owner, only: Option<&str>) -> Result<(), CancelError> {
        let found = self.store.read().await?.subscription_of(owner).await?;
        let meant = |s: &Subscription| !s.status.terminal() && only.is_none_or(|only| only == s.provider_id);
        let Some(subscription) = found.filter(meant) else {
            return Ok(());
        };
        let provider = self
            .named(&subscription.provider)
            .ok_or_else(|| CancelError::AnotherProvider(subscription.provider.clone()))?;
        self.settle_overage(owner).await?;
        let key = format!("account-ends-{}", subscription.provider_id);
        match provider.cancel(&subscription.provider_id, When::Now, &key).await {
            // What the provider does not know needs no end there.
            Ok(()) | Err(PaymentError::NotFound("subscription")) => {}
            Err(error) => return Err(error.into()),
        }
        info!(event = "subscription.cancel_requested", provider = %subscription.provider, owner_id = %owner.id);
        // The provider's event will say so too; this only says it sooner.
        if let Err(error) = self.look_up(provider, &subscription.provider_id).await {
            warn!(event = "subscription.look_up.failed", provider = %subscription.provider, owner_id = %owner.id, reason = %error);
        }
        Ok(())
    }
}
