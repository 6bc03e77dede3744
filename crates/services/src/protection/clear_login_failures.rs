//! An account's failed logins are forgotten: its password was reset, or the operator says so.

use anteroom_ports::{Durability, StoreResult, UnitOfWork};
use tracing::info;

use super::Protection;

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
        unit.commit().await?;
        info!(event = "account.lockout.cleared", cleared);
        Ok(cleared)
    }
}
