//! A user says something in a conversation, and the model answers with the recent turns in mind.

use std::sync::Arc;

use anteroom_domain::chat::{Message, Window};
use anteroom_domain::{ConversationId, MessageId};
use anteroom_ports::StoreError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Chat;
use super::answer_question::Asked;
use super::call_refused::CallRefused;
use super::complete_chat::ChatError;
use super::drafts::MessageEvent;
use crate::Client;
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

/// Which answer is wanted anew.
#[derive(Debug)]
pub struct RegenerateAnswer {
    /// Where.
    pub conversation_id: ConversationId,
    /// The conversation's last message.
    pub message_id: MessageId,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// What the user says instead.
#[derive(Debug)]
pub struct EditMessage {
    /// Where.
    pub conversation_id: ConversationId,
    /// Instead of what.
    pub message_id: MessageId,
    /// What.
    pub content: String,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// What the user gets.
#[derive(Debug)]
pub enum MessageAnswer {
    /// The answer, stored: whole, or what came of it before it was stopped.
    Whole(Message, Window),
    /// The answer as it comes. Dropping the receiver ends the call, if nobody takes it up within the grace time.
    Stream(mpsc::Receiver<MessageEvent>),
}

/// Why there is no (whole) answer.
#[derive(Debug, thiserror::Error)]
pub enum SendMessageError {
    /// There is no such conversation, or it is somebody else's.
    #[error("there is no such conversation")]
    NotFound,
    /// There is no such message in it, or none of the right speaker.
    #[error("there is no such message")]
    NoMessage,
    /// Other messages came after the answer that is wanted anew.
    #[error("only the last message of a conversation can be answered anew")]
    NotLast,
    /// The conversation has as many messages as one may.
    #[error("a conversation has at most {0} messages")]
    Full(i64),
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

impl Chat {
    /// The same as [`Self::send_message_from`], from nowhere in particular.
    pub async fn send_message(
        self: &Arc<Self>,
        who: &Principal,
        ask: SendMessage,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        self.send_message_from(who, &Client::default(), ask, gone).await
    }

    /// Stores what the user says, asks the model, and stores the answer in every ending.
    pub async fn send_message_from(
        self: &Arc<Self>,
        who: &Principal,
        client: &Client,
        ask: SendMessage,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        self.check_content(&ask.content)?;
        let asked = Asked::New(ask.content);
        self.answer_question(who, client, ask.conversation_id, asked, ask.stream, gone)
            .await
    }

    /// Asks the model again what the conversation's last answer is to. The old answer goes when the new one has come: if
    /// nothing comes of it, nothing is lost.
    pub async fn regenerate_answer(
        self: &Arc<Self>,
        who: &Principal,
        client: &Client,
        ask: RegenerateAnswer,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        let asked = Asked::Again(ask.message_id);
        self.answer_question(who, client, ask.conversation_id, asked, ask.stream, gone)
            .await
    }

    /// Changes what the user said, takes back everything after it, and asks the model.
    pub async fn edit_message(
        self: &Arc<Self>,
        who: &Principal,
        client: &Client,
        ask: EditMessage,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        self.check_content(&ask.content)?;
        let asked = Asked::Edited(ask.message_id, ask.content);
        self.answer_question(who, client, ask.conversation_id, asked, ask.stream, gone)
            .await
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
}
