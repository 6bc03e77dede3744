//! `/health` and `/health/ready`; when the store is away, see `process/store_down.rs`.

use anteroom_tests::{Setup, on_every_store};
use serde_json::json;

on_every_store![is_told_to_anybody];

async fn is_told_to_anybody(setup: &Setup) {
    let app = setup.app().await;
    let version = env!("CARGO_PKG_VERSION");
    let health = app.get("/health").expect(200).await.json();
    assert_eq!(health, json!({ "status": "ok", "version": version }));
    let ready = app.get("/health/ready").expect(200).await.json();
    assert_eq!(
        ready,
        json!({ "status": "ok", "version": version, "schema": "current" })
    );
    let head = app.ask("HEAD", "/health").await.is(200);
    assert_eq!(head.body, b"");
}
