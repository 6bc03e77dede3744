//! Holding and taking credits within a unit of work. Whoever moves an owner's credits has locked their account first, so
//! that what is read of it holds until the commit; counters of quota are locked after it.

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{Access, CreditAccount, CreditGrant, CreditSource, Credits, IncludedCredits, Owner};
use anteroom_domain::{CreditGrantId, ReservationId, Timestamp};
use anteroom_ports::billing::{Reservation, Reserved, Settlement};
use anteroom_ports::{StoreError, StoreResult, UnitOfWork};

use super::Billing;

/// Quota to hold for a call that may be paid with credits.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What is to be held. A hold of credits has no limit yet.
    pub(crate) reservation: Reservation,
    /// What the plan includes of them, where the call takes credits.
    pub(crate) credits: Option<IncludedCredits>,
}

/// Credits that a call took.
#[derive(Debug, Clone)]
pub(crate) struct CreditSpend {
    /// What held them.
    pub(crate) reservation: ReservationId,
    /// Whose.
    pub(crate) owner: Owner,
    /// How many.
    pub(crate) amount: Credits,
    /// When the call began: what could be taken then can be taken now.
    pub(crate) began: Timestamp,
    /// For what.
    pub(crate) reference: String,
    /// When it is booked.
    pub(crate) at: Timestamp,
}

/// What the plan in force includes of credits for a user; `None` if its calls take none.
pub(crate) fn included_credits(access: &Access, user: &User, now: Timestamp) -> Option<IncludedCredits> {
    access.plan.credits(now, access.anchor(user.created_at))
}

/// An owner's credits, locked until the unit of work ends.
pub(super) async fn locked_credits(unit: &mut dyn UnitOfWork, owner: Owner) -> StoreResult<CreditAccount> {
    let mut accounts = unit.lock_credits(&[owner]).await?;
    accounts.pop().ok_or(StoreError::Stale)
}

impl Billing {
    /// Holds quota for calls, credits among it: a hold of those has what there is of them for its limit.
    pub(crate) async fn reserve_quota(
        &self,
        unit: &mut dyn UnitOfWork,
        wanted: &[&Wanted],
        now: Timestamp,
    ) -> StoreResult<Reserved> {
        let owners = each_once(wanted.iter().filter(|it| it.credits.is_some()), |it| {
            it.reservation.owner
        });
        if owners.is_empty() {
            let reservations: Vec<&Reservation> = wanted.iter().map(|it| &it.reservation).collect();
            return unit.reserve_quota(&reservations).await;
        }
        let mut limits = Vec::with_capacity(owners.len());
        for mut account in unit.lock_credits(&owners).await? {
            let mut asked = wanted.iter().filter(|it| it.reservation.owner == account.owner);
            if let Some(included) = asked.find_map(|it| it.credits) {
                self.open_window(unit, &mut account, included, now).await?;
                unit.save_credits(&account).await?;
            }
            limits.push((CreditAccount::counter(account.owner), account.limit(now)));
        }
        let mut reservations: Vec<Reservation> = wanted.iter().map(|it| it.reservation.clone()).collect();
        for hold in reservations.iter_mut().flat_map(|it| &mut it.holds) {
            if let Some((_, limit)) = limits.iter().find(|(key, _)| *key == hold.key) {
                hold.limit = Some(limit.0);
            }
        }
        unit.reserve_quota(&reservations.iter().collect::<Vec<_>>()).await
    }

    /// Turns holds into use, credits among it. Answers which reservations were open; of the others nothing changed.
    pub(crate) async fn settle_quota(
        unit: &mut dyn UnitOfWork,
        settlements: &[Settlement],
        spends: &[CreditSpend],
    ) -> StoreResult<Vec<ReservationId>> {
        let owners = each_once(spends.iter(), |spend| spend.owner);
        let mut accounts = match owners.as_slice() {
            [] => Vec::new(),
            owners => unit.lock_credits(owners).await?,
        };
        let open = unit.settle_quota(settlements).await?;
        for spend in spends.iter().filter(|spend| open.contains(&spend.reservation)) {
            if let Some(account) = accounts.iter_mut().find(|account| account.owner == spend.owner) {
                account.spend(spend.amount, spend.began, &spend.reference, spend.at);
            }
        }
        for account in &accounts {
            unit.save_credits(account).await?;
        }
        Ok(open)
    }

    /// Has what the plan includes in this window stand on a locked account. The caller saves it.
    pub(crate) async fn open_window(
        &self,
        unit: &mut dyn UnitOfWork,
        account: &mut CreditAccount,
        included: IncludedCredits,
        now: Timestamp,
    ) -> StoreResult<()> {
        if account.opened(included) {
            return Ok(());
        }
        let reference = included.span.start.to_string();
        let mut known: Vec<CreditGrant> = Vec::new();
        for source in [CreditSource::Plan, CreditSource::Rollover] {
            let granted = unit.credit_grant_of(account.owner, source, &reference).await?;
            known.extend(granted.filter(|grant| grant.closed_at.is_some()));
        }
        let ids = [(); 2].map(|()| CreditGrantId(self.ids.uuid()));
        account.open_window(included, known, ids, now);
        Ok(())
    }
}

fn each_once<T>(all: impl Iterator<Item = T>, owner: impl Fn(T) -> Owner) -> Vec<Owner> {
    let mut owners: Vec<Owner> = all.map(owner).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}
