//! An admin, or the operator, has somebody mailed a link that sets a new password. The password itself they never see
//! or set.

use anteroom_domain::UserId;
use anteroom_domain::accounts::{Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::{Accounts, may_still_act};
use crate::Client;
use crate::audit::Act;
use crate::webhooks::Letter;

/// Why nobody was mailed.
#[derive(Debug, thiserror::Error)]
pub enum SendResetMailError {
    /// There is no such account.
    #[error("there is no such user")]
    NotFound,
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// The account is closed, so the link would open nothing.
    #[error("the account is closed: open it first")]
    Disabled,
    /// No mail leaves this place.
    #[error("no mail leaves here: set SMTP_URL first")]
    NoMailer,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Mails a user a link that sets a new password. Links that they have already stay good.
    pub async fn send_reset_mail(&self, id: UserId, actor: Actor, client: &Client) -> Result<User, SendResetMailError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let user = unit.lock_user(id).await?.ok_or(SendResetMailError::NotFound)?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(SendResetMailError::Forbidden);
        }
        if !user.usable() {
            return Err(SendResetMailError::Disabled);
        }
        if !self.webhooks.sends_mail() {
            return Err(SendResetMailError::NoMailer);
        }
        let token = self.reset_token(&mut *unit, &user).await?;
        let letter = Letter::PasswordResetByAdmin {
            token: &token,
            expires_minutes: Purpose::ResetPassword.lifetime().as_mins(),
        };
        self.webhooks.tell(&mut *unit, &user, letter).await?;
        let act = Act::succeeded("account.password.reset_request", actor, client).subject(id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        info!(event = "account.password.reset_mailed", user_id = %id, by = %actor);
        Ok(user)
    }
}
