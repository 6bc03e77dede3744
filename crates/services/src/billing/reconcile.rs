//! Comparing what is written down with what the provider has: events get lost.

use std::collections::BTreeSet;

use anteroom_domain::Timestamp;
use anteroom_ports::billing::{EventsAsk, PaymentError, ProviderSubscription};
use anteroom_ports::{Durability, PaymentProvider, StoreError, StoreResult};
use jiff::SignedDuration;
use tracing::{info, warn};

use super::Billing;
use super::look_up_subscription::{LookUpError, Looked, following, same};
use crate::later;

/// How often it happens by itself.
const EVERY: SignedDuration = SignedDuration::from_hours(24);

/// How many subscriptions, purchases or events are read at a time.
pub(super) const PAGE: u32 = 100;

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Subscriptions that were compared.
    pub compared: usize,
    /// Those that stood differently, and stand as the provider has them now.
    pub changed: usize,
    /// Purchases of credits that were compared.
    pub purchases: usize,
    /// Those whose credits stood differently, and stand as the provider has them now.
    pub purchases_changed: usize,
}

/// What having events' effects again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Events.
    pub events: usize,
    /// Those after which something stood differently.
    pub changed: usize,
}

/// Why it was not, or not wholly, done.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The deployment has no payment provider.
    #[error("no payment provider is configured")]
    NoProvider,
    /// There is no such event.
    #[error("there is no event `{0}` of this provider")]
    NoSuchEvent(String),
    /// A subscription could not be looked at.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// Compares every subscription, and what was bought once lately, with what the provider has, and writes down what
    /// differs. A subscription that the provider does not list any more is over.
    pub async fn reconcile(&self) -> Result<Reconciled, ReconcileError> {
        let provider = self.provider.as_deref().ok_or(ReconcileError::NoProvider)?;
        let mut result = Reconciled::default();
        self.reconcile_subscriptions(provider, &mut result).await?;
        self.reconcile_purchases(provider, &mut result).await?;
        info!(
            event = "billing.reconciled",
            provider = provider.name(),
            compared = result.compared,
            changed = result.changed,
            purchases = result.purchases,
            purchases_changed = result.purchases_changed
        );
        Ok(result)
    }

    async fn reconcile_subscriptions(
        &self,
        provider: &dyn PaymentProvider,
        result: &mut Reconciled,
    ) -> Result<(), ReconcileError> {
        let mut listed = BTreeSet::new();
        let mut after = None;
        loop {
            let page = provider.list_subscriptions(after.as_deref(), PAGE).await?;
            for found in page.items {
                let id = found.id.clone();
                result.compared += 1;
                if self.differs(provider, found).await? {
                    self.look_again(provider, &id, result).await?;
                }
                listed.insert(id);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut last = None;
        loop {
            let mut reads = self.store.read().await?;
            let open = reads
                .page_open_subscriptions(provider.name(), last.as_deref(), PAGE.into())
                .await?;
            drop(reads);
            for held in open.iter().filter(|held| !listed.contains(&held.provider_id)) {
                result.compared += 1;
                self.look_again(provider, &held.provider_id, result).await?;
            }
            let Some(held) = open.last() else { return Ok(()) };
            last = Some(held.provider_id.clone());
        }
    }

    async fn look_again(
        &self,
        provider: &dyn PaymentProvider,
        id: &str,
        result: &mut Reconciled,
    ) -> Result<(), LookUpError> {
        if matches!(self.look_up(provider, id).await?, Looked::Changed) {
            // An event was lost, or came and had no effect: worth knowing.
            warn!(
                event = "subscription.reconciled",
                provider = provider.name(),
                provider_id = id
            );
            result.changed += 1;
        }
        Ok(())
    }

    /// Whether what is listed is worth a look: writing it down would change something. Other products' subscriptions at
    /// the same provider are not.
    async fn differs(&self, provider: &dyn PaymentProvider, found: ProviderSubscription) -> StoreResult<bool> {
        let name = provider.name();
        let mut reads = self.store.read().await?;
        let held = reads
            .subscription_at(name, &found.id)
            .await?
            .map(|held| held.subscription);
        let now = self.clock.now();
        let described = self.described(&mut *reads, name, held.as_ref(), found, now).await?;
        Ok(described.is_some_and(|(next, _)| {
            let next = following(held.as_ref(), next);
            held.is_none_or(|held| !same(&held, &next))
        }))
    }

    /// One node of all does it, once a day: a job. Answers whether it was this one.
    pub async fn reconcile_daily(&self) -> StoreResult<usize> {
        let Some(provider) = self.provider.as_deref() else {
            return Ok(0);
        };
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let name = format!("billing.reconcile {}", provider.name());
        if !unit.take_turn(&name, now, later(now, EVERY)).await? {
            return Ok(0);
        }
        unit.commit().await?;
        match self.reconcile().await {
            Ok(_) => Ok(0),
            Err(ReconcileError::Store(error)) => Err(error),
            // The day's turn is spent; the events come all the same.
            Err(error) => {
                warn!(event = "billing.reconcile.failed", provider = provider.name(), reason = %error);
                Ok(0)
            }
        }
    }

    /// Has the effect of a stored event again: the provider is asked how things stand.
    pub async fn replay_event(&self, id: &str) -> Result<Replayed, ReconcileError> {
        let provider = self.provider.as_deref().ok_or(ReconcileError::NoProvider)?;
        let stored = self.store.read().await?.billing_event(provider.name(), id).await?;
        let stored = stored.ok_or_else(|| ReconcileError::NoSuchEvent(id.to_owned()))?;
        let changed = self.take_effect(provider, &stored).await?;
        Ok(Replayed {
            events: 1,
            changed: usize::from(changed),
        })
    }

    /// Has the effect of every event again that came from a moment on.
    pub async fn replay_events(&self, since: Timestamp) -> Result<Replayed, ReconcileError> {
        let provider = self.provider.as_deref().ok_or(ReconcileError::NoProvider)?;
        let mut result = Replayed::default();
        let mut last: Option<(Timestamp, String)> = None;
        loop {
            let after = last.as_ref().map(|(at, id)| (*at, id.as_str()));
            let page = self
                .store
                .read()
                .await?
                .page_billing_events(EventsAsk::Since(since), after, PAGE.into())
                .await?;
            for stored in page.iter().filter(|stored| stored.provider == provider.name()) {
                result.events += 1;
                result.changed += usize::from(self.take_effect(provider, stored).await?);
            }
            let Some(stored) = page.last() else { break };
            last = Some((stored.received_at, stored.event.id.clone()));
        }
        info!(
            event = "billing.replayed",
            provider = provider.name(),
            events = result.events,
            changed = result.changed
        );
        Ok(result)
    }
}
