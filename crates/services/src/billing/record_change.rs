//! Noting what changes of subscriptions, so that revenue, churn and cohorts can be told afterwards.

use anteroom_domain::billing::{Subscription, SubscriptionChange};
use anteroom_ports::{StoreResult, UnitOfWork};

/// Notes how a subscription stands with this revision, if that differs from what was noted last. Part of the unit of work
/// that writes it, under its lock.
///
/// What is compared is the last note and not the row before, so that what a node of an older version wrote without one is
/// made up for by the next look.
pub(super) async fn record_change(unit: &mut dyn UnitOfWork, next: &Subscription, revision: i64) -> StoreResult<()> {
    let last = unit.last_subscription_change(&next.provider, &next.provider_id).await?;
    match SubscriptionChange::since(last.map(|last| last.into), next, revision) {
        Some(change) => unit.insert_subscription_change(&change).await,
        None => Ok(()),
    }
}
