//! What sending, editing and asking again have in common: a question of a conversation is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::billing::Owner;
use anteroom_domain::billing::{Access, Operation};
use anteroom_domain::chat::{
    Assistant, ChatRequest, Conversation, Direction, Message, MessageStatus, ModelAlias, RawObject, Speaker, Turn,
    Verdict, Window, recall, title_of, turn_budget,
};
use anteroom_domain::{ConversationId, MessageId, RequestId, ReservationId, Timestamp, UserId};
use anteroom_ports::{Durability, StoreError, UnitOfWork};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Chat;
use super::call_refused::CallRefused;
use super::complete_chat::{CHANNEL, ChatError};
use super::drafts::{Draft, Ending, Reader};
use super::moderation::Found;
use super::refuse::Refused;
use super::send_message::{MessageAnswer, SendMessageError};
use super::write_answer::Answering;
use crate::Client;
use crate::access::Principal;

/// Which question.
pub(super) enum Asked {
    /// One that is new.
    New(String),
    /// The one that this message, the last one, is the answer to.
    Again(MessageId),
    /// This one, in other words; what came after it is taken back.
    Edited(MessageId, String),
}

/// A question with what was said before it.
pub(super) struct Question {
    /// Its message, where it has been said before.
    id: Option<MessageId>,
    pub(super) content: String,
    /// Newest first.
    past: Vec<Message>,
    /// How many there are, with those that are not in `past`.
    past_count: i64,
}

/// A question that can be asked.
struct Ready {
    conversation: Conversation,
    question: Question,
    access: Access,
    /// Whether an assistant tells the model something.
    assisted: bool,
    alias: Arc<ModelAlias>,
    window: Window,
    request: ChatRequest,
}

/// More turns than any budget holds.
const MAX_TURNS: i64 = 200;

#[derive(Serialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
}

impl Chat {
    /// Claims the conversation, writes down the question, and answers it.
    pub(super) async fn answer_question(
        self: &Arc<Self>,
        who: &Principal,
        client: &Client,
        conversation_id: ConversationId,
        asked: Asked,
        stream: bool,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        let begun = Instant::now();
        let user = who.user().id;
        let Ready {
            conversation,
            question,
            access,
            assisted,
            alias,
            window,
            request,
        } = self.make_ready(who, conversation_id, &asked).await?;
        let verdict = self
            .look_at_question(who, &conversation, &alias.name, &question.content)
            .await?;
        let mut found = Found {
            call_id: RequestId(self.ids.uuid()),
            who,
            client,
            model: &alias.name,
            direction: Direction::Input,
            findings: &verdict.findings,
        };

        let now = self.clock.now();
        // Messages are in the order of their ids, so the question is made before its answer.
        let said = matches!(asked, Asked::New(_)).then(|| Message {
            role: Speaker::User,
            content: question.content.clone(),
            status: MessageStatus::Complete,
            ..self.unwritten(&conversation, now, None)
        });
        let answer = self.unwritten(&conversation, now, Some(alias.name.clone()));
        if verdict.refusal().is_some() {
            let refused = Refused {
                conversation,
                asked,
                question,
                said,
                answer,
                window,
            };
            return self
                .answer_refused(&found, &access.plan.key, begun, refused, stream)
                .await;
        }
        // Before its row can be seen, so that whoever sees that can stop it.
        let (opened, reader) = self.drafts.begin(answer, window, who.used_with());
        let answer = &opened.draft.message;

        let needs = self.needs(&access, &alias, &request);
        let most_bytes = most_bytes(needs.worst.completion_tokens);
        let admitted = self.admit(who, &access, needs)?;
        // What calls that have ended still hold is in nobody's way; once the unit has begun nobody else can book it.
        self.settle_now(Owner::account(user)).await;
        // Claim, quota, question and the answer's row are one commit: nothing is half done, and the limit holds.
        let mut unit = self.store.begin(Durability::Full).await?;
        let id = ReservationId(self.ids.uuid());
        if !unit
            .claim_conversation(user, conversation.id, id, now, self.leases.until(now))
            .await?
        {
            return Err(SendMessageError::Busy);
        }
        if said.is_some() {
            // What is asked again or in other words adds nothing that would stay.
            self.check_room(&mut *unit, user, conversation.id).await?;
        }
        let mut call = self.reserve(&mut *unit, id, who, &access, admitted).await?;
        if let Some(said) = &said {
            unit.insert_message(said).await?;
        }
        let replaces = take_back(&mut *unit, &conversation, &asked, &question, false).await?;
        if conversation.title.is_none()
            && let Some(title) = title_of(&question.content)
        {
            unit.name_conversation(conversation.id, &title).await?;
        }
        unit.insert_message(answer).await?;
        unit.commit().await?;
        call.assisted = assisted;
        call.client = client.clone();
        found.call_id = call.request_id;
        self.note_findings(&found).await;

        let grace = if stream { self.options.resume } else { Duration::ZERO };
        let draft = Arc::clone(&opened.draft);
        let answering = Box::new(Answering {
            chat: Arc::clone(self),
            call,
            opened,
            replaces,
            most_bytes,
        });
        self.calls.spawn(answering.run(request, grace).in_current_span());
        if stream {
            self.hand_on(reader, who, &draft, gone).await
        } else {
            wait_for(reader, &draft, window, gone).await
        }
    }

    /// A message as it begins: an answer of which nothing has come.
    fn unwritten(&self, conversation: &Conversation, now: Timestamp, model: Option<String>) -> Message {
        Message {
            id: MessageId(self.ids.uuid()),
            conversation_id: conversation.id,
            role: Speaker::Assistant,
            content: String::new(),
            status: MessageStatus::InProgress,
            model,
            usage: None,
            filtered: false,
            created_at: now,
        }
    }

    /// What is to be asked of which model, once everything is known that says so.
    async fn make_ready(
        &self,
        who: &Principal,
        conversation_id: ConversationId,
        asked: &Asked,
    ) -> Result<Ready, SendMessageError> {
        let (conversation, question) = self.find_question(who.user().id, conversation_id, asked).await?;
        let access = self.access_of(who);
        self.check_feature(&access, Operation::Conversations)?;
        let assistant = self.assistant_of(&conversation, &access)?;
        let model = match &assistant {
            Some(assistant) => assistant.model.clone(),
            None => self.model_of(who, &conversation, &access).await?,
        };
        let mut alias = self.check_model(&access, &model).await?;
        if let Some(assistant) = &assistant {
            alias = assistant.limited(&alias);
        }
        let instructions = instructions(&conversation, assistant.as_deref());
        let (turns, window) = self.window(instructions.as_deref(), &alias, &question);
        let request = compose(instructions.as_deref(), assistant.as_deref(), &model, &turns)?;
        Ok(Ready {
            conversation,
            question,
            access,
            assisted: assistant.is_some(),
            alias,
            window,
            request,
        })
    }

    /// The answer as it comes, from when the provider has begun. If that takes long, from before: a failure that comes then
    /// is an event, and no longer an error of its own.
    async fn hand_on(
        self: &Arc<Self>,
        reader: Reader,
        who: &Principal,
        draft: &Draft,
        gone: CancellationToken,
    ) -> Result<MessageAnswer, SendMessageError> {
        let (out, events) = mpsc::channel(CHANNEL);
        let feed = Arc::clone(self).feed(reader, who.clone(), out, gone.clone());
        tokio::spawn(feed.in_current_span());
        tokio::select! {
            biased;
            begun = draft.begun() => begun?,
            () = gone.cancelled() => return Err(ChatError::ClientGone.into()),
            () = tokio::time::sleep(self.options.silence) => {}
        }
        Ok(MessageAnswer::Stream(events))
    }

    /// The conversation, and what is to be answered in it.
    async fn find_question(
        &self,
        user: UserId,
        id: ConversationId,
        asked: &Asked,
    ) -> Result<(Conversation, Question), SendMessageError> {
        let mut reads = self.store.read().await?;
        let conversation = reads.conversation(user, id).await?.ok_or(SendMessageError::NotFound)?;
        let meant = match asked {
            Asked::New(_) => None,
            Asked::Again(answer) => Some((*answer, Speaker::Assistant)),
            Asked::Edited(message, _) => Some((*message, Speaker::User)),
        };
        if let Some((message, role)) = meant {
            let found = reads.message(user, id, message).await?;
            found
                .filter(|found| found.role == role)
                .ok_or(SendMessageError::NoMessage)?;
        }
        let before = meant.map(|(message, _)| message);
        let mut past = reads.recent_messages(user, id, before, MAX_TURNS).await?;
        let mut past_count = reads.count_recent_messages(user, id, before).await?;
        let (id, content) = match asked {
            Asked::New(content) => (None, content.clone()),
            Asked::Edited(message, content) => (Some(*message), content.clone()),
            Asked::Again(_) => {
                let at = past.iter().position(|m| m.role == Speaker::User);
                let at = at.ok_or(SendMessageError::NoMessage)?;
                let question = past.drain(..=at).next_back().ok_or(SendMessageError::NoMessage)?;
                past_count -= i64::try_from(at).unwrap_or(0) + 1;
                // Between them is only what was refused, which nobody is asked again.
                let next = reads.page_messages(user, conversation.id, Some(question.id), 1).await?;
                let answered = next.first().map(|message| message.id);
                if answered != before {
                    return Err(SendMessageError::NoMessage);
                }
                (Some(question.id), question.content)
            }
        };
        let question = Question {
            id,
            content,
            past,
            past_count,
        };
        Ok((conversation, question))
    }

    /// What of the conversation the model is shown.
    fn window(&self, instructions: Option<&str>, alias: &ModelAlias, question: &Question) -> (Vec<Turn>, Window) {
        let answer = alias.max_output_tokens.unwrap_or(self.options.max_output_tokens);
        let budget = turn_budget(self.options.memory_tokens, alias.context_window, answer, instructions);
        let now = std::iter::once(Turn {
            role: Speaker::User,
            content: question.content.clone(),
        });
        let past = question.past.iter().map(|m| Turn {
            role: m.role,
            content: m.content.clone(),
        });
        let turns = recall(now.chain(past), budget);
        let messages = i64::try_from(turns.len()).unwrap_or(i64::MAX);
        let window = Window {
            messages,
            left_out: (question.past_count + 1 - messages).max(0),
        };
        (turns, window)
    }

    /// Looks at what the user says, and at the instructions that are theirs as well.
    async fn look_at_question(
        &self,
        who: &Principal,
        conversation: &Conversation,
        model: &str,
        content: &str,
    ) -> Result<Verdict, ChatError> {
        if self.moderator(Direction::Input).is_none() {
            return Ok(Verdict::default());
        }
        Self::check_key(who, model)?;
        match &conversation.instructions {
            Some(instructions) => self.look(Direction::Input, &format!("{instructions}\n{content}")).await,
            None => self.look(Direction::Input, content).await,
        }
    }

    /// The conversation's assistant, if it has one and the plan has it.
    fn assistant_of(
        &self,
        conversation: &Conversation,
        access: &Access,
    ) -> Result<Option<Arc<Assistant>>, CallRefused> {
        let id = conversation.assistant.as_deref();
        id.map(|id| self.check_assistant(access, id)).transpose()
    }

    /// The conversation's model, else the first of the plan's that what the user asks with allows.
    async fn model_of(
        &self,
        who: &Principal,
        conversation: &Conversation,
        access: &Access,
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

    /// Whether there is room for one more question and its answer. The conversation is claimed, so nobody else adds any.
    pub(super) async fn check_room(
        &self,
        unit: &mut dyn UnitOfWork,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<(), SendMessageError> {
        let Some(most) = self.options.max_messages else {
            return Ok(());
        };
        let count = unit.count_messages(user, conversation).await?;
        if count + 2 > most {
            return Err(SendMessageError::Full(most));
        }
        Ok(())
    }
}

/// The answer when it is whole, unless its reader goes away first.
async fn wait_for(
    reader: Reader,
    draft: &Draft,
    window: Window,
    gone: CancellationToken,
) -> Result<MessageAnswer, SendMessageError> {
    let ended = tokio::select! {
        biased;
        ended = draft.ended() => ended,
        () = gone.cancelled() => Ending::Failed(ChatError::ClientGone),
    };
    drop(reader);
    match ended {
        Ending::Complete(message) | Ending::Cancelled(message, ChatError::Stopped) => {
            Ok(MessageAnswer::Whole(message, window))
        }
        Ending::Cancelled(_, e) | Ending::Failed(e) => Err(e.into()),
    }
}

/// What is asked again or in other words takes something back: an edited message what came after it, at once; a new
/// answer the old one, once it has come. Answers after which message that is. `filtered` is what becomes of the edited one.
pub(super) async fn take_back(
    unit: &mut dyn UnitOfWork,
    conversation: &Conversation,
    asked: &Asked,
    question: &Question,
    filtered: bool,
) -> Result<Option<MessageId>, SendMessageError> {
    match asked {
        Asked::New(_) => Ok(None),
        Asked::Edited(message, content) => {
            if !unit.edit_message(*message, content, filtered).await? {
                return Err(SendMessageError::NoMessage);
            }
            unit.delete_messages_after(conversation.id, *message, None).await?;
            Ok(None)
        }
        // Since it was read, another question may have been answered, or the answer taken back.
        Asked::Again(answer) => {
            let (user, id) = (conversation.user_id, conversation.id);
            unit.message(user, id, *answer)
                .await?
                .ok_or(SendMessageError::NoMessage)?;
            let later = unit.page_messages(user, id, Some(*answer), 1).await?;
            if !later.is_empty() {
                return Err(SendMessageError::NotLast);
            }
            Ok(question.id)
        }
    }
}

/// The longest text that may be kept of an answer: a provider that heeds its maximum stays far below it, since a token
/// is seldom longer than a few bytes.
fn most_bytes(tokens: i64) -> usize {
    usize::try_from(tokens)
        .unwrap_or(usize::MAX)
        .saturating_mul(64)
        .max(65_536)
}

/// The request for the provider. It is always streamed, so that what has come can be kept when it breaks off.
fn compose(
    instructions: Option<&str>,
    assistant: Option<&Assistant>,
    model: &str,
    turns: &[Turn],
) -> Result<ChatRequest, SendMessageError> {
    let system = instructions.map(|content| Said {
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
    let request = ChatRequest::from_object(body).map_err(ChatError::from)?;
    match assistant {
        Some(assistant) => Ok(assistant.fix(request).map_err(ChatError::from)?.0),
        None => Ok(request),
    }
}

/// What the model is told before everything else: by the assistant, then by the user.
fn instructions(conversation: &Conversation, assistant: Option<&Assistant>) -> Option<String> {
    let users = conversation.instructions.as_deref();
    match assistant {
        Some(assistant) => Some(assistant.instructions_with(users)),
        None => users.map(str::to_owned),
    }
}
