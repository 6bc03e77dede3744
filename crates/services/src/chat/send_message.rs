//! A user says something in a conversation, and the model answers with the recent turns in mind.

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::chat::{
    ChatRequest, Conversation, Message, MessageStatus, Outcome, RawObject, Speaker, Turn, recall,
};
use anteroom_domain::{ConversationId, MessageId, ReservationId, UserId};
use anteroom_ports::chat::{ChatChunk, ChatEvent};
use anteroom_ports::{Durability, StoreError, StoreResult};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, warn};

use super::Chat;
use super::call::{Call, CallRefused, Record};
use super::complete_chat::{CHANNEL, ChatError, LAST_WORD};
use super::incoming::Incoming;
use crate::access::Principal;
use crate::accounts::FieldFault;

/// What the user says.
#[derive(Debug)]
pub struct SendMessage {
    /// Where.
    pub conversation_id: ConversationId,
    /// What.
    pub content: String,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// What the user gets.
#[derive(Debug)]
pub enum MessageAnswer {
    /// The whole answer, stored.
    Whole(Message),
    /// The answer as it comes. Dropping the receiver cancels the call.
    Stream(mpsc::Receiver<MessageEvent>),
}

/// One thing a streamed answer brings. It ends after `Completed` or `Failed`.
#[derive(Debug)]
pub enum MessageEvent {
    /// The answer begins.
    Started(Message),
    /// More of its text.
    Delta(MessageId, String),
    /// It is whole, and stored.
    Completed(Message),
    /// It broke off; what came of it is stored.
    Failed(ChatError),
}

/// Why there is no (whole) answer.
#[derive(Debug, thiserror::Error)]
pub enum SendMessageError {
    /// There is no such conversation, or it is somebody else's.
    #[error("there is no such conversation")]
    NotFound,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// Another answer is under way in this conversation.
    #[error("an answer is under way in this conversation")]
    Busy,
    /// The plan has no model at all.
    #[error("your plan has no model")]
    NoModel,
    /// As for every call to a model.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CallRefused> for SendMessageError {
    fn from(refused: CallRefused) -> Self {
        Self::Chat(refused.into())
    }
}

/// More turns than any budget holds.
const MAX_TURNS: i64 = 200;

#[derive(Serialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
}

impl Chat {
    /// Stores what the user says, asks the model, and stores the answer in every ending.
    pub async fn send_message(
        self: &Arc<Self>,
        who: &Principal,
        ask: SendMessage,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        self.check_content(&ask.content)?;
        let user = who.user().id;
        let (conversation, turns) = self.recall_turns(user, &ask).await?;
        let access = self.access_of(who);
        let model = self.model_of(who, &conversation, &access).await?;
        let alias = self.check_model(&access, &model).await?;
        let request = compose(&conversation, &model, &turns)?;

        let now = self.clock.now();
        let message = |role, content: String, status, model| Message {
            id: MessageId(self.ids.uuid()),
            conversation_id: conversation.id,
            role,
            content,
            status,
            model,
            usage: None,
            created_at: now,
        };
        let question = message(Speaker::User, ask.content, MessageStatus::Complete, None);
        let answer = message(
            Speaker::Assistant,
            String::new(),
            MessageStatus::InProgress,
            Some(model),
        );

        // Claim, quota, question and the answer's row are one commit: nothing is half done, and the limit holds.
        let mut unit = self.store.begin(Durability::Full).await?;
        let id = ReservationId(self.ids.uuid());
        if !unit
            .claim_conversation(user, conversation.id, id, now, self.leases.until(now))
            .await?
        {
            return Err(SendMessageError::Busy);
        }
        let call = self
            .reserve(&mut *unit, id, who, &access, self.needs(&access, &alias, &request))
            .await?;
        unit.insert_message(&question).await?;
        unit.insert_message(&answer).await?;
        unit.commit().await?;

        let answering = Answering {
            chat: Arc::clone(self),
            call,
            answer,
            gone,
        };
        if ask.stream {
            let (out, events) = mpsc::channel(CHANNEL);
            let (ready, begun) = oneshot::channel();
            self.calls
                .spawn(answering.stream(request, out, ready).in_current_span());
            begun.await.unwrap_or(Err(ChatError::ClientGone))?;
            return Ok(MessageAnswer::Stream(events));
        }
        let (reply, answered) = oneshot::channel();
        self.calls.spawn(answering.whole(request, reply).in_current_span());
        Ok(MessageAnswer::Whole(
            answered.await.unwrap_or(Err(ChatError::ClientGone))?,
        ))
    }

    fn check_content(&self, content: &str) -> Result<(), SendMessageError> {
        let max = self.options.max_message_bytes;
        let detail = if content.trim().is_empty() {
            "`content` is empty".to_owned()
        } else if content.len() > max {
            format!("`content` has at most {max} bytes")
        } else if content.contains('\0') {
            "`content` holds a NUL character".to_owned()
        } else {
            return Ok(());
        };
        Err(SendMessageError::Refused(vec![FieldFault {
            field: "content",
            code: "invalid_content",
            detail,
        }]))
    }

    async fn recall_turns(
        &self,
        user: UserId,
        ask: &SendMessage,
    ) -> Result<(Conversation, Vec<Turn>), SendMessageError> {
        let mut reads = self.store.read().await?;
        let conversation = reads
            .conversation(user, ask.conversation_id)
            .await?
            .ok_or(SendMessageError::NotFound)?;
        let recent = reads.recent_messages(user, conversation.id, MAX_TURNS).await?;
        let now = std::iter::once(Turn {
            role: Speaker::User,
            content: ask.content.clone(),
        });
        let past = recent.into_iter().map(|m| Turn {
            role: m.role,
            content: m.content,
        });
        Ok((conversation, recall(now.chain(past), self.options.memory_tokens)))
    }

    /// The conversation's model, else the first of the plan's that what the user asks with allows.
    async fn model_of(
        &self,
        who: &Principal,
        conversation: &Conversation,
        access: &anteroom_domain::billing::Access,
    ) -> Result<String, SendMessageError> {
        if let Some(model) = &conversation.model {
            return Ok(model.clone());
        }
        let offered = self.offered().await.map_err(ChatError::from)?;
        let models = access.plan.models_of(&offered);
        models
            .iter()
            .find(|alias| who.allows(&alias.name))
            .map(|alias| alias.name.clone())
            .ok_or(SendMessageError::NoModel)
    }
}

/// The request for the provider. It is always streamed, so that what has come can be kept when it breaks off.
fn compose(conversation: &Conversation, model: &str, turns: &[Turn]) -> Result<ChatRequest, SendMessageError> {
    let system = conversation.instructions.as_deref().map(|content| Said {
        role: "system",
        content,
    });
    let turns = turns.iter().map(|t| Said {
        role: t.role.as_str(),
        content: &t.content,
    });
    let messages: Vec<Said<'_>> = system.into_iter().chain(turns).collect();
    let mut body = RawObject::default();
    let built = body
        .set("model", model)
        .and_then(|()| body.set("messages", &messages))
        .and_then(|()| body.set("stream", &true));
    built.map_err(|e| StoreError::Corrupt { reason: e.to_string() })?;
    Ok(ChatRequest::from_object(body).map_err(ChatError::from)?)
}

/// Owns a call and the message that it writes.
struct Answering {
    chat: Arc<Chat>,
    call: Call,
    answer: Message,
    gone: CancellationToken,
}

impl Answering {
    async fn whole(mut self, request: ChatRequest, reply: oneshot::Sender<Result<Message, ChatError>>) {
        let opened = self.chat.open_stream(&self.call, &self.gone, &request).await;
        drop(request);
        let ended = match opened {
            Ok(mut incoming) => self.collect_or_drain(&mut incoming, None).await,
            Err(e) => Err(e),
        };
        let stored = self.finish(&ended).await;
        let _ = reply.send(ended.and(stored));
    }

    async fn stream(
        mut self,
        request: ChatRequest,
        out: mpsc::Sender<MessageEvent>,
        ready: oneshot::Sender<Result<(), ChatError>>,
    ) {
        let opened = self.chat.open_stream(&self.call, &self.gone, &request).await;
        drop(request);
        let mut incoming = match opened {
            Ok(incoming) => incoming,
            Err(e) => {
                let ended = Err(e);
                let _ = self.finish(&ended).await;
                let _ = ready.send(ended);
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let started = out.send(MessageEvent::Started(self.answer.clone())).await;
        let ended = match started {
            Ok(()) => self.collect_or_drain(&mut incoming, Some(&out)).await,
            Err(_) => self.drain(&mut incoming).await,
        };
        drop(incoming);
        let stored = self.finish(&ended).await;
        let last = match ended.and(stored) {
            Ok(message) => MessageEvent::Completed(message),
            Err(e) => MessageEvent::Failed(e),
        };
        // It is stored; a reader that does not read is not waited for any longer.
        let _ = tokio::time::timeout(LAST_WORD, out.send(last)).await;
    }

    /// Gathers the answer's text; when the client goes away, also what is read for its usage.
    async fn collect_or_drain(
        &mut self,
        incoming: &mut Incoming,
        out: Option<&mpsc::Sender<MessageEvent>>,
    ) -> Result<(), ChatError> {
        match self.collect(incoming, out).await {
            Err(ChatError::ClientGone) => self.drain(incoming).await,
            ended => ended,
        }
    }

    async fn drain(&mut self, incoming: &mut Incoming) -> Result<(), ChatError> {
        let content = &mut self.answer.content;
        let keep = |chunk: &ChatChunk| content.push_str(&chunk.text);
        incoming.drain(&self.chat, &mut self.call, keep).await;
        Err(ChatError::ClientGone)
    }

    /// Gathers the answer's text, and hands it on where it is streamed.
    async fn collect(
        &mut self,
        incoming: &mut Incoming,
        out: Option<&mpsc::Sender<MessageEvent>>,
    ) -> Result<(), ChatError> {
        loop {
            let ChatEvent::Chunk(chunk) = incoming.next(out).await? else {
                return Ok(());
            };
            self.call.note(chunk.output_bytes, chunk.usage);
            if chunk.text.is_empty() {
                continue;
            }
            self.answer.content.push_str(&chunk.text);
            if let Some(out) = out {
                let delta = MessageEvent::Delta(self.answer.id, chunk.text);
                incoming.hand_on(out, delta).await?;
            }
        }
    }

    /// Stores the answer and books the call in one commit, again and again while the store is away.
    async fn finish(&mut self, ended: &Result<(), ChatError>) -> Result<Message, ChatError> {
        let outcome = match ended {
            Ok(()) => Outcome::Complete,
            Err(ChatError::ClientGone | ChatError::SessionEnded) => Outcome::Cancelled,
            Err(_) if self.call.delivered() => Outcome::Partial,
            Err(_) => Outcome::Failed,
        };
        if let Err(e) = ended {
            warn!(event = "chat.call.failed", call_id = %self.call.request_id, model = %self.call.model, reason = %e);
            self.call.broke_off(e);
        }
        self.chat.observe(&self.call, outcome);
        self.answer.status = outcome.into();
        // SQL text cannot hold a NUL; no model means to send one.
        if self.answer.content.contains('\0') {
            self.answer.content = self.answer.content.replace('\0', "\u{fffd}");
        }
        self.answer.usage = (outcome != Outcome::Failed).then(|| self.call.usage().0);
        let mut pause = Duration::from_millis(100);
        let mut last = None;
        for _ in 0..9 {
            match self.try_finish(outcome).await {
                Ok(kept) => {
                    self.chat.booked(&self.call, outcome);
                    if kept {
                        return Ok(self.answer.clone());
                    }
                    warn!(event = "chat.message.not_kept", message_id = %self.answer.id, call_id = %self.call.request_id);
                    return Err(ChatError::NotKept);
                }
                Err(e) => last = Some(e),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        error!(event = "chat.message.lost", message_id = %self.answer.id, call_id = %self.call.request_id);
        let reason = last.map(|e| e.to_string()).unwrap_or_default();
        Err(CallRefused::Store(StoreError::Unavailable { reason }).into())
    }

    /// Whether the answer was stored: not if this call no longer holds the conversation.
    async fn try_finish(&self, outcome: Outcome) -> StoreResult<bool> {
        let mut unit = self.chat.store.begin(Durability::Full).await?;
        let holds = unit
            .release_conversation(self.answer.conversation_id, self.call.reservation_id)
            .await?;
        if holds {
            unit.finish_message(&self.answer).await?;
        }
        Record::write(&[self.chat.record(&self.call, outcome)], &mut *unit).await?;
        unit.commit().await?;
        Ok(holds)
    }
}
