//! What ends a key, or takes something from it, does so on every node within a second, streams included.

use std::time::{Duration, Instant};

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{PASSWORD, Script, Setup, Step, TestApp, Upstream, User, eventually_asking, now, on_every_store};
use serde_json::{Value, json};

use super::{made, models, path, secret};

on_every_store![
    b24_what_ends_a_key_ends_its_streams_on_every_node_within_a_second,
    b25_the_keys_of_a_closed_account_open_nothing,
    rests_while_its_account_is_to_be_deleted,
    outlives_a_password_and_a_session,
    a_session_that_has_ended_makes_no_key,
    notes_when_it_was_last_used,
];

/// What is done to a key, or to its owner.
const ENDINGS: [&str; 8] = [
    "delete",
    "rotate",
    "scopes",
    "models",
    "expire",
    "by admin",
    "disable",
    "delete account",
];

async fn end(app: &TestApp, how: &str, user: &User, admin: &User, key: &Value) {
    let patch = |body: Value| app.patch(&path(key)).by(user).json(&body);
    let answer = match how {
        "delete" => app.delete(&path(key)).by(user).await.is(204),
        "rotate" => {
            let ask = app.post(&format!("{}/rotate", path(key))).by(user);
            ask.json(&json!({ "overlap_seconds": 0 })).await.is(200)
        }
        "scopes" => patch(json!({ "scopes": ["account:read"] })).await.is(200),
        "models" => patch(json!({ "models": ["other"] })).await.is(200),
        "expire" => {
            let soon = now() + jiff::SignedDuration::from_millis(50);
            patch(json!({ "expires_at": soon.to_string() })).await.is(200)
        }
        "by admin" => {
            let at = format!("/v1/admin/users/{}/api-keys/{}", user.id, key["id"].as_str().unwrap());
            app.delete(&at).by(admin).await.is(204)
        }
        "disable" => {
            let at = format!("/v1/admin/users/{}", user.id);
            app.patch(&at)
                .by(admin)
                .json(&json!({ "disabled": true }))
                .await
                .is(200)
        }
        _ => app.delete("/v1/me").by(user).await,
    };
    assert!(answer.status < 300, "{how}: {answer:?}");
    if how != "disable" {
        app.expect_mails(std::slice::from_ref(&user.email));
    }
}

/// Security case B 24 (CVE-2025-29928), for keys.
async fn b24_what_ends_a_key_ends_its_streams_on_every_node_within_a_second(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let (here, there) = (setup.app_with(&settings).await, setup.app_with(&settings).await);
    let admin = here.admin().await;
    let body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
    for how in ENDINGS {
        let user = here.user().await;
        let key = made(&here, &user, &json!({ "name": how })).await;
        let other = made(&here, &user, &json!({ "name": "other" })).await;
        upstream.on("m", Script::stream(vec![sse(&chunk("word ")), Step::Hang]));
        let stream = async |node: &TestApp, key: &Value| {
            let ask = node.post("/v1/chat/completions").bearer(secret(key)).json(&body);
            let mut stream = ask.stream().await;
            stream.next().await.unwrap();
            stream
        };
        let (mut near, mut far) = (stream(&here, &key).await, stream(&there, &key).await);
        let mut kept = stream(&there, &other).await;
        here.mails_have_left().await;
        let begun = Instant::now();
        end(&here, how, &user, &admin, &key).await;
        for stream in [&mut near, &mut far] {
            let last = stream.rest().await.pop().expect("an error says why it ends");
            let took = begun.elapsed();
            assert_eq!(last.json()["error"]["code"], "unauthenticated", "{how}: {last:?}");
            assert!(took < Duration::from_millis(1500), "{how}: {took:?}");
        }
        for node in [&here, &there] {
            let answer = node.post("/v1/chat/completions").bearer(secret(&key)).json(&body).await;
            let expected = match how {
                "scopes" => (403, "insufficient_scope"),
                "models" => (403, "model_not_in_key"),
                _ => (401, "unauthenticated"),
            };
            assert_eq!(answer.told(), (expected.0, expected.1.to_owned()), "{how}: {answer:?}");
        }
        // What was not meant goes on.
        let others = !["disable", "delete account"].contains(&how);
        assert_eq!(
            models(&there, secret(&other)).await.status,
            if others { 200 } else { 401 },
            "{how}"
        );
        if others {
            let more = tokio::time::timeout(Duration::from_millis(100), kept.next()).await;
            assert!(more.is_err(), "{how}: {more:?}");
        }
        drop(kept);
    }
}

/// Security case B 25 (CVE-2025-53942), for keys.
async fn b25_the_keys_of_a_closed_account_open_nothing(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let (admin, user) = (here.admin().await, here.user().await);
    let key = made(&here, &user, &json!({ "name": "x" })).await;
    let never_used = made(&here, &user, &json!({ "name": "y" })).await;
    models(&there, secret(&key)).expect(200).await;
    let at = format!("/v1/admin/users/{}", user.id);
    let disabled = |on: bool| here.patch(&at).by(&admin).json(&json!({ "disabled": on }));
    disabled(true).await.is(200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for node in [&here, &there] {
        for key in [&key, &never_used] {
            models(node, secret(key)).await.refused(401, "unauthenticated");
        }
    }
    // They come back with the account, whose keys they are.
    disabled(false).await.is(200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    models(&there, secret(&key)).expect(200).await;
}

async fn rests_while_its_account_is_to_be_deleted(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    models(&app, secret(&key)).expect(200).await;
    app.delete("/v1/me").by(&user).await;
    app.expect_mails(std::slice::from_ref(&user.email));
    models(&app, secret(&key)).await.refused(401, "unauthenticated");
    // Its owner comes back.
    app.log_in(&user.email).await;
    app.expect_mails(std::slice::from_ref(&user.email));
    models(&app, secret(&key)).expect(200).await;
    // And is gone: so are the keys.
    let again = app.log_in(&user.email).await;
    app.delete("/v1/me").by(&again).await;
    app.expect_mails(&[user.email.clone(), user.email.clone()]);
    let long_ago = match setup.kind() {
        anteroom_tests::Kind::Sqlite => "1",
        anteroom_tests::Kind::Postgres => "timestamptz '2020-01-01'",
    };
    setup
        .execute(&format!(
            "UPDATE users SET delete_after = {long_ago} WHERE delete_after IS NOT NULL"
        ))
        .await;
    while app.services().accounts.erase_due_accounts().await.unwrap() > 0 {}
    models(&app, secret(&key)).await.refused(401, "unauthenticated");
    let none = "CREATE TABLE proof (n INTEGER NOT NULL CHECK (n = 0)); \
                INSERT INTO proof SELECT count(*) FROM api_key_secrets; \
                INSERT INTO proof SELECT count(*) FROM api_keys; DROP TABLE proof";
    setup.execute(none).await;
}

/// As elsewhere: programs do not stand still because a person has a new password.
async fn outlives_a_password_and_a_session(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another-lantern-over-the-canal" });
    app.post("/v1/me/password").by(&user).json(&change).await;
    app.expect_mails(std::slice::from_ref(&user.email));
    app.post("/v1/auth/logout").by(&user).await.is(204);
    models(&app, secret(&key)).expect(200).await;
}

/// A session is known for a moment after it has ended; what outlives it is not made with it.
async fn a_session_that_has_ended_makes_no_key(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let key = made(&here, &user, &json!({ "name": "x" })).await;
    there.get("/v1/me").by(&user).await.is(200);
    here.post("/v1/auth/logout").by(&user).await.is(204);
    let rotate = format!("{}/rotate", path(&key));
    for ask in [
        there.post("/v1/me/api-keys").json(&json!({ "name": "y" })),
        there.post(&rotate),
        there.patch(&path(&key)).json(&json!({ "name": "z" })),
        there.delete(&path(&key)),
    ] {
        let ask = ask.by(&user).expect(401).code("unauthenticated");
        ask.audit(&[]).await;
    }
    models(&there, secret(&key)).expect(200).await;
}

async fn notes_when_it_was_last_used(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let key = made(&here, &user, &json!({ "name": "x" })).await;
    let last = async |node: &TestApp| {
        let shown = node.get(&path(&key)).by(&user).await.is(200).json();
        shown["last_used_at"]
            .as_str()
            .map(|at| at.parse::<jiff::Timestamp>().unwrap())
    };
    assert_eq!(last(&here).await, None);
    let before = now();
    models(&here, secret(&key)).expect(200).await;
    assert!(
        last(&here).await.unwrap() >= before,
        "the node that was asked knows at once"
    );
    assert_eq!(last(&there).await, None);
    assert_eq!(here.services().access.flush_used().await.unwrap(), 1);
    let there_too = eventually_asking("the others read it", async || last(&there).await).await;
    assert_eq!(there_too.as_microsecond(), last(&here).await.unwrap().as_microsecond());
    // Within a minute it is not written again.
    models(&here, secret(&key)).expect(200).await;
    assert_eq!(here.services().access.flush_used().await.unwrap(), 0);
}
