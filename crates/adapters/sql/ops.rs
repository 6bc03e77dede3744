//! Answers kept for repeated requests, and the deployment's values.

use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::ops::{Claim, IdempotentRequest};
use anteroom_ports::{OpsRead, OpsWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Queryable, Selectable};
use diesel::sql_types::{BigInt, Bool};
use diesel::upsert::excluded;
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::backend::{has_table, locked, locked_or_skipped};
use crate::schema::{deployment, idempotency_keys as keys};
use crate::types::{At, Id, SqlTime, text};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = keys)]
struct KeyRow {
    fingerprint: Vec<u8>,
    running_until: At,
    status: Option<i32>,
    body: Option<String>,
    made_id: Option<Id>,
}

#[async_trait]
impl OpsRead for Unit {
    #[instrument(level = "debug", name = "store.ops.kept_deployment_value", skip_all)]
    async fn kept_deployment_value(&mut self, name: &str) -> StoreResult<Option<String>> {
        let exists = has_table(self.conn()?, "deployment").await;
        if !self.checked(exists)? {
            return Ok(None);
        }
        let kept = deployment::table
            .find(name)
            .select(deployment::value)
            .first(self.conn()?)
            .await
            .optional();
        self.checked(kept)
    }
}

#[async_trait]
impl OpsWrite for Unit {
    #[instrument(level = "debug", name = "store.ops.claim_idempotent", skip_all)]
    async fn claim_idempotent(&mut self, request: &IdempotentRequest) -> StoreResult<Claim> {
        let key = (Id(request.user_id.0), text(&request.key));
        let done = diesel::insert_into(keys::table)
            .values((
                keys::user_id.eq(key.0),
                keys::key.eq(&key.1),
                keys::fingerprint.eq(request.fingerprint.as_slice()),
                keys::created_at.eq(At(request.created_at)),
                keys::running_until.eq(At(request.running_until)),
                keys::held_by.eq(Some(Id(request.held_by))),
                keys::made_id.eq(Some(Id(request.made_id))),
            ))
            .on_conflict((keys::user_id, keys::key))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        if self.checked(done)? == 1 {
            return Ok(Claim::Fresh {
                made_id: request.made_id,
            });
        }
        let query = keys::table.find((key.0, &key.1)).select(KeyRow::as_select());
        let row = locked!(query).first(self.conn()?).await.optional();
        // Given back or purged a moment ago: as if it were running, the client tries again.
        let Some(row) = self.checked(row)? else {
            return Ok(Claim::Running);
        };
        if row.fingerprint != request.fingerprint {
            return Ok(Claim::Mismatch);
        }
        if let Some(answer) = row.status.zip(row.body) {
            return answered(answer);
        }
        if request.created_at < row.running_until.0 {
            return Ok(Claim::Running);
        }
        let made_id = row.made_id.map_or(request.made_id, |id| id.0);
        let done = diesel::update(keys::table.find((key.0, &key.1)))
            .set((
                keys::created_at.eq(At(request.created_at)),
                keys::running_until.eq(At(request.running_until)),
                keys::held_by.eq(Some(Id(request.held_by))),
                keys::made_id.eq(Some(Id(made_id))),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| Claim::Fresh { made_id })
    }

    #[instrument(level = "debug", name = "store.ops.renew_idempotent", skip_all)]
    async fn renew_idempotent(&mut self, held_by: &[Uuid], until: Timestamp) -> StoreResult<()> {
        // Of keys that somebody has locked there is nothing to say now, so nothing is waited for.
        let query = keys::table
            .filter(keys::held_by.eq_any(held_by.iter().map(|id| Some(Id(*id)))))
            .filter(keys::status.is_null())
            .select(keys::held_by);
        let held = locked_or_skipped!(query).load::<Option<Id>>(self.conn()?).await;
        let held = self.checked(held)?;
        if held.is_empty() {
            return Ok(());
        }
        let done = diesel::update(keys::table.filter(keys::held_by.eq_any(held)))
            .set(keys::running_until.eq(At(until)))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.ops.finish_idempotent", skip_all)]
    async fn finish_idempotent(
        &mut self,
        user: UserId,
        key: &str,
        held_by: Uuid,
        status: u16,
        body: &str,
    ) -> StoreResult<bool> {
        let done = diesel::update(keys::table.find((Id(user.0), text(key))))
            .filter(keys::held_by.eq(Some(Id(held_by))))
            .set((
                keys::status.eq(Some(i32::from(status))),
                keys::body.eq(Some(text(body))),
            ))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.ops.drop_idempotent", skip_all)]
    async fn drop_idempotent(&mut self, user: UserId, key: &str, held_by: Uuid) -> StoreResult<bool> {
        let done = diesel::delete(keys::table.find((Id(user.0), text(key))))
            .filter(keys::held_by.eq(Some(Id(held_by))))
            .filter(keys::status.is_null())
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.ops.purge_idempotent", skip_all)]
    async fn purge_idempotent(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        // Both databases compare rows of values; the query builder does not.
        let oldest = diesel::dsl::sql::<Bool>(
            "(user_id, key) IN (SELECT user_id, key FROM idempotency_keys WHERE created_at < ",
        )
        .bind::<SqlTime, _>(At(before))
        .sql(" ORDER BY created_at LIMIT ")
        .bind::<BigInt, _>(limit)
        .sql(")");
        let done = diesel::delete(keys::table)
            .filter(oldest)
            .execute(self.conn_for_long()?)
            .await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.ops.deployment_value", skip_all)]
    async fn deployment_value(&mut self, name: &str, value: &str) -> StoreResult<String> {
        let done = diesel::insert_into(deployment::table)
            .values((deployment::name.eq(name), deployment::value.eq(value)))
            .on_conflict(deployment::name)
            .do_nothing()
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        let kept = deployment::table
            .find(name)
            .select(deployment::value)
            .first(self.conn()?)
            .await;
        self.checked(kept)
    }

    #[instrument(level = "debug", name = "store.ops.take_turn", skip_all)]
    async fn take_turn(&mut self, name: &str, now: Timestamp, until: Timestamp) -> StoreResult<bool> {
        use diesel::query_dsl::methods::FilterDsl as _;
        let done = diesel::insert_into(deployment::table)
            .values((deployment::name.eq(name), deployment::value.eq(sortable(until))))
            .on_conflict(deployment::name)
            .do_update()
            .set(deployment::value.eq(excluded(deployment::value)))
            .filter(deployment::value.le(sortable(now)))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }
}

/// A time as text that sorts as times do.
fn sortable(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn answered((status, body): (i32, String)) -> StoreResult<Claim> {
    let status = u16::try_from(status).map_err(|_| StoreError::Corrupt {
        reason: format!("idempotency_keys.status holds {status}"),
    })?;
    Ok(Claim::Answered { status, body })
}
