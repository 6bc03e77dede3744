//! Somebody has forgotten their password: they are mailed a link that sets a new one.

use anteroom_domain::accounts::{Email, Purpose, User};
use anteroom_ports::{Durability, StoreError, StoreResult, UnitOfWork};
use tracing::info;

use super::Accounts;
use super::resend_verification::MailAsk;
use crate::Client;
use crate::webhooks::Letter;

/// The errand's topic in the outbox.
pub(super) const FORGOT: &str = "account.password_reset";

impl Accounts {
    /// Mails a link, if the address belongs to an account. Whether it does is found out afterwards, so that neither the
    /// answer nor the time it takes tells.
    pub async fn request_password_reset(&self, email: &Email, client: &Client) -> StoreResult<()> {
        self.queue_mail_ask(FORGOT, email, client).await?;
        info!(event = "account.password.reset_requested");
        Ok(())
    }

    /// The errand: looks the account up and mails it.
    pub(super) async fn mail_password_reset(&self, ask: &MailAsk) -> Result<(), StoreError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let user = self.lock_asked(&mut *unit, ask).await?;
        let refused = match &user {
            None => Some("unknown_address"),
            Some(user) if !user.usable() => Some("account_disabled"),
            Some(user) if !self.may_mail_token(&mut *unit, user.id, Purpose::ResetPassword).await? => Some("too_many"),
            Some(user) => {
                self.queue_reset(&mut *unit, user).await?;
                None
            }
        };
        self.record_ask(unit, "account.password.reset_request", user.as_ref(), refused, ask)
            .await
    }

    /// A fresh link to set a password with, as part of a unit of work.
    pub(super) async fn queue_reset(&self, unit: &mut dyn UnitOfWork, user: &User) -> StoreResult<()> {
        let token = self.reset_token(unit, user).await?;
        let letter = Letter::ResetPassword {
            token: &token,
            expires_minutes: Purpose::ResetPassword.lifetime().as_mins(),
        };
        self.webhooks.tell(unit, user, letter).await
    }

    pub(super) async fn reset_token(
        &self,
        unit: &mut dyn UnitOfWork,
        user: &User,
    ) -> StoreResult<secrecy::SecretString> {
        self.issue_token(unit, user.id, Purpose::ResetPassword, user.email.as_str())
            .await
    }
}
