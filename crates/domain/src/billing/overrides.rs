//! What an operator grants somebody beside their subscription: a plan as a gift, a higher limit, terms by agreement.

use serde::{Deserialize, Serialize};

use super::{Entitlement, Owner, Subscription};
use crate::{OverrideId, Timestamp, UserId};

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A plan, by its key, in its version of the day.
    Plan(String),
    /// An entitlement, in the place of the plan's own of this name (and window) or beside them.
    Entitlement(Entitlement),
}

/// Something that was granted to somebody, for a while or until it is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Identifier.
    pub id: OverrideId,
    /// Whose.
    pub owner: Owner,
    /// What.
    pub grant: Grant,
    /// Why, in the operator's words.
    pub reason: String,
    /// Which of the operator's people granted it; unknown of what the command line did.
    pub granted_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// From when on it no longer holds; `None`: until it is taken back.
    pub expires_at: Option<Timestamp>,
}

impl Override {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// Everything that decides what somebody may do, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Their subscription, if they have one.
    pub subscription: Option<Subscription>,
    /// Others beside it that are not over. There is to be one only; where there are more, the best one counts.
    pub others: Vec<Subscription>,
    /// What was granted to them, oldest first; what no longer holds may be among it.
    pub overrides: Vec<Override>,
}
