//! Plans, subscriptions, entitlements, checkout and the provider's events.

mod apply_webhook;
mod cancel_subscription;
mod get_subscription;
mod list_entitlements;
mod list_usage;
mod open_checkout;
mod pay_hosted_checkout;
mod rebuild_usage;

pub use apply_webhook::{Applied, ApplyWebhookError};
pub use cancel_subscription::CancelError;
pub use list_entitlements::{EntitlementState, GrantState};
pub use list_usage::{ListUsageError, MAX_USAGE_ROWS};
pub use open_checkout::{CheckoutAsk, OpenCheckoutError};

use std::sync::Arc;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Access, Catalogue, Subscription, access};
use anteroom_ports::{Clock, PaymentProvider, Store};
use jiff::SignedDuration;

use crate::Sessions;

/// What the operator can set.
#[derive(Debug, Clone)]
pub struct BillingOptions {
    /// The plans.
    pub catalogue: Catalogue,
    /// How long a missing payment is borne.
    pub past_due_grace: SignedDuration,
    /// Where a buyer goes after paying, unless the checkout says otherwise.
    pub success_url: String,
    /// Where a buyer goes after turning back, unless the checkout says otherwise.
    pub cancel_url: String,
}

/// The use cases of billing.
pub struct Billing {
    store: Arc<dyn Store>,
    provider: Option<Arc<dyn PaymentProvider>>,
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    options: BillingOptions,
}

impl Billing {
    /// Puts the context together. Without a provider nothing can be bought.
    pub fn new(
        store: Arc<dyn Store>,
        provider: Option<Arc<dyn PaymentProvider>>,
        clock: Arc<dyn Clock>,
        sessions: Arc<Sessions>,
        options: BillingOptions,
    ) -> Self {
        Self {
            store,
            provider,
            clock,
            sessions,
            options,
        }
    }

    /// The plans, in the operator's order.
    pub fn catalogue(&self) -> &Catalogue {
        &self.options.catalogue
    }

    /// What a subscription opens now.
    pub fn access(&self, subscription: Option<&Subscription>) -> Access {
        self.access_at(subscription, self.clock.now())
    }

    pub(crate) fn access_at(&self, subscription: Option<&Subscription>, now: Timestamp) -> Access {
        access(&self.options.catalogue, subscription, now, self.options.past_due_grace)
    }
}
