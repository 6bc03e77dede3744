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

use anteroom_contract::store::{TestDatabase, migrate_up};
use anteroom_ports::Store;
use anteroom_postgres::{PostgresOptions, PostgresStore};
use anteroom_testkit::postgres::{execute, template, url_of};
use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

/// A schema in a database of a test's own, which is made when it is first needed.
struct Schema {
    server: String,
    /// Of the database.
    name: String,
    url: String,
    made: OnceCell<()>,
}

/// What the schema is called: not `public`, so that nothing depends on that.
const ROOM: &str = "room";

/// The URL with this schema as the only one that is looked into.
fn within(url: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}options=-c%20search_path%3D{ROOM}")
}

impl Schema {
    #[expect(clippy::unused_async, reason = "the suite awaits it")]
    async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            eprintln!("skipped: TEST_DATABASE_URL is not set");
            return None;
        };
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self {
            url: within(&url_of(&server, &name)),
            server,
            name,
            made: OnceCell::new(),
        })
    }

    async fn make(&self, template: &str) {
        let make = format!("CREATE DATABASE {} TEMPLATE {template}", self.name);
        execute(&self.server, &[make]).await;
    }

    /// Makes it with nothing in it, if it is not there.
    async fn made(&self) {
        let empty = async {
            self.make("template1").await;
            execute(&url_of(&self.server, &self.name), &[format!("CREATE SCHEMA {ROOM}")]).await;
        };
        self.made.get_or_init(|| empty).await;
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
        self.made().await;
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
        self.made().await;
        let options = PostgresOptions {
            acquire_timeout,
            statement_timeout: Duration::from_secs(20),
            ..self.options()
        };
        Arc::new(PostgresStore::open(options).await.unwrap())
    }

    async fn prepare(&self) {
        static PREPARED: OnceCell<String> = OnceCell::const_new();
        let template = PREPARED.get_or_init(|| {
            template(&self.server, "test", async |url| {
                execute(url, &[format!("CREATE SCHEMA {ROOM}")]).await;
                let options = PostgresOptions::new(SecretString::from(within(url)));
                let store: Arc<dyn Store> = Arc::new(PostgresStore::open(options).await.unwrap());
                migrate_up(&store).await.unwrap();
            })
        });
        let template = template.await;
        self.made.get_or_init(|| self.make(template)).await;
        // If it was there with nothing in it.
        migrate_up(&self.open(Duration::from_secs(20)).await).await.unwrap();
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
        shape::of(&self.client().await, ROOM).await
    }

    async fn remove(&self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        execute(&self.server, &[drop]).await;
    }
}

anteroom_contract::store_contract!(Schema::new());

/// As a tool does that has a connection of Diesel's; the engine finds nothing left to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diesels_harness_runs_the_own_migrations() {
    use anteroom_postgres::diesel_migrations;
    use anteroom_services::migrations::schema_status;
    use diesel::migration::MigrationSource;
    use diesel_async::{AsyncConnection as _, AsyncMigrationHarness, AsyncPgConnection};
    use diesel_migrations::MigrationHarness as _;

    let Some(schema) = Schema::new().await else { return };
    schema.made().await;
    let applied = MigrationSource::<diesel::pg::Pg>::migrations(&diesel_migrations())
        .unwrap()
        .len();
    let connection = AsyncPgConnection::establish(&schema.url).await.unwrap();
    let mut harness = AsyncMigrationHarness::new(connection);
    let run = tokio::task::block_in_place(|| harness.run_pending_migrations(diesel_migrations()).unwrap().len());
    let store = schema.open(Duration::from_secs(20)).await;
    let status = schema_status(&*store).await.unwrap();
    assert!(
        status.current() && status.applied.len() == applied && run == applied,
        "{status:?}"
    );
    let shape = schema.shape().await;
    assert_eq!(migrate_up(&store).await.unwrap(), []);
    let other = Schema::new().await.unwrap();
    other.prepare().await;
    assert_eq!(other.shape().await, shape);
    let reverted = tokio::task::block_in_place(|| harness.revert_all_migrations(diesel_migrations()).unwrap().len());
    assert_eq!((reverted, schema.shape().await), (applied, Vec::new()));
    other.remove().await;
    schema.remove().await;
}
