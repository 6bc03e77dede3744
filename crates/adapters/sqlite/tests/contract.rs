//! The suite every store must pass, on a file.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anteroom_contract::store::migrations::{column_line, index_line, reference_line};
use anteroom_contract::store::{TestDatabase, migrate_up};
use anteroom_ports::Store;
use anteroom_sqlite::{SqliteOptions, SqliteStore};
use async_trait::async_trait;
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection};
use tokio::sync::OnceCell;

struct File(tempfile::TempDir);

impl File {
    #[expect(clippy::unused_async, reason = "the suite awaits it")]
    async fn new() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn path(&self) -> PathBuf {
        // A name that would be misread as a URI.
        self.0.path().join("a room?#%41.db")
    }

    fn connect(&self) -> SqliteConnection {
        let path = self.path();
        let escaped = path
            .to_str()
            .unwrap()
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        let mut connection = SqliteConnection::establish(&format!("file:{escaped}")).unwrap();
        // A unit of work that was dropped may still be undoing what it did.
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection
    }
}

/// Columns, indexes and foreign keys, each as one line of the suite's words.
const SHAPE: &str = r#"
    WITH tables AS (SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\_\_%' ESCAPE '\')
    SELECT 'column' AS what, t.name AS table_name, p.name AS name, p.type AS kind, p."notnull" AS flag, p.pk AS number
        FROM tables t JOIN pragma_table_info(t.name) p
    UNION ALL
    SELECT 'index', t.name, (SELECT group_concat(c.name, ', ') FROM pragma_index_info(i.name) c), '', i."unique", 0
        FROM tables t JOIN pragma_index_list(t.name) i WHERE i.origin <> 'pk'
    UNION ALL
    SELECT 'reference', t.name, f."from", f."table" || '.' || f."to", f.on_delete = 'CASCADE', 0
        FROM tables t JOIN pragma_foreign_key_list(t.name) f"#;

#[derive(QueryableByName)]
struct One {
    #[diesel(sql_type = Text)]
    text: String,
}

#[derive(QueryableByName)]
struct Fact {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    flag: i64,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl Fact {
    fn line(&self) -> String {
        let (table, flag) = (&self.table_name, self.flag == 1);
        let kind = match self.kind.as_str() {
            "BLOB" => "bytes",
            "INTEGER" => "integer",
            "TEXT" => "text",
            other => other,
        };
        match self.what.as_str() {
            "column" => column_line(
                table,
                &self.name,
                kind,
                !flag,
                Some(self.number).filter(|place| *place > 0),
            ),
            "index" => index_line(table, &self.name, flag),
            _ => reference_line(table, &self.name, kind, flag),
        }
    }
}

#[async_trait]
impl TestDatabase for File {
    async fn open(&self, acquire_timeout: Duration) -> Arc<dyn Store> {
        let options = SqliteOptions {
            path: self.path(),
            readers: 4,
            acquire_timeout,
        };
        Arc::new(SqliteStore::open(options).await.unwrap())
    }

    async fn prepare(&self) {
        static PREPARED: OnceCell<Vec<u8>> = OnceCell::const_new();
        let prepared = PREPARED.get_or_init(async || {
            let file = Self::new().await.unwrap();
            migrate_up(&file.open(Duration::from_secs(20)).await).await.unwrap();
            // With all that is in the log beside it.
            let copy = file.0.path().join("copy.db");
            file.execute(&format!("VACUUM INTO '{}'", copy.display())).await;
            std::fs::read(copy).unwrap()
        });
        let prepared = prepared.await;
        if !self.path().exists() {
            std::fs::write(self.path(), prepared).unwrap();
        }
        migrate_up(&self.open(Duration::from_secs(20)).await).await.unwrap();
    }

    async fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap();
    }

    async fn refuses(&self, sql: &str) -> bool {
        self.connect().batch_execute(sql).is_err()
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let found: Vec<One> = diesel::sql_query(sql).load(&mut self.connect()).unwrap();
        found.into_iter().map(|one| one.text).collect()
    }

    async fn shape(&self) -> Vec<String> {
        let facts: Vec<Fact> = diesel::sql_query(SHAPE).load(&mut self.connect()).unwrap();
        let mut lines: Vec<String> = facts.iter().map(Fact::line).collect();
        lines.sort_unstable();
        lines
    }

    async fn remove(&self) {}
}

anteroom_contract::store_contract!(File::new());

/// An application's file, whose schema is changed.
mod application {
    use anteroom_contract::migrations::TestApplication;
    use anteroom_domain::migrations::Scope;
    use anteroom_ports::MigrationDatabase;
    use anteroom_sqlite::SqliteMigrations;

    use super::*;

    struct Application(File);

    impl Application {
        async fn new() -> Option<Self> {
            File::new().await.map(Self)
        }
    }

    #[derive(QueryableByName)]
    struct Number {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }

    #[async_trait]
    impl TestApplication for Application {
        fn open(&self) -> Arc<dyn MigrationDatabase> {
            Arc::new(SqliteMigrations::new(self.0.path(), Scope::Application))
        }

        async fn execute(&self, sql: &str) {
            self.0.connect().batch_execute(sql).unwrap();
        }

        async fn number(&self, sql: &str) -> i64 {
            let sql = format!("SELECT ({sql}) AS number");
            let found: Number = diesel::sql_query(sql).get_result(&mut self.0.connect()).unwrap();
            found.number
        }

        async fn hold(&self, sql: &str) -> Box<dyn Send> {
            let mut held = self.0.connect();
            held.batch_execute(&format!("BEGIN IMMEDIATE; {sql}")).unwrap();
            Box::new(held)
        }

        async fn remove(&self) {}
    }

    anteroom_contract::migrations_contract!(Application::new());

    /// Its harness has run half of a folder, and Anteroom goes on with the same folder.
    #[tokio::test]
    async fn what_diesels_own_harness_has_run_is_taken_over() {
        use anteroom_contract::migrations::{Files, on};
        use anteroom_services::migrations::{Baseline, UpOptions};
        use diesel_migrations::{FileBasedMigrations, MigrationHarness as _};

        let app = Application::new().await.unwrap();
        let list: Files<'_> = &[
            (
                "2026-11-28-000001_a/up.sql",
                "CREATE TABLE a (id INTEGER); CREATE TABLE b (id INTEGER);",
            ),
            ("2026-11-28-000001_a/down.sql", "DROP TABLE b; DROP TABLE a;"),
            ("2026-11-28-000002_c/up.sql", "CREATE TABLE c (id INTEGER);"),
            ("2026-11-28-000002_c/down.sql", "DROP TABLE c;"),
            ("2026-11-28-000002_c/metadata.toml", "run_in_transaction = false"),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in list {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let diesel = FileBasedMigrations::from_path(folder.path()).unwrap();
        let mut harness = app.0.connect();
        harness.run_next_migration(diesel.clone()).unwrap();
        let taken = on(app.open(), list).baseline(&Baseline::Diesel).await.unwrap();
        assert_eq!(taken[0].version.as_str(), "20261128000001");
        let applied = on(app.open(), list).up(&UpOptions::default()).await.unwrap();
        assert_eq!(applied[0].version.as_str(), "20261128000002");
        assert_eq!(app.number("SELECT count(*) FROM c").await, 0);
    }

    /// The own schema too, and back.
    #[tokio::test]
    async fn diesels_harness_runs_the_own_migrations() {
        use anteroom_services::migrations::schema_status;
        use anteroom_sqlite::diesel_migrations;
        use diesel_migrations::MigrationHarness as _;

        let file = File::new().await.unwrap();
        let mut harness = file.connect();
        let first = harness.run_next_migration(diesel_migrations()).unwrap().to_string();
        assert_eq!(first, "20261120000001");
        let applied = harness.run_pending_migrations(diesel_migrations()).unwrap().len() + 1;
        let store = file.open(Duration::from_secs(20)).await;
        let status = schema_status(&*store).await.unwrap();
        assert!(status.current() && status.applied.len() == applied, "{status:?}");
        let shape = file.shape().await;
        // Takes over what was done, and finds nothing to do.
        assert_eq!(migrate_up(&store).await.unwrap(), []);
        let other = File::new().await.unwrap();
        other.prepare().await;
        assert_eq!(other.shape().await, shape);
        let reverted = harness.revert_all_migrations(diesel_migrations()).unwrap().len();
        assert_eq!((reverted, file.shape().await), (applied, Vec::new()));
    }
}

/// What a store on a file has and one on a server has not.
mod file {
    use std::time::Instant;

    use anteroom_ports::{Durability, StoreError};

    use super::*;

    /// The command line's, for example.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn another_process_that_writes_is_waited_for_as_long_as_was_said() {
        let file = File::new().await.unwrap();
        let store = file.open(Duration::from_millis(300)).await;
        migrate_up(&store).await.unwrap();
        let mut other = file.connect();
        other.batch_execute("BEGIN IMMEDIATE").unwrap();
        let started = Instant::now();
        let error = store.begin(Durability::Full).await.err().unwrap();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        // Reading goes on, and so does writing once the other is done.
        store.ping().await.unwrap();
        let waiting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.begin(Durability::Relaxed).await.map(|_| ()) }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.batch_execute("COMMIT").unwrap();
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_unavailable_and_what_is_no_database_is_corrupt() {
        let file = File::new().await.unwrap();
        std::fs::write(file.path(), "this is not the database you are looking for".repeat(100)).unwrap();
        let error = SqliteStore::open(SqliteOptions::new(file.path())).await.err().unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        let below = file.path().join("below a file.db");
        let error = SqliteStore::open(SqliteOptions::new(below)).await.err().unwrap();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }

    /// Nobody else on the machine reads it, nor the log beside it.
    #[cfg(unix)]
    #[tokio::test]
    async fn the_files_are_their_owners_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = File::new().await.unwrap();
        let path = file.0.path().join("made by the store").join("anteroom.db");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(SqliteOptions::new(&path)).await.unwrap());
        migrate_up(&store).await.unwrap();
        for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert!(
                mode == 0o600 || entry.file_name().to_str().unwrap().ends_with("-lock"),
                "{entry:?} {mode:o}"
            );
        }
        let mode = std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
    }

    /// And leaves nothing behind.
    #[tokio::test]
    async fn a_temporary_store_is_ready() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_temporary().await.unwrap());
        migrate_up(&store).await.unwrap();
        let mut unit = store.begin(Durability::Full).await.unwrap();
        unit.deployment_value("name", "value").await.unwrap();
        unit.commit().await.unwrap();
    }
}
