//! Brings the schema up, one node at a time: an advisory lock is held by a connection of its own, and the server lets
//! go of it with that connection.

use std::time::Instant;

use anteroom_ports::migrations::SchemaStatus;
use anteroom_ports::{Migrator, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::Bool;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tokio::time::timeout;

use crate::backend::{store_error, unavailable};
use crate::migrations::{LOCK_PATIENCE, compare, down, pause, status, up};
use crate::store::PostgresStore;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../../migrations/postgres");

/// One lock for each schema, so that deployments that share a database do not wait for each other.
const LOCK: &str = "SELECT pg_try_advisory_lock(\
    hashtextextended('anteroom migrations ' || coalesce(current_schema(), ''), 0)) AS yes";

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

#[async_trait]
impl Migrator for PostgresStore {
    #[tracing::instrument(level = "debug", name = "store.migrations.schema_status", skip_all)]
    async fn schema_status(&self) -> StoreResult<SchemaStatus> {
        let (mut pg, _driver) = self.connector.connect_bare().await?;
        // Asking Diesel would make its table.
        let there = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS yes";
        if self.ask(&mut pg, there).await? {
            self.harnessed(pg, |harness| status(harness, &MIGRATIONS)).await
        } else {
            compare::<Pg>(Vec::new(), &MIGRATIONS)
        }
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.migrate_up", skip_all)]
    async fn migrate_up(&self) -> StoreResult<Vec<String>> {
        let pg = self.locked().await?;
        self.harnessed(pg, |harness| up(harness, &MIGRATIONS)).await
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.migrate_down", skip_all)]
    async fn migrate_down(&self) -> StoreResult<Option<String>> {
        let pg = self.locked().await?;
        self.harnessed(pg, |harness| down(harness, &MIGRATIONS)).await
    }
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

impl PostgresStore {
    async fn ask(&self, pg: &mut AsyncPgConnection, sql: &str) -> StoreResult<bool> {
        let asking = diesel::sql_query(sql).get_result::<Answer>(pg);
        let answer = timeout(self.connector.patience, asking)
            .await
            .map_err(|_| unavailable("the server did not answer in time"))?;
        Ok(answer.map_err(store_error)?.yes)
    }

    /// A connection that holds the lock until it is closed. Asked for again and again rather than waited for: a waiting
    /// statement has a snapshot, and `CREATE INDEX CONCURRENTLY` in a migration would wait for that one in turn.
    async fn locked(&self) -> StoreResult<AsyncPgConnection> {
        let (mut pg, _driver) = self.connector.connect_bare().await?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while !self.ask(&mut pg, LOCK).await? {
            if Instant::now() > deadline {
                return Err(StoreError::Unavailable {
                    reason: "another node has been migrating for too long".into(),
                });
            }
            tokio::time::sleep(pause()).await;
        }
        Ok(pg)
    }

    /// Runs Diesel's migrations, which block, where blocking is allowed.
    async fn harnessed<T: Send + 'static>(
        &self,
        pg: AsyncPgConnection,
        work: impl FnOnce(&mut Harness) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let running = self
            .connector
            .runtime
            .spawn_blocking(move || work(&mut AsyncMigrationHarness::new(pg)));
        running.await.map_err(|e| StoreError::Unavailable {
            reason: format!("the migration did not end: {e}"),
        })?
    }
}
