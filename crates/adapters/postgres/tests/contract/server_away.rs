//! The server goes away, and comes back: errors are quick, and recovery needs no restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_contract::store::migrate_up;
use anteroom_contract::store::{TestDatabase as _, ready};
use anteroom_domain::UserId;
use anteroom_ports::{Durability, Store, StoreError};
use anteroom_postgres::{PostgresOptions, PostgresStore};
use anteroom_services::migrations::schema_status;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::Schema;

async fn opened(options: PostgresOptions) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(options).await.unwrap())
}

async fn reads(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    store.read().await?.user(UserId(Uuid::nil())).await.map(|_| ())
}

async fn writes(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let mut unit = store.begin(Durability::Full).await?;
    unit.deployment_value("name", "value").await?;
    unit.commit().await
}

/// Holds so many connections at once, so that as many lie in the pool afterwards.
async fn fill_pool(store: &Arc<dyn Store>, connections: usize) {
    let mut held = Vec::new();
    for _ in 0..connections {
        held.push(store.read().await.unwrap());
    }
}

/// As a restarted server leaves a pool: every connection in it is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_of_dead_connections_serves_the_next_call() {
    let Some(schema) = Schema::new().await else { return };
    ready(&schema).await;
    let store = opened(schema.options()).await;
    let client = schema.client().await;
    for round in 0..3 {
        fill_pool(&store, 8).await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = $1 AND pid <> pg_backend_pid()";
        let ended: i64 = client.query_one(sql, &[&schema.name]).await.unwrap().get(0);
        assert!(ended >= 8, "{ended}");
        // A unit begins even if the news of the end is still on its way.
        if round != 1 {
            writes(&store).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        reads(&store).await.unwrap();
        store.ping().await.unwrap();
        writes(&store).await.unwrap();
    }
    schema.remove().await;
}

/// A unit whose connection ends under it fails, and leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_connection_ends_is_undone() {
    let Some(schema) = Schema::new().await else { return };
    ready(&schema).await;
    let store = opened(schema.options()).await;
    let mut unit = store.begin(Durability::Full).await.unwrap();
    unit.deployment_value("name", "lost").await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
    schema.client().await.query(sql, &[&schema.name]).await.unwrap();
    let error = unit.deployment_value("name", "lost").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    drop(unit);
    let mut unit = store.begin(Durability::Full).await.unwrap();
    assert_eq!(unit.deployment_value("name", "kept").await.unwrap(), "kept");
    schema.remove().await;
}

/// Nothing listens where the server was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_unavailable_at_once() {
    let options = PostgresOptions::new(SecretString::from("postgres://anteroom:secret@127.0.0.1:1/anteroom"));
    let store = opened(options).await;
    let started = Instant::now();
    for error in [
        reads(&store).await.unwrap_err(),
        writes(&store).await.unwrap_err(),
        store.ping().await.unwrap_err(),
        migrate_up(&store).await.unwrap_err(),
        schema_status(&*store).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

/// A way to the server that can be blocked without being closed: as a frozen server or a cut network looks.
struct Gate {
    port: u16,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(pass(client.0, server.1, is_open.clone()));
                tokio::spawn(pass(server.0, client.1, is_open.clone()));
            }
        });
        Self { port, open }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Nothing answers, and nothing is refused either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answering_is_unavailable_and_serves_again() {
    let Some(schema) = Schema::new().await else { return };
    ready(&schema).await;
    let server: tokio_postgres::Config = schema.url.parse().unwrap();
    let tokio_postgres::config::Host::Tcp(host) = &server.get_hosts()[0] else {
        eprintln!("skipped: the server is not reached by TCP");
        return;
    };
    let address = format!("{host}:{}", server.get_ports().first().unwrap_or(&5432));
    let gate = Gate::to(address.clone()).await;
    assert!(schema.url.contains(&address), "{address}");
    let options = PostgresOptions {
        url: SecretString::from(schema.url.replace(&address, &format!("127.0.0.1:{}", gate.port))),
        acquire_timeout: Duration::from_millis(600),
        statement_timeout: Duration::from_millis(800),
        ..schema.options()
    };
    let store = opened(options).await;
    fill_pool(&store, 4).await;
    let mut unit = store.begin(Durability::Full).await.unwrap();
    unit.deployment_value("name", "lost").await.unwrap();
    gate.open.send(false).unwrap();
    let started = Instant::now();
    let (statement, read, write, ping) = tokio::join!(
        unit.deployment_value("name", "lost"),
        reads(&store),
        writes(&store),
        store.ping()
    );
    for error in [
        statement.unwrap_err(),
        read.unwrap_err(),
        write.unwrap_err(),
        ping.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(unit);
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open.send(true).unwrap();
    let back = Instant::now();
    while let Err(error) = writes(&store).await {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(back.elapsed() < Duration::from_secs(5), "{error:?}");
    }
    while let Err(error) = reads(&store).await {
        assert!(back.elapsed() < Duration::from_secs(5), "{error:?}");
    }
    // What the frozen unit had written is not there, nor is it in anybody's way.
    let mut unit = store.begin(Durability::Full).await.unwrap();
    assert_eq!(unit.deployment_value("name", "kept").await.unwrap(), "value");
    schema.remove().await;
}

/// As through a pooler in transaction mode: no session is anybody's, and reads have a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_on_a_session_behind_a_pooler() {
    let Some(schema) = Schema::new().await else { return };
    ready(&schema).await;
    let options = PostgresOptions {
        pooler: true,
        ..schema.options()
    };
    let store = opened(options).await;
    for _ in 0..3 {
        reads(&store).await.unwrap();
        writes(&store).await.unwrap();
    }
    schema.remove().await;
}
