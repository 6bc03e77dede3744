//! The payment provider: what is asked of it, and what it tells.

use async_trait::async_trait;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Owner, Plan, Price, SubscriptionStatus, UnitAmount};

use crate::billing::{Purchase, PurchaseOrder};

/// A plan's version at one of its prices: what is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The plan's key.
    pub plan: String,
    /// The plan's version.
    pub version: i32,
    /// The plan's name, for people.
    pub name: String,
    /// The price.
    pub price: Price,
    /// What is paid for beside it by how much is used, at the end of each period.
    pub metered: Vec<MeteredPrice>,
}

/// What is paid for something that is used beyond what a plan includes: in the currency of the plan's price, with its
/// interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeteredPrice {
    /// What is counted: the entitlement's key.
    pub key: String,
    /// What one costs.
    pub amount: UnitAmount,
}

impl Sale {
    /// A plan at one of its prices, with what costs beyond it in that price's currency.
    pub fn new(plan: &Plan, price: &Price) -> Self {
        let metered = plan.entitlements.iter().filter_map(|entitlement| {
            Some(MeteredPrice {
                key: entitlement.key.clone(),
                amount: entitlement.overage()?.price(&price.currency)?,
            })
        });
        Self {
            plan: plan.key.clone(),
            version: plan.version,
            name: plan.name.clone(),
            price: price.clone(),
            metered: metered.collect(),
        }
    }

    /// What a metered price is found by at the provider.
    pub fn metered_lookup_key(&self, metered: &MeteredPrice) -> String {
        format!("{}.{}", self.lookup_key(), metered.key)
    }

    /// What the price is found by at the provider, whatever its identifier there (Stripe's `lookup_key`, of which one
    /// price of an account can have each).
    pub fn lookup_key(&self) -> String {
        let Price { currency, interval, .. } = &self.price;
        format!("anteroom_{}_v{}_{interval}_{currency}", self.plan, self.version)
    }
}

/// A trial before the first payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// How long, in days; at least one.
    pub days: u32,
    /// Whether it begins only with a way to pay on file. Without one the subscription pauses at its end.
    pub card_required: bool,
}

/// What is bought, by whom, and where the buyer goes afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutOrder {
    /// The buyer; is kept with the subscription, and never matched by e-mail.
    pub owner: Owner,
    /// The buyer at the provider.
    pub customer: String,
    /// What is bought.
    pub sale: Sale,
    /// How many of it: seats.
    pub quantity: i64,
    /// A trial first.
    pub trial: Option<Trial>,
    /// A coupon of the provider's, as the buyer's product names it. Without one the page has a field for promotion codes.
    pub coupon: Option<String>,
    /// Where the buyer goes after paying.
    pub success_url: String,
    /// Where the buyer goes after turning back.
    pub cancel_url: String,
}

/// A checkout at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The provider's identifier.
    pub id: String,
    /// Where the buyer pays.
    pub url: String,
}

/// A price as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderPrice {
    /// The provider's identifier.
    pub id: String,
    /// What it is found by: [`Sale::lookup_key`] of those that Anteroom made, the operator's own word of others.
    pub lookup_key: Option<String>,
    /// The plan's key and version that Anteroom wrote on it.
    pub plan: Option<(String, i32)>,
    /// What is paid; `None` where it depends on more than one number (tiers).
    pub price: Option<Price>,
}

impl ProviderPrice {
    /// The plan's key and version that it is for: as Anteroom wrote on it, else as its lookup key says.
    pub fn sold(&self) -> Option<(String, i32)> {
        if let Some(plan) = &self.plan {
            return Some(plan.clone());
        }
        // Made by `Sale::lookup_key`; a plan's key may have underscores of its own.
        let mut parts = self.lookup_key.as_deref()?.strip_prefix("anteroom_")?.rsplitn(4, '_');
        let (_currency, _interval) = (parts.next()?, parts.next()?);
        let version = parts.next()?.strip_prefix('v')?.parse().ok()?;
        Some((parts.next()?.to_owned(), version))
    }
}

/// A subscription as the provider has it at the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSubscription {
    /// The provider's identifier.
    pub id: String,
    /// Whose it is at the provider.
    pub customer: String,
    /// Whose it is, as checkout wrote it down; `None` of one that was made elsewhere.
    pub owner: Option<Owner>,
    /// What is paid for each period.
    pub price: Option<ProviderPrice>,
    /// How many of it.
    pub quantity: i64,
    /// The provider's word.
    pub status: SubscriptionStatus,
    /// When it was made.
    pub created: Timestamp,
    /// When the running period began.
    pub current_period_start: Option<Timestamp>,
    /// When it ends, paid or not.
    pub current_period_end: Option<Timestamp>,
    /// Until when it is paid: the end of the running period unless the invoice that opened it is unpaid.
    pub paid_until: Option<Timestamp>,
    /// Whether it ends with the running period.
    pub cancel_at_period_end: bool,
    /// When else it is going to end.
    pub cancel_at: Option<Timestamp>,
    /// When its trial ends or ended.
    pub trial_end: Option<Timestamp>,
    /// Since when a payment is missing, of one that is past due.
    pub past_due_since: Option<Timestamp>,
    /// Whether the operator stopped collecting payment (Stripe's `pause_collection`), which changes no status.
    pub collection_paused: bool,
    /// What it turns into at the end of the running period.
    pub next_price: Option<ProviderPrice>,
    /// How many of that.
    pub next_quantity: Option<i64>,
    /// What tells one means of payment from another, the same for whoever uses it.
    pub payment_fingerprint: Option<String>,
}

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once. What is left of the running period is settled in proportion, and the difference is paid at once; if it
    /// is not, nothing changes.
    Now,
    /// With the next period.
    PeriodEnd,
}

/// A change of what is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// The new one.
    pub sale: Sale,
    /// How many of it.
    pub quantity: i64,
    /// From when on.
    pub when: When,
}

/// What a change at once would cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePreview {
    /// To be paid at once, in the currency's smallest unit; never below zero.
    pub amount_due: i64,
    /// Left over for later invoices, in the same unit; never below zero.
    pub credit: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// When the next regular payment follows.
    pub next_payment_at: Option<Timestamp>,
}

/// What publishing did, or would do, with a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It stands at the provider as it is sold.
    Unchanged,
    /// It was not there and is now (or would be).
    Created,
    /// It is there with other terms, which no subscription's price may change: its plan needs a new version.
    Differs {
        /// What stands there.
        there: Option<Price>,
    },
}

/// Something used beyond what the plan includes, to be paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// What makes it known again; reporting it twice has the effect of once.
    pub id: String,
    /// Whose, at the provider.
    pub customer: String,
    /// What was used: the entitlement's key, as in [`MeteredPrice::key`].
    pub key: String,
    /// How much; positive.
    pub value: i64,
    /// When.
    pub at: Timestamp,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderPage<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask the next one with; `None` on the last.
    pub next: Option<String>,
}

/// A verified event of the provider. It says what to look at, not what is true: the state is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEvent {
    /// The provider's identifier; the same when it is delivered again.
    pub id: String,
    /// The provider's word for what happened.
    pub kind: String,
    /// When, to the second.
    pub created: Timestamp,
    /// The subscription it concerns.
    pub subscription: Option<String>,
    /// The customer it concerns.
    pub customer: Option<String>,
    /// The one-time purchase it concerns: its checkout or its payment.
    pub purchase: Option<String>,
}

/// Why a webhook was not accepted. It names nothing that would help to forge one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRejected {
    /// The signature is missing, malformed or wrong.
    #[error("the webhook's signature is missing or wrong")]
    BadSignature,
    /// The signature is right but too old (or too far ahead): a replay.
    #[error("the webhook's timestamp is too far from now")]
    Stale,
    /// It is signed, but the body is not an event.
    #[error("the webhook's body is not an event: {0}")]
    Malformed(String),
    /// It is about test data where the deployment has a live key, or the other way round.
    #[error("the webhook is of {there} mode and the key of {here} mode")]
    OtherMode {
        /// `live` or `test`: the key's.
        here: &'static str,
        /// `live` or `test`: the event's.
        there: &'static str,
    },
}

/// Why the payment provider did not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// It has no such thing.
    #[error("the payment provider has no such {0}")]
    NotFound(&'static str),
    /// The price has not been published there.
    #[error("the payment provider has no price `{0}`: run `anteroom plans publish`")]
    UnknownPrice(String),
    /// The buyer's means of payment was refused; nothing changed.
    #[error("the payment was declined: {message}")]
    Declined {
        /// The provider's code, `card_declined`.
        code: String,
        /// The provider's words, fit for the buyer.
        message: String,
    },
    /// It refused what was asked; asking again does not help.
    #[error("the payment provider refused the request: {message}")]
    Refused {
        /// The provider's code.
        code: Option<String>,
        /// The provider's words, for the operator.
        message: String,
    },
    /// The key is wrong, or lacks a permission.
    #[error("the payment provider's key does not serve: {0}")]
    Key(String),
    /// It is away, slow or overloaded, also after trying again.
    #[error("the payment provider failed: {0}")]
    Unavailable(String),
}

/// Takes money. Nothing here runs inside a unit of work. Whatever changes something takes an idempotency key: with the
/// same key the same request has its effect once, for at least a day, and answers the same.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Its name in the webhook's path and in the store.
    fn name(&self) -> &'static str;

    /// Makes somebody known who is going to buy, and answers the provider's identifier. The address is for receipts; it
    /// need not be unique there.
    async fn create_customer(&self, owner: Owner, email: &str, idempotency_key: &str) -> Result<String, PaymentError>;

    /// Opens a checkout.
    async fn checkout(&self, order: &CheckoutOrder, idempotency_key: &str) -> Result<Checkout, PaymentError>;

    /// Opens a checkout of something that is bought once. An order without credits, or with more than can be counted, is
    /// refused.
    async fn checkout_purchase(&self, order: &PurchaseOrder, idempotency_key: &str) -> Result<Checkout, PaymentError>;

    /// A one-time purchase as it is now, found by its checkout or its payment, as an event names it; `None` where there is
    /// none, or it sold no credits of ours.
    async fn purchase(&self, id: &str) -> Result<Option<Purchase>, PaymentError>;

    /// What was bought once since then (by when its checkout was opened), and what was refunded or disputed since, however
    /// long ago it was bought. Of disputes also those that began so long before that they may have been decided since. What
    /// nobody paid or promised to pay is left out. A page tells of at most `limit` (1 to 100), may be empty though another
    /// one follows, and `after` is the `next` of the page before. One purchase may be on several pages.
    async fn list_purchases(
        &self,
        since: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<Purchase>, PaymentError>;

    /// A page of the provider's where a customer sees invoices and changes their means of payment. Answers its address.
    async fn portal(&self, customer: &str, return_url: &str) -> Result<String, PaymentError>;

    /// A subscription as it is now; `None` where there is none.
    async fn subscription(&self, id: &str) -> Result<Option<ProviderSubscription>, PaymentError>;

    /// All subscriptions, over ones too, at most `limit` (1 to 100) at a time, `after` the page before.
    async fn list_subscriptions(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<ProviderSubscription>, PaymentError>;

    /// Changes what is paid for. A change at the period's end replaces an earlier one that has not come yet.
    async fn change_plan(
        &self,
        id: &str,
        change: &PlanChange,
        idempotency_key: &str,
    ) -> Result<ProviderSubscription, PaymentError>;

    /// What changing it at once would cost.
    async fn preview_change(&self, id: &str, change: &PlanChange) -> Result<ChangePreview, PaymentError>;

    /// Ends it: at once and for good, or with the period. One that is over already is no fault.
    async fn cancel(&self, id: &str, when: When, idempotency_key: &str) -> Result<(), PaymentError>;

    /// Takes back an end that has not come yet, and a change that waits for the period's end. One that is paused, because
    /// its trial ended without a means of payment, begins anew: a period begins now and is paid at once. If that fails it
    /// stays paused, and the answer is [`PaymentError::Declined`]; of many who ask at once only one has it paid.
    async fn resume(&self, id: &str, idempotency_key: &str) -> Result<ProviderSubscription, PaymentError>;

    /// Ends a trial that runs: the first payment is due at once. One that is over already is no fault.
    async fn end_trial(&self, id: &str, idempotency_key: &str) -> Result<(), PaymentError>;

    /// Makes what is sold known, so that it can be bought, or says what that would do: a plan's price, and the prices of what
    /// is used beyond it. What stands there is never changed. Answers in the order of `sales`; what differs in any of its
    /// prices differs.
    async fn publish(&self, sales: &[Sale], dry_run: bool) -> Result<Vec<Published>, PaymentError>;

    /// Reports something used beyond what is included. It is paid for with the period that runs when it is reported, at the
    /// metered price of what the customer subscribes to.
    async fn report_usage(&self, report: &UsageReport) -> Result<(), PaymentError>;

    /// Checks a webhook's signature over the raw body, in constant time, then reads it. `header` looks a request
    /// header up by its lower-case name.
    fn verify_webhook(
        &self,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookRejected>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(lookup_key: &str) -> ProviderPrice {
        ProviderPrice {
            id: "price_1".into(),
            lookup_key: Some(lookup_key.into()),
            plan: None,
            price: None,
        }
    }

    #[test]
    fn a_lookup_key_says_which_plan_is_paid() {
        let plan = |lookup_key: &str| price(lookup_key).sold();
        for (key, version, interval) in [("pro", 2, "month"), ("pro_plus", 12, "year")] {
            let sale = Sale {
                plan: key.into(),
                version,
                name: "Pro".into(),
                price: Price {
                    amount: 1,
                    currency: "eur".into(),
                    interval: interval.into(),
                },
                metered: vec![],
            };
            assert_eq!(plan(&sale.lookup_key()), Some((key.into(), version)));
        }
        assert_eq!(plan("anteroom_pro_v2_month_usd"), Some(("pro".into(), 2)));
        for other in [
            "pro",
            "anteroom_pro",
            "anteroom_pro_vx_month_usd",
            "other_pro_v1_month_usd",
            "",
        ] {
            assert_eq!(plan(other), None, "{other}");
        }
        let written = ProviderPrice {
            plan: Some(("business".into(), 3)),
            ..price("anteroom_pro_v2_month_usd")
        };
        assert_eq!(written.sold(), Some(("business".into(), 3)));
    }
}
