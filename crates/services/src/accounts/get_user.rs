//! Reading one user.

use anteroom_domain::UserId;
use anteroom_domain::accounts::User;
use anteroom_ports::StoreResult;

use super::Accounts;

impl Accounts {
    /// The user as the store has it now.
    pub async fn get_user(&self, id: UserId) -> StoreResult<Option<User>> {
        self.store.read().await?.user(id).await
    }
}
