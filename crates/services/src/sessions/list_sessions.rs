//! A user looks where they are signed in.

use anteroom_domain::UserId;
use anteroom_domain::sessions::Session;
use anteroom_ports::StoreResult;

use super::Sessions;

impl Sessions {
    /// The user's sessions that are in force, newest first. They are as many as the user has logins, so the list is
    /// not cut.
    pub async fn list(&self, user: UserId) -> StoreResult<Vec<Session>> {
        let now = self.clock.now();
        let live = self.store.read().await?.live_sessions(user, now).await?;
        let seen = live.into_iter().rev().map(|session| self.as_last_seen(session));
        Ok(seen.filter(|session| self.in_force(session, now)).collect())
    }
}
