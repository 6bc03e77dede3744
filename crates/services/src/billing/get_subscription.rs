//! Reading what somebody holds.

use anteroom_domain::UserId;
use anteroom_domain::billing::{Access, Owner};
use anteroom_ports::StoreResult;

use super::Billing;

impl Billing {
    /// What the user holds, as the store has it now.
    pub async fn get_subscription(&self, user: UserId) -> StoreResult<Access> {
        let subscription = self.store.read().await?.subscription_of(Owner::account(user)).await?;
        Ok(self.access(subscription.as_ref()))
    }
}
