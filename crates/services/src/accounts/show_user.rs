//! One user, as the operator's people see them.

use anteroom_domain::accounts::User;
use anteroom_domain::audit::Outcome;
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::StoreResult;
use anteroom_ports::audit::AuditFilter;

use super::Accounts;

/// A user with what is known about their use of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDetails {
    /// The user.
    pub user: User,
    /// When they last proved who they are: logged in, or signed up. `None` if never, or longer ago than the log reaches.
    pub last_login_at: Option<Timestamp>,
    /// Sessions that are open.
    pub sessions: usize,
}

impl Accounts {
    /// The user with this identifier.
    pub async fn show_user(&self, id: UserId) -> StoreResult<Option<UserDetails>> {
        let mut read = self.store.read().await?;
        let Some(user) = read.user(id).await? else {
            return Ok(None);
        };
        let sessions = read.live_sessions(id, self.clock.now()).await?.len();
        let mut last_login_at = None;
        for act in ["account.login", "account.signup"] {
            let filter = AuditFilter {
                subject: Some(id),
                act: Some(act.to_owned()),
                outcome: Some(Outcome::Succeeded),
                ..AuditFilter::default()
            };
            let newest = read.page_audit(&filter, None, 1).await?;
            last_login_at = last_login_at.max(newest.first().map(|entry| entry.at));
        }
        Ok(Some(UserDetails {
            user,
            last_login_at,
            sessions,
        }))
    }
}
