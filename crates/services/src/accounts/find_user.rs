//! The operator names somebody, by address or by identifier.

use anteroom_domain::accounts::{Email, User};
use anteroom_ports::StoreResult;

use super::Accounts;

impl Accounts {
    /// The user whom an address or an identifier names.
    pub async fn find_user(&self, named: &str) -> StoreResult<Option<User>> {
        if let Ok(id) = named.trim().parse() {
            return self.get_user(id).await;
        }
        let Ok(email) = Email::parse(named) else {
            return Ok(None);
        };
        let found = self.store.read().await?.user_by_email(email.folded()).await?;
        Ok(found.map(|(user, _)| user))
    }
}
