//! `POST /v1/auth/logout`

use std::time::{Duration, Instant};

use anteroom_tests::{Setup, eventually_asking, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

on_every_store![
    ends_a_token_session_at_once,
    ends_a_cookie_session_at_once,
    is_noticed_by_other_nodes_within_a_second,
    leaves_other_sessions_alone,
    needs_a_session,
    wins_against_refreshes_under_way,
];

async fn ends_a_token_session_at_once(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.get("/v1/auth/session").by(&user).await.is(200);
    let answer = app
        .post("/v1/auth/logout")
        .by(&user)
        .expect(204)
        .events(&["session.ended"])
        .audit(&["session.logout succeeded"])
        .await;
    assert_eq!(answer.header("set-cookie"), None);
    for path in ["/v1/auth/session", "/v1/me", "/v1/models", "/v1/conversations"] {
        app.get(path).by(&user).await.refused(401, "unauthenticated");
    }
    app.post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": user.refresh_token }))
        .expect(401)
        .code("invalid_refresh_token")
        .events(&["session.refresh.failed"])
        .await;
    app.post("/v1/auth/logout")
        .by(&user)
        .expect(401)
        .code("unauthenticated")
        .audit(&[])
        .await;
}

async fn ends_a_cookie_session_at_once(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    app.get("/v1/auth/session").from(&browser).await.is(200);
    let answer = app
        .post("/v1/auth/logout")
        .from(&browser)
        .expect(204)
        .events(&["session.ended"])
        .await;
    let cleared = answer.header("set-cookie").unwrap();
    assert_eq!(cleared, "anteroom=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    app.get("/v1/auth/session")
        .from(&browser)
        .await
        .refused(401, "unauthenticated");
    app.post("/v1/auth/refresh")
        .from(&browser)
        .await
        .refused(401, "unauthenticated");
}

async fn is_noticed_by_other_nodes_within_a_second(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    there.get("/v1/me").by(&user).await.is(200);
    // The first check has filled the other node's memory just now: this is the longest it can take.
    there.get("/v1/auth/session").by(&user).await.is(200);
    let begun = Instant::now();
    here.post("/v1/auth/logout").by(&user).await.is(204);
    eventually_asking("the other node notices", async || {
        let answer = there.get("/v1/auth/session").by(&user).await;
        (answer.status == 401).then_some(())
    })
    .await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

async fn leaves_other_sessions_alone(setup: &Setup) {
    let app = setup.app().await;
    let first = app.user().await;
    let second = app.log_in(&first.email).await;
    app.post("/v1/auth/logout").by(&first).await.is(204);
    app.get("/v1/me").by(&second).await.is(200);
    app.get("/v1/me").by(&first).await.refused(401, "unauthenticated");
}

async fn needs_a_session(setup: &Setup) {
    let app = setup.app().await;
    app.post("/v1/auth/logout").expect(401).code("unauthenticated").await;
    let browser = app.browser().await;
    let ask = app.post("/v1/auth/logout").header("cookie", &browser.cookie);
    ask.expect(403).code("origin_not_allowed").await;
    app.get("/v1/me").from(&browser).await.is(200);
}

async fn wins_against_refreshes_under_way(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let user = here.user().await;
    let refresh = |token: &str, number: usize| {
        let node = if number.is_multiple_of(2) { &here } else { &there };
        let ask = node.post("/v1/auth/refresh").json(&json!({ "refresh_token": token }));
        ask.into_future()
    };
    let refreshes = join_all((0..32).map(|number| refresh(&user.refresh_token, number)));
    let logout = here.post("/v1/auth/logout").by(&user).into_future();
    let (refreshed, gone) = futures_util::future::join(refreshes, logout).await;
    gone.is(204);
    // Some may have been answered before the end. Nothing that they were given opens anything any more.
    let mut tokens = vec![user.refresh_token.clone()];
    for answer in refreshed {
        if answer.status == 200 {
            let successor = anteroom_tests::User::of(&answer.json());
            here.get("/v1/me").by(&successor).await.refused(401, "unauthenticated");
            tokens.push(successor.refresh_token);
        } else {
            answer.refused(401, "invalid_refresh_token");
        }
    }
    for token in tokens {
        refresh(&token, 0).await.refused(401, "invalid_refresh_token");
    }
}
