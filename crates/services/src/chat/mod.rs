//! Models, the relay to them, and conversations.

mod answer_cache;
mod answer_question;
mod asked;
mod assistants;
mod call;
mod call_refused;
mod complete_chat;
mod conversations;
mod create_embeddings;
mod delete_model;
mod drafts;
mod export_conversation;
mod follow_answer;
mod hold_models;
mod hold_quota;
mod hold_together;
mod incoming;
mod list_models;
mod moderation;
mod put_model;
mod refuse;
mod send_message;
mod settle_calls;
mod show_models;
mod stop_answer;
mod sweep_calls;
mod targets;
mod tend_calls;
mod tend_conversations;
mod told;
mod write_answer;

pub use answer_cache::{CacheOptions, CacheStatus, CacheUse};
pub use assistants::ListedAssistant;
pub use call_refused::CallRefused;
pub use complete_chat::{ChatAnswer, ChatError, Manner, Relayed};
pub use conversations::{ChangeConversation, ConversationError, NewConversation};
pub use create_embeddings::Embeddings;
pub use delete_model::DeleteModelError;
pub use drafts::MessageEvent;
pub use follow_answer::{FollowAnswer, FollowError};
pub use list_models::ListedModel;
pub use moderation::ModerationOptions;
pub use put_model::{Expected, PutModel, PutModelError};
pub use send_message::{EditMessage, MessageAnswer, RegenerateAnswer, SendMessage, SendMessageError};
pub use show_models::{ModelDetails, StoredSince, TargetDetails};
pub use targets::{OnDisconnect, Provider, RoutingOptions};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anteroom_domain::billing::{NanoUsd, PriceBook};
use anteroom_domain::chat::{Assistant, ModelAlias};
use anteroom_ports::{Clock, Ids, Secrets, Store, TargetObserver};
use jiff::SignedDuration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ops::Leases;
use crate::protection::Protection;
use crate::{Access, Audit, Billing};
use hold_models::HeldModels;
use list_models::Offer;
use targets::Targets;

/// What the operator can set.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// The models to offer, in order; empty: those the first provider lists.
    pub models: Arc<[Arc<ModelAlias>]>,
    /// The operator's assistants, in order.
    pub assistants: Arc<[Arc<Assistant>]>,
    /// Who looks at what goes to models and comes from them.
    pub moderation: ModerationOptions,
    /// Whether, and for how long, answers are given again.
    pub cache: CacheOptions,
    /// How failures of what answers are dealt with.
    pub routing: RoutingOptions,
    /// The most bytes that traces are told of what is said to a model, and of what it answers; `None`: nothing.
    pub traced_content: Option<usize>,
    /// Prices, and what a model without one counts as.
    pub prices: PriceBook,
    /// The most that all calls of a UTC day may cost.
    pub daily_spend_cap: NanoUsd,
    /// The most of it that one owner may use, in percent; at 100 that is not counted.
    pub spend_cap_share_percent: u32,
    /// Completion tokens to reserve for a call that names no maximum.
    pub max_output_tokens: i64,
    /// The most messages of a request to the relay.
    pub max_request_messages: usize,
    /// Tokens of a conversation that the model is shown again.
    pub memory_tokens: i64,
    /// The longest message of a conversation, in bytes.
    pub max_message_bytes: usize,
    /// How many messages a conversation may have, where that is limited.
    pub max_messages: Option<i64>,
    /// How many conversations a user may have, where that is limited.
    pub max_conversations: Option<i64>,
    /// For how long a conversation is kept that is not used, where that ends.
    pub kept: Option<SignedDuration>,
    /// For how long a streamed answer of a conversation goes on while nobody reads it.
    pub resume: Duration,
    /// For how long a streamed answer of a conversation waits for the provider before its reader is told that it begins:
    /// no longer than what stands in between takes a silent connection for a live one.
    pub silence: Duration,
    /// The longest that a call may take, its reader included.
    pub total_timeout: Duration,
    /// For how long a call holds its reservation and its conversation without renewing that.
    pub lease: SignedDuration,
}

/// The use cases of chat.
pub struct Chat {
    store: Arc<dyn Store>,
    targets: Targets,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    secrets: Arc<dyn Secrets>,
    observer: Arc<dyn TargetObserver>,
    access: Arc<Access>,
    billing: Arc<Billing>,
    protection: Arc<Protection>,
    audit: Arc<Audit>,
    options: ChatOptions,
    cache: Option<answer_cache::AnswerCache>,
    /// The aliases that are stored.
    held: HeldModels,
    /// Cancelled when nothing is to be read on any longer that nobody wants.
    draining: CancellationToken,
    /// The first provider's own list, as it was when that was last asked.
    listed: Mutex<Option<Offer>>,
    /// Every call that runs or has not been booked yet; shutdown waits for it.
    calls: TaskTracker,
    /// Calls that wait for what they may use.
    asking: hold_together::Asking,
    /// Calls that wait to be booked.
    books: settle_calls::Books,
    /// The main runtime, which outlives the workers that calls run on.
    runtime: tokio::runtime::Handle,
    /// The answers of conversations that are being written here.
    drafts: Arc<drafts::Drafts>,
    /// The reservations of the calls that run here.
    leases: Leases,
    /// Whether the sweep has failed since it last succeeded.
    sweep_failed: AtomicBool,
}

impl Chat {
    /// Puts the context together. There is at least one provider; every target that is configured names one of them.
    #[expect(clippy::too_many_arguments, reason = "each is a port or a context of its own")]
    pub fn new(
        store: Arc<dyn Store>,
        providers: Vec<Provider>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        secrets: Arc<dyn Secrets>,
        observer: Arc<dyn TargetObserver>,
        access: Arc<Access>,
        billing: Arc<Billing>,
        protection: Arc<Protection>,
        audit: Arc<Audit>,
        options: ChatOptions,
    ) -> Self {
        let drafts = Arc::<drafts::Drafts>::default();
        let told = Arc::clone(&drafts);
        access.sessions().hear_of_answers(move |change| told.told(change));
        Self {
            cache: answer_cache::AnswerCache::of(&options.cache),
            drafts,
            leases: Leases::of(options.lease),
            store,
            targets: Targets::new(providers),
            clock,
            ids,
            secrets,
            observer,
            access,
            billing,
            protection,
            audit,
            options,
            held: HeldModels::default(),
            draining: CancellationToken::new(),
            listed: Mutex::new(None),
            calls: TaskTracker::new(),
            asking: hold_together::Asking::default(),
            books: settle_calls::Books::default(),
            runtime: tokio::runtime::Handle::current(),
            sweep_failed: AtomicBool::new(false),
        }
    }

    /// Waits until every call has ended and is booked. Call it once, when no new ones can come.
    pub async fn settled(&self) {
        self.calls.close();
        self.calls.wait().await;
    }

    /// From now on no answer is read to its end that nobody wants; those that are end.
    pub fn stop_draining(&self) {
        self.draining.cancel();
    }

    /// Ends the answers of conversations that are still being written, since nobody can be left to read them.
    pub fn cut_answers(&self) {
        self.drafts.cut();
    }

    /// How many calls run or are being booked.
    pub fn running(&self) -> usize {
        self.calls.len()
    }
}
