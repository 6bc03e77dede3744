//! A whole conversation for its owner to take away, a page at a time.

use std::sync::Arc;

use anteroom_domain::ConversationId;
use anteroom_domain::chat::{Conversation, Message};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::Chat;
use super::complete_chat::ChatError;
use super::conversations::ConversationError;
use crate::access::Principal;

/// Messages in memory at a time, but for those that are under way.
const PAGE: i64 = 100;

impl Chat {
    /// The conversation, and its messages as they are read, oldest first. An error among them means that the rest is
    /// missing.
    pub async fn export_conversation(
        self: &Arc<Self>,
        who: &Principal,
        id: ConversationId,
    ) -> Result<(Conversation, mpsc::Receiver<Result<Vec<Message>, ChatError>>), ConversationError> {
        let conversation = self.get_conversation(who.user().id, id).await?;
        let (out, pages) = mpsc::channel(1);
        let (chat, who) = (Arc::clone(self), who.clone());
        let feed = async move {
            let over = tokio::time::sleep(chat.options.total_timeout);
            let cut = tokio::select! {
                () = chat.access.wait_until_ended(&who, None) => ChatError::SessionEnded,
                // Whoever reads as slowly as that does not read.
                () = over => ChatError::ClientGone,
                done = chat.read_pages(&who, id, &out) => match done {
                    Ok(()) => return,
                    Err(e) => e,
                },
            };
            // There is room at once, or the reader notices in that the body is cut off.
            let _ = out.try_send(Err(cut));
        };
        tokio::spawn(feed.in_current_span());
        Ok((conversation, pages))
    }

    async fn read_pages(
        &self,
        who: &Principal,
        id: ConversationId,
        out: &mpsc::Sender<Result<Vec<Message>, ChatError>>,
    ) -> Result<(), ChatError> {
        let mut after = None;
        loop {
            let page = match self.list_messages(who.user().id, id, after, PAGE).await {
                Ok(page) => page,
                Err(ConversationError::Store(e)) => return Err(super::CallRefused::from(e).into()),
                Err(_) => return Err(ChatError::NotKept),
            };
            after = page.items.last().map(|m| m.id);
            let more = page.more;
            if out.send(Ok(page.items)).await.is_err() || !more {
                break;
            }
        }
        // An end that is said, so that it cannot be taken for one that was cut.
        let _ = out.send(Ok(Vec::new())).await;
        Ok(())
    }
}
