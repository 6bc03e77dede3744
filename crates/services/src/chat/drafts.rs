//! Answers that this node is writing, and who reads along. What has come of one is kept until it has ended and its last
//! reader has it all: no longer than the model's longest answer, however slow a reader is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anteroom_domain::access::UsedWith;
use anteroom_domain::chat::{Message, Window};
use anteroom_domain::sessions::Change;
use anteroom_domain::{ConversationId, MessageId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::complete_chat::ChatError;

/// One thing a streamed answer brings. It ends after `Completed`, `Cancelled` or `Failed`.
#[derive(Debug, Clone)]
pub enum MessageEvent {
    /// The answer begins. What the model was shown of the conversation is said where it is known.
    Started(Message, Option<Window>),
    /// More of its text, and how many bytes of it there are by then.
    Delta(MessageId, String, usize),
    /// It is whole, and stored.
    Completed(Message),
    /// It was stopped; what came of it is stored.
    Cancelled(Message),
    /// It broke off; what came of it is stored.
    Failed(ChatError),
}

impl MessageEvent {
    /// Whether nothing comes after it.
    pub(super) fn last(&self) -> bool {
        !matches!(self, Self::Started(..) | Self::Delta(..))
    }
}

/// How an answer ended.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// It is whole, and stored.
    Complete(Message),
    /// It was not wanted any more; what came is stored.
    Cancelled(Message, ChatError),
    /// It broke off, or could not be stored.
    Failed(ChatError),
}

/// A reader that is further behind than this many pieces is given all of them as one.
const BEHIND: usize = 16;

/// For how long an answer goes on after it was last said that it is followed on another node.
const FOLLOWED: Duration = Duration::from_secs(10);

/// What there is of an answer.
#[derive(Debug, Default)]
struct Written {
    text: String,
    /// Where each piece ends.
    ends: Vec<usize>,
    /// Whether the provider has begun.
    begun: bool,
    ending: Option<Ending>,
}

/// An answer that is being written here.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its row, as it began.
    pub(super) message: Message,
    /// What the model was shown.
    window: Window,
    /// With what it was asked for.
    by: UsedWith,
    written: watch::Sender<Written>,
    readers: watch::Sender<usize>,
    stopped: watch::Sender<Option<ChatError>>,
    followed_until: watch::Sender<Option<Instant>>,
}

impl Draft {
    /// Adds to it.
    pub(super) fn push(&self, piece: &str) {
        self.written.send_modify(|written| {
            // SQL text cannot hold a NUL; no model means to send one.
            if piece.contains('\0') {
                written.text.push_str(&piece.replace('\0', "\u{fffd}"));
            } else {
                written.text.push_str(piece);
            }
            written.ends.push(written.text.len());
        });
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.written.borrow().text.len()
    }

    /// What there is, if there is more than this much.
    pub(super) fn text_after(&self, known: usize) -> Option<String> {
        let written = self.written.borrow();
        (written.text.len() > known).then(|| written.text.clone())
    }

    /// The provider answers: from now on a failure is told to those who read.
    pub(super) fn begin(&self) {
        self.written.send_modify(|written| written.begun = true);
    }

    /// It is over.
    pub(super) fn end(&self, ending: Ending) {
        self.written.send_modify(|written| written.ending = Some(ending));
    }

    /// Waits until the provider has begun to answer, or will not.
    pub(super) async fn begun(&self) -> Result<(), ChatError> {
        let mut written = self.written.subscribe();
        let Ok(written) = written.wait_for(|w| w.begun || w.ending.is_some()).await else {
            return Err(ChatError::ClientGone);
        };
        match &written.ending {
            Some(Ending::Failed(e)) if !written.begun => Err(e.clone()),
            Some(Ending::Cancelled(_, e @ ChatError::SessionEnded)) => Err(e.clone()),
            _ => Ok(()),
        }
    }

    /// Waits until it is over.
    pub(super) async fn ended(&self) -> Ending {
        let mut written = self.written.subscribe();
        let ended = written.wait_for(|w| w.ending.is_some()).await;
        let ending = ended.ok().and_then(|w| w.ending.clone());
        ending.unwrap_or(Ending::Failed(ChatError::ClientGone))
    }

    /// Ends it, unless something else does first.
    pub(super) fn stop(&self, why: ChatError) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert(why);
            first
        });
    }

    /// It is read on another node.
    fn followed_elsewhere(&self) {
        self.followed_until.send_replace(Some(Instant::now() + FOLLOWED));
    }

    /// Whether it is read on another node, waiting until it is.
    pub(super) async fn until_followed_elsewhere(&self) {
        let mut until = self.followed_until.subscribe();
        let now = |until: &Option<Instant>| until.is_some_and(|until| until > Instant::now());
        if until.wait_for(now).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns, with the reason, when nobody wants it any more: it was stopped, or nobody has read it for `grace`.
    pub(super) async fn unwanted(&self, grace: Duration) -> ChatError {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            why = stopped.wait_for(Option::is_some) => {
                why.ok().and_then(|why| why.clone()).unwrap_or(ChatError::Stopped)
            }
            () = self.unread(grace) => ChatError::ClientGone,
        }
    }

    async fn unread(&self, grace: Duration) {
        let (mut readers, mut followed) = (self.readers.subscribe(), self.followed_until.subscribe());
        loop {
            if readers.wait_for(|n| *n == 0).await.is_err() {
                return;
            }
            let until = Instant::now() + grace;
            let until = followed.borrow_and_update().map_or(until, |f| f.max(until));
            tokio::select! {
                biased;
                _ = readers.wait_for(|n| *n > 0) => {}
                _ = followed.changed() => {}
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }
}

/// Somebody who reads an answer that is being written here.
pub(super) struct Reader {
    pub(super) draft: Arc<Draft>,
    by: UsedWith,
    /// How many bytes it has; `None`: it has not even been told that the answer begins.
    at: Option<usize>,
}

impl Reader {
    /// What comes next. Not to be called after the last.
    pub(super) async fn next(&mut self) -> MessageEvent {
        let draft = &self.draft;
        let Some(at) = self.at else {
            self.at = Some(0);
            return MessageEvent::Started(draft.message.clone(), Some(draft.window));
        };
        let mut written = draft.written.subscribe();
        let Ok(written) = written.wait_for(|w| w.text.len() > at || w.ending.is_some()).await else {
            return MessageEvent::Failed(ChatError::ClientGone);
        };
        if let Some((piece, end)) = written.piece(at) {
            self.at = Some(end);
            return MessageEvent::Delta(draft.message.id, piece, end);
        }
        match &written.ending {
            Some(Ending::Complete(message)) => MessageEvent::Completed(message.clone()),
            // Who asked with what has ended sees no more of it; whoever else may read it does.
            Some(Ending::Cancelled(_, ChatError::SessionEnded)) if self.by == draft.by => {
                MessageEvent::Failed(ChatError::SessionEnded)
            }
            Some(Ending::Cancelled(message, _)) => MessageEvent::Cancelled(message.clone()),
            Some(Ending::Failed(e)) => MessageEvent::Failed(e.clone()),
            None => MessageEvent::Failed(ChatError::ClientGone),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.draft.readers.send_modify(|n| *n = n.saturating_sub(1));
    }
}

impl Written {
    /// The text from there to the end of a piece, and where that is.
    fn piece(&self, at: usize) -> Option<(String, usize)> {
        let next = self.ends.partition_point(|end| *end <= at);
        let behind = self.ends.len() - next;
        let end = if behind > BEHIND {
            self.text.len()
        } else {
            *self.ends.get(next)?
        };
        Some((rest(self.text.get(..end)?, at).to_owned(), end))
    }
}

/// A text from that byte on; from the next character where that is in the middle of one.
pub(super) fn rest(text: &str, at: usize) -> &str {
    let begin = (at..=text.len()).find(|i| text.is_char_boundary(*i));
    begin.and_then(|begin| text.get(begin..)).unwrap_or_default()
}

/// The answers that this node is writing.
#[derive(Debug, Default)]
pub(super) struct Drafts(Mutex<HashMap<MessageId, Arc<Draft>>>);

impl Drafts {
    fn open(&self) -> MutexGuard<'_, HashMap<MessageId, Arc<Draft>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to write one, with its first reader. It is forgotten when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, message: Message, window: Window, by: UsedWith) -> (Opened, Reader) {
        let draft = Arc::new(Draft {
            message,
            window,
            by,
            written: watch::Sender::default(),
            readers: watch::Sender::new(1),
            stopped: watch::Sender::default(),
            followed_until: watch::Sender::default(),
        });
        self.open().insert(draft.message.id, Arc::clone(&draft));
        let reader = Reader {
            draft: Arc::clone(&draft),
            by,
            at: None,
        };
        let drafts = Arc::clone(self);
        (Opened { drafts, draft }, reader)
    }

    /// One that is being written here.
    pub(super) fn get(&self, id: MessageId) -> Option<Arc<Draft>> {
        self.open().get(&id).cloned()
    }

    /// Reads one of this conversation, after that many bytes, if it is being written here.
    pub(super) fn read(
        &self,
        conversation: ConversationId,
        id: MessageId,
        by: UsedWith,
        after: Option<usize>,
    ) -> Option<Reader> {
        let draft = self.get(id)?;
        if draft.message.conversation_id != conversation {
            return None;
        }
        draft.readers.send_modify(|n| *n += 1);
        Some(Reader { draft, by, at: after })
    }

    /// What another node says of one of them.
    pub(super) fn told(&self, change: Change) {
        match change {
            Change::AnswerStopped(id) => {
                if let Some(draft) = self.get(id) {
                    draft.stop(ChatError::Stopped);
                }
            }
            Change::AnswerFollowed(id) => {
                if let Some(draft) = self.get(id) {
                    draft.followed_elsewhere();
                }
            }
            Change::SessionEnded(_) | Change::User(_) | Change::Models | Change::Unknown => {}
        }
    }

    /// Ends them all: the process does.
    pub(super) fn cut(&self) {
        let all: Vec<Arc<Draft>> = self.open().values().cloned().collect();
        for draft in all {
            draft.stop(ChatError::ClientGone);
        }
    }
}

/// An answer that is being written; when this is dropped it is not any more.
pub(super) struct Opened {
    drafts: Arc<Drafts>,
    pub(super) draft: Arc<Draft>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.drafts.open().remove(&self.draft.message.id);
        // Whoever reads it must not wait for ever, whatever became of its writer.
        self.draft.written.send_if_modified(|written| {
            let silent = written.ending.is_none();
            written.ending.get_or_insert(Ending::Failed(ChatError::ClientGone));
            silent
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&str]) -> Written {
        let mut written = Written::default();
        for piece in pieces {
            written.text.push_str(piece);
            written.ends.push(written.text.len());
        }
        written
    }

    #[test]
    fn pieces_come_one_by_one_and_all_at_once_for_who_is_far_behind() {
        let few = written(&["one ", "two ", "three"]);
        assert_eq!(few.piece(0), Some(("one ".into(), 4)));
        assert_eq!(few.piece(4), Some(("two ".into(), 8)));
        // From the middle of a piece: its rest.
        assert_eq!(few.piece(2), Some(("e ".into(), 4)));
        assert_eq!(few.piece(13), None);
        assert_eq!(few.piece(99), None);
        let many = written(&["ab"; 40]);
        assert_eq!(many.piece(0), Some(("ab".repeat(40), 80)));
        assert_eq!(many.piece(80 - 2 * BEHIND), Some(("ab".into(), 82 - 2 * BEHIND)));
    }

    #[test]
    fn a_position_in_the_middle_of_a_character_hurts_nobody() {
        assert_eq!(rest("aéb", 2), "b");
        assert_eq!(rest("aéb", 1), "éb");
        assert_eq!(rest("aéb", 4), "");
        assert_eq!(rest("aéb", 9), "");
        assert_eq!(written(&["é", "b"]).piece(1), Some((String::new(), 2)));
    }
}

#[cfg(test)]
mod lives {
    use anteroom_domain::chat::{MessageStatus, Speaker};
    use anteroom_domain::{SessionId, Timestamp};
    use uuid::Uuid;

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn begin(drafts: &Arc<Drafts>) -> (Opened, Reader) {
        let message = Message {
            id: MessageId(Uuid::from_u128(7)),
            conversation_id: ConversationId(Uuid::from_u128(8)),
            role: Speaker::Assistant,
            content: String::new(),
            status: MessageStatus::InProgress,
            model: None,
            usage: None,
            filtered: false,
            created_at: Timestamp::MIN,
        };
        let window = Window {
            messages: 1,
            left_out: 0,
        };
        drafts.begin(message, window, by(1))
    }

    fn by(number: u128) -> UsedWith {
        UsedWith::Session(SessionId(Uuid::from_u128(number)))
    }

    async fn unwanted_within(draft: &Draft, seconds: u64) -> bool {
        let limit = Duration::from_secs(seconds);
        tokio::time::timeout(limit, draft.unwanted(GRACE)).await.is_ok()
    }

    fn told(drafts: &Drafts, draft: &Draft, change: fn(MessageId) -> Change) {
        drafts.told(change(draft.message.id));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_goes_on_while_one_reads_or_may_come_back() {
        let drafts = Arc::<Drafts>::default();
        let (opened, first) = begin(&drafts);
        let draft = Arc::clone(&opened.draft);
        let (id, conversation) = (draft.message.id, draft.message.conversation_id);
        let second = drafts.read(conversation, id, by(2), None).unwrap();
        drop(first);
        assert!(!unwanted_within(&draft, 600).await, "another reads");
        drop(second);
        assert!(!unwanted_within(&draft, 29).await, "somebody may come back");
        // Somebody comes, and goes: it begins anew.
        let unwanted = draft.unwanted(GRACE);
        let comes = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let reader = drafts.read(conversation, id, by(1), Some(0)).unwrap();
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(reader);
            Instant::now()
        };
        let (why, left) = tokio::join!(unwanted, comes);
        assert!(matches!(why, ChatError::ClientGone));
        let over = left.elapsed();
        assert!((GRACE..GRACE + Duration::from_secs(1)).contains(&over), "{over:?}");
        let elsewhere = ConversationId(Uuid::from_u128(9));
        assert!(
            drafts.read(elsewhere, id, by(1), None).is_none(),
            "of its own conversation only"
        );
    }

    #[tokio::test]
    async fn stopping_is_told_by_the_message_and_the_first_reason_counts() {
        let drafts = Arc::<Drafts>::default();
        let (opened, reader) = begin(&drafts);
        drafts.told(Change::AnswerStopped(MessageId(Uuid::from_u128(99))));
        told(&drafts, &opened.draft, Change::AnswerFollowed);
        let not_yet = tokio::time::timeout(Duration::from_millis(20), opened.draft.unwanted(GRACE)).await;
        assert!(not_yet.is_err());
        told(&drafts, &opened.draft, Change::AnswerStopped);
        drafts.cut();
        assert!(matches!(opened.draft.unwanted(GRACE).await, ChatError::Stopped));
        drop(reader);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_is_gone() {
        let drafts = Arc::<Drafts>::default();
        let (opened, mut reader) = begin(&drafts);
        opened.draft.begin();
        opened.draft.push("So\0");
        let draft = Arc::clone(&opened.draft);
        drop(opened);
        assert!(matches!(reader.next().await, MessageEvent::Started(..)));
        assert!(matches!(reader.next().await, MessageEvent::Delta(_, text, 5) if text == "So\u{fffd}"));
        assert!(matches!(
            reader.next().await,
            MessageEvent::Failed(ChatError::ClientGone)
        ));
        assert!(matches!(draft.ended().await, Ending::Failed(_)));
        assert!(drafts.get(draft.message.id).is_none());
    }
}
