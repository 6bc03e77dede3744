//! What a plan limits of calls to models: what is held for one, what it came to, and why one may not be made.

use anteroom_domain::billing::{
    Access, Anchor, CreditAccount, CreditRate, Credits, Hold, METER_CREDITS, METER_KEY_BUDGET, METER_SPEND,
    METER_SPEND_SHARE, Meter, NanoUsd, Owner, QuotaKey, Window,
};
use anteroom_domain::chat::TokenUsage;
use anteroom_domain::{ReservationId, Timestamp};
use anteroom_ports::billing::{QuotaLevel, Settlement};
use tracing::info;

use super::CallRefused;
use crate::access::Principal;

/// What a call comes to, at most or in the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    /// Whether it counts as one.
    pub(super) messages: i64,
    /// Tokens of prompt and answer.
    pub(super) tokens: i64,
    /// What counts against limits of money: by the assumed price where there is none.
    pub(super) spend: NanoUsd,
    /// The same in credits.
    pub(super) credits: Credits,
}

impl Amounts {
    /// Those of one call.
    pub(super) fn of(usage: TokenUsage, spend: NanoUsd, rate: CreditRate) -> Self {
        Self {
            messages: 1,
            tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
            spend,
            credits: rate.of(spend),
        }
    }

    /// Those of a call that counts for nothing.
    pub(super) const NONE: Self = Self {
        messages: 0,
        tokens: 0,
        spend: NanoUsd(0),
        credits: Credits::ZERO,
    };

    fn on(self, meter: Meter) -> i64 {
        match meter {
            Meter::Messages => self.messages,
            Meter::Tokens => self.tokens,
            Meter::Cost => self.spend.0,
        }
    }

    /// On each counter that may have held something for the call.
    pub(super) fn settle(self, id: ReservationId) -> Settlement {
        let own = [METER_SPEND, METER_SPEND_SHARE, METER_KEY_BUDGET].map(|name| (name, self.spend.0));
        let of_plan = Meter::ALL
            .into_iter()
            .flat_map(|meter| Window::ALL.map(|window| (meter.counter(window), self.on(meter))));
        Settlement {
            id,
            used: own
                .into_iter()
                .chain(of_plan)
                .chain([(METER_CREDITS, self.credits.0)])
                .collect(),
        }
    }
}

/// Whether the plan limits what only an end to the answer can keep to.
pub(super) fn limits_answers(access: &Access) -> bool {
    let mut limits = access.plan.limits();
    access.plan.takes_credits() || limits.any(|(meter, _, limit)| meter != Meter::Messages && limit.is_some())
}

/// What a call holds of the plan's limits. A plan that says nothing of messages has none, unless its calls take credits.
pub(super) fn plan_holds(
    who: &Principal,
    access: &Access,
    owner: Owner,
    worst: Amounts,
    now: Timestamp,
) -> Result<Vec<Hold>, CallRefused> {
    let anchor = access.anchor(who.user().created_at);
    let mut limits: Vec<_> = access.plan.limits().collect();
    if limits.iter().all(|(meter, ..)| *meter != Meter::Messages) {
        // Unless what limits them is their price.
        let most = (!access.plan.takes_credits()).then_some(0);
        limits.push((Meter::Messages, Window::Day, most));
    }
    let hold = |(meter, window, limit): (Meter, Window, Option<i64>)| {
        let amount = worst.on(meter);
        match limit {
            Some(limit) if meter != Meter::Messages && amount > limit => Err(CallRefused::ExceedsQuota {
                meter,
                window,
                needed: amount,
                limit,
            }),
            _ => Ok(Hold {
                key: QuotaKey {
                    owner,
                    meter: meter.counter(window),
                    window_start: window.at(now, anchor).start,
                },
                amount,
                limit,
            }),
        }
    };
    limits.into_iter().map(hold).collect()
}

/// What a call holds of its owner's credits, where the plan's calls take some. How many there are is known within the unit
/// of work.
pub(super) fn credit_hold(access: &Access, owner: Owner, worst: Amounts) -> Option<Hold> {
    let takes = access.plan.takes_credits() && worst.credits > Credits::ZERO;
    takes.then(|| Hold {
        key: CreditAccount::counter(owner),
        amount: worst.credits.0,
        limit: None,
    })
}

/// Why a call may not be made for which there are too few credits.
pub(super) fn credits_missing(
    who: &Principal,
    access: &Access,
    level: QuotaLevel,
    limit: i64,
    needed: Credits,
    now: Timestamp,
) -> CallRefused {
    info!(event = "quota.denied", user_id = %who.user().id, meter = METER_CREDITS, limit);
    let left = limit.saturating_sub(level.used).saturating_sub(level.reserved);
    let included = access.plan.credits(now, access.anchor(who.user().created_at));
    CallRefused::InsufficientCredits {
        needed,
        available: Credits(left.max(0)),
        more_at: included
            .filter(|included| included.amount > Credits::ZERO)
            .map(|included| included.span.end),
    }
}

/// Why a call may not be made for which a counter of the plan has no room.
pub(super) fn exceeded(
    who: &Principal,
    counter: &'static str,
    level: QuotaLevel,
    limit: i64,
    anchor: Anchor,
    now: Timestamp,
) -> CallRefused {
    info!(event = "quota.denied", user_id = %who.user().id, meter = counter, limit);
    // Every other counter has been told apart before.
    let (meter, window) = Meter::of_counter(counter).unwrap_or((Meter::Messages, Window::Day));
    let resets_at = window.at(now, anchor).end;
    CallRefused::QuotaExceeded {
        meter,
        window,
        limit,
        used: level.used.saturating_add(level.reserved),
        resets_at,
        after_seconds: u64::try_from(resets_at.duration_since(now).as_secs()).map_or(1, |wait| wait + 1),
    }
}

/// What a call that costs holds of the budget of the key that it is made with.
pub(super) fn key_hold(who: &Principal, worst: NanoUsd, now: Timestamp) -> Option<Hold> {
    let key = who.key()?;
    let budget = key.budget?;
    Some(Hold {
        key: QuotaKey {
            owner: Owner::api_key(key.id),
            meter: METER_KEY_BUDGET,
            window_start: budget.window.start(now),
        },
        amount: worst.0,
        limit: Some(budget.limit.0),
    })
}

/// Why a call may not be made whose key has no room for it.
pub(super) fn key_budget_reached(
    who: &Principal,
    level: QuotaLevel,
    limit: i64,
    needed: NanoUsd,
    now: Timestamp,
) -> CallRefused {
    let key = who.key();
    let api_key_id = key.map(|key| key.id.to_string());
    info!(event = "quota.denied", user_id = %who.user().id, meter = METER_KEY_BUDGET, limit, api_key_id);
    CallRefused::KeyBudgetReached {
        limit: NanoUsd(limit),
        used: NanoUsd(level.used + level.reserved),
        needed,
        resets_at: key.and_then(|key| key.budget?.window.end(now)),
    }
}

/// An amount on a meter, for people to read.
pub(super) fn said(meter: Meter, amount: i64) -> String {
    match meter {
        Meter::Cost => format!("{} US dollars", NanoUsd(amount).usd()),
        Meter::Messages | Meter::Tokens => format!("{amount} {}", meter.as_str()),
    }
}
