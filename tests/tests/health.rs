//! `/health` and `/health/ready`; when the store is away, see `process/store_down.rs`.

use anteroom_tests::{Setup, on_every_store};
use serde_json::json;

on_every_store![is_told_to_anybody, says_that_the_schema_is_another_versions];

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

async fn says_that_the_schema_is_another_versions(setup: &Setup) {
    let app = setup.app().await;
    // A newer version brings the schema up while this one still runs.
    setup
        .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99999999999999')")
        .await;
    let refused = app.get("/health/ready").expect(503).code("schema_not_current").await;
    assert!(refused.header("retry-after").is_some());
    app.get("/health").expect(200).await;
    setup
        .execute("DELETE FROM __diesel_schema_migrations WHERE version = '99999999999999'")
        .await;
    app.get("/health/ready").expect(200).await;
}
