//! Models, calls to them, conversations and their short-term memory.

mod alias;
mod assistant;
mod breaker;
mod embed_request;
mod end_user;
mod memory;
mod moderation;
mod original;
mod parameters;
mod raw;
mod request;
mod stored_alias;
mod title;
mod transcript;

pub use alias::{AliasMistake, Known, MaxTokensParameter, ModelAlias, Target};
pub use assistant::{ASSISTANT_PREFIX, Assistant, InvalidAssistant};
pub use breaker::{Breaker, BreakerPolicy, BreakerState};
pub use embed_request::EmbedRequest;
pub use end_user::{EndUser, SendUser};
pub use memory::{Turn, Window, estimate_tokens, least_tokens, recall, turn_budget};
pub use moderation::{Consequence, Direction, Finding, Lane, Pace, Verdict, texts_of};
pub use original::{Dialect, OWN_WORDS, Original, TOKENS_OF_KNOWN_TOOL};
pub use parameters::{GUARDED_PARAMETERS, ParameterRule};
pub use raw::{InvalidObject, RawObject};
pub use request::{ChatRequest, InvalidRequest, MAX_CHOICES};
pub use stored_alias::{MAX_STORED_ALIASES, StoredAlias, in_force};
pub use title::title_of;
pub use transcript::{AnswerTold, QuestionTold};

use serde::{Deserialize, Serialize};

use crate::access::UsedWith;
use crate::billing::{NanoUsd, Owner};
use crate::{ConversationId, MessageId, RequestId, Timestamp, UserId};

/// Tokens of a call. Cached tokens are part of the prompt's, reasoning tokens of the completion's, as OpenAI counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens received.
    pub completion_tokens: i64,
    /// Of the prompt's, those the provider had cached.
    #[serde(default)]
    pub cached_tokens: i64,
    /// Of the completion's, those spent on reasoning.
    #[serde(default)]
    pub reasoning_tokens: i64,
    /// Of the prompt's, those the provider wrote to its cache and charges for as such; none of them are cached ones. They
    /// are priced, and not booked by themselves.
    #[serde(default)]
    pub cache_write_tokens: i64,
    /// Of those, the ones that are kept for an hour.
    #[serde(default)]
    pub hour_write_tokens: i64,
}

impl TokenUsage {
    /// Nothing.
    pub const NONE: Self = Self {
        prompt_tokens: 0,
        completion_tokens: 0,
        cached_tokens: 0,
        reasoning_tokens: 0,
        cache_write_tokens: 0,
        hour_write_tokens: 0,
    };

    /// Merges what a provider reports more than once (cumulatively, per chunk): the larger of each, never the sum.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.max(other.prompt_tokens),
            completion_tokens: self.completion_tokens.max(other.completion_tokens),
            cached_tokens: self.cached_tokens.max(other.cached_tokens),
            reasoning_tokens: self.reasoning_tokens.max(other.reasoning_tokens),
            cache_write_tokens: self.cache_write_tokens.max(other.cache_write_tokens),
            hour_write_tokens: self.hour_write_tokens.max(other.hour_write_tokens),
        }
    }
}

/// How a call to a model ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was delivered.
    Complete,
    /// The client went away, or stopped it.
    Cancelled,
    /// The provider failed after part of the answer.
    Partial,
    /// The provider failed before anything was delivered.
    Failed,
    /// The process died during the call; found by the sweep.
    Lost,
    /// Moderation refused the question, or the rest of the answer; that is what was answered.
    Filtered,
}

impl Outcome {
    /// The word that is stored and logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Filtered => "filtered",
        }
    }

    /// Whether nobody got an answer.
    pub fn failed(self) -> bool {
        matches!(self, Self::Failed | Self::Lost)
    }
}

/// Which target a call went to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedBy {
    /// The provider, by the operator's name for it.
    pub provider: String,
    /// The model, as that provider spells it.
    pub model: String,
}

/// What one call used; booked once under its request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEvent {
    /// Of which call.
    pub request_id: RequestId,
    /// Who pays.
    pub owner: Owner,
    /// With which session or key.
    pub used_with: UsedWith,
    /// The model that was asked for.
    pub model: String,
    /// The key of the plan in force, or [`crate::billing::PLAN_UNKNOWN`].
    pub plan: String,
    /// What answered, or was asked last; `None` where nobody knows.
    pub served_by: Option<ServedBy>,
    /// Tokens, as the provider counted them, or as estimated where it did not.
    pub usage: TokenUsage,
    /// Whether the tokens are the provider's own count.
    pub exact: bool,
    /// Cost; unknown without a price.
    pub cost: Option<NanoUsd>,
    /// From the call to the first token, in ms.
    pub first_token_ms: Option<i64>,
    /// From the call to its end, in ms.
    pub total_ms: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub created_at: Timestamp,
}

/// A conversation of one user with a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Identifier.
    pub id: ConversationId,
    /// Whose it is; everyone else gets 404.
    pub user_id: UserId,
    /// For the list.
    pub title: Option<String>,
    /// The model; the plan's first without one.
    pub model: Option<String>,
    /// What the model is told before every turn.
    pub instructions: Option<String>,
    /// The operator's assistant that answers, by its id; it brings a model of its own.
    pub assistant: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed or was spoken in.
    pub updated_at: Timestamp,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Speaker {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Self::User),
            "assistant" => Some(Self::Assistant),
            _ => None,
        }
    }
}

/// How far a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Being written.
    InProgress,
    /// Whole.
    Complete,
    /// The provider broke off.
    Partial,
    /// It was stopped, or nobody read it any more.
    Cancelled,
    /// Nothing came.
    Failed,
}

impl MessageStatus {
    const ALL: [Self; 5] = [
        Self::InProgress,
        Self::Complete,
        Self::Partial,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Reads the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

impl From<Outcome> for MessageStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete | Outcome::Filtered => Self::Complete,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Partial => Self::Partial,
            Outcome::Failed | Outcome::Lost => Self::Failed,
        }
    }
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Identifier; their order is the conversation's order.
    pub id: MessageId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// Who said it.
    pub role: Speaker,
    /// What was said.
    pub content: String,
    /// How far it came.
    pub status: MessageStatus,
    /// The model that answered.
    pub model: Option<String>,
    /// What the answer used.
    pub usage: Option<TokenUsage>,
    /// Whether moderation refused it, or the rest of it; the model is not shown it again.
    pub filtered: bool,
    /// When it was said.
    pub created_at: Timestamp,
}

/// The longest conversation title, in characters.
pub const MAX_TITLE_CHARS: usize = 200;
/// The longest instructions, in bytes.
pub const MAX_INSTRUCTIONS_BYTES: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_usage_is_merged_not_added() {
        let early = TokenUsage {
            prompt_tokens: 10,
            completion_tokens: 1,
            ..TokenUsage::default()
        };
        let late = TokenUsage {
            prompt_tokens: 10,
            completion_tokens: 7,
            cached_tokens: 2,
            reasoning_tokens: 3,
            ..TokenUsage::NONE
        };
        assert_eq!(early.max(late), late);
        assert_eq!(late.max(early), late);
    }

    #[test]
    fn stored_words_survive_a_round_trip() {
        for status in MessageStatus::ALL {
            assert_eq!(MessageStatus::parse(status.as_str()), Some(status));
        }
        for speaker in [Speaker::User, Speaker::Assistant] {
            assert_eq!(Speaker::parse(speaker.as_str()), Some(speaker));
        }
        assert_eq!((MessageStatus::parse("x"), Speaker::parse("x")), (None, None));
        for (outcome, word) in [
            (Outcome::Complete, "complete"),
            (Outcome::Cancelled, "cancelled"),
            (Outcome::Partial, "partial"),
            (Outcome::Failed, "failed"),
        ] {
            assert_eq!((outcome.as_str(), MessageStatus::from(outcome).as_str()), (word, word));
        }
        assert_eq!(
            (Outcome::Filtered.as_str(), MessageStatus::from(Outcome::Filtered)),
            ("filtered", MessageStatus::Complete)
        );
        assert_eq!(
            (Outcome::Lost.as_str(), MessageStatus::from(Outcome::Lost)),
            ("lost", MessageStatus::Failed)
        );
    }
}
