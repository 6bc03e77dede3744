//! A user proves themselves with a password and gets a session.

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::Transport;
use anteroom_ports::{Durability, HashError, StoreError};
use secrecy::SecretString;
use tracing::info;

use super::Accounts;
use super::prove_password::{ProveError, Proven};
use crate::Client;
use crate::audit::Act;
use crate::sessions::{Grant, StartError};

/// What the user says.
#[derive(Debug)]
pub struct LogIn {
    /// Address, as written.
    pub email: String,
    /// Password.
    pub password: SecretString,
    /// How the session is to be carried.
    pub transport: Transport,
    /// From where.
    pub client: Client,
}

/// What came of it.
#[derive(Debug)]
pub enum LoggedIn {
    /// They are signed in.
    In(Box<Grant>),
    /// The password is right, but the address has to be proven first.
    VerifyEmail,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// The address is unknown or the password wrong; nobody is told which.
    #[error("the address or the password is wrong")]
    InvalidCredentials,
    /// The password is right, but an admin has closed the account.
    #[error("this account is disabled")]
    Disabled,
    /// Too many have failed, with this address or from this client; nothing was compared.
    #[error("too many failed logins; again in {retry_after_seconds} s")]
    Blocked {
        /// When an attempt is possible again.
        retry_after_seconds: u64,
    },
    /// The password is right, but the account has as many sessions as it may.
    #[error("the account has {limit} sessions, and may have no more")]
    TooManySessions {
        /// How many there may be.
        limit: usize,
    },
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StartError> for LogInError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::AccountClosed => Self::Disabled,
            StartError::TooManySessions { limit } => Self::TooManySessions { limit },
            StartError::Store(e) => e.into(),
        }
    }
}

impl From<ProveError> for LogInError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Wrong => Self::InvalidCredentials,
            ProveError::Blocked { retry_after_seconds } => Self::Blocked { retry_after_seconds },
            ProveError::Hash(e) => e.into(),
            ProveError::Store(e) => e.into(),
        }
    }
}

impl Accounts {
    /// Logs a user in. An unknown address costs and answers the same as a wrong password, also when there were too
    /// many: then nothing is compared, and the right password is refused as well. Whoever let it through could be
    /// asked a thousand times whether it is the right one.
    pub async fn log_in_with_password(&self, ask: LogIn) -> Result<LoggedIn, LogInError> {
        let client = ask.client.clone();
        let (user, mut outcome) = self.try_log_in(ask).await;
        let reason = match &outcome {
            Err(LogInError::InvalidCredentials) => Some("invalid_credentials"),
            Err(LogInError::Disabled) => Some("account_disabled"),
            Ok(LoggedIn::VerifyEmail) => Some("email_not_verified"),
            Err(LogInError::TooManySessions { .. }) => Some("too_many_sessions"),
            // Not those that were blocked: they are many, and the lockout itself has a row.
            _ => None,
        };
        if let Some(reason) = reason {
            let act = Act::failed("account.login", Actor::Anonymous, &client, reason)
                .subject(user.as_ref().map(|user| user.id));
            // Without its row the refusal is not given: the client may try again when the store is back.
            if let Err(e) = self.audit.record_alone(act).await {
                outcome = Err(e.into());
            }
        }
        match &outcome {
            Ok(LoggedIn::In(grant)) => {
                info!(event = "account.login.succeeded", user_id = %grant.user.id, session_id = %grant.session.id);
            }
            Ok(LoggedIn::VerifyEmail) => {
                let user_id = user.map(|u| u.id.to_string());
                info!(
                    event = "account.login.failed",
                    user_id,
                    reason = "the address is not verified"
                );
            }
            Err(LogInError::Blocked { retry_after_seconds }) => {
                info!(event = "account.login.blocked", retry_after_seconds);
            }
            Err(e) => {
                let user_id = user.map(|u| u.id.to_string());
                info!(event = "account.login.failed", user_id, reason = %e);
            }
        }
        outcome
    }

    async fn try_log_in(&self, ask: LogIn) -> (Option<User>, Result<LoggedIn, LogInError>) {
        let (user, proven) = self.prove_password(&ask.email, &ask.password, &ask.client).await;
        let outcome = match proven {
            Ok(proven) => self.grant_to(proven, &ask).await,
            Err(e) => Err(e.into()),
        };
        (user, outcome)
    }

    async fn grant_to(&self, mut proven: Proven, ask: &LogIn) -> Result<LoggedIn, LogInError> {
        let user = &proven.user;
        if !user.usable() {
            self.protection.attempt_void(proven.attempt).await?;
            return Err(LogInError::Disabled);
        }
        if self.options.require_verified_email && !user.email_verified {
            self.protection.attempt_void(proven.attempt).await?;
            return Ok(LoggedIn::VerifyEmail);
        }
        let stronger = if proven.outdated {
            self.rehash(&ask.password).await
        } else {
            None
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        // The lock comes first: whatever refers to the user before would make two logins wait for each other.
        let locked = unit.lock_user(proven.user.id).await?;
        if !proven.still_holds(&mut *unit).await? {
            drop(unit);
            self.proven_too_late(proven, &ask.client).await;
            return Err(LogInError::InvalidCredentials);
        }
        let user = &mut proven.user;
        if let Some(locked) = locked {
            *user = locked;
        }
        let came_back = self.cancel_deletion(&mut *unit, user, &ask.client).await?;
        let started = self.sessions.start(&mut *unit, user, ask.transport, &ask.client).await;
        let grant = match started {
            Ok(grant) => grant,
            Err(e) => {
                // The password was right, which is no failure that counts.
                drop(unit);
                self.protection.attempt_void(proven.attempt).await?;
                return Err(e.into());
            }
        };
        if let Some(hash) = stronger {
            unit.put_password_hash(user.id, &hash, self.clock.now()).await?;
        }
        let act = Act::succeeded("account.login", Actor::User(user.id), &ask.client)
            .subject(user.id)
            .session(grant.session.id);
        self.audit.record(&mut *unit, act).await?;
        // Last, since others from the same address wait for it.
        self.protection.attempt_succeeded(&mut *unit, proven.attempt).await?;
        unit.commit().await?;
        self.sessions.started(&grant);
        if came_back {
            info!(event = "account.deletion.cancelled", user_id = %grant.user.id);
        }
        Ok(LoggedIn::In(Box::new(grant)))
    }
}
