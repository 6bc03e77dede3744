//! A user proves themselves with a password and gets a session.

use anteroom_domain::accounts::{Email, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::Transport;
use anteroom_ports::{Durability, HashError, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::{info, warn};

use super::Accounts;
use crate::Client;
use crate::audit::Act;
use crate::sessions::Grant;

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

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// The address is unknown or the password wrong; nobody is told which.
    #[error("the address or the password is wrong")]
    InvalidCredentials,
    /// The password is right, but an admin has closed the account.
    #[error("this account is disabled")]
    Disabled,
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The longest password worth hashing; none longer was ever accepted.
const MAX_PASSWORD_BYTES: usize = 1024;

impl Accounts {
    /// Logs a user in. An unknown address costs and answers the same as a wrong password.
    pub async fn log_in_with_password(&self, ask: LogIn) -> Result<Grant, LogInError> {
        let client = ask.client.clone();
        let (user, mut outcome) = self.try_log_in(ask).await;
        if let Err(refused @ (LogInError::InvalidCredentials | LogInError::Disabled)) = &outcome {
            let reason = match refused {
                LogInError::Disabled => "account_disabled",
                _ => "invalid_credentials",
            };
            let act = Act::failed("account.login", Actor::Anonymous, &client, reason)
                .subject(user.as_ref().map(|user| user.id));
            // Without its row the refusal is not given: the client may try again when the store is back.
            if let Err(e) = self.audit.record_alone(act).await {
                outcome = Err(e.into());
            }
        }
        match &outcome {
            Ok(grant) => {
                info!(event = "account.login.succeeded", user_id = %grant.user.id, session_id = %grant.session.id);
            }
            Err(e) => {
                let user_id = user.map(|u| u.id.to_string());
                info!(event = "account.login.failed", user_id, reason = %e);
            }
        }
        outcome
    }

    async fn try_log_in(&self, ask: LogIn) -> (Option<User>, Result<Grant, LogInError>) {
        if ask.password.expose_secret().len() > MAX_PASSWORD_BYTES {
            return (None, Err(LogInError::InvalidCredentials));
        }
        let found = match self.find_credentials(&ask.email).await {
            Ok(found) => found,
            Err(e) => return (None, Err(e.into())),
        };
        let (user, hash) = found.unzip();
        let verified = match self.hasher.verify(&ask.password, hash.flatten().as_deref()).await {
            Ok(verified) => verified,
            Err(e) => return (user, Err(e.into())),
        };
        let Some(user) = user else {
            return (None, Err(LogInError::InvalidCredentials));
        };
        if !verified.matches {
            return (Some(user), Err(LogInError::InvalidCredentials));
        }
        if !user.usable() {
            return (Some(user), Err(LogInError::Disabled));
        }
        let outcome = self.grant_to(&user, &ask, verified.outdated).await;
        (Some(user), outcome)
    }

    async fn find_credentials(&self, email: &str) -> Result<Option<(User, Option<String>)>, StoreError> {
        // What is no address belongs to nobody, and may hold what a store cannot even look for.
        let Ok(email) = Email::parse(email) else {
            return Ok(None);
        };
        self.store.read().await?.user_by_email(email.folded()).await
    }

    async fn grant_to(&self, user: &User, ask: &LogIn, outdated: bool) -> Result<Grant, LogInError> {
        let stronger = if outdated {
            self.rehash(&ask.password).await
        } else {
            None
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        if let Some(hash) = stronger {
            unit.put_password_hash(user.id, &hash, self.clock.now()).await?;
        }
        let grant = self
            .sessions
            .start(&mut *unit, user, ask.transport, &ask.client)
            .await?;
        let act = Act::succeeded("account.login", Actor::User(user.id), &ask.client)
            .subject(user.id)
            .session(grant.session.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        Ok(grant)
    }

    /// A hash with today's parameters; a login never fails for want of one.
    async fn rehash(&self, password: &SecretString) -> Option<String> {
        self.hasher
            .hash(password)
            .await
            .inspect_err(|e| warn!(event = "account.password.rehash_failed", reason = %e))
            .ok()
    }
}
