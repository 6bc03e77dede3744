//! Aliases of models that admins have stored.

use anteroom_domain::AliasVersion;
use anteroom_domain::chat::{ModelAlias, StoredAlias};
use anteroom_domain::sessions::Change;
use anteroom_ports::{ModelsRead, ModelsWrite, SessionsWrite as _, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use diesel::{QueryDsl as _, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use tracing::instrument;

use crate::backend::lock_name;
use crate::schema::model_aliases;
use crate::types::{At, Id};
use crate::unit::Unit;

#[derive(Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = model_aliases)]
struct AliasRow {
    name: String,
    version: Id,
    enabled: bool,
    definition: String,
    created_at: At,
    updated_at: At,
}

impl From<AliasRow> for StoredAlias {
    fn from(row: AliasRow) -> Self {
        let alias = serde_json::from_str::<ModelAlias>(&row.definition).map_err(|e| e.to_string());
        Self {
            // The row's name is what it is found by.
            alias: alias.map(|alias| ModelAlias {
                name: row.name.clone(),
                ..alias
            }),
            name: row.name,
            version: AliasVersion(row.version.0),
            enabled: row.enabled,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

#[async_trait]
impl ModelsRead for Unit {
    #[instrument(level = "debug", name = "store.chat.stored_aliases", skip_all)]
    async fn stored_aliases(&mut self) -> StoreResult<Vec<StoredAlias>> {
        let rows = model_aliases::table
            .select(AliasRow::as_select())
            .load::<AliasRow>(self.conn()?)
            .await;
        let mut aliases: Vec<StoredAlias> = self.checked(rows)?.into_iter().map(Into::into).collect();
        // Databases differ in how they sort texts.
        aliases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(aliases)
    }
}

#[async_trait]
impl ModelsWrite for Unit {
    #[instrument(level = "debug", name = "store.chat.lock_stored_aliases", skip_all)]
    async fn lock_stored_aliases(&mut self) -> StoreResult<Vec<StoredAlias>> {
        // There may be no row yet that could be locked.
        let done = lock_name(self.conn()?, "model_aliases").await;
        self.checked(done)?;
        self.stored_aliases().await
    }

    #[instrument(level = "debug", name = "store.chat.put_stored_alias", skip_all)]
    async fn put_stored_alias(&mut self, stored: &StoredAlias) -> StoreResult<()> {
        let corrupt = |reason: String| StoreError::Corrupt { reason };
        let alias = stored.alias.as_ref().map_err(|reason| corrupt(reason.clone()))?;
        let definition = serde_json::to_string(alias).map_err(|e| corrupt(e.to_string()))?;
        let row = AliasRow {
            name: stored.name.clone(),
            version: Id(stored.version.0),
            enabled: stored.enabled,
            definition,
            created_at: At(stored.created_at),
            updated_at: At(stored.updated_at),
        };
        let done = diesel::insert_into(model_aliases::table)
            .values(&row)
            .on_conflict(model_aliases::name)
            .do_update()
            .set(&row)
            .execute(self.conn()?)
            .await;
        self.checked(done)?;
        self.tell(&[Change::Models]).await
    }

    #[instrument(level = "debug", name = "store.chat.delete_stored_alias", skip_all)]
    async fn delete_stored_alias(&mut self, name: &str) -> StoreResult<bool> {
        let done = diesel::delete(model_aliases::table.find(name))
            .execute(self.conn()?)
            .await;
        let deleted = self.checked(done)? == 1;
        if deleted {
            self.tell(&[Change::Models]).await?;
        }
        Ok(deleted)
    }
}
