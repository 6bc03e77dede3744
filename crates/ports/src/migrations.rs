//! A database whose schema is changed: Anteroom's own, or the operator's application's. What is to be done and in which
//! order is the services' affair; here is what a database must be able to do for it.

use std::sync::Arc;
use std::time::Duration;

use anteroom_domain::Timestamp;
use anteroom_domain::migrations::{Catalogue, Dialect, Past, Run, Runner, SourceFile, Version, Walk};
use async_trait::async_trait;

/// What the database said about a statement that it did not carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", self.rest())]
pub struct SqlFault {
    /// In the database's words.
    pub message: String,
    /// Five characters, as PostgreSQL has them (appendix A of its manual); empty where there is none.
    pub sqlstate: String,
    /// More of its words.
    pub detail: Option<String>,
    /// What it advises.
    pub hint: Option<String>,
    /// Which character of the statement it is about, from 1.
    pub position: Option<usize>,
}

impl SqlFault {
    /// With nothing but a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            sqlstate: String::new(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    fn rest(&self) -> String {
        let mut rest = String::new();
        if !self.sqlstate.is_empty() {
            rest = format!(" (SQLSTATE {})", self.sqlstate);
        }
        for (name, text) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(text) = text {
                rest = format!("{rest}; {name}: {text}");
            }
        }
        rest
    }
}

/// Who migrates just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// In words, as far as they can be told: user, machine, process.
    pub who: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The statement that runs.
    pub statement: Option<String>,
}

/// Why a database did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrationFault {
    /// Somebody else migrates, and did so for longer than one was to wait.
    #[error("somebody else is migrating: {}", .0.as_ref().map_or("nobody knows who", |holder| &holder.who))]
    Locked(Option<Holder>),
    /// A statement waited for a lock for longer than it may.
    #[error("a lock was not given in time: {0}")]
    LockTimeout(SqlFault),
    /// A statement cannot be part of a transaction.
    #[error("it cannot run in a transaction: {0}")]
    NeedsNoTransaction(SqlFault),
    /// A statement was refused.
    #[error("{0}")]
    Sql(SqlFault),
    /// The database cannot be reached, or the connection was lost.
    #[error("{reason}")]
    Away {
        /// In words.
        reason: String,
    },
    /// What is stored of the history cannot be read.
    #[error("the history cannot be read: {reason}")]
    Corrupt {
        /// In words.
        reason: String,
    },
}

impl MigrationFault {
    /// Whether it is about a lock, so that waiting helps.
    pub fn is_lock(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::LockTimeout(_))
    }
}

/// What databases answer to migrations.
pub type MigrationResult<T> = Result<T, MigrationFault>;

/// What is known of a statement that cannot be part of a transaction, before it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It may be run; what an earlier try left half done is gone.
    Ready,
    /// An earlier try did all of it.
    Done,
    /// An earlier try began it, and nothing says how far it came.
    Unknown,
}

/// A range of keys, both ends included, as SQL literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The smallest.
    pub first: String,
    /// The greatest.
    pub last: String,
}

/// How long one waits for others who migrate, and who is told of them.
pub struct Waiting<'a> {
    /// How long.
    pub patience: Duration,
    /// Told about once in a second, with what is known of the holder.
    pub told: &'a (dyn Fn(Option<&Holder>) + Send + Sync),
}

/// A database, in one of the two scopes.
#[async_trait]
pub trait MigrationDatabase: Send + Sync {
    /// Whose SQL it understands.
    fn dialect(&self) -> Dialect;

    /// Which database it is, without a password, for messages.
    fn describe(&self) -> String;

    /// The versions that are applied, in no order. Makes nothing, not even a table of its own.
    async fn applied_versions(&self) -> MigrationResult<Vec<Version>>;

    /// What has been done to it. Makes nothing.
    async fn past(&self) -> MigrationResult<Past>;

    /// What its schema consists of now, without the tables that migrations are kept in. Makes nothing.
    async fn catalogue(&self) -> MigrationResult<Catalogue>;

    /// What its schema consisted of after the last run, as that run found it; `None` if there was none.
    async fn recorded_catalogue(&self) -> MigrationResult<Option<Catalogue>>;

    /// About how many rows a table has, named as SQL names it; `None` where nothing is known of it.
    async fn estimated_rows(&self, table: &str) -> MigrationResult<Option<u64>>;

    /// Whether there is a table that Diesel keeps its versions in, which this scope has not taken over: its versions.
    async fn diesel_versions(&self) -> MigrationResult<Vec<Version>>;

    /// Takes the lock of this scope, which the server or the operating system drops with this process, and makes the
    /// tables of the history if there are none. Asks for it again and again rather than waiting in the database.
    ///
    /// # Errors
    /// [`MigrationFault::Locked`] if somebody else has it for longer than one is to wait.
    async fn lock(&self, runner: &Runner, waiting: &Waiting<'_>) -> MigrationResult<Box<dyn MigrationSession>>;

    /// An empty database of the same kind that nobody else sees, which goes when it is dropped or soon after.
    async fn scratch(&self) -> MigrationResult<Arc<dyn MigrationDatabase>>;

    /// Removes a database that [`scratch`](Self::scratch) made; does nothing to any other.
    async fn discard(&self) -> MigrationResult<()>;
}

/// A connection that holds the lock until it is dropped. Statements run one at a time, in the order in which they are
/// given.
#[async_trait]
pub trait MigrationSession: Send {
    /// As whom the database knows this connection; empty where it knows nobody.
    fn role(&self) -> &str;

    /// What has been done to the database.
    async fn past(&mut self) -> MigrationResult<Past>;

    /// Whether the lock is still held: a pooler or a firewall may have cut its connection.
    ///
    /// # Errors
    /// [`MigrationFault::Away`] if it is not.
    async fn still_locked(&mut self) -> MigrationResult<()>;

    /// Opens a transaction. `lock_timeout` is how long its statements wait for locks. With `rebuilds` it may make tables
    /// anew: SQLite turns foreign keys off for it, and checks them when it is committed. Without, they are as they were
    /// left since [`renew`](Self::renew).
    async fn begin(&mut self, lock_timeout: Duration, rebuilds: bool) -> MigrationResult<()>;

    /// Runs one statement as it is, in the open transaction or by itself. Answers how many rows it touched.
    ///
    /// # Errors
    /// [`MigrationFault::NeedsNoTransaction`], [`MigrationFault::LockTimeout`], [`MigrationFault::Sql`] or
    /// [`MigrationFault::Away`]; the transaction is good for nothing but [`rollback`](Self::rollback) then.
    async fn execute(&mut self, sql: &str) -> MigrationResult<u64>;

    /// Puts everything that statements may have set on the connection (search path, role, timeouts) back to what it was, in
    /// the open transaction if there is one. From then on one waits for a lock as long as is said; zero is for ever.
    async fn restore_settings(&mut self, lock_timeout: Duration) -> MigrationResult<()>;

    /// Makes the connection as good as new, before a migration: without what the one before has set or left on it. Not in a
    /// transaction.
    async fn renew(&mut self) -> MigrationResult<()>;

    /// How long a statement outside of a transaction waits for locks: as long as is said, or for ever, if it waits for
    /// others without keeping anybody waiting itself.
    async fn limit_locks(&mut self, sql: &str, lock_timeout: Duration) -> MigrationResult<()>;

    /// Makes the open transaction permanent.
    ///
    /// # Errors
    /// [`MigrationFault::Sql`] with SQLite if rows refer to others that are no more; nothing of it stays then.
    async fn commit(&mut self) -> MigrationResult<()>;

    /// Takes the open transaction back, as far as there is one.
    async fn rollback(&mut self) -> MigrationResult<()>;

    /// Adds a run to the history, or writes what became of one that has an identifier; with the schema as it is now,
    /// where that is known. Answers its identifier.
    async fn write_run(&mut self, run: &Run, catalogue: Option<&Catalogue>) -> MigrationResult<i64>;

    /// Notes that a version is applied, or that it is not.
    ///
    /// # Errors
    /// [`MigrationFault::Sql`] if it is applied already: somebody else has done it.
    async fn mark(&mut self, version: &Version, applied: bool) -> MigrationResult<()>;

    /// What the schema consists of now, open transaction included.
    async fn catalogue(&mut self) -> MigrationResult<Catalogue>;

    /// Looks whether a statement that cannot be part of a transaction may be run, and removes an index that a concurrent
    /// build left invalid where it is to be. `begun` is whether an earlier try began it and never said that it ended.
    async fn settle(&mut self, sql: &str, begun: bool) -> MigrationResult<Settled>;

    /// The next keys of a backfill, at most `batch` of them, after the one that was walked to (an SQL literal). `None` if
    /// there are no more.
    async fn next_range(&mut self, walk: &Walk, after: Option<&str>, batch: u32) -> MigrationResult<Option<Range>>;

    /// Tells those who wait which statement runs.
    async fn announce(&mut self, sql: &str) -> MigrationResult<()>;
}

/// What a store knows of its own schema.
pub trait OwnSchema: Send + Sync {
    /// Where its own migrations are applied.
    fn schema(&self) -> Arc<dyn MigrationDatabase>;

    /// The files of its own migrations, which are part of it.
    fn own_migrations(&self) -> Vec<SourceFile>;
}
