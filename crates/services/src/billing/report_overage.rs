//! What is used beyond a plan's limits, for money, is reported to the payment provider: once, through the outbox, and never
//! on the way of a call. Calls to models are looked at afterwards; the operator's own things are counted as they are used up.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use anteroom_domain::billing::{
    Access, Anchor, Catalogue, Entitlement, Grant, Meter, OverageAccount, Override, Owner, OwnerKind, Subscription,
    Window,
};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::billing::UsageReport;
use anteroom_ports::{Durability, MailError, StoreError, StoreResult, UnitOfWork};
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
pub(super) struct Report {
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
                match self.look_at_overage(*owner).await {
                    Ok(reports) => queued += reports,
                    // A store that is away is asked again in a minute; one account that cannot be read keeps nobody waiting.
                    Err(e @ StoreError::Unavailable { .. }) => return Err(e),
                    Err(e) => error!(event = "overage.look.failed", user_id = %owner.id, reason = %e),
                }
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

    /// What somebody holds now, and what their months are counted from; `None` where nothing is sold beyond limits, or there
    /// is nobody.
    async fn holds_now(&self, unit: &mut dyn UnitOfWork, owner: Owner) -> StoreResult<Option<(Access, Anchor)>> {
        if !self.sells_overage() || owner.kind != OwnerKind::Account {
            return Ok(None);
        }
        let Some(user) = unit.user(UserId(owner.id)).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        let access = self.access_at(&unit.holdings_of(owner, now).await?, now);
        let anchor = access.anchor(user.created_at);
        Ok(Some((access, anchor)))
    }

    /// A subscription is about to change: what was used till now is accounted for by the terms that held till now. Answers
    /// what was queued.
    async fn account_till_now(&self, unit: &mut dyn UnitOfWork, owner: Owner) -> StoreResult<Vec<Report>> {
        match self.holds_now(unit, owner).await? {
            Some((access, anchor)) => {
                let now = self.clock.now();
                self.account_for_overage(unit, owner, (&access, anchor), None, now)
                    .await
            }
            None => Ok(Vec::new()),
        }
    }

    /// Writes a subscription down between what was used by the terms that held till now, and what is going to be used by
    /// new ones: what was used before is not paid for by those.
    pub(super) async fn put_accounted(&self, unit: &mut dyn UnitOfWork, next: &Subscription) -> StoreResult<()> {
        self.account_till_now(unit, next.owner).await?;
        // Also where nothing changed: whoever began to look before is not to write an older state over this one.
        unit.put_subscription(next).await?;
        let Some((access, anchor)) = self.holds_now(unit, next.owner).await? else {
            return Ok(());
        };
        let agreed: Vec<_> = terms(next.owner, &access, anchor, self.clock.now()).collect();
        for mut terms in agreed {
            let known = unit.overages_of(next.owner, terms.window_start).await?;
            if known.iter().any(|known| same_window(known, &terms)) {
                continue;
            }
            let used = unit
                .counter_level(terms.owner, &terms.counter, terms.window_start)
                .await?;
            terms.paid_from = terms.paid_from.max(used);
            unit.lock_overage(&terms).await?;
        }
        Ok(())
    }

    /// Reports at once what was used till now, before something that bills it. What the provider does not take waits in the
    /// outbox, as ever.
    pub(super) async fn settle_overage(&self, owner: Owner) -> StoreResult<()> {
        if !self.sells_overage() {
            return Ok(());
        }
        let mut unit = self.store.begin(Durability::Full).await?;
        let reports = self.account_till_now(&mut *unit, owner).await?;
        unit.commit().await?;
        for report in &reports {
            // The outbox has it too, with the same identifier: it counts once.
            if let Err(e) = self.report(report).await {
                warn!(event = "overage.report.deferred", user_id = %owner.id, report_id = %report.id, reason = %e);
            }
        }
        Ok(())
    }

    async fn look_at_overage(&self, owner: Owner) -> StoreResult<usize> {
        let now = self.clock.now();
        let mut reads = self.store.read().await?;
        // Most have nothing that could be due; for them nothing is locked.
        let sold = self
            .access_at(&reads.holdings_of(owner, now).await?, now)
            .plan
            .has_overage();
        if !sold && reads.overages_of(owner, earlier(now, RECENT)).await?.is_empty() {
            return Ok(0);
        }
        drop(reads);
        let mut unit = self.store.begin(Durability::Full).await?;
        let queued = self.account_till_now(&mut *unit, owner).await?;
        unit.commit().await?;
        Ok(queued.len())
    }

    /// Brings the terms of what is used beyond limits up to date and queues a report of what was used since the last one,
    /// of one key or of all. Answers what was queued.
    pub(super) async fn account_for_overage(
        &self,
        unit: &mut dyn UnitOfWork,
        owner: Owner,
        (access, anchor): (&Access, Anchor),
        only: Option<&str>,
        now: Timestamp,
    ) -> StoreResult<Vec<Report>> {
        let is_asked = |key: &str| only.is_none_or(|only| only == key);
        let agreed = terms(owner, access, anchor, now).filter(|terms| is_asked(&terms.key));
        let agreed: Vec<_> = agreed.collect();
        // Also what was used under terms that no longer hold: before the window ended, or before a payment was missing.
        let mut others = unit.overages_of(owner, earlier(now, RECENT)).await?;
        let known = |other: &OverageAccount| agreed.iter().any(|terms| same_window(terms, other));
        others.retain(|other| is_asked(&other.key) && !known(other));
        if agreed.is_empty() && others.is_empty() {
            return Ok(Vec::new());
        }
        let grants = unit.overrides_of(owner).await?;
        let free = |account: &OverageAccount| {
            let granted = free_by_grants(account, &grants, self.catalogue(), access.seats);
            free_by_plan(account, access, anchor, now).max(granted)
        };
        let others = others.into_iter().map(|account| (account, false));
        let agreed = agreed.into_iter().map(|terms| (terms, true));
        let mut all: Vec<_> = others.chain(agreed).collect();
        // Whoever locks several locks them in one order.
        all.sort_by(|(one, _), (other, _)| {
            let key = |it: &OverageAccount| (it.window_start, it.counter.clone());
            key(one).cmp(&key(other))
        });
        let mut queued = Vec::new();
        for (account, agrees) in &all {
            let report = self.report_of(unit, account, *agrees, free(account)).await?;
            queued.extend(report);
        }
        Ok(queued)
    }

    /// Queues a report of what one account has grown by, if by anything. Its terms may no longer hold (`agrees`); of what was
    /// used till now so much is `free`.
    async fn report_of(
        &self,
        unit: &mut dyn UnitOfWork,
        terms: &OverageAccount,
        agrees: bool,
        free: i64,
    ) -> StoreResult<Option<Report>> {
        let stored = unit.lock_overage(terms).await?;
        let used = unit
            .counter_level(stored.owner, &stored.counter, stored.window_start)
            .await?;
        let mut account = stored.clone();
        if agrees {
            account.agree(terms, used);
        }
        account.free_until(free.min(used));
        let value = account.report(used);
        if account != stored {
            unit.put_overage(&account).await?;
        }
        if value == 0 {
            return Ok(None);
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
        Ok(Some(report))
    }

    /// Who pays at a provider for the subscription by which an owner has what they have; without one, whoever they are there.
    async fn charged(&self, provider: &str, owner: Owner) -> StoreResult<Option<String>> {
        let now = self.clock.now();
        let mut reads = self.store.read().await?;
        let holdings = reads.holdings_of(owner, now).await?;
        let plan = self.access_at(&holdings, now).plan;
        let here = holdings.subscription.iter().chain(&holdings.others);
        let here: Vec<_> = here.filter(|it| it.provider == provider && it.live()).collect();
        let counts = here.iter().find(|it| it.plan == plan.key).or(here.first());
        match counts.and_then(|subscription| subscription.customer.clone()) {
            Some(customer) => Ok(Some(customer)),
            None => reads.customer_of(provider, owner).await,
        }
    }

    /// Whether an account is there that could still become a customer.
    async fn is_somebody(&self, owner: Owner) -> StoreResult<bool> {
        Ok(self.store.read().await?.user(UserId(owner.id)).await?.is_some())
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
            // Nodes that are being replaced may have another provider than the one that sold it.
            return match self.is_somebody(owner).await {
                Ok(false) => Err(MailError::Permanent(reason)),
                _ => Err(later(reason)),
            };
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

/// Up to how much is free by what was granted beside the plan at any time in the account's window, whether it still is or not:
/// a grant that ends makes nothing dear that was used while it held.
fn free_by_grants(
    account: &OverageAccount,
    grants: &[(Override, Option<Timestamp>)],
    catalogue: &Catalogue,
    seats: i64,
) -> i64 {
    let of = |entitlement: &Entitlement| match entitlement.metered() {
        Some((limit, Window::Month)) if entitlement.key == account.key => Some(limit.unwrap_or(i64::MAX)),
        _ => None,
    };
    let held = grants.iter().filter(|(granted, taken_back)| {
        let end = granted.expires_at.into_iter().chain(*taken_back).min();
        end.is_none_or(|end| end > account.window_start)
    });
    let free = held.filter_map(|(granted, _)| match &granted.grant {
        Grant::Entitlement(entitlement) => of(entitlement),
        Grant::Plan(key) => {
            let plan = catalogue.plan(key)?;
            let seats = plan.seats.map_or(1, |rule| rule.min.max(seats));
            let seated = plan.for_seats(seats);
            seated.as_ref().unwrap_or(plan).entitlements.iter().find_map(of)
        }
    });
    free.max().unwrap_or(0)
}

/// Up to how much is free in the account's window by what is in force now, whatever was sold before.
fn free_by_plan(account: &OverageAccount, access: &Access, anchor: Anchor, now: Timestamp) -> i64 {
    let granted = access.plan.entitlements.iter().filter_map(|entitlement| {
        let (limit, window) = entitlement.metered()?;
        let same = counter_of(&entitlement.key, window) == account.counter
            && window.at(now, anchor).start == account.window_start;
        same.then(|| limit.unwrap_or(i64::MAX))
    });
    granted.max().unwrap_or(0)
}

fn same_window(one: &OverageAccount, other: &OverageAccount) -> bool {
    one.counter == other.counter && one.window_start == other.window_start
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
