//! A user goes to buy a plan.

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{Owner, SeatsRefused, Subscription, SubscriptionStatus};
use anteroom_ports::billing::{Checkout, CheckoutOrder, Sale, Trial, TrialMark};
use anteroom_ports::{StoreError, billing::PaymentError};
use tracing::info;

use super::Billing;

/// What the user wants.
#[derive(Debug)]
pub struct CheckoutAsk<'a> {
    /// The buyer.
    pub user: &'a User,
    /// The plan's key.
    pub plan: String,
    /// `month` or `year`; the plan's first price without one.
    pub interval: Option<String>,
    /// ISO 4217, lower case; the plan's first price without one.
    pub currency: Option<String>,
    /// For how many seats; as few as the plan is sold for without it.
    pub seats: Option<i64>,
    /// A coupon of the provider's.
    pub coupon: Option<String>,
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
    /// The plan has no price for this interval and in this currency.
    #[error("the plan `{0}` has no such price")]
    NoSuchPrice(String),
    /// So many seats of the plan are not sold.
    #[error(transparent)]
    Seats(#[from] SeatsRefused),
    /// There is no such coupon, or it is over.
    #[error("the coupon was refused: {0}")]
    CouponRefused(String),
    /// The user has a subscription, of which there can be one.
    #[error("{}", already(.0))]
    AlreadySubscribed(Box<Subscription>),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn already(held: &Subscription) -> String {
    let Subscription { plan, status, .. } = held;
    let instead = match status {
        SubscriptionStatus::Paused => "resume or cancel that one",
        _ => "change or cancel that one",
    };
    format!(
        "a subscription to `{plan}` is held already ({}); {instead}",
        status.as_str()
    )
}

impl Billing {
    /// Opens a checkout at the payment provider. The buyer is bound by identifier, never by address.
    pub async fn open_checkout(&self, ask: CheckoutAsk<'_>) -> Result<Checkout, OpenCheckoutError> {
        let provider = self.provider.as_deref().ok_or(OpenCheckoutError::NoProvider)?;
        let (sale, quantity) = self.sale(&ask)?;
        if ask.coupon.as_ref().is_some_and(|coupon| coupon.trim().is_empty()) {
            return Err(OpenCheckoutError::CouponRefused("it has no name".to_owned()));
        }
        let owner = Owner::account(ask.user.id);
        let mut reads = self.store.read().await?;
        let held = reads.subscription_of(owner).await?;
        let had_trial = reads.trial_had_by(owner, &TrialMark::Owner).await?.is_some();
        drop(reads);
        // One that is left over from another provider can be neither changed nor paid any more.
        if let Some(held) = held.filter(|held| held.live() && held.provider == provider.name()) {
            return Err(OpenCheckoutError::AlreadySubscribed(Box::new(held)));
        }
        let trial = self.catalogue().plan(&sale.plan).and_then(|plan| plan.trial);
        let mut order = CheckoutOrder {
            owner,
            customer: self.customer::<OpenCheckoutError>(provider, ask.user).await?,
            trial: trial.filter(|_| !had_trial).map(|trial| Trial {
                days: trial.days,
                card_required: trial.card_required,
            }),
            sale,
            quantity,
            coupon: ask.coupon,
            success_url: ask.success_url.unwrap_or_else(|| self.options.success_url.clone()),
            cancel_url: ask.cancel_url.unwrap_or_else(|| self.options.cancel_url.clone()),
        };
        let key = || format!("checkout-{}", self.ids.uuid());
        let mut checkout = provider.checkout(&order, &key()).await;
        if checkout == Err(PaymentError::NotFound("customer")) {
            order.customer = self
                .customer_anew::<OpenCheckoutError>(provider, ask.user, &order.customer)
                .await?;
            checkout = provider.checkout(&order, &key()).await;
        }
        let checkout = checkout.map_err(|error| coupon_refused(&order, error))?;
        info!(event = "subscription.checkout.opened", user_id = %ask.user.id, plan = %order.sale.plan, interval = %order.sale.price.interval, seats = order.quantity, trial = order.trial.is_some(), provider = provider.name());
        Ok(checkout)
    }

    /// What is sold, and for how many seats.
    fn sale(&self, ask: &CheckoutAsk<'_>) -> Result<(Sale, i64), OpenCheckoutError> {
        let plan = self.catalogue().plan(&ask.plan);
        let plan = plan.ok_or_else(|| OpenCheckoutError::UnknownPlan(ask.plan.clone()))?;
        if !plan.for_sale() {
            return Err(OpenCheckoutError::NotForSale(ask.plan.clone()));
        }
        let price = plan.price(ask.interval.as_deref(), ask.currency.as_deref());
        let price = price.ok_or_else(|| OpenCheckoutError::NoSuchPrice(ask.plan.clone()))?;
        Ok((Sale::new(plan, price), plan.seats_bought(ask.seats, None)?))
    }
}

/// A refusal of what only the coupon can have been the reason for.
fn coupon_refused(order: &CheckoutOrder, error: PaymentError) -> OpenCheckoutError {
    match (error, &order.coupon) {
        (PaymentError::NotFound("coupon"), Some(coupon)) => {
            OpenCheckoutError::CouponRefused(format!("there is no coupon `{coupon}`"))
        }
        (PaymentError::Refused { code, message }, Some(_)) if code.as_deref().is_some_and(|c| c.contains("coupon")) => {
            OpenCheckoutError::CouponRefused(message)
        }
        (other, _) => other.into(),
    }
}
