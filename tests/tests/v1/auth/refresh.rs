//! `POST /v1/auth/refresh`

use std::collections::BTreeSet;
use std::time::Duration;

use anteroom_tests::{Setup, TestApp, User, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::signup::no_tokens;

on_every_store![
    exchanges_both_tokens,
    answers_the_same_successor_for_a_while,
    c38_a_token_that_is_used_later_again_ends_the_session,
    c38_of_64_parallel_tries_on_two_nodes_one_successor_comes,
    renews_a_cookie,
    refuses_what_is_no_refresh_token,
];

async fn refresh(app: &TestApp, token: &str) -> anteroom_tests::Answer {
    app.post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": token }))
        .await
}

async fn exchanges_both_tokens(setup: &Setup) {
    let app = setup.app().await;
    let first = app.user().await;
    let answer = app
        .post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": first.refresh_token }))
        .expect(200)
        .events(&["session.refreshed"])
        .audit(&[])
        .await;
    let body = answer.json();
    assert_eq!((&body["status"], &body["token_type"]), (&json!("ok"), &json!("Bearer")));
    let second = User::of(&body);
    assert_eq!(
        (second.id.as_str(), second.session_id.as_str()),
        (first.id.as_str(), first.session_id.as_str())
    );
    assert_ne!(second.refresh_token, first.refresh_token);
    app.get("/v1/me").by(&second).await.is(200);
    // The session is the same, so what was signed for it before stays good until it expires.
    app.get("/v1/me").by(&first).await.is(200);
    refresh(&app, &second.refresh_token).await.is(200);
}

async fn answers_the_same_successor_for_a_while(setup: &Setup) {
    let app = setup.app_with(&[("sessions.refresh_grace_seconds", "300")]).await;
    let user = app.user().await;
    let first = refresh(&app, &user.refresh_token).await.is(200).json();
    let ask = json!({ "refresh_token": user.refresh_token });
    let again = app.post("/v1/auth/refresh").json(&ask).expect(200).await.json();
    assert_eq!(first["refresh_token"], again["refresh_token"]);
    refresh(&app, first["refresh_token"].as_str().unwrap()).await.is(200);
}

async fn c38_a_token_that_is_used_later_again_ends_the_session(setup: &Setup) {
    let app = setup.app_with(&[("sessions.refresh_grace_seconds", "1")]).await;
    let stolen = app.user().await;
    let owner = User::of(&refresh(&app, &stolen.refresh_token).await.is(200).json());
    let other = app.log_in(&owner.email).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    app.post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": stolen.refresh_token }))
        .expect(401)
        .code("invalid_refresh_token")
        .events(&["session.ended", "session.refresh.failed"])
        .audit(&["session.refresh failed"])
        .mails(&[&owner.email])
        .await;
    refresh(&app, &owner.refresh_token)
        .await
        .refused(401, "invalid_refresh_token");
    app.get("/v1/me").by(&owner).await.refused(401, "unauthenticated");
    // Another session of the same user is another family.
    app.get("/v1/me").by(&other).await.is(200);
}

async fn c38_of_64_parallel_tries_on_two_nodes_one_successor_comes(setup: &Setup) {
    let nodes = setup.nodes().await;
    let user = nodes[0].user().await;
    let tries = (0..64).map(|number| {
        let ask = json!({ "refresh_token": user.refresh_token });
        nodes[number % 2].post("/v1/auth/refresh").json(&ask).into_future()
    });
    let answers = join_all(tries).await;
    let successors: BTreeSet<String> = answers
        .iter()
        .map(|a| {
            assert_eq!(a.status, 200, "{a:?}");
            a.json()["refresh_token"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(successors.len(), 1);
    nodes[1].get("/v1/auth/session").by(&user).await.is(200);
    refresh(&nodes[1], successors.first().unwrap()).await.is(200);
}

async fn renews_a_cookie(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    let answer = app.post("/v1/auth/refresh").from(&browser).expect(200).await;
    no_tokens(&answer.json());
    assert_eq!(answer.cookie().as_deref(), Some(browser.cookie.as_str()));
    let age: i64 = answer
        .header("set-cookie")
        .unwrap()
        .split("Max-Age=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!((604_700..=604_800).contains(&age), "{age}");
    app.get("/v1/me").header("cookie", &browser.cookie).await.is(200);

    let elsewhere = app.post("/v1/auth/refresh").header("cookie", &browser.cookie);
    elsewhere
        .header("origin", "https://evil.example")
        .await
        .refused(403, "origin_not_allowed");
    app.post("/v1/auth/refresh")
        .header("cookie", &browser.cookie)
        .await
        .refused(403, "origin_not_allowed");
    let unknown = format!("anteroom={}", "0".repeat(64));
    let ask = app
        .post("/v1/auth/refresh")
        .header("cookie", &unknown)
        .header("sec-fetch-site", "same-origin");
    ask.await.refused(401, "unauthenticated");
}

async fn refuses_what_is_no_refresh_token(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let browser = app.browser().await;
    let good = &user.refresh_token;
    let cookie = browser.cookie.split_once('=').unwrap().1;
    let flipped = format!(
        "{}{}",
        &good[..good.len() - 1],
        if good.ends_with('0') { '1' } else { '0' }
    );
    for bad in [
        "",
        "x",
        &good[1..],
        &good[..good.len() - 1],
        &format!("{good}0"),
        &flipped,
        &user.access_token,
        cookie,
    ] {
        app.post("/v1/auth/refresh")
            .json(&json!({ "refresh_token": bad }))
            .expect(401)
            .code("invalid_refresh_token")
            .events(&["session.refresh.failed"])
            .await;
    }
    app.post("/v1/auth/refresh")
        .expect(401)
        .code("invalid_refresh_token")
        .await;
    let ask = app.post("/v1/auth/refresh").json(&json!({}));
    ask.expect(422).errors(&[("/refresh_token", "required")]).await;
    let ask = app
        .post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": Value::Null }));
    ask.expect(422).errors(&[("/refresh_token", "invalid_type")]).await;
    // None of this has cost the session anything.
    refresh(&app, good).await.is(200);
}
