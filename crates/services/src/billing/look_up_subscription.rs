//! Asking the provider what a subscription is, and writing that down. Whatever tells of a change (an event, a button, the
//! nightly round) only says where to look, so that order, repetition and loss of events do not matter.

use std::sync::{Arc, PoisonError};

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Subscription, SubscriptionStatus};
use anteroom_ports::billing::{PaymentError, ProviderPrice, ProviderSubscription, StoredSubscription, TrialMark};
use anteroom_ports::{Durability, PaymentProvider, StoreError, SubscriptionsRead, UnitOfWork};
use tracing::{error, info, warn};

use super::Billing;
use super::record_change::record_change;

/// How often a look is repeated because another node wrote between. Each time somebody's write counted, so that this many
/// in a row do not happen to one that takes its turn.
pub(super) const ATTEMPTS: u32 = 20;

/// Why it is not known how a subscription stands.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// Other nodes kept writing between.
    #[error("the subscription keeps changing")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a look showed.
#[derive(Debug)]
pub(super) enum Looked {
    /// It is nobody's here: another product's, at the same provider.
    NotOurs,
    /// It stands as it stood.
    Same,
    /// It has changed.
    Changed,
}

impl Billing {
    /// Asks the provider for a subscription and writes down how it stands.
    ///
    /// No transaction is open while the provider is asked. Instead each look remembers how often the row had been written
    /// when it began, and counts only if nobody wrote since: so looks follow each other, and the last one written is the
    /// last one asked.
    pub(super) async fn look_up(&self, provider: &dyn PaymentProvider, id: &str) -> Result<Looked, LookUpError> {
        let turn = self.turn(&format!("{} {id}", provider.name()));
        let _turn = turn.lock().await;
        for _ in 0..ATTEMPTS {
            let seen = self.store.read().await?.subscription_at(provider.name(), id).await?;
            let asked_at = self.clock.now();
            let found = provider.subscription(id).await?;
            let mut unit = self.store.begin(Durability::Full).await?;
            let standing = unit.lock_subscription(provider.name(), id).await?;
            if standing.as_ref().map(|s| s.revision) != seen.map(|s| s.revision) {
                continue;
            }
            let stands = standing.as_ref().map(|standing| &standing.subscription);
            let next = match found {
                Some(found) => {
                    self.described(&mut *unit, provider.name(), stands, found, asked_at)
                        .await?
                }
                None => stands.map(gone),
            };
            let Some((next, fingerprint)) = next else {
                return Ok(Looked::NotOurs);
            };
            return self.write_down(unit, provider, standing, next, fingerprint).await;
        }
        Err(LookUpError::Busy)
    }

    /// Whose turn it is to look at this subscription, on this node.
    pub(super) fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = looking.get(name).and_then(std::sync::Weak::upgrade) {
            return turn;
        }
        looking.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        looking.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }

    async fn write_down(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        provider: &dyn PaymentProvider,
        standing: Option<StoredSubscription>,
        next: Subscription,
        fingerprint: Option<String>,
    ) -> Result<Looked, LookUpError> {
        let revision = standing.as_ref().map_or(0, |standing| standing.revision + 1);
        let standing = standing.map(|standing| standing.subscription);
        let next = following(standing.as_ref(), next);
        let had_elsewhere = self.mark_trial(&mut *unit, &next, fingerprint).await?;
        let stood = self.stood(&mut *unit, next.owner).await?;
        self.put_accounted(&mut *unit, &next).await?;
        record_change(&mut *unit, &next, revision).await?;
        let trial_ends = had_elsewhere && next.status == SubscriptionStatus::Trialing;
        if let Some(stood) = stood {
            self.tell_of_change(&mut *unit, stood, (&next, revision), trial_ends)
                .await?;
        }
        unit.commit().await?;
        let same = standing.as_ref().is_some_and(|standing| same(standing, &next));
        if !same {
            self.forget(next.owner);
            info!(event = "subscription.changed", provider = %next.provider, owner = next.owner.kind.as_str(), owner_id = %next.owner.id, plan = %next.plan, status = next.status.as_str());
        }
        if trial_ends {
            warn!(event = "subscription.trial.repeated", provider = %next.provider, owner_id = %next.owner.id);
            let key = format!("end-trial-{}", next.provider_id);
            provider.end_trial(&next.provider_id, &key).await?;
        }
        Ok(if same { Looked::Same } else { Looked::Changed })
    }

    /// Remembers a trial, so that neither the owner nor the means of payment has a second. Answers whether somebody else
    /// had one with this means of payment.
    async fn mark_trial(
        &self,
        unit: &mut dyn UnitOfWork,
        next: &Subscription,
        fingerprint: Option<String>,
    ) -> Result<bool, StoreError> {
        if next.trial_end.is_none() {
            return Ok(false);
        }
        let owner = next.owner;
        unit.insert_trial(owner, &TrialMark::Owner, next.as_of).await?;
        let Some(fingerprint) = fingerprint else {
            return Ok(false);
        };
        let mark = TrialMark::PaymentFingerprint(fingerprint);
        unit.insert_trial(owner, &mark, next.as_of).await?;
        let had_by = unit.trial_had_by(owner, &mark).await?;
        Ok(had_by.is_some_and(|had_by| had_by != owner))
    }

    /// What the provider says, in Anteroom's words; `None` if it is nobody's here.
    pub(super) async fn described<R: SubscriptionsRead + ?Sized>(
        &self,
        reads: &mut R,
        provider: &str,
        standing: Option<&Subscription>,
        found: ProviderSubscription,
        asked_at: Timestamp,
    ) -> Result<Option<(Subscription, Option<String>)>, StoreError> {
        let owner = match standing {
            Some(standing) => Some(standing.owner),
            None => reads
                .owner_of_customer(provider, &found.customer)
                .await?
                .or(found.owner),
        };
        let Some(owner) = owner else {
            return Ok(None);
        };
        let (plan, plan_version) = self.plan_of(standing, &found);
        let past_due = found.status == SubscriptionStatus::PastDue;
        let next = Subscription {
            provider: provider.to_owned(),
            provider_id: found.id,
            owner,
            customer: Some(found.customer),
            plan,
            plan_version,
            price: found.price.and_then(|price| price.price),
            quantity: found.quantity,
            status: found.status,
            known_status: None,
            current_period_end: found.current_period_end,
            paid_until: found.paid_until,
            cancel_at_period_end: found.cancel_at_period_end,
            cancel_at: found.cancel_at,
            trial_end: found.trial_end,
            past_due_since: found.past_due_since.filter(|_| past_due),
            collection_paused: found.collection_paused,
            next_plan: found
                .next_price
                .as_ref()
                .and_then(ProviderPrice::sold)
                .map(|(plan, _)| plan),
            next_quantity: found.next_quantity,
            // Two nodes' clocks may differ; what counts is the order of the looks.
            as_of: standing.map_or(asked_at, |standing| standing.as_of.max(asked_at)),
        };
        if let SubscriptionStatus::Other(word) = &next.status {
            error!(event = "subscription.status.unknown", provider, status = %word, owner_id = %owner.id);
        }
        Ok(Some((next, found.payment_fingerprint)))
    }

    /// The plan that is paid. A price that is no plan's changes nothing: the last plan holds, and somebody has to look.
    fn plan_of(&self, standing: Option<&Subscription>, found: &ProviderSubscription) -> (String, i32) {
        if let Some(plan) = found.price.as_ref().and_then(ProviderPrice::sold) {
            let known = self.catalogue().bought(&plan.0, plan.1);
            if known.is_none_or(|known| known.version != plan.1) {
                error!(event = "subscription.plan.unknown", provider_id = %found.id, plan = %plan.0, version = plan.1);
            }
            return plan;
        }
        let price = found.price.as_ref().map_or("none", |price| price.id.as_str());
        error!(event = "subscription.price.unknown", provider_id = %found.id, price);
        match standing {
            Some(standing) => (standing.plan.clone(), standing.plan_version),
            None => (price.to_owned(), 0),
        }
    }
}

/// What the provider no longer knows is over. It happens where test data is wiped.
fn gone(standing: &Subscription) -> (Subscription, Option<String>) {
    if !standing.status.terminal() {
        warn!(event = "subscription.gone", provider = %standing.provider, provider_id = %standing.provider_id);
    }
    let next = Subscription {
        status: SubscriptionStatus::Canceled,
        known_status: None,
        ..standing.clone()
    };
    (next, None)
}

/// What stands after a look showed `next`.
pub(super) fn following(standing: Option<&Subscription>, next: Subscription) -> Subscription {
    match standing {
        Some(standing) if !standing.yields_to(&next) => standing.clone(),
        Some(standing) => standing.succeeded_by(&next),
        None => next,
    }
}

/// Whether it says the same, whenever it was asked.
pub(super) fn same(before: &Subscription, after: &Subscription) -> bool {
    let after = Subscription {
        as_of: before.as_of,
        ..after.clone()
    };
    *before == after
}
