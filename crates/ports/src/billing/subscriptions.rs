//! Subscriptions, the provider's events, plans' versions, and what was granted.

use async_trait::async_trait;

use anteroom_domain::billing::{Holdings, Override, Owner, Plan, Subscription};
use anteroom_domain::{OverrideId, Timestamp};

use super::ProviderEvent;
use crate::StoreResult;

/// A subscription and how often it was written, so that a writer can tell whether somebody wrote between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// What stands there.
    pub subscription: Subscription,
    /// Goes up by one with every write.
    pub revision: i64,
}

/// An event of the provider, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The provider's name.
    pub provider: String,
    /// What it says.
    pub event: ProviderEvent,
    /// Its body.
    pub payload: String,
    /// When it came first.
    pub received_at: Timestamp,
}

/// Whether a stored event has had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    /// It was not known before.
    New,
    /// It is known and has not had its effect.
    Waiting,
    /// It has had its effect.
    Done,
}

/// Which stored events are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsAsk {
    /// Those that came from then on, done or not.
    Since(Timestamp),
    /// Those that came before then and have not had their effect.
    WaitingBefore(Timestamp),
}

/// Which of an owner's trials are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialMark {
    /// The owner's own.
    Owner,
    /// Those that were had with this means of payment, whoever used it.
    PaymentFingerprint(String),
}

/// Finding subscriptions and what belongs to them.
#[async_trait]
pub trait SubscriptionsRead: Send {
    /// The owner's subscription: one that is not terminal before one that is, one that may open its plan (`active`,
    /// `trialing`, `past_due`) before one that cannot, then the newest.
    async fn subscription_of(&mut self, owner: Owner) -> StoreResult<Option<Subscription>>;

    /// Everything that decides what an owner may do at `now`: their subscription, and what was granted to them that has
    /// neither been taken back nor expired, oldest first.
    async fn holdings_of(&mut self, owner: Owner, now: Timestamp) -> StoreResult<Holdings>;

    /// A subscription by the provider's identifier.
    async fn subscription_at(&mut self, provider: &str, provider_id: &str) -> StoreResult<Option<StoredSubscription>>;

    /// The subscriptions of a provider's customer, over ones too, in the order of their identifiers.
    async fn subscriptions_of_customer(&mut self, provider: &str, customer: &str) -> StoreResult<Vec<Subscription>>;

    /// The subscriptions of a provider that are not over, in the order of their identifiers, at most `limit`.
    async fn page_open_subscriptions(
        &mut self,
        provider: &str,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<Subscription>>;

    /// Who an owner is at the provider.
    async fn customer_of(&mut self, provider: &str, owner: Owner) -> StoreResult<Option<String>>;

    /// Who a customer of the provider is.
    async fn owner_of_customer(&mut self, provider: &str, customer: &str) -> StoreResult<Option<Owner>>;

    /// An event by the provider's identifier.
    async fn billing_event(&mut self, provider: &str, event_id: &str) -> StoreResult<Option<StoredEvent>>;

    /// Stored events, oldest first (by when they came, then by identifier), at most `limit`, after the one that is named.
    async fn page_billing_events(
        &mut self,
        ask: EventsAsk,
        after: Option<(Timestamp, &str)>,
        limit: i64,
    ) -> StoreResult<Vec<StoredEvent>>;

    /// All versions of plans that were published, by key and version.
    async fn plan_versions(&mut self) -> StoreResult<Vec<Plan>>;

    /// What was granted to an owner, newest first, with what expired or was taken back (and when).
    async fn overrides_of(&mut self, owner: Owner) -> StoreResult<Vec<(Override, Option<Timestamp>)>>;

    /// Who had the first trial of this mark, if one was had.
    async fn trial_had_by(&mut self, owner: Owner, mark: &TrialMark) -> StoreResult<Option<Owner>>;
}

/// Changing subscriptions and what belongs to them.
#[async_trait]
pub trait SubscriptionsWrite: Send {
    /// Remembers a provider's event, as waiting or as done. One that is known stays as it is; answers what it was.
    async fn insert_billing_event(&mut self, event: &StoredEvent, done: bool) -> StoreResult<EventState>;

    /// The event has had its effect. Nothing happens to one that is not known.
    async fn finish_billing_event(&mut self, provider: &str, event_id: &str) -> StoreResult<()>;

    /// A subscription by the provider's identifier, locked until the unit of work ends, also while there is none.
    async fn lock_subscription(&mut self, provider: &str, provider_id: &str)
    -> StoreResult<Option<StoredSubscription>>;

    /// Writes a subscription, new or not, and raises its revision. Provider and provider identifier are its key; the
    /// owner never changes.
    async fn put_subscription(&mut self, subscription: &Subscription) -> StoreResult<()>;

    /// Remembers who an owner is at the provider. Answers who they are: the first that was remembered stays.
    async fn insert_customer(
        &mut self,
        provider: &str,
        customer: &str,
        owner: Owner,
        at: Timestamp,
    ) -> StoreResult<String>;

    /// Forgets a customer that the provider deleted.
    async fn delete_customer(&mut self, provider: &str, customer: &str) -> StoreResult<()>;

    /// Keeps a version of a plan. With `replace` other terms take the place of those that stand; without, what stands stays.
    async fn put_plan_version(&mut self, plan: &Plan, at: Timestamp, replace: bool) -> StoreResult<()>;

    /// Grants something.
    async fn insert_override(&mut self, granted: &Override) -> StoreResult<()>;

    /// Takes back what was granted to this owner. `false` if there is no such thing, or it was taken back already.
    async fn revoke_override(&mut self, owner: Owner, id: OverrideId, at: Timestamp) -> StoreResult<bool>;

    /// Remembers that a trial was had. `false` if one of this mark had been remembered, of the owner or of another.
    async fn insert_trial(&mut self, owner: Owner, mark: &TrialMark, at: Timestamp) -> StoreResult<bool>;
}
