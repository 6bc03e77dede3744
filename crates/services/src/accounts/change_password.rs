//! A user who is signed in sets another password.

use anteroom_domain::accounts::Purpose;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_ports::{Durability, HashError, StoreError};
use secrecy::SecretString;
use tracing::info;

use super::prove_password::ProveError;
use super::{Accounts, FieldFault, SessionOver, TooLongAgo};
use crate::Client;
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::Letter;

/// Why the password stays.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The user has to prove who they are first.
    #[error(transparent)]
    TooLongAgo(#[from] TooLongAgo),
    /// The session has ended meanwhile.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// The new password, or the current one, was refused.
    #[error("a password was refused")]
    Refused(Vec<FieldFault>),
    /// Too many have failed; nothing was compared.
    #[error("too many failed logins; again in {retry_after_seconds} s")]
    Blocked {
        /// When an attempt is possible again.
        retry_after_seconds: u64,
    },
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ProveError> for ChangePasswordError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Wrong => Self::Refused(vec![FieldFault {
                field: "current_password",
                code: "wrong_password",
                detail: "this is not the current password".to_owned(),
            }]),
            ProveError::Blocked { retry_after_seconds } => Self::Blocked { retry_after_seconds },
            ProveError::Hash(e) => e.into(),
            ProveError::Store(e) => e.into(),
        }
    }
}

impl Accounts {
    /// Sets another password and ends all sessions but the one that asks.
    pub async fn change_password(
        &self,
        live: &LiveSession,
        current: &SecretString,
        new: &SecretString,
        client: &Client,
    ) -> Result<(), ChangePasswordError> {
        let outcome = self.try_change_password(live, current, new, client).await;
        if let Err(e) = &outcome {
            info!(event = "account.password.change_failed", user_id = %live.user.id, session_id = %live.session.id, reason = %e);
            let reason = match e {
                ChangePasswordError::TooLongAgo(_) => Some("reauthentication_required"),
                ChangePasswordError::SessionOver(_) => Some("session_ended"),
                ChangePasswordError::Refused(faults) => faults.first().map(|fault| fault.code),
                _ => None,
            };
            if let Some(reason) = reason {
                let act = Act::failed("account.password.change", Actor::User(live.user.id), client, reason)
                    .subject(live.user.id)
                    .session(live.session.id);
                self.audit.record_alone(act).await?;
            }
        }
        outcome
    }

    async fn try_change_password(
        &self,
        live: &LiveSession,
        current: &SecretString,
        new: &SecretString,
        client: &Client,
    ) -> Result<(), ChangePasswordError> {
        let (user, session) = (&live.user, &live.session);
        self.recently_proven(session)?;
        if let Some(fault) = self.password_faults(new, user.email.as_str(), user.name.as_deref()) {
            return Err(ChangePasswordError::Refused(vec![FieldFault {
                field: "new_password",
                ..fault
            }]));
        }
        let (_, proven) = self.prove_password(user.email.as_str(), current, client).await;
        let proven = proven?;
        let hash = self.hasher.hash(new).await?;

        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let user = &self.lock_live::<ChangePasswordError>(&mut *unit, live).await?;
        if !proven.still_holds(&mut *unit).await? {
            drop(unit);
            self.proven_too_late(proven, client).await;
            return Err(ProveError::Wrong.into());
        }
        unit.put_password_hash(user.id, &hash, now).await?;
        unit.void_one_time_tokens(user.id, Purpose::ResetPassword, now).await?;
        let ending = self
            .sessions
            .end_all(&mut *unit, user.id, Some(session.id), EndReason::PasswordChanged)
            .await?;
        self.webhooks.tell(&mut *unit, user, Letter::PasswordChanged).await?;
        let act = Act::succeeded("account.password.change", Actor::User(user.id), client)
            .subject(user.id)
            .session(session.id)
            .detail("sessions_ended", ending.count());
        self.audit.record(&mut *unit, act).await?;
        self.protection.attempt_succeeded(&mut *unit, proven.attempt).await?;
        unit.commit().await?;
        self.sessions.have_ended(ending);
        info!(event = "account.password.changed", user_id = %user.id, session_id = %session.id);
        Ok(())
    }
}
