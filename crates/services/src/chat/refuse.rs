//! A question that moderation refuses is answered and booked without anybody having been asked.

use std::time::Instant;

use anteroom_domain::ReservationId;
use anteroom_domain::chat::{Conversation, Message, MessageStatus, Window};
use anteroom_ports::{Durability, StoreResult};
use tokio::sync::mpsc;

use super::Chat;
use super::answer_question::{Asked, Question, take_back};
use super::call_refused::CallRefused;
use super::drafts::MessageEvent;
use super::moderation::Found;
use super::send_message::{MessageAnswer, SendMessageError};

/// A question of a conversation that was refused, and what is answered to it.
pub(super) struct Refused {
    /// Where.
    pub(super) conversation: Conversation,
    /// Which.
    pub(super) asked: Asked,
    /// What it says.
    pub(super) question: Question,
    /// Its message, where it is new.
    pub(super) said: Option<Message>,
    /// The answer's row, as it begins.
    pub(super) answer: Message,
    /// What the model would have been shown.
    pub(super) window: Window,
}

impl Chat {
    /// Writes down that a question was refused: what was found, and that it used nothing, in one commit.
    pub(super) async fn book_refusal(&self, found: &Found<'_>, plan: &str, begun: Instant) -> Result<(), CallRefused> {
        let booked: StoreResult<()> = async {
            let mut unit = self.store.begin(Durability::Full).await?;
            self.record_findings(&mut *unit, found).await?;
            unit.insert_usage(&[&self.refused_event(found, plan, begun)]).await?;
            unit.commit().await
        }
        .await;
        booked?;
        self.tell_findings(found);
        Ok(())
    }

    /// Stores a refused question of a conversation and the refusal, which the model is shown neither again, and writes
    /// down what `book_refusal` does, all in one commit.
    pub(super) async fn answer_refused(
        &self,
        found: &Found<'_>,
        plan: &str,
        begun: Instant,
        refused: Refused,
        stream: bool,
    ) -> Result<MessageAnswer, SendMessageError> {
        let (user, now, call) = (found.who.user().id, self.clock.now(), ReservationId(self.ids.uuid()));
        let begins = refused.answer;
        let answer = Message {
            content: self.options.moderation.refusal.clone(),
            status: MessageStatus::Complete,
            filtered: true,
            ..begins.clone()
        };
        let conversation = answer.conversation_id;
        let mut unit = self.store.begin(Durability::Full).await?;
        let until = self.leases.until(now);
        if !unit.claim_conversation(user, conversation, call, now, until).await? {
            return Err(SendMessageError::Busy);
        }
        if let Some(question) = refused.said {
            self.check_room(&mut *unit, user, conversation).await?;
            let filtered = Message {
                filtered: true,
                ..question
            };
            unit.insert_message(&filtered).await?;
        }
        let (asked, question) = (&refused.asked, &refused.question);
        let again = take_back(&mut *unit, &refused.conversation, asked, question, true).await?;
        if let Some(id) = again {
            unit.edit_message(id, &question.content, true).await?;
            unit.delete_messages_after(conversation, id, None).await?;
        }
        unit.insert_message(&answer).await?;
        unit.release_conversation(conversation, call).await?;
        self.record_findings(&mut *unit, found).await?;
        unit.insert_usage(&[&self.refused_event(found, plan, begun)]).await?;
        unit.commit().await?;
        self.tell_findings(found);
        if !stream {
            return Ok(MessageAnswer::Whole(answer, refused.window));
        }
        let (out, events) = mpsc::channel(3);
        let delta = MessageEvent::Delta(answer.id, answer.content.clone(), answer.content.len());
        let started = MessageEvent::Started(begins, Some(refused.window));
        for event in [started, delta, MessageEvent::Completed(answer)] {
            let _ = out.try_send(event);
        }
        Ok(MessageAnswer::Stream(events))
    }
}
