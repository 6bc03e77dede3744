//! Migrations on PostgreSQL. Two connections: one holds the lock in a transaction that does nothing else, so that not even
//! `CREATE INDEX CONCURRENTLY` waits for it, and the server lets go of it with the connection; the other runs the
//! statements, as simple queries, since only those are sent as they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::Timestamp;
use anteroom_domain::migrations::{Catalogue, Dialect, Past, Runner, Scope, SourceFile, Version};
use anteroom_ports::StoreResult;
use anteroom_ports::migrations::{
    Holder, MigrationDatabase, MigrationFault, MigrationResult, MigrationSession, OwnSchema, SqlFault, Waiting,
};
use async_trait::async_trait;
use include_dir::{Dir, include_dir};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::session::{CatalogueQuery, PostgresSession};
use crate::connector::{Connector, chain};
use crate::migrations::{DieselMigrations, Tables, catalogue, files, literal, parsed, past, pause};
use crate::store::{PostgresOptions, PostgresStore};

mod pooler;
mod session;

static MIGRATIONS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../../migrations/postgres");

const CATALOGUE: &str = include_str!("catalogue.sql");

/// How often who waits is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long the small things take at most: asking whether a lock is held, saying who holds it.
const SMALL_THINGS: Duration = Duration::from_secs(5);

/// What connections are set to: nothing ends a statement but its lock timeout.
const SETTINGS: [&str; 4] = [
    "statement_timeout = 0",
    "idle_in_transaction_session_timeout = 0",
    "client_min_messages = warning",
    "jit = off",
];

/// Ends what a client that is gone had begun, where the server knows how (PostgreSQL 14 and later).
const NOTICE_GONE_CLIENTS: &str = "client_connection_check_interval = '1s'";

/// Statements that set all of these; `how` is `SET` or `SET LOCAL`.
fn set(how: &str, settings: &[&str], lock_timeout: Duration) -> String {
    let mut sql = format!("{how} lock_timeout = {}", lock_timeout.as_millis());
    for setting in settings {
        sql = format!("{sql}; {how} {setting}");
    }
    sql
}

/// An identifier, as the shared statements answer it.
pub(crate) const ID_AS_TEXT: &str = "id::text";

/// A time as SQL.
pub(crate) fn time(time: Timestamp) -> String {
    literal(&time.to_string())
}

/// A time in microseconds since 1970.
pub(crate) fn micros_of(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000000)::bigint")
}

/// A row with these fields, and its identifier, as JSON.
pub(crate) fn row_of(fields: &str) -> String {
    format!("json_build_object('id', id, {fields})::text")
}

/// A database on a PostgreSQL server whose schema is changed.
pub struct PostgresMigrations {
    connector: Connector,
    scope: Scope,
    /// Set for one that was made to be thrown away.
    scratch: Option<String>,
}

impl OwnSchema for PostgresStore {
    fn schema(&self) -> Arc<dyn MigrationDatabase> {
        Arc::new(PostgresMigrations {
            connector: self.connector.clone(),
            scope: Scope::Own,
            scratch: None,
        })
    }

    fn own_migrations(&self) -> Vec<SourceFile> {
        files(&MIGRATIONS)
    }
}

/// The own schema's migrations for Diesel's harness: `connection.run_pending_migrations(diesel_migrations())`, on
/// any connection of Diesel's to PostgreSQL. What it has applied, the engine takes over.
pub fn diesel_migrations() -> DieselMigrations {
    DieselMigrations {
        files: files(&MIGRATIONS),
        dialect: Dialect::Postgres,
    }
}

impl PostgresMigrations {
    /// Reads the URL, as [`PostgresOptions::url`] is; connects to nothing.
    pub fn new(url: SecretString, scope: Scope) -> StoreResult<Self> {
        Ok(Self {
            connector: Connector::new(&PostgresOptions {
                acquire_timeout: Duration::from_secs(10),
                application_name: "anteroom migrate".into(),
                ..PostgresOptions::new(url)
            })?,
            scope,
            scratch: None,
        })
    }

    /// A connection, and the schema that the tables of this scope lie in, quoted.
    async fn connect(&self, connector: &Connector) -> MigrationResult<(Link, String)> {
        let away = |e: anteroom_ports::StoreError| MigrationFault::Away { reason: e.to_string() };
        let (client, _driver) = connector.connect_client().await.map_err(away)?;
        let link = Link { client };
        let schema = link
            .first("SELECT quote_ident(current_schema())")
            .await?
            .ok_or_else(|| {
                MigrationFault::Sql(SqlFault::new(
                    "no schema of the search path exists: make one (CREATE SCHEMA …) before its tables are migrated",
                ))
            })?;
        let tables = Tables::new(self.scope, Some(&schema));
        let diesel = link.diesel_versions(&schema).await?;
        let way_out = "give it a schema or a database of its own, and name the schema in the URL \
                       (?options=-csearch_path%3Dapp)";
        tables.refuse_own(&diesel, way_out)?;
        Ok((link, schema))
    }

    async fn looking(&self) -> MigrationResult<Looking> {
        let connecting = timeout(self.connector.patience, self.connect(&self.connector));
        let (link, schema) = connecting.await.map_err(|_| slow())??;
        Ok(Looking {
            tables: Tables::new(self.scope, Some(&schema)),
            schema,
            link,
            patience: self.connector.patience,
        })
    }

    fn catalogue_query(&self) -> String {
        CATALOGUE.replace(
            "$SCHEMAS",
            match self.scope {
                Scope::Own => "n.nspname = current_schema()",
                Scope::Application => {
                    "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM \
                     pg_class o WHERE o.relnamespace = n.oid AND (o.relname = '__anteroom_schema_history' OR \
                     (o.relname = '__anteroom_app_history' AND n.nspname <> current_schema())))"
                }
            },
        )
    }
}

fn slow() -> MigrationFault {
    MigrationFault::Away {
        reason: "the server did not answer in time".into(),
    }
}

/// A connection that only looks.
struct Looking {
    link: Link,
    tables: Tables,
    schema: String,
    patience: Duration,
}

impl Looking {
    /// What a query answers, if the table is there that it reads.
    async fn texts_of(&self, table: &str, sql: &str) -> MigrationResult<Vec<String>> {
        let asking = async {
            let there = format!("SELECT to_regclass({})::text", literal(table));
            match self.link.first(&there).await? {
                Some(_) => self.link.texts(sql).await,
                None => Ok(Vec::new()),
            }
        };
        timeout(self.patience, asking).await.unwrap_or_else(|_| Err(slow()))
    }
}

/// A connection, and what is asked on it.
struct Link {
    client: Client,
}

impl Link {
    /// The first column of every row, without NULLs.
    async fn texts(&self, sql: &str) -> MigrationResult<Vec<String>> {
        let messages = self.client.simple_query(sql).await.map_err(|e| fault(&e))?;
        let texts = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        });
        Ok(texts.collect())
    }

    async fn first(&self, sql: &str) -> MigrationResult<Option<String>> {
        Ok(self.texts(sql).await?.into_iter().next())
    }

    /// Whether the answer is yes.
    async fn yes(&self, sql: &str) -> MigrationResult<bool> {
        Ok(self.first(sql).await?.as_deref() == Some("t"))
    }

    /// Answers how many rows the last statement touched.
    async fn run(&self, sql: &str) -> MigrationResult<u64> {
        let messages = self.client.simple_query(sql).await.map_err(|e| fault(&e))?;
        let touched = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        Ok(touched.unwrap_or_default())
    }

    async fn catalogue(&self, sql: &str) -> MigrationResult<Catalogue> {
        let messages = self.client.simple_query(sql).await.map_err(|e| fault(&e))?;
        Ok(Catalogue::new(messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let text = |place: usize| row.get(place).unwrap_or_default().to_owned();
                Some((text(0), text(1)))
            }
            _ => None,
        })))
    }

    async fn diesel_versions(&self, schema: &str) -> MigrationResult<Vec<String>> {
        let table = format!("{schema}.__diesel_schema_migrations");
        let there = format!("SELECT to_regclass({})::text", literal(&table));
        match self.first(&there).await? {
            Some(_) => self.texts(&format!("SELECT version FROM {table}")).await,
            None => Ok(Vec::new()),
        }
    }
}

/// What an error means.
fn fault(error: &tokio_postgres::Error) -> MigrationFault {
    let Some(said) = error.as_db_error() else {
        return MigrationFault::Away {
            reason: format!("the connection was lost: {}", chain(error)),
        };
    };
    let code = said.code().code();
    let told = SqlFault {
        message: said.message().to_owned(),
        sqlstate: code.to_owned(),
        detail: said.detail().map(ToOwned::to_owned),
        hint: said.hint().map(ToOwned::to_owned),
        position: match said.position() {
            Some(ErrorPosition::Original(at)) => usize::try_from(*at).ok(),
            _ => None,
        },
    };
    match code {
        // lock_not_available and deadlock_detected.
        "55P03" | "40P01" => MigrationFault::LockTimeout(told),
        // active_sql_transaction and invalid_transaction_termination.
        "25001" | "2D000" => MigrationFault::NeedsNoTransaction(told),
        // The server is going away, or was told to end this connection.
        "57P01" | "57P02" | "57P03" => MigrationFault::Away {
            reason: told.to_string(),
        },
        _ => MigrationFault::Sql(told),
    }
}

#[async_trait]
impl MigrationDatabase for PostgresMigrations {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn describe(&self) -> String {
        self.connector.describe()
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.applied_versions", skip_all)]
    async fn applied_versions(&self) -> MigrationResult<Vec<Version>> {
        let looking = self.looking().await?;
        let tables = &looking.tables;
        parsed(&looking.texts_of(&tables.versions, &tables.select_versions()).await?)
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.past", skip_all)]
    async fn past(&self) -> MigrationResult<Past> {
        let looking = self.looking().await?;
        let tables = &looking.tables;
        let versions = looking.texts_of(&tables.versions, &tables.select_versions()).await?;
        past(
            &versions,
            &looking.texts_of(&tables.history, &tables.select_runs()).await?,
        )
    }

    async fn catalogue(&self) -> MigrationResult<Catalogue> {
        let read = limited(&self.catalogue_query(), self.connector.patience);
        self.looking().await?.link.catalogue(&read).await
    }

    async fn recorded_catalogue(&self) -> MigrationResult<Option<Catalogue>> {
        let looking = self.looking().await?;
        let tables = &looking.tables;
        catalogue(
            looking
                .texts_of(&tables.history, &tables.select_catalogue())
                .await?
                .first(),
        )
    }

    async fn estimated_rows(&self, table: &str) -> MigrationResult<Option<u64>> {
        // Not counted yet is -1.
        let sql = format!(
            "SELECT reltuples::bigint::text FROM pg_class WHERE oid = to_regclass({}) AND reltuples >= 0",
            literal(table)
        );
        let rows = self.looking().await?.link.first(&sql).await?;
        Ok(rows.and_then(|rows| rows.parse().ok()))
    }

    async fn diesel_versions(&self) -> MigrationResult<Vec<Version>> {
        if self.scope == Scope::Own {
            return Ok(Vec::new());
        }
        let looking = self.looking().await?;
        parsed(&looking.link.diesel_versions(&looking.schema).await?)
    }

    #[tracing::instrument(level = "debug", name = "store.migrations.lock", skip_all)]
    async fn lock(&self, runner: &Runner, waiting: &Waiting<'_>) -> MigrationResult<Box<dyn MigrationSession>> {
        let mut connector = self.connector.clone();
        let name = format!("anteroom migrate {}@{} {}", runner.user, runner.host, runner.pid);
        connector.config.application_name(name);
        let (lock, schema) = self.connect(&connector).await?;
        let bare = lock
            .first("SELECT coalesce(current_schema(), '')")
            .await?
            .unwrap_or_default();
        // One lock for each scope and schema, so that deployments that share a database do not wait for each other. The
        // own one is the lock that releases before the history take.
        let (key, running) = match self.scope {
            Scope::Own => (
                format!("anteroom migrations {bare}"),
                format!("anteroom migrations running {bare}"),
            ),
            Scope::Application => (
                format!("anteroom application migrations {bare}"),
                format!("anteroom application migrations running {bare}"),
            ),
        };
        let deadline = Instant::now() + waiting.patience;
        // READ COMMITTED: between its statements such a transaction has no snapshot that others would wait for.
        let version = lock.first("SHOW server_version_num").await?;
        let has_transaction_timeout = version
            .and_then(|version| version.parse().ok())
            .is_some_and(|v: u32| v >= 170_000);
        let mut no_timeouts = vec!["idle_in_transaction_session_timeout = 0"];
        if has_transaction_timeout {
            no_timeouts.push("transaction_timeout = 0");
        }
        let key = format!("hashtextextended({}, 0)", literal(&key));
        let no_timeouts = set("SET LOCAL", &no_timeouts, Duration::ZERO);
        let ask =
            format!("BEGIN ISOLATION LEVEL READ COMMITTED; {no_timeouts}; SELECT pg_try_advisory_xact_lock({key})");
        acquire((&lock, &ask, Some("ROLLBACK")), &lock, &key, deadline, waiting).await?;

        let (work, _) = self.connect(&connector).await?;
        let pooled = connector.pooler || pooler::stands_between(&work).await?;
        let mut settings = SETTINGS.to_vec();
        if has_transaction_timeout {
            settings.push("transaction_timeout = 0");
        }
        if pooled {
            tracing::warn!(event = "migration.pooler.found");
        } else {
            // Older servers know no such setting.
            if work.run(&format!("SET {NOTICE_GONE_CLIENTS}")).await.is_ok() {
                settings.push(NOTICE_GONE_CLIENTS);
            }
            work.run(&set("SET", &settings, Duration::ZERO)).await?;
            // A runner that was killed lets go of the first lock at once; what it had begun may still run.
            let key = format!("hashtextextended({}, 0)", literal(&running));
            let ask = format!("SELECT pg_try_advisory_lock({key})");
            acquire((&work, &ask, None), &lock, &key, deadline, waiting).await?;
        }
        let tables = Tables::new(self.scope, Some(&schema));
        let there = format!("SELECT to_regclass({})::text", literal(&tables.history));
        if work.first(&there).await?.is_none() {
            let id = "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY";
            for sql in tables.create(id, "bigint", "timestamptz") {
                work.run(&sql).await?;
            }
        }
        let process = work.first("SELECT pg_backend_pid()").await?;
        let role = work.first("SELECT current_user").await?.unwrap_or_default();
        let query = self.catalogue_query();
        let catalogue = if pooled {
            CatalogueQuery::Each(query)
        } else {
            CatalogueQuery::ToPlan(query)
        };
        Ok(Box::new(PostgresSession {
            connector,
            lock,
            work,
            tables,
            role,
            process: if pooled { None } else { process },
            pooled,
            settings,
            in_transaction: false,
            catalogue,
        }))
    }

    async fn scratch(&self) -> MigrationResult<Arc<dyn MigrationDatabase>> {
        let looking = self.looking().await?;
        // Always the same, so that who holds the lock removes what a killed repair left; but not what another role did, which
        // may not be removed.
        let of = literal(&format!("{:?} {} ", self.scope, looking.schema));
        let name = format!(
            "SELECT format('anteroom_scratch_%s_%s', oid, to_hex(hashtextextended({of} || current_user, 0))) FROM \
             pg_database WHERE datname = current_database()"
        );
        let name = looking.link.first(&name).await?.unwrap_or_default();
        looking.link.run(&drop_database(&name)).await?;
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        looking.link.run(&create).await.map_err(|fault| match fault {
            MigrationFault::Sql(mut said) => {
                said.hint = Some("the files are tried on a database that is made for it: ALTER ROLE … CREATEDB".into());
                MigrationFault::Sql(said)
            }
            other => other,
        })?;
        let mut connector = self.connector.clone();
        connector.config.dbname(&name);
        let made = Self {
            connector,
            scope: self.scope,
            scratch: Some(name),
        };
        let (client, _driver) = made
            .connector
            .connect_client()
            .await
            .map_err(|e| MigrationFault::Away { reason: e.to_string() })?;
        let schema = format!("CREATE SCHEMA IF NOT EXISTS {}", looking.schema);
        client.simple_query(&schema).await.map_err(|e| fault(&e))?;
        Ok(Arc::new(made))
    }

    async fn discard(&self) -> MigrationResult<()> {
        let Some(name) = &self.scratch else {
            return Ok(());
        };
        let mut connector = self.connector.clone();
        connector.config.dbname("postgres");
        let (client, _driver) = connector
            .connect_client()
            .await
            .map_err(|e| MigrationFault::Away { reason: e.to_string() })?;
        let drop = drop_database(name);
        client.simple_query(&drop).await.map_err(|e| fault(&e))?;
        Ok(())
    }
}

/// A question for the catalogue that waits so long for a lock: the server takes one of a table to tell its indexes,
/// constraints and defaults. What is sent at once is one transaction, which ends with an error as well.
fn limited(query: &str, patience: Duration) -> String {
    let ms = patience.as_millis();
    format!("SET LOCAL lock_timeout = {ms}; {query}")
}

fn drop_database(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
}

/// Asks for a lock until it is given: on the connection that is to hold it, with a question, and what ends the transaction
/// that the question began, if it did, between two tries. Of a pooler's connections, who waits keeps none. `looking` says
/// who holds it.
async fn acquire(
    (asking, ask, end): (&Link, &str, Option<&str>),
    looking: &Link,
    key: &str,
    deadline: Instant,
    waiting: &Waiting<'_>,
) -> MigrationResult<()> {
    let mut told: Option<Instant> = None;
    let mut tries = 0;
    loop {
        let asked = timeout(SMALL_THINGS, asking.yes(ask)).await;
        if asked.map_err(|_| slow())?? {
            return Ok(());
        }
        if let Some(end) = end {
            asking.run(end).await?;
        }
        let over = Instant::now() > deadline;
        if over || told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let holder = holder(looking, key).await?;
            if over {
                return Err(MigrationFault::Locked(holder));
            }
            // Whoever comes and goes within a moment is not worth a word.
            if told.is_some() {
                (waiting.told)(holder.as_ref());
            }
            told = Some(Instant::now());
        }
        tokio::time::sleep(pause(tries)).await;
        tries = tries.saturating_add(1);
    }
}

#[derive(Deserialize)]
struct HolderRow {
    who: String,
    since: Option<i64>,
    statement: Option<String>,
}

async fn holder(link: &Link, key: &str) -> MigrationResult<Option<Holder>> {
    let sql = format!(
        "SELECT json_build_object('who', a.application_name || ', as ' || coalesce(a.usename, '?') || coalesce(' from ' || \
         host(a.client_addr), '') || ', server process ' || a.pid, 'since', (extract(epoch FROM a.backend_start) * \
         1000000)::bigint, 'statement', (SELECT w.query FROM pg_stat_activity w WHERE w.application_name = \
         a.application_name AND w.datname = a.datname AND w.state <> 'idle' AND w.query NOT LIKE '%pg_try_advisory_xact%' \
         ORDER BY w.query_start DESC LIMIT 1))::text FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE \
         l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_database WHERE \
         datname = current_database()) AND l.classid = (({key} >> 32) & 4294967295)::oid AND l.objid = ({key} & \
         4294967295)::oid LIMIT 1"
    );
    let found = timeout(SMALL_THINGS, link.first(&sql)).await.map_err(|_| slow())??;
    let row = found.and_then(|json| serde_json::from_str::<HolderRow>(&json).ok());
    Ok(row.map(|row| Holder {
        who: row.who,
        since: row.since.and_then(|micros| Timestamp::from_microsecond(micros).ok()),
        statement: row.statement,
    }))
}
