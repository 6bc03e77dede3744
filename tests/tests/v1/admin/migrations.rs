//! `/v1/admin/migrations`: Anteroom's own schema.

use anteroom_tests::{Kind, Setup, on_every_empty_store};
use serde_json::{Value, json};

on_every_empty_store![
    shows_what_was_done_and_by_whom,
    goes_down_and_up_with_a_fresh_login,
    changes_nothing_where_that_is_off,
    refuses_what_cannot_be_meant,
];

async fn shows_what_was_done_and_by_whom(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    let list = app.get("/v1/admin/migrations").by(&admin).expect(200).await.json();
    let all = list["data"].as_array().unwrap();
    assert!(
        all.len() > 20
            && all
                .iter()
                .all(|m| m["state"] == "applied" && m["applied_at"].is_string()),
        "{list}"
    );
    assert_eq!(
        (&all[0]["version"], &all[0]["name"]),
        (&json!("20261120000001"), &json!("accounts"))
    );
    let one = app
        .get("/v1/admin/migrations/20261120000001")
        .by(&admin)
        .expect(200)
        .await
        .json();
    let run = &one["runs"][0];
    assert_eq!(
        (&run["direction"], &run["outcome"]),
        (&json!("up"), &json!("succeeded"))
    );
    assert!(
        run["statements"].as_array().unwrap().len() == 2 && run["host"].as_str().is_some_and(|host| !host.is_empty())
    );
    // With hyphens it is the same.
    app.get("/v1/admin/migrations/2026-11-20-000001")
        .by(&admin)
        .expect(200)
        .await;
    app.get("/v1/admin/migrations/1")
        .by(&admin)
        .expect(404)
        .code("not_found")
        .await;
    app.get("/v1/admin/migrations/newest")
        .by(&admin)
        .expect(404)
        .code("not_found")
        .await;
    let plan = app.get("/v1/admin/migrations/plan").by(&admin).expect(200).await.json();
    assert_eq!(plan["data"], json!([]));
}

async fn goes_down_and_up_with_a_fresh_login(setup: &Setup) {
    let [app, other] = setup.nodes().await;
    let admin = app.admin().await;
    let user = app.user().await;
    let down = app
        .post("/v1/admin/migrations/down")
        .by(&admin)
        .json(&json!({ "steps": 1 }));
    let down = down
        .expect(200)
        .events(&["migration.reverted"])
        .audit(&["migration.down succeeded"])
        .await
        .json();
    let run = &down["data"][0];
    assert_eq!(
        (&run["direction"], &run["user"]),
        (&json!("down"), &json!(format!("user {}", admin.id)))
    );
    let version = run["version"].as_str().unwrap();
    // A node that has not seen them lets nobody in but admins.
    let refused = other.get("/v1/me").by(&user).expect(503);
    refused.code("schema_not_current").events(&["request.failed"]).await;
    let plan = other.get("/v1/admin/migrations/plan").by(&admin).expect(200);
    let plan = plan.events(&["session.holdings.unread"]).await.json();
    assert_eq!(plan["data"][0]["version"], version);
    assert!(
        plan["data"][0]["statements"][0]["sql"]
            .as_str()
            .is_some_and(|sql| !sql.is_empty())
    );
    let up = other.post("/v1/admin/migrations/up").by(&admin).json(&json!({}));
    let up = up
        .expect(200)
        .events(&["session.holdings.unread", "migration.applied"])
        .audit(&["migration.up succeeded"])
        .await
        .json();
    assert_eq!(up["data"][0]["version"], version);
    let again = app
        .post("/v1/admin/migrations/up")
        .by(&admin)
        .json(&json!({ "to": version }));
    assert_eq!(again.expect(200).await.json()["data"], json!([]));
    let one = app
        .get(&format!("/v1/admin/migrations/{version}"))
        .by(&admin)
        .expect(200)
        .await
        .json();
    let ways: Vec<&Value> = one["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["direction"])
        .collect();
    assert_eq!(ways, ["up", "down", "up"]);

    let eleven = match setup.kind() {
        Kind::Sqlite => "660000000",
        Kind::Postgres => "interval '11 minutes'",
    };
    let age = format!("UPDATE sessions SET authenticated_at = authenticated_at - {eleven}");
    setup.execute(&age).await;
    for (way, act) in [("up", "migration.up failed"), ("down", "migration.down failed")] {
        let late = other
            .post(&format!("/v1/admin/migrations/{way}"))
            .by(&admin)
            .json(&json!({ "to": version }));
        late.expect(403).code("reauthentication_required").audit(&[act]).await;
    }
}

async fn changes_nothing_where_that_is_off(setup: &Setup) {
    let app = setup.app_with(&[("database.migrate_api", "off")]).await;
    let admin = app.admin().await;
    app.get("/v1/admin/migrations").by(&admin).expect(200).await;
    for (way, ask) in [("up", json!({})), ("down", json!({ "steps": 1 }))] {
        let off = app.post(&format!("/v1/admin/migrations/{way}")).by(&admin).json(&ask);
        off.expect(403).code("migrations_disabled").await;
    }
}

async fn refuses_what_cannot_be_meant(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    for (way, ask, status, code) in [
        ("down", json!({}), 422, "validation_failed"),
        ("down", json!({ "steps": 0 }), 422, "validation_failed"),
        ("down", json!({ "steps": 1, "to": "1" }), 422, "validation_failed"),
        ("down", json!({ "to": "1" }), 409, "migration_refused"),
        ("down", json!({ "steps": 9999 }), 409, "migration_refused"),
        ("up", json!({ "to": "1" }), 404, "not_found"),
        ("up", json!({ "to": "newest" }), 422, "validation_failed"),
    ] {
        let refused = app.post(&format!("/v1/admin/migrations/{way}")).by(&admin).json(&ask);
        refused.expect(status).code(code).await;
    }
    let user = app.user().await;
    app.get("/v1/admin/migrations")
        .by(&user)
        .expect(403)
        .code("forbidden")
        .await;
}
