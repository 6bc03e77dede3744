//! A request that is repeated under the same `Idempotency-Key` has its effect once.

use anteroom_domain::UserId;
use anteroom_ports::ops::{Claim, IdempotentRequest};
use anteroom_ports::{Durability, StoreError, StoreResult};
use jiff::SignedDuration;
use uuid::Uuid;

use super::{Lease, Ops};
use crate::later;

/// What a client asks to be done once.
#[derive(Debug)]
pub struct Repeat<'a> {
    /// Whose key it is.
    pub user_id: UserId,
    /// The key.
    pub key: &'a str,
    /// Everything that makes it the same request: method, path and body.
    pub request: &'a [u8],
}

/// Why a request under a key is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RepeatError {
    /// The key belongs to another request.
    #[error("this idempotency key was used with another request")]
    Mismatch,
    /// The same request is running.
    #[error("the same request is still running")]
    Running,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What claiming a key came to.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody holds it: the request is to be carried out, then [`Ops::keep_answer`] or [`Ops::forget_request`].
    Fresh(HeldKey),
    /// The request was answered so.
    Answered {
        /// Its status.
        status: u16,
        /// Its body.
        body: String,
    },
}

/// A key, held while this lives and the process does.
#[derive(Debug)]
pub struct HeldKey {
    user_id: UserId,
    key: String,
    held_by: Uuid,
    /// Under which identifier to make what the request makes: a try that died may have made it already.
    pub made_id: Uuid,
    _lease: Lease,
}

/// For how long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

impl Ops {
    /// Claims the key.
    pub async fn claim_request(&self, repeat: &Repeat<'_>) -> Result<Claimed, RepeatError> {
        let now = self.clock.now();
        let (user_id, key, held_by) = (repeat.user_id, repeat.key.to_owned(), self.ids.uuid());
        let request = IdempotentRequest {
            user_id,
            key: key.clone(),
            fingerprint: self.secrets.digest(repeat.request),
            created_at: now,
            running_until: self.leases.until(now),
            held_by,
            made_id: self.ids.uuid(),
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        let claim = unit.claim_idempotent(&request).await?;
        unit.commit().await?;
        match claim {
            Claim::Fresh { made_id } => Ok(Claimed::Fresh(HeldKey {
                user_id,
                key,
                held_by,
                made_id,
                _lease: self.leases.hold(held_by),
            })),
            Claim::Answered { status, body } => Ok(Claimed::Answered { status, body }),
            Claim::Mismatch => Err(RepeatError::Mismatch),
            Claim::Running => Err(RepeatError::Running),
        }
    }

    /// Keeps the answer for repeats. `false` if somebody else holds the key by now.
    pub async fn keep_answer(&self, held: &HeldKey, status: u16, body: &str) -> StoreResult<bool> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let kept = unit
            .finish_idempotent(held.user_id, &held.key, held.held_by, status, body)
            .await?;
        unit.commit().await?;
        Ok(kept)
    }

    /// Gives the key back after a failure, so that a retry is carried out. `false` if somebody else holds it by now.
    pub async fn forget_request(&self, held: &HeldKey) -> StoreResult<bool> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let dropped = unit.drop_idempotent(held.user_id, &held.key, held.held_by).await?;
        unit.commit().await?;
        Ok(dropped)
    }

    /// Renews the keys of all requests that run here, a third of a lease after it last did. Answers how many. To be
    /// called much more often, since a store that was away is back at some moment.
    pub async fn tend_requests(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let held = self.leases.due(now);
        if held.is_empty() {
            return Ok(0);
        }
        // A power cut that loses this ends the requests as well.
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        unit.renew_idempotent(&held, self.leases.until(now)).await?;
        unit.commit().await?;
        self.leases.renewed(now);
        Ok(held.len())
    }

    /// Deletes answers kept for more than a day, a batch at a time. Answers how many.
    pub async fn purge_answers(&self) -> StoreResult<usize> {
        let before = later(self.clock.now(), -KEPT);
        let mut unit = self.store.begin(Durability::Full).await?;
        let purged = unit.purge_idempotent(before, 500).await?;
        unit.commit().await?;
        Ok(purged)
    }
}
