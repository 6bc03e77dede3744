//! What a connection is on SQLite, how ids and times are stored, and what its errors mean.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anteroom_domain::Timestamp;
use anteroom_ports::{Durability, StoreError, StoreResult};
use diesel::backend::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::deserialize::{self, FromSql};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Bool, Text};
use diesel::sqlite::Sqlite;
use diesel::{Connection as _, ExpressionMethods as _, QueryDsl as _, QueryResult, SqliteConnection};
use diesel_async::SimpleAsyncConnection as _;
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio::runtime::Handle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::billing::{CreditEntryRow, HeldRow, InsertUsage, ReservationRow, UsageRow};
use crate::kept::kept;
use crate::log::{self, Log};
use crate::schema::{api_keys, credit_entries, reservations, sessions, usage_events};
use crate::types::{At, Id, SqlId, SqlTime};

/// What queries run on.
pub(crate) type Link = SyncConnectionWrapper<SqliteConnection, Runner>;

/// Runs statements where they cost least.
///
/// Most touch a few pages in memory and are over in microseconds: they run where they are, since handing them to
/// another thread and waiting for it takes several times as long. What waits for the disk or touches many rows runs on
/// the runtime's threads for blocking work.
///
/// There, diesel-async's own way would wait in a destructor for a statement whose future was dropped, which panics on a
/// current-thread runtime. A statement cannot be stopped anyway: it runs to its end by itself, and whatever comes next
/// on the connection waits for the lock that it holds.
pub(crate) struct Runner {
    runtime: Handle,
    long: Arc<AtomicBool>,
}

impl SpawnBlocking for Runner {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn StdError + Send + Sync + 'static>>>
    where
        R: Send + 'static,
    {
        if self.long.load(Ordering::Relaxed) {
            let running = self.runtime.spawn_blocking(task);
            async move { running.await.map_err(Box::from) }.boxed()
        } else {
            ready(Ok(task())).boxed()
        }
    }

    fn get_runtime() -> Self {
        Self {
            runtime: Handle::current(),
            long: Arc::default(),
        }
    }
}

/// Makes connections.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub(crate) path: PathBuf,
    /// How long one waits for another process that writes.
    pub(crate) patience: Duration,
    pub(crate) writes: bool,
    /// Whether the file outlives a power cut; not so for a temporary one.
    pub(crate) durable: bool,
    pub(crate) runtime: Handle,
    /// The log that connections write to, where they do.
    pub(crate) log: Option<Arc<Log>>,
}

impl Connector {
    pub(crate) async fn connect(&self) -> StoreResult<Conn> {
        let options = self.clone();
        let opened = self.runtime.spawn_blocking(move || {
            let mut conn = options.open()?;
            if options.writes {
                // `Conn::begin` waits for other writers, without a thread; once it has the lock there are none. Waiting
                // for the disk and moving the log are `Log`'s.
                let settings = "PRAGMA busy_timeout = 0; PRAGMA wal_autocheckpoint = 0";
                conn.batch_execute(settings).map_err(store_error)?;
            }
            if options.log.is_some() {
                conn.batch_execute("PRAGMA synchronous = NORMAL").map_err(store_error)?;
            }
            Ok(conn)
        });
        let conn = opened.await.map_err(|_| StoreError::Unavailable {
            reason: "the runtime is shutting down".into(),
        })??;
        let long: Arc<AtomicBool> = Arc::default();
        let runner = Runner {
            runtime: self.runtime.clone(),
            long: long.clone(),
        };
        Ok(Conn {
            link: SyncConnectionWrapper::with_runtime(conn, runner),
            long,
            patience: self.patience,
            log: self.log.clone(),
            waits_for_disk: false,
        })
    }

    /// Opens a file that is somebody else's: nothing of it is set, and foreign keys are enforced.
    pub(crate) fn open_as_it_is(&self, writes: bool) -> StoreResult<SqliteConnection> {
        let mut conn = self.establish(if writes { "" } else { "?mode=ro" })?;
        let wait = self.patience.as_millis();
        conn.batch_execute(&format!("PRAGMA busy_timeout = {wait}; PRAGMA foreign_keys = ON"))
            .map_err(store_error)?;
        Ok(conn)
    }

    fn establish(&self, parameters: &str) -> StoreResult<SqliteConnection> {
        let path = self.path.to_str().ok_or_else(|| StoreError::Unavailable {
            reason: "the database's path is not UTF-8".into(),
        })?;
        // A URI, since a bare name with odd characters would be taken for one.
        let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        SqliteConnection::establish(&format!("file:{escaped}{parameters}")).map_err(|e| StoreError::Unavailable {
            reason: format!("cannot open the database: {e}"),
        })
    }

    /// Opens the file and sets what holds for a connection.
    pub(crate) fn open(&self) -> StoreResult<SqliteConnection> {
        let mut conn = self.establish("")?;
        let synchronous = if self.durable { "FULL" } else { "OFF" };
        let settings = [
            format!("busy_timeout = {}", self.patience.as_millis()),
            "journal_mode = WAL".into(),
            format!("synchronous = {synchronous}"),
            format!("journal_size_limit = {}", log::KEEP_BYTES),
            "foreign_keys = ON".into(),
            // Temporary indexes and the like never need the disk.
            "temp_store = MEMORY".into(),
            format!("query_only = {}", if self.writes { "OFF" } else { "ON" }),
        ];
        for setting in settings {
            conn.batch_execute(&format!("PRAGMA {setting}")).map_err(store_error)?;
        }
        Ok(conn)
    }
}

/// A connection.
pub(crate) struct Conn {
    link: Link,
    /// Whether the next statement may take long.
    long: Arc<AtomicBool>,
    patience: Duration,
    log: Option<Arc<Log>>,
    /// Whether the open transaction is to outlive a power cut.
    waits_for_disk: bool,
}

impl Conn {
    /// For a statement that touches a few rows.
    pub(crate) fn link(&mut self) -> &mut Link {
        self.long.store(false, Ordering::Relaxed);
        &mut self.link
    }

    /// For a statement that may touch many rows, or waits for the disk.
    pub(crate) fn link_for_long(&mut self) -> &mut Link {
        self.long.store(true, Ordering::Relaxed);
        &mut self.link
    }

    /// A file has no other side that could have gone away.
    #[expect(clippy::unused_async, reason = "the other database has to ask")]
    pub(crate) async fn alive(&mut self) -> bool {
        true
    }

    /// Takes the write lock.
    pub(crate) async fn begin(&mut self, durability: Durability) -> QueryResult<()> {
        self.waits_for_disk = durability == Durability::Full;
        let deadline = Instant::now() + self.patience;
        loop {
            match self.link().batch_execute("BEGIN IMMEDIATE").await {
                // Another process writes.
                Err(error) if is_locked(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                done => return done,
            }
        }
    }

    /// Makes an open transaction permanent, as far as that goes with the write lock held: what is answered is what is to
    /// be waited for once it has been let go.
    pub(crate) async fn commit(&mut self) -> QueryResult<Safe> {
        self.link().batch_execute("COMMIT").await?;
        let Some(log) = self.log.clone() else {
            return Ok(Safe(None));
        };
        let number = log.committed(self.link()).await;
        Ok(Safe(self.waits_for_disk.then_some((log, number))))
    }

    /// Takes an open transaction back. `false` if the connection must not be used again.
    pub(crate) async fn undo(&mut self, cut_off: bool) -> bool {
        // A statement that was cut off still runs; wait for it elsewhere.
        let link = if cut_off { self.link_for_long() } else { self.link() };
        match link.batch_execute("ROLLBACK").await {
            Ok(()) => true,
            // A COMMIT whose future was dropped ran to its end, or SQLite took the transaction back by itself.
            Err(Error::DatabaseError(_, info)) => info.message().contains("no transaction is active"),
            Err(_) => false,
        }
    }
}

/// When a commit is safe.
#[must_use = "what was committed may not be safe yet"]
pub(crate) struct Safe(Option<(Arc<Log>, u64)>);

impl Safe {
    /// Returns when it is, as safe as was asked for.
    pub(crate) async fn wait(self) -> StoreResult<()> {
        match self.0 {
            Some((log, number)) => log.safe(number).await,
            None => Ok(()),
        }
    }
}

fn is_locked(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, info) if info.message().contains("locked"))
}

/// A lock on a row that was read: the write lock covers everything.
macro_rules! locked {
    ($query:expr) => {
        $query
    };
}
pub(crate) use locked;
pub(crate) use locked as locked_or_skipped;

/// Whether there is a table.
pub(crate) async fn has_table(link: &mut Link, name: &str) -> QueryResult<bool> {
    use diesel_async::RunQueryDsl as _;
    let found = "EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ";
    let found = diesel::dsl::sql::<Bool>(found).bind::<Text, _>(name);
    diesel::select(found.sql(")")).get_result(link).await
}

/// A lock on a name: the write lock covers everything.
pub(crate) async fn lock_name(_link: &mut Link, _name: &str) -> QueryResult<()> {
    Ok(())
}

/// The identifier that stands for none where there has to be one.
pub(crate) const NO_ID: &str = "zeroblob(16)";

/// When the day in UTC began that a call ended on.
pub(crate) const UTC_DAY: &str = "created_at - created_at % 86400000000";

/// When the month in UTC began that a time lies in.
pub(crate) fn utc_month(column: &str) -> String {
    format!("CAST(strftime('%s', {column} / 1000000, 'unixepoch', 'start of month') AS INTEGER) * 1000000")
}

/// Keeps others from adding usage until the unit ends: the write lock does.
pub(crate) async fn lock_usage_days(_link: &mut Link) -> QueryResult<()> {
    Ok(())
}

/// Moves sessions' `last_seen_at` forward.
pub(crate) async fn touch(link: &mut Link, seen: Vec<(Id, At)>) -> QueryResult<()> {
    link.spawn_blocking(move |conn| {
        use diesel::RunQueryDsl as _;
        for (id, at) in seen {
            diesel::update(sessions::table.find(id))
                .filter(sessions::last_seen_at.lt(at))
                .set(sessions::last_seen_at.eq(at))
                .execute(conn)?;
        }
        Ok(())
    })
    .await
}

/// Moves API keys' `last_used_at` forward.
pub(crate) async fn touch_api_keys(link: &mut Link, used: Vec<(Id, At)>) -> QueryResult<()> {
    link.spawn_blocking(move |conn| {
        use diesel::{BoolExpressionMethods as _, RunQueryDsl as _};
        for (id, at) in used {
            let earlier = api_keys::last_used_at.is_null().or(api_keys::last_used_at.lt(Some(at)));
            diesel::update(api_keys::table.find(id))
                .filter(earlier)
                .set(api_keys::last_used_at.eq(Some(at)))
                .execute(conn)?;
        }
        Ok(())
    })
    .await
}

/// Inserts holds of reservations, one statement each, which stays prepared.
pub(crate) async fn insert_holds(link: &mut Link, rows: Vec<ReservationRow>) -> QueryResult<()> {
    link.spawn_blocking(move |conn| {
        use diesel::RunQueryDsl as _;
        for row in rows {
            diesel::insert_into(reservations::table).values(row).execute(conn)?;
        }
        Ok(())
    })
    .await
}

/// Adds lines to ledgers of credits.
pub(crate) async fn insert_credit_entries(link: &mut Link, rows: Vec<CreditEntryRow>) -> QueryResult<()> {
    link.spawn_blocking(move |conn| {
        use diesel::RunQueryDsl as _;
        for row in rows {
            diesel::insert_into(credit_entries::table).values(row).execute(conn)?;
        }
        Ok(())
    })
    .await
}

/// Deletes holds of reservations. Answers what they held.
pub(crate) async fn delete_holds(link: &mut Link, ids: Vec<Id>) -> QueryResult<Vec<HeldRow>> {
    link.spawn_blocking(move |conn| {
        use diesel::RunQueryDsl as _;
        use diesel::SelectableHelper as _;
        diesel::delete(reservations::table.filter(reservations::id.eq_any(ids)))
            .returning(HeldRow::as_returning())
            .get_results(conn)
    })
    .await
}

/// Inserts usage of calls that are not booked yet, one statement each, which stays prepared. Answers which were not.
pub(crate) async fn insert_usage(link: &mut Link, rows: Vec<UsageRow>) -> QueryResult<HashSet<Uuid>> {
    link.spawn_blocking(move |conn| {
        use diesel::RunQueryDsl as _;
        let mut new = HashSet::with_capacity(rows.len());
        for row in rows {
            let id = row.request_id.0;
            let booked = diesel::insert_into(usage_events::table)
                .values(row)
                .on_conflict(usage_events::request_id)
                .do_nothing();
            if kept::<InsertUsage, _>(booked).execute(conn)? == 1 {
                new.insert(id);
            }
        }
        Ok(new)
    })
    .await
}

/// So many seconds ago, by the database's clock.
pub(crate) fn long_ago(seconds: u32) -> String {
    format!("CAST((unixepoch('subsec') - {seconds}) * 1000000 AS INTEGER)")
}

/// Tells all nodes, which read it.
pub(crate) async fn tell(link: &mut Link, messages: Vec<String>) -> QueryResult<()> {
    link.spawn_blocking(move |conn| {
        use diesel::RunQueryDsl as _;
        let insert = format!(
            "INSERT INTO broadcasts (id, message, created_at) VALUES (randomblob(16), ?, {})",
            long_ago(0)
        );
        for message in messages {
            diesel::sql_query(&insert).bind::<Text, _>(message).execute(conn)?;
        }
        Ok(())
    })
    .await
}

impl ToSql<SqlId, Sqlite> for Id {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_bytes().as_slice());
        Ok(IsNull::No)
    }
}

impl FromSql<SqlId, Sqlite> for Id {
    fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(bytes)?;
        Ok(Self(Uuid::from_slice(&bytes)?))
    }
}

impl ToSql<SqlTime, Sqlite> for At {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_microsecond());
        Ok(IsNull::No)
    }
}

impl FromSql<SqlTime, Sqlite> for At {
    fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let micros = <i64 as FromSql<BigInt, Sqlite>>::from_sql(bytes)?;
        Ok(Self(Timestamp::from_microsecond(micros)?))
    }
}

/// What an error of Diesel or SQLite means to the services.
pub(crate) fn store_error(error: Error) -> StoreError {
    use DatabaseErrorKind as Kind;
    match error {
        Error::DatabaseError(Kind::UniqueViolation, info) => StoreError::Conflict {
            constraint: unique_constraint(info.message()),
        },
        // SQLite does not say which.
        Error::DatabaseError(Kind::ForeignKeyViolation, _) => StoreError::Conflict {
            constraint: "foreign_key".into(),
        },
        // "CHECK constraint failed: sessions_end_check"
        Error::DatabaseError(Kind::CheckViolation, info) => StoreError::Conflict {
            constraint: info.message().rsplit(": ").next().unwrap_or_default().to_owned(),
        },
        Error::DatabaseError(_, info) => {
            let reason = info.message().to_owned();
            if ["no such column", "no such table"]
                .iter()
                .any(|sign| reason.contains(sign))
            {
                StoreError::SchemaNotCurrent { reason }
            } else if ["malformed", "not a database", "no such"]
                .iter()
                .any(|sign| reason.contains(sign))
            {
                StoreError::Corrupt { reason }
            } else {
                StoreError::Unavailable { reason }
            }
        }
        other => StoreError::Corrupt {
            reason: other.to_string(),
        },
    }
}

/// Makes the constraint's name from what SQLite says: `UNIQUE constraint failed: users.email_folded`.
fn unique_constraint(message: &str) -> String {
    let columns: Vec<(&str, &str)> = message
        .rsplit(": ")
        .next()
        .unwrap_or_default()
        .split(", ")
        .filter_map(|column| column.split_once('.'))
        .collect();
    let Some((table, _)) = columns.first() else {
        return message.to_owned();
    };
    let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
    match names.as_slice() {
        ["id" | "user_id" | "request_id" | "name" | "kid"]
        | ["provider", _]
        | ["id", "meter"]
        | ["user_id", "key"]
        | ["owner_kind", ..] => format!("{table}_pkey"),
        names => format!("{table}_{}_key", names.join("_")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_named_as_on_postgresql() {
        for (message, name) in [
            ("UNIQUE constraint failed: users.email_folded", "users_email_folded_key"),
            ("UNIQUE constraint failed: users.id", "users_pkey"),
            (
                "UNIQUE constraint failed: subscriptions.provider, subscriptions.provider_id",
                "subscriptions_pkey",
            ),
            ("UNIQUE constraint failed: t.a, t.b", "t_a_b_key"),
            ("odd", "odd"),
        ] {
            assert_eq!(unique_constraint(message), name);
        }
    }

    #[test]
    fn a_full_or_locked_disk_passes_and_a_broken_file_does_not() {
        let meant = |message: &str| {
            let info = Box::new(message.to_owned());
            store_error(Error::DatabaseError(DatabaseErrorKind::Unknown, info))
        };
        for message in ["database or disk is full", "disk I/O error", "database is locked"] {
            assert!(matches!(meant(message), StoreError::Unavailable { .. }), "{message}");
        }
        for message in ["database disk image is malformed", "file is not a database"] {
            assert!(matches!(meant(message), StoreError::Corrupt { .. }), "{message}");
        }
        for message in ["no such table: users", "no such column: users.name"] {
            assert!(
                matches!(meant(message), StoreError::SchemaNotCurrent { .. }),
                "{message}"
            );
        }
    }
}
