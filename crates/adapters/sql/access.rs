//! API keys and their secrets.

use anteroom_domain::access::{ApiKey, BudgetWindow, KeyBudget, KeySecret, Scope};
use anteroom_domain::accounts::User;
use anteroom_domain::billing::NanoUsd;
use anteroom_domain::sessions::Change;
use anteroom_domain::{ApiKeyId, Timestamp, UserId};
use anteroom_ports::{AccessRead, AccessWrite, Digest, SessionsWrite as _, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use diesel::sql_types::{BigInt, Bool};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;
use uuid::Uuid;

use crate::accounts::UserRow;
use crate::backend::touch_api_keys;
use crate::schema::{api_key_secrets, api_keys, users};
use crate::types::{At, Id, SqlTime, text, unknown_word};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, treat_none_as_default_value = false)]
struct ApiKeyRow {
    id: Id,
    user_id: Id,
    name: String,
    hint: String,
    scopes: String,
    models: Option<String>,
    budget_nano_usd: Option<i64>,
    budget_window: Option<String>,
    requests_per_minute: Option<i32>,
    created_at: At,
    expires_at: Option<At>,
    last_used_at: Option<At>,
    rotated_at: Option<At>,
    overlap_until: Option<At>,
}

/// What may change of a key.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = api_keys, treat_none_as_null = true)]
struct ApiKeyChange {
    name: String,
    hint: String,
    scopes: String,
    models: Option<String>,
    budget_nano_usd: Option<i64>,
    budget_window: Option<String>,
    requests_per_minute: Option<i32>,
    expires_at: Option<At>,
    rotated_at: Option<At>,
    overlap_until: Option<At>,
}

impl ApiKeyRow {
    fn of(key: &ApiKey) -> StoreResult<Self> {
        let models = key.models.as_ref().map(|models| {
            let models: Vec<String> = models.iter().map(|model| text(model)).collect();
            serde_json::to_string(&models)
        });
        let corrupt = |reason: String| StoreError::Corrupt { reason };
        let rate = key.requests_per_minute.map(i32::try_from).transpose();
        Ok(Self {
            id: Id(key.id.0),
            user_id: Id(key.user_id.0),
            name: text(&key.name),
            hint: text(&key.hint),
            scopes: key.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "),
            models: models.transpose().map_err(|e| corrupt(e.to_string()))?,
            budget_nano_usd: key.budget.map(|budget| budget.limit.0),
            budget_window: key.budget.map(|budget| budget.window.as_str().to_owned()),
            requests_per_minute: rate.map_err(|e| corrupt(e.to_string()))?,
            created_at: At(key.created_at),
            expires_at: key.expires_at.map(At),
            last_used_at: key.last_used_at.map(At),
            rotated_at: key.rotated.map(|(at, _)| At(at)),
            overlap_until: key.rotated.map(|(_, until)| At(until)),
        })
    }
}

impl From<ApiKeyRow> for ApiKeyChange {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            name: row.name,
            hint: row.hint,
            scopes: row.scopes,
            models: row.models,
            budget_nano_usd: row.budget_nano_usd,
            budget_window: row.budget_window,
            requests_per_minute: row.requests_per_minute,
            expires_at: row.expires_at,
            rotated_at: row.rotated_at,
            overlap_until: row.overlap_until,
        }
    }
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = StoreError;

    fn try_from(row: ApiKeyRow) -> StoreResult<Self> {
        let models = row.models.as_deref().map(serde_json::from_str::<Vec<String>>);
        let models = models.transpose().map_err(|e| StoreError::Corrupt {
            reason: format!("api_keys.models: {e}"),
        })?;
        let window =
            |word: &String| BudgetWindow::parse(word).ok_or_else(|| unknown_word("api_keys.budget_window", word));
        let limit = row.budget_nano_usd.map(NanoUsd);
        let budget = limit.zip(row.budget_window.as_ref().map(window).transpose()?);
        // A scope that a newer version has written opens nothing here.
        let scopes = row.scopes.split(' ').filter_map(Scope::parse).collect();
        Ok(Self {
            id: ApiKeyId(row.id.0),
            user_id: UserId(row.user_id.0),
            name: row.name,
            hint: row.hint,
            scopes,
            models,
            budget: budget.map(|(limit, window)| KeyBudget { limit, window }),
            requests_per_minute: row.requests_per_minute.map(|n| u32::try_from(n).unwrap_or(0)),
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            last_used_at: row.last_used_at.map(|at| at.0),
            rotated: row.rotated_at.map(|at| at.0).zip(row.overlap_until.map(|at| at.0)),
        })
    }
}

#[async_trait]
impl AccessRead for Unit {
    #[instrument(level = "debug", name = "store.access.api_key_by_secret", skip_all)]
    async fn api_key_by_secret(&mut self, digest: &Digest) -> StoreResult<Option<(ApiKey, KeySecret, User)>> {
        let row = api_key_secrets::table
            .inner_join(api_keys::table.inner_join(users::table))
            .filter(api_key_secrets::digest.eq(digest.as_slice()))
            .select((ApiKeyRow::as_select(), api_key_secrets::ends_at, UserRow::as_select()))
            .first::<(ApiKeyRow, Option<At>, UserRow)>(self.conn()?)
            .await
            .optional();
        let Some((key, ends_at, user)) = self.checked(row)? else {
            return Ok(None);
        };
        let ends_at = ends_at.map(|at| at.0);
        Ok(Some((key.try_into()?, KeySecret { ends_at }, user.try_into()?)))
    }

    #[instrument(level = "debug", name = "store.access.api_key", skip_all)]
    async fn api_key(&mut self, user: UserId, id: ApiKeyId) -> StoreResult<Option<ApiKey>> {
        let row = api_keys::table
            .find(Id(id.0))
            .filter(api_keys::user_id.eq(Id(user.0)))
            .select(ApiKeyRow::as_select())
            .first(self.conn()?)
            .await
            .optional();
        self.checked(row)?.map(ApiKey::try_from).transpose()
    }

    #[instrument(level = "debug", name = "store.access.page_api_keys", skip_all)]
    async fn page_api_keys(&mut self, user: UserId, before: Option<ApiKeyId>, limit: i64) -> StoreResult<Vec<ApiKey>> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        let rows = api_keys::table
            .filter(api_keys::user_id.eq(Id(user.0)))
            .filter(api_keys::id.lt(Id(before)))
            .order(api_keys::id.desc())
            .limit(limit)
            .select(ApiKeyRow::as_select())
            .load(self.conn()?)
            .await;
        self.checked(rows)?.into_iter().map(ApiKey::try_from).collect()
    }

    #[instrument(level = "debug", name = "store.access.count_api_keys", skip_all)]
    async fn count_api_keys(&mut self, user: UserId, now: Timestamp) -> StoreResult<i64> {
        let live = api_keys::expires_at
            .is_null()
            .or(api_keys::expires_at.gt(Some(At(now))));
        let count = api_keys::table
            .filter(api_keys::user_id.eq(Id(user.0)))
            .filter(live)
            .count()
            .get_result(self.conn()?)
            .await;
        self.checked(count)
    }
}

impl Unit {
    async fn insert_secret(&mut self, key: ApiKeyId, digest: &Digest) -> StoreResult<()> {
        let done = diesel::insert_into(api_key_secrets::table)
            .values((
                api_key_secrets::key_id.eq(Id(key.0)),
                api_key_secrets::digest.eq(digest.as_slice()),
                api_key_secrets::ends_at.eq(None::<At>),
            ))
            .execute(self.conn()?)
            .await;
        self.checked(done).map(|_| ())
    }
}

#[async_trait]
impl AccessWrite for Unit {
    #[instrument(level = "debug", name = "store.access.insert_api_key", skip_all)]
    async fn insert_api_key(&mut self, key: &ApiKey, digest: &Digest) -> StoreResult<()> {
        let done = diesel::insert_into(api_keys::table)
            .values(ApiKeyRow::of(key)?)
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        self.insert_secret(key.id, digest).await
    }

    #[instrument(level = "debug", name = "store.access.update_api_key", skip_all)]
    async fn update_api_key(&mut self, key: &ApiKey) -> StoreResult<bool> {
        let change = ApiKeyChange::from(ApiKeyRow::of(key)?);
        let done = diesel::update(api_keys::table.find(Id(key.id.0)))
            .filter(api_keys::user_id.eq(Id(key.user_id.0)))
            .set(change)
            .execute(self.conn()?)
            .await;
        let changed = self.checked(done)? == 1;
        if changed {
            self.tell(&[Change::User(key.user_id)]).await?;
        }
        Ok(changed)
    }

    #[instrument(level = "debug", name = "store.access.rotate_api_key", skip_all)]
    async fn rotate_api_key(
        &mut self,
        key: &ApiKey,
        digest: &Digest,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> StoreResult<usize> {
        let secrets = || api_key_secrets::table.filter(api_key_secrets::key_id.eq(Id(key.id.0)));
        let later = api_key_secrets::ends_at
            .is_null()
            .or(api_key_secrets::ends_at.gt(Some(At(ends_at))));
        let done = diesel::update(secrets().filter(later))
            .set(api_key_secrets::ends_at.eq(Some(At(ends_at))))
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        let done = diesel::delete(secrets().filter(api_key_secrets::ends_at.le(Some(At(now)))))
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        self.insert_secret(key.id, digest).await?;
        let live = secrets().count().get_result::<i64>(self.conn()?).await;
        let live = self.checked(live)?;
        self.tell(&[Change::User(key.user_id)]).await?;
        Ok(usize::try_from(live).unwrap_or(usize::MAX))
    }

    #[instrument(level = "debug", name = "store.access.delete_api_key", skip_all)]
    async fn delete_api_key(&mut self, user: UserId, id: ApiKeyId) -> StoreResult<bool> {
        let done = diesel::delete(api_keys::table.find(Id(id.0)))
            .filter(api_keys::user_id.eq(Id(user.0)))
            .execute(self.conn()?)
            .await;
        let deleted = self.checked(done)? == 1;
        if deleted {
            self.tell(&[Change::User(user)]).await?;
        }
        Ok(deleted)
    }

    #[instrument(level = "debug", name = "store.access.touch_api_keys", skip_all)]
    async fn touch_api_keys(&mut self, used: &[(ApiKeyId, Timestamp)]) -> StoreResult<()> {
        if used.is_empty() {
            return Ok(());
        }
        // One time for each key, in one order, as for sessions.
        let mut rows: Vec<_> = used.iter().map(|(id, at)| (Id(id.0), At(*at))).collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        rows.dedup_by_key(|row| row.0);
        let done = touch_api_keys(self.conn_for_long()?, rows).await;
        self.checked(done)
    }

    #[instrument(level = "debug", name = "store.access.purge_api_keys", skip_all)]
    async fn purge_api_keys(&mut self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let oldest = diesel::dsl::sql::<Bool>("id IN (SELECT id FROM api_keys WHERE expires_at < ")
            .bind::<SqlTime, _>(At(before))
            .sql(" ORDER BY expires_at LIMIT ")
            .bind::<BigInt, _>(limit)
            .sql(")");
        let done = diesel::delete(api_keys::table)
            .filter(oldest)
            .execute(self.conn()?)
            .await;
        self.checked(done)
    }
}
