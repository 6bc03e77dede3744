//! A login attempt is booked as a failure before anything is compared, and settled afterwards.
//!
//! Every path on which somebody proves who they are goes through here, so that all of them share one counter. The order
//! is: [`Protection::book_attempt`], the comparison, then one of [`Protection::attempt_succeeded`],
//! [`Protection::attempt_failed`] and [`Protection::attempt_void`]. An attempt that is never settled (the process died)
//! stays a failure.

use std::net::IpAddr;

use anteroom_domain::Timestamp;
use anteroom_domain::accounts::{Email, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::protection::{LoginFailures, counted_address};
use anteroom_ports::{Digest, Durability, StoreError, StoreResult, UnitOfWork};
use tracing::info;

use super::Protection;
use crate::Client;
use crate::audit::Act;
use crate::webhooks::Letter;

/// What the keys of the counters are digests for.
const PURPOSE: &str = "login-attempts";

/// The longest address that is folded; nobody has a longer one (RFC 5321 section 4.5.3.1).
const MAX_FOLDED_BYTES: usize = 254;

/// A login attempt that counts as a failure until it is settled.
#[derive(Debug)]
#[must_use = "an attempt that is not settled stays a failure"]
pub struct Attempt {
    /// `None` where lockout is off.
    booked: Option<Booked>,
}

#[derive(Debug)]
struct Booked {
    account: Digest,
    address: Option<Digest>,
    /// The blocks that this booking began.
    account_block: Option<Timestamp>,
    address_block: Option<Timestamp>,
    /// Whether the owner knows of this lockout.
    told: bool,
}

/// Why an attempt was not booked. Nothing may be compared then.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There were too many failures.
    #[error("too many failed logins; again in {retry_after_seconds} s")]
    Blocked {
        /// When an attempt is possible again.
        retry_after_seconds: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Protection {
    /// Books an attempt on what was typed as the account's address, from a client's address where there is one. Both
    /// counters are read and raised under a lock: of any number of parallel attempts no more than are free get past.
    /// While either is blocked the attempt is refused and counts nowhere.
    pub(crate) async fn book_attempt(&self, typed: &str, address: Option<&str>) -> Result<Attempt, AttemptError> {
        if !self.options.enabled {
            return Ok(Attempt { booked: None });
        }
        let (account, address) = (self.account_key(typed), self.address_key(address));
        let keys: Vec<Digest> = std::iter::once(account).chain(address).collect();
        // Whoever is blocked is turned away without the write lock.
        let known = self.store.read().await?.login_failures(&keys).await?;
        self.refuse_blocked(&known)?;

        let (o, now) = (&self.options, self.clock.now());
        // Whatever a power cut takes with it, the attempt is gone too.
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        let of_account = unit.lock_login_failures(&account, now).await?;
        let of_account = o
            .account_lockout
            .book(of_account, now)
            .map_err(|end| blocked(end, now))?;
        let mut booked = Booked {
            account,
            address,
            account_block: of_account.blocked_until,
            address_block: None,
            told: of_account.told_at.is_some(),
        };
        unit.put_login_failures(&account, &of_account).await?;
        if let Some(address) = address {
            let of_address = unit.lock_login_failures(&address, now).await?;
            let of_address = o
                .address_lockout
                .book(of_address, now)
                .map_err(|end| blocked(end, now))?;
            booked.address_block = of_address.blocked_until;
            unit.put_login_failures(&address, &of_address).await?;
        }
        unit.commit().await?;
        Ok(Attempt { booked: Some(booked) })
    }

    /// It was the right secret: the account's failures are forgotten, and the address gets this one booking back. Not
    /// more: whoever owns one account could wash an address clean with it, and go on guessing others.
    pub(crate) async fn attempt_succeeded(&self, unit: &mut dyn UnitOfWork, attempt: Attempt) -> StoreResult<()> {
        let Some(booked) = attempt.booked else {
            return Ok(());
        };
        unit.delete_login_failures(&booked.account).await?;
        self.give_back(unit, booked.address, booked.address_block).await
    }

    /// Nothing was compared (hashing was too busy, the store failed): it never happened.
    pub(crate) async fn attempt_void(&self, attempt: Attempt) -> StoreResult<()> {
        let Some(booked) = attempt.booked else {
            return Ok(());
        };
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        self.give_back(&mut *unit, Some(booked.account), booked.account_block)
            .await?;
        self.give_back(&mut *unit, booked.address, booked.address_block).await?;
        unit.commit().await
    }

    /// It was a wrong secret, and stays booked. The first that led to a block is told to the owner, where there is
    /// one; where there is none the same is done but for the mail.
    pub(crate) async fn attempt_failed(
        &self,
        attempt: Attempt,
        owner: Option<&User>,
        client: &Client,
    ) -> StoreResult<()> {
        let Some(booked) = attempt.booked.filter(|b| b.account_block.is_some() && !b.told) else {
            return Ok(());
        };
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let known = unit.lock_login_failures(&booked.account, now).await?;
        if known.told_at.is_some() || known.last_failure_at.is_none() {
            return Ok(());
        }
        let told = LoginFailures {
            told_at: Some(now),
            ..known
        };
        unit.put_login_failures(&booked.account, &told).await?;
        let act = Act::succeeded("account.lockout", Actor::System, client)
            .subject(owner.map(|user| user.id))
            .detail("failures", known.failures);
        self.audit.record(&mut *unit, act).await?;
        if let Some(owner) = owner {
            let letter = Letter::LockedOut { address: None, at: now };
            self.webhooks.tell(&mut *unit, owner, letter).await?;
        }
        unit.commit().await?;
        let user_id = owner.map(|user| user.id.to_string());
        info!(event = "account.lockout.began", user_id, failures = known.failures);
        Ok(())
    }

    async fn give_back(
        &self,
        unit: &mut dyn UnitOfWork,
        key: Option<Digest>,
        began: Option<Timestamp>,
    ) -> StoreResult<()> {
        let Some(key) = key else {
            return Ok(());
        };
        let known = unit.lock_login_failures(&key, self.clock.now()).await?;
        unit.put_login_failures(&key, &known.give_back(began)).await
    }

    fn refuse_blocked(&self, known: &[LoginFailures]) -> Result<(), AttemptError> {
        let now = self.clock.now();
        match known.iter().filter_map(|failures| failures.block(now)).max() {
            Some(until) => Err(blocked(until, now)),
            None => Ok(()),
        }
    }

    /// The counter of what was typed: folded, since that is how an account is found, and whether or not there is one.
    pub(super) fn account_key(&self, typed: &str) -> Digest {
        let typed = typed.trim();
        let folded = if typed.len() <= MAX_FOLDED_BYTES {
            Email::fold(typed)
        } else {
            typed.to_owned()
        };
        self.secrets.keyed(PURPOSE, format!("account {folded}").as_bytes())
    }

    fn address_key(&self, address: Option<&str>) -> Option<Digest> {
        let address = counted_address(address?.parse::<IpAddr>().ok()?);
        Some(self.secrets.keyed(PURPOSE, format!("address {address}").as_bytes()))
    }
}

fn blocked(until: Timestamp, now: Timestamp) -> AttemptError {
    let left = until.duration_since(now);
    let seconds = left.as_secs() + i64::from(left.subsec_nanos() > 0);
    AttemptError::Blocked {
        retry_after_seconds: u64::try_from(seconds).unwrap_or(1).max(1),
    }
}
