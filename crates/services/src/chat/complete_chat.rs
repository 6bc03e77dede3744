//! A chat completion, relayed: OpenAI's request goes out, its answer comes back, byte for byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::RequestId;
use anteroom_domain::billing::Operation;
use anteroom_domain::chat::{ChatRequest, Direction, InvalidRequest, Original, Outcome, Target, TokenUsage, Verdict};
use anteroom_domain::protection::CallRates;
use anteroom_ports::chat::{ChatEvent, ChatReply, ProviderError};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Chat;
use super::answer_cache::{CacheStatus, CacheUse, Keeper, Kept, KeptAnswer, Key};
use super::assistants::Prepared;
use super::call::Needs;
use super::call_refused::CallRefused;
use super::incoming::Incoming;
use super::moderation::{Found, Gate, Head, Through, answers_text, refused_body};
use super::settle_calls::Driven;
use super::targets::Provider;
use crate::Client;
use crate::access::Principal;

/// What the caller gets.
#[derive(Debug)]
pub enum ChatAnswer {
    /// A whole answer.
    Whole {
        /// Its bytes.
        body: Bytes,
        /// The parameters that the provider could not be told.
        dropped: Vec<String>,
        /// What counting the call showed.
        rates: CallRates,
        /// What the cache had, if it was looked into.
        cache: Option<CacheStatus>,
    },
    /// A stream.
    Stream {
        /// What it brings. Dropping the receiver cancels the call.
        events: mpsc::Receiver<Relayed>,
        /// The parameters that the provider could not be told.
        dropped: Vec<String>,
        /// What counting the call showed.
        rates: CallRates,
        /// As of a whole answer.
        cache: Option<CacheStatus>,
    },
}

/// How a completion is asked for.
#[derive(Debug, Default)]
pub struct Manner {
    /// By which of the relay's operations.
    pub operation: Operation,
    /// Where from.
    pub client: Client,
    /// What the caller wants of the cache.
    pub cache: CacheUse,
}

/// One thing a stream brings. It ends after `Done` or `Failed`.
#[derive(Debug)]
pub enum Relayed {
    /// A chunk's JSON.
    Chunk(Bytes),
    /// The answer is whole.
    Done,
    /// It broke off. Boxed, since a channel has room for many of these.
    Failed(Box<ChatError>),
}

/// Why there is no (whole) answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChatError {
    /// The request cannot be understood.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The call may not be made.
    #[error(transparent)]
    Refused(#[from] CallRefused),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The session ended while the answer was under way.
    #[error("the session has ended")]
    SessionEnded,
    /// The answer came, but its conversation is gone or held by another answer by now.
    #[error("the answer was not kept: its conversation was deleted, or another message took its turn")]
    NotKept,
    /// Its user stopped it.
    #[error("the answer was stopped")]
    Stopped,
    /// It broke off a while ago; why was told to whoever read it then.
    #[error("the answer broke off; what came of it is stored")]
    BrokenOff,
    /// Nobody could look at the text, and so it does not pass.
    #[error("what is asked or answered cannot be looked at right now")]
    ModeratorAway,
    /// The client went away; nobody reads this.
    #[error("the client went away")]
    ClientGone,
}

impl ChatError {
    /// Whether it means that nobody wants the answer any more, or may have it; nothing has failed.
    pub(super) fn unwanted(&self) -> bool {
        matches!(self, Self::ClientGone | Self::SessionEnded | Self::Stopped)
    }
}

/// For how long the last event of a stream waits for its reader.
pub(super) const LAST_WORD: Duration = Duration::from_secs(10);

/// Chunks under way to the client: enough to keep the line busy, few enough that a slow reader slows the provider.
pub(super) const CHANNEL: usize = 16;

impl Chat {
    /// Relays a completion that comes from nowhere in particular. `gone` is cancelled when the client has gone away.
    pub async fn complete_chat(
        self: &Arc<Self>,
        who: &Principal,
        body: &[u8],
        gone: CancellationToken,
    ) -> Result<ChatAnswer, ChatError> {
        self.complete(who, ChatRequest::parse(body)?, gone, Manner::default())
            .await
    }

    /// Relays a completion. One that was made of what the caller said in another dialect comes with that: a provider that
    /// speaks it is told the original.
    pub async fn complete_chat_as(
        self: &Arc<Self>,
        who: &Principal,
        body: &[u8],
        original: Option<Original>,
        gone: CancellationToken,
        manner: Manner,
    ) -> Result<ChatAnswer, ChatError> {
        let mut request = ChatRequest::parse(body)?;
        if let Some(original) = original {
            request = request.said_as(original);
        }
        self.complete(who, request, gone, manner).await
    }

    async fn complete(
        self: &Arc<Self>,
        who: &Principal,
        request: ChatRequest,
        gone: CancellationToken,
        manner: Manner,
    ) -> Result<ChatAnswer, ChatError> {
        let begun = Instant::now();
        let most = self.options.max_request_messages;
        if request.messages > most {
            return Err(CallRefused::TooManyMessages { most }.into());
        }
        let access = self.access_of(who);
        self.check_feature(&access, manner.operation)?;
        // What an assistant says is the operator's own, and not looked at.
        let said = self.moderator(Direction::Input).map(|_| request.text());
        // Nor are its parameters the caller's.
        Self::check_parameters(&access, request.refused_by(&access.plan.parameters))?;
        let Prepared {
            alias,
            request,
            gave_way,
            assisted,
        } = self.prepare(&access, request).await?;
        Self::check_key(who, &alias.name)?;
        let verdict = match said {
            Some(said) => self.look(Direction::Input, &said).await?,
            None => Verdict::default(),
        };
        let mut found = Found {
            call_id: RequestId(self.ids.uuid()),
            who,
            client: &manner.client,
            model: &alias.name,
            direction: Direction::Input,
            findings: &verdict.findings,
        };
        if verdict.refusal().is_some() {
            self.book_refusal(&found, &access.plan.key, begun).await?;
            return Ok(self.refusal(&found, &request, gave_way));
        }

        let key = Some(manner.cache).filter(|wanted| *wanted != CacheUse::Avoid);
        let key = key.and_then(|_| self.cache_key(who, &alias, &request));
        let kept = key
            .filter(|_| manner.cache == CacheUse::Take)
            .and_then(|key| self.cached(&key));
        let needs = match &kept {
            Some(_) => Needs::nothing(&alias),
            None => self.needs(&access, &alias, &request),
        };
        let admitted = self.admit(who, &access, needs)?;
        // Apart, like all that is over soon: what waits for an answer has no room for it.
        let call = Box::pin(self.reserve_apart(who, &access, admitted)).await?;
        let mut driver = Box::new(Driver {
            chat: Arc::clone(self),
            call: Driven::new(self, call),
            gone,
            key: key.filter(|_| kept.is_none()),
        });
        let rates = driver.call.rates;
        driver.call.assisted = assisted;
        driver.call.client = manner.client.clone();
        driver.call.from_cache = kept.is_some();
        found.call_id = driver.call.request_id;
        self.note_findings(&found).await;

        // From here on the call has to be booked whatever happens, so it has a task of its own.
        let status = match &kept {
            Some(_) => Some(CacheStatus::Hit),
            None => key.map(|_| CacheStatus::Miss),
        };
        if request.stream {
            let (out, events) = mpsc::channel(CHANNEL);
            let (ready, begun) = tokio::sync::oneshot::channel();
            driver.start(|driver| driver.stream(request, kept, out, ready));
            let dropped = begun.await.unwrap_or(Err(ChatError::ClientGone))?;
            return Ok(ChatAnswer::Stream {
                events,
                dropped: [gave_way, dropped].concat(),
                rates,
                cache: status,
            });
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        driver.start(|driver| driver.whole(request, kept, reply));
        let ChatReply { body, dropped, .. } = answer.await.unwrap_or(Err(ChatError::ClientGone))?;
        Ok(ChatAnswer::Whole {
            body,
            dropped: [gave_way, dropped].concat(),
            rates,
            cache: status,
        })
    }

    /// What is answered to a question that was refused.
    fn refusal(&self, found: &Found<'_>, request: &ChatRequest, dropped: Vec<String>) -> ChatAnswer {
        let head = Head::new(found.call_id, self.clock.now(), &request.model);
        let refusal = self.options.moderation.refusal.as_str();
        if !request.stream {
            let body = Bytes::from(head.whole(refusal, 1).to_string());
            return ChatAnswer::Whole {
                body,
                dropped,
                rates: CallRates::default(),
                cache: None,
            };
        }
        let used = request.include_usage.then(TokenUsage::default);
        let chunks = head.closing([0], Some(refusal), used).into_iter().map(Relayed::Chunk);
        // A handful of chunks; the channel holds more.
        let (out, events) = mpsc::channel(CHANNEL);
        for item in chunks.chain([Relayed::Done]) {
            let _ = out.try_send(item);
        }
        ChatAnswer::Stream {
            events,
            dropped,
            rates: CallRates::default(),
            cache: None,
        }
    }
}

/// Owns a call: its upstream and its reservation.
struct Driver {
    chat: Arc<Chat>,
    call: Driven,
    gone: CancellationToken,
    /// Under which the answer may be kept.
    key: Option<Key>,
}

impl Driver {
    /// Has it driven by a task of its own. Not where the call is prepared: what waits there would have room for all of this.
    fn start<F: Future<Output = ()> + Send + 'static>(self: Box<Self>, drive: impl FnOnce(Box<Self>) -> F) {
        let calls = self.chat.calls.clone();
        calls.spawn(drive(self).in_current_span());
    }

    async fn whole(
        mut self: Box<Self>,
        request: ChatRequest,
        kept: Option<Arc<Kept>>,
        reply: tokio::sync::oneshot::Sender<Result<ChatReply, ChatError>>,
    ) {
        let (outcome, answer) = match kept.as_deref() {
            Some(Kept {
                answer: KeptAnswer::Whole(body),
                dropped,
                ..
            }) => {
                let body = body.clone();
                let (text, dropped) = (String::new(), dropped.clone());
                let usage = None;
                (
                    Outcome::Complete,
                    Ok(ChatReply {
                        body,
                        text,
                        usage,
                        dropped,
                    }),
                )
            }
            _ => self.ask_whole(&request).await,
        };
        // The answer leaves first; booking it is not what the client waits for.
        let _ = reply.send(answer);
        self.call.end(outcome);
    }

    async fn ask_whole(&mut self, request: &ChatRequest) -> (Outcome, Result<ChatReply, ChatError>) {
        let ask = |provider: Provider, target: &Target| {
            let outgoing = self.chat.outgoing(&self.call, request, &provider, target);
            async move { provider.models.complete(outgoing?).await }
        };
        let complete = async { Ok(self.chat.ask_targets(&self.call, ask).await?) };
        let answer = match self.chat.while_wanted(&self.call, &self.gone, complete).await {
            Ok(answer) => {
                self.call.note_whole(&answer.body);
                self.call.note(answer.text.len().max(1), answer.usage);
                self.call.came_whole();
                self.judge_whole(answer).await
            }
            Err(e) => Err(e),
        };
        match answer {
            Ok((answer, false)) => {
                if let Some(key) = self.key {
                    self.chat.keep_whole(key, &answer);
                }
                (self.call.outcome_of_whole(), Ok(answer))
            }
            Ok((answer, true)) => (Outcome::Filtered, Ok(answer)),
            Err(e) => (self.call.outcome_of(&e), Err(self.call.told(e))),
        }
    }

    /// The answer, or the refusal in its place; whether it is that.
    async fn judge_whole(&mut self, mut answer: ChatReply) -> Result<(ChatReply, bool), ChatError> {
        if self.chat.moderator(Direction::Output).is_none() {
            return Ok((answer, false));
        }
        let text = answers_text(&answer.body, &answer.text);
        let look = self.chat.look(Direction::Output, &text);
        let verdict = self.chat.while_wanted(&self.call, &self.gone, look).await?;
        self.call.record_output(&self.chat, &verdict.findings).await;
        let refused = verdict.refusal().is_some();
        if refused {
            let head = Head::new(self.call.request_id, self.chat.clock.now(), &self.call.model);
            answer.body = refused_body(&answer.body, &head, &self.chat.options.moderation.refusal);
        }
        Ok((answer, refused))
    }

    async fn stream(
        mut self: Box<Self>,
        request: ChatRequest,
        kept: Option<Arc<Kept>>,
        out: mpsc::Sender<Relayed>,
        ready: tokio::sync::oneshot::Sender<Result<Vec<String>, ChatError>>,
    ) {
        // Until the first chunk an error still has a status of its own, so nothing is answered before it.
        let opened = match kept {
            Some(kept) => Ok(self.chat.replay(&self.call, &self.gone, &kept)),
            // Apart, since streams are many and it is over before they begin.
            None => Box::pin(self.chat.open_stream(&self.call, &self.gone, &request)).await,
        };
        let include_usage = request.include_usage;
        // It may be large, and the answer may take long.
        drop(request);
        let outcome = match opened {
            Err(e) => {
                let outcome = self.call.outcome_of(&e);
                let _ = ready.send(Err(self.call.told(e)));
                outcome
            }
            Ok(incoming) => {
                // Boxed, since each future that these are handed on to has room for them.
                let incoming = Box::new(incoming);
                let keeper = self.key.and_then(|key| self.chat.keeper(key, incoming.dropped()));
                // What is kept was judged before it was.
                let gate = if self.call.from_cache {
                    None
                } else {
                    Gate::of(&self.chat, &self.call, &self.gone)
                };
                let _ = ready.send(Ok(incoming.dropped()));
                let passing = Box::new(Passing {
                    gate,
                    keeper,
                    include_usage,
                });
                self.forward(incoming, passing, &out).await
            }
        };
        drop(out);
        self.call.end(outcome);
    }

    async fn forward(
        &mut self,
        mut incoming: Box<Incoming>,
        mut passing: Box<Passing>,
        out: &mpsc::Sender<Relayed>,
    ) -> Outcome {
        let ended = self.pass_on(&mut incoming, &mut passing, out).await;
        let outcome = match ended {
            Ok(true) => {
                if let Some(keeper) = passing.keeper.take() {
                    self.chat.keep_stream(keeper);
                }
                let _ = incoming.hand_on(out, Relayed::Done).await;
                Outcome::Complete
            }
            Ok(false) => {
                // Nothing more is wanted of it.
                drop(incoming);
                self.close(&passing, out).await;
                Outcome::Filtered
            }
            Err(failed) => {
                if matches!(failed, ChatError::ClientGone) {
                    incoming.drain(&self.chat, &mut self.call, |_| {}).await;
                }
                drop(incoming);
                let outcome = self.call.outcome_of(&failed);
                // That it broke off shows in what is missing, too: a reader that does not read is not waited for any longer.
                let failed = Relayed::Failed(Box::new(self.call.told(failed)));
                let _ = tokio::time::timeout(LAST_WORD, out.send(failed)).await;
                outcome
            }
        };
        if let Some(gate) = &passing.gate {
            self.call.record_output(&self.chat, &gate.findings).await;
        }
        outcome
    }

    /// Hands the answer on. Whether it is whole: otherwise it was refused on the way.
    async fn pass_on(
        &mut self,
        incoming: &mut Incoming,
        passing: &mut Passing,
        out: &mpsc::Sender<Relayed>,
    ) -> Result<bool, ChatError> {
        loop {
            let event = incoming.next(Some(out)).await;
            if matches!(event, Ok(ChatEvent::Done)) {
                self.call.came_whole();
            }
            let through = match (event, &mut passing.gate) {
                (Ok(ChatEvent::Chunk(chunk)), gate) => {
                    self.call.note(chunk.output_bytes, chunk.usage);
                    match gate {
                        // Apart, as below: most streams have no gate.
                        Some(gate) => Box::pin(gate.push(&self.chat, &self.call, chunk)).await?,
                        None => Through::Chunks(vec![chunk]),
                    }
                }
                (Ok(ChatEvent::Done), None) => return Ok(true),
                (Ok(ChatEvent::Done), Some(gate)) => {
                    let rest = Box::pin(gate.finish(&self.chat, &self.call)).await?;
                    return self.hand_all_on(rest, incoming, passing, out).await;
                }
                (Err(e @ (ChatError::ClientGone | ChatError::SessionEnded)), _) | (Err(e), None) => return Err(e),
                (Err(e), Some(gate)) => {
                    // What was held back came before the failure.
                    let rest = Box::pin(gate.finish(&self.chat, &self.call)).await?;
                    if !self.hand_all_on(rest, incoming, passing, out).await? {
                        return Ok(false);
                    }
                    return Err(e);
                }
            };
            if !self.hand_all_on(through, incoming, passing, out).await? {
                return Ok(false);
            }
        }
    }

    async fn hand_all_on(
        &mut self,
        through: Through,
        incoming: &mut Incoming,
        passing: &mut Passing,
        out: &mpsc::Sender<Relayed>,
    ) -> Result<bool, ChatError> {
        let Through::Chunks(chunks) = through else {
            return Ok(false);
        };
        for chunk in chunks {
            if let Some(keeper) = &mut passing.keeper {
                keeper.take_note(&chunk);
            }
            if passing.include_usage || !chunk.usage_only {
                incoming.hand_on(out, Relayed::Chunk(chunk.data)).await?;
            }
        }
        Ok(true)
    }

    /// Ends a stream that was refused on the way, as one ends that has said all it had to say.
    async fn close(&self, passing: &Passing, out: &mpsc::Sender<Relayed>) {
        let Some(gate) = &passing.gate else { return };
        let used = passing.include_usage.then(|| self.call.usage().0);
        let closing = gate.closing(&self.chat.options.moderation.refusal, used);
        for item in closing.into_iter().map(Relayed::Chunk).chain([Relayed::Done]) {
            if !matches!(tokio::time::timeout(LAST_WORD, out.send(item)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// What stands between the provider's chunks and the client.
struct Passing {
    gate: Option<Gate>,
    keeper: Option<Keeper>,
    include_usage: bool,
}
