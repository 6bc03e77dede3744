//! An admin, or the operator, ends everything that somebody is signed in with.

use anteroom_domain::UserId;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::Sessions;
use crate::Client;
use crate::accounts::may_still_act;
use crate::audit::Act;

/// Why nothing was ended.
#[derive(Debug, thiserror::Error)]
pub enum EndSessionsError {
    /// There is no such account.
    #[error("there is no such user")]
    NotFound,
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Ends all sessions of a user; answers how many there were.
    pub async fn end_sessions_of_user(
        &self,
        user: UserId,
        actor: Actor,
        client: &Client,
    ) -> Result<usize, EndSessionsError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        unit.lock_user(user).await?.ok_or(EndSessionsError::NotFound)?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(EndSessionsError::Forbidden);
        }
        let ended = unit
            .end_sessions_of(user, None, self.clock.now(), EndReason::AdminRevoked)
            .await?;
        let act = Act::succeeded("account.sessions.revoke", actor, client)
            .subject(user)
            .detail("sessions", ended.len());
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.ended_now(&ended, user, EndReason::AdminRevoked);
        info!(event = "account.sessions.revoked", user_id = %user, by = %actor, sessions_ended = ended.len());
        Ok(ended.len())
    }
}
