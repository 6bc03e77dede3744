//! Somebody has forgotten their password: they are mailed a link that sets a new one.

use anteroom_domain::accounts::{Email, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError, StoreResult, UnitOfWork};
use tracing::info;

use super::Accounts;
use super::resend_verification::MailAsk;
use crate::Client;
use crate::audit::Act;
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
        let Some((found, _)) = unit.user_by_email(&ask.folded).await? else {
            return Ok(());
        };
        let Some(user) = unit.lock_user(found.id).await? else {
            return Ok(());
        };
        if !user.usable() || !self.may_mail_token(&mut *unit, user.id, Purpose::ResetPassword).await? {
            return Ok(());
        }
        let token = self.reset_token(&mut *unit, &user).await?;
        let letter = Letter::ResetPassword {
            token: &token,
            expires_minutes: Purpose::ResetPassword.lifetime().as_mins(),
        };
        self.webhooks.tell(&mut *unit, &user, letter).await?;
        let client = ask.client();
        let act = Act::succeeded("account.password.reset_request", Actor::Anonymous, &client).subject(user.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await
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
