//! Conversations, and the models that answer.

mod moderation;

pub use moderation::{Moderator, ModeratorAway};

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use anteroom_domain::chat::{Conversation, Dialect, Message, Original, Outcome, StoredAlias, TokenUsage};
use anteroom_domain::{ConversationId, MessageId, RequestId, ReservationId, Timestamp, UserId};

use crate::StoreResult;

/// Finding conversations. The owner is part of every question, so a stranger's is not found.
#[async_trait]
pub trait ChatRead: Send {
    /// A conversation of this user.
    async fn conversation(&mut self, user: UserId, id: ConversationId) -> StoreResult<Option<Conversation>>;

    /// At most `limit` conversations of this user, newest first, older than `before`.
    async fn page_conversations(
        &mut self,
        user: UserId,
        before: Option<ConversationId>,
        limit: i64,
    ) -> StoreResult<Vec<Conversation>>;

    /// At most `limit` messages of this user's conversation, oldest first, newer than `after`.
    async fn page_messages(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        after: Option<MessageId>,
        limit: i64,
    ) -> StoreResult<Vec<Message>>;

    /// One message of this user's conversation.
    async fn message(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        id: MessageId,
    ) -> StoreResult<Option<Message>>;

    /// The newest messages of this user's conversation that have text, are not in progress and were not refused by
    /// moderation, newest first, older than `before`.
    async fn recent_messages(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: i64,
    ) -> StoreResult<Vec<Message>>;

    /// How many messages [`ChatRead::recent_messages`] could bring without a limit.
    async fn count_recent_messages(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        before: Option<MessageId>,
    ) -> StoreResult<i64>;

    /// How many messages this user's conversation has, whatever became of them.
    async fn count_messages(&mut self, user: UserId, conversation: ConversationId) -> StoreResult<i64>;

    /// How many conversations this user has, at most `limit`.
    async fn count_conversations(&mut self, user: UserId, limit: i64) -> StoreResult<i64>;

    /// The message of this user's conversation that is being written, if one is: the newest that is in progress.
    async fn running_answer(&mut self, user: UserId, conversation: ConversationId) -> StoreResult<Option<Message>>;
}

/// Changing conversations.
#[async_trait]
pub trait ChatWrite: Send {
    /// Adds a conversation.
    async fn insert_conversation(&mut self, conversation: &Conversation) -> StoreResult<()>;

    /// Writes `title`, `model`, `instructions`, `assistant` and `updated_at` of the owner's conversation. Not found: `false`.
    async fn update_conversation(&mut self, conversation: &Conversation) -> StoreResult<bool>;

    /// Deletes the owner's conversation with its messages. Not found: `false`.
    async fn delete_conversation(&mut self, user: UserId, id: ConversationId) -> StoreResult<bool>;

    /// Claims the owner's conversation for the answer of one call and moves its `updated_at`. `false` while another
    /// call holds it (until that one's `until`), or if it is not found. A claim that has run out is taken over: what
    /// its call was writing is lost, and becomes `failed`.
    async fn claim_conversation(
        &mut self,
        user: UserId,
        id: ConversationId,
        call: ReservationId,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreResult<bool>;

    /// Lets the claims that these calls hold last until then. Those that are being changed elsewhere are passed over,
    /// and nothing happens to claims that they no longer hold.
    async fn renew_claims(&mut self, calls: &[ReservationId], until: Timestamp) -> StoreResult<()>;

    /// Ends the claim of this call. `false` if it does not hold the conversation any more, or that is gone: then
    /// nothing that the call brought may be written into it.
    async fn release_conversation(&mut self, id: ConversationId, call: ReservationId) -> StoreResult<bool>;

    /// Ends the claim of a call whose process died, if it holds one: what it was writing becomes `failed`.
    async fn lose_answer(&mut self, call: ReservationId) -> StoreResult<()>;

    /// Adds a message.
    async fn insert_message(&mut self, message: &Message) -> StoreResult<()>;

    /// Writes `content`, `status`, `model`, `usage` and `filtered`. `false` if the message is gone with its conversation.
    async fn finish_message(&mut self, message: &Message) -> StoreResult<bool>;

    /// Writes what has come of a message that is in progress. `false` if it no longer is, or is gone.
    async fn save_message(&mut self, id: MessageId, content: &str) -> StoreResult<bool>;

    /// Writes what a user's message says instead, and whether moderation refuses it. `false` if it is gone.
    async fn edit_message(&mut self, id: MessageId, content: &str, filtered: bool) -> StoreResult<bool>;

    /// Deletes a message, if it is there.
    async fn delete_message(&mut self, id: MessageId) -> StoreResult<()>;

    /// Deletes the conversation's messages that are newer than `after`, but for `keep`.
    async fn delete_messages_after(
        &mut self,
        conversation: ConversationId,
        after: MessageId,
        keep: Option<MessageId>,
    ) -> StoreResult<()>;

    /// Gives a conversation that has no title this one. `false` if it has one, or is gone.
    async fn name_conversation(&mut self, id: ConversationId, title: &str) -> StoreResult<bool>;

    /// Deletes conversations that were last changed or spoken in before then, with their messages: at most `limit`,
    /// oldest first. Answers how many.
    async fn purge_conversations(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize>;
}

/// Finding aliases of models that admins have stored.
#[async_trait]
pub trait ModelsRead: Send {
    /// All of them, by name. One that a newer version has written is among them, and says that it cannot be read.
    async fn stored_aliases(&mut self) -> StoreResult<Vec<StoredAlias>>;
}

/// Changing them. Every change is told to all nodes as [`Change::Models`](anteroom_domain::sessions::Change::Models),
/// with the commit.
#[async_trait]
pub trait ModelsWrite: Send {
    /// The same as [`ModelsRead::stored_aliases`]; until the unit ends nobody else gets them in this way, so that what
    /// is decided by them stands.
    async fn lock_stored_aliases(&mut self) -> StoreResult<Vec<StoredAlias>>;

    /// Writes an alias, in the place of the one of its name if there is one. One that cannot be read cannot be written:
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt).
    async fn put_stored_alias(&mut self, stored: &StoredAlias) -> StoreResult<()>;

    /// Deletes the alias of that name. Not found: `false`.
    async fn delete_stored_alias(&mut self, name: &str) -> StoreResult<bool>;
}

/// A call to a model, already checked and rewritten.
#[derive(Debug, Clone)]
pub struct ChatCall {
    /// Under which it is logged, and booked.
    pub request_id: RequestId,
    /// The upstream's name of the model.
    pub model: String,
    /// The request's bytes, as they are to travel.
    pub body: Bytes,
    /// What the caller said, where that was in another dialect. A provider that speaks it may be told this instead; model
    /// and maximum are the body's all the same. It then hands its own words on, see [`OWN_WORDS`].
    ///
    /// [`OWN_WORDS`]: anteroom_domain::chat::OWN_WORDS
    pub original: Option<Arc<Original>>,
}

impl ChatCall {
    /// What of the original is lost on a provider that is told the body.
    pub fn lost(&self) -> Vec<String> {
        self.original.as_ref().map(|said| said.lost.clone()).unwrap_or_default()
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatReply {
    /// The answer's bytes, as they came.
    pub body: Bytes,
    /// The first choice's text.
    pub text: String,
    /// What it used, where the provider said.
    pub usage: Option<TokenUsage>,
    /// Parameters of the request that this provider could not be told, as OpenAI names them.
    pub dropped: Vec<String>,
}

/// What a stream brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// A chunk.
    Chunk(ChatChunk),
    /// The provider's own mark that the answer is whole (`[DONE]`). Nothing follows.
    Done,
}

/// One chunk of a stream: its bytes and a small view of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatChunk {
    /// The JSON of its `data:` line, as it came.
    pub data: Bytes,
    /// The text it adds to the first choice.
    pub text: String,
    /// Bytes of output of any kind that it adds (text of every choice, tool arguments, refusals, reasoning), for
    /// estimating what was used if the provider never says.
    pub output_bytes: usize,
    /// What the call has used so far, where the provider said.
    pub usage: Option<TokenUsage>,
    /// Whether it carries nothing but usage (`choices` is empty): the chunk a client gets only if it asked.
    pub usage_only: bool,
}

/// A stream's events. Ending without [`ChatEvent::Done`] or an error does not happen: adapters report it as
/// [`ProviderErrorKind::Protocol`]. Dropping it cancels the call upstream.
pub type ChatEvents = Pin<Box<dyn Stream<Item = Result<ChatEvent, ProviderError>> + Send>>;

/// A streamed answer that has begun.
pub struct ChatStream {
    /// What it brings.
    pub events: ChatEvents,
    /// As [`ChatReply::dropped`].
    pub dropped: Vec<String>,
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream")
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

/// Texts to be embedded, already checked and rewritten.
#[derive(Debug, Clone)]
pub struct EmbedCall {
    /// Under which it is logged, and booked.
    pub request_id: RequestId,
    /// The upstream's name of the model.
    pub model: String,
    /// OpenAI's request for embeddings.
    pub body: Bytes,
}

/// Texts that were embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedReply {
    /// OpenAI's answer, with the vectors as `encoding_format` asked for them: lists of numbers, or base64 of
    /// little-endian 32-bit floats.
    pub body: Bytes,
    /// What it used, where the provider said.
    pub usage: Option<TokenUsage>,
    /// As [`ChatReply::dropped`].
    pub dropped: Vec<String>,
}

/// A model that a provider offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedModel {
    /// Its name, as the provider spells it.
    pub id: String,
    /// Who made it, as the provider says.
    pub owned_by: String,
    /// When, in Unix seconds, as the provider says.
    pub created: i64,
}

/// Where a provider's time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutStage {
    /// Connecting.
    Connect,
    /// Before the first token.
    FirstToken,
    /// Between two chunks.
    Idle,
    /// Over the whole call.
    Total,
}

/// What kind of failure it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderErrorKind {
    /// The provider refused Anteroom itself: its key (401, 403), its account (402), or a proxy did (407).
    Auth,
    /// The provider refused the request (any other 4xx).
    BadRequest {
        /// Its status.
        status: u16,
        /// Its error object (OpenAI's `error`), where it sent one: for the caller, freed of the key.
        error: Option<serde_json::Value>,
    },
    /// The provider is out of patience (429).
    RateLimited {
        /// Its Retry-After.
        retry_after: Option<Duration>,
    },
    /// It was not asked: it has failed lately and is left alone for now.
    Resting {
        /// When it will be asked again.
        retry_after: Duration,
    },
    /// The provider failed (5xx), or answered with a status that says nothing of the request, such as a redirect.
    Upstream {
        /// Its status.
        status: u16,
    },
    /// Time ran out.
    Timeout(TimeoutStage),
    /// No connection could be made: nothing was sent.
    Unreachable,
    /// The connection broke.
    Transport,
    /// The provider answered something that is no answer, or an error in the middle of a stream.
    Protocol {
        /// The error object it sent in the stream, where it sent one, freed of the key.
        error: Option<serde_json::Value>,
    },
    /// The provider has no such thing, and going without would change what is asked for. Nothing was sent. The error's
    /// `detail` is for the caller as well.
    Unsupported {
        /// The parameter, as OpenAI names it.
        parameter: String,
    },
}

impl ProviderErrorKind {
    /// The stable word for it, as it is counted.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::BadRequest { .. } => "bad_request",
            Self::RateLimited { .. } => "rate_limited",
            Self::Resting { .. } => "resting",
            Self::Upstream { .. } => "upstream",
            Self::Timeout(_) => "timeout",
            Self::Unreachable | Self::Transport => "transport",
            Self::Protocol { .. } => "protocol",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    /// Whether the provider has done nothing that it could bill, as long as it has sent nothing: it was not reached, or it
    /// refused with a status. One that was only waited for too long, or whose answer cannot be read, may have worked.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Auth
            | Self::BadRequest { .. }
            | Self::RateLimited { .. }
            | Self::Resting { .. }
            | Self::Upstream { .. }
            | Self::Unreachable
            | Self::Timeout(TimeoutStage::Connect)
            | Self::Unsupported { .. } => true,
            Self::Transport | Self::Timeout(_) | Self::Protocol { .. } => false,
        }
    }
}

/// A call that a target was asked for, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct TargetCall<'a> {
    /// The provider, by the operator's name for it.
    pub provider: &'a str,
    /// The model, as that provider spells it.
    pub model: &'a str,
    /// What was asked for, as the conventions of OpenTelemetry call it: `chat` or `embeddings`.
    pub operation: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What kind of failure of the target ended it, if one did: [`ProviderErrorKind::as_str`].
    pub failure: Option<&'static str>,
    /// What it used, where the provider said. What is only estimated is not told.
    pub usage: Option<TokenUsage>,
    /// From asking this target to the first chunk of a streamed answer, whatever that holds.
    pub first_chunk: Option<Duration>,
    /// From asking this target to the first token of a streamed answer.
    pub first_token: Option<Duration>,
    /// From asking it to the end.
    pub total: Duration,
}

/// Is told how the targets of models do, to count it.
pub trait TargetObserver: Send + Sync {
    /// A target was asked, and this came of it: every try, also of one in whose place another was asked. At once,
    /// without waiting for anything.
    fn ended(&self, call: TargetCall<'_>);
}

/// Why a provider did not answer. Carries no key and no prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model provider failed: {detail}")]
pub struct ProviderError {
    /// What kind of failure.
    pub kind: ProviderErrorKind,
    /// For the log.
    pub detail: String,
}

/// A provider of models.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Its name in logs and the start-up lines.
    fn name(&self) -> &str;

    /// Whether it takes a system's instructions apart from what is said, rather than as messages among the others. Traces
    /// tell them in the same way.
    fn takes_instructions_apart(&self) -> bool {
        false
    }

    /// The models it offers, asked afresh.
    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError>;

    /// Whether it is told what was said in this dialect as it was said ([`ChatCall::original`]), and not the chat completion
    /// that was made of it.
    fn speaks(&self, _: Dialect) -> bool {
        false
    }

    /// A whole answer. Dropping the future cancels the call upstream.
    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError>;

    /// A streamed answer. An `Err` here means that nothing was sent. Chunks are handed on as they come, without
    /// reading ahead: a slow consumer slows the provider.
    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError>;
}

/// A provider of models that turn texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Its name in logs.
    fn name(&self) -> &str;

    /// A vector for each of the texts, in their order. Dropping the future cancels the call upstream.
    async fn embed(&self, call: EmbedCall) -> Result<EmbedReply, ProviderError>;
}
