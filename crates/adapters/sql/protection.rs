//! Counters of failed logins.

use anteroom_domain::Timestamp;
use anteroom_domain::protection::LoginFailures;
use anteroom_ports::{Digest, ProtectionRead, ProtectionWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Queryable, Selectable};
use diesel::{BoolExpressionMethods as _, ExpressionMethods as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use crate::backend::locked_or_skipped;
use crate::schema::login_failures;
use crate::types::At;
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = login_failures)]
struct FailuresRow {
    key: Vec<u8>,
    failures: i32,
    forgiven_at: Option<At>,
    last_failure_at: At,
    blocked_until: Option<At>,
    told_at: Option<At>,
}

impl TryFrom<FailuresRow> for LoginFailures {
    type Error = StoreError;

    fn try_from(row: FailuresRow) -> StoreResult<Self> {
        let failures = u32::try_from(row.failures).map_err(|_| StoreError::Corrupt {
            reason: format!("login_failures.failures holds {}", row.failures),
        })?;
        Ok(Self {
            failures,
            forgiven_at: row.forgiven_at.map(|at| at.0),
            // A row that was only made to be locked has counted nothing yet.
            last_failure_at: (failures > 0).then_some(row.last_failure_at.0),
            blocked_until: row.blocked_until.map(|at| at.0),
            told_at: row.told_at.map(|at| at.0),
        })
    }
}

#[async_trait]
impl ProtectionRead for Unit {
    #[instrument(level = "debug", name = "store.protection.login_failures", skip_all)]
    async fn login_failures(&mut self, keys: &[Digest]) -> StoreResult<Vec<LoginFailures>> {
        let wanted: Vec<&[u8]> = keys.iter().map(Digest::as_slice).collect();
        let rows = login_failures::table
            .filter(login_failures::key.eq_any(wanted))
            .select(FailuresRow::as_select())
            .load(self.conn()?)
            .await;
        let mut found = vec![LoginFailures::default(); keys.len()];
        for row in self.checked(rows)? {
            if let Some(place) = keys.iter().position(|key| key.as_slice() == row.key) {
                found[place] = row.try_into()?;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl ProtectionWrite for Unit {
    #[instrument(level = "debug", name = "store.protection.lock_login_failures", skip_all)]
    async fn lock_login_failures(&mut self, key: &Digest, now: Timestamp) -> StoreResult<LoginFailures> {
        // An update that changes nothing locks the row and answers it, in one statement with the insert of the first
        // time: a row that is not there cannot be locked.
        let row = diesel::insert_into(login_failures::table)
            .values((
                login_failures::key.eq(key.as_slice()),
                login_failures::failures.eq(0),
                login_failures::last_failure_at.eq(At(now)),
            ))
            .on_conflict(login_failures::key)
            .do_update()
            .set(login_failures::failures.eq(login_failures::failures))
            .returning(FailuresRow::as_returning())
            .get_result(self.conn()?)
            .await;
        self.checked(row)?.try_into()
    }

    #[instrument(level = "debug", name = "store.protection.put_login_failures", skip_all)]
    async fn put_login_failures(&mut self, key: &Digest, failures: &LoginFailures) -> StoreResult<()> {
        let done = diesel::update(login_failures::table.find(key.as_slice()))
            .set((
                login_failures::failures.eq(i32::try_from(failures.failures).unwrap_or(i32::MAX)),
                login_failures::forgiven_at.eq(failures.forgiven_at.map(At)),
                login_failures::blocked_until.eq(failures.blocked_until.map(At)),
                login_failures::told_at.eq(failures.told_at.map(At)),
                failures
                    .last_failure_at
                    .map(|at| login_failures::last_failure_at.eq(At(at))),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }

    #[instrument(level = "debug", name = "store.protection.delete_login_failures", skip_all)]
    async fn delete_login_failures(&mut self, key: &Digest) -> StoreResult<bool> {
        let done = diesel::delete(login_failures::table.find(key.as_slice()))
            .execute(self.conn()?)
            .await;
        Ok(self.checked(done)? == 1)
    }

    #[instrument(level = "debug", name = "store.protection.purge_login_failures", skip_all)]
    async fn purge_login_failures(&mut self, before: Timestamp, now: Timestamp, limit: i64) -> StoreResult<usize> {
        let idle = login_failures::table
            .filter(login_failures::last_failure_at.lt(At(before)))
            .filter(
                login_failures::blocked_until
                    .is_null()
                    .or(login_failures::blocked_until.le(At(now))),
            )
            .order(login_failures::last_failure_at)
            .limit(limit)
            .select(login_failures::key);
        // What an attempt holds right now is not idle; and nobody waits for this in a circle.
        let keys = locked_or_skipped!(idle).load::<Vec<u8>>(self.conn_for_long()?).await;
        let keys = self.checked(keys)?;
        let done = diesel::delete(login_failures::table.filter(login_failures::key.eq_any(keys)))
            .execute(self.conn_for_long()?)
            .await;
        self.checked(done)
    }
}
