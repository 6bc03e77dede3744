//! Listing users, for the operator's people.

use anteroom_domain::UserId;
use anteroom_domain::accounts::User;
use anteroom_ports::StoreResult;

use super::Accounts;
use crate::Page;

impl Accounts {
    /// A page of users, newest first, older than `before`.
    pub async fn list_users(&self, before: Option<UserId>, limit: i64) -> StoreResult<Page<User>> {
        let users = self.store.read().await?.page_users(before, limit + 1).await?;
        Ok(Page::cut(users, limit))
    }
}
