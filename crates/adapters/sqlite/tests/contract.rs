//! The suite every store must pass, on a file.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anteroom_contract::store::TestDatabase;
use anteroom_contract::store::migrations::{column_line, index_line, reference_line};
use anteroom_ports::Store;
use anteroom_sqlite::{SqliteOptions, SqliteStore};
use async_trait::async_trait;
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection};

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
        SqliteConnection::establish(&format!("file:{escaped}")).unwrap()
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

    async fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap();
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
