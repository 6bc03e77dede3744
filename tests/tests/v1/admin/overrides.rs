//! `/v1/admin/users/{id}/overrides`

use anteroom_tests::{Setup, TestApp, User, on_every_store};
use serde_json::{Value, json};

on_every_store![
    a_plan_is_granted_and_taken_back_on_every_node,
    a_limit_is_granted_beside_the_plan,
    what_makes_no_sense_is_refused,
    is_for_admins,
];

async fn held(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me/subscription").by(user).await.is(200).json()
}

fn path(user: &User) -> String {
    format!("/v1/admin/users/{}/overrides", user.id)
}

async fn a_plan_is_granted_and_taken_back_on_every_node(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let (admin, user) = (here.admin().await, here.user().await);
    there.get("/v1/auth/session").by(&user).await.is(200);
    let ask =
        json!({ "plan": "business", "reason": "Three months for the outage", "expires_at": "2999-01-01T00:00:00Z" });
    let granted = here.post(&path(&user)).by(&admin).json(&ask).expect(201);
    let granted = granted.events(&["billing.override.granted"]).await.json();
    assert_eq!(
        (&granted["plan"], &granted["granted_by"]),
        (&json!("business"), &json!(admin.id))
    );
    for node in [&here, &there] {
        let held = held(node, &user).await;
        let said = json!([
            held["plan"],
            held["status"],
            held["active"],
            held["reason"],
            held["until"]
        ]);
        assert_eq!(
            said,
            json!(["business", "none", true, "granted", "2999-01-01T00:00:00Z"]),
            "{held}"
        );
    }
    let second = std::time::Duration::from_secs(1);
    anteroom_tests::eventually_asking("the other node's session has heard", async || {
        let session = there.get("/v1/auth/session").by(&user).await.is(200).json();
        (session["subscription"]["plan"] == "business").then_some(())
    })
    .await;
    let id = granted["id"].as_str().unwrap();
    let revoke = |by: &User| here.delete(&format!("{}/{id}", path(&user))).by(by);
    revoke(&admin).expect(204).events(&["billing.override.revoked"]).await;
    revoke(&admin).expect(404).code("not_found").await;
    tokio::time::sleep(second).await;
    let session = there.get("/v1/auth/session").by(&user).await.is(200).json();
    assert_eq!(session["subscription"]["plan"], "free");
    let listed = here.get(&path(&user)).by(&admin).await.is(200).json();
    let listed = &listed["data"];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(
        listed[0]["revoked_at"].is_string() && listed[0]["reason"] == "Three months for the outage",
        "{listed}"
    );
    // Both are on record.
    let audit = here
        .get("/v1/admin/audit?act=billing.override")
        .by(&admin)
        .await
        .is(200)
        .json();
    let acts: Vec<_> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["act"].as_str())
        .collect();
    assert_eq!(acts, ["billing.override.revoke", "billing.override.grant"]);
}

async fn a_limit_is_granted_beside_the_plan(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let limit = json!({ "key": "messages", "kind": "metered", "limit": 500, "window": "day" });
    let grants = [
        json!({ "entitlement": limit, "reason": "a busy week" }),
        json!({ "entitlement": { "key": "beta", "kind": "boolean", "value": true }, "reason": "a tester" }),
        json!({ "entitlement": { "key": "seats", "kind": "static", "value": 7 }, "reason": "by agreement" }),
    ];
    for ask in grants {
        app.post(&path(&user)).by(&admin).json(&ask).await.is(201);
    }
    let entitlements = app.get("/v1/me/entitlements").by(&user).await.is(200).json();
    let of = |key: &str| {
        entitlements["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["key"] == key)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&of("messages")["limit"], &of("messages")["used"]),
        (&json!(500), &json!(0))
    );
    assert_eq!((&of("beta")["value"], &of("seats")["value"]), (&json!(true), &json!(7)));
    assert_eq!(held(&app, &user).await["plan"], "free");
}

async fn what_makes_no_sense_is_refused(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let entitlement = |said: Value| json!({ "entitlement": said, "reason": "x" });
    let table = [
        (json!({ "plan": "gold", "reason": "x" }), "/plan"),
        (json!({ "plan": "pro", "reason": "  " }), "/reason"),
        (
            json!({ "plan": "pro", "reason": "x", "expires_at": "2001-01-01T00:00:00Z" }),
            "/expires_at",
        ),
        (json!({ "reason": "x" }), ""),
        (
            json!({ "plan": "pro", "entitlement": { "key": "a", "kind": "boolean", "value": true }, "reason": "x" }),
            "",
        ),
        (
            entitlement(json!({ "key": "a", "kind": "boolean" })),
            "/entitlement/value",
        ),
        (
            entitlement(json!({ "key": "a", "kind": "static" })),
            "/entitlement/value",
        ),
        (
            entitlement(json!({ "key": "a", "kind": "metered", "limit": 1 })),
            "/entitlement/window",
        ),
        (
            entitlement(json!({ "key": "a", "kind": "metered", "limit": -1, "window": "day" })),
            "/entitlement/limit",
        ),
        (
            entitlement(json!({ "key": "a", "kind": "metered", "value": 1, "window": "day" })),
            "/entitlement/value",
        ),
        (entitlement(json!({ "key": "a", "kind": "odd" })), "/entitlement/kind"),
        (
            entitlement(json!({ "key": "", "kind": "boolean", "value": true })),
            "/entitlement/key",
        ),
    ];
    for (ask, pointer) in table {
        let refused = app.post(&path(&user)).by(&admin).json(&ask);
        refused.expect(422).errors(&[(pointer, "refused")]).await;
    }
    let nobody = "/v1/admin/users/00000000-0000-7000-8000-000000000000/overrides";
    let ask = app
        .post(nobody)
        .by(&admin)
        .json(&json!({ "plan": "pro", "reason": "x" }));
    ask.expect(404).code("not_found").await;
    app.get(nobody).by(&admin).expect(404).code("not_found").await;
}

async fn is_for_admins(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let ask = json!({ "plan": "business", "reason": "because" });
    app.post(&path(&user))
        .by(&user)
        .json(&ask)
        .expect(403)
        .code("forbidden")
        .await;
    app.post(&path(&user))
        .json(&ask)
        .expect(401)
        .code("unauthenticated")
        .await;
    app.get(&path(&user)).by(&user).expect(403).code("forbidden").await;
    let id = "00000000-0000-7000-8000-000000000000";
    let ask = app.delete(&format!("{}/{id}", path(&user))).by(&user);
    ask.expect(403).code("forbidden").await;
    assert_eq!(held(&app, &user).await["plan"], "free");
}
