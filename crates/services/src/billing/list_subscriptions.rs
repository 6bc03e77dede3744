//! Listing everybody's subscriptions, and one account's with its history, for the operator's people.

use anteroom_domain::billing::{Access, Holdings, Owner, SubscriptionChange};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::StoreResult;
use anteroom_ports::billing::{ListedSubscription, SubscriptionCursor, SubscriptionFilter};

use super::Billing;
use crate::Page;

/// The most changes of an account that are shown, the latest.
pub const MAX_CHANGES: i64 = 1000;

/// The most subscriptions of an account that are shown, the newest.
const MAX_SUBSCRIPTIONS: i64 = 1000;

/// A subscription, and what it opens by itself.
#[derive(Debug, Clone)]
pub struct AdminSubscription {
    /// What stands there.
    pub listed: ListedSubscription,
    /// What it comes to now, without other subscriptions and without what was granted.
    pub access: Access,
}

/// Everything about the subscriptions of an account.
#[derive(Debug, Clone)]
pub struct HistoryOfUser {
    /// What the account holds now, of all its subscriptions and of what was granted.
    pub access: Access,
    /// Its subscriptions, newest first, with those that are over.
    pub subscriptions: Vec<AdminSubscription>,
    /// What changed of them, the latest first, at most [`MAX_CHANGES`].
    pub changes: Vec<SubscriptionChange>,
}

impl Billing {
    /// A page of subscriptions, newest first, after the one that is named.
    pub async fn list_subscriptions(
        &self,
        filter: &SubscriptionFilter,
        before: Option<SubscriptionCursor>,
        limit: i64,
    ) -> StoreResult<Page<AdminSubscription>> {
        let now = self.clock.now();
        let mut reads = self.store.read().await?;
        let listed = reads.page_subscriptions(filter, before.as_ref(), limit + 1).await?;
        let listed = listed.into_iter().map(|listed| self.by_itself(listed, now));
        Ok(Page::cut(listed.collect(), limit))
    }

    /// The subscriptions of a user, and what changed of them; `None` if there is no such user.
    pub async fn list_subscriptions_of_user(&self, user: UserId) -> StoreResult<Option<HistoryOfUser>> {
        let (now, owner) = (self.clock.now(), Owner::account(user));
        let mut reads = self.store.read().await?;
        if reads.user(user).await?.is_none() {
            return Ok(None);
        }
        let holdings = reads.holdings_of(owner, now).await?;
        let theirs = SubscriptionFilter {
            owner: Some(owner),
            ..SubscriptionFilter::default()
        };
        let listed = reads.page_subscriptions(&theirs, None, MAX_SUBSCRIPTIONS).await?;
        Ok(Some(HistoryOfUser {
            access: self.access_at(&holdings, now),
            subscriptions: listed.into_iter().map(|listed| self.by_itself(listed, now)).collect(),
            changes: reads.subscription_changes_of(owner, MAX_CHANGES).await?,
        }))
    }

    fn by_itself(&self, listed: ListedSubscription, now: Timestamp) -> AdminSubscription {
        let alone = Holdings {
            subscription: Some(listed.subscription.clone()),
            overrides: Vec::new(),
            others: Vec::new(),
        };
        AdminSubscription {
            access: self.access_at(&alone, now),
            listed,
        }
    }
}
