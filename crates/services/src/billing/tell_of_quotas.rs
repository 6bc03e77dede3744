//! Telling people by mail that a limit is used up, or most of it. Calls to models are not slowed down by it: who called is
//! looked up afterwards. The operator's own things are told of as they are used up.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{
    Access, Anchor, Entitlement, METER_CREDITS, NoticeKind, Owner, Window, WindowSpan, quota_notice,
};
use anteroom_ports::{Durability, ReadUnit, StoreResult, UnitOfWork};

use super::Billing;
use super::tell_subscribers::reader;
use super::use_entitlement::{counter, standing_of};
use crate::webhooks::BillingLetter;

/// The turn of the node that looks.
const TURN: &str = "billing.quota_notices";

/// How many owners are read at a time.
const PAGE: i64 = 200;

/// A limit that is used up, or most of it.
pub(super) struct Mark {
    kind: NoticeKind,
    key: String,
    window: Window,
    span: WindowSpan,
    used: i64,
    limit: i64,
    beyond: Option<i64>,
}

/// A limit in the window that counts.
pub(super) struct Limited {
    /// What is included; `None` is without limit.
    pub limit: Option<i64>,
    /// How much may be used beyond it, for money.
    pub beyond: Option<i64>,
    /// How long the window is.
    pub window: Window,
    /// The one that counts.
    pub span: WindowSpan,
}

impl Limited {
    /// A metered entitlement at `now`; `None` of another.
    pub fn of(entitlement: &Entitlement, now: Timestamp, anchor: Anchor) -> Option<Self> {
        let (limit, window) = entitlement.metered()?;
        Some(Self {
            limit,
            beyond: entitlement.overage().map(|overage| overage.max),
            window,
            span: window.at(now, anchor),
        })
    }
}

impl Mark {
    /// `None` if there is nothing to tell of.
    fn of(key: &str, used: i64, of: &Limited) -> Option<Self> {
        Some(Self {
            kind: quota_notice(used, of.limit)?,
            key: key.to_owned(),
            window: of.window,
            span: of.span,
            used,
            limit: of.limit?,
            beyond: of.beyond,
        })
    }

    /// Once for each window, whatever becomes of the limit meanwhile.
    fn reference(&self) -> String {
        format!("{} {} {}", self.key, self.window.as_str(), self.span.start)
    }
}

impl Billing {
    /// Looks at everybody who called since the last look: a job. One node of all does it. Answers how many mails were queued.
    pub async fn tell_of_quotas(&self) -> StoreResult<usize> {
        if !self.tells_of_quotas() {
            return Ok(0);
        }
        match self.take_look(TURN).await? {
            Some(since) => self.tell_of_quotas_since(since).await,
            None => Ok(0),
        }
    }

    /// Looks at everybody of whom a call was booked since then.
    pub async fn tell_of_quotas_since(&self, since: Timestamp) -> StoreResult<usize> {
        if !self.tells_of_quotas() {
            return Ok(0);
        }
        let (mut told, mut last) = (0, None);
        loop {
            let page = self.store.read().await?.page_owners_booked(since, last, PAGE).await?;
            for owner in &page {
                told += self.look_at_quotas(*owner).await?;
            }
            last = page.last().copied();
            if last.is_none() {
                return Ok(told);
            }
        }
    }

    fn tells_of_quotas(&self) -> bool {
        self.webhooks.sends_mail() && !self.options.notices.quota_windows.is_empty()
    }

    async fn look_at_quotas(&self, owner: Owner) -> StoreResult<usize> {
        let now = self.clock.now();
        let mut reads = self.store.read().await?;
        let Some(user) = reader(&mut *reads, owner).await? else {
            return Ok(0);
        };
        let holdings = reads.holdings_of(owner, now).await?;
        let access = self.access_at(&holdings, now);
        let marks = self
            .marks(&mut *reads, owner, &access, access.anchor(user.created_at), now)
            .await?;
        drop(reads);
        if marks.is_empty() {
            return Ok(0);
        }
        let mut unit = self.store.begin(Durability::Full).await?;
        let told = self.tell_of_marks(&mut *unit, owner, &marks, now).await?;
        if told > 0 {
            unit.commit().await?;
        }
        Ok(told)
    }

    /// The limits of which there is something to tell that was not told yet. What runs does not count: it may use less than
    /// is held for it.
    async fn marks<R: ReadUnit + ?Sized>(
        &self,
        reads: &mut R,
        owner: Owner,
        access: &Access,
        anchor: Anchor,
        now: Timestamp,
    ) -> StoreResult<Vec<Mark>> {
        let mut marks = Vec::new();
        for entitlement in &access.plan.entitlements {
            let limited = Limited::of(entitlement, now, anchor);
            let Some(limited) = limited.filter(|it| it.limit.is_some() && self.tells_of(it.window)) else {
                continue;
            };
            let used = match access.plan.credits(now, anchor) {
                Some(included) if entitlement.key == METER_CREDITS => {
                    let account = reads.credit_account(owner).await?;
                    account.included_spent(included).whole_down()
                }
                _ => {
                    standing_of(reads, owner, &entitlement.key, limited.window, limited.span.start)
                        .await?
                        .used
                }
            };
            if let Some(mark) = Mark::of(&entitlement.key, used, &limited)
                && !reads.knows_notice(owner, mark.kind, &mark.reference()).await?
            {
                marks.push(mark);
            }
        }
        Ok(marks)
    }

    fn tells_of(&self, window: Window) -> bool {
        self.options.notices.quota_windows.contains(&window)
    }

    /// Something of the operator's own was used up, in these windows with these limits: tells of it in the same unit of work.
    pub(super) async fn tell_of_use(
        &self,
        unit: &mut dyn UnitOfWork,
        owner: Owner,
        key: &str,
        windows: &[Limited],
        now: Timestamp,
    ) -> StoreResult<()> {
        if !self.tells_of_quotas() {
            return Ok(());
        }
        let mut marks = Vec::new();
        for limited in windows {
            if limited.limit.is_none() || !self.tells_of(limited.window) {
                continue;
            }
            let counter = counter(key, limited.window);
            let used = unit.counter_level(owner, &counter, limited.span.start).await?;
            if let Some(mark) = Mark::of(key, used, limited)
                && !unit.knows_notice(owner, mark.kind, &mark.reference()).await?
            {
                marks.push(mark);
            }
        }
        self.tell_of_marks(unit, owner, &marks, now).await.map(|_| ())
    }

    async fn tell_of_marks(
        &self,
        unit: &mut dyn UnitOfWork,
        owner: Owner,
        marks: &[Mark],
        now: Timestamp,
    ) -> StoreResult<usize> {
        let mut told = 0;
        for mark in marks {
            let all = mark.kind == NoticeKind::QuotaUsedUp;
            let letter = BillingLetter::QuotaUsed {
                what: &mark.key,
                all,
                used: mark.used,
                limit: mark.limit,
                beyond: mark.beyond,
                window: mark.window,
                // An unpaid renewal opens no window; then nobody knows when the next one begins.
                resets_at: (mark.span.end > now).then_some(mark.span.end),
            };
            let reference = mark.reference();
            if !self.notify(unit, owner, mark.kind, &reference, letter).await? {
                continue;
            }
            told += 1;
            // After all of it most of it is no news, also where the limit has risen meanwhile.
            if all {
                unit.insert_notice(owner, NoticeKind::QuotaNear, &reference, now)
                    .await?;
            }
        }
        Ok(told)
    }
}
