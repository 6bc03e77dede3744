//! What a connection is on PostgreSQL, how ids and times are stored, and what its errors mean.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use anteroom_domain::Timestamp;
use anteroom_ports::{Durability, StoreError, StoreResult};
use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Array, Bool, Text};
use diesel::{ExpressionMethods as _, QueryDsl as _, QueryResult, SelectableHelper as _};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::billing::{CreditEntryRow, HeldRow, InsertUsage, ReservationRow, UsageRow};
use crate::connector::Tls;
use crate::kept::kept;
use crate::schema::{credit_entries, reservations, usage_events};
use crate::types::{At, Id, SqlId, SqlTime};

pub(crate) use crate::connector::Connector;

/// A connection that lay idle for longer is asked whether it still stands: a firewall may have forgotten it without
/// telling either side.
const PRESUMED_ALIVE: Duration = Duration::from_secs(30);

/// How long the small things take at most: asking whether a connection stands, stopping a statement, rolling back.
const SMALL_THINGS: Duration = Duration::from_secs(1);

/// How much longer than the server's own limit one waits for its answer.
const GRACE: Duration = Duration::from_millis(250);

/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What queries run on: a connection whose answers are waited for no longer than they may take, since a server that was
/// frozen or cut off answers nothing, not even that a statement timed out.
pub(crate) struct Link {
    pg: AsyncPgConnection,
    limit: Duration,
    /// An answer did not come in time and may still be on its way.
    overdue: bool,
}

fn overdue() -> Error {
    let reason = "the server did not answer in time".to_owned();
    Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(reason))
}

impl SimpleAsyncConnection for Link {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        let done = timeout(self.limit, self.pg.batch_execute(query)).await;
        self.overdue = done.is_err();
        done.unwrap_or_else(|_| Err(overdue()))
    }
}

impl AsyncConnectionCore for Link {
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type Stream<'conn, 'query> = BoxStream<'static, QueryResult<Self::Row<'conn, 'query>>>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        let Self {
            pg,
            limit,
            overdue: late,
        } = self;
        let loading = AsyncConnectionCore::load(pg, source);
        async move {
            // All rows here, so that the limit covers the last of them; every query has one of its own.
            let loaded = timeout(*limit, async { loading.await?.try_collect::<Vec<_>>().await }).await;
            *late = loaded.is_err();
            let rows = loaded.unwrap_or_else(|_| Err(overdue()))?;
            Ok(stream::iter(rows.into_iter().map(Ok)).boxed())
        }
        .boxed()
    }

    fn execute_returning_count<'conn, 'query, T>(&'conn mut self, source: T) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        let Self {
            pg,
            limit,
            overdue: late,
        } = self;
        let executing = pg.execute_returning_count(source);
        async move {
            let done = timeout(*limit, executing).await;
            *late = done.is_err();
            done.unwrap_or_else(|_| Err(overdue()))
        }
        .boxed()
    }
}

/// A connection.
pub(crate) struct Conn {
    link: Link,
    driver: JoinHandle<()>,
    tls: Tls,
    begin: String,
    used: Instant,
}

impl Conn {
    pub(crate) fn new(
        pg: AsyncPgConnection,
        driver: JoinHandle<()>,
        tls: Tls,
        statement_timeout: Duration,
        begin: String,
    ) -> Self {
        let limit = statement_timeout + GRACE;
        Self {
            link: Link {
                pg,
                limit,
                overdue: false,
            },
            driver,
            tls,
            begin,
            used: Instant::now(),
        }
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        self.used = Instant::now();
        &mut self.link
    }

    /// For a statement that may touch many rows. The server has its own processes for it.
    pub(crate) fn link_for_long(&mut self) -> &mut Link {
        self.link()
    }

    /// Whether the server is still there, as far as can be known cheaply.
    pub(crate) async fn alive(&mut self) -> bool {
        if self.driver.is_finished() {
            return false;
        }
        if self.used.elapsed() < PRESUMED_ALIVE {
            return true;
        }
        matches!(timeout(SMALL_THINGS, self.link().batch_execute("")).await, Ok(Ok(())))
    }

    /// Opens a transaction.
    pub(crate) async fn begin(&mut self, durability: Durability) -> QueryResult<()> {
        let sql = match durability {
            Durability::Full => self.begin.clone(),
            Durability::Relaxed => format!("{}; SET LOCAL synchronous_commit = off", self.begin),
        };
        self.link().batch_execute(&sql).await
    }

    /// Makes an open transaction permanent.
    pub(crate) async fn commit(&mut self) -> QueryResult<Safe> {
        self.link().batch_execute("COMMIT").await.map(|()| Safe)
    }

    /// Takes an open transaction back. `false` if the connection must not be used again.
    pub(crate) async fn undo(&mut self, cut_off: bool) -> bool {
        if self.driver.is_finished() {
            return false;
        }
        if cut_off || self.link.overdue {
            // It may wait for a lock, and rolling back would wait behind it. The connection is not used again: nothing
            // says when the request to stop arrives, and it would stop whatever runs then.
            let token = self.link.pg.cancel_token();
            let _ = timeout(SMALL_THINGS, self.tls.cancel(&token)).await;
            self.driver.abort();
            return false;
        }
        let undone = matches!(
            timeout(SMALL_THINGS, self.link().batch_execute("ROLLBACK")).await,
            Ok(Ok(()))
        );
        if !undone {
            // Closes the socket, whatever is still on its way.
            self.driver.abort();
        }
        undone
    }
}

/// When a commit is safe: the server has said so.
#[must_use = "as on the other database"]
pub(crate) struct Safe;

impl Safe {
    /// Returns at once.
    #[expect(clippy::unused_async, reason = "the other database has to wait")]
    pub(crate) async fn wait(self) -> StoreResult<()> {
        Ok(())
    }
}

/// A lock on the rows that are read, until the unit ends.
macro_rules! locked {
    ($query:expr) => {
        $query.for_update()
    };
}
pub(crate) use locked;

/// The same, past the rows that somebody else has locked.
macro_rules! locked_or_skipped {
    ($query:expr) => {
        $query.for_update().skip_locked()
    };
}
pub(crate) use locked_or_skipped;

/// Whether there is a table, in the schemas that are looked into.
pub(crate) async fn has_table(link: &mut Link, name: &str) -> QueryResult<bool> {
    let found = diesel::dsl::sql::<Bool>("to_regclass(").bind::<Text, _>(name);
    diesel::select(found.sql(") IS NOT NULL")).get_result(link).await
}

/// A lock on a name, until the unit ends.
pub(crate) async fn lock_name(link: &mut Link, name: &str) -> QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind::<Text, _>(name)
        .execute(link)
        .await
        .map(|_| ())
}

/// The identifier that stands for none where there has to be one.
pub(crate) const NO_ID: &str = "'00000000-0000-0000-0000-000000000000'::uuid";

/// When the day in UTC began that a call ended on.
pub(crate) const UTC_DAY: &str = "date_trunc('day', created_at, 'UTC')";

/// When the month in UTC began that a time lies in.
pub(crate) fn utc_month(column: &str) -> String {
    format!("date_trunc('month', {column}, 'UTC')")
}

/// Keeps others from adding usage until the unit ends. Who has booked a call and is about to add it waits, and adds it
/// to what is made meanwhile.
pub(crate) async fn lock_usage_days(link: &mut Link) -> QueryResult<()> {
    link.batch_execute("LOCK TABLE usage_days IN SHARE ROW EXCLUSIVE MODE")
        .await
}

/// Moves sessions' `last_seen_at` forward, in one statement. Rows are locked in the order of their ids, so that two
/// nodes that saw the same sessions do not wait for each other in a circle.
pub(crate) async fn touch(link: &mut Link, seen: Vec<(Id, At)>) -> QueryResult<()> {
    move_forward(link, "sessions", "last_seen_at", seen).await
}

/// Moves API keys' `last_used_at` forward, in the same way.
pub(crate) async fn touch_api_keys(link: &mut Link, used: Vec<(Id, At)>) -> QueryResult<()> {
    move_forward(link, "api_keys", "last_used_at", used).await
}

async fn move_forward(link: &mut Link, table: &str, column: &str, seen: Vec<(Id, At)>) -> QueryResult<()> {
    let (ids, times): (Vec<Id>, Vec<At>) = seen.into_iter().unzip();
    diesel::sql_query(format!(
        "WITH seen AS (SELECT unnest($1) AS id, unnest($2) AS at), \
         due AS MATERIALIZED ( \
             SELECT {table}.id, seen.at FROM {table} JOIN seen ON {table}.id = seen.id \
             WHERE {table}.{column} IS NULL OR {table}.{column} < seen.at \
             ORDER BY {table}.id FOR UPDATE OF {table}) \
         UPDATE {table} SET {column} = due.at FROM due WHERE {table}.id = due.id"
    ))
    .bind::<Array<SqlId>, _>(ids)
    .bind::<Array<SqlTime>, _>(times)
    .execute(link)
    .await
    .map(|_| ())
}

/// Inserts holds of reservations: few one by one, by a statement that stays prepared, many at once.
pub(crate) async fn insert_holds(link: &mut Link, rows: Vec<ReservationRow>) -> QueryResult<()> {
    let each = if rows.len() > FEW_ROWS { MOST_ROWS } else { 1 };
    for rows in rows.chunks(each) {
        match rows {
            [row] => {
                diesel::insert_into(reservations::table)
                    .values(row)
                    .execute(link)
                    .await?
            }
            rows => {
                diesel::insert_into(reservations::table)
                    .values(rows)
                    .execute(link)
                    .await?
            }
        };
    }
    Ok(())
}

/// Adds lines to ledgers of credits.
pub(crate) async fn insert_credit_entries(link: &mut Link, rows: Vec<CreditEntryRow>) -> QueryResult<()> {
    for rows in rows.chunks(MOST_ROWS) {
        diesel::insert_into(credit_entries::table)
            .values(rows)
            .execute(link)
            .await?;
    }
    Ok(())
}

/// Deletes holds of reservations. Answers what they held.
pub(crate) async fn delete_holds(link: &mut Link, ids: Vec<Id>) -> QueryResult<Vec<HeldRow>> {
    diesel::delete(reservations::table.filter(reservations::id.eq_any(ids)))
        .returning(HeldRow::as_returning())
        .get_results(link)
        .await
}

/// Inserts usage of calls that are not booked yet: few one by one, many at once. Answers which were not.
pub(crate) async fn insert_usage(link: &mut Link, rows: Vec<UsageRow>) -> QueryResult<HashSet<Uuid>> {
    let each = if rows.len() > FEW_ROWS { MOST_ROWS } else { 1 };
    let mut new = HashSet::new();
    for rows in rows.chunks(each) {
        let booked: Vec<Id> = match rows {
            [row] => {
                let one = diesel::insert_into(usage_events::table).values(row);
                let one = one.on_conflict(usage_events::request_id).do_nothing();
                let one = kept::<InsertUsage, _>(one.returning(usage_events::request_id));
                one.get_results(link).await?
            }
            rows => {
                let all = diesel::insert_into(usage_events::table).values(rows);
                let all = all.on_conflict(usage_events::request_id).do_nothing();
                all.returning(usage_events::request_id).get_results(link).await?
            }
        };
        new.extend(booked.into_iter().map(|id| id.0));
    }
    Ok(new)
}

/// The most rows of one statement: it can count 65,535 values, and a row has some 20.
const MOST_ROWS: usize = 1000;

/// Up to so many rows it takes no longer to send one after another than to have a longer statement prepared.
const FEW_ROWS: usize = 2;

/// So many seconds ago, by the database's clock.
pub(crate) fn long_ago(seconds: u32) -> String {
    format!("clock_timestamp() - make_interval(secs => {seconds})")
}

/// The channel of the schema that a connection looks into; several deployments may share a database.
pub(crate) const CHANNEL: &str = "'anteroom_' || md5(current_schema())";

/// Tells all nodes: those that listen are called when the transaction is committed, the others read it.
pub(crate) async fn tell(link: &mut Link, messages: Vec<String>) -> QueryResult<()> {
    diesel::sql_query(format!(
        "WITH told AS ( \
             INSERT INTO broadcasts (id, message, created_at) \
             SELECT gen_random_uuid(), message, clock_timestamp() FROM unnest($1) AS message RETURNING message) \
         SELECT pg_notify({CHANNEL}, message) FROM told"
    ))
    .bind::<Array<Text>, _>(messages)
    .execute(link)
    .await
    .map(|_| ())
}

impl ToSql<SqlId, Pg> for Id {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<SqlId, Pg> for Id {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Uuid::from_slice(value.as_bytes())?))
    }
}

impl ToSql<SqlTime, Pg> for At {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let micros = self.0.as_microsecond() - EPOCH_MICROS;
        out.write_all(&micros.to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<SqlTime, Pg> for At {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let micros = i64::from_be_bytes(value.as_bytes().try_into()?);
        // `infinity` is the largest number there is, and no time.
        let micros = micros.checked_add(EPOCH_MICROS).ok_or("a time is out of range")?;
        Ok(Self(Timestamp::from_microsecond(micros)?))
    }
}

pub(crate) fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: reason.into() }
}

/// What an error of Diesel or PostgreSQL means to the services.
pub(crate) fn store_error(error: Error) -> StoreError {
    use DatabaseErrorKind as Kind;
    match error {
        Error::DatabaseError(
            Kind::UniqueViolation
            | Kind::ForeignKeyViolation
            | Kind::CheckViolation
            | Kind::ExclusionViolation
            | Kind::RestrictViolation,
            info,
        ) => StoreError::Conflict {
            constraint: info.constraint_name().unwrap_or_default().to_owned(),
        },
        Error::DatabaseError(Kind::SerializationFailure, _) => StoreError::Stale,
        Error::DatabaseError(_, info) => {
            let reason = info.message().to_owned();
            // Diesel keeps the text and drops the code (SQLSTATE). What is left over when statements are right is the
            // server's state: shutting down, out of connections or disk, a time limit.
            if reason.contains("deadlock detected") {
                StoreError::Stale
            } else if reason.contains("does not exist")
                && ["column ", "relation "].iter().any(|what| reason.contains(what))
            {
                StoreError::SchemaNotCurrent { reason }
            } else if [
                "does not exist",
                "syntax error",
                "out of range",
                "invalid byte",
                "violates not-null",
            ]
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
