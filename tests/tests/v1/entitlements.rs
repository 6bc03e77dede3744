//! `/v1/entitlements/check` and `consume`: the gate of the operator's own product.

use anteroom_tests::{Ask, Setup, TestApp, User, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::v1::me::api_keys::made;

on_every_store![
    say_what_the_plan_has,
    use_up_what_is_metered,
    count_once_under_an_idempotency_key,
    count_for_good_what_is_given_back,
    hold_a_limit_exactly_whoever_runs_in_parallel,
    follow_the_plan_and_what_is_granted,
    serve_a_backend_with_an_admins_key,
    are_shut_with_the_account,
    refuse_what_makes_no_sense,
];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [
        { key = "messages", kind = "metered", limit = 5, window = "day" },
        { key = "exports", kind = "metered", limit = 3, window = "day" },
        { key = "sso", kind = "boolean", value = false },
        { key = "seats", kind = "static", value = 2 },
        { key = "users", kind = "metered", limit = 20, window = "always" },
    ] },
    { key = "pro", name = "Pro", version = 1, rank = 1, models = "all", prices = [{ amount = 1900, currency = "usd", interval = "month" }], entitlements = [
        { key = "messages", kind = "metered", window = "day" },
        { key = "exports", kind = "metered", limit = 10, window = "day" },
        { key = "exports", kind = "metered", limit = 12, window = "month" },
        { key = "sso", kind = "boolean", value = true },
        { key = "reports", kind = "metered", window = "month" },
    ] },
]"#;

async fn app(setup: &Setup) -> TestApp {
    setup.app_with(&[("billing.plans", PLANS)]).await
}

fn check(app: &TestApp, user: &User, key: &str) -> Ask {
    app.post("/v1/entitlements/check").by(user).json(&json!({ "key": key }))
}

fn consume(app: &TestApp, user: &User, key: &str, amount: i64) -> Ask {
    let ask = json!({ "key": key, "amount": amount });
    app.post("/v1/entitlements/consume").by(user).json(&ask)
}

async fn used(app: &TestApp, user: &User, key: &str) -> i64 {
    check(app, user, key).await.is(200).json()["used"].as_i64().unwrap()
}

async fn say_what_the_plan_has(setup: &Setup) {
    let app = app(setup).await;
    let user = app.user().await;
    let said = async |key: &str| {
        let said = check(&app, &user, key).await.is(200).json();
        json!([
            said["allowed"],
            said["reason"],
            said["value"],
            said["limit"],
            said["used"],
            said["remaining"]
        ])
    };
    assert_eq!(said("exports").await, json!([true, null, null, 3, 0, 3]));
    assert_eq!(said("sso").await, json!([false, "feature_off", null, null, null, null]));
    assert_eq!(said("seats").await, json!([true, null, 2, null, null, null]));
    assert_eq!(
        said("unheard of").await,
        json!([false, "feature_not_in_plan", null, null, null, null])
    );
    assert_eq!(said("messages").await, json!([true, null, null, 5, 0, 5]));
    let much = app
        .post("/v1/entitlements/check")
        .by(&user)
        .json(&json!({ "key": "exports", "amount": 4 }));
    let much = much.await.is(200).json();
    assert_eq!(
        (&much["allowed"], &much["reason"]),
        (&json!(false), &json!("quota_exceeded")),
        "{much}"
    );
    assert_eq!(used(&app, &user, "exports").await, 0, "asking uses nothing up");
}

async fn use_up_what_is_metered(setup: &Setup) {
    let app = app(setup).await;
    let user = app.user().await;
    let said = consume(&app, &user, "exports", 2).await.is(200).json();
    assert_eq!(
        (&said["used"], &said["remaining"], &said["allowed"]),
        (&json!(2), &json!(1), &json!(true)),
        "{said}"
    );
    let refused = consume(&app, &user, "exports", 2).expect(402).code("quota_exceeded");
    let refused = refused.events(&["entitlement.denied"]).await.json();
    let told = json!([refused["meter"], refused["limit"], refused["used"]]);
    assert_eq!(told, json!(["exports", 3, 2]), "{refused}");
    assert!(refused["resets_at"].is_string());
    consume(&app, &user, "exports", 1).await.is(200);
    assert_eq!(used(&app, &user, "exports").await, 3);
    // It is what the account's own page shows.
    let all = app.get("/v1/me/entitlements").by(&user).await.is(200).json();
    let exports = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "exports")
        .unwrap()
        .clone();
    assert_eq!((&exports["used"], &exports["limit"]), (&json!(3), &json!(3)));
    let ask = consume(&app, &user, "unheard of", 1)
        .expect(403)
        .code("feature_not_in_plan");
    ask.events(&["entitlement.denied"]).await;
}

async fn count_for_good_what_is_given_back(setup: &Setup) {
    let app = app(setup).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let release = |key: &str, amount: i64| {
        let ask = json!({ "key": key, "amount": amount, "user_id": user.id });
        app.post("/v1/entitlements/release").by(&admin).json(&ask)
    };
    // However many come at once, there are never more than the plan has; and those that go make room.
    let came = join_all((0..64).map(|_| async { consume(&app, &user, "users", 1).await.status })).await;
    assert_eq!(came.iter().filter(|status| **status == 200).count(), 20, "{came:?}");
    let full = consume(&app, &user, "users", 1).expect(402).code("quota_exceeded");
    let full = full.events(&["entitlement.denied"]).await.json();
    let told = json!([full["limit"], full["used"], full["resets_at"]]);
    assert_eq!(told, json!([20, 20, null]), "{full}");
    let said = release("users", 3).await.is(200).json();
    let told = json!([said["used"], said["remaining"], said["window"], said.get("resets_at")]);
    assert_eq!(told, json!([17, 3, "always", null]), "{said}");
    consume(&app, &user, "users", 3).await.is(200);
    // Once under a key, which is not a key for something else.
    let once = |amount: i64| release("users", amount).header("idempotency-key", "gone-7");
    for _ in 0..3 {
        assert_eq!(once(1).await.is(200).json()["used"], 19);
    }
    once(2).expect(409).code("idempotency_key_reused").await;
    // Nobody gives back what they do not have, at 64 at once either.
    release("users", 20).expect(422).errors(&[("/amount", "refused")]).await;
    let went = join_all((0..64).map(|_| async { release("users", 1).await.status })).await;
    assert_eq!(went.iter().filter(|status| **status == 200).count(), 19, "{went:?}");
    assert_eq!(used(&app, &user, "users").await, 0);
    // Whoever could give back for themselves would have no limit.
    consume(&app, &user, "users", 1).await.is(200);
    let own = json!({ "key": "users" });
    let own = app.post("/v1/entitlements/release").by(&user).json(&own);
    own.expect(403).code("forbidden").await;
    assert_eq!(used(&app, &user, "users").await, 1);
    // What begins anew by itself is not given back.
    for key in ["exports", "messages"] {
        release(key, 1).expect(422).errors(&[("/key", "refused")]).await;
    }
    let all = app.get("/v1/me/entitlements").by(&user).await.is(200).json();
    let users = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "users")
        .unwrap();
    assert_eq!(
        (&users["window"], users.get("resets_at")),
        (&json!("always"), None),
        "{users}"
    );
}

async fn count_once_under_an_idempotency_key(setup: &Setup) {
    let app = app(setup).await;
    let (user, other) = (app.user().await, app.user().await);
    let under =
        |user: &User, key: &str, amount: i64| consume(&app, user, "exports", amount).header("idempotency-key", key);
    let tries = join_all((0..64).map(|_| under(&user, "job-1", 2).into_future())).await;
    assert!(tries.iter().all(|answer| answer.status == 200), "{tries:?}");
    assert_eq!(used(&app, &user, "exports").await, 2);
    under(&user, "job-1", 1)
        .expect(409)
        .code("idempotency_key_reused")
        .await;
    under(&other, "job-1", 1).await.is(200);
    // What was refused is not spent: the same key serves once there is room.
    let denied = under(&user, "job-2", 2).expect(402).code("quota_exceeded");
    denied.events(&["entitlement.denied"]).await;
    under(&user, "job-2", 1).await.is(200);
    under(&user, "", 1).expect(400).code("invalid_idempotency_key").await;
}

async fn hold_a_limit_exactly_whoever_runs_in_parallel(setup: &Setup) {
    let one_url = ("server.public_url", "http://anteroom.example.test");
    let here = setup.app_with(&[one_url, ("billing.plans", PLANS)]).await;
    let there = setup.app_with(&[one_url, ("billing.plans", PLANS)]).await;
    let user = here.user().await;
    let tries = (0..64).map(|number| {
        let node = if number % 2 == 0 { &here } else { &there };
        consume(node, &user, "exports", 1).into_future()
    });
    let answers = join_all(tries).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        3,
        "{answers:?}"
    );
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 402)));
    assert_eq!(used(&there, &user, "exports").await, 3);
}

async fn follow_the_plan_and_what_is_granted(setup: &Setup) {
    let app = app(setup).await;
    let (admin, user) = (app.admin().await, app.user().await);
    consume(&app, &user, "exports", 3).await.is(200);
    app.buy(&user, "pro").await;
    // What was used stays used, and the limit is lifted; of two windows the one with the least room is told.
    let said = check(&app, &user, "exports").await.is(200).json();
    assert_eq!(
        json!([said["limit"], said["used"], said["window"]]),
        json!([10, 3, "day"]),
        "{said}"
    );
    consume(&app, &user, "exports", 7).await.is(200);
    let denied = consume(&app, &user, "exports", 1).expect(402).code("quota_exceeded");
    denied.events(&["entitlement.denied"]).await;
    assert_eq!(check(&app, &user, "sso").await.is(200).json()["allowed"], true);
    let unlimited = consume(&app, &user, "reports", 1000).await.is(200).json();
    assert_eq!(
        json!([unlimited["limit"], unlimited["used"], unlimited["remaining"]]),
        json!([null, 1000, null])
    );
    let grant =
        json!({ "reason": "x", "entitlement": { "key": "exports", "kind": "metered", "limit": 50, "window": "day" } });
    let path = format!("/v1/admin/users/{}/overrides", user.id);
    app.post(&path).by(&admin).json(&grant).await.is(201);
    consume(&app, &user, "exports", 5).await.is(200);
    // The month has a limit of its own, and what counts since the plan has it.
    let denied = consume(&app, &user, "exports", 1).expect(402).code("quota_exceeded");
    let denied = denied.events(&["entitlement.denied"]).await.json();
    assert_eq!(json!([denied["limit"], denied["used"]]), json!([12, 12]), "{denied}");
}

/// A key of this user's, with these scopes.
async fn key(app: &TestApp, user: &User, scopes: Value) -> String {
    let ask = json!({ "name": "backend", "scopes": scopes });
    made(app, user, &ask).await["key"].as_str().unwrap().to_owned()
}

async fn serve_a_backend_with_an_admins_key(setup: &Setup) {
    let app = app(setup).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let ask = |path: &str, key: &str, about: &User| {
        let ask = json!({ "key": "exports", "user_id": about.id });
        app.post(&format!("/v1/entitlements/{path}"))
            .header("authorization", &format!("Bearer {key}"))
            .json(&ask)
    };
    let backend = key(&app, &admin, json!(["entitlements"])).await;
    let said = ask("consume", &backend, &user).await.is(200).json();
    assert_eq!(
        (&said["user_id"], &said["used"]),
        (&json!(user.id), &json!(1)),
        "{said}"
    );
    assert_eq!(used(&app, &user, "exports").await, 1);
    // A user's key is for themselves, and a key without the scope for nothing of it.
    let own = key(&app, &user, json!(["entitlements"])).await;
    ask("check", &own, &user).await.is(200);
    ask("check", &own, &admin).expect(403).code("forbidden").await;
    ask("consume", &own, &admin).expect(403).code("forbidden").await;
    let other = key(&app, &admin, json!(["chat"])).await;
    ask("check", &other, &user).await.is(403);
    app.post("/v1/entitlements/check")
        .json(&json!({ "key": "exports" }))
        .expect(401)
        .code("unauthenticated")
        .await;
    let nobody = json!({ "key": "exports", "user_id": "00000000-0000-7000-8000-000000000000" });
    app.post("/v1/entitlements/check")
        .by(&admin)
        .json(&nobody)
        .expect(404)
        .code("not_found")
        .await;
}

async fn are_shut_with_the_account(setup: &Setup) {
    let app = app(setup).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let ask = |path: &str| {
        let ask = json!({ "key": "exports", "user_id": user.id });
        app.post(&format!("/v1/entitlements/{path}")).by(&admin).json(&ask)
    };
    ask("consume").await.is(200);
    let close = app.patch(&format!("/v1/admin/users/{}", user.id)).by(&admin);
    close.json(&json!({ "disabled": true })).await.is(200);
    let said = ask("check").await.is(200).json();
    assert_eq!(
        (&said["allowed"], &said["reason"]),
        (&json!(false), &json!("account_disabled")),
        "{said}"
    );
    let refused = ask("consume").expect(403).code("account_disabled");
    refused.events(&["entitlement.denied"]).await;
    let open = app.patch(&format!("/v1/admin/users/{}", user.id)).by(&admin);
    open.json(&json!({ "disabled": false })).await.is(200);
    assert_eq!(
        ask("check").await.is(200).json()["used"],
        1,
        "nothing was used up meanwhile"
    );
}

async fn refuse_what_makes_no_sense(setup: &Setup) {
    let app = app(setup).await;
    let user = app.user().await;
    let table = [
        ("consume", json!({ "key": "exports", "amount": 0 }), "/amount"),
        ("consume", json!({ "key": "exports", "amount": -1 }), "/amount"),
        (
            "consume",
            json!({ "key": "exports", "amount": 1_000_000_000_001_i64 }),
            "/amount",
        ),
        ("check", json!({ "key": "" }), "/key"),
        ("check", json!({ "key": "x".repeat(256) }), "/key"),
        ("consume", json!({ "key": "messages" }), "/key"),
        ("consume", json!({ "key": "sso" }), "/key"),
        ("consume", json!({ "key": "seats" }), "/key"),
    ];
    for (path, ask, pointer) in table {
        let refused = app.post(&format!("/v1/entitlements/{path}")).by(&user).json(&ask);
        refused.expect(422).errors(&[(pointer, "refused")]).await;
    }
    let ask = app
        .post("/v1/entitlements/check")
        .by(&user)
        .json(&json!({ "feature": "sso" }));
    ask.await.is(422);
}
