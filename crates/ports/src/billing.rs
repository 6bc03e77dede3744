//! Subscriptions, quotas, usage, and the payment provider.

use async_trait::async_trait;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{Hold, Owner, QuotaKey, UsageGroup, UsageSpan, UsageTotals};
use anteroom_domain::chat::{TokenUsage, UsageEvent};
use anteroom_domain::{ApiKeyId, RequestId, ReservationId, Timestamp, UserId};

use crate::StoreResult;

mod credits;
mod notices;
mod overage;
mod provider;
mod purchases;
mod revenue;
mod subscriptions;

pub use credits::{CreditsRead, CreditsWrite};
pub use notices::{NoticesRead, NoticesWrite};
pub use overage::{OverageRead, OverageWrite};
pub use provider::{
    ChangePreview, Checkout, CheckoutOrder, MeteredPrice, PaymentError, PaymentProvider, PlanChange, ProviderEvent,
    ProviderPage, ProviderPrice, ProviderSubscription, Published, Sale, Trial, UsageReport, WebhookRejected, When,
};
pub use purchases::{CreditPack, Purchase, PurchaseOrder};
pub use revenue::{ListedSubscription, NotACursor, RevenueRead, RevenueWrite, SubscriptionCursor, SubscriptionFilter};
pub use subscriptions::{
    EventState, EventsAsk, StoredEvent, StoredSubscription, SubscriptionsRead, SubscriptionsWrite, TrialMark,
};

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

/// One of the counters that something of the operator's own counts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterAsk {
    /// Its name.
    pub counter: String,
    /// In the window that began then.
    pub window_start: Timestamp,
    /// The most that may stand on it; `None` counts without a limit.
    pub limit: Option<i64>,
}

/// Something of the operator's own that is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumption {
    /// Whose.
    pub owner: Owner,
    /// What makes it known again; consuming it twice has the effect of once.
    pub id: String,
    /// The entitlement's key.
    pub key: String,
    /// The plan that is in force.
    pub plan: String,
    /// How much; below zero gives back what was used up, and no more than that.
    pub amount: i64,
    /// Every counter it counts on: in each window of the entitlement.
    pub counters: Vec<CounterAsk>,
    /// When.
    pub at: Timestamp,
}

/// What consuming showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumed {
    /// It counts on every counter.
    Counted,
    /// It had counted before.
    Repeated,
    /// Something else was consumed under this identifier.
    OtherUse,
    /// A counter has no room. Nothing may be committed: drop the unit of work.
    Denied {
        /// Which of the counters.
        counter: usize,
        /// What stands on it.
        used: i64,
    },
}

/// Finding quotas and usage.
#[async_trait]
pub trait BillingRead: Send {
    /// A counter; one that was never touched is zero.
    async fn quota_level(&mut self, key: &QuotaKey) -> StoreResult<QuotaLevel>;

    /// What stands on a counter of the operator's own; on one that was never touched, nothing.
    async fn counter_level(&mut self, owner: Owner, counter: &str, window_start: Timestamp) -> StoreResult<i64>;

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

/// Changing quotas and usage.
#[async_trait]
pub trait BillingWrite: Send {
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

    /// Counts something on all of its counters, or on none: never over a limit, whatever runs in parallel. Counters are
    /// taken in the order of their names, so that no two units wait for each other in a circle.
    async fn consume(&mut self, consumption: &Consumption) -> StoreResult<Consumed>;

    /// Forgets what was consumed before then, at most `limit`; it counts on. Answers how many.
    async fn purge_consumptions(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;

    /// Books what calls used, and adds it to the sums of their days. Answers how many of them were not booked already; of
    /// the others nothing changed.
    async fn insert_usage(&mut self, events: &[&UsageEvent]) -> StoreResult<usize>;

    /// Adds the calls that are booked for an owner up anew. Bookings wait until the unit ends; none is lost or counted
    /// twice.
    async fn rebuild_usage(&mut self, owner: Owner) -> StoreResult<()>;
}
