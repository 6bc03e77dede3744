//! A user goes to buy a plan.

use anteroom_domain::UserId;
use anteroom_ports::billing::{Checkout, CheckoutOrder};
use anteroom_ports::{StoreError, billing::PaymentError};
use tracing::info;

use super::Billing;

/// What the user wants.
#[derive(Debug)]
pub struct CheckoutAsk {
    /// The buyer.
    pub user_id: UserId,
    /// The plan's key.
    pub plan: String,
    /// Where to go after paying; the caller has checked that the address is one of the product's own.
    pub success_url: Option<String>,
    /// Where to go after turning back; checked as well.
    pub cancel_url: Option<String>,
}

/// Why no checkout was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenCheckoutError {
    /// The deployment has no payment provider.
    #[error("no payment provider is configured")]
    NoProvider,
    /// There is no such plan.
    #[error("there is no plan `{0}`")]
    UnknownPlan(String),
    /// The plan is free or sold by agreement only.
    #[error("the plan `{0}` cannot be bought here")]
    NotForSale(String),
    /// The user holds this plan already.
    #[error("the plan `{0}` is held already")]
    AlreadySubscribed(String),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// Opens a checkout at the payment provider. The buyer is bound by identifier, never by address.
    pub async fn open_checkout(&self, ask: CheckoutAsk) -> Result<Checkout, OpenCheckoutError> {
        let provider = self.provider.as_ref().ok_or(OpenCheckoutError::NoProvider)?;
        let plan = self
            .options
            .catalogue
            .plan(&ask.plan)
            .ok_or_else(|| OpenCheckoutError::UnknownPlan(ask.plan.clone()))?;
        let price = plan
            .prices
            .first()
            .filter(|_| plan.for_sale())
            .ok_or_else(|| OpenCheckoutError::NotForSale(ask.plan.clone()))?;
        let held = self.get_subscription(ask.user_id).await?;
        if held.active && held.plan.key == plan.key {
            return Err(OpenCheckoutError::AlreadySubscribed(ask.plan));
        }
        let order = CheckoutOrder {
            user_id: ask.user_id,
            plan: plan.key.clone(),
            plan_version: plan.version,
            plan_name: plan.name.clone(),
            amount: price.amount,
            currency: price.currency.clone(),
            interval: price.interval.clone(),
            success_url: ask.success_url.unwrap_or_else(|| self.options.success_url.clone()),
            cancel_url: ask.cancel_url.unwrap_or_else(|| self.options.cancel_url.clone()),
        };
        let checkout = provider.checkout(&order, self.clock.now()).await?;
        info!(event = "subscription.checkout.opened", user_id = %ask.user_id, plan = %order.plan, provider = provider.name());
        Ok(checkout)
    }
}
