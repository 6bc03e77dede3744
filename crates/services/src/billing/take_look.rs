//! Looking now and then at whoever was booked since the last look: by one node of all.

use anteroom_domain::Timestamp;
use anteroom_ports::{Durability, StoreResult};
use jiff::SignedDuration;

use super::Billing;
use crate::{earlier, later};

/// How often one node of all looks, at most; jobs run a little less often.
const EVERY: SignedDuration = SignedDuration::from_secs(45);

/// How far before the last look one begins: clocks of nodes differ, bookings are written after their time, and a look may
/// have failed. Who is looked at twice must not be treated twice.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

impl Billing {
    /// Takes the turn of this name. Answers since when bookings are to be looked at; `None` if it is another node's turn.
    pub(super) async fn take_look(&self, turn: &str) -> StoreResult<Option<Timestamp>> {
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let last = unit.kept_deployment_value(turn).await?;
        if !unit.take_turn(turn, now, later(now, EVERY)).await? {
            return Ok(None);
        }
        unit.commit().await?;
        // A turn is kept as its end.
        let last = last.and_then(|until| until.parse::<Timestamp>().ok());
        let since = last.map_or(now, |until| earlier(until, EVERY).min(now));
        Ok(Some(earlier(since, OVERLAP)))
    }
}
