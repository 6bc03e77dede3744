//! Calls whose process died: what they held is booked as the least they must have used.

use anteroom_domain::billing::METER_MESSAGES;
use anteroom_domain::billing::METER_SPEND;
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_ports::{Durability, StoreResult};
use tracing::warn;

use super::Chat;

impl Chat {
    /// Settles reservations past their end, a batch at a time. Answers how many.
    pub async fn sweep_calls(&self) -> StoreResult<usize> {
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let lost = unit.expired_reservations(now, 100).await?;
        for reservation in &lost {
            let usage = reservation.at_least;
            let spend = self.options.prices.capped(&reservation.model, usage).0;
            if !unit
                .settle_quota(reservation.id, &[(METER_MESSAGES, 1), (METER_SPEND, spend)])
                .await?
            {
                continue;
            }
            let total = now.duration_since(reservation.created_at).as_millis();
            let event = UsageEvent {
                request_id: reservation.request_id,
                owner: reservation.owner,
                session_id: reservation.session_id,
                model: reservation.model.clone(),
                usage,
                exact: false,
                cost: self.options.prices.cost(&reservation.model, usage),
                first_token_ms: None,
                total_ms: i64::try_from(total).unwrap_or(i64::MAX),
                outcome: Outcome::Lost,
                created_at: now,
            };
            unit.insert_usage(&event).await?;
            warn!(event = "chat.call.lost", call_id = %reservation.request_id, owner_id = %reservation.owner.id, model = %reservation.model);
        }
        if lost.is_empty() {
            return Ok(0);
        }
        unit.commit().await?;
        Ok(lost.len())
    }
}
