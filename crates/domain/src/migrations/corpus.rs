//! Migrations as projects write them, in `tests/migrations`: one history for each database, which goes up from nothing
//! and down to nothing again. How many statements a file holds was counted by others: by PostgreSQL 15, to which
//! `psql` sent them one by one, and which then took each of ours as one; and by `sqlite3_complete`. Once they differed:
//! `psql` reads line by line, and loses a string with escapes that goes on in the next (`0011`); the server does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Dialect, Migration, Script, SourceFile, read_folder, split};

/// Folder, statements of its `up.sql`, statements of its `down.sql`; 0 where there is none.
type Count = (&'static str, usize, usize);

const POSTGRES: [Count; 48] = [
    ("0001_initial", 6, 3),
    ("0002_rooms", 4, 2),
    ("0003_pg_dump_of_lookups", 20, 5),
    ("0004_V4__Member_addresses", 5, 5),
    ("0005_create_bookings", 5, 2),
    ("0006_no_double_bookings", 1, 2),
    ("0007_touch_updated_at", 5, 5),
    ("0008_price_functions", 5, 4),
    ("0009_atomic_bodies", 5, 4),
    ("0010_do_blocks", 3, 3),
    ("0011_strings_of_every_kind", 4, 1),
    ("0012_operators", 4, 3),
    ("0013_empty_statements", 2, 1),
    ("20200114093000_create_invoices", 2, 4),
    ("20200220110501_add_generated_columns", 4, 4),
    ("20200301000000_partition_events", 7, 2),
    ("20200415081500_inheritance", 6, 3),
    ("20200602120000_rules", 4, 4),
    ("20200711141414_views_and_materialized_views", 5, 2),
    ("20200903070000_category_tree", 4, 2),
    ("20201020090909_fix_member_names", 3, 0),
    ("20201105230000_concurrent_index", 2, 2),
    ("20210118104500_not_valid_first", 3, 3),
    ("20210118104600_fill_currency", 1, 0),
    ("20210118104700_validate_currency", 7, 3),
    ("20210330160000_row_level_security", 9, 8),
    ("20210512083000_savepoints", 7, 1),
    ("20210704120000_audit_triggers", 7, 6),
    ("20210822110000_add_enum_values", 3, 2),
    ("20211010101010_full_text_search", 6, 2),
    ("20220105093000_comments_everywhere", 3, 1),
    ("20220210140000_sequences", 7, 1),
    ("20220315120000_change_types", 5, 3),
    ("20220420080000_ranges", 5, 3),
    ("20220530101500_own_operators", 10, 7),
    ("20220615000000_upsert_and_merge", 5, 1),
    ("20220720093000_partition_by_hash_and_list", 8, 1),
    ("20220720093100_detach_concurrently", 2, 2),
    ("20220801120000_rename_behind_a_view", 7, 5),
    ("20220909111111_privileges", 7, 6),
    ("20221011070000_prepared_and_cursors", 9, 1),
    ("20221125200000_long_plpgsql", 5, 3),
    ("20230130083000_reports", 6, 2),
    ("20230301000000_maintenance", 5, 2),
    ("2023-04-01-000001_create_sessions", 1, 1),
    ("20230506070809_keywords_as_names", 10, 4),
    ("20230607120000_one_line", 11, 2),
    ("20240229235959_search_members", 3, 2),
];

const SQLITE: [Count; 24] = [
    ("0001_initial", 5, 2),
    ("0002_triggers", 3, 3),
    ("0003_names_in_every_quote", 4, 1),
    ("0004_keywords_as_names", 7, 3),
    ("0005_comments_everywhere", 3, 1),
    ("0006_generated_columns", 4, 4),
    ("0007_rebuild_list", 8, 7),
    ("0008_RedefineTables", 8, 6),
    ("0009_full_text", 6, 4),
    ("0010_without_rowid_and_strict", 5, 2),
    ("20210101000000_instead_of", 6, 3),
    ("20210215093000_recursive_insert", 4, 1),
    ("20210330120000_json", 5, 4),
    ("20210415070000_empty_statements", 1, 1),
    ("20210520101500_create_users", 4, 3),
    ("20210601000000_savepoints", 9, 1),
    ("20210715120000_fill_owner", 1, 0),
    ("20210801083000_upsert_counters", 5, 1),
    ("20210905141500_window_views", 4, 1),
    ("20211010000000_one_line", 5, 1),
    ("20211111111111_pragmas_and_maintenance", 6, 1),
    ("20211201093000_rename_things", 3, 3),
    ("2022-01-15-000000_diesel_tags", 3, 2),
    ("20220301120000_audit_by_triggers", 5, 5),
];

/// Where a splitter errs most easily: the statements of an `up.sql`, by their first words.
const TRICKY: [(&str, &[&str]); 28] = [
    (
        "postgres/0003_pg_dump_of_lookups",
        &[
            "SET STATEMENT_TIMEOUT",
            "SET CLIENT_ENCODING",
            "SET STANDARD_CONFORMING_STRINGS",
            "SELECT PG_CATALOG",
            "SET LOCAL CHECK_FUNCTION_BODIES",
            "SET XMLOPTION",
            "SET CLIENT_MIN_MESSAGES",
            "SET DEFAULT_TABLESPACE",
            "SET DEFAULT_TABLE_ACCESS_METHOD",
            "CREATE TABLE PUBLIC",
            "CREATE TABLE PUBLIC",
            "CREATE SEQUENCE PUBLIC",
            "INSERT INTO PUBLIC",
            "INSERT INTO PUBLIC",
            "INSERT INTO PUBLIC",
            "INSERT INTO PUBLIC",
            "INSERT INTO PUBLIC",
            "SELECT PG_CATALOG",
            "ALTER TABLE ONLY",
            "ALTER TABLE ONLY",
        ],
    ),
    (
        "postgres/0008_price_functions",
        &[
            "CREATE DOMAIN CENTS",
            "CREATE TABLE PRICE",
            "CREATE FUNCTION PRICE_AT",
            "CREATE FUNCTION ROUNDED",
            "COMMENT ON FUNCTION",
        ],
    ),
    (
        "postgres/0009_atomic_bodies",
        &[
            "CREATE FUNCTION BOOKING_LABEL",
            "CREATE OR REPLACE",
            "CREATE FUNCTION ONE",
            "CREATE FUNCTION SPAN_OF",
            "CALL CANCEL_BOOKINGS",
        ],
    ),
    ("postgres/0010_do_blocks", &["DO", "DO LANGUAGE PLPGSQL", "DO"]),
    (
        "postgres/0011_strings_of_every_kind",
        &[
            "CREATE TABLE TEXT_SAMPLE",
            "INSERT INTO TEXT_SAMPLE",
            "UPDATE TEXT_SAMPLE SET",
            "SELECT",
        ],
    ),
    (
        "postgres/0012_operators",
        &[
            "ALTER TABLE ROOM",
            "ALTER TABLE ROOM",
            "CREATE INDEX ROOM_SETTINGS_IDX",
            "CREATE VIEW ROOM_FLAGS",
        ],
    ),
    (
        "postgres/0013_empty_statements",
        &["CREATE TABLE FEATURE", "INSERT INTO FEATURE"],
    ),
    (
        "postgres/20200114093000_create_invoices",
        &["CREATE SCHEMA BILLING", "ALTER TABLE BILLING"],
    ),
    (
        "postgres/20200602120000_rules",
        &[
            "CREATE TABLE FEATURE_LOG",
            "CREATE RULE FEATURE_CHANGES",
            "CREATE OR REPLACE",
            "CREATE RULE FEATURES_ARE_TOLD",
        ],
    ),
    (
        "postgres/20211010101010_full_text_search",
        &[
            "CREATE TEXT SEARCH",
            "CREATE TABLE DOCUMENT",
            "CREATE INDEX DOCUMENT_SEARCH_IDX",
            "CREATE INDEX DOCUMENT_TITLE_IDX",
            "CREATE STATISTICS DOCUMENT_STATS",
            "INSERT INTO DOCUMENT",
        ],
    ),
    (
        "postgres/20220105093000_comments_everywhere",
        &["CREATE TABLE DOOR", "INSERT INTO DOOR", "UPDATE DOOR SET"],
    ),
    (
        "postgres/20220530101500_own_operators",
        &[
            "CREATE FUNCTION NEAR",
            "CREATE OPERATOR",
            "CREATE FUNCTION FAR",
            "CREATE OPERATOR",
            "CREATE FUNCTION JOINED",
            "CREATE AGGREGATE JOIN_ALL",
            "CREATE AGGREGATE ANY_TRUE",
            "CREATE CAST",
            "CREATE COLLATION HALLE_NUMERIC",
            "SELECT",
        ],
    ),
    (
        "postgres/20221125200000_long_plpgsql",
        &[
            "CREATE OR REPLACE",
            "CREATE FUNCTION SHOUT",
            "CREATE PROCEDURE ARCHIVE",
            "SELECT SHOUT",
            "CALL ARCHIVE",
        ],
    ),
    (
        "postgres/20230130083000_reports",
        &[
            "CREATE UNLOGGED TABLE",
            "CREATE OR REPLACE",
            "CREATE VIEW QUARTER",
            "TABLE QUARTER",
            "SELECT",
            "EXPLAIN",
        ],
    ),
    (
        "postgres/20230506070809_keywords_as_names",
        &[
            "CREATE DOMAIN ATOMIC",
            "CREATE TABLE",
            "INSERT INTO",
            "CREATE FUNCTION SECONDS",
            "CREATE FUNCTION NO_OP",
            "CREATE FUNCTION NOTHING",
            "CREATE FUNCTION MIDDLE",
            "CREATE VIEW",
            "SELECT BEGIN",
            "ALTER TABLE",
        ],
    ),
    (
        "postgres/20230607120000_one_line",
        &[
            "CREATE TABLE A1",
            "CREATE TABLE A2",
            "INSERT INTO A1",
            "INSERT INTO A2",
            "CREATE INDEX ON",
            "SELECT",
            "SELECT",
            "SELECT",
            "SELECT",
            "SELECT",
            "SELECT B FROM",
        ],
    ),
    (
        "postgres/20240229235959_search_members",
        &[
            "CREATE FUNCTION SEARCH_MEMBERS",
            "ALTER FUNCTION SEARCH_MEMBERS",
            "CREATE FUNCTION ADD_LINE",
        ],
    ),
    (
        "sqlite/0002_triggers",
        &[
            "CREATE TABLE IF",
            "CREATE TRIGGER TASK_IS_LOGGED",
            "CREATE TRIGGER TASK_STAYS",
        ],
    ),
    (
        "sqlite/0003_names_in_every_quote",
        &["CREATE TABLE", "CREATE INDEX", "INSERT INTO", "SELECT"],
    ),
    (
        "sqlite/0004_keywords_as_names",
        &[
            "CREATE TABLE SPAN",
            "CREATE TRIGGER BEGIN",
            "CREATE TEMP TRIGGER",
            "DROP TRIGGER TEMP",
            "INSERT INTO SPAN",
            "UPDATE SPAN SET",
            "CREATE VIEW REPLACE",
        ],
    ),
    (
        "sqlite/0005_comments_everywhere",
        &["CREATE TABLE NOTE", "INSERT INTO NOTE", "UPDATE NOTE SET"],
    ),
    (
        "sqlite/0009_full_text",
        &[
            "CREATE VIRTUAL TABLE",
            "CREATE TRIGGER TASK_SEARCH_AI",
            "CREATE TRIGGER TASK_SEARCH_AD",
            "CREATE TRIGGER TASK_SEARCH_AU",
            "INSERT INTO TASK_SEARCH",
            "SELECT HIGHLIGHT",
        ],
    ),
    (
        "sqlite/20210101000000_instead_of",
        &[
            "CREATE VIEW OPEN_TASK",
            "CREATE TRIGGER OPEN_TASK_INSERT",
            "CREATE TRIGGER OPEN_TASK_UPDATE",
            "CREATE TRIGGER OPEN_TASK_DELETE",
            "INSERT INTO OPEN_TASK",
            "DELETE FROM OPEN_TASK",
        ],
    ),
    ("sqlite/20210415070000_empty_statements", &["CREATE TABLE NOUGHT"]),
    (
        "sqlite/20210601000000_savepoints",
        &[
            "SAVEPOINT ONE",
            "INSERT INTO USERS",
            "SAVEPOINT",
            "DELETE FROM USERS",
            "ROLLBACK TRANSACTION TO",
            "RELEASE",
            "ROLLBACK TO ONE",
            "RELEASE SAVEPOINT ONE",
            "INSERT INTO USERS",
        ],
    ),
    (
        "sqlite/20210905141500_window_views",
        &[
            "CREATE VIEW TASK_RANK",
            "VALUES",
            "EXPLAIN QUERY PLAN",
            "EXPLAIN SELECT",
        ],
    ),
    (
        "sqlite/20211010000000_one_line",
        &[
            "CREATE TABLE POINT",
            "CREATE INDEX POINT_XY",
            "INSERT INTO POINT",
            "UPDATE POINT SET",
            "SELECT",
        ],
    ),
    (
        "sqlite/20220301120000_audit_by_triggers",
        &[
            "CREATE TABLE AUDIT",
            "CREATE TRIGGER TAGS_AI",
            "CREATE TRIGGER TAGS_AU",
            "CREATE TRIGGER TAGS_AD",
            "UPDATE TAGS SET",
        ],
    ),
];

fn root(dialect: Dialect) -> PathBuf {
    let name = match dialect {
        Dialect::Postgres => "postgres",
        Dialect::Sqlite => "sqlite",
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/migrations")
        .join(name)
}

fn collect(folder: &Path, below: &str, into: &mut Vec<SourceFile>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), into);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            into.push(SourceFile { path: name, bytes });
        }
    }
}

fn files(dialect: Dialect) -> Vec<SourceFile> {
    let mut found = Vec::new();
    collect(&root(dialect), "", &mut found);
    found
}

fn migrations(dialect: Dialect) -> Vec<Migration> {
    read_folder(&files(dialect), dialect).unwrap()
}

#[test]
fn every_file_holds_the_statements_that_the_databases_count() {
    for (dialect, expected) in [(Dialect::Postgres, &POSTGRES[..]), (Dialect::Sqlite, &SQLITE[..])] {
        let found = migrations(dialect);
        let count = |script: &Script| script.statements.len();
        let counted: Vec<(&str, usize, usize)> = found
            .iter()
            .map(|m| (&*m.folder, count(&m.up), m.down.as_ref().map_or(0, count)))
            .collect();
        assert_eq!(counted, expected);
        for migration in &found {
            let (down, irreversible) = (migration.down.is_some(), migration.options.irreversible.is_some());
            assert_ne!(down, irreversible, "{}", migration.folder);
        }
    }
}

#[test]
fn statements_begin_where_they_begin() {
    let mut known: BTreeSet<&str> = TRICKY.iter().map(|(folder, _)| *folder).collect();
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        let name = root(dialect).file_name().unwrap().to_str().unwrap().to_owned();
        for migration in migrations(dialect) {
            let folder = format!("{name}/{}", migration.folder);
            let Some((_, expected)) = TRICKY.iter().find(|(tricky, _)| *tricky == folder) else {
                continue;
            };
            let titles: Vec<String> = migration.up.statements.iter().map(|s| s.title(dialect)).collect();
            assert_eq!(titles, *expected, "{folder}");
            known.remove(&*folder);
        }
    }
    assert!(known.is_empty(), "there are no {known:?}");
}

#[test]
fn a_statement_split_again_is_itself() {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        for migration in migrations(dialect) {
            for script in [Some(migration.up), migration.down].into_iter().flatten() {
                for statement in script.statements {
                    let again = split(&statement.sql, dialect).unwrap();
                    let again: Vec<&str> = again.iter().map(|statement| &*statement.sql).collect();
                    assert_eq!(again, [&statement.sql], "{}", migration.folder);
                }
            }
        }
    }
}

/// Whoever "cleans" these files takes away what they are for.
#[test]
fn the_files_are_as_untidy_as_they_were_written() {
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        let texts: Vec<String> = files(dialect)
            .into_iter()
            .filter_map(|file| String::from_utf8(file.bytes).ok())
            .collect();
        let some = |so: &dyn Fn(&str) -> bool| texts.iter().any(|text| so(text));
        assert!(some(&|text| text.starts_with('\u{feff}')), "a byte order mark");
        assert!(some(&|text| text.contains(";\r\n")), "line ends of Windows");
        assert!(some(&|text| !text.ends_with('\n')), "no line end at the end");
        assert!(some(&|text| text.contains("\n\t")), "tabs");
        assert!(some(&|text| text.contains(";;")), "empty statements");
    }
}
