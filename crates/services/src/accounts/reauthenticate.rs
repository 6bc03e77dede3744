//! A user proves again, within their session, that it is still them: what is sensitive asks for that.

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::Session;
use anteroom_ports::{Durability, HashError, StoreError, UnitOfWork};
use jiff::SignedDuration;
use secrecy::SecretString;
use tracing::info;

use super::Accounts;
use super::prove_password::ProveError;
use crate::Client;
use crate::audit::Act;
use crate::sessions::LiveSession;

/// For how long a proof counts (OWASP ASVS 5.0 V7.5.1).
pub(crate) const RECENT: SignedDuration = SignedDuration::from_mins(10);

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
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
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

/// The session has ended since the request was let in, or its account may be used no more.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the session has ended")]
pub struct SessionOver;

impl Accounts {
    /// Whether the user of this session has proven who they are recently enough for what is sensitive.
    pub(super) fn recently_proven(&self, session: &Session) -> Result<(), TooLongAgo> {
        let recent = session.authenticated_within(self.clock.now(), RECENT);
        recent.then_some(()).ok_or(TooLongAgo)
    }

    /// The user of a session, locked. Who is let in is known for a while, so what is sensitive looks again, where
    /// nothing that ends sessions can pass it.
    pub(super) async fn lock_live<E>(&self, unit: &mut dyn UnitOfWork, live: &LiveSession) -> Result<User, E>
    where
        E: From<StoreError> + From<SessionOver>,
    {
        let user = unit.lock_user(live.user.id).await?.filter(User::usable);
        let session = unit.session(live.session.id).await?;
        let good = session.is_some_and(|(session, _)| self.sessions.in_force(&session, self.clock.now()));
        user.filter(|_| good).ok_or_else(|| SessionOver.into())
    }

    /// Compares the password, under the lockout's counters, and notes the proof on the session.
    pub async fn reauthenticate(
        &self,
        live: &LiveSession,
        password: &SecretString,
        client: &Client,
    ) -> Result<Session, ReauthenticateError> {
        let (user, session) = (&live.user, &live.session);
        let outcome = self.try_reauthenticate(live, password, client).await;
        if let Err(e) = &outcome {
            info!(event = "account.reauthentication.failed", user_id = %user.id, session_id = %session.id, reason = %e);
            let reason = match e {
                ReauthenticateError::Wrong => Some("wrong_password"),
                ReauthenticateError::SessionOver(_) => Some("session_ended"),
                _ => None,
            };
            if let Some(reason) = reason {
                let act = Act::failed("account.reauthenticate", Actor::User(user.id), client, reason)
                    .subject(user.id)
                    .session(session.id);
                self.audit.record_alone(act).await?;
            }
        }
        outcome
    }

    async fn try_reauthenticate(
        &self,
        live: &LiveSession,
        password: &SecretString,
        client: &Client,
    ) -> Result<Session, ReauthenticateError> {
        let (user, session) = (&live.user, &live.session);
        let (_, proven) = self.prove_password(user.email.as_str(), password, client).await;
        let proven = proven?;
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        self.lock_live::<ReauthenticateError>(&mut *unit, live).await?;
        if !proven.still_holds(&mut *unit).await? {
            drop(unit);
            self.proven_too_late(proven, client).await;
            return Err(ReauthenticateError::Wrong);
        }
        unit.authenticate_session(session.id, now).await?;
        let act = Act::succeeded("account.reauthenticate", Actor::User(user.id), client)
            .subject(user.id)
            .session(session.id);
        self.audit.record(&mut *unit, act).await?;
        self.protection.attempt_succeeded(&mut *unit, proven.attempt).await?;
        unit.commit().await?;
        self.sessions.forget_cached_state();
        info!(event = "account.reauthentication.succeeded", user_id = %user.id, session_id = %session.id);
        Ok(Session {
            authenticated_at: now,
            ..session.clone()
        })
    }
}
