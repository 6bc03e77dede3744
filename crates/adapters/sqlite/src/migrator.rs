//! Migrations on SQLite. A file beside the database is locked, and the operating system lets go of it with the process;
//! who waits reads in it who has it. Foreign keys are off while a migration runs and are checked before it is committed,
//! as SQLite's own recipe for changing tables says (`lang_altertable.html`, section 7).

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::Timestamp;
use anteroom_domain::migrations::{Catalogue, Dialect, Past, Runner, Scope, SourceFile, Version, tokens};
use anteroom_ports::StoreError;
use anteroom_ports::migrations::{
    Holder, MigrationDatabase, MigrationFault, MigrationResult, MigrationSession, OwnSchema, SqlFault, Waiting,
};
use async_trait::async_trait;
use diesel::result::Error;
use diesel::sql_types::{Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl as _, SqliteConnection};
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use self::session::{Keys, SqliteSession};
use crate::backend::Connector;
use crate::migrations::{DieselMigrations, Tables, catalogue, files, literal, parsed, past, pause};
use crate::store::{SqliteStore, TemporaryDirectory};

mod session;

static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../../migrations/sqlite");

/// How often who waits is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// An identifier, as the shared statements answer it.
pub(crate) const ID_AS_TEXT: &str = "CAST(id AS TEXT) AS text";

/// A time as SQL.
pub(crate) fn time(time: Timestamp) -> String {
    time.as_microsecond().to_string()
}

/// A time in microseconds since 1970.
pub(crate) fn micros_of(column: &str) -> String {
    column.to_owned()
}

/// A row with these fields, and its identifier, as JSON.
pub(crate) fn row_of(fields: &str) -> String {
    format!("json_object('id', id, {fields}) AS text")
}

/// A SQLite file whose schema is changed.
pub struct SqliteMigrations {
    connector: Connector,
    scope: Scope,
    // Of one that was made to be thrown away.
    _scratch: Option<TemporaryDirectory>,
}

impl OwnSchema for SqliteStore {
    fn schema(&self) -> Arc<dyn MigrationDatabase> {
        Arc::new(SqliteMigrations {
            connector: self.connector.clone(),
            scope: Scope::Own,
            _scratch: None,
        })
    }

    fn own_migrations(&self) -> Vec<SourceFile> {
        files(&MIGRATIONS)
    }
}

/// The own schema's migrations for Diesel's harness: `connection.run_pending_migrations(diesel_migrations())`, on
/// a [`diesel::SqliteConnection`]. What it has applied, the engine takes over. `PRAGMA foreign_keys =
/// OFF` first: this SQLite has them on, and a table that is made anew would take with it what refers to it.
pub fn diesel_migrations() -> DieselMigrations {
    DieselMigrations {
        files: files(&MIGRATIONS),
        dialect: Dialect::Sqlite,
    }
}

impl SqliteMigrations {
    /// Of a file, which is made if it is not there; opens nothing.
    pub fn new(path: impl Into<PathBuf>, scope: Scope) -> Self {
        Self {
            connector: Connector {
                path: path.into(),
                patience: Duration::from_secs(10),
                writes: true,
                durable: true,
                runtime: Handle::current(),
                log: None,
            },
            scope,
            _scratch: None,
        }
    }

    /// Works on a connection where blocking is allowed. A file that is not there stays so.
    async fn looking<T: Send + Default + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection, &Tables) -> MigrationResult<T> + Send + 'static,
    ) -> MigrationResult<T> {
        let (connector, scope) = (self.connector.clone(), self.scope);
        blocking(&self.connector.runtime, move || {
            if !connector.path.exists() {
                return Ok(T::default());
            }
            let mut conn = open(&connector, scope, false)?;
            let tables = tables(&mut conn, scope)?;
            work(&mut conn, &tables)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> MigrationResult<T> + Send + 'static,
) -> MigrationResult<T> {
    let done = runtime.spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(away(format!("it did not end: {e}"))))
}

fn away(reason: impl Into<String>) -> MigrationFault {
    MigrationFault::Away { reason: reason.into() }
}

/// Opens the file. Of an application's nothing is changed but what its migrations change: not even how it keeps its log.
fn open(connector: &Connector, scope: Scope, writes: bool) -> MigrationResult<SqliteConnection> {
    let opened = match scope {
        Scope::Own => connector.open(),
        Scope::Application => connector.open_as_it_is(writes),
    };
    opened.map_err(|error| match error {
        StoreError::Unavailable { reason } => away(reason),
        other => away(other.to_string()),
    })
}

/// The tables of a scope, if it may be here.
fn tables(conn: &mut SqliteConnection, scope: Scope) -> MigrationResult<Tables> {
    let tables = Tables::new(scope, None);
    let versions = diesel_versions(conn)?;
    tables.refuse_own(&versions, "give the application a file of its own")?;
    Ok(tables)
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Nullable<Text>)]
    text: Option<String>,
}

/// The column `text` of every row, without NULLs.
fn texts(conn: &mut SqliteConnection, sql: &str) -> MigrationResult<Vec<String>> {
    let rows: Vec<TextRow> = diesel::sql_query(sql).load(conn).map_err(|e| fault(&e))?;
    Ok(rows.into_iter().filter_map(|row| row.text).collect())
}

fn has_table(conn: &mut SqliteConnection, name: &str) -> MigrationResult<bool> {
    let sql = format!(
        "SELECT name AS text FROM sqlite_schema WHERE type = 'table' AND name = {}",
        literal(name)
    );
    Ok(!texts(conn, &sql)?.is_empty())
}

fn diesel_versions(conn: &mut SqliteConnection) -> MigrationResult<Vec<String>> {
    if has_table(conn, "__diesel_schema_migrations")? {
        texts(conn, "SELECT version AS text FROM __diesel_schema_migrations")
    } else {
        Ok(Vec::new())
    }
}

fn versions(conn: &mut SqliteConnection, tables: &Tables) -> MigrationResult<Vec<String>> {
    if has_table(conn, &tables.versions)? {
        texts(
            conn,
            &tables.select_versions().replacen("version", "version AS text", 1),
        )
    } else {
        Ok(Vec::new())
    }
}

fn whole_past(conn: &mut SqliteConnection, tables: &Tables) -> MigrationResult<Past> {
    let versions = versions(conn, tables)?;
    let runs = if has_table(conn, &tables.history)? {
        texts(conn, &tables.select_runs())?
    } else {
        Vec::new()
    };
    past(&versions, &runs)
}

/// Answers how many rows it touched: what `changes()` says is the last statement's that touched any.
fn run(conn: &mut SqliteConnection, sql: &str) -> MigrationResult<u64> {
    let all = |conn: &mut SqliteConnection| {
        let count = texts(conn, "SELECT CAST(total_changes() AS TEXT) AS text")?;
        Ok::<u64, MigrationFault>(count.first().and_then(|count| count.parse().ok()).unwrap_or_default())
    };
    let before = all(conn)?;
    diesel::sql_query(sql).execute(conn).map_err(|e| fault(&e))?;
    Ok(all(conn)?.saturating_sub(before))
}

/// What an error means.
fn fault(error: &Error) -> MigrationFault {
    let message = match error {
        Error::DatabaseError(_, info) => info.message().to_owned(),
        other => other.to_string(),
    };
    let told = SqlFault::new(message);
    let says = |words: &str| told.message.contains(words);
    if says("database is locked") || says("database table is locked") || says("database schema is locked") {
        MigrationFault::LockTimeout(told)
    } else if says("within a transaction") || says("from within a transaction") {
        MigrationFault::NeedsNoTransaction(told)
    } else if says("disk I/O error") || says("database or disk is full") || says("unable to open database") {
        away(told.message)
    } else {
        MigrationFault::Sql(told)
    }
}

/// What has been read of objects' SQL, so that it is not read again after each migration.
type Known = HashMap<String, Vec<String>>;

/// What the file's schema consists of. A table's lines are what stands between its commas, so that one column more is one
/// line more.
fn whole_catalogue(conn: &mut SqliteConnection, known: &mut Known) -> MigrationResult<Catalogue> {
    let sql = "SELECT json_array(type, name, tbl_name, sql) AS text FROM sqlite_schema WHERE name NOT LIKE \
               '\\_\\_anteroom\\_%' ESCAPE '\\' AND tbl_name NOT LIKE '\\_\\_anteroom\\_%' ESCAPE '\\' AND tbl_name <> \
               '__diesel_schema_migrations' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut lines = Vec::new();
    for json in texts(conn, sql)? {
        let row: (String, String, String, Option<String>) =
            serde_json::from_str(&json).map_err(|e| MigrationFault::Corrupt { reason: e.to_string() })?;
        let (kind, name, table, sql) = row;
        let sql = sql.unwrap_or_default();
        let said = known.entry(sql).or_insert_with_key(|sql| {
            if kind == "table" {
                parts(sql)
            } else {
                vec![one_line(sql)]
            }
        });
        // Indexes and triggers belong to a table.
        let object = match kind.as_str() {
            "table" | "view" => format!("{kind} {name}"),
            _ => format!("table {table}"),
        };
        lines.push((object.clone(), String::new()));
        lines.extend(said.iter().map(|line| (object.clone(), line.clone())));
    }
    Ok(Catalogue::new(lines))
}

/// SQL in one line, without comments.
fn one_line(sql: &str) -> String {
    let found = tokens(sql, Dialect::Sqlite).unwrap_or_default();
    let words: Vec<&str> = found
        .iter()
        .filter(|token| token.counts())
        .map(|token| token.text)
        .collect();
    words.join(" ")
}

/// What a `CREATE TABLE` is made of: its columns and constraints, and what stands around their parentheses.
fn parts(sql: &str) -> Vec<String> {
    let found = tokens(sql, Dialect::Sqlite).unwrap_or_default();
    let mut parts = vec![Vec::new()];
    let mut depth = 0_usize;
    for token in found.iter().filter(|token| token.counts()) {
        let splits = match token.text {
            "(" => {
                depth += 1;
                depth == 1
            }
            ")" => {
                depth = depth.saturating_sub(1);
                depth == 0
            }
            "," => depth == 1,
            _ => false,
        };
        if splits {
            parts.push(Vec::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(token.text);
        }
    }
    // `CREATE TABLE name` is known already.
    let lines = parts.into_iter().skip(1).map(|words| words.join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

#[async_trait]
impl MigrationDatabase for SqliteMigrations {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn describe(&self) -> String {
        format!("SQLite file {}", self.connector.path.display())
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.applied_versions", skip_all)]
    async fn applied_versions(&self) -> MigrationResult<Vec<Version>> {
        self.looking(|conn, tables| parsed(&versions(conn, tables)?)).await
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.past", skip_all)]
    async fn past(&self) -> MigrationResult<Past> {
        self.looking(whole_past).await
    }

    async fn catalogue(&self) -> MigrationResult<Catalogue> {
        self.looking(|conn, _| whole_catalogue(conn, &mut Known::new())).await
    }

    async fn recorded_catalogue(&self) -> MigrationResult<Option<Catalogue>> {
        self.looking(|conn, tables| {
            if !has_table(conn, &tables.history)? {
                return Ok(None);
            }
            let sql = tables.select_catalogue().replacen("catalogue", "catalogue AS text", 1);
            catalogue(texts(conn, &sql)?.first())
        })
        .await
    }

    async fn estimated_rows(&self, table: &str) -> MigrationResult<Option<u64>> {
        let sql = format!("SELECT CAST(max(rowid) AS TEXT) AS text FROM {table}");
        // A view, or a table without rowids, is not counted.
        self.looking(move |conn, _| {
            Ok(texts(conn, &sql)
                .map(|rows| rows.first().and_then(|rows| rows.parse().ok()))
                .unwrap_or_default())
        })
        .await
    }

    async fn diesel_versions(&self) -> MigrationResult<Vec<Version>> {
        if self.scope == Scope::Own {
            return Ok(Vec::new());
        }
        self.looking(|conn, _| parsed(&diesel_versions(conn)?)).await
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.lock", skip_all)]
    async fn lock(&self, runner: &Runner, waiting: &Waiting<'_>) -> MigrationResult<Box<dyn MigrationSession>> {
        let file = self.locked(runner, waiting).await?;
        let (connector, scope) = (self.connector.clone(), self.scope);
        let (conn, tables) = blocking(&self.connector.runtime, move || {
            let mut conn = open(&connector, scope, true)?;
            let tables = tables(&mut conn, scope)?;
            if !has_table(&mut conn, &tables.history)? {
                for sql in tables.create("INTEGER PRIMARY KEY", "INTEGER", "INTEGER") {
                    run(&mut conn, &sql)?;
                }
            }
            Ok((conn, tables))
        })
        .await?;
        Ok(Box::new(SqliteSession {
            conn: Some(conn),
            runtime: self.connector.runtime.clone(),
            connector: self.connector.clone(),
            lock: file,
            tables,
            runner: runner.clone(),
            keys: Keys::default(),
            known: Known::new(),
        }))
    }

    async fn scratch(&self) -> MigrationResult<Arc<dyn MigrationDatabase>> {
        let directory = TemporaryDirectory::make().map_err(|e| away(e.to_string()))?;
        Ok(Arc::new(Self {
            connector: Connector {
                path: directory.0.join("scratch.db"),
                durable: false,
                ..self.connector.clone()
            },
            scope: self.scope,
            _scratch: Some(directory),
        }))
    }

    async fn discard(&self) -> MigrationResult<()> {
        // It goes with its directory.
        Ok(())
    }
}

/// What stands in the locked file.
#[derive(Serialize, Deserialize)]
struct Notice {
    who: String,
    since: Option<Timestamp>,
    statement: Option<String>,
}

impl SqliteMigrations {
    /// The locked file, which holds the lock as long as it is open.
    async fn locked(&self, runner: &Runner, waiting: &Waiting<'_>) -> MigrationResult<File> {
        let mut path = self.connector.path.clone().into_os_string();
        path.push(match self.scope {
            Scope::Own => ".migrate-lock",
            Scope::Application => ".app-migrate-lock",
        });
        let path = PathBuf::from(path);
        let failed = |e: std::io::Error| away(format!("cannot lock {}: {e}", path.display()));
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let deadline = Instant::now() + waiting.patience;
        let mut told: Option<Instant> = None;
        let mut asked = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(failed(e)),
                Err(TryLockError::WouldBlock) => {}
            }
            let over = Instant::now() > deadline;
            if over || told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                let holder = holder(&path);
                if over {
                    return Err(MigrationFault::Locked(holder));
                }
                // Whoever comes and goes within a moment is not worth a word.
                if told.is_some() {
                    (waiting.told)(holder.as_ref());
                }
                told = Some(Instant::now());
            }
            tokio::time::sleep(pause(asked)).await;
            asked = asked.saturating_add(1);
        }
        note(&mut file, runner, None).map_err(failed)?;
        Ok(file)
    }
}

fn holder(path: &Path) -> Option<Holder> {
    let notice: Notice = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(Holder {
        who: notice.who,
        since: notice.since,
        statement: notice.statement,
    })
}

/// Writes into the locked file who has it. Since when, the file's own time says.
fn note(file: &mut File, runner: &Runner, statement: Option<&str>) -> std::io::Result<()> {
    let mut before = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut before)?;
    let since = statement
        .and_then(|_| serde_json::from_slice::<Notice>(&before).ok()?.since)
        .or_else(|| Timestamp::try_from(file.metadata().ok()?.modified().ok()?).ok());
    let notice = Notice {
        who: runner.to_string(),
        since,
        statement: statement.map(ToOwned::to_owned),
    };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(&notice)?)
}
