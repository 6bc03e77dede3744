//! Renewing what this node's calls hold, so that they are not taken for dead.

use anteroom_domain::ReservationId;
use anteroom_ports::{Durability, StoreResult};

use super::Chat;

impl Chat {
    /// Renews the reservations and claims of all calls that run here, in one commit, a third of a lease after it last
    /// did. Answers how many calls. To be called much more often, since a store that was away is back at some moment.
    pub async fn tend_calls(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let calls: Vec<ReservationId> = self.leases.due(now).into_iter().map(ReservationId).collect();
        if calls.is_empty() {
            return Ok(0);
        }
        let until = self.leases.until(now);
        // A power cut that loses this ends the calls as well.
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        unit.renew_claims(&calls, until).await?;
        unit.renew_reservations(&calls, until).await?;
        unit.commit().await?;
        self.leases.renewed(now);
        Ok(calls.len())
    }
}
