//! What a statement does to the schema and the rows, told by its tokens. What is not known here is [`Action::Other`]:
//! this is no parser, and refuses nothing.

mod alter;
mod block;
mod create;
mod drop;
mod rows;
mod server;
mod table;

use super::cursor::Cursor;
use super::effect::LockMode;
use super::name::Name;
use super::statement::Statement;
use super::token::Dialect;

pub use table::{Column, Constraint, ConstraintKind, DataType, DefaultValue, Generated};

/// One thing that a statement does. An `ALTER TABLE` may do several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `CREATE TABLE`, with `AS` too.
    CreateTable(CreateTable),
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// One of the changes of an `ALTER TABLE`.
    AlterTable {
        /// Which.
        table: Name,
        /// What becomes of it.
        change: TableChange,
    },
    /// `DROP INDEX`.
    DropIndex {
        /// Which.
        names: Vec<Name>,
        /// Without a lock that keeps writers out.
        concurrently: bool,
    },
    /// `ALTER INDEX … RENAME TO`.
    RenameIndex {
        /// As it was called.
        from: Name,
        /// As it is called then.
        to: Name,
    },
    /// `REINDEX`.
    Reindex {
        /// `INDEX`, `TABLE`, `SCHEMA`, `DATABASE` or `SYSTEM`.
        kind: String,
        /// Of what; of all there is without it.
        name: Option<Name>,
        /// Without a lock that keeps writers out.
        concurrently: bool,
    },
    /// `DROP` of anything but an index.
    Drop {
        /// What kind of thing.
        kind: ObjectKind,
        /// Which.
        names: Vec<Name>,
        /// And all that depends on them.
        cascade: bool,
    },
    /// `TRUNCATE`.
    Truncate {
        /// Which tables.
        tables: Vec<Name>,
        /// And all tables that refer to them.
        cascade: bool,
    },
    /// `UPDATE`, `DELETE`, `MERGE`, and `INSERT` from a query.
    Write(Write),
    /// `CREATE TRIGGER`.
    CreateTrigger {
        /// Its name, which has no schema.
        name: Name,
        /// Whose.
        table: Name,
        /// Every name in it.
        mentions: Vec<String>,
    },
    /// `CREATE VIEW`.
    CreateView {
        /// Its name.
        name: Name,
        /// Every name in it.
        mentions: Vec<String>,
    },
    /// `ALTER TYPE … ADD VALUE`.
    AddEnumValue {
        /// Which type.
        name: Name,
        /// The value, with its quotes.
        value: String,
    },
    /// `ALTER DOMAIN … ADD` and `SET NOT NULL`.
    DomainConstraint {
        /// Which domain.
        name: Name,
        /// Whether rows that are there are left alone.
        not_valid: bool,
    },
    /// `VACUUM`.
    Vacuum {
        /// Of what; of all there is without any.
        tables: Vec<Name>,
        /// Whether tables are written anew.
        full: bool,
    },
    /// `CLUSTER`.
    Cluster {
        /// Which table; all that were clustered before without it.
        table: Option<Name>,
    },
    /// `REFRESH MATERIALIZED VIEW`.
    RefreshView {
        /// Which.
        name: Name,
        /// Without keeping readers out.
        concurrently: bool,
        /// `WITH NO DATA`.
        empty: bool,
    },
    /// `LOCK TABLE`, and what takes a lock for as long as it takes to write a line into the catalogue.
    Locks {
        /// What is locked.
        tables: Vec<Name>,
        /// How.
        mode: LockMode,
        /// Whether that is all it is for.
        explicit: bool,
    },
    /// `SET`, `RESET`, `set_config()`.
    Set {
        /// The setting, in lower case: `role` and `session_authorization` too.
        name: String,
        /// As it is written, without quotes. `None` where it is reset.
        value: Option<String>,
        /// Until the transaction's end only.
        local: bool,
    },
    /// SQLite's `PRAGMA`.
    Pragma {
        /// In lower case, without a schema.
        name: String,
        /// In lower case, without quotes. `None` where it is only asked for.
        value: Option<String>,
    },
    /// What the server refuses within a transaction and is not named above: `CREATE DATABASE`, `ALTER SYSTEM`.
    OutsideTransaction {
        /// Its first words.
        what: &'static str,
    },
    /// Anything else.
    Other,
}

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// Its columns, where they are listed.
    pub columns: Vec<Column>,
    /// Its constraints, those of columns too.
    pub constraints: Vec<Constraint>,
    /// Whether one that is there already is left as it is.
    pub if_not_exists: bool,
    /// Gone with the session.
    pub temporary: bool,
    /// The table that it is a partition of.
    pub partition_of: Option<Name>,
    /// SQLite: the primary key is where rows are kept.
    pub without_rowid: bool,
}

/// `CREATE INDEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "words that a statement has or has not, each by itself"
)]
pub struct CreateIndex {
    /// Its name; PostgreSQL makes one up without it.
    pub name: Option<Name>,
    /// On which table.
    pub table: Name,
    /// The columns that it begins with, up to the first expression.
    pub columns: Vec<Name>,
    /// Every name in it.
    pub mentions: Vec<String>,
    /// The columns that `WHERE … IS NOT NULL` names, if that is all of its condition. `None` with another condition.
    pub partial: Option<Vec<Name>>,
    /// Whether it lets no key in twice.
    pub unique: bool,
    /// Without a lock that keeps writers out.
    pub concurrently: bool,
    /// Whether one that is there already is left as it is, even an invalid one.
    pub if_not_exists: bool,
    /// On a partitioned table without its partitions: nothing is built.
    pub only: bool,
}

/// What is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A schema.
    Schema,
    /// A trigger.
    Trigger,
    /// A type or a domain.
    Type,
    /// Anything else.
    Other,
}

/// A change of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// How.
    pub kind: WriteKind,
    /// Of which table.
    pub table: Name,
    /// Whether it has a condition.
    pub has_where: bool,
    /// Whether its condition compares something with a value that stands there, or it says how many rows at most.
    pub narrow: bool,
    /// The tables that it reads.
    pub reads: Vec<Name>,
    /// `INSERT` without a list of columns, from `SELECT *`: by the columns' order.
    pub by_position: bool,
}

/// How rows are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `INSERT` from a query.
    Insert,
    /// `MERGE`.
    Merge,
}

impl WriteKind {
    /// Its word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Insert => "INSERT",
            Self::Merge => "MERGE",
        }
    }
}

/// A change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// `ADD COLUMN`.
    AddColumn {
        /// The column.
        column: Column,
        /// Its constraints.
        constraints: Vec<Constraint>,
        /// Whether one that is there already is left as it is.
        if_not_exists: bool,
    },
    /// `DROP COLUMN`.
    DropColumn {
        /// Which.
        column: Name,
        /// And all that depends on it.
        cascade: bool,
    },
    /// `ALTER COLUMN … TYPE`.
    SetType {
        /// Which column.
        column: Name,
        /// What type it has then.
        to: DataType,
        /// Whether `USING` computes the new value, by more than a cast.
        using: bool,
    },
    /// `ALTER COLUMN … SET NOT NULL`.
    SetNotNull {
        /// Which column.
        column: Name,
    },
    /// `ALTER COLUMN … DROP NOT NULL`.
    DropNotNull {
        /// Which column.
        column: Name,
    },
    /// `ALTER COLUMN … SET DEFAULT` and `DROP DEFAULT`: for rows to come.
    Default {
        /// Which column.
        column: Name,
    },
    /// `ALTER COLUMN … SET EXPRESSION`.
    SetExpression {
        /// Which column.
        column: Name,
    },
    /// `ADD CONSTRAINT`.
    AddConstraint(Constraint),
    /// `VALIDATE CONSTRAINT`.
    ValidateConstraint {
        /// Which.
        name: Name,
    },
    /// `DROP CONSTRAINT`.
    DropConstraint {
        /// Which.
        name: Name,
        /// And all that depends on it.
        cascade: bool,
    },
    /// `RENAME COLUMN`.
    RenameColumn {
        /// As it was called.
        from: Name,
        /// As it is called then.
        to: Name,
    },
    /// `RENAME TO`.
    RenameTable {
        /// As it is called then.
        to: Name,
    },
    /// `SET SCHEMA`.
    SetSchema,
    /// `ATTACH PARTITION`.
    AttachPartition {
        /// The table that becomes one.
        partition: Name,
    },
    /// `DETACH PARTITION`.
    DetachPartition {
        /// The partition that becomes a table.
        partition: Name,
        /// Without keeping readers out.
        concurrently: bool,
    },
    /// `SET TABLESPACE`.
    SetTablespace,
    /// What writes the table anew: `SET LOGGED`, `SET UNLOGGED`, `SET ACCESS METHOD`.
    Rewrite {
        /// Its words.
        what: &'static str,
    },
    /// `ENABLE TRIGGER` and `DISABLE TRIGGER`.
    Triggers {
        /// Whether they stop.
        disabled: bool,
    },
    /// Statistics targets, storage parameters and the index to cluster by: what keeps nobody out.
    Options,
    /// Anything else, under the strongest lock.
    Other {
        /// Its words, in capitals.
        what: String,
    },
}

/// What a statement does. Never empty.
pub fn actions(statement: &Statement, dialect: Dialect) -> Vec<Action> {
    let tokens = statement.tokens(dialect);
    let mut found = read(Cursor::new(&tokens, dialect));
    if found.is_empty() {
        found.push(Action::Other);
    }
    found
}

/// What a statement does, as far as it is known.
fn read(mut cursor: Cursor<'_>) -> Vec<Action> {
    let Some(first) = cursor.take() else { return Vec::new() };
    let one = |action: Option<Action>| action.into_iter().collect();
    match first.text.to_ascii_uppercase().as_str() {
        "CREATE" => one(create::read(cursor)),
        "ALTER" => alter::read(cursor),
        "DROP" => drop::read(cursor),
        "WITH" | "INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "MERGE" => rows::read(first, cursor),
        "TRUNCATE" => one(rows::truncate(cursor)),
        "DO" => block::read(cursor),
        "SELECT" => one(server::select(cursor)),
        word => one(server::read(word, cursor)),
    }
}

#[cfg(test)]
mod tests;
