//! The outbox.

use anteroom_domain::Timestamp;
use anteroom_ports::webhooks::OutboxItem;
use anteroom_ports::{StoreResult, WebhooksWrite};
use async_trait::async_trait;
use diesel::prelude::{Queryable, Selectable};
use diesel::{ExpressionMethods as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::backend::locked_or_skipped;
use crate::schema::outbox;
use crate::types::{At, Id};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = outbox)]
struct OutboxRow {
    id: Id,
    topic: String,
    payload: String,
    attempts: i32,
    created_at: At,
}

#[async_trait]
impl WebhooksWrite for Unit {
    #[instrument(level = "debug", name = "store.webhooks.insert_outbox", skip_all)]
    async fn insert_outbox(&mut self, item: &OutboxItem) -> StoreResult<()> {
        let done = diesel::insert_into(outbox::table)
            .values((
                outbox::id.eq(Id(item.id)),
                outbox::topic.eq(&item.topic),
                outbox::payload.eq(&item.payload),
                outbox::attempts.eq(item.attempts),
                outbox::due_at.eq(At(item.created_at)),
                outbox::created_at.eq(At(item.created_at)),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.webhooks.claim_outbox", skip_all)]
    async fn claim_outbox(
        &mut self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<OutboxItem>> {
        let due = outbox::table
            .filter(outbox::due_at.le(At(now)))
            .order((outbox::due_at, outbox::id))
            .limit(limit)
            .select(outbox::id);
        let ids = locked_or_skipped!(due).load::<Id>(self.conn()?).await;
        let ids = self.checked(ids)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = diesel::update(outbox::table.filter(outbox::id.eq_any(ids.clone())))
            .set((
                outbox::due_at.eq(At(lease_until)),
                outbox::attempts.eq(outbox::attempts + 1),
            ))
            .returning(OutboxRow::as_returning())
            .get_results(self.conn()?)
            .await;
        let mut rows = self.checked(rows)?;
        // RETURNING has no order of its own.
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        Ok(rows.into_iter().map(OutboxItem::from).collect())
    }

    #[instrument(level = "debug", name = "store.webhooks.finish_outbox", skip_all)]
    async fn finish_outbox(&mut self, id: Uuid) -> StoreResult<()> {
        let done = diesel::delete(outbox::table.find(Id(id))).execute(self.conn()?).await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.webhooks.retry_outbox", skip_all)]
    async fn retry_outbox(&mut self, id: Uuid, at: Timestamp) -> StoreResult<()> {
        let done = diesel::update(outbox::table.find(Id(id)))
            .set(outbox::due_at.eq(At(at)))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }
}

impl From<OutboxRow> for OutboxItem {
    fn from(row: OutboxRow) -> Self {
        Self {
            id: row.id.0,
            topic: row.topic,
            payload: row.payload,
            attempts: row.attempts,
            created_at: row.created_at.0,
        }
    }
}
