//! Making, reading, changing and deleting conversations. A stranger's is not found.

use std::sync::Arc;

use anteroom_domain::accounts::valid_name;
use anteroom_domain::chat::{Assistant, Conversation, MAX_INSTRUCTIONS_BYTES, MAX_TITLE_CHARS, Message};
use anteroom_domain::{ConversationId, MessageId, UserId};
use anteroom_ports::{Durability, StoreError};
use tracing::info;

use super::Chat;
use crate::Page;
use crate::accounts::FieldFault;

/// What a new conversation begins with.
#[derive(Debug, Default)]
pub struct NewConversation {
    /// The identifier that the request's first try was given; one that exists already is what it made.
    pub id: Option<ConversationId>,
    /// For the list.
    pub title: Option<String>,
    /// The model; the plan's first without one.
    pub model: Option<String>,
    /// What the model is told before every turn.
    pub instructions: Option<String>,
    /// The operator's assistant that answers.
    pub assistant: Option<String>,
}

/// What is to change; what is absent stays, `Some(None)` takes it away.
#[derive(Debug, Default)]
pub struct ChangeConversation {
    /// The title.
    pub title: Option<Option<String>>,
    /// The model.
    pub model: Option<Option<String>>,
    /// The instructions.
    pub instructions: Option<Option<String>>,
    /// The assistant.
    pub assistant: Option<Option<String>>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// There is none, or it is somebody else's.
    #[error("there is no such conversation")]
    NotFound,
    /// Fields were refused.
    #[error("some fields were refused")]
    Refused(Vec<FieldFault>),
    /// The user has as many as one may.
    #[error("you have {0} conversations, which is as many as one may have; delete one that you no longer need")]
    TooMany(i64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Chat {
    /// Makes a conversation, or answers the one that a try before made under the same identifier. Whether the plan has
    /// the model is asked when something is said, since plans change.
    pub async fn create_conversation(
        &self,
        user: UserId,
        new: NewConversation,
    ) -> Result<Conversation, ConversationError> {
        let now = self.clock.now();
        let mut conversation = Conversation {
            id: new.id.unwrap_or_else(|| ConversationId(self.ids.uuid())),
            user_id: user,
            title: None,
            model: None,
            instructions: None,
            assistant: None,
            created_at: now,
            updated_at: now,
        };
        let change = ChangeConversation {
            title: Some(new.title),
            model: Some(new.model),
            instructions: Some(new.instructions),
            assistant: Some(new.assistant),
        };
        apply(&mut conversation, change, &self.options.assistants)?;
        let mut unit = self.store.begin(Durability::Full).await?;
        if let Some(most) = self.options.max_conversations {
            // Under the lock, so that of many at once no more are made than there is room for.
            unit.lock_user(user).await?;
            let again = unit.conversation(user, conversation.id).await?.is_some();
            if !again && unit.count_conversations(user, most).await? >= most {
                return Err(ConversationError::TooMany(most));
            }
        }
        match unit.insert_conversation(&conversation).await {
            Ok(()) => unit.commit().await?,
            Err(conflict @ StoreError::Conflict { .. }) if new.id.is_some() => {
                drop(unit);
                let made = self.store.read().await?.conversation(user, conversation.id).await?;
                return made.ok_or_else(|| conflict.into());
            }
            Err(e) => return Err(e.into()),
        }
        info!(event = "chat.conversation.created", user_id = %user, conversation_id = %conversation.id);
        Ok(conversation)
    }

    /// One conversation.
    pub async fn get_conversation(&self, user: UserId, id: ConversationId) -> Result<Conversation, ConversationError> {
        self.store
            .read()
            .await?
            .conversation(user, id)
            .await?
            .ok_or(ConversationError::NotFound)
    }

    /// A page of the user's conversations, newest first, older than `before`.
    pub async fn list_conversations(
        &self,
        user: UserId,
        before: Option<ConversationId>,
        limit: i64,
    ) -> Result<Page<Conversation>, ConversationError> {
        let items = self
            .store
            .read()
            .await?
            .page_conversations(user, before, limit + 1)
            .await?;
        Ok(Page::cut(items, limit))
    }

    /// A page of a conversation's messages, oldest first, newer than `after`.
    pub async fn list_messages(
        &self,
        user: UserId,
        id: ConversationId,
        after: Option<MessageId>,
        limit: i64,
    ) -> Result<Page<Message>, ConversationError> {
        let mut reads = self.store.read().await?;
        reads.conversation(user, id).await?.ok_or(ConversationError::NotFound)?;
        let items = reads.page_messages(user, id, after, limit + 1).await?;
        Ok(Page::cut(items, limit))
    }

    /// Changes a conversation.
    pub async fn change_conversation(
        &self,
        user: UserId,
        id: ConversationId,
        change: ChangeConversation,
    ) -> Result<Conversation, ConversationError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        let mut conversation = unit.conversation(user, id).await?.ok_or(ConversationError::NotFound)?;
        apply(&mut conversation, change, &self.options.assistants)?;
        conversation.updated_at = self.clock.now();
        if !unit.update_conversation(&conversation).await? {
            return Err(ConversationError::NotFound);
        }
        unit.commit().await?;
        Ok(conversation)
    }

    /// Deletes a conversation with its messages.
    pub async fn delete_conversation(&self, user: UserId, id: ConversationId) -> Result<(), ConversationError> {
        let mut unit = self.store.begin(Durability::Full).await?;
        if !unit.delete_conversation(user, id).await? {
            return Err(ConversationError::NotFound);
        }
        unit.commit().await?;
        info!(event = "chat.conversation.deleted", user_id = %user, conversation_id = %id);
        Ok(())
    }
}

fn apply(
    conversation: &mut Conversation,
    change: ChangeConversation,
    assistants: &[Arc<Assistant>],
) -> Result<(), ConversationError> {
    let mut faults = Vec::new();
    let mut fault = |field, code, detail: String| faults.push(FieldFault { field, code, detail });
    if let Some(title) = change.title {
        let checked = title.as_deref().map(valid_name);
        if checked == Some(None) {
            fault(
                "title",
                "invalid_title",
                format!("a title has 1 to {MAX_TITLE_CHARS} characters and no control characters"),
            );
        }
        conversation.title = checked.flatten();
    }
    if let Some(model) = change.model {
        if model
            .as_deref()
            .is_some_and(|m| m.is_empty() || m.len() > 200 || m.chars().any(char::is_control))
        {
            fault(
                "model",
                "invalid_model",
                "a model's name has 1 to 200 bytes; GET /v1/models lists those you may use".into(),
            );
        }
        conversation.model = model;
    }
    if let Some(instructions) = change.instructions {
        if instructions
            .as_deref()
            .is_some_and(|i| i.len() > MAX_INSTRUCTIONS_BYTES || i.contains('\0'))
        {
            fault(
                "instructions",
                "invalid_instructions",
                format!("instructions have at most {MAX_INSTRUCTIONS_BYTES} bytes and no NUL"),
            );
        }
        conversation.instructions = instructions.filter(|i| !i.is_empty());
    }
    if let Some(assistant) = change.assistant {
        if assistant
            .as_deref()
            .is_some_and(|id| !assistants.iter().any(|known| known.id == id))
        {
            fault(
                "assistant",
                "unknown_assistant",
                "there is no such assistant; GET /v1/assistants lists those you may use".into(),
            );
        }
        conversation.assistant = assistant;
    }
    if conversation.assistant.is_some() && conversation.model.is_some() {
        fault(
            "model",
            "invalid_model",
            "an assistant brings its own model: leave `model` out, or set it to null, and the same of `assistant`"
                .into(),
        );
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ConversationError::Refused(faults))
    }
}
