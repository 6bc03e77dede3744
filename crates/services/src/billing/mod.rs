//! Plans, subscriptions, entitlements, checkout and the provider's events.

mod apply_webhook;
mod buy_credits;
mod cancel_subscription;
mod change_plan;
mod credits;
mod customer;
mod get_subscription;
mod grant_override;
mod hold_credits;
mod list_entitlements;
mod list_subscriptions;
mod list_usage;
mod look_up_subscription;
mod open_checkout;
mod open_portal;
mod publish_plans;
mod rebuild_usage;
mod reconcile;
mod reconcile_purchases;
mod record_change;
mod report_overage;
mod require_feature;
mod resume_subscription;
mod summarize_billing;
mod take_look;
mod tell_of_quotas;
mod tell_subscribers;
mod use_entitlement;

pub use apply_webhook::{Applied, ApplyWebhookError};
pub use buy_credits::{BuyCreditsError, CreditsOrder, MAX_PACKS, Pack};
pub use cancel_subscription::CancelError;
pub use change_plan::{ChangeAsk, Previewed};
pub use credits::{CreditsAsk, CreditsShown, MAX_CREDIT_PRIORITY};
pub use grant_override::{GrantAsk, GrantError, MAX_REASON_CHARS};
pub(crate) use hold_credits::{CreditSpend, Wanted, included_credits};
pub use list_entitlements::{EntitlementState, GrantState};
pub use list_subscriptions::{AdminSubscription, HistoryOfUser, MAX_CHANGES};
pub use list_usage::{ListUsageError, MAX_USAGE_ROWS};
pub use look_up_subscription::LookUpError;
pub use open_checkout::{CheckoutAsk, OpenCheckoutError};
pub use publish_plans::{PlanDifference, PublishError, PublishedPrice, sales};
pub use reconcile::{ReconcileError, Reconciled, Replayed};
pub use summarize_billing::{BillingSummary, SummaryError};
pub use tell_subscribers::NoticeOptions;
pub use use_entitlement::{Checked, EntitlementAsk, EntitlementError, Level, NotAllowed};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use anteroom_domain::billing::{
    Access, AccessPolicy, Catalogue, CreditRate, Holdings, Owner, OwnerKind, Requirements, SeatsRefused, Subscription,
    access,
};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::billing::PaymentError;
use anteroom_ports::{Clock, Ids, PaymentProvider, Store, StoreError};

use crate::webhooks::Errand;
use crate::{Audit, Sessions, Webhooks};

/// What the operator can set.
#[derive(Debug, Clone)]
pub struct BillingOptions {
    /// The plans.
    pub catalogue: Catalogue,
    /// What decides of access beside plans and subscriptions.
    pub policy: AccessPolicy,
    /// What a credit is worth.
    pub credit_rate: CreditRate,
    /// The packs of credits that are for sale.
    pub packs: Vec<Pack>,
    /// The features that Anteroom's own operations ask for.
    pub requires: Requirements,
    /// Where a buyer goes after paying, unless the checkout says otherwise.
    pub success_url: String,
    /// Where a buyer goes after turning back, unless the checkout says otherwise.
    pub cancel_url: String,
    /// Which mails leave.
    pub notices: NoticeOptions,
}

/// The use cases of billing.
pub struct Billing {
    store: Arc<dyn Store>,
    provider: Option<Arc<dyn PaymentProvider>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    sessions: Arc<Sessions>,
    audit: Arc<Audit>,
    webhooks: Arc<Webhooks>,
    options: BillingOptions,
    /// The plans with all versions that were published, once they are known.
    published: OnceLock<Catalogue>,
    /// Who is looking at which subscription on this node: they take turns, so that many events at once do not make each
    /// other look again.
    looking: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Why nothing was changed of a subscription.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The deployment has no payment provider.
    #[error("no payment provider is configured")]
    NoProvider,
    /// The account has no subscription that could be changed.
    #[error("there is no subscription: buy a plan first")]
    NoSubscription,
    /// It is with a provider that is not the configured one.
    #[error("the subscription is with `{0}`, which is not configured")]
    AnotherProvider(String),
    /// Its state does not allow it.
    #[error("the subscription is `{status}`: {hint}")]
    NotNow {
        /// The provider's word.
        status: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// There is no such plan, or none with such a price.
    #[error("there is no plan `{plan}` with such a price")]
    UnknownPlan {
        /// The plan.
        plan: String,
    },
    /// The plan is free or sold by agreement only.
    #[error("the plan `{0}` cannot be bought here")]
    NotForSale(String),
    /// So many seats of the plan are not sold.
    #[error(transparent)]
    Seats(#[from] SeatsRefused),
    /// It is held in this way already.
    #[error("the plan `{0}` is held already")]
    Unchanged(String),
    /// What was asked for does not go with the plan.
    #[error("{0}")]
    Impossible(&'static str),
    /// The provider failed, or refused.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// Others kept changing it.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// Puts the context together. Without a provider nothing can be bought.
    pub fn new(
        store: Arc<dyn Store>,
        provider: Option<Arc<dyn PaymentProvider>>,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>),
        sessions: Arc<Sessions>,
        audit: Arc<Audit>,
        webhooks: Arc<Webhooks>,
        options: BillingOptions,
    ) -> Arc<Self> {
        let billing = Arc::new(Self {
            store,
            provider,
            clock,
            ids,
            sessions,
            audit,
            webhooks,
            options,
            published: OnceLock::new(),
            looking: Mutex::default(),
        });
        let errand: Weak<dyn Errand> = Arc::<Self>::downgrade(&billing);
        billing.webhooks.register(&[report_overage::REPORT], &errand);
        billing
    }

    /// The plans, in the operator's order.
    pub fn catalogue(&self) -> &Catalogue {
        self.published.get().unwrap_or(&self.options.catalogue)
    }

    /// What somebody may do now.
    pub fn access(&self, holdings: &Holdings) -> Access {
        self.access_at(holdings, self.clock.now())
    }

    pub(crate) fn access_at(&self, holdings: &Holdings, now: Timestamp) -> Access {
        access(self.catalogue(), holdings, now, self.options.policy)
    }

    fn named(&self, provider: &str) -> Option<&dyn PaymentProvider> {
        self.provider.as_deref().filter(|p| p.name() == provider)
    }

    /// The configured provider, of a subscription that is with it.
    fn provider_of(&self, subscription: &Subscription) -> Result<&dyn PaymentProvider, ChangeError> {
        self.named(&subscription.provider)
            .ok_or_else(|| ChangeError::AnotherProvider(subscription.provider.clone()))
    }

    /// What sessions show of an owner's plan, and what the relay allows, changes with this answer.
    fn forget(&self, owner: Owner) {
        if owner.kind == OwnerKind::Account {
            self.sessions.forget_user(UserId(owner.id));
        } else {
            self.sessions.forget_cached_state();
        }
    }
}
