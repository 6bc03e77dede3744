//! Somebody sets a new password with a mailed link.

use anteroom_domain::accounts::{Email, OneTimeToken, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_ports::{Durability, HashError, StoreError};
use secrecy::SecretString;
use tracing::info;

use super::{Accounts, FieldFault};
use crate::Client;
use crate::audit::Act;
use crate::webhooks::Letter;

/// Why no password was set.
#[derive(Debug, thiserror::Error)]
pub enum ResetPasswordError {
    /// There is no such token, or it was used, made void, or has expired; nobody is told which.
    #[error("the token is unknown, used or expired")]
    InvalidToken,
    /// The password was refused; the token is still good.
    #[error("the password was refused")]
    Refused(Vec<FieldFault>),
    /// Hashing failed or is too busy; the token is still good.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Sets a new password and ends every session of the account, whoever had them. Of parallel callers with one token
    /// one succeeds.
    pub async fn reset_password(
        &self,
        token: &SecretString,
        password: &SecretString,
        client: &Client,
    ) -> Result<(), ResetPasswordError> {
        let outcome = self.try_reset_password(token, password, client).await;
        if let Err(e) = &outcome {
            info!(event = "account.password.reset_failed", reason = %e);
            let reason = match e {
                ResetPasswordError::InvalidToken => Some("invalid_token"),
                ResetPasswordError::Refused(faults) => faults.first().map(|fault| fault.code),
                _ => None,
            };
            if let Some(reason) = reason {
                let act = Act::failed("account.password.reset", Actor::Anonymous, client, reason);
                self.audit.record_alone(act).await?;
            }
        }
        outcome
    }

    async fn try_reset_password(
        &self,
        token: &SecretString,
        password: &SecretString,
        client: &Client,
    ) -> Result<(), ResetPasswordError> {
        let digest = self.token_digest(token);
        // Looked at before it is used up, so that a refused password costs nobody their link, and nothing is hashed
        // for a token that opens nothing.
        let (_, user) = self.reset_of(&digest).await?.ok_or(ResetPasswordError::InvalidToken)?;
        if let Some(fault) = self.password_faults(password, user.email.as_str(), user.name.as_deref()) {
            return Err(ResetPasswordError::Refused(vec![fault]));
        }
        let hash = self.hasher.hash(password).await?;

        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let (taken, mut user) = self
            .take_token(&mut *unit, Purpose::ResetPassword, token)
            .await?
            .filter(|(_, user)| user.usable())
            .ok_or(ResetPasswordError::InvalidToken)?;
        unit.put_password_hash(user.id, &hash, now).await?;
        // Whoever has the link reads the address.
        if !user.email_verified && taken.email.as_deref().map(Email::fold).as_deref() == Some(user.email.folded()) {
            user.email_verified = true;
            user.updated_at = now;
            unit.update_user(&user).await?;
        }
        for purpose in [Purpose::ResetPassword, Purpose::VerifyEmail, Purpose::ConfirmNewEmail] {
            unit.void_one_time_tokens(user.id, purpose, now).await?;
        }
        let ending = self
            .sessions
            .end_all(&mut *unit, user.id, None, EndReason::PasswordReset)
            .await?;
        self.protection
            .clear_login_failures(&mut *unit, user.email.as_str())
            .await?;
        self.webhooks.tell(&mut *unit, &user, Letter::PasswordReset).await?;
        let act = Act::succeeded("account.password.reset", Actor::User(user.id), client)
            .subject(user.id)
            .detail("sessions_ended", ending.count());
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.have_ended(ending);
        info!(event = "account.password.reset", user_id = %user.id);
        Ok(())
    }

    async fn reset_of(&self, digest: &anteroom_ports::Digest) -> Result<Option<(OneTimeToken, User)>, StoreError> {
        let mut read = self.store.read().await?;
        let found = read
            .one_time_token(Purpose::ResetPassword, digest, self.clock.now())
            .await?;
        let Some(token) = found else { return Ok(None) };
        let user = read.user(token.user_id).await?;
        Ok(user.map(|user| (token, user)))
    }
}
