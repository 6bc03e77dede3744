//! A user ends one of their sessions from another.

use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_domain::{SessionId, UserId};
use anteroom_ports::{Durability, StoreError};

use super::Sessions;
use crate::Client;
use crate::audit::Act;

/// Why no session was ended.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The user has no such session, or it has ended.
    #[error("there is no such session")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Ends a session of the user, with everything that carries it. Somebody else's is not found.
    pub async fn revoke(&self, user: UserId, id: SessionId, client: &Client) -> Result<(), RevokeError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let now = self.clock.now();
        let found = unit.session(id).await?.filter(|(session, _)| session.user_id == user);
        let (session, _) = found.ok_or(RevokeError::NotFound)?;
        if !self.in_force(&session, now) || !unit.end_session(id, now, EndReason::Revoked).await? {
            return Err(RevokeError::NotFound);
        }
        let act = Act::succeeded("session.revoke", Actor::User(user), client)
            .subject(user)
            .session(id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.ended_now(&[id], user, EndReason::Revoked);
        Ok(())
    }
}
