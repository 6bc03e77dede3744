//! What somebody has of credits: the balance, the grants it is made of, and the ledger. Admins grant and take back.

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::{
    CreditAccount, CreditEntry, CreditGrant, CreditRate, CreditSource, Credits, IncludedCredits, Owner,
};
use anteroom_domain::{CreditGrantId, Timestamp, UserId};
use anteroom_ports::{Durability, StoreResult};
use jiff::SignedDuration;
use tracing::info;

use super::Billing;
use super::grant_override::{GrantError, MAX_REASON_CHARS};
use super::hold_credits::{included_credits, locked_credits};
use crate::accounts::may_still_act;
use crate::audit::Act;
use crate::{Client, earlier};

/// For how long what is left of a grant can still pay, after its end, for a call that began before.
const STRAGGLERS: SignedDuration = SignedDuration::from_hours(1);

/// How many owners are looked at in one go.
const BATCH: i64 = 50;

/// The highest priority number of a grant, which is taken last.
pub const MAX_CREDIT_PRIORITY: i32 = 100;

/// What somebody has.
#[derive(Debug, Clone)]
pub struct CreditsShown {
    /// The account, with its open grants.
    pub account: CreditAccount,
    /// What the plan includes; `None` if its calls take no credits.
    pub included: Option<IncludedCredits>,
    /// What a credit is worth.
    pub rate: CreditRate,
    /// As of when.
    pub now: Timestamp,
}

/// Credits that an admin grants.
#[derive(Debug, Clone)]
pub struct CreditsAsk {
    /// To whom.
    pub user_id: UserId,
    /// How many.
    pub credits: Credits,
    /// Why.
    pub reason: String,
    /// When they are taken among others: lower first; `None` as what admins grant usually is.
    pub priority: Option<i32>,
    /// Until when they last.
    pub expires_at: Option<Timestamp>,
}

impl Billing {
    /// What a credit is worth.
    pub fn credit_rate(&self) -> CreditRate {
        self.options.credit_rate
    }

    /// What somebody has of credits. What the plan includes in this window is there.
    pub async fn show_credits(&self, user: &User) -> StoreResult<CreditsShown> {
        let now = self.clock.now();
        let owner = Owner::account(user.id);
        let mut reads = self.store.read().await?;
        let holdings = reads.holdings_of(owner, now).await?;
        let mut account = reads.credit_account(owner).await?;
        drop(reads);
        let included = included_credits(&self.access_at(&holdings, now), user, now);
        if let Some(included) = included.filter(|included| !account.opened(*included)) {
            account = self.open_credits(owner, included, now).await?;
        }
        Ok(CreditsShown {
            account,
            included,
            rate: self.options.credit_rate,
            now,
        })
    }

    /// The same of another user, for admins.
    pub async fn show_credits_of(&self, user_id: UserId) -> Result<CreditsShown, GrantError> {
        let user = self.store.read().await?.user(user_id).await?;
        Ok(self.show_credits(&user.ok_or(GrantError::NoSuchUser)?).await?)
    }

    async fn open_credits(
        &self,
        owner: Owner,
        included: IncludedCredits,
        now: Timestamp,
    ) -> StoreResult<CreditAccount> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let mut account = locked_credits(&mut *unit, owner).await?;
        self.open_window(&mut *unit, &mut account, included, now).await?;
        unit.save_credits(&account).await?;
        unit.commit().await?;
        Ok(account)
    }

    /// The ledger, newest first, at most `limit` lines, before the one with this number.
    pub async fn list_credit_entries(
        &self,
        user_id: UserId,
        before: Option<i64>,
        limit: i64,
    ) -> StoreResult<Vec<CreditEntry>> {
        let mut reads = self.store.read().await?;
        reads.page_credit_entries(Owner::account(user_id), before, limit).await
    }

    /// The same of another user, for admins.
    pub async fn list_credit_entries_of(
        &self,
        user_id: UserId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<CreditEntry>, GrantError> {
        let known = self.store.read().await?.user(user_id).await?;
        known.ok_or(GrantError::NoSuchUser)?;
        Ok(self.list_credit_entries(user_id, before, limit).await?)
    }

    /// Grants credits.
    pub async fn grant_credits(
        &self,
        ask: CreditsAsk,
        actor: Actor,
        client: &Client,
    ) -> Result<CreditGrant, GrantError> {
        let now = self.clock.now();
        check_credits(&ask, now)?;
        let id = CreditGrantId(self.ids.uuid());
        let source = CreditSource::Admin;
        let grant = CreditGrant {
            id,
            owner: Owner::account(ask.user_id),
            source,
            reference: id.to_string(),
            reason: Some(ask.reason.trim().to_owned()),
            amount: ask.credits,
            spent: Credits::ZERO,
            refunded: Credits::ZERO,
            priority: ask.priority.unwrap_or_else(|| source.priority()),
            created_at: now,
            expires_at: ask.expires_at,
            closed_at: None,
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        if unit.lock_user(ask.user_id).await?.is_none() {
            return Err(GrantError::NoSuchUser);
        }
        if !may_still_act(&mut *unit, actor).await? {
            return Err(GrantError::Forbidden);
        }
        let mut account = locked_credits(&mut *unit, grant.owner).await?;
        if account.balance().0.saturating_add(ask.credits.0) > Credits::MOST.0 {
            let most = Credits::MOST.number();
            return Err(refused("/credits", format!("nobody can have more than {most} at once")));
        }
        let expires_at = grant.expires_at.map(|at| at.to_string());
        let reason = grant.reason.clone();
        account.grant(grant);
        // What was owed has been paid from it.
        let granted = account.changed().find(|grant| grant.id == id).cloned();
        let granted = granted.ok_or(GrantError::NoSuchCredits)?;
        unit.save_credits(&account).await?;
        let act = Act::succeeded("billing.credits.grant", actor, client)
            .subject(ask.user_id)
            .detail("grant_id", id.to_string())
            .detail("credits", ask.credits.number())
            .detail("reason", reason)
            .detail("expires_at", expires_at);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        info!(event = "billing.credits.granted", user_id = %ask.user_id, grant_id = %id, credits = ask.credits.number(), by = %actor);
        Ok(granted)
    }

    /// Takes back what is left of a grant. Answers how much that was.
    pub async fn revoke_credits(
        &self,
        user_id: UserId,
        id: CreditGrantId,
        actor: Actor,
        client: &Client,
    ) -> Result<Credits, GrantError> {
        let owner = Owner::account(user_id);
        let mut unit = self.store.begin(Durability::Full).await?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(GrantError::Forbidden);
        }
        let mut account = locked_credits(&mut *unit, owner).await?;
        let taken = account.revoke(id, Credits::MOST, self.clock.now());
        let taken = taken.ok_or(GrantError::NoSuchCredits)?;
        unit.save_credits(&account).await?;
        let act = Act::succeeded("billing.credits.revoke", actor, client)
            .subject(user_id)
            .detail("grant_id", id.to_string())
            .detail("credits", taken.number());
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        info!(event = "billing.credits.revoked", %user_id, grant_id = %id, credits = taken.number(), by = %actor);
        Ok(taken)
    }

    /// Writes off what is left of grants that ended: a job. What is over cannot be spent before that either. Answers of
    /// how many owners.
    pub async fn expire_credits(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let ended = earlier(now, STRAGGLERS);
        let owners = self.store.read().await?.owners_of_ended_credits(ended, BATCH).await?;
        for owner in &owners {
            let mut unit = self.store.begin(Durability::Full).await?;
            let mut account = locked_credits(&mut *unit, *owner).await?;
            account.expire(ended, now);
            unit.save_credits(&account).await?;
            unit.commit().await?;
        }
        Ok(owners.len())
    }

    /// Opens the windows of subscribers whose plans carry credits over, so that what they did not use of a month is carried
    /// also where they did not call in the next: a job. Answers how many it opened.
    pub async fn open_credit_windows(&self) -> StoreResult<usize> {
        let Some(provider) = self.provider.as_deref() else {
            return Ok(0);
        };
        if !self.catalogue().all().any(|plan| plan.carries_credits()) {
            return Ok(0);
        }
        let (mut opened, mut after) = (0, None::<String>);
        loop {
            let mut reads = self.store.read().await?;
            let page = reads
                .page_open_subscriptions(provider.name(), after.as_deref(), BATCH)
                .await?;
            let Some(last) = page.last() else { return Ok(opened) };
            after = Some(last.provider_id.clone());
            let mut due = Vec::new();
            for held in &page {
                let now = self.clock.now();
                let Some(user) = reads.user(UserId(held.owner.id)).await? else {
                    continue;
                };
                let holdings = reads.holdings_of(held.owner, now).await?;
                let included = included_credits(&self.access_at(&holdings, now), &user, now);
                if let Some(included) = included
                    && !reads.credit_account(held.owner).await?.opened(included)
                {
                    due.push((held.owner, included, now));
                }
            }
            drop(reads);
            for (owner, included, now) in due {
                self.open_credits(owner, included, now).await?;
                opened += 1;
            }
        }
    }
}

fn refused(pointer: &'static str, message: impl Into<String>) -> GrantError {
    GrantError::Refused {
        pointer,
        message: message.into(),
    }
}

fn check_credits(ask: &CreditsAsk, now: Timestamp) -> Result<(), GrantError> {
    let reason = ask.reason.trim().chars().count();
    if reason == 0 || reason > MAX_REASON_CHARS {
        let message = format!("say why, in 1 to {MAX_REASON_CHARS} characters");
        return Err(refused("/reason", message));
    }
    if ask.credits <= Credits::ZERO {
        return Err(refused("/credits", "more than none"));
    }
    if ask.expires_at.is_some_and(|end| end <= now) {
        return Err(refused("/expires_at", "this is over already"));
    }
    match ask.priority {
        Some(priority) if !(0..=MAX_CREDIT_PRIORITY).contains(&priority) => {
            Err(refused("/priority", format!("0 to {MAX_CREDIT_PRIORITY}")))
        }
        _ => Ok(()),
    }
}
