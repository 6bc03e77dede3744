//! `/v1/me/api-keys`

mod ending;
mod limits;

use std::time::Duration;

use anteroom_domain::access::is_api_key;
use anteroom_tests::{Answer, Ask, Setup, TestApp, User, now, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    makes_a_key_and_shows_it_once,
    keeps_what_it_is_told_of_a_key,
    refuses_what_is_no_key,
    shows_keys_to_their_owner_only,
    a1_nobody_makes_a_key_for_somebody_else,
    changes_what_a_key_may_do,
    exchanges_a_secret_and_lets_the_old_one_go_on,
    ends_all_secrets_at_once_where_that_is_asked_for,
    exchanges_as_often_as_secrets_may_be_at_64_at_once,
    deletes_a_key,
    has_room_for_so_many_keys_at_64_at_once,
    works_where_no_mail_leaves,
];

/// Makes a key.
pub async fn made(app: &TestApp, user: &User, body: &Value) -> Value {
    let answer = app.post("/v1/me/api-keys").by(user).json(body).await.is(201);
    app.expect_mails(std::slice::from_ref(&user.email));
    answer.json()
}

/// A key for models and chat.
async fn plain(app: &TestApp, user: &User) -> Value {
    made(app, user, &json!({ "name": "plain" })).await
}

/// Where a key is managed.
fn path(key: &Value) -> String {
    format!("/v1/me/api-keys/{}", key["id"].as_str().unwrap())
}

/// The key's secret.
pub fn secret(key: &Value) -> &str {
    key["key"].as_str().unwrap()
}

/// Asks for the models with a key.
fn models(app: &TestApp, key: &str) -> Ask {
    app.get("/v1/models").bearer(key)
}

/// What is shown of a key once it is made.
fn shown(key: &Value) -> Value {
    let mut shown = key.clone();
    shown.as_object_mut().unwrap().remove("key").expect("a secret");
    shown
}

async fn listed(app: &TestApp, user: &User) -> Vec<Value> {
    let list = app.get("/v1/me/api-keys").by(user).expect(200).audit(&[]).await.json();
    list["data"].as_array().unwrap().clone()
}

async fn makes_a_key_and_shows_it_once(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let answer = app
        .post("/v1/me/api-keys")
        .by(&user)
        .json(&json!({ "name": " nightly " }))
        .expect(201)
        .events(&["api_key.created"])
        .audit(&["api_key.create succeeded"])
        .mails(&[&user.email])
        .await;
    let key = answer.json();
    let text = secret(&key);
    assert!(is_api_key(text), "{key}");
    assert_eq!(key["name"], "nightly");
    assert_eq!(key["hint"], format!("ar_…{}", &text[48..]));
    assert_eq!(key["scopes"], json!(["models", "chat", "embeddings"]));
    for member in [
        "models",
        "budget",
        "requests_per_minute",
        "expires_at",
        "last_used_at",
        "rotated_at",
        "previous_until",
    ] {
        assert_eq!(key[member], Value::Null, "{member}");
    }
    let mail = app.mails().pop().unwrap();
    assert!(
        mail.text.contains("nightly") && !mail.text.contains(text),
        "{}",
        mail.text
    );

    // It opens what its scopes say, and is not told again.
    models(&app, text).expect(200).await;
    let one = app.get(&path(&key)).by(&user).expect(200).await.json();
    assert!(one["last_used_at"].is_string(), "{one}");
    let mut before = one.clone();
    before["last_used_at"] = Value::Null;
    assert_eq!(before, shown(&key));
    assert_eq!(listed(&app, &user).await, [one]);
    for ask in [
        app.get(&path(&key)),
        app.get("/v1/me/api-keys"),
        app.get("/v1/me/activity"),
    ] {
        assert!(!ask.by(&user).await.is(200).text().contains(text));
    }
    let activity = app.get("/v1/me/activity").by(&user).await.json();
    assert_eq!(activity["data"][0]["act"], "api_key.create");
}

async fn keeps_what_it_is_told_of_a_key(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let end = now() + jiff::SignedDuration::from_hours(1);
    let said = json!({
        "name": "数学 🧮",
        "scopes": ["usage:read", "chat", "account:read", "conversations", "chat"],
        "models": ["b", "a", "b"],
        "budget": { "limit_usd": 0.25, "window": "month" },
        "requests_per_minute": 12,
        "expires_at": end.to_string(),
    });
    let key = made(&app, &user, &said).await;
    assert_eq!(key["name"], "数学 🧮");
    assert_eq!(
        key["scopes"],
        json!(["chat", "conversations", "usage:read", "account:read"])
    );
    assert_eq!(key["models"], json!(["b", "a"]));
    assert_eq!(key["requests_per_minute"], 12);
    let budget = &key["budget"];
    assert_eq!(
        (&budget["limit_usd"], &budget["window"], &budget["used_usd"]),
        (&json!(0.25), &json!("month"), &json!(0.0))
    );
    assert!(
        budget["resets_at"].as_str().unwrap().ends_with("-01T00:00:00Z"),
        "{budget}"
    );
    let ends: jiff::Timestamp = key["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(ends.as_microsecond(), end.as_microsecond());
    assert_eq!(app.get(&path(&key)).by(&user).await.is(200).json(), shown(&key));
}

async fn refuses_what_is_no_key(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = plain(&app, &user).await;
    let names: Vec<String> = (0..101).map(|number| format!("m{number}")).collect();
    let budget = |limit: f64| json!({ "budget": { "limit_usd": limit, "window": "day" } });
    let table = [
        (json!({ "name": "" }), "/name", "invalid_name"),
        (json!({ "name": "a\u{0}" }), "/name", "invalid_name"),
        (json!({ "name": "é".repeat(201) }), "/name", "invalid_name"),
        (json!({ "scopes": [] }), "/scopes", "invalid_scopes"),
        (json!({ "scopes": ["admin"] }), "/scopes", "invalid_scopes"),
        (json!({ "scopes": ["*"] }), "/scopes", "invalid_scopes"),
        (json!({ "scopes": ["chat", "Chat"] }), "/scopes", "invalid_scopes"),
        (json!({ "models": [] }), "/models", "invalid_models"),
        (json!({ "models": [""] }), "/models", "invalid_models"),
        (json!({ "models": names }), "/models", "invalid_models"),
        (budget(0.0), "/budget/limit_usd", "invalid_budget"),
        (budget(-1.0), "/budget/limit_usd", "invalid_budget"),
        (budget(1_000_000.5), "/budget/limit_usd", "invalid_budget"),
        (
            json!({ "budget": { "limit_usd": 1, "window": "week" } }),
            "/budget/window",
            "invalid_type",
        ),
        (
            json!({ "budget": { "limit_usd": 1, "window": "day", "x": 1 } }),
            "/budget/x",
            "unknown_field",
        ),
        (
            json!({ "requests_per_minute": 0 }),
            "/requests_per_minute",
            "invalid_rate",
        ),
        (
            json!({ "requests_per_minute": 1_000_001 }),
            "/requests_per_minute",
            "invalid_rate",
        ),
        (
            json!({ "expires_at": "2020-01-01T00:00:00Z" }),
            "/expires_at",
            "invalid_expires_at",
        ),
        (json!({ "expires_at": "tomorrow" }), "/expires_at", "invalid_type"),
    ];
    for (said, pointer, code) in table {
        let mut whole = said.clone();
        if whole["name"].is_null() {
            whole["name"] = "x".into();
        }
        for ask in [
            app.post("/v1/me/api-keys").json(&whole),
            app.patch(&path(&key)).json(&said),
        ] {
            ask.by(&user).expect(422).errors(&[(pointer, code)]).audit(&[]).await;
        }
    }
    app.post("/v1/me/api-keys")
        .by(&user)
        .json(&json!({}))
        .expect(422)
        .code("validation_failed")
        .await;
    for member in ["name", "scopes"] {
        let none = json!({ member: null });
        let ask = app.patch(&path(&key)).by(&user).json(&none);
        ask.expect(422).errors(&[(&format!("/{member}"), "invalid_type")]).await;
    }
    let several = json!({ "name": " ", "scopes": ["x"] });
    let ask = app.patch(&path(&key)).by(&user).json(&several).expect(422);
    ask.errors(&[("/name", "invalid_name"), ("/scopes", "invalid_scopes")])
        .await;
    assert_eq!(listed(&app, &user).await, [shown(&key)]);
}

async fn shows_keys_to_their_owner_only(setup: &Setup) {
    let app = setup.app().await;
    let (user, other) = (app.user().await, app.user().await);
    let mut keys = Vec::new();
    for number in 0..5 {
        keys.push(shown(&made(&app, &user, &json!({ "name": number.to_string() })).await));
    }
    keys.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/v1/me/api-keys?limit=2{cursor}"))
            .by(&user)
            .await
            .is(200)
            .json();
        found.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, keys);
    assert_eq!(listed(&app, &other).await, Vec::<Value>::new());
    let (mine, none) = (path(&keys[0]), "/v1/me/api-keys/019b7ca9-8f2e-7000-8000-000000000001");
    for at in [mine.as_str(), none, "/v1/me/api-keys/nonsense"] {
        for ask in [
            app.get(at),
            app.patch(at).json(&json!({ "name": "stolen" })),
            app.delete(at),
            app.post(&format!("{at}/rotate")),
        ] {
            let ask = ask.by(&other).expect(404).code("not_found");
            ask.audit(&[]).await;
        }
    }
    assert_eq!(app.get(&mine).by(&user).await.is(200).json(), keys[0]);
}

/// Security case A 1 (CVE-2025-61928): there, a body could say for whom a key is made.
async fn a1_nobody_makes_a_key_for_somebody_else(setup: &Setup) {
    let app = setup.app().await;
    let (user, other) = (app.user().await, app.user().await);
    let key = plain(&app, &user).await;
    for name in [
        "user_id",
        "userId",
        "owner_id",
        "owner",
        "account_id",
        "id",
        "key",
        "digest",
    ] {
        let pointer = format!("/{name}");
        let said = json!({ "name": "x", name: other.id });
        for ask in [
            app.post("/v1/me/api-keys").json(&said),
            app.patch(&path(&key)).json(&said),
        ] {
            let ask = ask.by(&user).expect(422).errors(&[(&pointer, "unknown_field")]);
            ask.audit(&[]).await;
        }
        let ask = app.post("/v1/me/api-keys").json(&said);
        ask.expect(401).code("unauthenticated").await;
    }
    // Nor by the query, nor by a cookie of one and the token of another.
    let victim = app.browser().await;
    let ask = app.post(&format!("/v1/me/api-keys?user_id={}", victim.id));
    let ask = ask.from(&victim).by(&user).json(&json!({ "name": "mine" }));
    ask.expect(201).events(&["api_key.created"]).mails(&[&user.email]).await;
    assert_eq!(listed(&app, &user).await.len(), 2);
    assert_eq!(listed(&app, &other).await.len(), 0);
    let list = app.get("/v1/me/api-keys").from(&victim).await.is(200).json();
    assert_eq!(list["data"], json!([]));
}

async fn changes_what_a_key_may_do(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = plain(&app, &user).await;
    let change = |body: Value| app.patch(&path(&key)).by(&user).json(&body).expect(200);
    // A new name is no news.
    let renamed = change(json!({ "name": "Ada's" }))
        .events(&["api_key.changed"])
        .audit(&["api_key.change succeeded"])
        .await
        .json();
    assert_eq!(
        (&renamed["name"], &renamed["scopes"]),
        (&json!("Ada's"), &key["scopes"])
    );
    let limited = json!({
        "scopes": ["account:read"], "models": ["m"], "budget": { "limit_usd": 1, "window": "total" },
        "requests_per_minute": 5, "expires_at": "2999-01-01T00:00:00Z",
    });
    let narrowed = change(limited.clone())
        .events(&["api_key.changed"])
        .audit(&["api_key.change succeeded"])
        .mails(&[&user.email])
        .await
        .json();
    assert_eq!(
        (&narrowed["scopes"], &narrowed["models"]),
        (&json!(["account:read"]), &json!(["m"]))
    );
    assert_eq!(narrowed["budget"]["resets_at"], Value::Null);
    models(&app, secret(&key)).expect(403).code("insufficient_scope").await;
    app.get("/v1/me").bearer(secret(&key)).expect(200).await;
    // What is so already is no change.
    for same in [json!({}), limited, json!({ "name": "Ada's" })] {
        let answer = change(same).audit(&[]).await.json();
        let mut before = narrowed.clone();
        before["last_used_at"] = answer["last_used_at"].clone();
        assert_eq!(answer, before);
    }
    let freed = json!({ "models": null, "budget": null, "requests_per_minute": null, "expires_at": null });
    let freed = change(freed)
        .events(&["api_key.changed"])
        .mails(&[&user.email])
        .await
        .json();
    for member in ["models", "budget", "requests_per_minute", "expires_at"] {
        assert_eq!(freed[member], Value::Null, "{member}");
    }
    assert_eq!(freed["scopes"], json!(["account:read"]));
}

fn rotate(app: &TestApp, user: &User, key: &Value, body: &Value) -> Ask {
    app.post(&format!("{}/rotate", path(key))).by(user).json(body)
}

async fn exchanges_a_secret_and_lets_the_old_one_go_on(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = plain(&app, &user).await;
    let answer = app
        .post(&format!("{}/rotate", path(&key)))
        .by(&user)
        .expect(200)
        .events(&["api_key.rotated"])
        .audit(&["api_key.rotate succeeded"])
        .mails(&[&user.email])
        .await;
    let next = answer.json();
    assert_eq!((&next["id"], &next["name"]), (&key["id"], &key["name"]));
    assert_ne!(secret(&next), secret(&key));
    assert_eq!(next["hint"], format!("ar_…{}", &secret(&next)[48..]));
    let time = |member: &str| next[member].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(
        time("previous_until").duration_since(time("rotated_at")).as_secs(),
        86_400
    );
    for text in [secret(&key), secret(&next)] {
        models(&app, text).expect(200).await;
    }
    // The next time the old ones end earlier, and not later than was said before.
    let third = rotate(&app, &user, &key, &json!({ "overlap_seconds": 1 }))
        .await
        .is(200)
        .json();
    app.expect_mails(std::slice::from_ref(&user.email));
    models(&app, secret(&next)).expect(200).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for ended in [secret(&key), secret(&next)] {
        models(&app, ended).await.refused(401, "unauthenticated");
    }
    models(&app, secret(&third)).expect(200).await;
    for wrong in [-1, 2_592_001, i64::MIN, i64::MAX] {
        let ask = rotate(&app, &user, &key, &json!({ "overlap_seconds": wrong })).expect(422);
        ask.errors(&[("/overlap_seconds", "invalid_overlap")]).audit(&[]).await;
    }
    models(&app, secret(&third)).expect(200).await;
}

async fn ends_all_secrets_at_once_where_that_is_asked_for(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let key = plain(&here, &user).await;
    let mut secrets = vec![secret(&key).to_owned()];
    for _ in 0..3 {
        let next = rotate(&here, &user, &key, &json!({})).await.is(200).json();
        here.expect_mails(std::slice::from_ref(&user.email));
        secrets.push(secret(&next).to_owned());
    }
    for node in [&here, &there] {
        for text in &secrets {
            models(node, text).expect(200).await;
        }
    }
    let last = rotate(&here, &user, &key, &json!({ "overlap_seconds": 0 }))
        .await
        .is(200)
        .json();
    here.expect_mails(std::slice::from_ref(&user.email));
    for text in &secrets {
        models(&here, text).await.refused(401, "unauthenticated");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for text in &secrets {
        models(&there, text).await.refused(401, "unauthenticated");
    }
    for node in [&here, &there] {
        models(node, secret(&last)).expect(200).await;
    }
}

async fn exchanges_as_often_as_secrets_may_be_at_64_at_once(setup: &Setup) {
    let nodes = setup.nodes().await;
    let user = nodes[0].user().await;
    let key = plain(&nodes[0], &user).await;
    let tries = (0..64).map(|number| rotate(&nodes[number % 2], &user, &key, &json!({})).into_future());
    let answers: Vec<Answer> = join_all(tries).await;
    let mut secrets = vec![secret(&key).to_owned()];
    for answer in answers {
        if answer.status == 200 {
            secrets.push(secret(&answer.json()).to_owned());
            nodes[0].expect_mails(std::slice::from_ref(&user.email));
        } else {
            answer.refused(409, "too_many_secrets");
        }
    }
    assert_eq!(secrets.len(), 8, "as many as may work at a time");
    // Each that was handed out works, and one of them is the newest.
    for text in &secrets {
        models(&nodes[1], text).expect(200).await;
    }
    let hint = listed(&nodes[0], &user).await[0]["hint"].as_str().unwrap().to_owned();
    let newest = secrets
        .iter()
        .filter(|text| hint == format!("ar_…{}", &text[48..]))
        .count();
    assert_eq!(newest, 1, "{hint}");
    // Whoever must, ends them all.
    rotate(&nodes[0], &user, &key, &json!({ "overlap_seconds": 0 }))
        .await
        .is(200);
    nodes[0].expect_mails(std::slice::from_ref(&user.email));
    rotate(&nodes[0], &user, &key, &json!({})).await.is(200);
    nodes[0].expect_mails(std::slice::from_ref(&user.email));
}

async fn deletes_a_key(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let (key, other) = (plain(&here, &user).await, plain(&here, &user).await);
    for node in [&here, &there] {
        models(node, secret(&key)).expect(200).await;
    }
    here.delete(&path(&key))
        .by(&user)
        .expect(204)
        .events(&["api_key.deleted"])
        .audit(&["api_key.delete succeeded"])
        .mails(&[&user.email])
        .await;
    models(&here, secret(&key)).await.refused(401, "unauthenticated");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answer = models(&there, secret(&key)).await;
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
    answer.refused(401, "unauthenticated");
    models(&there, secret(&other)).expect(200).await;
    let ask = here.delete(&path(&key)).by(&user).expect(404).code("not_found");
    ask.audit(&[]).await;
    assert_eq!(listed(&here, &user).await.len(), 1);
}

async fn has_room_for_so_many_keys_at_64_at_once(setup: &Setup) {
    let settings = [
        ("access.max_api_keys_per_user", "3"),
        ("server.public_url", "http://anteroom.example.test"),
    ];
    let nodes = [setup.app_with(&settings).await, setup.app_with(&settings).await];
    let user = nodes[0].user().await;
    let tries = (0..64).map(|number| {
        let ask = nodes[number % 2].post("/v1/me/api-keys").by(&user);
        ask.json(&json!({ "name": number.to_string() })).into_future()
    });
    let mut keys = Vec::new();
    for answer in join_all(tries).await {
        if answer.status == 201 {
            keys.push(answer.json());
            nodes[0].expect_mails(std::slice::from_ref(&user.email));
        } else {
            assert_eq!(answer.json()["limit"], 3);
            answer.refused(409, "too_many_api_keys");
        }
    }
    assert_eq!((keys.len(), listed(&nodes[0], &user).await.len()), (3, 3));
    // What has expired takes no room.
    let soon = now() + jiff::SignedDuration::from_millis(300);
    let change = nodes[0].patch(&path(&keys[0])).by(&user);
    change.json(&json!({ "expires_at": soon.to_string() })).await.is(200);
    nodes[0].expect_mails(std::slice::from_ref(&user.email));
    tokio::time::sleep(Duration::from_millis(350)).await;
    plain(&nodes[1], &user).await;
    let ask = nodes[0].post("/v1/me/api-keys").by(&user).json(&json!({ "name": "x" }));
    ask.expect(409).code("too_many_api_keys").audit(&[]).await;
    assert_eq!(listed(&nodes[0], &user).await.len(), 4, "it is shown, though");
}

async fn works_where_no_mail_leaves(setup: &Setup) {
    let app = setup.app_with(&[("mail.transport", "none")]).await;
    let email = anteroom_tests::app::fresh_email();
    let signup = json!({ "email": email, "password": anteroom_tests::PASSWORD });
    let user = User::of(&app.post("/v1/auth/signup").json(&signup).await.is(201).json());
    let ask = app.post("/v1/me/api-keys").by(&user).json(&json!({ "name": "x" }));
    let key = ask.expect(201).events(&["api_key.created"]).await.json();
    models(&app, secret(&key)).expect(200).await;
}
