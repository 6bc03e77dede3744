//! Subscriptions, quotas, usage, and the payment provider.

use async_trait::async_trait;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{Hold, Owner, QuotaKey, Subscription, UsageGroup, UsageSpan, UsageTotals};
use anteroom_domain::chat::{TokenUsage, UsageEvent};
use anteroom_domain::{ApiKeyId, RequestId, ReservationId, Timestamp, UserId};

use crate::StoreResult;

/// What stands on a quota counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaLevel {
    /// Settled.
    pub used: i64,
    /// Held for calls that run.
    pub reserved: i64,
}

/// Which usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageAsk {
    /// Whose; everybody's without one.
    pub owner: Option<Owner>,
    /// On which days.
    pub span: UsageSpan,
    /// By what it is told apart; by nothing is one sum of it all.
    pub by: Vec<UsageGroup>,
}

/// What was used, of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum {
    /// When the day began, if days are told apart.
    pub day: Option<Timestamp>,
    /// The account, if accounts are told apart.
    pub account: Option<UserId>,
    /// The model that was asked for, if models are told apart.
    pub model: Option<String>,
    /// The plan that was in force, if plans are told apart.
    pub plan: Option<String>,
    /// The key, if keys are told apart and it was used with one.
    pub api_key: Option<ApiKeyId>,
    /// What it came to.
    pub totals: UsageTotals,
}

/// Finding subscriptions, quotas and usage.
#[async_trait]
pub trait BillingRead: Send {
    /// The owner's subscription: one that is not terminal before one that is, one that may open its plan (`active`,
    /// `trialing`, `past_due`) before one that cannot, then the newest.
    async fn subscription_of(&mut self, owner: Owner) -> StoreResult<Option<Subscription>>;

    /// A counter; one that was never touched is zero.
    async fn quota_level(&mut self, key: &QuotaKey) -> StoreResult<QuotaLevel>;

    /// What was used, in the order of [`UsageGroup::ALL`], at most `limit` rows. Told apart by nothing it is one row,
    /// also where nothing was used. It does not look at single calls.
    async fn sum_usage(&mut self, ask: &UsageAsk, limit: i64) -> StoreResult<Vec<UsageSum>>;

    /// Owners of whom calls or sums of calls are booked, in an order of their own.
    async fn page_usage_owners(&mut self, after: Option<Owner>, limit: i64) -> StoreResult<Vec<Owner>>;
}

/// Quota held for a call, durable and with an end, so that a crash cannot hold it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Identifier.
    pub id: ReservationId,
    /// The call.
    pub request_id: RequestId,
    /// Who pays.
    pub owner: Owner,
    /// With which session or key.
    pub used_with: UsedWith,
    /// The model that was asked for.
    pub model: String,
    /// The least the call will have used if nobody settles it: its prompt's estimate.
    pub at_least: TokenUsage,
    /// What is held: at least one hold, and at most one for each meter.
    pub holds: Vec<Hold>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its lease: when it counts as lost, unless it is renewed.
    pub expires_at: Timestamp,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Its reservation.
    pub id: ReservationId,
    /// How much of each meter; zero of one that is not named.
    pub used: Vec<(&'static str, i64)>,
}

/// What reserving showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// All holds stand.
    Held,
    /// A counter has no room. Nothing may be committed: drop the unit of work.
    Denied {
        /// The counter.
        key: QuotaKey,
        /// What stands on it, holds included.
        level: QuotaLevel,
        /// Its limit.
        limit: i64,
    },
}

/// Changing subscriptions and quotas.
#[async_trait]
pub trait BillingWrite: Send {
    /// Remembers a provider's event. `false` if it is known already; then its effect has been had.
    async fn insert_billing_event(
        &mut self,
        provider: &str,
        event_id: &str,
        kind: &str,
        payload: &str,
        received_at: Timestamp,
    ) -> StoreResult<bool>;

    /// A subscription by the provider's identifier, locked until the unit of work ends.
    async fn lock_subscription(&mut self, provider: &str, provider_id: &str) -> StoreResult<Option<Subscription>>;

    /// Writes a subscription, new or not. Provider and provider identifier are its key; the owner never changes.
    async fn put_subscription(&mut self, subscription: &Subscription) -> StoreResult<()>;

    /// Holds quota on every counter of the reservations by conditional updates, one for each counter: never over a limit,
    /// whatever runs in parallel, and without a denial while there is room for all of them. Where they name several limits
    /// for one counter, the lowest holds.
    async fn reserve_quota(&mut self, reservations: &[&Reservation]) -> StoreResult<Reserved>;

    /// Turns holds into use. Every counter moves once, in the order in which holding locks them, so that many calls that
    /// are settled together and one that reserves do not wait for each other in a circle. Answers which reservations were
    /// open; of the others nothing changed.
    async fn settle_quota(&mut self, settlements: &[Settlement]) -> StoreResult<Vec<ReservationId>>;

    /// Lets open reservations last until then. Those that are being changed elsewhere are passed over, and nothing
    /// happens to those that are settled.
    async fn renew_reservations(&mut self, ids: &[ReservationId], until: Timestamp) -> StoreResult<()>;

    /// Reservations past their end, at most `limit`, oldest first.
    async fn expired_reservations(&mut self, now: Timestamp, limit: i64) -> StoreResult<Vec<Reservation>>;

    /// Books what calls used, and adds it to the sums of their days. Answers how many of them were not booked already; of
    /// the others nothing changed.
    async fn insert_usage(&mut self, events: &[&UsageEvent]) -> StoreResult<usize>;

    /// Adds the calls that are booked for an owner up anew. Bookings wait until the unit ends; none is lost or counted
    /// twice.
    async fn rebuild_usage(&mut self, owner: Owner) -> StoreResult<()>;
}

/// What is bought, by whom, and where the buyer goes afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutOrder {
    /// The buyer; comes back in the provider's events, never matched by e-mail.
    pub user_id: UserId,
    /// The plan's key.
    pub plan: String,
    /// The plan's version.
    pub plan_version: i32,
    /// Its name, for the page.
    pub plan_name: String,
    /// Its price in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// `month` or `year`.
    pub interval: String,
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

/// A verified event of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEvent {
    /// The provider's identifier; the same when it is delivered again.
    pub id: String,
    /// The provider's word for what happened.
    pub kind: String,
    /// The state of a subscription, where the event is about one of ours.
    pub subscription: Option<Subscription>,
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
}

/// Why the payment provider did not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// No such checkout, or one that is over.
    #[error("there is no such checkout")]
    NoSuchCheckout,
    /// The provider is away or refused.
    #[error("the payment provider failed: {0}")]
    Unavailable(String),
}

/// What a provider's own checkout page shows, where Anteroom serves that page itself (the stub).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedCheckout {
    /// What is bought.
    pub order: CheckoutOrder,
    /// When the page is over.
    pub expires_at: Timestamp,
}

/// Takes money. Nothing here runs inside a unit of work.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Its name in the webhook's path and in the store.
    fn name(&self) -> &'static str;

    /// Opens a checkout.
    async fn checkout(&self, order: &CheckoutOrder, now: Timestamp) -> Result<Checkout, PaymentError>;

    /// Ends a subscription at once and for good. One that is over already is no fault. What it means for access comes
    /// with the provider's event.
    async fn cancel_subscription(&self, subscription: &Subscription, now: Timestamp) -> Result<(), PaymentError>;

    /// Checks a webhook's signature over the raw body, in constant time, then reads it. `header` looks a request
    /// header up by its lower-case name.
    fn verify_webhook(
        &self,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookRejected>;

    /// The page behind a checkout's URL, for a provider whose pages Anteroom serves; `None` for any other.
    fn hosted_checkout(&self, _id: &str, _now: Timestamp) -> Option<HostedCheckout> {
        None
    }

    /// The buyer pressed "pay" on that page. Answers where they go now. Paying twice has the effect of paying once.
    async fn pay_hosted(&self, _id: &str, _now: Timestamp) -> Result<String, PaymentError> {
        Err(PaymentError::NoSuchCheckout)
    }
}
