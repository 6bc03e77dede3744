//! A user wants another address: it has to be proven first, and the present one is told.

use anteroom_domain::accounts::{Email, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::EndReason;
use anteroom_ports::{Durability, StoreError};
use secrecy::SecretString;
use tracing::info;

use super::{Accounts, FieldFault, TokenError, TooLongAgo};
use crate::Client;
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::Letter;

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub enum ChangeEmailError {
    /// The user has to prove who they are first.
    #[error(transparent)]
    TooLongAgo(#[from] TooLongAgo),
    /// The address was refused.
    #[error("the address was refused")]
    Refused(Vec<FieldFault>),
    /// The address has an account.
    #[error("this address has an account already")]
    EmailTaken,
    /// Too many in a short time.
    #[error("too many changes were asked for; wait an hour")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Mails a link to the new address, which gets the account when the link is followed, and tells the present one,
    /// with a link that stops it.
    pub async fn change_email(&self, live: &LiveSession, new: &str, client: &Client) -> Result<(), ChangeEmailError> {
        let outcome = self.try_change_email(live, new, client).await;
        match &outcome {
            Ok(()) => {
                info!(event = "account.email.change_requested", user_id = %live.user.id, session_id = %live.session.id);
            }
            Err(e) => {
                info!(event = "account.email.change_failed", user_id = %live.user.id, session_id = %live.session.id, reason = %e);
            }
        }
        outcome
    }

    async fn try_change_email(&self, live: &LiveSession, new: &str, client: &Client) -> Result<(), ChangeEmailError> {
        self.recently_proven(&live.session)?;
        let fault = |code, detail: String| {
            ChangeEmailError::Refused(vec![FieldFault {
                field: "email",
                code,
                detail,
            }])
        };
        let new = Email::parse(new).map_err(|e| fault("invalid_email", e.to_string()))?;
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let user = unit.lock_user(live.user.id).await?.ok_or(TooLongAgo)?;
        if new.folded() == user.email.folded() {
            return Err(fault("same_email", "this is the account's address already".to_owned()));
        }
        if !self
            .may_mail_token(&mut *unit, user.id, Purpose::ConfirmNewEmail)
            .await?
        {
            return Err(ChangeEmailError::TooMany);
        }
        let taken = unit.user_by_email(new.folded()).await?.is_some()
            || unit.address_is_reserved(new.folded(), Some(user.id), now).await?;
        // Where signing up does not tell whether an address has an account, this does not either: the link is just not
        // mailed.
        if taken && !self.options.require_verified_email {
            return Err(ChangeEmailError::EmailTaken);
        }
        unit.void_one_time_tokens(user.id, Purpose::ConfirmNewEmail, now)
            .await?;
        let token = self
            .issue_token(&mut *unit, user.id, Purpose::ConfirmNewEmail, new.as_str())
            .await?;
        if !taken {
            let letter = Letter::ConfirmNewEmail {
                token: &token,
                new_email: new.as_str(),
                expires_hours: Purpose::ConfirmNewEmail.lifetime().as_hours(),
            };
            let mail = self.webhooks.letter(&new, &user.locale, user.name.as_deref(), letter);
            self.webhooks.queue_mail(&mut *unit, mail).await?;
        }
        let undo = self
            .issue_token(&mut *unit, user.id, Purpose::UndoEmailChange, user.email.as_str())
            .await?;
        let letter = Letter::EmailChangeRequested {
            new_email: new.as_str(),
            undo_token: &undo,
            undo_hours: Purpose::UndoEmailChange.lifetime().as_hours(),
        };
        self.webhooks.tell(&mut *unit, &user, letter).await?;
        let act = Act::succeeded("account.email.change_request", Actor::User(user.id), client)
            .subject(user.id)
            .session(live.session.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        Ok(())
    }

    /// The owner of the address that an account had, or has, stops its change with a mailed link. It was perhaps not
    /// theirs: every session ends, and they are mailed a link for a new password.
    pub async fn undo_email_change(&self, token: &SecretString, client: &Client) -> Result<(), TokenError> {
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let taken = unit
            .take_one_time_token(Purpose::UndoEmailChange, &self.token_digest(token), now)
            .await?;
        let Some(taken) = taken else {
            info!(event = "account.email.undo_failed", reason = "invalid_token");
            return Err(TokenError::Invalid);
        };
        let user = unit.lock_user(taken.user_id).await?.filter(User::usable);
        let mut user = user.ok_or(TokenError::Invalid)?;
        let former = Email::stored(taken.email.ok_or(TokenError::Invalid)?);
        let reverted = user.email.folded() != former.folded();
        user.email = former;
        user.email_verified = true;
        user.updated_at = now;
        unit.update_user(&user).await?;
        for purpose in [
            Purpose::ConfirmNewEmail,
            Purpose::UndoEmailChange,
            Purpose::ResetPassword,
            Purpose::VerifyEmail,
        ] {
            unit.void_one_time_tokens(user.id, purpose, now).await?;
        }
        let ending = self
            .sessions
            .end_all(&mut *unit, user.id, None, EndReason::EmailChangeUndone)
            .await?;
        let reset = self.reset_token(&mut *unit, &user).await?;
        let letter = Letter::ResetPassword {
            token: &reset,
            expires_minutes: Purpose::ResetPassword.lifetime().as_mins(),
        };
        self.webhooks.tell(&mut *unit, &user, letter).await?;
        let act = Act::succeeded("account.email.undo", Actor::User(user.id), client)
            .subject(user.id)
            .detail("reverted", reverted)
            .detail("sessions_ended", ending.count());
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.have_ended(ending);
        info!(event = "account.email.change_undone", user_id = %user.id, reverted);
        Ok(())
    }
}
