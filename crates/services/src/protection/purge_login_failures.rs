//! Failed logins that no longer count are deleted.

use anteroom_ports::{Durability, StoreResult};

use super::Protection;

/// Rows at a time.
const BATCH: i64 = 500;

impl Protection {
    /// Deletes one batch. Answers how many there were.
    pub async fn purge_login_failures(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let o = &self.options;
        let longest = o.account_lockout.forget_after.max(o.address_lockout.forget_after);
        let before = now.checked_sub(longest).unwrap_or(now);
        let mut unit = self.store.begin(Durability::Full).await?;
        let purged = unit.purge_login_failures(before, now, BATCH).await?;
        if purged > 0 {
            unit.commit().await?;
        }
        Ok(purged)
    }
}
