//! Telling subscribers by mail what becomes of their plan: in the same unit of work as what it tells of, and once.

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{
    AccessReason, HeldAt, Holdings, Notice, NoticeKind, Owner, OwnerKind, PlanChangeReason, Price, Subscription,
    Window, notices, trial_ending,
};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::{Durability, ReadUnit, StoreResult, UnitOfWork};
use jiff::SignedDuration;
use tracing::info;

use super::Billing;
use crate::webhooks::{BillingLetter, Letter};
use crate::{earlier, later};

/// Which mails leave of those that not everybody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeOptions {
    /// How long before the end of a trial its owner is told; `None`: not at all.
    pub trial_ending: Option<SignedDuration>,
    /// The windows of which somebody is told that their limit is used up, or most of it.
    pub quota_windows: Vec<Window>,
}

/// How long it is remembered what somebody was told: longer than anything that could be told again.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * 366);

/// How often one node of all looks for trials that are about to end.
const EVERY: SignedDuration = SignedDuration::from_hours(1);

/// How many subscriptions are read, and notices forgotten, at a time.
const BATCH: i64 = 100;

/// How an owner stood before something is written.
pub(super) struct Stood(Holdings);

impl Billing {
    /// How an owner stands; `None` of one whom nobody would tell of a change.
    pub(super) async fn stood(&self, unit: &mut dyn UnitOfWork, owner: Owner) -> StoreResult<Option<Stood>> {
        if !self.webhooks.sends_mail() || owner.kind != OwnerKind::Account {
            return Ok(None);
        }
        let holdings = unit.holdings_of(owner, self.clock.now()).await?;
        Ok(Some(Stood(holdings)))
    }

    /// Tells an owner what has become of their plan, now that `written` was written for the `revision`th time. Each state
    /// counts as of when the provider was asked, so that an end which came by the clock is told with the next look. A trial that
    /// ends at once, because somebody else had it with this means of payment, is not told as one.
    pub(super) async fn tell_of_change(
        &self,
        unit: &mut dyn UnitOfWork,
        Stood(before): Stood,
        (written, revision): (&Subscription, i64),
        trial_ends: bool,
    ) -> StoreResult<()> {
        let owner = written.owner;
        let after = unit.holdings_of(owner, self.clock.now()).await?;
        let asked = |holdings: &Holdings| holdings.subscription.as_ref().map_or(written.as_of, |sub| sub.as_of);
        let was = self.access_at(&before, asked(&before));
        let is = self.access_at(&after, asked(&after));
        let (stood, stands) = (
            HeldAt {
                subscription: before.subscription.as_ref(),
                access: &was,
            },
            HeldAt {
                subscription: after.subscription.as_ref(),
                access: &is,
            },
        );
        let paid = after
            .subscription
            .as_ref()
            .filter(|_| is.reason != AccessReason::Granted);
        let price = paid.and_then(price_of);
        for mut notice in notices(self.catalogue(), stood, stands) {
            if let Notice::PlanChanged { why, .. } = &mut notice
                && trial_ends
            {
                *why = PlanChangeReason::Chosen;
            }
            let subscription = format!("{} {}", written.provider, written.provider_id);
            // Plans may change to and fro; a payment that is missing is missing since once.
            let reference = match &notice {
                Notice::PaymentFailed { since, .. } => format!("{subscription} {since}"),
                _ => format!("{subscription} {revision}"),
            };
            let letter = letter(&notice, price.as_ref());
            self.notify(unit, owner, notice.kind(), &reference, letter).await?;
        }
        Ok(())
    }

    /// Queues a mail to an owner as part of the unit of work, unless they were told of it. `false` if none was queued.
    pub(super) async fn notify(
        &self,
        unit: &mut dyn UnitOfWork,
        owner: Owner,
        kind: NoticeKind,
        reference: &str,
        letter: BillingLetter<'_>,
    ) -> StoreResult<bool> {
        if !self.webhooks.sends_mail() {
            return Ok(false);
        }
        let Some(user) = reader(unit, owner).await? else {
            return Ok(false);
        };
        if !unit.insert_notice(owner, kind, reference, self.clock.now()).await? {
            return Ok(false);
        }
        self.webhooks.tell(unit, &user, Letter::Billing(letter)).await?;
        let user_id = user.id;
        unit.after_commit(Box::new(move || {
            info!(event = "billing.notice.queued", kind = kind.as_str(), %user_id);
        }));
        Ok(true)
    }

    /// Tells whose trial ends in a while that the first payment follows: a job. One node of all looks, once an hour.
    /// Answers how many were told.
    pub async fn tell_of_ending_trials(&self) -> StoreResult<usize> {
        let Some(ahead) = self.options.notices.trial_ending.filter(|_| self.webhooks.sends_mail()) else {
            return Ok(0);
        };
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        if !unit.take_turn("billing.trial_notices", now, later(now, EVERY)).await? {
            return Ok(0);
        }
        unit.commit().await?;
        let (mut told, mut last) = (0, None::<Subscription>);
        loop {
            let after = last
                .as_ref()
                .map(|sub| (sub.provider.as_str(), sub.provider_id.as_str()));
            let mut reads = self.store.read().await?;
            let page = reads.page_ending_trials(now, later(now, ahead), after, BATCH).await?;
            drop(reads);
            for sub in &page {
                told += usize::from(self.tell_of_trial(sub, now, ahead).await?);
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                return Ok(told);
            }
        }
    }

    async fn tell_of_trial(&self, found: &Subscription, now: Timestamp, ahead: SignedDuration) -> StoreResult<bool> {
        if trial_ending(found, now, ahead).is_none() {
            return Ok(false);
        }
        let mut unit = self.store.begin(Durability::Full).await?;
        // It may have been cancelled since it was found.
        let standing = unit.lock_subscription(&found.provider, &found.provider_id).await?;
        let Some(sub) = standing.map(|standing| standing.subscription) else {
            return Ok(false);
        };
        let Some(ends_at) = trial_ending(&sub, now, ahead) else {
            return Ok(false);
        };
        let plan = self.catalogue().bought(&sub.plan, sub.plan_version);
        let price = price_of(&sub);
        let letter = BillingLetter::TrialEnding {
            plan: plan.map_or(&sub.plan, |plan| &plan.name),
            ends_at,
            price: price.as_ref(),
            card: plan
                .and_then(|plan| plan.trial)
                .is_some_and(|trial| trial.card_required),
        };
        // One that is prolonged is another one.
        let reference = format!("{} {} {ends_at}", sub.provider, sub.provider_id);
        let told = self
            .notify(&mut *unit, sub.owner, NoticeKind::TrialEnding, &reference, letter)
            .await?;
        if told {
            unit.commit().await?;
        }
        Ok(told)
    }

    /// Forgets what was told long ago: a job.
    pub async fn purge_notices(&self) -> StoreResult<usize> {
        let before = earlier(self.clock.now(), REMEMBERED);
        let mut unit = self.store.begin(Durability::Full).await?;
        let forgotten = unit.purge_notices(before, BATCH).await?;
        unit.commit().await?;
        Ok(forgotten)
    }
}

/// Who reads an owner's mails about money: somebody whose address is proven, and whose account neither is closed nor about
/// to be erased.
pub(super) async fn reader<R: ReadUnit + ?Sized>(reads: &mut R, owner: Owner) -> StoreResult<Option<User>> {
    if owner.kind != OwnerKind::Account {
        return Ok(None);
    }
    let user = reads.user(UserId(owner.id)).await?;
    Ok(user.filter(|user| user.email_verified && user.usable() && user.delete_after.is_none()))
}

/// What is paid for all seats.
fn price_of(sub: &Subscription) -> Option<Price> {
    let price = sub.price.as_ref()?;
    Some(Price {
        amount: price.amount.saturating_mul(sub.quantity),
        ..price.clone()
    })
}

fn letter<'a>(notice: &'a Notice, price: Option<&'a Price>) -> BillingLetter<'a> {
    match notice {
        Notice::PlanChanged { from, to, why } => BillingLetter::PlanChanged {
            from,
            to,
            why: *why,
            price,
        },
        Notice::PlanWillChange { from, to, on } => BillingLetter::PlanWillChange { from, to, on: *on },
        Notice::PlanStays { plan } => BillingLetter::PlanStays { plan },
        Notice::PaymentFailed { plan, borne, .. } => BillingLetter::PaymentFailed { plan, borne: *borne },
    }
}
