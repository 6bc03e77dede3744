//! An account's failed logins are forgotten: its password was reset, or an admin or the operator says so.

use anteroom_domain::UserId;
use anteroom_domain::accounts::Email;
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreError, StoreResult, UnitOfWork};
use tracing::info;

use super::Protection;
use crate::Client;
use crate::accounts::may_still_act;
use crate::audit::Act;

/// Why nothing was forgotten.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// There is no such account.
    #[error("there is no such user")]
    NotFound,
    /// Whoever asks is no admin any more.
    #[error("this is for admins")]
    Forbidden,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Protection {
    /// Forgets the failures counted for an address, as part of a unit of work; those of client addresses stay. The
    /// account's owner can log in at once. `false` if there were none.
    pub async fn clear_login_failures(&self, unit: &mut dyn UnitOfWork, email: &str) -> StoreResult<bool> {
        unit.delete_login_failures(&self.account_key(email)).await
    }

    /// The same as an act of its own, of an admin's. `false` if there were none.
    pub async fn unlock_user(&self, id: UserId, actor: Actor, client: &Client) -> Result<bool, UnlockError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let user = unit.lock_user(id).await?.ok_or(UnlockError::NotFound)?;
        if !may_still_act(&mut *unit, actor).await? {
            return Err(UnlockError::Forbidden);
        }
        Ok(self.unlock(unit, user.email.as_str(), Some(id), actor, client).await?)
    }

    /// The same as an act of the operator's, who names an address whether or not it has an account.
    pub async fn unlock_account(&self, email: &str) -> StoreResult<bool> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let owner = match Email::parse(email) {
            Ok(email) => unit.user_by_email(email.folded()).await?.map(|(user, _)| user.id),
            Err(_) => None,
        };
        self.unlock(unit, email, owner, Actor::Operator, &Client::default())
            .await
    }

    async fn unlock(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        email: &str,
        owner: Option<UserId>,
        actor: Actor,
        client: &Client,
    ) -> StoreResult<bool> {
        let cleared = self.clear_login_failures(&mut *unit, email).await?;
        let act = Act::succeeded("account.lockout.clear", actor, client)
            .subject(owner)
            .detail("cleared", cleared);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        let user_id = owner.map(|id| id.to_string());
        info!(event = "account.lockout.cleared", user_id, by = %actor, cleared);
        Ok(cleared)
    }
}
