//! What is used beyond a plan's limits, for money, is reported to the payment provider: once, through the outbox, and never
//! on the way of a call. Calls to models are looked at afterwards; the operator's own things are counted as they are used up.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tracing::{debug, info};
use uuid::Uuid;

use anteroom_domain::billing::{Access, Anchor, Meter, OverageAccount, Owner, OwnerKind, Window};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::billing::UsageReport;
use anteroom_ports::{Durability, MailError, StoreResult, UnitOfWork};
use jiff::SignedDuration;

use super::Billing;
use super::use_entitlement::counter;
use crate::earlier;
use crate::webhooks::Errand;

/// The errand of a report.
pub(super) const REPORT: &str = "billing.report_overage";

/// The turn of the node that looks.
const TURN: &str = "billing.overage";

/// How many owners are read at a time.
const PAGE: i64 = 200;

/// How far back windows are looked at: what runs when a month ends is booked in it a little later.
const RECENT: SignedDuration = SignedDuration::from_hours(24 * 62);

/// What is to be reported.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// Makes it known again at the provider.
    id: Uuid,
    owner_kind: OwnerKind,
    owner_id: Uuid,
    key: String,
    value: i64,
}

impl Billing {
    /// Looks at everybody who called since the last look: a job. One node of all does it. Answers how many reports were
    /// queued.
    pub async fn report_overage(&self) -> StoreResult<usize> {
        if !self.sells_overage() {
            return Ok(0);
        }
        match self.take_look(TURN).await? {
            Some(since) => self.report_overage_since(since).await,
            None => Ok(0),
        }
    }

    /// Looks at everybody of whom a call was booked since then.
    pub async fn report_overage_since(&self, since: Timestamp) -> StoreResult<usize> {
        let (mut queued, mut last) = (0, None);
        loop {
            let page = self.store.read().await?.page_owners_booked(since, last, PAGE).await?;
            for owner in &page {
                queued += self.look_at_overage(*owner).await?;
            }
            last = page.last().copied();
            if last.is_none() {
                return Ok(queued);
            }
        }
    }

    fn sells_overage(&self) -> bool {
        self.catalogue().all().any(|plan| plan.has_overage())
    }

    /// A subscription is about to change: what was used till now is accounted for by the terms that held till now.
    pub(super) async fn account_till_now(&self, unit: &mut dyn UnitOfWork, owner: Owner) -> StoreResult<()> {
        if !self.sells_overage() || owner.kind != OwnerKind::Account {
            return Ok(());
        }
        let now = self.clock.now();
        let holdings = unit.holdings_of(owner, now).await?;
        let access = self.access_at(&holdings, now);
        if !access.plan.has_overage() {
            return Ok(());
        }
        if let Some(user) = unit.user(UserId(owner.id)).await? {
            let access = (&access, access.anchor(user.created_at));
            self.account_for_overage(unit, owner, access, None, now).await?;
        }
        Ok(())
    }

    async fn look_at_overage(&self, owner: Owner) -> StoreResult<usize> {
        let now = self.clock.now();
        if owner.kind != OwnerKind::Account {
            return Ok(0);
        }
        let mut reads = self.store.read().await?;
        let Some(user) = reads.user(UserId(owner.id)).await? else {
            return Ok(0);
        };
        let holdings = reads.holdings_of(owner, now).await?;
        let access = self.access_at(&holdings, now);
        if !access.plan.has_overage() && reads.overages_of(owner, earlier(now, RECENT)).await?.is_empty() {
            return Ok(0);
        }
        drop(reads);
        let mut unit = self.store.begin(Durability::Full).await?;
        let anchor = access.anchor(user.created_at);
        let queued = self
            .account_for_overage(&mut *unit, owner, (&access, anchor), None, now)
            .await?;
        unit.commit().await?;
        Ok(queued)
    }

    /// Brings the terms of what is used beyond limits up to date and queues a report of what was used since the last one,
    /// of one key or of all. Answers how many reports were queued.
    pub(super) async fn account_for_overage(
        &self,
        unit: &mut dyn UnitOfWork,
        owner: Owner,
        (access, anchor): (&Access, Anchor),
        only: Option<&str>,
        now: Timestamp,
    ) -> StoreResult<usize> {
        let is_asked = |key: &str| only.is_none_or(|only| only == key);
        let agreed = terms(owner, access, anchor, now).filter(|terms| is_asked(&terms.key));
        let agreed: Vec<_> = agreed.collect();
        // Also what was used under terms that no longer hold: before the window ended, or before a payment was missing.
        let mut others = unit.overages_of(owner, earlier(now, RECENT)).await?;
        let known = |other: &OverageAccount| {
            let same =
                |terms: &OverageAccount| terms.counter == other.counter && terms.window_start == other.window_start;
            agreed.iter().any(same)
        };
        others.retain(|other| is_asked(&other.key) && !known(other));
        let mut queued = 0;
        let all = others.iter().map(|other| (other, false));
        for (account, agrees) in all.chain(agreed.iter().map(|terms| (terms, true))) {
            queued += usize::from(self.report_of(unit, account, agrees).await?);
        }
        Ok(queued)
    }

    /// Queues a report of what one account has grown by. `true` if there was anything.
    async fn report_of(&self, unit: &mut dyn UnitOfWork, terms: &OverageAccount, agrees: bool) -> StoreResult<bool> {
        let stored = unit.lock_overage(terms).await?;
        let used = unit
            .counter_level(stored.owner, &stored.counter, stored.window_start)
            .await?;
        let mut account = stored.clone();
        if agrees {
            account.agree(terms, used);
        }
        let value = account.report(used);
        if account != stored {
            unit.put_overage(&account).await?;
        }
        if value == 0 {
            return Ok(false);
        }
        let report = Report {
            id: self.ids.uuid(),
            owner_kind: account.owner.kind,
            owner_id: account.owner.id,
            key: account.key,
            value,
        };
        self.webhooks.queue_errand(unit, REPORT, &report).await?;
        debug!(event = "overage.counted", user_id = %report.owner_id, key = %report.key, value, report_id = %report.id);
        Ok(true)
    }

    /// Who pays for an owner's subscription at a provider.
    async fn charged(&self, provider: &str, owner: Owner) -> StoreResult<Option<String>> {
        let mut reads = self.store.read().await?;
        let subscription = reads.subscription_of(owner).await?;
        let subscription = subscription.filter(|subscription| subscription.provider == provider);
        match subscription.and_then(|subscription| subscription.customer) {
            Some(customer) => Ok(Some(customer)),
            None => reads.customer_of(provider, owner).await,
        }
    }

    async fn report(&self, report: &Report) -> Result<(), MailError> {
        let later = |reason: String| MailError::Temporary(reason);
        let provider = self
            .provider
            .as_deref()
            .ok_or_else(|| later("no payment provider is configured".to_owned()))?;
        let owner = Owner {
            kind: report.owner_kind,
            id: report.owner_id,
        };
        let customer = self.charged(provider.name(), owner).await;
        let Some(customer) = customer.map_err(|e| later(e.to_string()))? else {
            let reason = format!("the account is no customer of `{}`", provider.name());
            return Err(MailError::Permanent(reason));
        };
        let usage = UsageReport {
            id: report.id.to_string(),
            customer,
            key: report.key.clone(),
            value: report.value,
            // With the period that runs: a bill that is written already takes nothing more.
            at: self.clock.now(),
        };
        // Also what is refused may be taken later, once the operator has published what is sold.
        provider.report_usage(&usage).await.map_err(|e| later(e.to_string()))?;
        info!(event = "overage.reported", user_id = %owner.id, key = %usage.key, value = usage.value, report_id = %usage.id);
        Ok(())
    }
}

/// What may be used beyond limits now, in which windows.
fn terms(
    owner: Owner,
    access: &Access,
    anchor: Anchor,
    now: Timestamp,
) -> impl Iterator<Item = OverageAccount> + use<'_> {
    access.plan.entitlements.iter().filter_map(move |entitlement| {
        let max = entitlement.overage()?.max;
        let (limit, window) = entitlement.metered()?;
        Some(OverageAccount {
            owner,
            counter: counter_of(&entitlement.key, window),
            window_start: window.at(now, anchor).start,
            key: entitlement.key.clone(),
            plan: access.plan.key.clone(),
            plan_version: access.plan.version,
            paid_from: limit?,
            max,
            reported: 0,
        })
    })
}

/// The counter of an entitlement, Anteroom's own or the operator's.
fn counter_of(key: &str, window: Window) -> String {
    Meter::parse(key).map_or_else(|| counter(key, window), |meter| meter.counter(window).to_owned())
}

#[async_trait]
impl Errand for Billing {
    async fn run(&self, topic: &str, payload: &str) -> Result<(), MailError> {
        if topic != REPORT {
            return Err(MailError::Permanent(format!("`{topic}` is no errand of billing")));
        }
        let report = serde_json::from_str(payload);
        let report = report.map_err(|_| MailError::Permanent("what was queued is no report".to_owned()))?;
        self.report(&report).await
    }

    // What was used is paid for, however long the provider is away.
    fn must_be_done(&self, topic: &str) -> bool {
        topic == REPORT
    }
}
