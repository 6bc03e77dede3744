//! A chat completion, relayed: OpenAI's request goes out, its answer comes back, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::ReservationId;
use anteroom_domain::chat::{ChatRequest, InvalidRequest, Original, Outcome, Target};
use anteroom_domain::protection::CallRates;
use anteroom_ports::Durability;
use anteroom_ports::chat::{ChatChunk, ChatEvent, ChatReply, ProviderError};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Chat;
use super::call::{Call, CallRefused};
use super::incoming::Incoming;
use super::targets::Provider;
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
    },
    /// A stream.
    Stream {
        /// What it brings. Dropping the receiver cancels the call.
        events: mpsc::Receiver<Relayed>,
        /// The parameters that the provider could not be told.
        dropped: Vec<String>,
        /// What counting the call showed.
        rates: CallRates,
    },
}

/// One thing a stream brings. It ends after `Done` or `Failed`.
#[derive(Debug)]
pub enum Relayed {
    /// A chunk's JSON.
    Chunk(Bytes),
    /// The answer is whole.
    Done,
    /// It broke off.
    Failed(ChatError),
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
    /// Relays a completion. `gone` is cancelled when the client has gone away.
    pub async fn complete_chat(
        self: &Arc<Self>,
        who: &Principal,
        body: &[u8],
        gone: CancellationToken,
    ) -> Result<ChatAnswer, ChatError> {
        self.complete(who, ChatRequest::parse(body)?, gone).await
    }

    /// The same for a completion that was made of what the caller said in another dialect. A provider that speaks it is
    /// told the original.
    pub async fn complete_translated(
        self: &Arc<Self>,
        who: &Principal,
        body: &[u8],
        original: Original,
        gone: CancellationToken,
    ) -> Result<ChatAnswer, ChatError> {
        self.complete(who, ChatRequest::parse(body)?.said_as(original), gone)
            .await
    }

    async fn complete(
        self: &Arc<Self>,
        who: &Principal,
        request: ChatRequest,
        gone: CancellationToken,
    ) -> Result<ChatAnswer, ChatError> {
        let access = self.access_of(who);
        let alias = self.check_model(&access, &request.model).await?;
        let mut unit = self.store.begin(Durability::Relaxed).await.map_err(CallRefused::from)?;
        let id = ReservationId(self.ids.uuid());
        let call = self
            .reserve(&mut *unit, id, who, &access, self.needs(&access, &alias, &request))
            .await?;
        unit.commit().await.map_err(CallRefused::from)?;
        let rates = call.rates;

        // From here on the call has to be booked whatever happens, so it has a task of its own.
        let driver = Driver {
            chat: Arc::clone(self),
            call,
            gone,
        };
        if request.stream {
            let (out, events) = mpsc::channel(CHANNEL);
            let (ready, begun) = tokio::sync::oneshot::channel();
            let run = driver.stream(request, out, ready);
            self.calls.spawn(run.in_current_span());
            let dropped = begun.await.unwrap_or(Err(ChatError::ClientGone))?;
            return Ok(ChatAnswer::Stream { events, dropped, rates });
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.calls.spawn(driver.whole(request, reply).in_current_span());
        let ChatReply { body, dropped, .. } = answer.await.unwrap_or(Err(ChatError::ClientGone))?;
        Ok(ChatAnswer::Whole { body, dropped, rates })
    }
}

/// Owns a call: its upstream and its reservation.
struct Driver {
    chat: Arc<Chat>,
    call: Call,
    gone: CancellationToken,
}

impl Driver {
    async fn whole(mut self, request: ChatRequest, reply: tokio::sync::oneshot::Sender<Result<ChatReply, ChatError>>) {
        let ask = |provider: Provider, target: &Target| {
            let outgoing = self.chat.outgoing(&self.call, &request, &provider, target);
            async move { provider.models.complete(outgoing).await }
        };
        let complete = async { Ok(self.chat.ask_targets(&self.call, ask).await?) };
        let answer = self.chat.while_wanted(&self.call, &self.gone, complete).await;
        let (outcome, answer) = match answer {
            Ok(answer) => {
                self.call.note(answer.text.len().max(1), answer.usage);
                (self.call.outcome_of_whole(), Ok(answer))
            }
            Err(e) => (self.call.outcome_of(&e), Err(e)),
        };
        // The answer leaves first; booking it is not what the client waits for.
        let _ = reply.send(answer);
        self.chat.settle(&self.call, outcome).await;
    }

    async fn stream(
        mut self,
        request: ChatRequest,
        out: mpsc::Sender<Relayed>,
        ready: tokio::sync::oneshot::Sender<Result<Vec<String>, ChatError>>,
    ) {
        // Until the first chunk an error still has a status of its own, so nothing is answered before it.
        let opened = self.chat.open_stream(&self.call, &self.gone, &request).await;
        let include_usage = request.include_usage;
        // It may be large, and the answer may take long.
        drop(request);
        let outcome = match opened {
            Err(e) => {
                let outcome = self.call.outcome_of(&e);
                let _ = ready.send(Err(e));
                outcome
            }
            Ok(incoming) => {
                let _ = ready.send(Ok(incoming.dropped()));
                self.forward(incoming, include_usage, &out).await
            }
        };
        drop(out);
        self.chat.settle(&self.call, outcome).await;
    }

    async fn forward(&mut self, mut incoming: Incoming, include_usage: bool, out: &mpsc::Sender<Relayed>) -> Outcome {
        let failed = loop {
            let handed_on = match incoming.next(Some(out)).await {
                Ok(ChatEvent::Chunk(chunk)) => match self.pass(chunk, include_usage) {
                    Some(data) => incoming.hand_on(out, Relayed::Chunk(data)).await,
                    None => continue,
                },
                Ok(ChatEvent::Done) => {
                    let _ = incoming.hand_on(out, Relayed::Done).await;
                    return Outcome::Complete;
                }
                Err(e) => break e,
            };
            if let Err(e) = handed_on {
                break e;
            }
        };
        if matches!(failed, ChatError::ClientGone) {
            incoming.drain(&self.chat, &mut self.call, |_| {}).await;
        }
        drop(incoming);
        let outcome = self.call.outcome_of(&failed);
        // That it broke off shows in what is missing, too: a reader that does not read is not waited for any longer.
        let _ = tokio::time::timeout(LAST_WORD, out.send(Relayed::Failed(failed))).await;
        outcome
    }

    /// What of a chunk goes to the client.
    fn pass(&mut self, chunk: ChatChunk, include_usage: bool) -> Option<Bytes> {
        self.call.note(chunk.output_bytes, chunk.usage);
        (include_usage || !chunk.usage_only).then_some(chunk.data)
    }
}
