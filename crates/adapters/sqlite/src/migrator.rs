//! Brings the schema up, one process at a time: a file beside the database is locked, and the operating system lets go
//! of it with the process.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Instant;

use anteroom_ports::migrations::SchemaStatus;
use anteroom_ports::{Migrator, StoreError, StoreResult};
use async_trait::async_trait;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;
use diesel::{QueryableByName, RunQueryDsl as _, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::backend::{Connector, store_error};
use crate::migrations::{LOCK_PATIENCE, compare, down, pause, status, up};
use crate::store::SqliteStore;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../../migrations/sqlite");

#[async_trait]
impl Migrator for SqliteStore {
    #[tracing::instrument(level = "debug", name = "store.migrations.schema_status", skip_all)]
    async fn schema_status(&self) -> StoreResult<SchemaStatus> {
        self.blocking(|connector| {
            let mut conn = connector.open()?;
            // Asking Diesel would make its table.
            if has_versions(&mut conn)? {
                status(&mut conn, &MIGRATIONS)
            } else {
                compare::<Sqlite>(Vec::new(), &MIGRATIONS)
            }
        })
        .await
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.migrate_up", skip_all)]
    async fn migrate_up(&self) -> StoreResult<Vec<String>> {
        self.blocking(|connector| {
            let _lock = lock(connector)?;
            up(&mut connector.open()?, &MIGRATIONS)
        })
        .await
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.migrate_down", skip_all)]
    async fn migrate_down(&self) -> StoreResult<Option<String>> {
        self.blocking(|connector| {
            let _lock = lock(connector)?;
            down(&mut connector.open()?, &MIGRATIONS)
        })
        .await
    }
}

impl SqliteStore {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connector) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let connector = self.connector.clone();
        let runtime = connector.runtime.clone();
        let done = runtime.spawn_blocking(move || work(&connector)).await;
        done.map_err(|e| StoreError::Unavailable {
            reason: format!("the migration did not end: {e}"),
        })?
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn has_versions(conn: &mut SqliteConnection) -> StoreResult<bool> {
    let sql =
        "SELECT count(*) AS count FROM sqlite_schema WHERE type = 'table' AND name = '__diesel_schema_migrations'";
    let found = diesel::sql_query(sql).get_result::<Count>(conn).map_err(store_error)?;
    Ok(found.count > 0)
}

/// Holds the lock as long as the file is open.
fn lock(connector: &Connector) -> StoreResult<File> {
    let mut path = connector.path.clone().into_os_string();
    path.push(".migrate-lock");
    let failed = |e: std::io::Error| StoreError::Unavailable {
        reason: format!("cannot lock {}: {e}", path.display()),
    };
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(StoreError::Unavailable {
                    reason: "another process has been migrating for too long".into(),
                });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(pause()),
        }
    }
}
