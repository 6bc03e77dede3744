//! A user wants their account gone: it is closed at once, erased after a time in which they may come back.

use anteroom_domain::accounts::{Purpose, Role, User};
use anteroom_domain::audit::Actor;
use anteroom_domain::billing::Owner;
use anteroom_domain::sessions::EndReason;
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::{Durability, StoreError, StoreResult, UnitOfWork};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Accounts, SessionOver, TooLongAgo};
use crate::audit::Act;
use crate::sessions::LiveSession;
use crate::webhooks::Letter;
use crate::{Client, later};

/// The errand's topic in the outbox.
pub(super) const CANCEL_SUBSCRIPTION: &str = "account.cancel_subscription";

/// Whose subscription is to end at the provider.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CancelAsk {
    /// The account.
    pub(super) user_id: UserId,
    /// Which subscription, by the provider's identifier: not one that was begun since. None was named by the version
    /// before.
    #[serde(default)]
    pub(super) provider_id: Option<String>,
}

/// Why the account stays.
#[derive(Debug, thiserror::Error)]
pub enum DeleteAccountError {
    /// The user has to prove who they are first.
    #[error(transparent)]
    TooLongAgo(#[from] TooLongAgo),
    /// The session has ended meanwhile.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// Nobody else could run the place.
    #[error("this is the last admin")]
    LastAdmin,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Ends every session, cancels the subscription at the provider, and marks the account to be erased. Answers when
    /// that will be; logging in before takes it back.
    pub async fn delete_account(&self, live: &LiveSession, client: &Client) -> Result<Timestamp, DeleteAccountError> {
        let outcome = self.try_delete_account(live, client).await;
        match &outcome {
            Ok(_) => {
                info!(event = "account.deletion.requested", user_id = %live.user.id, session_id = %live.session.id);
            }
            Err(e) => {
                info!(event = "account.deletion.failed", user_id = %live.user.id, session_id = %live.session.id, reason = %e);
                let reason = match e {
                    DeleteAccountError::TooLongAgo(_) => Some("reauthentication_required"),
                    DeleteAccountError::SessionOver(_) => Some("session_ended"),
                    DeleteAccountError::LastAdmin => Some("last_admin"),
                    DeleteAccountError::Store(_) => None,
                };
                if let Some(reason) = reason {
                    let act = Act::failed("account.deletion.request", Actor::User(live.user.id), client, reason)
                        .subject(live.user.id)
                        .session(live.session.id);
                    self.audit.record_alone(act).await?;
                }
            }
        }
        outcome
    }

    async fn try_delete_account(&self, live: &LiveSession, client: &Client) -> Result<Timestamp, DeleteAccountError> {
        self.recently_proven(&live.session)?;
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        // Before the user is locked, as everywhere: whoever counts admins waits for nobody who waits for them.
        let admins = if live.user.role == Role::Admin {
            unit.count_admins().await?
        } else {
            0
        };
        let mut user = self.lock_live::<DeleteAccountError>(&mut *unit, live).await?;
        if user.role == Role::Admin && admins < 2 {
            return Err(DeleteAccountError::LastAdmin);
        }
        let delete_after = later(now, self.options.deletion_grace);
        user.delete_after = Some(delete_after);
        user.updated_at = now;
        unit.update_user(&user).await?;
        for purpose in [Purpose::ResetPassword, Purpose::ConfirmNewEmail] {
            unit.void_one_time_tokens(user.id, purpose, now).await?;
        }
        let ending = self
            .sessions
            .end_all(&mut *unit, user.id, None, EndReason::AccountDeleted)
            .await?;
        if let Some(subscription) = unit.subscription_of(Owner::account(user.id)).await? {
            let ask = CancelAsk {
                user_id: user.id,
                provider_id: Some(subscription.provider_id),
            };
            self.webhooks
                .queue_errand(&mut *unit, CANCEL_SUBSCRIPTION, &ask)
                .await?;
        }
        self.webhooks
            .tell(&mut *unit, &user, Letter::DeletionScheduled { on: delete_after })
            .await?;
        let act = Act::succeeded("account.deletion.request", Actor::User(user.id), client)
            .subject(user.id)
            .session(live.session.id);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        self.sessions.have_ended(ending);
        // Its API keys rest from now on.
        self.sessions.forget_user(user.id);
        Ok(delete_after)
    }

    /// Somebody logs in to an account that is to be erased: it stays. Part of the login's unit of work; `true` if there
    /// was anything to take back.
    pub(super) async fn cancel_deletion(
        &self,
        unit: &mut dyn UnitOfWork,
        user: &mut User,
        client: &Client,
    ) -> StoreResult<bool> {
        if user.delete_after.is_none() {
            return Ok(false);
        }
        user.delete_after = None;
        user.updated_at = self.clock.now();
        unit.update_user(user).await?;
        self.webhooks.tell(unit, user, Letter::DeletionCancelled).await?;
        let act = Act::succeeded("account.deletion.cancel", Actor::User(user.id), client).subject(user.id);
        self.audit.record(unit, act).await?;
        Ok(true)
    }

    /// The errand: ends the account's subscription at the provider.
    pub(super) async fn cancel_subscription(&self, ask: &CancelAsk) -> Result<(), crate::billing::CancelError> {
        let owner = Owner::account(ask.user_id);
        self.billing
            .cancel_subscription_of(owner, ask.provider_id.as_deref())
            .await
    }

    /// Erases accounts whose time has come, a batch at a time. Answers how many. What was used and paid stays under
    /// the account's identifier, and so does the audit log.
    pub async fn erase_due_accounts(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let due = self
            .store
            .begin(Durability::Full)
            .await?
            .users_to_erase(now, 50)
            .await?;
        let mut erased = 0;
        for user in due {
            erased += usize::from(self.erase(user.id, now).await?);
        }
        Ok(erased)
    }

    async fn erase(&self, id: UserId, now: Timestamp) -> StoreResult<bool> {
        let mut unit = self.store.begin(Durability::Full).await?;
        // It may have been taken back, or erased by another node, since it was found.
        let Some(user) = unit.lock_user(id).await? else {
            return Ok(false);
        };
        if user.delete_after.is_none_or(|at| at > now) {
            return Ok(false);
        }
        self.webhooks.tell(&mut *unit, &user, Letter::AccountErased).await?;
        let system = Client::default();
        let act = Act::succeeded("account.erase", Actor::System, &system).subject(id);
        self.audit.record(&mut *unit, act).await?;
        unit.delete_notices(Owner::account(id)).await?;
        unit.delete_user(id).await?;
        unit.commit().await?;
        info!(event = "account.erased", user_id = %id);
        Ok(true)
    }
}
