//! A client exchanges its refresh token for new tokens (RFC 9700 section 4.14).

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{EndReason, Presented, Session, device_name};
use anteroom_ports::{Durability, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::{info, warn};

use super::{Grant, Sessions};
use crate::Client;
use crate::audit::Act;
use crate::webhooks::Letter;

/// What every refresh token begins with, so that leaked ones can be searched for.
pub(super) const PREFIX: &str = "anr_";

/// What successors are derived for.
const PURPOSE: &str = "refresh-token-successor";

/// Why no tokens were handed out.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token opens nothing (any more).
    #[error("the refresh token is invalid, expired or revoked")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Rotates a refresh token. The successor is derived from the token that is presented, so that a repeat within
    /// the grace time answers the same one although only digests are kept; later reuse ends the session.
    pub async fn refresh(&self, presented: &SecretString, client: &Client) -> Result<Grant, RefreshError> {
        let outcome = self.try_refresh(presented, client).await;
        if let Err(e) = &outcome {
            info!(event = "session.refresh.failed", reason = %e);
        }
        outcome
    }

    async fn try_refresh(&self, presented: &SecretString, client: &Client) -> Result<Grant, RefreshError> {
        let text = presented.expose_secret();
        let digest = self.secrets.digest(text.as_bytes());
        let successor = Self::token_text(PREFIX, &self.secrets.keyed(PURPOSE, text.as_bytes()));

        let mut unit = self.store.begin(Durability::Full).await?;
        let token = unit.lock_refresh_token(&digest).await?.ok_or(RefreshError::Invalid)?;
        let (session, user): (Session, User) = unit.session(token.session_id).await?.ok_or(RefreshError::Invalid)?;
        let session = self.as_last_seen(session);
        let now = self.clock.now();
        if !self.in_force(&session, now) || !user.usable() {
            return Err(RefreshError::Invalid);
        }
        match token.presented(now, self.options.refresh_grace) {
            Presented::Rotate => {
                if !unit.use_refresh_token(token.id, now).await? {
                    return Err(StoreError::Stale.into());
                }
                self.insert_refresh_token(&mut *unit, &session, &self.secrets.digest(successor.as_bytes()))
                    .await?;
                unit.commit().await?;
                info!(event = "session.refreshed", session_id = %session.id, user_id = %user.id);
            }
            Presented::SameSuccessor => drop(unit),
            Presented::Reuse => {
                unit.end_session(session.id, now, EndReason::RefreshTokenReuse).await?;
                let reason = EndReason::RefreshTokenReuse.as_str();
                let act = Act::failed("session.refresh", Actor::Anonymous, client, reason)
                    .subject(user.id)
                    .session(session.id);
                self.audit.record(&mut *unit, act).await?;
                let device = session.user_agent.as_deref().and_then(device_name);
                let letter = Letter::RefreshTokenReused {
                    device: device.as_deref(),
                    at: now,
                };
                self.webhooks.tell(&mut *unit, &user, letter).await?;
                unit.commit().await?;
                self.forget_session(session.id);
                warn!(event = "session.ended", session_id = %session.id, user_id = %user.id, reason = EndReason::RefreshTokenReuse.as_str());
                return Err(RefreshError::Invalid);
            }
        }
        self.note_seen(&session, now);
        let credential = self.token_credential(&session, successor)?;
        Ok(Grant {
            user,
            session,
            credential,
            evicted: Vec::new(),
            on_new_device: false,
        })
    }
}
