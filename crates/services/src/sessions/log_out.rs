//! A user ends the session they ask with.

use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{EndReason, Session};
use anteroom_ports::{Durability, StoreResult};

use super::Sessions;
use crate::Client;
use crate::audit::Act;

impl Sessions {
    /// Ends the session with everything that carries it: cookie, access tokens, refresh tokens, running streams.
    pub async fn log_out(&self, session: &Session, client: &Client) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let ended = unit
            .end_session(session.id, self.clock.now(), EndReason::Logout)
            .await?;
        if ended {
            let act = Act::succeeded("session.logout", Actor::User(session.user_id), client)
                .subject(session.user_id)
                .session(session.id);
            self.audit.record(&mut *unit, act).await?;
        }
        unit.commit().await?;
        if ended {
            self.ended_now(&[session.id], session.user_id, EndReason::Logout);
        } else {
            self.forget_session(session.id);
        }
        Ok(())
    }
}
