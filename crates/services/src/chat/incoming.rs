//! An answer as it comes, and all that may end it before it is whole. What becomes of its chunks is for the relay and
//! for conversations to say.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use anteroom_domain::chat::{ChatRequest, Target};
use anteroom_ports::chat::{ChatChunk, ChatEvent, ChatEvents, ProviderError, ProviderErrorKind};
use futures_util::future::{Fuse, FutureExt as _};
use futures_util::{Future, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::Chat;
use super::answer_cache::{Kept, KeptAnswer};
use super::call::Call;
use super::complete_chat::ChatError;
use super::targets::Provider;
use super::told::Told;

/// An answer that is under way.
pub(super) struct Incoming {
    first: Option<ChatEvent>,
    events: ChatEvents,
    dropped: Vec<String>,
    gone: CancellationToken,
    /// What its span is told of it, if anybody follows.
    told: Option<Arc<Told>>,
    /// Fused: that the session has ended may be noticed while something else is still to be said.
    ended: Fuse<Pin<Box<dyn Future<Output = ()> + Send>>>,
    over: Pin<Box<Sleep>>,
}

impl Chat {
    /// Waits for something, unless the client goes away or its session ends first. Where what answers is to be read to its
    /// end all the same, that is waited for, but nothing else is asked.
    pub(super) async fn while_wanted<T>(
        self: &Arc<Self>,
        call: &Call,
        gone: &CancellationToken,
        wait: impl Future<Output = Result<T, ChatError>>,
    ) -> Result<T, ChatError> {
        let ended = Arc::clone(self).session_ended(call.who.clone(), call.model.clone());
        tokio::pin!(wait, ended);
        tokio::select! {
            biased;
            () = gone.cancelled() => {}
            () = &mut ended => return Err(ChatError::SessionEnded),
            done = &mut wait => return done,
        }
        let Some(until) = call.abandon() else {
            return Err(ChatError::ClientGone);
        };
        tokio::select! {
            biased;
            () = &mut ended => Err(ChatError::SessionEnded),
            () = self.drained(until) => Err(ChatError::ClientGone),
            done = &mut wait => done,
        }
    }

    /// Returns when nothing is read to its end any longer: then, or when the process ends.
    async fn drained(&self, until: Instant) {
        let _ = tokio::time::timeout_at(until.into(), self.draining.cancelled()).await;
    }

    /// Opens the stream and waits for what comes first.
    pub(super) async fn open_stream(
        self: &Arc<Self>,
        call: &Call,
        gone: &CancellationToken,
        request: &ChatRequest,
    ) -> Result<Incoming, ChatError> {
        let ask = |provider: Provider, target: &Target| {
            let outgoing = self.outgoing(call, request, &provider, target);
            async move {
                let mut stream = provider.models.stream(outgoing?).await?;
                let first = stream.events.next().await.ok_or_else(cut)??;
                Ok((first, stream))
            }
        };
        let opening = async { Ok(self.ask_targets(call, ask).await?) };
        let (first, stream) = self.while_wanted(call, gone, opening).await?;
        Ok(self.incoming(call, gone, Some(first), stream.events, stream.dropped))
    }
}

impl Chat {
    /// A kept stream, as if it came again.
    pub(super) fn replay(self: &Arc<Self>, call: &Call, gone: &CancellationToken, kept: &Kept) -> Incoming {
        let chunks = match &kept.answer {
            KeptAnswer::Stream(chunks) => chunks.clone(),
            KeptAnswer::Whole(_) => Vec::new(),
        };
        let chunk = |(data, usage_only)| {
            Ok(ChatEvent::Chunk(ChatChunk {
                data,
                usage_only,
                ..ChatChunk::default()
            }))
        };
        let events = chunks.into_iter().map(chunk).chain([Ok(ChatEvent::Done)]);
        self.incoming(call, gone, None, Box::pin(stream::iter(events)), kept.dropped.clone())
    }

    fn incoming(
        self: &Arc<Self>,
        call: &Call,
        gone: &CancellationToken,
        first: Option<ChatEvent>,
        events: ChatEvents,
        dropped: Vec<String>,
    ) -> Incoming {
        let ended = Arc::clone(self).session_ended(call.who.clone(), call.model.clone());
        let ended: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(ended);
        Incoming {
            first,
            events,
            dropped,
            gone: gone.clone(),
            told: call.span_told(),
            ended: ended.fuse(),
            over: Box::pin(self.call_over(call)),
        }
    }
}

impl Incoming {
    /// The parameters that the provider could not be told.
    pub(super) fn dropped(&self) -> Vec<String> {
        self.dropped.clone()
    }

    /// What comes next, if anybody still wants it. `out` is where it goes, if it goes anywhere at once.
    pub(super) async fn next<T>(&mut self, out: Option<&mpsc::Sender<T>>) -> Result<ChatEvent, ChatError> {
        let event = match self.first.take() {
            Some(first) => first,
            None => tokio::select! {
                biased;
                () = self.gone.cancelled() => return Err(ChatError::ClientGone),
                () = closed(out) => return Err(ChatError::ClientGone),
                () = &mut self.ended => return Err(ChatError::SessionEnded),
                event = self.events.next() => event.ok_or_else(cut)??,
            },
        };
        if let (Some(told), ChatEvent::Chunk(chunk)) = (&self.told, &event) {
            told.chunk(&chunk.data);
        }
        Ok(event)
    }

    /// Reads on, although nobody wants it, for what the call has used; where what answers is to be read to its end. `each`
    /// is shown what comes.
    pub(super) async fn drain(&mut self, chat: &Chat, call: &mut Call, mut each: impl FnMut(&ChatChunk)) {
        let Some(until) = call.abandon() else { return };
        let drained = chat.drained(until);
        tokio::pin!(drained);
        loop {
            let event = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => tokio::select! {
                    biased;
                    () = &mut self.ended => return,
                    () = &mut self.over => return,
                    () = &mut drained => return,
                    event = self.events.next() => event,
                },
            };
            let chunk = match event {
                Some(Ok(ChatEvent::Chunk(chunk))) => chunk,
                Some(Ok(ChatEvent::Done)) => return call.came_whole(),
                Some(Err(_)) | None => return,
            };
            call.note(chunk.output_bytes, chunk.usage);
            if let Some(told) = &self.told {
                told.chunk(&chunk.data);
            }
            each(&chunk);
        }
    }

    /// Hands something on. A reader that is slow holds the call here; one that is gone, whose session ended, or who
    /// takes longer than any call may, ends it.
    pub(super) async fn hand_on<T>(&mut self, out: &mpsc::Sender<T>, item: T) -> Result<(), ChatError> {
        let sent = tokio::select! {
            biased;
            sent = out.send(item) => sent.is_ok(),
            () = self.gone.cancelled() => false,
            () = &mut self.ended => return Err(ChatError::SessionEnded),
            () = &mut self.over => false,
        };
        if sent { Ok(()) } else { Err(ChatError::ClientGone) }
    }
}

async fn closed<T>(out: Option<&mpsc::Sender<T>>) {
    match out {
        Some(out) => out.closed().await,
        None => std::future::pending().await,
    }
}

/// A provider's stream that just ends.
fn cut() -> ProviderError {
    ProviderError {
        kind: ProviderErrorKind::Protocol { error: None },
        detail: "the stream ended before it was whole".into(),
    }
}
