//! A user ends all their sessions but the one they ask with.

use std::collections::HashSet;

use anteroom_domain::SessionId;
use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{EndReason, Session};
use anteroom_ports::{Durability, StoreResult};

use super::Sessions;
use crate::Client;
use crate::audit::Act;

impl Sessions {
    /// Ends all sessions of the user but `current`. Answers how many were in force.
    pub async fn revoke_others(&self, current: &Session, client: &Client) -> StoreResult<usize> {
        let user = current.user_id;
        let mut unit = self.store.begin(Durability::Full).await?;
        // A login that is under way is over before, or begins after.
        unit.lock_user(user).await?;
        let now = self.clock.now();
        let mut live = unit.live_sessions(user, now).await?;
        live.retain(|session| self.in_force(session, now));
        let live: HashSet<SessionId> = live.into_iter().map(|session| session.id).collect();
        // Those that lay idle for too long end as well, unmentioned: they opened nothing.
        let mut ended = unit
            .end_sessions_of(user, Some(current.id), now, EndReason::Revoked)
            .await?;
        ended.retain(|id| live.contains(id));
        if !ended.is_empty() {
            let act = Act::succeeded("session.revoke", Actor::User(user), client)
                .subject(user)
                .detail("all_but", current.id.to_string())
                .detail("ended", ended.len());
            self.audit.record(&mut *unit, act).await?;
        }
        unit.commit().await?;
        self.ended_now(&ended, user, EndReason::Revoked);
        Ok(ended.len())
    }
}
