//! The payment provider tells what happened.

use anteroom_domain::Timestamp;
use anteroom_ports::billing::{EventState, EventsAsk, StoredEvent, WebhookRejected};
use anteroom_ports::{Durability, PaymentProvider, StoreError, StoreResult};
use jiff::SignedDuration;
use tracing::{info, warn};

use super::Billing;
use super::look_up_subscription::{LookUpError, Looked};
use crate::earlier;

/// How long an event may wait for its effect before a round takes it up: whoever received it is still at it, or died.
const WAITING: SignedDuration = SignedDuration::from_secs(60);

/// How many are taken up at a time.
const BATCH: i64 = 50;

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It had its effect (which may be none, for a kind that changes nothing).
    Applied,
    /// It was known already; it had its effect before.
    Duplicate,
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ApplyWebhookError {
    /// No such provider is configured.
    #[error("there is no such payment provider")]
    UnknownProvider,
    /// The event is not the provider's, or is none.
    #[error(transparent)]
    Rejected(#[from] WebhookRejected),
    /// Its effect could not be had; it is stored, and the provider will send it again.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The store failed; the provider will send it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// Verifies an event over its raw body, stores it, and has its effect: the provider is asked how the subscription
    /// stands that it is about. An event whose effect fails is stored and not done, so that it is taken up when it is
    /// sent again, or by [`Billing::work_off_events`].
    pub async fn apply_webhook(
        &self,
        provider: &str,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
    ) -> Result<Applied, ApplyWebhookError> {
        let now = self.clock.now();
        let provider = self.named(provider).ok_or(ApplyWebhookError::UnknownProvider)?;
        let event = provider
            .verify_webhook(header, body, now)
            .inspect_err(|e| warn!(event = "subscription.webhook.rejected", provider = provider.name(), reason = %e))?;
        let stored = StoredEvent {
            provider: provider.name().to_owned(),
            event,
            payload: String::from_utf8_lossy(body).into_owned(),
            received_at: now,
        };
        let (id, kind) = (&stored.event.id, &stored.event.kind);
        let mut unit = self.store.begin(Durability::Full).await?;
        let known = unit.insert_billing_event(&stored, !concerns(&stored)).await?;
        unit.commit().await?;
        if known == EventState::Done {
            info!(event = "subscription.webhook.duplicate", provider = provider.name(), %kind, event_id = %id);
            return Ok(Applied::Duplicate);
        }
        if concerns(&stored) {
            self.take_effect(provider, &stored)
                .await
                .inspect_err(|e| warn!(event = "subscription.webhook.failed", provider = provider.name(), %kind, event_id = %id, reason = %e))?;
        }
        info!(event = "subscription.webhook.applied", provider = provider.name(), %kind, event_id = %id);
        Ok(Applied::Applied)
    }

    /// Has an event's effect, again if need be, and marks it as done.
    pub(super) async fn take_effect(
        &self,
        provider: &dyn PaymentProvider,
        stored: &StoredEvent,
    ) -> Result<bool, LookUpError> {
        let event = &stored.event;
        let mut changed = false;
        if let Some(subscription) = &event.subscription {
            changed |= matches!(self.look_up(provider, subscription).await?, Looked::Changed);
        }
        if let Some(purchase) = &event.purchase {
            changed |= self.look_up_purchase(provider, purchase).await?;
        }
        if let Some(customer) = event.customer.as_ref().filter(|_| customer_is_gone(stored)) {
            let mut reads = self.store.read().await?;
            let held = reads.subscriptions_of_customer(provider.name(), customer).await?;
            drop(reads);
            for held in held {
                changed |= matches!(self.look_up(provider, &held.provider_id).await?, Looked::Changed);
            }
            let mut unit = self.store.begin(Durability::Full).await?;
            unit.delete_customer(provider.name(), customer).await?;
            unit.commit().await?;
        }
        let mut unit = self.store.begin(Durability::Full).await?;
        unit.finish_billing_event(provider.name(), &event.id).await?;
        unit.commit().await?;
        Ok(changed)
    }

    /// Takes up events that were stored and have not had their effect: the process died, or the provider was away. Each is
    /// tried once, so that those that fail keep nobody waiting. Answers how many had it now.
    pub async fn work_off_events(&self) -> StoreResult<usize> {
        let waiting = EventsAsk::WaitingBefore(earlier(self.clock.now(), WAITING));
        let (mut done, mut last) = (0, None::<(Timestamp, String)>);
        loop {
            let after = last.as_ref().map(|(at, id)| (*at, id.as_str()));
            let page = self
                .store
                .read()
                .await?
                .page_billing_events(waiting, after, BATCH)
                .await?;
            for stored in &page {
                done += usize::from(self.take_up(stored).await?);
            }
            let Some(stored) = page.last() else { return Ok(done) };
            last = Some((stored.received_at, stored.event.id.clone()));
        }
    }

    /// Tries a waiting event. `false` if it waits on, for the next round.
    async fn take_up(&self, stored: &StoredEvent) -> StoreResult<bool> {
        let Some(provider) = self.named(&stored.provider) else {
            return Ok(false);
        };
        let (id, kind) = (&stored.event.id, &stored.event.kind);
        match self.take_effect(provider, stored).await {
            Ok(_) => {
                info!(event = "subscription.webhook.taken_up", provider = provider.name(), %kind, event_id = %id);
                Ok(true)
            }
            Err(LookUpError::Store(error)) => Err(error),
            Err(error) => {
                warn!(event = "subscription.webhook.failed", provider = provider.name(), %kind, event_id = %id, reason = %error);
                Ok(false)
            }
        }
    }
}

/// Whether there is anything to look at.
fn concerns(stored: &StoredEvent) -> bool {
    stored.event.subscription.is_some() || stored.event.purchase.is_some() || customer_is_gone(stored)
}

fn customer_is_gone(stored: &StoredEvent) -> bool {
    stored.event.kind == "customer.deleted" && stored.event.customer.is_some()
}
