//! Stopping an answer that is under way, on whichever node.

use std::time::{Duration, Instant};

use anteroom_domain::chat::{Message, MessageStatus};
use anteroom_domain::sessions::Change;
use anteroom_domain::{ConversationId, UserId};
use tracing::info;

use super::Chat;
use super::complete_chat::ChatError;
use super::conversations::ConversationError;
use super::drafts::Ending;

/// For how long the answer's end is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the store is asked whether another node has ended it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// After how many looks that node is told again: what is told while it does not hear is not kept for it.
const LOOKS: u32 = 10;

impl Chat {
    /// Ends the answer that is under way in the conversation, and answers with what came of it: `cancelled`, unless it
    /// came to its end by itself. `None` if none is under way. One that has not ended after three seconds is answered as
    /// it stands: its node is dead or cut off, and its claim will run out.
    pub async fn stop_answer(&self, user: UserId, id: ConversationId) -> Result<Option<Message>, ConversationError> {
        let mut reads = self.store.read().await?;
        reads.conversation(user, id).await?.ok_or(ConversationError::NotFound)?;
        let running = reads.running_answer(user, id).await?;
        drop(reads);
        let Some(mut running) = running else {
            return Ok(None);
        };
        info!(event = "chat.answer.stopped", user_id = %user, conversation_id = %id, message_id = %running.id);
        if let Some(draft) = self.drafts.get(running.id) {
            draft.stop(ChatError::Stopped);
            if let Ok(Ending::Complete(message) | Ending::Cancelled(message, _)) =
                tokio::time::timeout(PATIENCE, draft.ended()).await
            {
                return Ok(Some(message));
            }
        }
        let (begun, mut looks) = (Instant::now(), 0);
        while begun.elapsed() < PATIENCE {
            let mut reads = self.store.read().await?;
            let Some(message) = reads.message(user, id, running.id).await? else {
                // It was to replace another, and nothing had come.
                running.status = MessageStatus::Cancelled;
                return Ok(Some(running));
            };
            drop(reads);
            running = message;
            if running.status != MessageStatus::InProgress {
                break;
            }
            if looks % LOOKS == 0 {
                self.tell(Change::AnswerStopped(running.id)).await?;
            }
            looks += 1;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Some(running))
    }
}
