use super::super::statement::split;
use super::*;

fn of(sql: &str, dialect: Dialect) -> Effect {
    let statements = split(sql, dialect).unwrap();
    assert_eq!(statements.len(), 1, "{sql}");
    effect(&statements[0], dialect)
}

/// What a statement locks, as it is shown: `t ACCESS EXCLUSIVE, u SHARE`.
fn locks(effect: &Effect) -> String {
    let locks: Vec<String> = effect
        .locks
        .iter()
        .map(|(name, mode)| format!("{name} {}", mode.words()))
        .collect();
    locks.join(", ")
}

/// Each was run on PostgreSQL 15, and `pg_locks` and the server's debug messages compared.
const COMPARED: &[(&str, &str, Rewrites)] = &[
    ("CREATE INDEX ON t (c)", "t SHARE", Rewrites::BuildsIndex),
    (
        "CREATE INDEX CONCURRENTLY i ON t (c)",
        "t SHARE UPDATE EXCLUSIVE",
        Rewrites::BuildsIndex,
    ),
    ("CREATE INDEX ON ONLY part (k)", "part SHARE", Rewrites::No),
    ("DROP INDEX t_a", "t_a ACCESS EXCLUSIVE", Rewrites::No),
    (
        "ALTER INDEX t_a RENAME TO t_z",
        "t_a SHARE UPDATE EXCLUSIVE",
        Rewrites::No,
    ),
    ("REINDEX TABLE t", "t SHARE", Rewrites::BuildsIndex),
    ("REINDEX INDEX t_a", "t_a ACCESS EXCLUSIVE", Rewrites::BuildsIndex),
    (
        "ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 5",
        "t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ADD n timestamptz DEFAULT now()",
        "t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ADD n uuid DEFAULT gen_random_uuid()",
        "t ACCESS EXCLUSIVE",
        Rewrites::Rewrites,
    ),
    ("ALTER TABLE t ADD n serial", "t ACCESS EXCLUSIVE", Rewrites::Rewrites),
    (
        "ALTER TABLE t ADD n int GENERATED ALWAYS AS (a) STORED",
        "t ACCESS EXCLUSIVE",
        Rewrites::Rewrites,
    ),
    (
        "ALTER TABLE t ADD n int CHECK (n > 0)",
        "t ACCESS EXCLUSIVE",
        Rewrites::Scans,
    ),
    (
        "ALTER TABLE t ADD n int UNIQUE",
        "t ACCESS EXCLUSIVE",
        Rewrites::BuildsIndex,
    ),
    (
        "ALTER TABLE t ADD n int REFERENCES parent",
        "parent SHARE ROW EXCLUSIVE, t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ADD n int DEFAULT 1 REFERENCES parent ON DELETE SET NULL",
        "parent SHARE ROW EXCLUSIVE, t ACCESS EXCLUSIVE",
        Rewrites::Scans,
    ),
    ("ALTER TABLE t DROP COLUMN a", "t ACCESS EXCLUSIVE", Rewrites::No),
    (
        "ALTER TABLE t ALTER a TYPE bigint",
        "t ACCESS EXCLUSIVE",
        Rewrites::Rewrites,
    ),
    (
        "ALTER TABLE t ALTER b TYPE varchar(20)",
        "t ACCESS EXCLUSIVE",
        Rewrites::Perhaps,
    ),
    (
        "ALTER TABLE t ALTER b TYPE text[]",
        "t ACCESS EXCLUSIVE",
        Rewrites::Rewrites,
    ),
    (
        "ALTER TABLE t ALTER c SET NOT NULL",
        "t ACCESS EXCLUSIVE",
        Rewrites::Scans,
    ),
    (
        "ALTER TABLE t ALTER c SET DEFAULT 'x'",
        "t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ALTER c SET STATISTICS 5",
        "t SHARE UPDATE EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES parent",
        "parent SHARE ROW EXCLUSIVE, t SHARE ROW EXCLUSIVE",
        Rewrites::Scans,
    ),
    (
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES parent NOT VALID",
        "parent SHARE ROW EXCLUSIVE, t SHARE ROW EXCLUSIVE",
        Rewrites::No,
    ),
    ("ALTER TABLE t ADD CHECK (a > 0)", "t ACCESS EXCLUSIVE", Rewrites::Scans),
    (
        "ALTER TABLE t ADD CHECK (a > 0) NOT VALID",
        "t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ADD UNIQUE (a)",
        "t ACCESS EXCLUSIVE",
        Rewrites::BuildsIndex,
    ),
    (
        "ALTER TABLE t ADD UNIQUE USING INDEX t_u",
        "t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t VALIDATE CONSTRAINT c",
        "t SHARE UPDATE EXCLUSIVE",
        Rewrites::Scans,
    ),
    ("ALTER TABLE t RENAME TO u", "t ACCESS EXCLUSIVE", Rewrites::No),
    (
        "ALTER TABLE part ATTACH PARTITION loose FOR VALUES FROM (1) TO (2)",
        "loose ACCESS EXCLUSIVE, part SHARE UPDATE EXCLUSIVE",
        Rewrites::Scans,
    ),
    (
        "ALTER TABLE part DETACH PARTITION one",
        "one ACCESS EXCLUSIVE, part ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    ("ALTER TABLE t SET UNLOGGED", "t ACCESS EXCLUSIVE", Rewrites::Rewrites),
    (
        "ALTER TABLE t SET (fillfactor = 70)",
        "t SHARE UPDATE EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t DISABLE TRIGGER tr",
        "t SHARE ROW EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "t ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "CREATE TABLE n (id int REFERENCES parent)",
        "parent SHARE ROW EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "CREATE TABLE p PARTITION OF part FOR VALUES FROM (1) TO (2)",
        "part ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "CREATE TRIGGER g BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "t SHARE ROW EXCLUSIVE",
        Rewrites::No,
    ),
    ("DROP TRIGGER g ON t", "t ACCESS EXCLUSIVE", Rewrites::No),
    ("CREATE POLICY p ON t USING (true)", "t ACCESS EXCLUSIVE", Rewrites::No),
    (
        "CREATE STATISTICS s ON a, b FROM t",
        "t SHARE UPDATE EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "COMMENT ON COLUMN public.t.a IS 'x'",
        "public.t SHARE UPDATE EXCLUSIVE",
        Rewrites::No,
    ),
    (
        "DROP TABLE t, u",
        "t ACCESS EXCLUSIVE, u ACCESS EXCLUSIVE",
        Rewrites::No,
    ),
    ("TRUNCATE t", "t ACCESS EXCLUSIVE", Rewrites::No),
    ("UPDATE t SET a = 1", "t ROW EXCLUSIVE", Rewrites::Rows),
    (
        "REFRESH MATERIALIZED VIEW mv",
        "mv ACCESS EXCLUSIVE",
        Rewrites::Rewrites,
    ),
    (
        "REFRESH MATERIALIZED VIEW CONCURRENTLY mv",
        "mv EXCLUSIVE",
        Rewrites::Rewrites,
    ),
    ("LOCK TABLE t IN SHARE MODE", "t SHARE", Rewrites::No),
    ("LOCK t", "t ACCESS EXCLUSIVE", Rewrites::No),
    ("CLUSTER t USING t_a", "t ACCESS EXCLUSIVE", Rewrites::Rewrites),
    ("VACUUM (FULL) t", "t ACCESS EXCLUSIVE", Rewrites::Rewrites),
    ("SELECT 1", "", Rewrites::No),
    (
        "DO $$ BEGIN IF a THEN ALTER TABLE t DROP COLUMN c; END IF; UPDATE u SET a = 1; END $$",
        "t ACCESS EXCLUSIVE, u ROW EXCLUSIVE",
        Rewrites::Rows,
    ),
    (
        "ALTER TABLE t ALTER c SET STATISTICS 5, ALTER c SET NOT NULL",
        "t ACCESS EXCLUSIVE",
        Rewrites::Scans,
    ),
];

#[test]
fn locks_and_costs_are_those_of_postgresql() {
    for (sql, expected, rewrites) in COMPARED {
        let found = of(sql, Dialect::Postgres);
        assert_eq!(
            (locks(&found).as_str(), found.rewrites),
            (*expected, *rewrites),
            "{sql}"
        );
    }
}

#[test]
fn whom_a_statement_keeps_waiting_is_told_by_its_locks() {
    for (sql, blocks) in [
        ("CREATE INDEX ON t (c)", Blocks::Writers),
        ("CREATE INDEX CONCURRENTLY i ON t (c)", Blocks::Nothing),
        ("ALTER TABLE t ADD c int", Blocks::ReadersAndWriters),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", Blocks::Nothing),
        // Every query locks the table's indexes.
        ("REINDEX TABLE t", Blocks::ReadersAndWriters),
        ("REINDEX TABLE CONCURRENTLY t", Blocks::Nothing),
        ("UPDATE t SET a = 1", Blocks::Nothing),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY mv", Blocks::Writers),
    ] {
        assert_eq!(of(sql, Dialect::Postgres).blocks, blocks, "{sql}");
    }
    for (sql, blocks) in [
        ("CREATE INDEX i ON t (c)", Blocks::Writers),
        ("UPDATE t SET a = 1", Blocks::Writers),
        ("SELECT 1", Blocks::Nothing),
        ("PRAGMA user_version", Blocks::Nothing),
    ] {
        let found = of(sql, Dialect::Sqlite);
        assert_eq!((found.blocks, found.locks), (blocks, Vec::new()), "{sql}");
    }
}

#[test]
fn what_no_transaction_may_hold_is_known() {
    let outside = [
        "CREATE INDEX CONCURRENTLY i ON t (c)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (CONCURRENTLY) INDEX i",
        "REINDEX DATABASE d",
        "VACUUM t",
        "CLUSTER",
        "CREATE DATABASE d",
        "DROP DATABASE d",
        "CREATE TABLESPACE s LOCATION '/x'",
        "ALTER DATABASE d SET TABLESPACE s",
        "ALTER SYSTEM SET work_mem = 1",
        "ALTER TABLE p DETACH PARTITION o CONCURRENTLY",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (copy_data = false)",
        "DROP SUBSCRIPTION s",
        "DISCARD ALL",
    ];
    let within = [
        "CREATE INDEX i ON t (c)",
        "CREATE INDEX ON concurrently (c)",
        "CLUSTER t",
        "REINDEX TABLE t",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "ALTER TYPE mood ADD VALUE 'x'",
        "ALTER DATABASE d SET work_mem = 1",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = false)",
        "ANALYZE t",
    ];
    for (sqls, expected) in [(&outside[..], Transaction::Never), (&within[..], Transaction::Either)] {
        for sql in sqls {
            assert_eq!(of(sql, Dialect::Postgres).transaction, expected, "{sql}");
        }
    }
    for (sql, expected) in [
        ("VACUUM", Transaction::Never),
        ("VACUUM INTO 'x'", Transaction::Never),
        ("DETACH x", Transaction::Never),
        ("ATTACH 'x' AS x", Transaction::Either),
        ("PRAGMA foreign_keys = OFF", Transaction::Never),
        ("PRAGMA main.synchronous(1)", Transaction::Never),
        ("PRAGMA foreign_keys", Transaction::Either),
        ("REINDEX", Transaction::Either),
    ] {
        assert_eq!(of(sql, Dialect::Sqlite).transaction, expected, "{sql}");
    }
}

#[test]
fn what_sqlite_reads_and_writes_is_known() {
    for (sql, rewrites) in [
        ("ALTER TABLE t ADD COLUMN c TEXT NOT NULL DEFAULT ''", Rewrites::No),
        ("ALTER TABLE t ADD COLUMN c TEXT CHECK (c <> '')", Rewrites::Scans),
        ("ALTER TABLE t DROP COLUMN c", Rewrites::Rewrites),
        ("ALTER TABLE t RENAME COLUMN c TO d", Rewrites::No),
        ("CREATE INDEX i ON t (c)", Rewrites::BuildsIndex),
        ("INSERT INTO n (a) SELECT a FROM t", Rewrites::Rows),
        ("INSERT INTO n (a) VALUES (1)", Rewrites::No),
        ("VACUUM", Rewrites::Rewrites),
    ] {
        assert_eq!(of(sql, Dialect::Sqlite).rewrites, rewrites, "{sql}");
    }
}
