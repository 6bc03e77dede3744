//! Why a call to a model may not be made.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Credits, FeatureNotInPlan, Meter, NanoUsd, Window};
use anteroom_domain::protection::{CallRates, Limit, Verdict};
use anteroom_ports::StoreError;
use anteroom_ports::chat::ProviderError;

use super::hold_quota::said;

/// Why a call may not be made, known before anything is sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallRefused {
    /// The plan never had the model, or nobody has it.
    #[error("there is no model `{model}`, or your plan `{plan}` does not have it; GET /v1/models lists those it has")]
    ModelNotInPlan {
        /// The model.
        model: String,
        /// The plan in force.
        plan: String,
    },
    /// The plan does not have the assistant, or nobody has it.
    #[error(
        "there is no assistant `{assistant}`, or your plan `{plan}` does not have it; GET /v1/assistants lists those it has"
    )]
    AssistantNotInPlan {
        /// The assistant.
        assistant: String,
        /// The plan in force.
        plan: String,
    },
    /// The plan does not have the feature that the operator says is needed for this.
    #[error(transparent)]
    FeatureNotInPlan(#[from] FeatureNotInPlan),
    /// Only the plan that ended had the model.
    #[error("the model `{model}` needs the plan `{plan}`, which is no longer active ({status})")]
    SubscriptionInactive {
        /// The model.
        model: String,
        /// The plan that ended.
        plan: String,
        /// The subscription's status.
        status: String,
    },
    /// The plan's limit is reached, or has no room for what the call may use.
    #[error(
        "your plan has {} a {}, of which {} are used or held: too little is left for this request; it starts anew at \
         {resets_at}",
        said(*meter, *limit), window.as_str(), said(*meter, *used)
    )]
    QuotaExceeded {
        /// Of what.
        meter: Meter,
        /// In which window.
        window: Window,
        /// The most.
        limit: i64,
        /// What is used, running calls included.
        used: i64,
        /// When it starts anew.
        resets_at: Timestamp,
        /// How long that is, in seconds.
        after_seconds: u64,
    },
    /// The call alone may use more than the plan has in a whole window: it can never be made.
    #[error(
        "this request may use up to {}, and your plan has {} a {}: ask for a shorter answer (`max_tokens`), or send less",
        said(*meter, *needed), said(*meter, *limit), window.as_str()
    )]
    ExceedsQuota {
        /// Of what.
        meter: Meter,
        /// In which window.
        window: Window,
        /// The most that it may use.
        needed: i64,
        /// What the plan has.
        limit: i64,
    },
    /// The plan's rate is reached: too many calls, or tokens, a minute.
    #[error("your plan has {} {} a minute; wait {} s", limit.most, limit.name, verdict.after_seconds)]
    RateLimited {
        /// Which limit.
        limit: Limit,
        /// What it says.
        verdict: Verdict,
        /// All that was counted.
        rates: CallRates,
    },
    /// The plan has the model; the API key does not.
    #[error("this API key may not be used with the model `{model}`")]
    ModelNotInKey {
        /// The model.
        model: String,
    },
    /// The plan does not let a parameter through, or not with this value.
    #[error("your plan `{plan}` does not allow `{parameter}` as it is sent here; leave it out")]
    ParameterNotInPlan {
        /// The parameter.
        parameter: String,
        /// The plan in force.
        plan: String,
    },
    /// More messages than any request may have.
    #[error("a request has at most {most} messages")]
    TooManyMessages {
        /// The most.
        most: usize,
    },
    /// There are too few credits for what the call may take.
    #[error(
        "this request may take up to {} credits, and {} are left: ask for a shorter answer (`max_tokens`), or get more{}",
        needed.number(), available.number(), more_at.map(|at| format!("; the plan's next ones come at {at}")).unwrap_or_default()
    )]
    InsufficientCredits {
        /// The most that it may take.
        needed: Credits,
        /// What is left, beside what calls that run hold.
        available: Credits,
        /// When the plan's next ones come, if it has any.
        more_at: Option<Timestamp>,
    },
    /// The API key's own budget has no room for what the call may cost.
    #[error(
        "this API key may spend {} US dollars, of which {} are spent or held; this request may cost up to {} more",
        limit.usd(), used.usd(), needed.usd()
    )]
    KeyBudgetReached {
        /// The budget.
        limit: NanoUsd,
        /// What is spent of it, running calls included.
        used: NanoUsd,
        /// The most that the call may cost.
        needed: NanoUsd,
        /// When it starts anew, if it does.
        resets_at: Option<Timestamp>,
    },
    /// The call alone may cost more than all calls of a day may, or the caller's: it can never be made.
    #[error(
        "this request may cost up to {} US dollars, and {} is the most for a day: ask for a shorter answer \
         (`max_tokens`), or send less",
        needed.usd(), most.usd()
    )]
    ExceedsSpendCap {
        /// The most that it may cost.
        needed: NanoUsd,
        /// What may be spent in a day.
        most: NanoUsd,
    },
    /// The caller's share of the operator's money for the day is spent.
    #[error("your share of this service's spending limit is used up for today")]
    SpendShareReached {
        /// When it starts anew.
        resets_at: Timestamp,
    },
    /// The operator's money for the day is spent.
    #[error("this service has reached its spending limit for today")]
    SpendCapReached {
        /// When it starts anew.
        resets_at: Timestamp,
    },
    /// The models on offer are not known, because the provider is away.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
