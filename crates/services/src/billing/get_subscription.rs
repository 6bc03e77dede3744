//! Reading what somebody holds.

use anteroom_domain::UserId;
use anteroom_domain::billing::{Access, Holdings, Owner};
use anteroom_ports::StoreResult;

use super::Billing;

impl Billing {
    /// What the user holds, as the store has it now, and what that comes to.
    pub async fn get_subscription(&self, user: UserId) -> StoreResult<(Access, Holdings)> {
        let now = self.clock.now();
        let holdings = self.store.read().await?.holdings_of(Owner::account(user), now).await?;
        Ok((self.access_at(&holdings, now), holdings))
    }
}
