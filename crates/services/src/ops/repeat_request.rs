//! A request that is repeated under the same `Idempotency-Key` has its effect once.

use anteroom_domain::UserId;
use anteroom_ports::ops::{Claim, IdempotentRequest};
use anteroom_ports::{Durability, StoreError, StoreResult};
use jiff::SignedDuration;

use super::Ops;
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

/// Longer than any request under a key may run (the relay's total timeout is checked to be less).
const RUNNING: SignedDuration = SignedDuration::from_mins(15);
/// For how long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

impl Ops {
    /// Claims the key: `None` means "carry it out, then [`Ops::keep_answer`] or [`Ops::forget_request`]", an answer
    /// means that this one was given before.
    pub async fn claim_request(&self, repeat: &Repeat<'_>) -> Result<Option<(u16, String)>, RepeatError> {
        let now = self.clock.now();
        let request = IdempotentRequest {
            user_id: repeat.user_id,
            key: repeat.key.to_owned(),
            fingerprint: self.secrets.digest(repeat.request),
            created_at: now,
            running_until: later(now, RUNNING),
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        let claim = unit.claim_idempotent(&request).await?;
        unit.commit().await?;
        match claim {
            Claim::Fresh => Ok(None),
            Claim::Answered { status, body } => Ok(Some((status, body))),
            Claim::Mismatch => Err(RepeatError::Mismatch),
            Claim::Running => Err(RepeatError::Running),
        }
    }

    /// Keeps the answer for repeats.
    pub async fn keep_answer(&self, user: UserId, key: &str, status: u16, body: &str) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        unit.finish_idempotent(user, key, status, body).await?;
        unit.commit().await
    }

    /// Gives the key back after a failure, so that a retry is carried out.
    pub async fn forget_request(&self, user: UserId, key: &str) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        unit.drop_idempotent(user, key).await?;
        unit.commit().await
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
