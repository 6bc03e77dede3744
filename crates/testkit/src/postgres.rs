//! Databases on a PostgreSQL server that tests are given copies of.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

use tokio_postgres::{Client, NoTls};

/// The URL of another database on the same server.
pub fn url_of(server: &str, name: &str) -> String {
    let (before, parameters) = server.split_once('?').unwrap_or((server, ""));
    let host = before.rsplit_once('/').map_or(before, |(host, _)| host);
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{host}/{name}{mark}{parameters}")
}

/// Runs statements, one after the other.
///
/// # Panics
/// If the server cannot be reached or refuses one.
pub async fn execute(url: &str, statements: &[String]) {
    let client = connect(url).await;
    for statement in statements {
        let done = client.batch_execute(statement).await;
        done.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|e| panic!("TEST_DATABASE_URL cannot be reached: {e}"));
    tokio::spawn(connection);
    client
}

/// Makes a database that others can be made from (`CREATE DATABASE … TEMPLATE …`), for as long as this process lives:
/// `fill`, which is given its URL, says what is in it. Answers its name.
///
/// # Panics
/// As [`execute`].
pub async fn template(server: &str, prefix: &str, fill: impl AsyncFnOnce(&str)) -> String {
    let name = format!("{prefix}_template_{}", std::process::id());
    let mut before = Vec::new();
    for left in templates(server, prefix).await {
        // A process of tests has no end of its own at which it could remove it.
        let process = left.rsplit('_').next().unwrap_or_default();
        if left == name || !Path::new("/proc").join(process).exists() {
            before.push(format!("DROP DATABASE IF EXISTS {left} WITH (FORCE)"));
        }
    }
    before.push(format!("CREATE DATABASE {name}"));
    execute(server, &before).await;
    fill(&url_of(server, &name)).await;
    let nobody_is_in_it = [
        format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"),
    ];
    execute(server, &nobody_is_in_it).await;
    name
}

async fn templates(server: &str, prefix: &str) -> Vec<String> {
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE $1";
    let rows = connect(server)
        .await
        .query(sql, &[&format!("{prefix}\\_template\\_%")])
        .await;
    let rows = rows.unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.iter().map(|row| row.get(0)).collect()
}
