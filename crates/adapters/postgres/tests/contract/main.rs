//! The suite every store must pass, and what only a server can do to one: go away and come back.
//!
//! Needs a server: `TEST_DATABASE_URL`, whose user may make databases and schemas, and end its own connections. Without
//! it, the tests are skipped.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say what they skip"
)]

mod applications;
mod server_away;
mod shape;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anteroom_contract::store::TestDatabase;
use anteroom_ports::Store;
use anteroom_postgres::{PostgresOptions, PostgresStore};
use async_trait::async_trait;
use secrecy::SecretString;
use tokio_postgres::{Client, NoTls};

/// A schema of a test's own.
struct Schema {
    name: String,
    url: String,
}

impl Schema {
    async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            eprintln!("skipped: TEST_DATABASE_URL is not set");
            return None;
        };
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        connect(&server)
            .await
            .batch_execute(&format!("CREATE SCHEMA {name}"))
            .await
            .unwrap();
        let mark = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{mark}options=-c%20search_path%3D{name}");
        Some(Self { name, url })
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions {
            max_connections: 8,
            application_name: self.name.clone(),
            ..PostgresOptions::new(SecretString::from(self.url.clone()))
        }
    }

    /// A connection past the store.
    async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[async_trait]
impl TestDatabase for Schema {
    async fn open(&self, acquire_timeout: Duration) -> Arc<dyn Store> {
        let options = PostgresOptions {
            acquire_timeout,
            statement_timeout: Duration::from_secs(20),
            ..self.options()
        };
        Arc::new(PostgresStore::open(options).await.unwrap())
    }

    async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    async fn refuses(&self, sql: &str) -> bool {
        self.client().await.batch_execute(sql).await.is_err()
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let client = self.client().await;
        // Compiling what is asked once takes longer than answering it.
        client.batch_execute("SET jit = off").await.unwrap();
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn shape(&self) -> Vec<String> {
        shape::of(&self.client().await, &self.name).await
    }

    async fn remove(&self) {
        self.execute(&format!(
            "SET client_min_messages = warning; DROP SCHEMA {} CASCADE",
            self.name
        ))
        .await;
    }
}

anteroom_contract::store_contract!(Schema::new());
