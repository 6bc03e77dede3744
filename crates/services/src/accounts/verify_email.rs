//! Somebody proves with a mailed token that they read an address: the one that an account has, or the one it is to have.

use anteroom_domain::accounts::{Email, OneTimeToken, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_ports::accounts::EMAIL_TAKEN;
use anteroom_ports::{Durability, UnitOfWork};
use secrecy::SecretString;
use tracing::info;

use super::{Accounts, TokenError};
use crate::Client;
use crate::audit::Act;
use crate::webhooks::Letter;

impl Accounts {
    /// Proves an address. Of parallel callers with one token one succeeds.
    pub async fn verify_email(&self, token: &SecretString, client: &Client) -> Result<(), TokenError> {
        let outcome = self.try_verify_email(token, client).await;
        if let Err(e) = &outcome {
            info!(event = "account.email.verify_failed", reason = %e);
        }
        outcome
    }

    async fn try_verify_email(&self, token: &SecretString, client: &Client) -> Result<(), TokenError> {
        let (digest, now) = (self.token_digest(token), self.clock.now());
        let mut unit = self.store.begin(Durability::Full).await?;
        if let Some(token) = unit.take_one_time_token(Purpose::VerifyEmail, &digest, now).await? {
            return self.prove(unit, &token, client).await;
        }
        let taken = unit.take_one_time_token(Purpose::ConfirmNewEmail, &digest, now).await?;
        self.change(unit, &taken.ok_or(TokenError::Invalid)?, client).await
    }

    /// The address that the account has is proven.
    async fn prove(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        token: &OneTimeToken,
        client: &Client,
    ) -> Result<(), TokenError> {
        let user = unit.lock_user(token.user_id).await?.filter(User::usable);
        let mut user = user.ok_or(TokenError::Invalid)?;
        // The token proves the address that it was mailed to, not one that came after it.
        let proven = token.email.as_deref().map(Email::fold);
        if proven.as_deref() != Some(user.email.folded()) {
            return Err(TokenError::Invalid);
        }
        let now = self.clock.now();
        user.email_verified = true;
        user.updated_at = now;
        unit.update_user(&user).await?;
        unit.void_one_time_tokens(user.id, Purpose::VerifyEmail, now).await?;
        let act = Act::succeeded("account.email.verify", Actor::User(user.id), client).subject(user.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.forget_cached_state();
        info!(event = "account.email.verified", user_id = %user.id);
        Ok(())
    }

    /// The account gets the address that is proven; the former one is told, and can take it back.
    async fn change(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        token: &OneTimeToken,
        client: &Client,
    ) -> Result<(), TokenError> {
        let user = unit.lock_user(token.user_id).await?.filter(User::usable);
        let mut user = user.ok_or(TokenError::Invalid)?;
        let new = Email::stored(token.email.clone().ok_or(TokenError::Invalid)?);
        let now = self.clock.now();
        if unit.address_is_reserved(new.folded(), Some(user.id), now).await? {
            return Err(TokenError::EmailTaken);
        }
        let undo = self
            .issue_token(&mut *unit, user.id, Purpose::UndoEmailChange, user.email.as_str())
            .await?;
        let letter = Letter::EmailChanged {
            new_email: new.as_str(),
            undo_token: &undo,
            undo_hours: Purpose::UndoEmailChange.lifetime().as_hours(),
        };
        self.webhooks.tell(&mut *unit, &user, letter).await?;
        user.email = new;
        user.email_verified = true;
        user.updated_at = now;
        unit.update_user(&user).await.map_err(|e| {
            if e.conflicts_on(EMAIL_TAKEN) {
                TokenError::EmailTaken
            } else {
                e.into()
            }
        })?;
        // Links that were mailed to the former address open nothing more.
        for purpose in [Purpose::VerifyEmail, Purpose::ConfirmNewEmail, Purpose::ResetPassword] {
            unit.void_one_time_tokens(user.id, purpose, now).await?;
        }
        let act = Act::succeeded("account.email.change", Actor::User(user.id), client).subject(user.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.forget_cached_state();
        info!(event = "account.email.changed", user_id = %user.id);
        Ok(())
    }
}
