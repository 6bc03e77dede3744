//! Nodes that start at once on an empty store.

use anteroom_tests::app::http_client;
use anteroom_tests::process::Server;
use anteroom_tests::{Setup, on_every_empty_store};
use futures_util::future::join_all;

use super::{log_in, sign_up};

on_every_empty_store![four_can_start_at_once_on_nothing];

async fn four_can_start_at_once_on_nothing(setup: &Setup) {
    // No secret key is set: the four have to agree on the one that they make.
    let variables = setup.variables(&[("server.public_url", "http://anteroom.example.test")]);
    let servers = join_all((0..4).map(|_| Server::start(setup.folder(), &variables))).await;
    let token = sign_up(&servers[0].url, "ada@example.com").await;
    let client = http_client();
    for server in &servers {
        let me = client
            .get(format!("{}/v1/me", server.url))
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        assert_eq!(me.status(), 200);
        assert_eq!(log_in(&client, &server.url, "ada@example.com").await, 200);
        let ready = client.get(format!("{}/health/ready", server.url)).send().await.unwrap();
        assert_eq!(ready.status(), 200);
    }
    // And of the signing keys that they would have made.
    let mut key_sets = Vec::new();
    for server in &servers {
        let keys = client.get(format!("{}/.well-known/jwks.json", server.url));
        key_sets.push(keys.send().await.unwrap().text().await.unwrap());
    }
    assert_eq!(key_sets[0].matches("\"kid\"").count(), 1, "{}", key_sets[0]);
    assert!(key_sets.iter().all(|keys| *keys == key_sets[0]), "{key_sets:?}");
    // Each migration was applied by one of them.
    let said: String = servers.iter().map(Server::said).collect();
    let mut applied: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("\"migration.applied\""))
        .map(|line| line.split("\"version\":\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    let times = applied.len();
    applied.sort_unstable();
    applied.dedup();
    assert!(times >= 6 && times == applied.len(), "{said}");
}
