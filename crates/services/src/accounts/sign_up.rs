//! A stranger makes an account and is signed in.

use anteroom_domain::UserId;
use anteroom_domain::accounts::{DEFAULT_LOCALE, Email, Role, User, valid_name};
use anteroom_domain::sessions::Transport;
use anteroom_ports::accounts::EMAIL_TAKEN;
use anteroom_ports::{Durability, HashError, StoreError, UnitOfWork};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::info;

use super::Accounts;
use crate::Client;
use crate::sessions::Grant;
use crate::webhooks::Letter;

/// What the stranger says.
#[derive(Debug)]
pub struct SignUp {
    /// Address, as written.
    pub email: String,
    /// Password.
    pub password: SecretString,
    /// Name to show.
    pub name: Option<String>,
    /// How the session is to be carried.
    pub transport: Transport,
    /// From where.
    pub client: Client,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field.
    pub field: &'static str,
    /// Stable code of the rule that failed.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub detail: String,
}

/// Why nobody was signed up.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// The operator takes no new accounts.
    #[error("signing up is closed")]
    Closed,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The address has an account.
    #[error("this address has an account already")]
    EmailTaken,
    /// Hashing failed or is too busy.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Makes an account with a session. All or nothing: user, password, session and welcome mail are one commit.
    pub async fn sign_up(&self, ask: SignUp) -> Result<Grant, SignUpError> {
        let outcome = self.try_sign_up(ask).await;
        match &outcome {
            Ok(grant) => {
                info!(event = "account.signup.succeeded", user_id = %grant.user.id, session_id = %grant.session.id);
            }
            Err(e) => info!(event = "account.signup.failed", reason = %e),
        }
        outcome
    }

    async fn try_sign_up(&self, ask: SignUp) -> Result<Grant, SignUpError> {
        if !self.options.signup_open {
            return Err(SignUpError::Closed);
        }
        let (email, name) = self.check_new_user(&ask.email, &ask.password, ask.name.as_deref())?;
        if self.store.read().await?.user_by_email(email.folded()).await?.is_some() {
            return Err(SignUpError::EmailTaken);
        }
        let hash = self.hasher.hash(&ask.password).await?;
        let user = self.new_user(email, name, Role::User);

        let mut unit = self.store.begin(Durability::Full).await?;
        insert(&mut *unit, &user, &hash).await?;
        let grant = self
            .sessions
            .start(&mut *unit, &user, ask.transport, &ask.client)
            .await?;
        let welcome = self
            .webhooks
            .letter(&user.email, &user.locale, user.name.as_deref(), Letter::Welcome);
        self.webhooks.queue_mail(&mut *unit, welcome).await?;
        unit.commit().await?;
        Ok(grant)
    }

    /// Checks all fields of a new user and reports all faults at once.
    pub(super) fn check_new_user(
        &self,
        email: &str,
        password: &SecretString,
        name: Option<&str>,
    ) -> Result<(Email, Option<String>), SignUpError> {
        let mut faults = Vec::new();
        let checked = Email::parse(email);
        if let Err(e) = &checked {
            faults.push(FieldFault {
                field: "email",
                code: "invalid_email",
                detail: e.to_string(),
            });
        }
        let local = email.split('@').next().unwrap_or_default();
        let known = [email, local, name.unwrap_or_default()];
        if let Err(refused) = self.options.passwords.check(password.expose_secret(), &known) {
            faults.push(FieldFault {
                field: "password",
                code: refused.code(),
                detail: refused.to_string(),
            });
        }
        let named = name.map(valid_name);
        if named == Some(None) {
            faults.push(super::change_profile::name_fault());
        }
        match checked {
            Ok(email) if faults.is_empty() => Ok((email, named.flatten())),
            _ => Err(SignUpError::Refused(faults)),
        }
    }

    pub(super) fn new_user(&self, email: Email, name: Option<String>, role: Role) -> User {
        let now = self.clock.now();
        User {
            id: UserId(self.ids.uuid()),
            email,
            email_verified: false,
            name,
            locale: DEFAULT_LOCALE.to_owned(),
            role,
            created_at: now,
            updated_at: now,
        }
    }
}

pub(super) async fn insert(unit: &mut dyn UnitOfWork, user: &User, hash: &str) -> Result<(), SignUpError> {
    unit.insert_user(user).await.map_err(|e| {
        if e.conflicts_on(EMAIL_TAKEN) {
            SignUpError::EmailTaken
        } else {
            e.into()
        }
    })?;
    unit.put_password_hash(user.id, hash, user.created_at).await?;
    Ok(())
}
