//! An account's failed logins are forgotten: its password was reset, or the operator says so.

use anteroom_domain::accounts::Email;
use anteroom_domain::audit::Actor;
use anteroom_ports::{Durability, StoreResult, UnitOfWork};
use tracing::info;

use super::Protection;
use crate::Client;
use crate::audit::Act;

impl Protection {
    /// Forgets the failures counted for an address, as part of a unit of work; those of client addresses stay. The
    /// account's owner can log in at once. `false` if there were none.
    pub async fn clear_login_failures(&self, unit: &mut dyn UnitOfWork, email: &str) -> StoreResult<bool> {
        unit.delete_login_failures(&self.account_key(email)).await
    }

    /// The same as an act of its own, of the operator's.
    pub async fn unlock_account(&self, email: &str) -> StoreResult<bool> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let cleared = self.clear_login_failures(&mut *unit, email).await?;
        let owner = match Email::parse(email) {
            Ok(email) => unit.user_by_email(email.folded()).await?.map(|(user, _)| user.id),
            Err(_) => None,
        };
        let host = Client::default();
        let act = Act::succeeded("account.lockout.clear", Actor::Operator, &host)
            .subject(owner)
            .detail("cleared", cleared);
        self.audit.record(&mut *unit, act).await?;
        unit.commit().await?;
        let user_id = owner.map(|id| id.to_string());
        info!(event = "account.lockout.cleared", user_id, cleared);
        Ok(cleared)
    }
}
