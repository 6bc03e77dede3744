//! The suite every store must pass, on a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anteroom_contract::store::TestDatabase;
use anteroom_contract::store::migrations::shape_line;
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

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    required: i64,
    #[diesel(sql_type = BigInt)]
    key: i64,
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
        let sql = "SELECT m.name AS table_name, p.name AS name, p.type AS kind, p.\"notnull\" AS required, p.pk AS key \
                   FROM sqlite_schema m JOIN pragma_table_info(m.name) p \
                   WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY m.name, p.cid";
        let columns: Vec<Column> = diesel::sql_query(sql).load(&mut self.connect()).unwrap();
        let line = |column: Column| {
            let kind = match column.kind.as_str() {
                "BLOB" => "bytes",
                "INTEGER" => "integer",
                "TEXT" => "text",
                other => other,
            };
            let key = usize::try_from(column.key).ok().filter(|place| *place > 0);
            shape_line(&column.table_name, &column.name, kind, column.required == 0, key)
        };
        columns.into_iter().map(line).collect()
    }

    async fn remove(&self) {}
}

anteroom_contract::store_contract!(File::new());
