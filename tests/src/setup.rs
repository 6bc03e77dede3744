//! What a test has to itself: a store, a data folder, and the servers it starts on them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anteroom_app::config::{LoadInput, load};
use anteroom_testkit::postgres::{execute, url_of};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::app::TestApp;
use crate::{FRONTEND, STUB_KEY, WEBHOOK_SECRET, logs, template};

/// Which store a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file in the test's own folder.
    Sqlite,
    /// A database of the test's own on the server that `TEST_DATABASE_URL` names.
    Postgres,
}

/// Seconds that no test takes, unless it hangs or is told to do more than usual: `ANTEROOM_TEST_SECONDS` is for that.
const LONGEST: u64 = 180;

/// Tests that may use the PostgreSQL server at once: two nodes each, with a pool each, stay below the 100 connections
/// that a server takes as it is installed.
const ON_POSTGRES: usize = 4;

/// What a test has to itself.
pub struct Setup {
    kind: Kind,
    folder: TempDir,
    database: Option<Database>,
    apps: Mutex<Vec<TestApp>>,
    /// To whom mails were to leave.
    mails: Arc<Mutex<Vec<String>>>,
}

/// Runs a test on a store whose schema is up, and takes away afterwards what was made for it.
pub fn run(kind: Kind, test: impl AsyncFnOnce(&Setup)) {
    run_with(kind, true, test);
}

/// Runs a test on a store with nothing in it.
pub fn run_on_empty(kind: Kind, test: impl AsyncFnOnce(&Setup)) {
    run_with(kind, false, test);
}

fn run_with(kind: Kind, prepared: bool, test: impl AsyncFnOnce(&Setup)) {
    let server = std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty());
    if kind == Kind::Postgres && server.is_none() {
        return crate::skipped("TEST_DATABASE_URL names no PostgreSQL server");
    }
    logs::keep();
    let _turn = (kind == Kind::Postgres).then(Turn::take);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let setup = Setup {
            kind,
            folder: TempDir::with_prefix("anteroom-test-").unwrap(),
            database: match server.filter(|_| kind == Kind::Postgres) {
                Some(server) => Some(Database::create(&server, prepared).await),
                None => None,
            },
            apps: Mutex::default(),
            mails: Arc::default(),
        };
        if prepared && kind == Kind::Sqlite {
            std::fs::create_dir(setup.data()).unwrap();
            template::file(&setup.data().join("anteroom.db")).await;
        }
        let longest = Duration::from_secs(crate::number_from("ANTEROOM_TEST_SECONDS", LONGEST));
        let outcome = tokio::time::timeout(longest, AssertUnwindSafe(test(&setup)).catch_unwind()).await;
        let apps = std::mem::take(&mut *setup.apps.lock().unwrap());
        if matches!(outcome, Ok(Ok(()))) {
            // Nodes of one test share a folder, so that one of them can speak for all.
            for app in &apps {
                if app.mails_are_all().await {
                    break;
                }
            }
        }
        futures_util::future::join_all(apps.iter().map(TestApp::stop)).await;
        drop(apps);
        if let Some(database) = &setup.database {
            database.remove().await;
        }
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => panic!("the test has not ended within {longest:?}"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

impl Setup {
    /// Which store it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The test's own folder; data are in `data` below it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder of the servers.
    pub fn data(&self) -> std::path::PathBuf {
        self.folder().join("data")
    }

    /// The variables that a server is started with, and what is `set` besides, by key: `("ai.models", "a,b")`.
    pub fn variables(&self, set: &[(&str, &str)]) -> BTreeMap<String, String> {
        let data = self.data();
        let mut keys = vec![
            ("data.dir", data.to_str().unwrap()),
            ("server.port", "0"),
            ("server.workers", "2"),
            ("server.shutdown_grace_seconds", "1"),
            ("server.frontend_url", FRONTEND),
            ("metrics.enabled", "false"),
            ("passwords.bcrypt_cost", "4"),
            ("passwords.max_wait_ms", "20000"),
            ("protection.enabled", "false"),
            ("stripe_stub.webhook_secret", WEBHOOK_SECRET),
            ("stripe_stub.secret_key", STUB_KEY),
            ("database.max_connections", "8"),
            ("database.acquire_timeout_ms", "15000"),
            ("log.format", "json"),
        ];
        if let Some(database) = &self.database {
            keys.push(("database.url", &database.url));
        }
        keys.extend_from_slice(set);
        keys.into_iter()
            .map(|(key, value)| {
                // What is no key is a variable that a key names.
                let name = if key.contains('.') {
                    format!("ANTEROOM__{}", key.to_uppercase().replace('.', "__"))
                } else {
                    key.to_owned()
                };
                (name, value.to_owned())
            })
            .collect()
    }

    /// Starts a server with the defaults of the tests.
    pub async fn app(&self) -> TestApp {
        self.app_with(&[]).await
    }

    /// Starts a server with what is `set` besides. A second one is a second node on the same store.
    pub async fn app_with(&self, set: &[(&str, &str)]) -> TestApp {
        self.try_app_with(set)
            .await
            .unwrap_or_else(|e| panic!("the server does not start: {e:#}"))
    }

    /// Runs SQL past the server, as somebody who has the database would.
    pub async fn execute(&self, sql: &str) {
        if let Some(database) = &self.database {
            return execute(&database.url, &[sql.to_owned()]).await;
        }
        execute_in(&self.data().join("anteroom.db"), sql);
    }

    /// Does what waits in the outbox besides mails, and waits for what the server is doing of it.
    pub async fn errands_are_done(&self, app: &TestApp) {
        app.errands_are_run().await;
        crate::eventually_asking("no errand waits", async || {
            let waiting = self.number("SELECT count(*) AS n FROM outbox WHERE topic <> 'mail'");
            (waiting.await == 0).then_some(())
        })
        .await;
    }

    /// The number that SQL selects as `n`, a BIGINT, past the server.
    pub async fn number(&self, sql: &str) -> i64 {
        if let Some(database) = &self.database {
            let (client, connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
            let connection = tokio::spawn(connection);
            let row = client
                .query_one(sql, &[])
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
            drop(client);
            connection.await.unwrap().unwrap();
            return row.get("n");
        }
        number_in(&self.data().join("anteroom.db"), sql)
    }

    /// Two nodes on the same store, as clients reach them: under one public URL.
    pub async fn nodes(&self) -> [TestApp; 2] {
        let one_url = [("server.public_url", "http://anteroom.example.test")];
        let first = self.app_with(&one_url).await;
        // They share the first one's stub of Stripe, as they would share Stripe.
        let stub = format!("{}/stripe-stub/", first.url());
        let second = self.app_with(&[one_url[0], ("stripe_stub.url", &stub)]).await;
        [first, second]
    }

    /// Tries to start a server.
    pub async fn try_app_with(&self, set: &[(&str, &str)]) -> Result<TestApp, String> {
        let input = LoadInput {
            env: self.variables(set),
            ..LoadInput::default()
        };
        let loaded = load(input).map_err(|e| e.to_string())?;
        let running = anteroom_app::serve(loaded.settings)
            .await
            .map_err(|e| format!("{e:#}"))?;
        let app = TestApp::new(running, self.data(), Arc::clone(&self.mails));
        self.apps.lock().unwrap().push(app.clone());
        Ok(app)
    }
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

/// One of the [`ON_POSTGRES`] places.
struct Turn;

static TURNS: (Mutex<usize>, Condvar) = (Mutex::new(ON_POSTGRES), Condvar::new());

impl Turn {
    fn take() -> Self {
        let free = TURNS.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = TURNS
            .1
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        TURNS.1.notify_one();
    }
}

/// A database on a PostgreSQL server.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    async fn create(server: &str, prepared: bool) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{number}", std::process::id());
        let template = if prepared {
            template::database(server).await
        } else {
            "template1"
        };
        execute(server, &[format!("CREATE DATABASE {name} TEMPLATE {template}")]).await;
        Self {
            url: url_of(server, &name),
            server: server.to_owned(),
            name,
        }
    }

    async fn remove(&self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        execute(&self.server, &[drop]).await;
    }
}

fn open(file: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    conn
}

/// Runs SQL on a SQLite file.
pub fn execute_in(file: &Path, sql: &str) {
    let done = open(file).batch_execute(sql);
    done.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// The number that SQL selects as `n` from a SQLite file.
pub fn number_in(file: &Path, sql: &str) -> i64 {
    let row: diesel::QueryResult<Number> = diesel::sql_query(sql).get_result(&mut open(file));
    row.unwrap_or_else(|e| panic!("{sql}: {e}")).n
}
