//! Taking up an answer whose stream was lost, or that somebody else reads: what came of it is told again, and what comes
//! is followed to the end. A position in it is how many bytes of its text one has, so every node understands it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::chat::{Message, MessageStatus, Speaker};
use anteroom_domain::sessions::Change;
use anteroom_domain::{ConversationId, MessageId, UserId};
use anteroom_ports::{Durability, StoreError, StoreResult};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Chat;
use super::complete_chat::{CHANNEL, ChatError, LAST_WORD};
use super::drafts::{MessageEvent, Reader, rest};
use crate::access::Principal;

/// Which answer, from where on.
#[derive(Debug)]
pub struct FollowAnswer {
    /// Where.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// How many bytes of its text one has; `None`: not even that it began.
    pub after: Option<usize>,
}

/// Why nothing comes.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// There is no such conversation, or it is somebody else's.
    #[error("there is no such conversation")]
    NotFound,
    /// There is no such answer in it.
    #[error("there is no such answer")]
    NoMessage,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often the store is asked what another node has written.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often that node is told that somebody reads.
const TELL_EVERY: Duration = Duration::from_secs(3);

impl Chat {
    /// Follows an answer to its end. `None` if it has ended and its end has been read as well.
    pub async fn follow_answer(
        self: &Arc<Self>,
        who: &Principal,
        ask: FollowAnswer,
        gone: CancellationToken,
    ) -> Result<Option<mpsc::Receiver<MessageEvent>>, FollowError> {
        let user = who.user().id;
        let mut reads = self.store.read().await?;
        reads
            .conversation(user, ask.conversation_id)
            .await?
            .ok_or(FollowError::NotFound)?;
        // Looked up before it is read: one that ends meanwhile is whole in what is read then.
        let (conversation, id) = (ask.conversation_id, ask.message_id);
        let here = self.drafts.read(conversation, id, who.used_with(), ask.after);
        let message = reads.message(user, conversation, id).await?;
        drop(reads);
        let message = message
            .filter(|m| m.role == Speaker::Assistant)
            .ok_or(FollowError::NoMessage)?;
        let (out, events) = mpsc::channel(CHANNEL);
        if let Some(reader) = here {
            let feed = Arc::clone(self).feed(reader, who.clone(), out, gone);
            tokio::spawn(feed.in_current_span());
            return Ok(Some(events));
        }
        if message.status == MessageStatus::InProgress {
            let elsewhere = Elsewhere {
                chat: Arc::clone(self),
                who: who.clone(),
                at: ask.after,
                message,
                told: None,
            };
            tokio::spawn(elsewhere.feed(out, gone).in_current_span());
            return Ok(Some(events));
        }
        if ask.after.is_some_and(|after| after > message.content.len()) {
            return Ok(None);
        }
        for event in told_again(&message, ask.after) {
            // There is room for all three.
            let _ = out.try_send(event);
        }
        Ok(Some(events))
    }

    /// Hands on what is written here, as fast as it is read, until it has ended, nobody reads, or who reads may not any
    /// more.
    pub(super) async fn feed(
        self: Arc<Self>,
        mut reader: Reader,
        who: Principal,
        out: mpsc::Sender<MessageEvent>,
        gone: CancellationToken,
    ) {
        let mut line = Line::new(&self, who, out, gone);
        while let Some(event) = line.waiting_for(reader.next()).await {
            if !line.hand_on(event).await {
                return;
            }
        }
    }
}

/// The way to a reader.
struct Line {
    out: mpsc::Sender<MessageEvent>,
    gone: CancellationToken,
    ended: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    over: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl Line {
    fn new(chat: &Arc<Chat>, who: Principal, out: mpsc::Sender<MessageEvent>, gone: CancellationToken) -> Self {
        // Reading is not using the model, which what is read with may not be good for.
        let access = Arc::clone(&chat.access);
        let ended = async move { access.wait_until_ended(&who, None).await };
        Self {
            out,
            gone,
            ended: Box::pin(ended),
            // Whoever takes longer to read an answer than any may take to be given is not waited for.
            over: Box::pin(tokio::time::sleep(chat.options.total_timeout)),
        }
    }

    /// What comes next, or that the session has ended; `None` if nobody reads.
    async fn waiting_for(&mut self, next: impl Future<Output = MessageEvent>) -> Option<MessageEvent> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => None,
            () = self.out.closed() => None,
            () = &mut self.ended => Some(MessageEvent::Failed(ChatError::SessionEnded)),
            event = next => Some(event),
        }
    }

    /// Hands something on. `false` if nothing more is to come.
    async fn hand_on(&mut self, event: MessageEvent) -> bool {
        if event.last() {
            // It is stored; a reader that does not read is not waited for any longer.
            let _ = tokio::time::timeout(LAST_WORD, self.out.send(event)).await;
            return false;
        }
        tokio::select! {
            biased;
            sent = self.out.send(event) => return sent.is_ok(),
            () = self.gone.cancelled() => return false,
            () = &mut self.over => return false,
            () = &mut self.ended => {}
        }
        let ended = MessageEvent::Failed(ChatError::SessionEnded);
        let _ = tokio::time::timeout(LAST_WORD, self.out.send(ended)).await;
        false
    }
}

/// An answer that another node writes.
struct Elsewhere {
    chat: Arc<Chat>,
    who: Principal,
    /// How many bytes the reader has.
    at: Option<usize>,
    /// As it was last read.
    message: Message,
    /// When that node was last told that somebody reads.
    told: Option<Instant>,
}

impl Elsewhere {
    async fn feed(mut self, out: mpsc::Sender<MessageEvent>, gone: CancellationToken) {
        let chat = Arc::clone(&self.chat);
        let mut line = Line::new(&chat, self.who.clone(), out, gone);
        while let Some(event) = line.waiting_for(self.next()).await {
            if !line.hand_on(event).await {
                return;
            }
        }
    }

    /// What comes next. While the store is away nobody can say, so it goes on waiting.
    async fn next(&mut self) -> MessageEvent {
        loop {
            let mut events = told_again(&self.message, self.at).into_iter();
            if let Some(event) = events.find(|e| !e.last() || self.message.status != MessageStatus::InProgress) {
                match &event {
                    MessageEvent::Started(..) => self.at = Some(0),
                    MessageEvent::Delta(_, _, at) => self.at = Some(*at),
                    MessageEvent::Completed(_) | MessageEvent::Cancelled(_) | MessageEvent::Failed(_) => {}
                }
                return event;
            }
            if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) && self.tell().await.is_ok() {
                self.told = Some(Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            match self.look(self.who.user().id).await {
                Ok(Some(message)) => self.message = message,
                Ok(None) => return MessageEvent::Failed(ChatError::NotKept),
                Err(_) => {}
            }
        }
    }

    async fn tell(&self) -> StoreResult<()> {
        self.chat.tell(Change::AnswerFollowed(self.message.id)).await
    }

    async fn look(&self, user: UserId) -> StoreResult<Option<Message>> {
        let mut reads = self.chat.store.read().await?;
        reads.message(user, self.message.conversation_id, self.message.id).await
    }
}

impl Chat {
    /// Tells all nodes.
    pub(super) async fn tell(&self, change: Change) -> StoreResult<()> {
        let mut unit = self.store.begin(Durability::Relaxed).await?;
        unit.tell(&[change]).await?;
        unit.commit().await
    }
}

/// What is stored of an answer, as the events that a reader at this position lacks: its text as one piece.
fn told_again(message: &Message, at: Option<usize>) -> Vec<MessageEvent> {
    let mut events = Vec::with_capacity(3);
    if at.is_none() {
        let started = Message {
            content: String::new(),
            status: MessageStatus::InProgress,
            usage: None,
            filtered: false,
            ..message.clone()
        };
        events.push(MessageEvent::Started(started, None));
    }
    let more = rest(&message.content, at.unwrap_or(0));
    if !more.is_empty() {
        let end = message.content.len();
        events.push(MessageEvent::Delta(message.id, more.to_owned(), end));
    }
    events.push(match message.status {
        MessageStatus::Complete => MessageEvent::Completed(message.clone()),
        MessageStatus::Cancelled => MessageEvent::Cancelled(message.clone()),
        MessageStatus::Partial | MessageStatus::Failed | MessageStatus::InProgress => {
            MessageEvent::Failed(ChatError::BrokenOff)
        }
    });
    events
}
