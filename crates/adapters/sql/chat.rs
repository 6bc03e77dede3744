//! Conversations and their messages.

#[path = "chat/models.rs"]
mod models;

use anteroom_domain::chat::{Conversation, Message, MessageStatus, Outcome, Speaker, TokenUsage};
use anteroom_domain::{ConversationId, MessageId, ReservationId, Timestamp, UserId};
use anteroom_ports::{ChatRead, ChatWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use diesel::sql_types::{BigInt, Bool};
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::backend::{locked, locked_or_skipped};
use crate::schema::{conversations, messages};
use crate::types::{At, Id, SqlTime, text, unknown_word};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = conversations, treat_none_as_default_value = false)]
struct ConversationRow {
    id: Id,
    user_id: Id,
    title: Option<String>,
    model: Option<String>,
    instructions: Option<String>,
    assistant: Option<String>,
    created_at: At,
    updated_at: At,
}

#[derive(Debug, AsChangeset)]
#[diesel(table_name = conversations, treat_none_as_null = true)]
struct ConversationChange {
    title: Option<String>,
    model: Option<String>,
    instructions: Option<String>,
    assistant: Option<String>,
    updated_at: At,
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = messages, treat_none_as_default_value = false)]
struct MessageRow {
    id: Id,
    conversation_id: Id,
    role: String,
    content: String,
    status: String,
    model: Option<String>,
    #[diesel(embed)]
    usage: UsageColumns,
    filtered: bool,
    created_at: At,
}

#[derive(Debug, AsChangeset)]
#[diesel(table_name = messages, treat_none_as_null = true)]
struct MessageChange {
    content: String,
    status: &'static str,
    model: Option<String>,
    #[diesel(embed)]
    usage: UsageColumns,
    filtered: bool,
}

#[derive(Debug, Default, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = messages, treat_none_as_default_value = false, treat_none_as_null = true)]
struct UsageColumns {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    cached_tokens: Option<i64>,
    reasoning_tokens: Option<i64>,
}

impl From<Option<TokenUsage>> for UsageColumns {
    fn from(usage: Option<TokenUsage>) -> Self {
        usage.map_or_else(Self::default, |usage| Self {
            prompt_tokens: Some(usage.prompt_tokens),
            completion_tokens: Some(usage.completion_tokens),
            cached_tokens: Some(usage.cached_tokens),
            reasoning_tokens: Some(usage.reasoning_tokens),
        })
    }
}

impl From<UsageColumns> for Option<TokenUsage> {
    fn from(row: UsageColumns) -> Self {
        Some(TokenUsage {
            prompt_tokens: row.prompt_tokens?,
            completion_tokens: row.completion_tokens?,
            cached_tokens: row.cached_tokens?,
            reasoning_tokens: row.reasoning_tokens?,
            ..TokenUsage::NONE
        })
    }
}

impl From<&Conversation> for ConversationRow {
    fn from(conversation: &Conversation) -> Self {
        Self {
            id: Id(conversation.id.0),
            user_id: Id(conversation.user_id.0),
            title: conversation.title.as_deref().map(text),
            model: conversation.model.as_deref().map(text),
            instructions: conversation.instructions.as_deref().map(text),
            assistant: conversation.assistant.as_deref().map(text),
            created_at: At(conversation.created_at),
            updated_at: At(conversation.updated_at),
        }
    }
}

impl From<ConversationRow> for Conversation {
    fn from(row: ConversationRow) -> Self {
        Self {
            id: ConversationId(row.id.0),
            user_id: UserId(row.user_id.0),
            title: row.title,
            model: row.model,
            instructions: row.instructions,
            assistant: row.assistant,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

impl From<&Message> for MessageRow {
    fn from(message: &Message) -> Self {
        Self {
            id: Id(message.id.0),
            conversation_id: Id(message.conversation_id.0),
            role: message.role.as_str().to_owned(),
            content: text(&message.content),
            status: message.status.as_str().to_owned(),
            model: message.model.as_deref().map(text),
            usage: message.usage.into(),
            filtered: message.filtered,
            created_at: At(message.created_at),
        }
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> StoreResult<Self> {
        Ok(Self {
            id: MessageId(row.id.0),
            conversation_id: ConversationId(row.conversation_id.0),
            role: Speaker::parse(&row.role).ok_or_else(|| unknown_word("messages.role", &row.role))?,
            content: row.content,
            status: MessageStatus::parse(&row.status).ok_or_else(|| unknown_word("messages.status", &row.status))?,
            model: row.model,
            usage: row.usage.into(),
            filtered: row.filtered,
            created_at: row.created_at.0,
        })
    }
}

/// The messages that a model may be shown again.
macro_rules! recent {
    ($user:expr, $conversation:expr, $before:expr) => {
        messages::table
            .inner_join(conversations::table)
            .filter(messages::conversation_id.eq(Id($conversation.0)))
            .filter(conversations::user_id.eq(Id($user.0)))
            .filter(messages::id.lt(Id($before.map_or(Uuid::max(), |id: MessageId| id.0))))
            .filter(messages::content.ne(""))
            .filter(messages::filtered.eq(false))
            .filter(messages::status.ne(MessageStatus::InProgress.as_str()))
    };
}

#[async_trait]
impl ChatRead for Unit {
    #[instrument(level = "debug", name = "store.chat.conversation", skip_all)]
    async fn conversation(&mut self, user: UserId, id: ConversationId) -> StoreResult<Option<Conversation>> {
        let row = conversations::table
            .find(Id(id.0))
            .filter(conversations::user_id.eq(Id(user.0)))
            .select(ConversationRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        Ok(self.checked(row)?.map(Conversation::from))
    }

    #[instrument(level = "debug", name = "store.chat.page_conversations", skip_all)]
    async fn page_conversations(
        &mut self,
        user: UserId,
        before: Option<ConversationId>,
        limit: i64,
    ) -> StoreResult<Vec<Conversation>> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        let rows = conversations::table
            .filter(conversations::user_id.eq(Id(user.0)))
            .filter(conversations::id.lt(Id(before)))
            .order(conversations::id.desc())
            .limit(limit)
            .select(ConversationRow::as_select())
            .load(self.conn()?)
            .await;
        Ok(self.checked(rows)?.into_iter().map(Conversation::from).collect())
    }

    #[instrument(level = "debug", name = "store.chat.page_messages", skip_all)]
    async fn page_messages(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        after: Option<MessageId>,
        limit: i64,
    ) -> StoreResult<Vec<Message>> {
        let after = after.map_or(Uuid::nil(), |id| id.0);
        let rows = messages::table
            .inner_join(conversations::table)
            .filter(messages::conversation_id.eq(Id(conversation.0)))
            .filter(conversations::user_id.eq(Id(user.0)))
            .filter(messages::id.gt(Id(after)))
            .order(messages::id)
            .limit(limit)
            .select(MessageRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(Message::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.chat.message", skip_all)]
    async fn message(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        id: MessageId,
    ) -> StoreResult<Option<Message>> {
        let row = messages::table
            .inner_join(conversations::table)
            .filter(messages::id.eq(Id(id.0)))
            .filter(messages::conversation_id.eq(Id(conversation.0)))
            .filter(conversations::user_id.eq(Id(user.0)))
            .select(MessageRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(Message::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.chat.recent_messages", skip_all)]
    async fn recent_messages(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: i64,
    ) -> StoreResult<Vec<Message>> {
        let rows = recent!(user, conversation, before)
            .order(messages::id.desc())
            .limit(limit)
            .select(MessageRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(Message::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.chat.count_recent_messages", skip_all)]
    async fn count_recent_messages(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        before: Option<MessageId>,
    ) -> StoreResult<i64> {
        let count = recent!(user, conversation, before)
            .count()
            .get_result(self.conn()?)
            .await;
        self.checked(count)
    }

    #[instrument(level = "debug", name = "store.chat.count_messages", skip_all)]
    async fn count_messages(&mut self, user: UserId, conversation: ConversationId) -> StoreResult<i64> {
        let count = messages::table
            .inner_join(conversations::table)
            .filter(messages::conversation_id.eq(Id(conversation.0)))
            .filter(conversations::user_id.eq(Id(user.0)))
            .count()
            .get_result(self.conn()?)
            .await;
        self.checked(count)
    }

    #[instrument(level = "debug", name = "store.chat.count_conversations", skip_all)]
    async fn count_conversations(&mut self, user: UserId, limit: i64) -> StoreResult<i64> {
        let ids = conversations::table
            .filter(conversations::user_id.eq(Id(user.0)))
            .limit(limit)
            .select(conversations::id)
            .load::<Id>(self.conn()?)
            .await;
        Ok(i64::try_from(self.checked(ids)?.len()).unwrap_or(i64::MAX))
    }

    #[instrument(level = "debug", name = "store.chat.running_answer", skip_all)]
    async fn running_answer(&mut self, user: UserId, conversation: ConversationId) -> StoreResult<Option<Message>> {
        let row = messages::table
            .inner_join(conversations::table)
            .filter(messages::conversation_id.eq(Id(conversation.0)))
            .filter(conversations::user_id.eq(Id(user.0)))
            .filter(messages::status.eq(MessageStatus::InProgress.as_str()))
            .order(messages::id.desc())
            .select(MessageRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(Message::try_from).transpose()
    }
}

impl Unit {
    /// What was being written in these conversations is lost.
    async fn fail_unfinished(&mut self, conversations: &[Id]) -> StoreResult<()> {
        if conversations.is_empty() {
            return Ok(());
        }
        let done = diesel::update(messages::table)
            .filter(messages::conversation_id.eq_any(conversations.to_vec()))
            .filter(messages::status.eq(MessageStatus::InProgress.as_str()))
            .set(messages::status.eq(MessageStatus::from(Outcome::Lost).as_str()))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }
}

#[async_trait]
impl ChatWrite for Unit {
    #[instrument(level = "debug", name = "store.chat.insert_conversation", skip_all)]
    async fn insert_conversation(&mut self, conversation: &Conversation) -> StoreResult<()> {
        let done = diesel::insert_into(conversations::table)
            .values(ConversationRow::from(conversation))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.chat.update_conversation", skip_all)]
    async fn update_conversation(&mut self, conversation: &Conversation) -> StoreResult<bool> {
        let row = ConversationRow::from(conversation);
        let done = diesel::update(conversations::table.find(row.id))
            .filter(conversations::user_id.eq(row.user_id))
            .set(ConversationChange {
                title: row.title,
                model: row.model,
                instructions: row.instructions,
                assistant: row.assistant,
                updated_at: row.updated_at,
            })
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.delete_conversation", skip_all)]
    async fn delete_conversation(&mut self, user: UserId, id: ConversationId) -> StoreResult<bool> {
        let done = diesel::delete(conversations::table.find(Id(id.0)))
            .filter(conversations::user_id.eq(Id(user.0)))
            .execute(self.conn_for_long()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.claim_conversation", skip_all)]
    async fn claim_conversation(
        &mut self,
        user: UserId,
        id: ConversationId,
        call: ReservationId,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreResult<bool> {
        let query = conversations::table
            .find(Id(id.0))
            .filter(conversations::user_id.eq(Id(user.0)))
            .select(conversations::busy_until);
        let busy_until = locked!(query).first::<Option<At>>(self.conn()?).await.optional();
        let Some(busy_until) = self.checked(busy_until)? else {
            return Ok(false);
        };
        if busy_until.as_ref().is_some_and(|until| until.0 > now) {
            return Ok(false);
        }
        if busy_until.is_some() {
            self.fail_unfinished(&[Id(id.0)]).await?;
        }
        let done = diesel::update(conversations::table.find(Id(id.0)))
            .set((
                conversations::busy_until.eq(Some(At(until))),
                conversations::busy_by.eq(Some(Id(call.0))),
                conversations::updated_at.eq(At(now)),
            ))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.renew_claims", skip_all)]
    async fn renew_claims(&mut self, calls: &[ReservationId], until: Timestamp) -> StoreResult<()> {
        // Whoever holds a row may want one that is locked here next, so nothing is waited for.
        let query = conversations::table
            .filter(conversations::busy_by.eq_any(calls.iter().map(|call| Some(Id(call.0)))))
            .select(conversations::id);
        let ids = locked_or_skipped!(query).load::<Id>(self.conn()?).await;
        let ids = self.checked(ids)?;
        if ids.is_empty() {
            return Ok(());
        }
        let done = diesel::update(conversations::table.filter(conversations::id.eq_any(ids)))
            .set(conversations::busy_until.eq(Some(At(until))))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.chat.release_conversation", skip_all)]
    async fn release_conversation(&mut self, id: ConversationId, call: ReservationId) -> StoreResult<bool> {
        let done = diesel::update(conversations::table.find(Id(id.0)))
            .filter(conversations::busy_by.eq(Some(Id(call.0))))
            .set((
                conversations::busy_until.eq(None::<At>),
                conversations::busy_by.eq(None::<Id>),
            ))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.lose_answer", skip_all)]
    async fn lose_answer(&mut self, call: ReservationId) -> StoreResult<()> {
        let freed = diesel::update(conversations::table.filter(conversations::busy_by.eq(Some(Id(call.0)))))
            .set((
                conversations::busy_until.eq(None::<At>),
                conversations::busy_by.eq(None::<Id>),
            ))
            .returning(conversations::id)
            .get_results::<Id>(self.conn()?)
            .await;
        let freed = self.checked(freed)?;
        self.fail_unfinished(&freed).await
    }

    #[instrument(level = "debug", name = "store.chat.insert_message", skip_all)]
    async fn insert_message(&mut self, message: &Message) -> StoreResult<()> {
        let done = diesel::insert_into(messages::table)
            .values(MessageRow::from(message))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.chat.finish_message", skip_all)]
    async fn finish_message(&mut self, message: &Message) -> StoreResult<bool> {
        let done = diesel::update(messages::table.find(Id(message.id.0)))
            .set(MessageChange {
                content: text(&message.content),
                status: message.status.as_str(),
                model: message.model.as_deref().map(text),
                usage: message.usage.into(),
                filtered: message.filtered,
            })
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.save_message", skip_all)]
    async fn save_message(&mut self, id: MessageId, content: &str) -> StoreResult<bool> {
        let done = diesel::update(messages::table.find(Id(id.0)))
            .filter(messages::status.eq(MessageStatus::InProgress.as_str()))
            .set(messages::content.eq(text(content)))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.edit_message", skip_all)]
    async fn edit_message(&mut self, id: MessageId, content: &str, filtered: bool) -> StoreResult<bool> {
        let done = diesel::update(messages::table.find(Id(id.0)))
            .filter(messages::role.eq(Speaker::User.as_str()))
            .set((messages::content.eq(text(content)), messages::filtered.eq(filtered)))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.delete_message", skip_all)]
    async fn delete_message(&mut self, id: MessageId) -> StoreResult<()> {
        let done = diesel::delete(messages::table.find(Id(id.0)))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.chat.delete_messages_after", skip_all)]
    async fn delete_messages_after(
        &mut self,
        conversation: ConversationId,
        after: MessageId,
        keep: Option<MessageId>,
    ) -> StoreResult<()> {
        let done = diesel::delete(messages::table)
            .filter(messages::conversation_id.eq(Id(conversation.0)))
            .filter(messages::id.gt(Id(after.0)))
            .filter(messages::id.ne(Id(keep.unwrap_or(after).0)))
            .execute(self.conn_for_long()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.chat.name_conversation", skip_all)]
    async fn name_conversation(&mut self, id: ConversationId, title: &str) -> StoreResult<bool> {
        let done = diesel::update(conversations::table.find(Id(id.0)))
            .filter(conversations::title.is_null())
            .set(conversations::title.eq(Some(text(title))))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.chat.purge_conversations", skip_all)]
    async fn purge_conversations(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let oldest = diesel::dsl::sql::<Bool>("id IN (SELECT id FROM conversations WHERE updated_at < ")
            .bind::<SqlTime, _>(At(before))
            .sql(" ORDER BY updated_at LIMIT ")
            .bind::<BigInt, _>(limit)
            .sql(")");
        let done = diesel::delete(conversations::table)
            .filter(oldest)
            .execute(self.conn_for_long()?)
            .await;
        self.checked(done)
    }
}
