//! Writing an answer: its call, what comes of it, and how it ends. It goes on when nobody reads it for a while, and is
//! stored and booked in every ending.

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::MessageId;
use anteroom_domain::chat::{ChatRequest, Message, Outcome};
use anteroom_ports::chat::{ChatChunk, ChatEvent, ProviderError, ProviderErrorKind};
use anteroom_ports::{Durability, StoreError, StoreResult};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, warn};

use super::Chat;
use super::call::{Call, Record};
use super::call_refused::CallRefused;
use super::complete_chat::ChatError;
use super::drafts::{Draft, Ending, Opened};
use super::incoming::Incoming;
use super::moderation::{Gate, Through};

/// How often what has come is saved while somebody follows on another node.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Owns a call and the message that it writes.
pub(super) struct Answering {
    pub(super) chat: Arc<Chat>,
    pub(super) call: Call,
    pub(super) opened: Opened,
    /// After which message everything else goes when something has come.
    pub(super) replaces: Option<MessageId>,
    /// The longest text.
    pub(super) most_bytes: usize,
}

impl Answering {
    /// Writes it, and goes on for `grace` when nobody reads it.
    pub(super) async fn run(mut self: Box<Self>, request: ChatRequest, grace: Duration) {
        let draft = Arc::clone(&self.opened.draft);
        let mut arriving = Arriving {
            gone: CancellationToken::new(),
            incoming: None,
            gate: None,
            most_bytes: self.most_bytes,
        };
        let ended = tokio::select! {
            biased;
            why = draft.unwanted(grace) => Err(why),
            never = save_while_followed(&self.chat, &draft) => match never {},
            ended = arriving.write(&self.chat, &mut self.call, &draft, request) => ended,
        };
        // Whoever stops an answer wants the conversation back at once; what nobody reads any more is in nobody's way.
        if let (Err(ChatError::ClientGone), Some(incoming)) = (&ended, &mut arriving.incoming) {
            let judged = arriving.gate.is_some();
            let keep = |chunk: &ChatChunk| {
                if !judged && draft.len() + chunk.text.len() <= self.most_bytes {
                    draft.push(&chunk.text);
                }
            };
            incoming.drain(&self.chat, &mut self.call, keep).await;
        }
        drop(arriving.incoming);
        if let Some(gate) = &arriving.gate {
            self.call.record_output(&self.chat, &gate.findings).await;
        }
        let filtered = matches!(ended, Ok(Whole::Refused));
        if filtered && draft.len() == 0 {
            draft.push(&self.chat.options.moderation.refusal);
        }
        let ended = ended.map(|_| ());
        let stored = self.finish(&ended, filtered).await;
        draft.end(match (ended, stored) {
            (Ok(()), Ok(message)) => Ending::Complete(message),
            (Err(e), Ok(message)) if e.unwanted() => Ending::Cancelled(message, e),
            (_, Err(e)) | (Err(e), Ok(_)) => Ending::Failed(self.call.told(e)),
        });
    }

    /// Stores the answer and books the call in one commit, again and again while the store is away.
    async fn finish(&mut self, ended: &Result<(), ChatError>, filtered: bool) -> Result<Message, ChatError> {
        let outcome = match ended {
            Ok(()) if filtered => Outcome::Filtered,
            Ok(()) => Outcome::Complete,
            Err(e) if e.unwanted() => Outcome::Cancelled,
            Err(_) if self.call.delivered() => Outcome::Partial,
            Err(_) => Outcome::Failed,
        };
        if let Err(e) = ended {
            warn!(event = "chat.call.failed", call_id = %self.call.request_id, model = %self.call.model, reason = %e);
            self.call.broke_off(e);
        }
        self.chat.observe(&self.call, outcome);
        let draft = &self.opened.draft;
        let mut answer = draft.message.clone();
        answer.content = draft.text_after(0).unwrap_or_default();
        answer.status = outcome.into();
        answer.filtered = filtered;
        answer.usage = (!self.call.spared(outcome)).then(|| self.call.usage().0);
        let record = self.chat.record(&self.call, outcome);
        let mut pause = Duration::from_millis(100);
        let mut last = None;
        for _ in 0..9 {
            match self.try_finish(&answer, outcome, &record).await {
                Ok(kept) => {
                    self.chat.booked(&record);
                    if kept {
                        return Ok(answer);
                    }
                    warn!(event = "chat.message.not_kept", message_id = %answer.id, call_id = %self.call.request_id);
                    return Err(ChatError::NotKept);
                }
                Err(e) => last = Some(e),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        error!(event = "chat.message.lost", message_id = %answer.id, call_id = %self.call.request_id);
        let reason = last.map(|e| e.to_string()).unwrap_or_default();
        Err(CallRefused::Store(StoreError::Unavailable { reason }).into())
    }

    /// Whether the answer was stored: not if this call no longer holds the conversation.
    async fn try_finish(&self, answer: &Message, outcome: Outcome, record: &Record) -> StoreResult<bool> {
        let mut unit = self.chat.store.begin(Durability::Full).await?;
        let holds = unit
            .release_conversation(answer.conversation_id, self.call.reservation_id)
            .await?;
        if holds {
            match self.replaces {
                // Nothing came: the answer that was there stays.
                Some(_) if answer.content.is_empty() && outcome != Outcome::Complete => {
                    unit.delete_message(answer.id).await?;
                }
                replaces => {
                    if let Some(question) = replaces {
                        unit.delete_messages_after(answer.conversation_id, question, Some(answer.id))
                            .await?;
                    }
                    unit.finish_message(answer).await?;
                }
            }
        }
        Record::write(&[record], &mut *unit).await?;
        unit.commit().await?;
        Ok(holds)
    }
}

/// Whether an answer came whole.
enum Whole {
    Yes,
    /// It was refused on the way.
    Refused,
}

/// An answer on its way into its draft.
struct Arriving {
    /// Never cancelled: whoever reads the draft may come and go; that nobody does any more is the draft's to say.
    gone: CancellationToken,
    incoming: Option<Incoming>,
    gate: Option<Gate>,
    most_bytes: usize,
}

impl Arriving {
    /// Asks the model, and gathers what it says.
    async fn write(
        &mut self,
        chat: &Arc<Chat>,
        call: &mut Call,
        draft: &Draft,
        request: ChatRequest,
    ) -> Result<Whole, ChatError> {
        // Apart, since it is over before the answer begins.
        let incoming = Box::pin(chat.open_stream(call, &self.gone, &request)).await?;
        let incoming = self.incoming.insert(incoming);
        // It may be large, and the answer may take long.
        drop(request);
        self.gate = Gate::of(chat, call, &self.gone);
        let most_bytes = self.most_bytes;
        draft.begin();
        loop {
            let event = incoming.next::<()>(None).await;
            let done = !matches!(event, Ok(ChatEvent::Chunk(_)));
            if matches!(event, Ok(ChatEvent::Done)) {
                call.came_whole();
            }
            let (through, failed) = match (event, &mut self.gate) {
                (Ok(ChatEvent::Chunk(chunk)), gate) => {
                    call.note(chunk.output_bytes, chunk.usage);
                    let through = match gate {
                        // Apart, as below: most answers have no gate.
                        Some(gate) => Box::pin(gate.push(chat, call, chunk)).await?,
                        None => Through::Chunks(vec![chunk]),
                    };
                    (through, None)
                }
                (Ok(ChatEvent::Done), None) => return Ok(Whole::Yes),
                (Err(e), None) => return Err(e),
                (Err(e), Some(_)) if e.unwanted() => return Err(e),
                (Ok(ChatEvent::Done), Some(gate)) => (Box::pin(gate.finish(chat, call)).await?, None),
                // What was held back came before the failure.
                (Err(e), Some(gate)) => (Box::pin(gate.finish(chat, call)).await?, Some(e)),
            };
            let Through::Chunks(chunks) = through else {
                return Ok(Whole::Refused);
            };
            for chunk in chunks.iter().filter(|chunk| !chunk.text.is_empty()) {
                if draft.len() + chunk.text.len() > most_bytes {
                    return Err(too_long(most_bytes));
                }
                draft.push(&chunk.text);
            }
            match failed {
                Some(e) => return Err(e),
                None if done => return Ok(Whole::Yes),
                None => {}
            }
        }
    }
}

fn too_long(most_bytes: usize) -> ChatError {
    ChatError::Provider(ProviderError {
        kind: ProviderErrorKind::Protocol { error: None },
        detail: format!("the answer is longer than {most_bytes} bytes, which its maximum of tokens cannot be"),
    })
}

/// Saves what has come for as long as it is followed on another node, which reads it from the store.
async fn save_while_followed(chat: &Arc<Chat>, draft: &Arc<Draft>) -> std::convert::Infallible {
    let mut saved = 0;
    loop {
        draft.until_followed_elsewhere().await;
        if let Some(text) = draft.text_after(saved) {
            let (chat, id, length) = (Arc::clone(chat), draft.message.id, text.len());
            // Apart, so that the end of the answer does not cut it in two.
            let save = async move {
                let mut unit = chat.store.begin(Durability::Relaxed).await?;
                unit.save_message(id, &text).await?;
                unit.commit().await
            };
            match tokio::spawn(save.in_current_span()).await {
                Ok(Ok(())) => saved = length,
                Ok(Err(e)) => debug!(message_id = %id, reason = %e, "what has come of an answer could not be saved"),
                Err(_) => {}
            }
        }
        tokio::time::sleep(SAVE_EVERY).await;
    }
}
