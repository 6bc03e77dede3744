//! What was used beyond limits, and what of it was reported.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{OverageAccount, Owner};
use anteroom_ports::{OverageRead, OverageWrite, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel::{AsChangeset, ExpressionMethods as _, QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use super::owner;
use crate::backend::locked;
use crate::schema::overages;
use crate::types::{At, Id, text};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = overages, primary_key(owner_kind, owner_id, counter, window_start))]
struct OverageRow {
    owner_kind: String,
    owner_id: Id,
    counter: String,
    window_start: At,
    entitlement: String,
    plan: String,
    plan_version: i32,
    paid_from: i64,
    most: i64,
    reported: i64,
}

impl From<&OverageAccount> for OverageRow {
    fn from(account: &OverageAccount) -> Self {
        Self {
            owner_kind: account.owner.kind.as_str().to_owned(),
            owner_id: Id(account.owner.id),
            counter: text(&account.counter),
            window_start: At(account.window_start),
            entitlement: text(&account.key),
            plan: text(&account.plan),
            plan_version: account.plan_version,
            paid_from: account.paid_from,
            most: account.max,
            reported: account.reported,
        }
    }
}

impl TryFrom<OverageRow> for OverageAccount {
    type Error = StoreError;

    fn try_from(row: OverageRow) -> StoreResult<Self> {
        Ok(Self {
            owner: owner("overages.owner_kind", &row.owner_kind, row.owner_id)?,
            counter: row.counter,
            window_start: row.window_start.0,
            key: row.entitlement,
            plan: row.plan,
            plan_version: row.plan_version,
            paid_from: row.paid_from,
            max: row.most,
            reported: row.reported,
        })
    }
}

#[async_trait]
impl OverageRead for Unit {
    #[instrument(level = "debug", name = "store.billing.overages_of", skip_all)]
    async fn overages_of(&mut self, owner: Owner, since: Timestamp) -> StoreResult<Vec<OverageAccount>> {
        let rows = overages::table
            .filter(overages::owner_kind.eq(owner.kind.as_str()))
            .filter(overages::owner_id.eq(Id(owner.id)))
            .filter(overages::window_start.ge(At(since)))
            .order((overages::window_start, overages::counter))
            .select(OverageRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(OverageAccount::try_from).collect()
    }
}

#[async_trait]
impl OverageWrite for Unit {
    #[instrument(level = "debug", name = "store.billing.lock_overage", skip_all)]
    async fn lock_overage(&mut self, new: &OverageAccount) -> StoreResult<OverageAccount> {
        let row = OverageRow::from(new);
        let key = (
            row.owner_kind.clone(),
            row.owner_id,
            row.counter.clone(),
            row.window_start,
        );
        let done = diesel::insert_into(overages::table)
            .values(row)
            .on_conflict((
                overages::owner_kind,
                overages::owner_id,
                overages::counter,
                overages::window_start,
            ))
            .do_nothing()
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        let row = locked!(overages::table.find(key).select(OverageRow::as_select()))
            .first(self.conn()?)
            .await;
        self.checked(row)?.try_into()
    }

    #[instrument(level = "debug", name = "store.billing.put_overage", skip_all)]
    async fn put_overage(&mut self, account: &OverageAccount) -> StoreResult<()> {
        let row = OverageRow::from(account);
        let key = (
            row.owner_kind.clone(),
            row.owner_id,
            row.counter.clone(),
            row.window_start,
        );
        let done = diesel::update(overages::table.find(key))
            .set(&row)
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }
}
