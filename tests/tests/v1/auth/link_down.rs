//! The link on which a node hears what others end is cut, again and again: sessions end within a second all the same.

use std::time::{Duration, Instant};

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Kind, Script, Setup, Step, Upstream, eventually_asking, run};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

/// What is promised, and what a busy machine may take besides.
const SOON: Duration = Duration::from_millis(1000 + 500);

/// Everybody has all models.
const OPEN: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }] }]"#;

#[test]
fn takes_up_models_within_a_second_on_postgres() {
    run(Kind::Postgres, takes_up_models_within_a_second);
}

#[test]
fn ends_sessions_within_a_second_on_postgres() {
    run(Kind::Postgres, ends_sessions_within_a_second);
}

fn as_application(url: &str, name: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}application_name={name}")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn ends_sessions_within_a_second(setup: &Setup) {
    let upstream = Upstream::start().await;
    let name = format!("link-down-{}", std::process::id());
    let url = setup.variables(&[]).remove("ANTEROOM__DATABASE__URL").unwrap();
    let named = as_application(&url, &name);
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let here = setup.app_with(&settings).await;
    settings.push(("database.url", &named));
    let there = setup.app_with(&settings).await;
    let killing = cut(&url, &name).await;
    for _ in 0..3 {
        let ada = here.user().await;
        upstream.on("m", Script::stream(vec![sse(&chunk("word ")), Step::Hang]));
        let ask = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
        let mut stream = there.post("/v1/chat/completions").by(&ada).json(&ask).stream().await;
        stream.next().await.unwrap();
        there.get("/v1/auth/session").by(&ada).await.is(200);
        let begun = Instant::now();
        here.post("/v1/auth/logout").by(&ada).await.is(204);
        eventually_asking("the deaf node notices", async || {
            (there.get("/v1/me").by(&ada).await.status == 401).then_some(())
        })
        .await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let last = stream.rest().await.pop().expect("an error says why it ends");
        assert_eq!(last.json()["error"]["code"], "unauthenticated", "{last:?}");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        upstream.hung_up().await;
    }
    killing.abort();
}

/// Cuts the link on which the nodes of this name listen, again and again.
async fn cut(url: &str, name: &str) -> tokio::task::JoinHandle<()> {
    let killer = connect(url).await;
    let kill =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name} (listening)'");
    // There is one, and it can be told from the others.
    let rows = eventually_asking("the node listens", async || {
        let rows = killer.query(&kill, &[]).await.unwrap();
        (!rows.is_empty()).then_some(rows.len())
    });
    assert_eq!(rows.await, 1);
    tokio::spawn(async move {
        loop {
            killer.query(&kill, &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

async fn takes_up_models_within_a_second(setup: &Setup) {
    let name = format!("link-down-models-{}", std::process::id());
    let url = setup.variables(&[]).remove("ANTEROOM__DATABASE__URL").unwrap();
    let named = as_application(&url, &name);
    let public = ("server.public_url", "http://anteroom.example.test");
    let plans = ("billing.plans", OPEN);
    let here = setup.app_with(&[public, plans]).await;
    let there = setup.app_with(&[public, plans, ("database.url", &named)]).await;
    let (admin, user) = (here.admin().await, here.user().await);
    let killing = cut(&url, &name).await;
    let body = json!({ "targets": [{ "provider": "echo", "model": "echo" }] });
    for number in 0..3 {
        let path = format!("/v1/models/new-{number}");
        there.get(&path).by(&user).await.is(404);
        let begun = Instant::now();
        let put = here.ask("PUT", &format!("/v1/admin/models/new-{number}"));
        put.by(&admin).json(&body).await.is(201);
        eventually_asking("the deaf node notices", async || {
            (there.get(&path).by(&user).await.status == 200).then_some(())
        })
        .await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    killing.abort();
}
