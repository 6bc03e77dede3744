//! Models, the relay to them, and conversations.

pub mod change_conversation;
pub mod complete;
pub mod complete_text;
pub mod count_tokens;
pub mod create_conversation;
pub mod create_embeddings;
pub mod create_message;
pub mod create_response;
pub mod delete_conversation;
pub mod delete_model;
mod dialects;
mod dropped;
pub mod edit_message;
pub mod export_conversation;
pub mod follow_answer;
pub mod get_conversation;
pub mod get_model;
pub mod list_assistants;
pub mod list_conversations;
pub mod list_messages;
pub mod list_models;
pub mod message_events;
pub mod model_details;
pub mod put_model;
mod rates;
pub mod refusals;
pub mod regenerate_answer;
pub mod send_message;
pub mod show_model;
pub mod show_models;
pub mod stop_answer;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use anteroom_domain::Timestamp;
use anteroom_domain::billing::{METER_KEY_BUDGET, Meter, NanoUsd, Operation, Window};
use anteroom_domain::chat::{Conversation, Message, TokenUsage, Window as ContextWindow};
use anteroom_ports::chat::{ProviderError, ProviderErrorKind, TimeoutStage};
use anteroom_services::chat::{CacheStatus, CacheUse, CallRefused, ChatError, ConversationError, Manner};
use serde::Serialize;

use crate::caller::client;
use crate::problem::Problem;

/// A conversation, as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Conversation)]
pub struct ConversationResponse {
    /// UUIDv7.
    pub id: uuid::Uuid,
    /// For the list.
    pub title: Option<String>,
    /// The model; the plan's first without one.
    pub model: Option<String>,
    /// What the model is told before every turn.
    pub instructions: Option<String>,
    /// The operator's assistant that answers; `model` is null then. What it tells the model is not shown.
    pub assistant: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed or was spoken in.
    pub updated_at: Timestamp,
}

impl From<&Conversation> for ConversationResponse {
    fn from(c: &Conversation) -> Self {
        Self {
            id: c.id.0,
            title: c.title.clone(),
            model: c.model.clone(),
            instructions: c.instructions.clone(),
            assistant: c.assistant.clone(),
            created_at: c.created_at,
            updated_at: c.updated_at,
        }
    }
}

/// Tokens of a call.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Usage)]
pub struct UsageResponse {
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens received.
    pub completion_tokens: i64,
    /// Their sum.
    pub total_tokens: i64,
}

impl From<TokenUsage> for UsageResponse {
    fn from(u: TokenUsage) -> Self {
        let (prompt_tokens, completion_tokens) = (u.prompt_tokens, u.completion_tokens);
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
        }
    }
}

/// A message, as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Message)]
pub struct MessageResponse {
    /// UUIDv7.
    pub id: uuid::Uuid,
    /// Where it was said.
    pub conversation_id: uuid::Uuid,
    /// `user` or `assistant`.
    #[schema(example = "assistant")]
    pub role: &'static str,
    /// What was said.
    pub content: String,
    /// `in_progress`, `complete`, `partial` (the provider broke off), `cancelled` (it was stopped, nobody read it any more,
    /// or the session ended) or `failed`.
    #[schema(example = "complete")]
    pub status: &'static str,
    /// The model that answered.
    pub model: Option<String>,
    /// What the answer used.
    pub usage: Option<UsageResponse>,
    /// `content_filter` where moderation refused the message, or the rest of it; the model is not shown it again.
    #[schema(example = "content_filter")]
    pub finish_reason: Option<&'static str>,
    /// When it was said.
    pub created_at: Timestamp,
    /// What the model was shown of the conversation; only where an answer is given or begins, and not where it is read
    /// again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextResponse>,
}

/// What the model was shown of a conversation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MessageContext)]
pub struct ContextResponse {
    /// How many messages, the one that is answered included.
    pub messages: i64,
    /// How many older ones there was no room for.
    pub left_out: i64,
}

impl MessageResponse {
    fn shown(mut self, window: Option<ContextWindow>) -> Self {
        self.context = window.map(|window| ContextResponse {
            messages: window.messages,
            left_out: window.left_out,
        });
        self
    }
}

impl From<&Message> for MessageResponse {
    fn from(m: &Message) -> Self {
        Self {
            id: m.id.0,
            conversation_id: m.conversation_id.0,
            role: m.role.as_str(),
            content: m.content.clone(),
            status: m.status.as_str(),
            model: m.model.clone(),
            usage: m.usage.map(Into::into),
            finish_reason: m.filtered.then_some("content_filter"),
            created_at: m.created_at,
            context: None,
        }
    }
}

impl From<ConversationError> for Problem {
    fn from(error: ConversationError) -> Self {
        match error {
            ConversationError::NotFound => Self::not_found("conversation"),
            ConversationError::Refused(faults) => Self::refused(faults),
            ConversationError::TooMany(most) => {
                Self::new(StatusCode::CONFLICT, "too_many_conversations", error.to_string()).with("limit", most)
            }
            ConversationError::Store(e) => e.into(),
        }
    }
}

impl Problem {
    /// Says how much of what: money in US dollars.
    fn with_amounts(self, meter: Meter, window: Window, amounts: [(&'static str, i64); 2]) -> Self {
        let told = self.with("meter", meter.as_str()).with("window", window.as_str());
        amounts
            .into_iter()
            .fold(told, |told, (name, amount)| match (meter, name) {
                (Meter::Cost, "limit") => told.with("limit_usd", NanoUsd(amount).usd()),
                (Meter::Cost, "used") => told.with("used_usd", NanoUsd(amount).usd()),
                (Meter::Cost, _) => told.with("needed_usd", NanoUsd(amount).usd()),
                _ => told.with(name, amount),
            })
    }
}

impl From<CallRefused> for Problem {
    fn from(refused: CallRefused) -> Self {
        let detail = refused.to_string();
        match refused {
            CallRefused::ModelNotInPlan { .. } => {
                Self::new(StatusCode::FORBIDDEN, "model_not_in_plan", detail).param(Some("model"))
            }
            CallRefused::AssistantNotInPlan { .. } => {
                Self::new(StatusCode::FORBIDDEN, "assistant_not_in_plan", detail).param(Some("model"))
            }
            CallRefused::FeatureNotInPlan(missing) => missing.into(),
            CallRefused::SubscriptionInactive { .. } => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "subscription_inactive", detail).param(Some("model"))
            }
            CallRefused::QuotaExceeded {
                meter,
                window,
                limit,
                used,
                resets_at,
                after_seconds,
            } => {
                // What is limited by the minute is a rate: it helps to wait, and the SDKs do.
                let problem = if window == Window::Minute {
                    Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(after_seconds)
                } else {
                    Self::new(StatusCode::PAYMENT_REQUIRED, "quota_exceeded", detail)
                };
                problem
                    .with_amounts(meter, window, [("limit", limit), ("used", used)])
                    .with("resets_at", resets_at.to_string())
            }
            CallRefused::ExceedsQuota {
                meter,
                window,
                needed,
                limit,
            } => Self::new(StatusCode::BAD_REQUEST, "request_exceeds_quota", detail).with_amounts(
                meter,
                window,
                [("needed", needed), ("limit", limit)],
            ),
            CallRefused::RateLimited { limit, verdict, rates } => {
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
                    .retry_after(verdict.after_seconds)
                    .with("limit", limit.name);
                rates::openai(&rates).fold(problem, |problem, (name, value)| problem.header(name, &value))
            }
            CallRefused::ModelNotInKey { .. } => {
                Self::new(StatusCode::FORBIDDEN, "model_not_in_key", detail).param(Some("model"))
            }
            CallRefused::ParameterNotInPlan { parameter, .. } => {
                Self::new(StatusCode::FORBIDDEN, "parameter_not_in_plan", detail).param(Some(&parameter))
            }
            CallRefused::TooManyMessages { most } => Self::new(StatusCode::BAD_REQUEST, "too_many_messages", detail)
                .param(Some("messages"))
                .with("limit", most),
            CallRefused::KeyBudgetReached {
                limit, used, resets_at, ..
            } => Self::new(StatusCode::PAYMENT_REQUIRED, "quota_exceeded", detail)
                .with("meter", METER_KEY_BUDGET)
                .with("limit_usd", limit.usd())
                .with("used_usd", used.usd())
                .with("resets_at", resets_at.map(|at| at.to_string())),
            CallRefused::InsufficientCredits {
                needed,
                available,
                more_at,
            } => Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", detail)
                .with("needed", needed.number())
                .with("available", available.number())
                .with("resets_at", more_at.map(|at| at.to_string())),
            CallRefused::ExceedsSpendCap { needed, most } => {
                Self::new(StatusCode::BAD_REQUEST, "request_exceeds_spend_cap", detail)
                    .with("needed_usd", needed.usd())
                    .with("most_usd", most.usd())
            }
            CallRefused::SpendShareReached { resets_at } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "spend_share_reached", detail)
                    .retry_after(3600)
                    .header(HeaderName::from_static("x-should-retry"), "false")
                    .with("resets_at", resets_at.to_string())
            }
            // Waiting helps, but not for seconds: the SDKs' quick retries are asked not to.
            CallRefused::SpendCapReached { resets_at } => Self::unavailable("spend_cap_reached", detail, 3600)
                .header(HeaderName::from_static("x-should-retry"), "false")
                .with("resets_at", resets_at.to_string()),
            CallRefused::Provider(e) => e.into(),
            CallRefused::Store(e) => e.into(),
        }
    }
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        let bad_gateway = |code, detail: &str| Self::new(StatusCode::BAD_GATEWAY, code, detail);
        let problem = match error.kind {
            // Never 401: the caller's own credential is fine, it is the operator's that is not.
            ProviderErrorKind::Auth => bad_gateway(
                "upstream_auth_failed",
                "the model provider refused this service's key; its operator has to look",
            ),
            ProviderErrorKind::BadRequest { status, error } => {
                let status = StatusCode::from_u16(status)
                    .ok()
                    .filter(StatusCode::is_client_error)
                    .unwrap_or(StatusCode::BAD_REQUEST);
                Self::new(status, "upstream_refused", "the model provider refused the request").upstream(error)
            }
            ProviderErrorKind::Unsupported { parameter } => {
                return Self::new(StatusCode::BAD_REQUEST, "unsupported_parameter", error.detail)
                    .param(Some(&parameter));
            }
            ProviderErrorKind::RateLimited { retry_after } => {
                let seconds = retry_after.map_or(1, |d| d.as_secs().max(1));
                Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "upstream_rate_limited",
                    "the model provider takes no more requests right now",
                )
                .retry_after(seconds)
            }
            ProviderErrorKind::Resting { retry_after } => Self::unavailable(
                "upstream_unavailable",
                "whatever answers for this model has failed lately; it is tried again in a moment",
                retry_after.as_secs().max(1),
            ),
            ProviderErrorKind::Upstream { .. } => bad_gateway("upstream_error", "the model provider failed"),
            ProviderErrorKind::Timeout(stage) => {
                let what = match stage {
                    TimeoutStage::Connect => "could not be reached in time",
                    TimeoutStage::FirstToken => "did not begin to answer in time",
                    TimeoutStage::Idle => "stopped in the middle of its answer",
                    TimeoutStage::Total => "did not finish its answer in time",
                };
                Self::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "upstream_timeout",
                    format!("the model provider {what}"),
                )
            }
            ProviderErrorKind::Unreachable | ProviderErrorKind::Transport => {
                bad_gateway("upstream_unreachable", "the model provider cannot be reached")
            }
            ProviderErrorKind::Protocol { error } => {
                bad_gateway("upstream_error", "the model provider broke its answer off").upstream(error)
            }
        };
        problem.logged(error.detail)
    }
}

/// The header that says whether the answer is a kept one.
const CACHE: HeaderName = HeaderName::from_static("anteroom-cache");

/// How a completion is asked for, beside its body: where from, and whether a kept answer will do.
pub(crate) fn manner(request: &HttpRequest, operation: Operation) -> Manner {
    let mut cache = CacheUse::Take;
    for value in request.headers().get_all(CACHE_CONTROL) {
        for word in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if word.eq_ignore_ascii_case("no-store") {
                cache = CacheUse::Avoid;
            } else if cache == CacheUse::Take && (word.eq_ignore_ascii_case("no-cache") || word == "max-age=0") {
                cache = CacheUse::Renew;
            }
        }
    }
    Manner {
        operation,
        client: client(request),
        cache,
    }
}

/// Says whether the answer is a kept one, where kept ones are looked for.
pub(crate) fn marked(mut answer: HttpResponse, cache: Option<CacheStatus>) -> HttpResponse {
    if let Some(status) = cache {
        let word = match status {
            CacheStatus::Hit => "hit",
            CacheStatus::Miss => "miss",
        };
        answer.headers_mut().insert(CACHE, HeaderValue::from_static(word));
    }
    answer
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Invalid(e) => Self::new(StatusCode::BAD_REQUEST, "invalid_request", e.message).param(e.param),
            ChatError::Refused(e) => e.into(),
            ChatError::Provider(e) => e.into(),
            ChatError::SessionEnded => Self::unauthenticated(),
            ChatError::ModeratorAway => Self::unavailable("moderation_unavailable", error.to_string(), 5),
            ChatError::NotKept => Self::new(StatusCode::CONFLICT, "answer_not_kept", error.to_string()),
            ChatError::Stopped => Self::new(StatusCode::CONFLICT, "answer_stopped", error.to_string()),
            ChatError::BrokenOff => Self::new(StatusCode::BAD_GATEWAY, "answer_broke_off", error.to_string()),
            ChatError::ClientGone => Self::new(StatusCode::BAD_REQUEST, "client_gone", "the client went away"),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;

    use super::*;

    #[test]
    fn a_caller_may_want_a_new_answer() {
        let of = |values: &[&str]| {
            let mut request = actix_web::test::TestRequest::default();
            for value in values {
                request = request.append_header((CACHE_CONTROL, *value));
            }
            manner(&request.to_http_request(), Operation::ChatCompletions).cache
        };
        assert_eq!(of(&[]), CacheUse::Take);
        assert_eq!(of(&["max-age=60"]), CacheUse::Take);
        assert_eq!(of(&["No-Cache"]), CacheUse::Renew);
        assert_eq!(of(&["no-cache, no-store"]), CacheUse::Avoid);
        assert_eq!(of(&["no-store", "no-cache"]), CacheUse::Avoid);
    }

    #[test]
    fn what_a_provider_has_not_is_the_callers_to_change() {
        let problem = Problem::from(ProviderError {
            kind: ProviderErrorKind::Unsupported { parameter: "n".into() },
            detail: "`n` must be 1".into(),
        });
        let error = &problem.openai_body("r")["error"];
        assert_eq!(problem.status_code(), 400);
        assert_eq!(
            (&error["code"], &error["param"], &error["message"]),
            (&"unsupported_parameter".into(), &"n".into(), &"`n` must be 1".into())
        );
    }
}
