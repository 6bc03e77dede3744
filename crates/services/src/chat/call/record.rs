//! What is written down of a call that has ended.

use anteroom_domain::billing::{NanoUsd, Owner};
use anteroom_domain::chat::{Outcome, Target, TokenUsage, UsageEvent};
use anteroom_domain::protection::CallRate;
use anteroom_domain::{ReservationId, Timestamp, UserId};
use anteroom_ports::{StoreResult, UnitOfWork};
use tracing::info;

use super::Call;
use crate::billing::{Billing, CreditSpend};
use crate::chat::Chat;
use crate::chat::hold_quota::Amounts;
use crate::elapsed_ms;

/// A call that has ended, as it is to be written down: holds become use, and the usage row is written once.
#[derive(Debug, Clone)]
pub(in crate::chat) struct Record {
    pub(in crate::chat) reservation: ReservationId,
    came_to: Amounts,
    /// When it began, where it is paid with credits.
    credits_since: Option<Timestamp>,
    event: UsageEvent,
    /// What counts against the plan's rate now, of a call that counts: its tokens as far as they were not counted when it
    /// began.
    charge: Option<(UserId, CallRate, i64)>,
}

impl Record {
    /// Whose call it was.
    pub(in crate::chat) fn owner(&self) -> Owner {
        self.event.owner
    }

    /// Writes records within the unit of work. Again has no effect.
    pub(in crate::chat) async fn write(records: &[&Self], unit: &mut dyn UnitOfWork) -> StoreResult<()> {
        let settlements = records.iter().map(|record| record.came_to.settle(record.reservation));
        let spends = records.iter().filter_map(|record| record.credits());
        let (settlements, spends): (Vec<_>, Vec<_>) = (settlements.collect(), spends.collect());
        Billing::settle_quota(unit, &settlements, &spends).await?;
        let events: Vec<&UsageEvent> = records.iter().map(|record| &record.event).collect();
        unit.insert_usage(&events).await.map(|_| ())
    }

    /// What it took of credits.
    fn credits(&self) -> Option<CreditSpend> {
        let began = self.credits_since?;
        Some(CreditSpend {
            reservation: self.reservation,
            owner: self.event.owner,
            amount: self.came_to.credits,
            began,
            reference: self.event.request_id.to_string(),
            at: self.event.created_at,
        })
    }

    /// Logs how the call ended.
    fn log(&self) {
        let UsageEvent { usage, used_with, .. } = &self.event;
        let (session_id, api_key_id) = (
            used_with.session().map(|id| id.to_string()),
            used_with.api_key().map(|id| id.to_string()),
        );
        let served_by = self.event.served_by.as_ref();
        let provider = served_by.map(|target| target.provider.as_str());
        let upstream_model = served_by.map(|target| target.model.as_str());
        info!(
            event = "chat.call.ended", outcome = self.event.outcome.as_str(), call_id = %self.event.request_id, session_id, api_key_id,
            model = %self.event.model, provider, upstream_model, prompt_tokens = usage.prompt_tokens, completion_tokens = usage.completion_tokens,
            exact = self.event.exact, first_token_ms = self.event.first_token_ms, total_ms = self.event.total_ms,
        );
    }
}

impl Chat {
    /// What is to be written down of a call that has ended.
    pub(in crate::chat) fn record(&self, call: &Call, outcome: Outcome) -> Record {
        let spared = call.spared(outcome);
        let (usage, exact) = if spared {
            (TokenUsage::default(), true)
        } else {
            call.usage()
        };
        let served_by = call.served_by();
        let is_it = |target: &&Target| {
            served_by
                .as_ref()
                .is_some_and(|by| by.provider == target.provider && by.model == target.model)
        };
        let price = call
            .alias
            .targets
            .iter()
            .find(is_it)
            .and_then(|target| self.price(target));
        if let (None, Some(by), false) = (price, &served_by, spared) {
            self.warn_of_missing_price(&by.provider, &by.model);
        }
        let event = UsageEvent {
            request_id: call.request_id,
            owner: call.owner,
            used_with: call.who.used_with(),
            model: call.model.clone(),
            plan: call.plan.clone(),
            served_by,
            usage,
            exact,
            // What used nothing cost nothing, whatever its price.
            cost: if spared || call.from_cache {
                Some(NanoUsd(0))
            } else {
                price.map(|price| price.of(usage))
            },
            first_token_ms: call.first_token_ms(),
            total_ms: elapsed_ms(call.started),
            outcome,
            created_at: self.clock.now(),
        };
        let came_to = if spared {
            Amounts::NONE
        } else if call.from_cache {
            Amounts::of(usage, NanoUsd(0), self.billing.credit_rate())
        } else {
            Amounts::of(usage, self.capped(price).of(usage), self.billing.credit_rate())
        };
        let tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        let uncounted = tokens.saturating_sub(call.prompt_least);
        Record {
            reservation: call.reservation_id,
            came_to,
            credits_since: call.credits_since,
            event,
            charge: (!spared).then_some((call.who.user().id, call.rate, uncounted)),
        }
    }

    /// What is left to do when a call has been booked: it is logged, and counts against the plan's rate.
    pub(in crate::chat) fn booked(&self, record: &Record) {
        if let Some((user, rate, tokens)) = record.charge {
            self.protection.charge_call(user, rate, tokens);
        }
        record.log();
    }
}
