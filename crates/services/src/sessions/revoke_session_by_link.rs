//! Somebody who was told by mail of a login they do not know ends its session.

use anteroom_domain::accounts::Purpose;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_ports::{Durability, StoreError};
use secrecy::{ExposeSecret as _, SecretString};

use super::Sessions;
use crate::Client;
use crate::audit::Act;

/// Why the token ended nothing.
#[derive(Debug, thiserror::Error)]
pub enum RevokeByLinkError {
    /// It is unknown, used, or has expired.
    #[error("the token is unknown, used or expired")]
    InvalidToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Ends the session that a mailed token is about, once. A session that is over already makes no difference to
    /// whoever holds the token: it opens nothing.
    pub async fn revoke_by_link(&self, token: &SecretString, client: &Client) -> Result<(), RevokeByLinkError> {
        let outcome = self.try_revoke_by_link(token, client).await;
        if matches!(outcome, Err(RevokeByLinkError::InvalidToken)) {
            let act =
                Act::failed("session.revoke", Actor::Anonymous, client, "invalid_token").detail("by", "mailed_link");
            self.audit.record_alone(act).await?;
        }
        outcome
    }

    async fn try_revoke_by_link(&self, token: &SecretString, client: &Client) -> Result<(), RevokeByLinkError> {
        let digest = self.secrets.digest(token.expose_secret().as_bytes());
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let taken = unit.take_one_time_token(Purpose::RevokeSession, &digest, now).await?;
        let (user, session) = taken
            .and_then(|token| Some((token.user_id, token.session_id?)))
            .ok_or(RevokeByLinkError::InvalidToken)?;
        let ended = unit.end_session(session, now, EndReason::Revoked).await?;
        if ended {
            // Whoever reads the user's mail; who that is, the token does not say.
            let act = Act::succeeded("session.revoke", Actor::Anonymous, client)
                .subject(user)
                .session(session)
                .detail("by", "mailed_link");
            self.audit.record(&mut *unit, act).await?;
        }
        unit.commit().await?;
        if ended {
            self.ended_now(&[session], user, EndReason::Revoked);
        }
        Ok(())
    }
}
