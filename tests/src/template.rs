//! Databases with the schema on them, which each test gets a copy of: bringing it up takes longer than most tests do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anteroom_postgres::{PostgresOptions, PostgresStore};
use anteroom_services::migrations::bring_up;
use anteroom_sqlite::{SqliteOptions, SqliteStore};
use anteroom_testkit::FixedClock;
use anteroom_testkit::postgres::template;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::setup::execute_in;

/// The name of a database with the schema on it, to which nobody is connected.
pub(crate) async fn database(server: &str) -> &'static str {
    static NAME: OnceCell<String> = OnceCell::const_new();
    let made = NAME.get_or_init(|| {
        template(server, "e2e", async |url| {
            let options = PostgresOptions::new(SecretString::from(url));
            let store = PostgresStore::open(options).await.unwrap();
            bring_up(&store, Arc::new(FixedClock::new())).await.unwrap();
        })
    });
    made.await
}

/// Writes a SQLite file with the schema on it.
pub(crate) async fn file(path: &Path) {
    static BYTES: OnceCell<Vec<u8>> = OnceCell::const_new();
    let bytes = BYTES.get_or_init(|| async {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("anteroom.db");
        let options = SqliteOptions {
            path: file.clone(),
            readers: 1,
            acquire_timeout: Duration::from_secs(10),
        };
        let store = SqliteStore::open(options).await.unwrap();
        bring_up(&store, Arc::new(FixedClock::new())).await.unwrap();
        // All that is in the log beside it, too.
        let copy = folder.path().join("copy.db");
        execute_in(&file, &format!("VACUUM INTO '{}'", copy.display()));
        drop(store);
        std::fs::read(copy).unwrap()
    });
    std::fs::write(path, bytes.await).unwrap();
}
