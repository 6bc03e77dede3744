//! The rules, each with what happens and what to write instead.

use super::{Level, Rule};
use crate::migrations::Dialect;

const POSTGRES: &[Dialect] = &[Dialect::Postgres];
const SQLITE: &[Dialect] = &[Dialect::Sqlite];
const BOTH: &[Dialect] = &[Dialect::Postgres, Dialect::Sqlite];

/// `NAME: "name", of which databases, how bad, whether it holds in down.sql, what happens, what to write instead;`
macro_rules! rules {
    ($($id:ident: $name:literal, $dialects:ident, $level:ident, $in_down:literal, $what:literal, $safe_way:literal;)*) => {
        $(pub(super) const $id: Rule = Rule {
            name: $name,
            dialects: $dialects,
            level: Level::$level,
            in_down: $in_down,
            what: $what,
            safe_way: $safe_way,
        };)*

        pub(super) const RULES: &[Rule] = &[$($id),*];
    };
}

rules! {
    // Indexes.
    INDEX_NOT_CONCURRENT: "index-not-concurrent", POSTGRES, Danger, true,
        "CREATE INDEX keeps everybody who writes to the table waiting until the index is built.",
        "CREATE INDEX CONCURRENTLY, in a migration of its own with `transaction = false`.";
    DROP_INDEX_NOT_CONCURRENT: "drop-index-not-concurrent", POSTGRES, Danger, true,
        "DROP INDEX locks the table against everybody, and waits for its readers with all others behind it.",
        "DROP INDEX CONCURRENTLY, in a migration of its own with `transaction = false`.";
    REINDEX_NOT_CONCURRENT: "reindex-not-concurrent", POSTGRES, Danger, true,
        "REINDEX locks the index against everybody, readers too, until it is built.",
        "REINDEX … CONCURRENTLY, in a migration of its own with `transaction = false`.";
    CONCURRENTLY_IN_TRANSACTION: "concurrently-in-transaction", POSTGRES, Refused, true,
        "What is done CONCURRENTLY cannot be part of a transaction, and each migration is one.",
        "Give it a migration of its own with `transaction = false` in migration.toml.";
    CONCURRENT_INDEX_IF_NOT_EXISTS: "concurrent-index-if-not-exists", POSTGRES, Danger, true,
        "A concurrent build that is broken off leaves an invalid index, which IF NOT EXISTS takes for the one that is \
         wanted.",
        "Leave IF NOT EXISTS out, or write DROP INDEX CONCURRENTLY IF EXISTS of the same name before it.";

    // Constraints.
    UNIQUE_BUILDS_INDEX: "unique-builds-index", POSTGRES, Danger, true,
        "A UNIQUE constraint builds its index while the table is locked against everybody.",
        "CREATE UNIQUE INDEX CONCURRENTLY first, in a migration of its own; then ADD CONSTRAINT … UNIQUE USING INDEX.";
    PRIMARY_KEY_BUILDS_INDEX: "primary-key-builds-index", POSTGRES, Danger, true,
        "A PRIMARY KEY builds its index while the table is locked against everybody.",
        "CREATE UNIQUE INDEX CONCURRENTLY on NOT NULL columns first; then ADD CONSTRAINT … PRIMARY KEY USING INDEX.";
    EXCLUDE_BUILDS_INDEX: "exclude-builds-index", POSTGRES, Danger, true,
        "An EXCLUDE constraint builds its index while the table is locked against everybody; there is no other way to \
         add one.",
        "Add it to a new table, copy the rows in batches and change over; or accept the pause on a small table.";
    FOREIGN_KEY_VALIDATES: "foreign-key-validates", POSTGRES, Danger, true,
        "A FOREIGN KEY reads the whole table while both tables are locked against writers.",
        "ADD CONSTRAINT … FOREIGN KEY … NOT VALID; then VALIDATE CONSTRAINT in a later migration.";
    CHECK_VALIDATES: "check-validates", POSTGRES, Danger, true,
        "A CHECK or NOT NULL constraint reads the whole table while it is locked against everybody.",
        "ADD CONSTRAINT … CHECK (…) NOT VALID; then VALIDATE CONSTRAINT in a later migration.";
    DOMAIN_VALIDATES: "domain-validates", POSTGRES, Danger, true,
        "A new constraint of a domain reads every table with a column of it, each locked against writers.",
        "ALTER DOMAIN … ADD CONSTRAINT … NOT VALID; then VALIDATE CONSTRAINT in a later migration.";
    VALIDATE_UNDER_LOCK: "validate-under-lock", POSTGRES, Danger, true,
        "VALIDATE CONSTRAINT reads the whole table, here under the stronger lock that an earlier change still holds.",
        "Put VALIDATE CONSTRAINT into a migration of its own.";
    SET_NOT_NULL_SCANS: "set-not-null-scans", POSTGRES, Danger, true,
        "SET NOT NULL reads the whole table while it is locked against everybody, unless a valid CHECK proves it.",
        "ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in a later migration; then SET NOT NULL \
         and drop \
         the check.";
    FOREIGN_KEY_WITHOUT_INDEX: "foreign-key-without-index", BOTH, Danger, false,
        "Without an index on the columns of a foreign key, each DELETE of a row that is referred to reads the whole \
         table.",
        "Create an index that begins with these columns.";

    // Columns.
    ADD_NOT_NULL_COLUMN: "add-not-null-column", BOTH, Refused, true,
        "A NOT NULL column without a default cannot be added to a table that has rows.",
        "Give it a DEFAULT; or add it without NOT NULL, fill it in batches, and demand it later.";
    VOLATILE_DEFAULT: "volatile-default", POSTGRES, Danger, true,
        "A default that differs from row to row writes the whole table anew, locked against everybody.",
        "ADD COLUMN without it; ALTER COLUMN … SET DEFAULT; then fill the rows that are there in batches.";
    STORED_GENERATED_COLUMN: "stored-generated-column", POSTGRES, Danger, true,
        "A stored generated column writes the whole table anew, locked against everybody.",
        "Add a plain column that a trigger fills, and fill the rows that are there in batches; or a VIRTUAL one \
         (PostgreSQL 18).";
    ADD_SERIAL_COLUMN: "add-serial-column", POSTGRES, Danger, true,
        "A column that counts by itself writes the whole table anew, locked against everybody, to number its rows.",
        "Add a plain column and a sequence; SET DEFAULT nextval(…); fill the rows that are there in batches.";
    CHANGE_TYPE: "change-type", POSTGRES, Danger, true,
        "A change of type writes the whole table and its indexes anew, locked against everybody, unless it only \
         widens.",
        "Add a new column, write both, fill it in batches, read the new one, drop the old one.";

    // Tables.
    ATTACH_PARTITION_SCANS: "attach-partition-scans", POSTGRES, Danger, true,
        "ATTACH PARTITION reads the whole table that becomes a partition, locked against everybody, unless a CHECK \
         proves its bounds.",
        "ADD CONSTRAINT … CHECK (its bounds) NOT VALID and VALIDATE it first; drop it after ATTACH.";
    DETACH_PARTITION_LOCKS: "detach-partition-locks", POSTGRES, Danger, true,
        "DETACH PARTITION locks the partitioned table against everybody.",
        "DETACH PARTITION … CONCURRENTLY, in a migration of its own with `transaction = false`.";
    VACUUM_FULL: "vacuum-full", POSTGRES, Danger, true,
        "VACUUM FULL writes the table anew, locked against everybody.",
        "Leave it to autovacuum, or repack the table online outside of migrations.";
    CLUSTER: "cluster", POSTGRES, Danger, true,
        "CLUSTER writes the table anew, locked against everybody.",
        "Repack the table online, outside of migrations.";
    REFRESH_NOT_CONCURRENT: "refresh-not-concurrent", POSTGRES, Danger, true,
        "REFRESH MATERIALIZED VIEW keeps everybody who reads it waiting until its query is done.",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index on it.";
    SET_TABLESPACE: "set-tablespace", POSTGRES, Danger, true,
        "SET TABLESPACE copies the whole table, locked against everybody.",
        "Move it outside of migrations: a copy that follows the changes, and a short change-over.";
    REWRITES_TABLE: "rewrites-table", POSTGRES, Danger, true,
        "The table is written anew, locked against everybody.",
        "Make a new table that is so from the start, copy the rows in batches, and change over.";
    LOCK_TABLE: "lock-table", POSTGRES, Danger, true,
        "LOCK TABLE keeps others waiting until the migration is over.",
        "Leave it out: each statement takes the lock that it needs.";
    LOCK_TIMEOUT_OFF: "lock-timeout-off", POSTGRES, Danger, true,
        "Without a lock_timeout a statement that waits for its lock makes everybody wait behind it, without an end.",
        "Leave the migration's lock_timeout as it is: a statement that gives up is tried again.";
    MANY_EXCLUSIVE_LOCKS: "many-exclusive-locks", POSTGRES, Danger, true,
        "One transaction locks several tables against everybody, and holds the first while it waits for the next: a \
         deadlock with whoever takes them the other way round.",
        "One migration for each table.";
    DISABLED_TRIGGERS: "disabled-triggers", POSTGRES, Danger, true,
        "Without triggers foreign keys are not checked, and nothing checks the rows afterwards.",
        "Leave them on; defer constraints where the order of rows matters.";

    // Whoever uses it.
    DROP_COLUMN: "drop-column", BOTH, Danger, false,
        "The version that still runs may read or write the column that is dropped; what was in it is lost.",
        "Release a version that does not use it, then drop it, and say so: `-- lint:allow drop-column: <since when>`.";
    DROP_TABLE: "drop-table", BOTH, Danger, false,
        "The version that still runs may use the table that is dropped; what was in it is lost.",
        "Release a version that does not use it, then drop it, and say so: `-- lint:allow drop-table: <since when>`.";
    DROP_VIEW: "drop-view", BOTH, Danger, false,
        "The version that still runs may read the view that is dropped.",
        "CREATE it anew in the same migration; or release a version that does not use it, and say so.";
    DROP_SCHEMA: "drop-schema", POSTGRES, Danger, false,
        "A schema goes with all that is in it.",
        "Drop what is in it by name, in migrations of its own, and then the empty schema.";
    DROP_CASCADE: "drop-cascade", POSTGRES, Danger, true,
        "CASCADE drops whatever depends on it: views, foreign keys and columns that nobody named.",
        "Name what goes: one DROP for each.";
    RENAME_COLUMN: "rename-column", BOTH, Danger, false,
        "The version that still runs does not find the column under its old name.",
        "Add a column with the new name, write both, fill it in batches, read the new one, drop the old one.";
    RENAME_TABLE: "rename-table", BOTH, Danger, false,
        "The version that still runs does not find the table under its old name.",
        "On PostgreSQL, CREATE VIEW with the old name in the same migration; else leave the name.";
    TRUNCATE: "truncate", POSTGRES, Danger, true,
        "TRUNCATE takes all rows, and locks the table against everybody.",
        "DELETE in batches, if the rows must go.";
    TRUNCATE_CASCADE: "truncate-cascade", POSTGRES, Danger, true,
        "TRUNCATE … CASCADE takes all rows of every table that refers to it, too.",
        "Name each table.";

    // Rows.
    UPDATE_WITHOUT_WHERE: "update-without-where", BOTH, Danger, true,
        "UPDATE without WHERE changes every row in one transaction, and keeps their other writers waiting until its \
         end.",
        "A backfill: `batch` in migration.toml, and WHERE <key> BETWEEN :first AND :last.";
    DELETE_WITHOUT_WHERE: "delete-without-where", BOTH, Danger, true,
        "DELETE without WHERE takes every row.",
        "A condition; a backfill with `batch` if it is true for many rows.";
    UNBATCHED_UPDATE: "unbatched-update", POSTGRES, Danger, true,
        "Its condition is true for as many rows as there are; all of them stay locked until the transaction's end.",
        "A backfill: `batch` in migration.toml, and WHERE <key> BETWEEN :first AND :last.";
    MIXED_CHANGES: "mixed-changes", POSTGRES, Danger, true,
        "Rows are changed or copied in the transaction of a change of the schema, whose lock is held for as long.",
        "One migration for the schema, another for the rows.";
    COPY_BY_POSITION: "copy-by-position", BOTH, Danger, true,
        "INSERT … SELECT * goes by the order of columns, which differs between databases that were changed in another \
         order.",
        "Name the columns on both sides.";
    ENUM_VALUE_USED: "enum-value-used", POSTGRES, Refused, true,
        "A value that was added to an enum cannot be used before the transaction is over.",
        "Use it in the next migration; of a type that is made here, name it in CREATE TYPE.";

    // Types.
    TIMESTAMP_WITHOUT_ZONE: "timestamp-without-zone", POSTGRES, Advice, false,
        "timestamp says nothing of the zone that it is in: each session reads another point in time.",
        "timestamptz.";
    CHAR_TYPE: "char-type", POSTGRES, Advice, false,
        "char(n) fills up with spaces, which some comparisons see and others do not.",
        "text, with a CHECK of its length if that matters.";
    INT_PRIMARY_KEY: "int-primary-key", POSTGRES, Advice, false,
        "A primary key of 32 bits runs out, and to widen it is to write the table anew.",
        "bigint, or uuid.";
    JSON_NOT_JSONB: "json-not-jsonb", POSTGRES, Advice, false,
        "json is kept as text: no equality, no index, read anew each time.",
        "jsonb.";
    SERIAL_NOT_IDENTITY: "serial-not-identity", POSTGRES, Advice, false,
        "serial makes a sequence with rights of its own, and lets anybody write any number.",
        "bigint GENERATED ALWAYS AS IDENTITY.";
    IF_NOT_EXISTS: "if-not-exists", BOTH, Advice, false,
        "IF NOT EXISTS passes over what is there already, however it looks: databases differ, and nothing says so.",
        "Leave it out: a migration is applied once. What was made by hand belongs into a baseline.";

    // The session and the files.
    SESSION_SETTING: "session-setting", BOTH, Danger, true,
        "The setting holds for whatever the connection runs after this migration, the history's own statements too.",
        "Write names with their schema. SET LOCAL for time and memory within a transaction.";
    REFUSED_IN_TRANSACTION: "refused-in-transaction", BOTH, Refused, true,
        "The statement cannot be part of a transaction, and each migration is one.",
        "Give it a migration of its own with `transaction = false` in migration.toml, or run it by hand.";
    NO_DOWN: "no-down", BOTH, Danger, true,
        "There is no way back from this migration, and nothing says why.",
        "Write down.sql, or `irreversible = \"why\"` into migration.toml.";
    EMPTY_DOWN: "empty-down", BOTH, Danger, true,
        "down.sql has no statement: to take the migration back would change nothing, and say that it is done.",
        "Write what takes it back, or remove down.sql and write `irreversible = \"why\"` into migration.toml.";
    EMPTY_UP: "empty-up", BOTH, Danger, true,
        "up.sql has no statement: the migration counts as applied, and nothing has changed.",
        "Write the change, or remove the folder.";
    BAD_SUPPRESSION: "bad-suppression", BOTH, Danger, true,
        "A `lint:allow` that names no rule there is, or no reason, allows nothing.",
        "`-- lint:allow <rule>[, <rule>]: <reason>` before the statement, or `-- lint:allow-file <rule>: <reason>`.";

    // SQLite's own.
    PRAGMA_FOREIGN_KEYS: "pragma-foreign-keys", SQLITE, Refused, true,
        "PRAGMA foreign_keys does nothing in a transaction, and leaks out of a migration without one.",
        "Leave it out: foreign keys are off while a migration runs, and all of them are checked before its commit.";
    WRITABLE_SCHEMA: "writable-schema", SQLITE, Danger, true,
        "To write into sqlite_schema is to break the file at the first mistake.",
        "Make the table anew: CREATE, INSERT … SELECT, DROP, RENAME.";
    REBUILD_LOSES_OBJECTS: "rebuild-loses-objects", BOTH, Danger, true,
        "A table that is made anew has none of the old one's indexes and triggers.",
        "Create them again after the rename; or DROP them by name first, if they are to go.";
    RENAME_OLD_TABLE_AWAY: "rename-old-table-away", SQLITE, Danger, true,
        "Views, triggers and foreign keys of other tables follow the old table to its new name, and break when it is \
         dropped.",
        "The other way round: CREATE the new one under another name, INSERT … SELECT, DROP the old one, RENAME the \
         new one.";
    RENAME_BREAKS_VIEWS: "rename-breaks-views", SQLITE, Refused, true,
        "ALTER TABLE … RENAME fails while a view or a trigger names a table that is gone.",
        "DROP the views and triggers that name it before, and create them again after.";
    DROP_COLUMN_REFUSED: "drop-column-refused", SQLITE, Refused, true,
        "SQLite drops no column that a key, an index, a view or a trigger still names.",
        "DROP those first; with a key, make the table anew.";
    NON_CONSTANT_DEFAULT: "non-constant-default", SQLITE, Refused, true,
        "SQLite adds no column whose default is an expression or CURRENT_TIMESTAMP to a table that has rows.",
        "A constant default, and an UPDATE for the rows that are there; or make the table anew.";
    ADD_UNIQUE_COLUMN: "add-unique-column", SQLITE, Refused, true,
        "SQLite adds no column that is UNIQUE or PRIMARY KEY.",
        "Add it without, and CREATE UNIQUE INDEX; or make the table anew.";
    ADD_STORED_COLUMN: "add-stored-column", SQLITE, Refused, true,
        "SQLite adds no STORED generated column to a table that has rows.",
        "A VIRTUAL one; or make the table anew.";
    NOT_IN_SQLITE: "not-in-sqlite", SQLITE, Refused, true,
        "SQLite does not know this form.",
        "One change for each ALTER TABLE; DELETE for TRUNCATE; what ALTER TABLE cannot do, by making the table anew.";
    DOUBLE_QUOTED_TEXT: "double-quoted-text", SQLITE, Danger, true,
        "Double quotes are for names. SQLite takes a name that it does not know for text, until somebody makes a \
         column of that name.",
        "Single quotes.";
    ROWID_ALIAS: "rowid-alias", SQLITE, Advice, false,
        "Only INTEGER PRIMARY KEY is the row's own number. INT or BIGINT makes a second index, and lets NULL in.",
        "INTEGER PRIMARY KEY.";
}
