//! Telling people by mail that a limit is used up, or most of it. Calls to models are not slowed down by it: who called is
//! looked up afterwards. The operator's own things are told of as they are used up.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Access, Anchor, METER_CREDITS, NoticeKind, Owner, Window, WindowSpan, quota_notice};
use anteroom_ports::{Durability, ReadUnit, StoreResult, UnitOfWork};
use jiff::SignedDuration;

use super::Billing;
use super::tell_subscribers::reader;
use super::use_entitlement::{counter, standing_of};
use crate::webhooks::BillingLetter;
use crate::{earlier, later};

/// The turn of the node that looks.
const TURN: &str = "billing.quota_notices";

/// How often one node of all looks, at most; the job runs a little less often.
const EVERY: SignedDuration = SignedDuration::from_secs(45);

/// How far before the last look this one begins: clocks of nodes differ, bookings are written after their time, and a look
/// may have failed. Who is looked at twice is not told twice.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

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
}

impl Mark {
    /// `None` if there is nothing to tell of.
    fn of(key: &str, (used, limit): (i64, Option<i64>), window: Window, span: WindowSpan) -> Option<Self> {
        Some(Self {
            kind: quota_notice(used, limit)?,
            key: key.to_owned(),
            window,
            span,
            used,
            limit: limit?,
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
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let last = unit.kept_deployment_value(TURN).await?;
        if !unit.take_turn(TURN, now, later(now, EVERY)).await? {
            return Ok(0);
        }
        unit.commit().await?;
        // A turn is kept as its end.
        let last = last.and_then(|until| until.parse::<Timestamp>().ok());
        let since = last.map_or(now, |until| earlier(until, EVERY).min(now));
        self.tell_of_quotas_since(earlier(since, OVERLAP)).await
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
            let metered = entitlement.metered().filter(|(_, window)| self.tells_of(*window));
            let Some((limit @ Some(_), window)) = metered else {
                continue;
            };
            let span = window.at(now, anchor);
            let used = match access.plan.credits(now, anchor) {
                Some(included) if entitlement.key == METER_CREDITS => {
                    let account = reads.credit_account(owner).await?;
                    account.included_spent(included).whole_down()
                }
                _ => {
                    standing_of(reads, owner, &entitlement.key, window, span.start)
                        .await?
                        .used
                }
            };
            if let Some(mark) = Mark::of(&entitlement.key, (used, limit), window, span)
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
        windows: &[(Option<i64>, Window, WindowSpan)],
        now: Timestamp,
    ) -> StoreResult<()> {
        if !self.tells_of_quotas() {
            return Ok(());
        }
        let mut marks = Vec::new();
        for &(limit, window, span) in windows {
            if limit.is_none() || !self.tells_of(window) {
                continue;
            }
            let used = unit.counter_level(owner, &counter(key, window), span.start).await?;
            if let Some(mark) = Mark::of(key, (used, limit), window, span)
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
