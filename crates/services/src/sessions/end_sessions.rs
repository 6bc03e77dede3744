//! Sessions end together: a password was changed, an account was closed.

use anteroom_domain::sessions::EndReason;
use anteroom_domain::{SessionId, UserId};
use anteroom_ports::{StoreResult, UnitOfWork};
use tracing::info;

use super::Sessions;

/// Sessions that ended in a unit of work that is not committed yet.
#[derive(Debug)]
#[must_use = "hand it to `Sessions::have_ended` after the commit"]
pub(crate) struct Ending {
    user_id: UserId,
    ids: Vec<SessionId>,
    reason: EndReason,
}

impl Ending {
    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.ids.len()
    }
}

impl Sessions {
    /// Ends a user's sessions, but for one, as part of a unit of work.
    pub(crate) async fn end_all(
        &self,
        unit: &mut dyn UnitOfWork,
        user_id: UserId,
        except: Option<SessionId>,
        reason: EndReason,
    ) -> StoreResult<Ending> {
        let ids = unit.end_sessions_of(user_id, except, self.clock.now(), reason).await?;
        Ok(Ending { user_id, ids, reason })
    }

    /// The unit of work is committed: from now on this node refuses them, also where a check is under way.
    pub(crate) fn have_ended(&self, ending: Ending) {
        let (user_id, reason) = (ending.user_id, ending.reason.as_str());
        for id in ending.ids {
            self.forget_session(id);
            info!(event = "session.ended", session_id = %id, %user_id, reason);
        }
    }
}
