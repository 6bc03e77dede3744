//! Credits: one allowance for models cheap and dear. What a call costs is taken from what was granted, in the order in
//! which it would be lost, and every movement is a line of a ledger that is only ever added to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NanoUsd, Owner, QuotaKey, WindowSpan};
use crate::CreditGrantId;

/// The meter of an owner's credits: what was ever spent of them, and what calls that run hold.
pub const METER_CREDITS: &str = "credits";

/// Millionths of a credit, so that a token of the cheapest model is still counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credits(pub i64);

impl Credits {
    /// None.
    pub const ZERO: Self = Self(0);
    /// How many millionths a credit has.
    pub const ONE: i64 = 1_000_000;
    /// The most there may be of them at once, so that no sum ever runs over: a billion credits.
    pub const MOST: Self = Self(1_000_000_000 * Self::ONE);

    /// So many whole ones; it saturates.
    pub fn whole(credits: i64) -> Self {
        Self(credits.saturating_mul(Self::ONE))
    }

    /// From a number with at most six digits behind the point; `None` of one that is not a number, has more of them, or is
    /// more than [`Credits::MOST`].
    #[expect(clippy::cast_possible_truncation, reason = "it has been compared with the most")]
    #[expect(clippy::cast_precision_loss, reason = "the most has fewer digits than a float keeps")]
    pub fn from_number(credits: f64) -> Option<Self> {
        let millionths = credits * Self::ONE as f64;
        let whole = millionths.round();
        let exact = (millionths - whole).abs() < 1e-3;
        (exact && whole.abs() <= Self::MOST.0 as f64).then_some(Self(whole as i64))
    }

    /// In credits, for people to read.
    #[expect(clippy::cast_precision_loss, reason = "beyond nine billion credits it is rounded")]
    pub fn number(self) -> f64 {
        self.0 as f64 / Self::ONE as f64
    }

    /// In whole credits, rounded down.
    pub fn whole_down(self) -> i64 {
        self.0.div_euclid(Self::ONE)
    }

    /// In whole credits, rounded up.
    pub fn whole_up(self) -> i64 {
        -(-self.0).div_euclid(Self::ONE)
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Credits {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Self::plus)
    }
}

/// What a credit is worth: how the price of a model weighs in credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditRate {
    /// The price of calls that one credit pays for; more than zero.
    pub usd_per_credit: NanoUsd,
}

impl CreditRate {
    /// The credits that something of this price takes, rounded up to a millionth.
    pub fn of(self, price: NanoUsd) -> Credits {
        let worth = i128::from(self.usd_per_credit.0.max(1));
        let millionths = (i128::from(price.0.max(0)) * i128::from(Credits::ONE) + worth - 1) / worth;
        Credits(i64::try_from(millionths).unwrap_or(i64::MAX))
    }
}

/// Where credits came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CreditSource {
    /// Left over from the window before.
    Rollover,
    /// The plan includes them.
    Plan,
    /// The operator granted them.
    Admin,
    /// They were bought.
    Purchase,
}

impl CreditSource {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rollover, Self::Plan, Self::Admin, Self::Purchase];

    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollover => "rollover",
            Self::Plan => "plan",
            Self::Admin => "admin",
            Self::Purchase => "purchase",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }

    /// When they are taken, unless the grant says otherwise: lower ones first, so that what would be lost soonest is, and
    /// what was paid for is kept longest.
    pub fn priority(self) -> i32 {
        match self {
            Self::Rollover => 10,
            Self::Plan => 20,
            Self::Admin => 30,
            Self::Purchase => 40,
        }
    }
}

/// Credits that were granted at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditGrant {
    /// Identifier.
    pub id: CreditGrantId,
    /// Whose.
    pub owner: Owner,
    /// Where they came from.
    pub source: CreditSource,
    /// What makes the grant known again among those of its owner and source: the window that the plan includes them in,
    /// the purchase, the request.
    pub reference: String,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// How many, without those that were taken back.
    pub amount: Credits,
    /// How many of them were taken.
    pub spent: Credits,
    /// How many were taken back beside `amount` because their price was paid back.
    pub refunded: Credits,
    /// Lower ones are taken first.
    pub priority: i32,
    /// When.
    pub created_at: Timestamp,
    /// From when on nothing is taken from it; `None`: it lasts.
    pub expires_at: Option<Timestamp>,
    /// When nothing was left of it any more: it was spent, written off or taken back.
    pub closed_at: Option<Timestamp>,
}

impl CreditGrant {
    /// How many are left that were not written off.
    pub fn left(&self) -> Credits {
        match self.closed_at {
            Some(_) => Credits::ZERO,
            None => self.amount.minus(self.spent),
        }
    }

    /// Whether they can be taken at a moment.
    pub fn live(&self, at: Timestamp) -> bool {
        self.closed_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }

    fn order(&self) -> (i32, Timestamp, Timestamp, CreditGrantId) {
        let end = self.expires_at.unwrap_or(Timestamp::MAX);
        (self.priority, end, self.created_at, self.id)
    }
}

/// What a line of the ledger tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditEntryKind {
    /// Credits came.
    Grant,
    /// Something took them.
    Spend,
    /// What was left of a grant at its end was written off.
    Expire,
    /// What was left of a grant was taken back.
    Revoke,
    /// What had been taken beyond what there was is paid from a later grant. There are two lines of it, which come to
    /// nothing: one for the grant, one for what was owed.
    Repay,
}

impl CreditEntryKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Grant, Self::Spend, Self::Expire, Self::Revoke, Self::Repay];

    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Spend => "spend",
            Self::Expire => "expire",
            Self::Revoke => "revoke",
            Self::Repay => "repay",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A line of an owner's ledger. Lines are only ever added, and the sum of all amounts is the balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditEntry {
    /// Its number among the owner's, from 1, without a gap.
    pub seq: i64,
    /// What it tells.
    pub kind: CreditEntryKind,
    /// What came (above zero) or went.
    pub amount: Credits,
    /// The balance after it.
    pub balance: Credits,
    /// Of which grant; `None`: taken beyond what there was.
    pub grant: Option<CreditGrantId>,
    /// For what: the call, the request, the grant's own reference.
    pub reference: String,
    /// When.
    pub at: Timestamp,
}

/// What a plan includes of credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncludedCredits {
    /// So many in each window.
    pub amount: Credits,
    /// At most so many of a window are carried into the next.
    pub rollover: Credits,
    /// The window that runs.
    pub span: WindowSpan,
}

/// An owner's credits: what is left of each grant that was not closed, and what is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditAccount {
    /// Whose.
    pub owner: Owner,
    /// The open grants, in the order in which they are taken.
    grants: Vec<CreditGrant>,
    /// What was taken beyond what there was: a call may use more than anybody thought.
    pub owed: Credits,
    /// How many lines the ledger has.
    pub lines: i64,
    /// What the counter of [`METER_CREDITS`] says was ever spent.
    pub spent: Credits,
    /// What calls that run hold.
    pub held: Credits,
    added: Vec<CreditEntry>,
    touched: BTreeSet<CreditGrantId>,
}

impl CreditAccount {
    /// An account as it is stored.
    pub fn stored(owner: Owner, mut grants: Vec<CreditGrant>, owed: Credits, lines: i64) -> Self {
        grants.sort_by_key(CreditGrant::order);
        Self {
            owner,
            grants,
            owed,
            lines,
            spent: Credits::ZERO,
            held: Credits::ZERO,
            added: Vec::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Whose counter calls hold credits on. It has one window, for ever.
    pub fn counter(owner: Owner) -> QuotaKey {
        QuotaKey {
            owner,
            meter: METER_CREDITS,
            window_start: Timestamp::UNIX_EPOCH,
        }
    }

    /// The open grants, in the order in which they are taken.
    pub fn grants(&self) -> impl Iterator<Item = &CreditGrant> {
        self.grants.iter().filter(|grant| grant.closed_at.is_none())
    }

    /// The sum of all lines: what is left of open grants, whether or not they are over, less what is owed.
    pub fn balance(&self) -> Credits {
        self.grants().map(CreditGrant::left).sum::<Credits>().minus(self.owed)
    }

    /// What could be spent, calls that run included; below zero where more was taken than there was.
    pub fn unspent(&self, now: Timestamp) -> Credits {
        let live = self.grants().filter(|grant| grant.live(now));
        live.map(CreditGrant::left).sum::<Credits>().minus(self.owed)
    }

    /// What can be spent, beside what calls that run hold; not below zero.
    pub fn available(&self, now: Timestamp) -> Credits {
        self.unspent(now).minus(self.held).max(Credits::ZERO)
    }

    /// What was taken of what the plan includes in this window.
    pub fn included_spent(&self, included: IncludedCredits) -> Credits {
        let reference = included.span.start.to_string();
        let mut of_plan = self.grants().filter(|grant| grant.source == CreditSource::Plan);
        let grant = of_plan.find(|grant| grant.reference == reference);
        grant.map_or(Credits::ZERO, |grant| grant.spent)
    }

    /// The most that the counter may come to: with it, holding credits is a hold like any other.
    pub fn limit(&self, now: Timestamp) -> Credits {
        self.spent.plus(self.unspent(now))
    }

    /// The lines that were added since the account was read.
    pub fn added(&self) -> &[CreditEntry] {
        &self.added
    }

    /// The grants that came or changed since the account was read.
    pub fn changed(&self) -> impl Iterator<Item = &CreditGrant> {
        self.grants.iter().filter(|grant| self.touched.contains(&grant.id))
    }

    /// Grants credits. What is owed is paid from them first.
    pub fn grant(&mut self, grant: CreditGrant) {
        let (id, at) = (grant.id, grant.created_at);
        let (amount, reference) = (grant.amount, grant.reference.clone());
        self.grants.push(grant);
        self.grants.sort_by_key(CreditGrant::order);
        self.note(CreditEntryKind::Grant, amount, Some(id), &reference, at);
        self.repay(id, amount, &reference, at);
    }

    fn repay(&mut self, id: CreditGrantId, most: Credits, reference: &str, at: Timestamp) {
        let due = self.owed.min(most);
        if due > Credits::ZERO {
            self.take(id, due, at);
            self.note(CreditEntryKind::Repay, Credits(-due.0), Some(id), reference, at);
            self.owed = self.owed.minus(due);
            self.note(CreditEntryKind::Repay, due, None, reference, at);
        }
    }

    /// Takes credits for something that began at `began`, from what could be taken then. What is missing is owed.
    pub fn spend(&mut self, amount: Credits, began: Timestamp, reference: &str, at: Timestamp) {
        let mut missing = amount.max(Credits::ZERO);
        let live = self.grants.iter().filter(|grant| grant.live(began));
        let plan: Vec<(CreditGrantId, Credits)> = live.map(|grant| (grant.id, grant.left())).collect();
        for (id, left) in plan {
            let part = left.min(missing);
            if part > Credits::ZERO {
                self.take(id, part, at);
                missing = missing.minus(part);
                self.note(CreditEntryKind::Spend, Credits(-part.0), Some(id), reference, at);
            }
        }
        if missing > Credits::ZERO {
            self.owed = self.owed.plus(missing);
            self.note(CreditEntryKind::Spend, Credits(-missing.0), None, reference, at);
        }
    }

    /// Writes off what is left of grants that ended before `before`.
    pub fn expire(&mut self, before: Timestamp, at: Timestamp) {
        let over = |grant: &&CreditGrant| grant.expires_at.is_some_and(|end| end <= before);
        let over: Vec<CreditGrantId> = self.grants().filter(over).map(|grant| grant.id).collect();
        for id in over {
            self.close(id, CreditEntryKind::Expire, at);
        }
    }

    /// Takes back at most so much of what is left of a grant. Answers how much that was; `None` if no grant of this name
    /// is open.
    pub fn revoke(&mut self, id: CreditGrantId, most: Credits, at: Timestamp) -> Option<Credits> {
        let grant = self.grants.iter_mut().find(|grant| grant.id == id);
        let grant = grant.filter(|grant| grant.closed_at.is_none())?;
        let part = grant.left().min(most);
        grant.amount = grant.amount.minus(part);
        if grant.left() == Credits::ZERO {
            grant.closed_at = Some(at);
            self.touched.insert(id);
        }
        let reference = grant.reference.clone();
        if part > Credits::ZERO {
            self.note(CreditEntryKind::Revoke, Credits(-part.0), Some(id), &reference, at);
        }
        Some(part)
    }

    /// Brings a grant in line with what was paid back of its price: so many credits belong to that. What is left of them is
    /// taken back; what was taken back before and was not paid back after all is there again. Answers how many went
    /// (below zero: came).
    pub fn refund(&mut self, grant: &CreditGrant, due: Credits, at: Timestamp) -> Credits {
        let more = due.minus(grant.refunded);
        let moved = if more >= Credits::ZERO {
            self.revoke(grant.id, more, at).unwrap_or_default()
        } else {
            let again = CreditGrant {
                amount: grant.amount.minus(more),
                spent: grant.spent,
                ..grant.clone()
            };
            self.grants.retain(|open| open.id != grant.id);
            self.grants.push(CreditGrant {
                closed_at: None,
                ..again
            });
            self.grants.sort_by_key(CreditGrant::order);
            self.note(
                CreditEntryKind::Grant,
                Credits(-more.0),
                Some(grant.id),
                &grant.reference,
                at,
            );
            self.repay(grant.id, Credits(-more.0), &grant.reference, at);
            more
        };
        if let Some(grant) = self.grants.iter_mut().find(|it| it.id == grant.id) {
            grant.refunded = grant.refunded.plus(moved);
        }
        moved
    }

    /// Whether the window's credits are there, as the plan includes them; or those of a later window, of which a node
    /// knows whose clock is ahead.
    pub fn opened(&self, included: IncludedCredits) -> bool {
        let reference = included.span.start.to_string();
        let later = |grant: &CreditGrant| {
            let start = grant.reference.parse::<Timestamp>();
            start.is_ok_and(|start| start >= included.span.end)
        };
        let there =
            |grant: &CreditGrant| (grant.reference == reference && grant.amount >= included.amount) || later(grant);
        let mut of_plan = self
            .grants()
            .filter(|grant| grant.source == CreditSource::Plan)
            .map(there);
        match of_plan.next() {
            Some(first) => first && of_plan.all(|there| there),
            None => included.amount == Credits::ZERO,
        }
    }

    /// Opens a plan's window: what it includes is there, what was left of another window is carried over as far as the plan
    /// says, if that window has ended by itself, and the rest is written off. In a window that is open, a better plan lifts
    /// what is included. `ids` are for what may have to be granted: included and carried. `known` is what was granted for
    /// this very window and closed since, by a plan that came between: what was left of that is there again.
    pub fn open_window(
        &mut self,
        included: IncludedCredits,
        known: Vec<CreditGrant>,
        ids: [CreditGrantId; 2],
        now: Timestamp,
    ) {
        let reference = included.span.start.to_string();
        let [plan_id, carried_id] = ids;
        let of_window = |grant: &CreditGrant| matches!(grant.source, CreditSource::Plan | CreditSource::Rollover);
        let before: Vec<CreditGrant> = self
            .grants()
            .filter(|grant| of_window(grant) && grant.reference != reference)
            .cloned()
            .collect();
        // A window that was cut short, by a change of plans, leaves nothing.
        let ended = |grant: &&CreditGrant| grant.expires_at.is_some_and(|end| end <= now);
        let left: Credits = before.iter().filter(ended).map(CreditGrant::left).sum();
        for grant in &before {
            self.close(grant.id, CreditEntryKind::Expire, now);
        }
        let owner = self.owner;
        let granted = |id, source: CreditSource, amount| CreditGrant {
            id,
            owner,
            source,
            reference: reference.clone(),
            reason: None,
            amount,
            spent: Credits::ZERO,
            refunded: Credits::ZERO,
            priority: source.priority(),
            created_at: now,
            expires_at: Some(included.span.end),
            closed_at: None,
        };
        let mut carried = left.min(included.rollover);
        for grant in known {
            if grant.source == CreditSource::Rollover {
                carried = Credits::ZERO;
            }
            self.reopen(grant, now);
        }
        let carried = (carried > Credits::ZERO).then(|| granted(carried_id, CreditSource::Rollover, carried));
        let standing = self.grants().find(|grant| grant.source == CreditSource::Plan);
        match standing.map(|grant| (grant.id, grant.amount)) {
            Some((id, amount)) if amount < included.amount => {
                let more = included.amount.minus(amount);
                if let Some(grant) = self.grants.iter_mut().find(|grant| grant.id == id) {
                    grant.amount = included.amount;
                }
                self.note(CreditEntryKind::Grant, more, Some(id), &reference, now);
                self.repay(id, more, &reference, now);
            }
            None if included.amount > Credits::ZERO => {
                let plan = granted(plan_id, CreditSource::Plan, included.amount);
                self.grant(plan);
            }
            _ => {}
        }
        if let Some(carried) = carried {
            self.grant(carried);
        }
    }

    /// Has a closed grant open again, with what was left of it.
    fn reopen(&mut self, grant: CreditGrant, at: Timestamp) {
        let grant = CreditGrant {
            closed_at: None,
            ..grant
        };
        let (id, left, reference) = (grant.id, grant.left(), grant.reference.clone());
        if self.grants().any(|open| open.id == id) {
            return;
        }
        self.grants.push(grant);
        self.grants.sort_by_key(CreditGrant::order);
        self.touched.insert(id);
        if left > Credits::ZERO {
            self.note(CreditEntryKind::Grant, left, Some(id), &reference, at);
            self.repay(id, left, &reference, at);
        }
    }

    fn take(&mut self, id: CreditGrantId, amount: Credits, at: Timestamp) {
        let Some(grant) = self.grants.iter_mut().find(|grant| grant.id == id) else {
            return;
        };
        grant.spent = grant.spent.plus(amount);
        // What a window includes may be lifted as long as the window lasts.
        let of_window = matches!(grant.source, CreditSource::Plan | CreditSource::Rollover);
        if grant.left() == Credits::ZERO && !of_window {
            grant.closed_at = Some(at);
        }
    }

    fn close(&mut self, id: CreditGrantId, kind: CreditEntryKind, at: Timestamp) {
        let Some(grant) = self.grants.iter_mut().find(|grant| grant.id == id) else {
            return;
        };
        let (left, reference) = (grant.left(), grant.reference.clone());
        grant.closed_at = Some(at);
        self.touched.insert(id);
        if left > Credits::ZERO {
            self.note(kind, Credits(-left.0), Some(id), &reference, at);
        }
    }

    /// Adds a line, after what it tells of has been done.
    fn note(
        &mut self,
        kind: CreditEntryKind,
        amount: Credits,
        grant: Option<CreditGrantId>,
        reference: &str,
        at: Timestamp,
    ) {
        self.touched.extend(grant);
        self.lines += 1;
        let before = self.added.last().map(|line| line.balance);
        let line = CreditEntry {
            seq: self.lines,
            kind,
            amount,
            balance: before.map_or_else(|| self.balance(), |before| before.plus(amount)),
            grant,
            reference: reference.to_owned(),
            at,
        };
        self.added.push(line);
    }
}

#[cfg(test)]
mod tests;
