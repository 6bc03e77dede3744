//! Applications' databases, whose schema is changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anteroom_contract::migrations::TestApplication;
use anteroom_domain::migrations::Scope;
use anteroom_ports::MigrationDatabase;
use anteroom_postgres::PostgresMigrations;
use anteroom_testkit::postgres::{execute, url_of};
use async_trait::async_trait;
use secrecy::SecretString;
use tokio_postgres::Client;

use super::connect;

/// A database of a test's own: an application's migrations see all of it.
pub struct Application {
    server: String,
    name: String,
    url: String,
}

impl Application {
    pub async fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            eprintln!("skipped: TEST_DATABASE_URL is not set");
            return None;
        };
        let name = format!("app_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        execute(&server, &[format!("CREATE DATABASE {name}")]).await;
        Some(Self {
            url: url_of(&server, &name),
            server,
            name,
        })
    }

    /// A connection past the engine.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

#[async_trait]
impl TestApplication for Application {
    fn open(&self) -> Arc<dyn MigrationDatabase> {
        let url = SecretString::from(self.url.clone());
        Arc::new(PostgresMigrations::new(url, Scope::Application).unwrap())
    }

    async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        let sql = format!("SELECT ({sql})::bigint");
        self.client().await.query_one(&sql, &[]).await.unwrap().get(0)
    }

    async fn hold(&self, sql: &str) -> Box<dyn Send> {
        let held = self.client().await;
        held.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
        Box::new(held)
    }

    async fn remove(&self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        execute(&self.server, &[drop]).await;
    }
}

anteroom_contract::migrations_contract!(Application::new());

/// What only this server has.
mod postgres {
    use anteroom_contract::migrations::{Files, up};

    use super::*;

    /// Where its table lies, which is not where names are looked up. And a grant that was taken back is none.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_index_that_was_left_invalid_is_built_anew() {
        let Some(app) = Application::new().await else {
            return;
        };
        app.execute("CREATE SCHEMA other; CREATE TABLE other.t (a integer); INSERT INTO other.t VALUES (1), (1)")
            .await;
        for index in ["IF NOT EXISTS ti", "\"Other\""] {
            let sql = format!("CREATE UNIQUE INDEX CONCURRENTLY {index} ON other.t USING btree (a)");
            let list: Files<'_> = &[("1_i/up.sql", &sql), ("1_i/migration.toml", "transaction = false")];
            up(&app, list).await.unwrap_err();
            assert_eq!(
                app.number("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await,
                1
            );
            app.execute("UPDATE other.t SET a = 2 WHERE ctid = (SELECT min(ctid) FROM other.t)")
                .await;
            up(&app, list).await.unwrap();
            assert_eq!(
                app.number("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await,
                0
            );
            app.execute(
                "DROP SCHEMA other CASCADE; CREATE SCHEMA other; CREATE TABLE other.t (a integer); INSERT INTO \
                         other.t VALUES (1), (1); DROP TABLE __anteroom_app_history, __anteroom_app_versions",
            )
            .await;
        }
        app.remove().await;
    }

    /// The history is written by whoever runs it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_may_become_somebody_else() {
        let Some(app) = Application::new().await else {
            return;
        };
        let role = format!("nobody_of_{}", app.name);
        app.execute(&format!(
            "CREATE ROLE {role}; CREATE TABLE t (a integer); GRANT INSERT ON t TO {role}"
        ))
        .await;
        let sql = format!("SET ROLE {role}; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
        let list: Files<'_> = &[("1_r/up.sql", &sql), ("1_r/migration.toml", "transaction = false")];
        up(&app, list).await.unwrap();
        assert_eq!(app.number("SELECT count(*) FROM t").await, 2);
        app.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
        app.remove().await;
    }
}
