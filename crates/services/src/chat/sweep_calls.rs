//! Calls whose process died: what they held is booked as the least they must have used.

use std::sync::atomic::Ordering;

use anteroom_domain::billing::{METER_CREDITS, ModelPrice, PLAN_UNKNOWN};
use anteroom_domain::chat::{Outcome, UsageEvent};
use anteroom_ports::billing::Reservation;
use anteroom_ports::{Durability, StoreResult};
use tracing::warn;

use super::Chat;
use super::hold_quota::Amounts;
use crate::billing::{Billing, CreditSpend};

/// Whether a call held credits.
fn takes_credits(call: &Reservation) -> bool {
    call.holds.iter().any(|hold| hold.key.meter == METER_CREDITS)
}

impl Chat {
    /// Settles the reservations of calls whose process is dead, a batch at a time: those past their end by another
    /// lease. Answers how many.
    pub async fn sweep_calls(&self) -> StoreResult<usize> {
        let swept = self.sweep().await;
        self.sweep_failed.store(swept.is_err(), Ordering::Relaxed);
        swept
    }

    async fn sweep(&self) -> StoreResult<usize> {
        // While the store was away nobody could renew anything: they get a round's time to do it now.
        if self.sweep_failed.load(Ordering::Relaxed) {
            return self.store.ping().await.map(|()| 0);
        }
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let lost = unit.expired_reservations(self.leases.dead_before(now), 100).await?;
        if lost.is_empty() {
            return Ok(0);
        }
        // Conversations before reservations, as a call that ends takes them.
        for reservation in &lost {
            unit.lose_answer(reservation.id).await?;
        }
        let priced: Vec<_> = lost.iter().map(|call| (call, self.likely_price(&call.model))).collect();
        let rate = self.billing.credit_rate();
        let settlements = priced.iter().map(|(call, price)| {
            let spend = self.capped(*price).of(call.at_least);
            Amounts::of(call.at_least, spend, rate).settle(call.id)
        });
        let credits = priced.iter().filter(|(call, _)| takes_credits(call));
        let spends = credits.map(|(call, price)| CreditSpend {
            reservation: call.id,
            owner: call.owner,
            amount: rate.of(self.capped(*price).of(call.at_least)),
            began: call.created_at,
            reference: call.request_id.to_string(),
            at: now,
        });
        let (settlements, spends): (Vec<_>, Vec<_>) = (settlements.collect(), spends.collect());
        let open = Billing::settle_quota(&mut *unit, &settlements, &spends).await?;
        let mut events = Vec::with_capacity(open.len());
        for (reservation, price) in priced {
            if !open.contains(&reservation.id) {
                continue;
            }
            let usage = reservation.at_least;
            let total = now.duration_since(reservation.created_at).as_millis();
            events.push(UsageEvent {
                request_id: reservation.request_id,
                owner: reservation.owner,
                used_with: reservation.used_with,
                model: reservation.model.clone(),
                // Nobody is left to say; the one of now may be another.
                plan: PLAN_UNKNOWN.to_owned(),
                served_by: None,
                usage,
                exact: false,
                cost: price.map(|price| price.of(usage)),
                first_token_ms: None,
                total_ms: i64::try_from(total).unwrap_or(i64::MAX),
                outcome: Outcome::Lost,
                created_at: now,
            });
            warn!(event = "chat.call.lost", call_id = %reservation.request_id, owner_id = %reservation.owner.id, model = %reservation.model);
        }
        unit.insert_usage(&events.iter().collect::<Vec<_>>()).await?;
        unit.commit().await?;
        Ok(lost.len())
    }

    /// The price of the first target that the model has now: nobody is left to say which one it was.
    fn likely_price(&self, model: &str) -> Option<ModelPrice> {
        let alias = self.alias_in_force(model);
        match alias.as_ref().and_then(|alias| alias.targets.first()) {
            Some(target) => self.price(target),
            None => self.options.prices.price(model),
        }
    }
}
