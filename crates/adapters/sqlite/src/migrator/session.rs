//! The connection that runs migrations' statements.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use anteroom_domain::migrations::{Catalogue, Dialect, Past, Run, Runner, Scope, Version, Walk, tokens};
use anteroom_ports::migrations::{MigrationFault, MigrationResult, MigrationSession, Range, Settled, SqlFault};
use async_trait::async_trait;
use diesel::SqliteConnection;
use diesel::connection::SimpleConnection as _;
use diesel::result::Error;
use tokio::runtime::Handle;

use super::{Known, away, blocking, fault, note, open, run, texts, whole_catalogue, whole_past};
use crate::backend::Connector;
use crate::migrations::{Tables, range, walk_query};

pub(super) struct SqliteSession {
    /// Absent while a statement runs, and for good if that was never heard of again.
    pub(super) conn: Option<SqliteConnection>,
    pub(super) runtime: Handle,
    pub(super) connector: Connector,
    pub(super) lock: File,
    pub(super) tables: Tables,
    pub(super) runner: Runner,
    /// What the open transaction is checked for before it is committed.
    pub(super) keys: Keys,
    pub(super) known: Known,
}

/// How foreign keys are looked after in an open transaction.
#[derive(Default)]
pub(super) enum Keys {
    /// SQLite does.
    #[default]
    Enforced,
    /// They are off, and nothing was done that could break them.
    Untouched,
    /// They are off, and these were broken before.
    Broken(BTreeMap<String, usize>),
}

impl SqliteSession {
    async fn on<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut SqliteConnection, &Tables) -> MigrationResult<T> + Send + 'static,
    ) -> MigrationResult<T> {
        let mut conn = self.conn.take().ok_or_else(|| away("the connection is gone"))?;
        let tables = self.tables.clone();
        let (conn, done) = blocking(&self.runtime, move || {
            let done = work(&mut conn, &tables);
            Ok((conn, done))
        })
        .await?;
        self.conn = Some(conn);
        done
    }
}

/// Rows that refer to others that are not there: the table, the row and what it refers to.
fn broken_keys(conn: &mut SqliteConnection) -> MigrationResult<BTreeMap<String, usize>> {
    let sql = "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' refers to ' || \"parent\" AS text FROM \
               pragma_foreign_key_check";
    let mut broken = BTreeMap::new();
    for key in texts(conn, sql)? {
        *broken.entry(key).or_default() += 1;
    }
    Ok(broken)
}

/// Whether a statement may leave rows that refer to nothing: all but making things, and adding columns.
fn may_break_keys(sql: &str) -> bool {
    let found = tokens(sql, Dialect::Sqlite).unwrap_or_default();
    let mut words = found.iter().filter(|token| token.counts());
    match words.next() {
        Some(first) if first.is("CREATE") => found.iter().any(|token| token.is("SELECT")),
        Some(first) if first.is("ALTER") => !found.iter().any(|token| token.is("ADD")),
        _ => true,
    }
}

#[async_trait]
impl MigrationSession for SqliteSession {
    fn role(&self) -> &'static str {
        ""
    }

    async fn past(&mut self) -> MigrationResult<Past> {
        self.on(whole_past).await
    }

    async fn still_locked(&mut self) -> MigrationResult<()> {
        // The operating system takes it from nobody.
        Ok(())
    }

    async fn begin(&mut self, lock_timeout: Duration, rebuilds: bool) -> MigrationResult<()> {
        let mut settings = format!("PRAGMA busy_timeout = {}", lock_timeout.as_millis());
        if rebuilds {
            // Within a transaction it does nothing.
            settings.push_str("; PRAGMA foreign_keys = OFF");
        }
        self.on(move |conn, _| {
            conn.batch_execute(&settings).map_err(|e| fault(&e))?;
            conn.batch_execute("BEGIN IMMEDIATE").map_err(|e| fault(&e))
        })
        .await?;
        self.keys = if rebuilds { Keys::Untouched } else { Keys::Enforced };
        Ok(())
    }

    async fn execute(&mut self, sql: &str) -> MigrationResult<u64> {
        if matches!(self.keys, Keys::Untouched) && may_break_keys(sql) {
            self.keys = Keys::Broken(self.on(|conn, _| broken_keys(conn)).await?);
        }
        let sql = sql.to_owned();
        self.on(move |conn, _| run(conn, &sql)).await
    }

    async fn restore_settings(&mut self, lock_timeout: Duration) -> MigrationResult<()> {
        // Zero is for ever: as long as SQLite can count.
        let ms = match lock_timeout.as_millis() {
            0 => i32::MAX.unsigned_abs().into(),
            ms => ms,
        };
        let wait = format!("PRAGMA busy_timeout = {ms}; PRAGMA query_only = OFF");
        self.on(move |conn, _| conn.batch_execute(&wait).map_err(|e| fault(&e)))
            .await
    }

    async fn renew(&mut self) -> MigrationResult<()> {
        // What pragmas, temporary tables and attached files leave behind goes with the connection. Of the own schema's, which
        // keeps a log, the last that is closed moves the log into the file and waits for the disk: so it is not the last.
        // An application's may have locked the file for itself.
        let before = self.conn.take().filter(|_| self.tables.scope == Scope::Own);
        let (connector, scope) = (self.connector.clone(), self.tables.scope);
        let renewed = blocking(&self.runtime, move || {
            let renewed = open(&connector, scope, true);
            drop(before);
            renewed
        });
        self.conn = Some(renewed.await?);
        Ok(())
    }

    async fn limit_locks(&mut self, _sql: &str, lock_timeout: Duration) -> MigrationResult<()> {
        self.restore_settings(lock_timeout).await
    }

    async fn commit(&mut self) -> MigrationResult<()> {
        let keys = std::mem::take(&mut self.keys);
        self.on(move |conn, _| {
            let Keys::Broken(before) = keys else {
                return conn.batch_execute("COMMIT").map_err(|e| fault(&e));
            };
            // Rows of a table without rowids all read alike, so they are counted.
            let more = |(key, count): &(String, usize)| *count > before.get(key).copied().unwrap_or_default();
            let new: Vec<(String, usize)> = broken_keys(conn)?.into_iter().filter(more).collect();
            if let Some((first, _)) = new.first() {
                return Err(MigrationFault::Sql(SqlFault::new(format!(
                    "{} rows would refer to others that are no more, the first: {first}. Foreign keys are off while a \
                     migration runs, so nothing is deleted with what it refers to: delete it in the migration",
                    new.len()
                ))));
            }
            conn.batch_execute("COMMIT").map_err(|e| fault(&e))
        })
        .await
    }

    async fn rollback(&mut self) -> MigrationResult<()> {
        self.on(|conn, _| match conn.batch_execute("ROLLBACK") {
            // SQLite may have taken it back by itself.
            Err(Error::DatabaseError(_, info)) if info.message().contains("no transaction is active") => Ok(()),
            done => done.map_err(|e| fault(&e)),
        })
        .await
    }

    async fn write_run(&mut self, run: &Run, catalogue: Option<&Catalogue>) -> MigrationResult<i64> {
        let sql = self.tables.write_run(run, catalogue)?;
        // A migration may have set that nothing is written.
        self.on(|conn, _| conn.batch_execute("PRAGMA query_only = OFF").map_err(|e| fault(&e)))
            .await?;
        let forget = catalogue.is_some();
        let id = run.id;
        self.on(move |conn, tables| {
            let written = texts(conn, &sql)?.first().and_then(|id| id.parse().ok());
            let id: i64 = written.ok_or_else(|| MigrationFault::Corrupt {
                reason: format!("run {id} is not there"),
            })?;
            if forget {
                self::run(conn, &tables.forget_catalogues(id))?;
            }
            Ok(id)
        })
        .await
    }

    async fn mark(&mut self, version: &Version, applied: bool) -> MigrationResult<()> {
        let sql = self.tables.mark(version, applied);
        self.on(move |conn, _| run(conn, &sql).map(|_| ())).await
    }

    async fn catalogue(&mut self) -> MigrationResult<Catalogue> {
        let mut known = std::mem::take(&mut self.known);
        let (catalogue, known) = self
            .on(move |conn, _| {
                let catalogue = whole_catalogue(conn, &mut known)?;
                Ok((catalogue, known))
            })
            .await?;
        self.known = known;
        Ok(catalogue)
    }

    async fn settle(&mut self, _sql: &str, _begun: bool) -> MigrationResult<Settled> {
        // VACUUM, PRAGMA and the like may be run again.
        Ok(Settled::Ready)
    }

    async fn next_range(&mut self, walk: &Walk, after: Option<&str>, batch: u32) -> MigrationResult<Option<Range>> {
        let sql = walk_query(walk, after, batch, "quote", "json_array");
        let found = self
            .on(move |conn, _| Ok(texts(conn, &sql)?.into_iter().next()))
            .await?;
        range(found.as_deref())
    }

    async fn announce(&mut self, sql: &str) -> MigrationResult<()> {
        note(&mut self.lock, &self.runner, Some(sql)).map_err(|e| away(format!("cannot write to the lock's file: {e}")))
    }
}
