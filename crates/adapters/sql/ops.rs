//! Answers kept for repeated requests, and the deployment's values.

use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::ops::{Claim, IdempotentRequest};
use anteroom_ports::{OpsWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Queryable, Selectable};
use diesel::sql_types::{BigInt, Bool};
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use crate::backend::locked;
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
            ))
            .on_conflict((keys::user_id, keys::key))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        if self.checked(done)? == 1 {
            return Ok(Claim::Fresh);
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
        let done = diesel::update(keys::table.find((key.0, &key.1)))
            .set((
                keys::created_at.eq(At(request.created_at)),
                keys::running_until.eq(At(request.running_until)),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| Claim::Fresh)
    }

    #[instrument(level = "debug", name = "store.ops.finish_idempotent", skip_all)]
    async fn finish_idempotent(&mut self, user: UserId, key: &str, status: u16, body: &str) -> StoreResult<()> {
        let done = diesel::update(keys::table.find((Id(user.0), text(key))))
            .set((
                keys::status.eq(Some(i32::from(status))),
                keys::body.eq(Some(text(body))),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.ops.drop_idempotent", skip_all)]
    async fn drop_idempotent(&mut self, user: UserId, key: &str) -> StoreResult<()> {
        let done = diesel::delete(keys::table.find((Id(user.0), text(key))))
            .filter(keys::status.is_null())
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
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
}

fn answered((status, body): (i32, String)) -> StoreResult<Claim> {
    let status = u16::try_from(status).map_err(|_| StoreError::Corrupt {
        reason: format!("idempotency_keys.status holds {status}"),
    })?;
    Ok(Claim::Answered { status, body })
}
