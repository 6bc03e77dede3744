//! Somebody has not got, or has lost, the mail that proves their address.

use anteroom_domain::accounts::{Email, Purpose, User};
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError, StoreResult, UnitOfWork};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::Accounts;
use crate::Client;
use crate::audit::Act;
use crate::webhooks::Letter;

/// The errand's topic in the outbox.
pub(super) const RESEND: &str = "account.verification";

/// What was asked for, to be looked at after the answer was given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MailAsk {
    /// The folded address that was typed.
    pub(super) folded: String,
    /// From where.
    pub(super) address: Option<String>,
    /// With what.
    pub(super) user_agent: Option<String>,
    /// In which request.
    pub(super) request_id: Option<anteroom_domain::RequestId>,
}

impl MailAsk {
    pub(super) fn new(email: &Email, client: &Client) -> Self {
        Self {
            folded: email.folded().to_owned(),
            address: client.address.clone(),
            user_agent: client
                .user_agent
                .as_deref()
                .map(anteroom_domain::sessions::clip_user_agent),
            request_id: client.request_id,
        }
    }

    pub(super) fn client(&self) -> Client {
        Client {
            address: self.address.clone(),
            user_agent: self.user_agent.clone(),
            country: None,
            request_id: self.request_id,
        }
    }
}

impl Accounts {
    /// Mails another verification link, if the address belongs to an account that has not proven it. Whether it does
    /// is found out afterwards, so that neither the answer nor the time it takes tells.
    pub async fn resend_verification(&self, email: &Email, client: &Client) -> StoreResult<()> {
        self.queue_mail_ask(RESEND, email, client).await?;
        info!(event = "account.email.verification_requested");
        Ok(())
    }

    pub(super) async fn queue_mail_ask(&self, topic: &'static str, email: &Email, client: &Client) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        self.webhooks
            .queue_errand_apart(&mut *unit, topic, &MailAsk::new(email, client))
            .await?;
        unit.commit().await
    }

    /// The errand: looks the account up and mails it.
    pub(super) async fn mail_verification(&self, ask: &MailAsk) -> Result<(), StoreError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let user = self.lock_asked(&mut *unit, ask).await?;
        let refused = match &user {
            None => Some("unknown_address"),
            Some(user) if !user.usable() => Some("account_disabled"),
            Some(user) if user.email_verified => Some("already_verified"),
            Some(user) => self.mail_to_unproven(&mut *unit, user).await?,
        };
        self.record_ask(unit, "account.email.verification_request", user.as_ref(), refused, ask)
            .await
    }

    /// Where the account has lost its password to a second sign-up, the link sets one, and proves the address with it.
    async fn mail_to_unproven(&self, unit: &mut dyn UnitOfWork, user: &User) -> StoreResult<Option<&'static str>> {
        let lost = self.options.require_verified_email && unit.password_hash(user.id).await?.is_none();
        let purpose = if lost {
            Purpose::ResetPassword
        } else {
            Purpose::VerifyEmail
        };
        if !self.may_mail_token(unit, user.id, purpose).await? {
            return Ok(Some("too_many"));
        }
        if lost {
            self.queue_reset(unit, user).await?;
        } else {
            self.queue_verification(unit, user).await?;
        }
        Ok(None)
    }

    /// The user with the address that was typed, locked.
    pub(super) async fn lock_asked(&self, unit: &mut dyn UnitOfWork, ask: &MailAsk) -> StoreResult<Option<User>> {
        match unit.user_by_email(&ask.folded).await? {
            Some((found, _)) => unit.lock_user(found.id).await,
            None => Ok(None),
        }
    }

    /// Records what came of it, and commits.
    pub(super) async fn record_ask(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        act: &'static str,
        user: Option<&User>,
        refused: Option<&str>,
        ask: &MailAsk,
    ) -> StoreResult<()> {
        let client = ask.client();
        let act = match refused {
            None => Act::succeeded(act, Actor::Anonymous, &client),
            Some(reason) => Act::failed(act, Actor::Anonymous, &client, reason),
        };
        self.audit
            .record(&mut *unit, act.subject(user.map(|user| user.id)))
            .await?;
        unit.commit().await
    }

    /// A fresh link to prove the account's address with, as part of a unit of work.
    pub(super) async fn queue_verification(&self, unit: &mut dyn UnitOfWork, user: &User) -> StoreResult<()> {
        let token = self
            .issue_token(unit, user.id, Purpose::VerifyEmail, user.email.as_str())
            .await?;
        let letter = Letter::VerifyEmail {
            token: &token,
            expires_hours: Purpose::VerifyEmail.lifetime().as_hours(),
        };
        self.webhooks.tell(unit, user, letter).await
    }
}
