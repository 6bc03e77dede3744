//! A user proves again, within their session, that it is still them: what is sensitive asks for that.

use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::Session;
use anteroom_ports::{Durability, HashError, StoreError};
use jiff::SignedDuration;
use secrecy::SecretString;
use tracing::info;

use super::Accounts;
use super::prove_password::ProveError;
use crate::Client;
use crate::audit::Act;
use crate::sessions::LiveSession;

/// For how long a proof counts (OWASP ASVS 5.0 V7.5.1).
pub(super) const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// Why nothing was proven.
#[derive(Debug, thiserror::Error)]
pub enum ReauthenticateError {
    /// The password is wrong.
    #[error("the password is wrong")]
    Wrong,
    /// Too many have failed; nothing was compared.
    #[error("too many failed logins; again in {retry_after_seconds} s")]
    Blocked {
        /// When an attempt is possible again.
        retry_after_seconds: u64,
    },
    /// The session has ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ProveError> for ReauthenticateError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Wrong => Self::Wrong,
            ProveError::Blocked { retry_after_seconds } => Self::Blocked { retry_after_seconds },
            ProveError::Hash(e) => e.into(),
            ProveError::Store(e) => e.into(),
        }
    }
}

/// What is sensitive was asked for too long after the user proved who they are.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the last proof of who you are is too old")]
pub struct TooLongAgo;

impl Accounts {
    /// Whether the user of this session has proven who they are recently enough for what is sensitive.
    pub(super) fn recently_proven(&self, session: &Session) -> Result<(), TooLongAgo> {
        let recent = session.authenticated_within(self.clock.now(), RECENT);
        recent.then_some(()).ok_or(TooLongAgo)
    }

    /// Compares the password, under the lockout's counters, and notes the proof on the session.
    pub async fn reauthenticate(
        &self,
        live: &LiveSession,
        password: &SecretString,
        client: &Client,
    ) -> Result<Session, ReauthenticateError> {
        let (user, session) = (&live.user, &live.session);
        let (_, proven) = self.prove_password(user.email.as_str(), password, client).await;
        let proven = match proven {
            Ok(proven) => proven,
            Err(e) => {
                if matches!(e, ProveError::Wrong) {
                    let act = Act::failed("account.reauthenticate", Actor::User(user.id), client, "wrong_password")
                        .subject(user.id)
                        .session(session.id);
                    self.audit.record_alone(act).await?;
                }
                info!(event = "account.reauthentication.failed", user_id = %user.id, session_id = %session.id, reason = %e);
                return Err(e.into());
            }
        };
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let noted = unit.authenticate_session(session.id, now).await?;
        let act = Act::succeeded("account.reauthenticate", Actor::User(user.id), client)
            .subject(user.id)
            .session(session.id);
        self.audit.record(&mut *unit, act).await?;
        self.protection.attempt_succeeded(&mut *unit, proven.attempt).await?;
        unit.commit().await?;
        if !noted {
            return Err(ReauthenticateError::SessionEnded);
        }
        self.sessions.forget_cached_state();
        info!(event = "account.reauthentication.succeeded", user_id = %user.id, session_id = %session.id);
        Ok(Session {
            authenticated_at: now,
            ..session.clone()
        })
    }
}
