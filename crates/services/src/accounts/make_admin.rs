//! The operator makes somebody an admin, from the command line.

use anteroom_domain::accounts::{Email, Role, User};
use anteroom_domain::audit::Actor;
use anteroom_ports::Durability;
use secrecy::SecretString;
use tracing::info;

use super::{Accounts, SignUpError};
use crate::Client;
use crate::audit::Act;

/// What came of it.
#[derive(Debug)]
pub enum MadeAdmin {
    /// A new account.
    Created(User),
    /// An existing account, whose password stays.
    Promoted(User),
}

/// Why nobody was made an admin.
#[derive(Debug, thiserror::Error)]
pub enum MakeAdminError {
    /// The address has no account, and there is no password for a new one.
    #[error("there is no account with this address; a new one needs a password")]
    PasswordNeeded,
    /// As for everyone else who signs up.
    #[error(transparent)]
    SignUp(#[from] SignUpError),
}

impl Accounts {
    /// Whether an address has an account, so that a command knows whether to ask for a password.
    pub async fn has_account(&self, email: &str) -> Result<bool, MakeAdminError> {
        let Ok(email) = Email::parse(email) else {
            return Ok(false);
        };
        let found = async { self.store.read().await?.user_by_email(email.folded()).await }.await;
        Ok(found.map_err(SignUpError::from)?.is_some())
    }

    /// Promotes the account with this address, or makes one with the password.
    pub async fn make_admin(
        &self,
        email: &str,
        name: Option<&str>,
        password: Option<&SecretString>,
    ) -> Result<MadeAdmin, MakeAdminError> {
        if let Some(user) = self.promote(email).await? {
            info!(event = "account.admin.promoted", user_id = %user.id);
            return Ok(MadeAdmin::Promoted(user));
        }
        let password = password.ok_or(MakeAdminError::PasswordNeeded)?;
        let user = self.check_new_user(email, password, name, None, Role::Admin)?;
        let hash = self.hasher.hash(password).await.map_err(SignUpError::from)?;
        let mut unit = self.store.begin(Durability::Full).await.map_err(SignUpError::from)?;
        self.insert(&mut *unit, &user, &hash).await?;
        let host = Client::default();
        let act = Act::succeeded("account.admin.create", Actor::Operator, &host).subject(user.id);
        self.audit.record(&mut *unit, act).await.map_err(SignUpError::from)?;
        unit.commit().await.map_err(SignUpError::from)?;
        info!(event = "account.admin.created", user_id = %user.id);
        Ok(MadeAdmin::Created(user))
    }

    async fn promote(&self, email: &str) -> Result<Option<User>, SignUpError> {
        let Ok(email) = Email::parse(email) else {
            return Ok(None);
        };
        let mut unit = self.store.begin(Durability::Full).await?;
        let Some((found, _)) = unit.user_by_email(email.folded()).await? else {
            return Ok(None);
        };
        let Some(mut user) = unit.lock_user(found.id).await? else {
            return Ok(None);
        };
        user.role = Role::Admin;
        user.updated_at = self.clock.now();
        unit.update_user(&user).await?;
        let host = Client::default();
        let act = Act::succeeded("account.admin.promote", Actor::Operator, &host).subject(user.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        Ok(Some(user))
    }
}
