//! Listing users, for the operator's people.

use anteroom_domain::UserId;
use anteroom_domain::accounts::User;
use anteroom_ports::StoreResult;
use anteroom_ports::accounts::UserFilter;

use super::Accounts;
use crate::Page;

impl Accounts {
    /// A page of users, newest first, older than `before`.
    pub async fn list_users(&self, filter: &UserFilter, before: Option<UserId>, limit: i64) -> StoreResult<Page<User>> {
        let users = self.store.read().await?.page_users(filter, before, limit + 1).await?;
        Ok(Page::cut(users, limit))
    }
}
