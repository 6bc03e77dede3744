//! One call to a model: what is held before it, watched during it and booked after it.

mod record;

pub(super) use record::Record;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use anteroom_domain::billing::{
    Access, Hold, IncludedCredits, METER_CREDITS, METER_KEY_BUDGET, METER_SPEND, METER_SPEND_SHARE, ModelAccess,
    ModelPrice, NanoUsd, Operation, Owner, QuotaKey, day_of, model_access,
};
use anteroom_domain::chat::{ChatRequest, Direction, Finding, ModelAlias, Outcome, Target, TokenUsage, least_tokens};
use anteroom_domain::protection::{CallRate, CallRates};
use anteroom_domain::{RequestId, ReservationId, Timestamp};
use anteroom_ports::UnitOfWork;
use anteroom_ports::billing::{QuotaLevel, Reservation, Reserved};
use anteroom_ports::chat::ProviderError;
use tracing::{error, warn};

use super::Chat;
use super::asked::Asked;
use super::call_refused::CallRefused;
use super::complete_chat::ChatError;
use super::hold_quota::{
    Amounts, credit_hold, credits_missing, exceeded, key_budget_reached, key_hold, limits_answers, plan_holds,
};
use super::moderation::Found;
use crate::Client;
use crate::access::Principal;
use crate::billing::{Wanted, included_credits};
use crate::ops::Lease;

/// What a call may use.
pub(super) struct Needs {
    /// Of which model.
    pub(super) alias: Arc<ModelAlias>,
    /// The least that its prompt has, in tokens.
    pub(super) prompt_least: i64,
    /// The most that it may use.
    pub(super) worst: TokenUsage,
}

impl Needs {
    /// What a call may use that is answered without asking anybody.
    pub(super) fn nothing(alias: &Arc<ModelAlias>) -> Self {
        Self {
            alias: Arc::clone(alias),
            prompt_least: 0,
            worst: TokenUsage::default(),
        }
    }
}

/// What a call may use that may be made, as far as that is known without the store.
pub(super) struct Admitted {
    needs: Needs,
    rates: CallRates,
}

/// What is to be held for a call.
struct Claim {
    reservation: Reservation,
    needs: Needs,
    rates: CallRates,
    /// What the plan includes of credits, where the call takes some.
    credits: Option<IncludedCredits>,
    /// What it may come to.
    worst: Amounts,
    lease: Lease,
}

/// A call under way.
pub(super) struct Call {
    pub(super) request_id: RequestId,
    pub(super) reservation_id: ReservationId,
    pub(super) model: String,
    plan: String,
    pub(super) alias: Arc<ModelAlias>,
    /// What is asked for, as the conventions of OpenTelemetry call it.
    pub(super) operation: &'static str,
    pub(super) asked: Mutex<Option<Asked>>,
    /// Since when nobody wants the answer, and it is read on only for its usage.
    pub(super) abandoned: OnceLock<Instant>,
    /// Whether a target that failed may have worked on it, and bill that.
    worked_on: AtomicBool,
    owner: Owner,
    pub(super) who: Principal,
    prompt_least: i64,
    /// The plan's, by which it was counted.
    rate: CallRate,
    /// What counting it showed.
    pub(super) rates: CallRates,
    started: Instant,
    pub(super) first_token_at: Option<Instant>,
    output_bytes: usize,
    reported: Option<TokenUsage>,
    /// Whether the answer came to its end, so that what was reported is of all of it.
    whole: bool,
    /// Whether the model was told something that the caller must not read.
    pub(super) assisted: bool,
    /// Whether its answer is a kept one: it used nothing, and nobody was asked.
    pub(super) from_cache: bool,
    /// Where it came from.
    pub(super) client: Client,
    /// When it began, where it is paid with credits: what could be taken then pays for it.
    credits_since: Option<Timestamp>,
    /// Renewed until the call has been booked.
    pub(super) lease: Arc<Lease>,
}

impl Claim {
    fn wanted(&self) -> Wanted {
        Wanted {
            reservation: self.reservation.clone(),
            credits: self.credits,
        }
    }
}

impl Call {
    fn first_token_ms(&self) -> Option<i64> {
        let after = self.first_token_at?.saturating_duration_since(self.started);
        Some(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
    }

    /// When it began.
    pub(super) fn begun(&self) -> Instant {
        self.started
    }

    /// Notes what a chunk or a whole answer brought.
    pub(super) fn note(&mut self, output_bytes: usize, usage: Option<TokenUsage>) {
        if output_bytes > 0 && self.first_token_at.is_none() {
            self.first_token_at = Some(Instant::now());
        }
        self.output_bytes += output_bytes;
        if let Some(usage) = usage {
            self.reported = Some(self.reported.unwrap_or_default().max(usage));
        }
    }

    /// Notes that the answer has come to its end.
    pub(super) fn came_whole(&mut self) {
        self.whole = true;
    }

    /// The provider's count, as far as it came.
    pub(super) fn usage_reported(&self) -> Option<TokenUsage> {
        self.reported
    }

    /// The provider's count of a whole answer, or the least that must have been used; whether it is the former.
    pub(super) fn usage(&self) -> (TokenUsage, bool) {
        if self.from_cache {
            return (TokenUsage::default(), true);
        }
        let reported = self.reported.unwrap_or_default();
        // One that counts no output of an answer that has some was told early, and nothing after it. (A whole answer without
        // any text, of tool calls say, is noted as one byte.)
        let counted = self.reported.is_some() && (reported.completion_tokens > 0 || self.output_bytes <= 1);
        if self.whole && counted {
            return (reported, true);
        }
        // What has gone in is counted once for all. What comes out grows, and whoever broke off may have counted late.
        let prompt_tokens = Some(reported.prompt_tokens).filter(|counted| *counted > 0);
        let least = TokenUsage {
            prompt_tokens: prompt_tokens.unwrap_or(self.prompt_least),
            completion_tokens: reported.completion_tokens.max(least_tokens(self.output_bytes)),
            ..reported
        };
        (least, false)
    }

    /// How a call that brought an error ends; one that is the provider's fault is logged.
    pub(super) fn outcome_of(&self, error: &ChatError) -> Outcome {
        match error {
            e if e.unwanted() => Outcome::Cancelled,
            e => {
                self.broke_off(e);
                warn!(event = "chat.call.failed", call_id = %self.request_id, model = %self.model, reason = %e);
                if self.delivered() {
                    Outcome::Partial
                } else {
                    Outcome::Failed
                }
            }
        }
    }

    /// Notes that a target failed before it had brought anything.
    pub(super) fn tried_in_vain(&self, error: &ProviderError) {
        if !error.kind.is_refusal() {
            self.worked_on.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it counts for nothing: it brought nothing, and whoever was asked, if anybody was, refused.
    pub(super) fn spared(&self, outcome: Outcome) -> bool {
        let in_vain = matches!(outcome, Outcome::Failed | Outcome::Cancelled) && !self.delivered();
        in_vain && !self.is_asked() && !self.worked_on.load(Ordering::Relaxed)
    }

    /// Records what was found in its answer.
    pub(super) async fn record_output(&self, chat: &Chat, findings: &[Finding]) {
        let found = Found {
            call_id: self.request_id,
            who: &self.who,
            client: &self.client,
            model: &self.model,
            direction: Direction::Output,
            findings,
        };
        chat.note_findings(&found).await;
    }

    /// How a call ends that brought a whole answer at once.
    pub(super) fn outcome_of_whole(&self) -> Outcome {
        if self.abandoned() {
            Outcome::Cancelled
        } else {
            Outcome::Complete
        }
    }

    pub(super) fn delivered(&self) -> bool {
        self.output_bytes > 0 || self.first_token_at.is_some()
    }
}

impl Chat {
    /// Refuses a model that the caller's plan does not have.
    pub(super) async fn check_model(&self, access: &Access, model: &str) -> Result<Arc<ModelAlias>, CallRefused> {
        let offered = self.offered().await?;
        let alias = offered.iter().find(|alias| alias.name == model);
        match (model_access(access, &offered, model), alias) {
            (ModelAccess::Granted, Some(alias)) => Ok(Arc::clone(alias)),
            (ModelAccess::NotInPlan | ModelAccess::Granted, _) => Err(CallRefused::ModelNotInPlan {
                model: model.to_owned(),
                plan: access.plan.key.clone(),
            }),
            (ModelAccess::Lapsed, _) => Err(CallRefused::SubscriptionInactive {
                model: model.to_owned(),
                plan: access.lapsed.as_ref().map(|p| p.key.clone()).unwrap_or_default(),
                status: access.status.clone(),
            }),
        }
    }

    /// Refuses what asks for a feature that the caller's plan does not have.
    pub(super) fn check_feature(&self, access: &Access, operation: Operation) -> Result<(), CallRefused> {
        Ok(self.billing.require_for(access, operation)?)
    }

    /// Refuses a parameter that the caller's plan does not let through.
    pub(super) fn check_parameters(access: &Access, refused: Option<&str>) -> Result<(), CallRefused> {
        refused.map_or(Ok(()), |parameter| {
            Err(CallRefused::ParameterNotInPlan {
                parameter: parameter.to_owned(),
                plan: access.plan.key.clone(),
            })
        })
    }

    /// Refuses a model that the API key may not be used with.
    pub(super) fn check_key(who: &Principal, model: &str) -> Result<(), CallRefused> {
        if who.allows(model) {
            return Ok(());
        }
        Err(CallRefused::ModelNotInKey {
            model: model.to_owned(),
        })
    }

    /// What a completion may use. Where the plan limits tokens or money, an answer that nobody has set an end to gets
    /// one: what is held for it would bound nothing.
    pub(super) fn needs(&self, access: &Access, alias: &Arc<ModelAlias>, request: &ChatRequest) -> Needs {
        let assumed = self.options.max_output_tokens;
        let endless = request.max_tokens.is_none() && alias.max_output_tokens.is_none();
        let alias = if endless && limits_answers(access) {
            Arc::new(ModelAlias {
                max_output_tokens: Some(assumed),
                ..ModelAlias::clone(alias)
            })
        } else {
            Arc::clone(alias)
        };
        Needs {
            prompt_least: request.prompt_estimate / 2,
            worst: request.worst_case(&alias, assumed),
            alias,
        }
    }

    /// Refuses a call that the key may not make, and counts it by the plan's rate: before a unit of work begins, so that a
    /// flood which is refused costs the store nothing.
    pub(super) fn admit(&self, who: &Principal, access: &Access, needs: Needs) -> Result<Admitted, CallRefused> {
        Self::check_key(who, &needs.alias.name)?;
        let rates = self
            .protection
            .count_call(who.user().id, access.plan.rate, needs.prompt_least);
        match rates.refused() {
            Some((limit, verdict)) => Err(CallRefused::RateLimited { limit, verdict, rates }),
            None => Ok(Admitted { needs, rates }),
        }
    }

    /// Holds what the call may use, within the unit of work.
    pub(super) async fn reserve(
        &self,
        unit: &mut dyn UnitOfWork,
        id: ReservationId,
        who: &Principal,
        access: &Access,
        admitted: Admitted,
    ) -> Result<Call, CallRefused> {
        let claim = self.claim(id, who, access, admitted)?;
        let wanted = claim.wanted();
        let held = self.billing.reserve_quota(unit, &[&wanted], self.clock.now()).await?;
        self.call(claim, held, who, access)
    }

    /// The same, in a unit of work of its own.
    pub(super) async fn reserve_apart(
        &self,
        who: &Principal,
        access: &Access,
        admitted: Admitted,
    ) -> Result<Call, CallRefused> {
        let id = ReservationId(self.ids.uuid());
        let claim = self.claim(id, who, access, admitted)?;
        let mut held = self.hold_together(claim.wanted()).await?;
        // What calls that have ended still hold is in nobody's way.
        if matches!(held, Reserved::Denied { .. }) && self.settle_now(claim.reservation.owner).await {
            held = self.hold_together(claim.wanted()).await?;
        }
        self.call(claim, held, who, access)
    }

    /// What is to be held for a call.
    fn claim(
        &self,
        id: ReservationId,
        who: &Principal,
        access: &Access,
        Admitted { needs, rates }: Admitted,
    ) -> Result<Claim, CallRefused> {
        let now = self.clock.now();
        let owner = Owner::account(who.user().id);
        // Whichever of its targets answers.
        let prices = needs.alias.targets.iter().map(|target| self.capped(self.price(target)));
        let worst = prices.map(|price| price.of(needs.worst)).max().unwrap_or_default();
        let amounts = Amounts::of(needs.worst, worst, self.billing.credit_rate());
        let mut holds = plan_holds(who, access, owner, amounts, now)?;
        let credits = credit_hold(access, owner, amounts);
        let included = credits.as_ref().and_then(|_| included_credits(access, who.user(), now));
        holds.extend(credits);
        if worst > NanoUsd(0) {
            holds.extend(self.spend_holds(owner, worst, now)?);
            holds.extend(key_hold(who, worst, now));
        }
        let reservation = Reservation {
            id,
            request_id: RequestId(self.ids.uuid()),
            owner,
            used_with: who.used_with(),
            model: needs.alias.name.clone(),
            at_least: TokenUsage {
                prompt_tokens: needs.prompt_least,
                ..TokenUsage::default()
            },
            holds,
            created_at: now,
            expires_at: self.leases.until(now),
        };
        Ok(Claim {
            lease: self.leases.hold(reservation.id.0),
            reservation,
            needs,
            rates,
            credits: included,
            worst: amounts,
        })
    }

    /// The call, if what it may use is held.
    fn call(&self, claim: Claim, held: Reserved, who: &Principal, access: &Access) -> Result<Call, CallRefused> {
        let Claim {
            reservation,
            needs,
            rates,
            credits,
            worst,
            lease,
        } = claim;
        if let Reserved::Denied { key, level, limit } = held {
            return Err(self.denied(&reservation, (key.meter, level, limit), worst, who, access));
        }
        Ok(Call {
            request_id: reservation.request_id,
            reservation_id: reservation.id,
            model: reservation.model,
            plan: access.plan.key.clone(),
            alias: needs.alias,
            operation: "chat",
            asked: Mutex::default(),
            abandoned: OnceLock::new(),
            worked_on: AtomicBool::new(false),
            owner: reservation.owner,
            who: who.clone(),
            prompt_least: needs.prompt_least,
            rate: access.plan.rate,
            rates,
            started: Instant::now(),
            first_token_at: None,
            output_bytes: 0,
            reported: None,
            whole: false,
            assisted: false,
            from_cache: false,
            client: Client::default(),
            credits_since: credits.map(|_| reservation.created_at),
            lease: Arc::new(lease),
        })
    }

    /// Why there is no room for a call.
    fn denied(
        &self,
        reservation: &Reservation,
        (meter, level, limit): (&'static str, QuotaLevel, i64),
        worst: Amounts,
        who: &Principal,
        access: &Access,
    ) -> CallRefused {
        let now = reservation.created_at;
        match meter {
            METER_SPEND_SHARE => {
                warn!(event = "quota.spend_share.reached", user_id = %who.user().id, share_nano_usd = limit);
                CallRefused::SpendShareReached {
                    resets_at: day_of(now).end,
                }
            }
            METER_KEY_BUDGET => key_budget_reached(who, level, limit, worst.spend, now),
            METER_CREDITS => credits_missing(who, access, level, limit, worst.credits, now),
            METER_SPEND => {
                error!(
                    event = "quota.spend_cap.reached",
                    cap_nano_usd = self.options.daily_spend_cap.0
                );
                CallRefused::SpendCapReached {
                    resets_at: day_of(now).end,
                }
            }
            meter => exceeded(who, meter, level, limit, access.anchor(who.user().created_at), now),
        }
    }

    /// What a call that costs holds of the day's money.
    fn spend_holds(&self, owner: Owner, worst: NanoUsd, now: Timestamp) -> Result<Vec<Hold>, CallRefused> {
        let (cap, percent) = (self.options.daily_spend_cap, self.options.spend_cap_share_percent);
        let share = (percent < 100).then(|| (owner, METER_SPEND_SHARE, cap.percent(percent)));
        let limits = share.into_iter().chain([(Owner::DEPLOYMENT, METER_SPEND, cap)]);
        limits
            .map(|(owner, meter, most)| {
                if worst > most {
                    return Err(CallRefused::ExceedsSpendCap { needed: worst, most });
                }
                let window_start = day_of(now).start;
                Ok(Hold {
                    key: QuotaKey {
                        owner,
                        meter,
                        window_start,
                    },
                    amount: worst.0,
                    limit: Some(most.0),
                })
            })
            .collect()
    }

    /// The price of a target, if it is known.
    pub(super) fn price(&self, target: &Target) -> Option<ModelPrice> {
        target.price.or_else(|| self.options.prices.price(&target.model))
    }

    /// A price as it counts against what may be spent.
    pub(super) fn capped(&self, price: Option<ModelPrice>) -> ModelPrice {
        price.unwrap_or_else(|| self.options.prices.assumed())
    }

    /// Waits until the call has taken longer than any may, whoever is the slow one: the provider keeps its own time,
    /// but only while it is asked.
    pub(super) fn call_over(&self, call: &Call) -> tokio::time::Sleep {
        tokio::time::sleep_until((call.started + self.options.total_timeout).into())
    }

    /// Returns when the session, or the key, no longer opens this. While the store is away nobody can say, so the call
    /// goes on.
    pub(super) async fn session_ended(self: Arc<Self>, who: Principal, model: String) {
        self.access.wait_until_ended(&who, Some(&model)).await;
    }
}
