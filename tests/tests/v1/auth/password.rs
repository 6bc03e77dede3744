//! `/v1/auth/password`: forgotten passwords.

use anteroom_tests::scenario::recorded;
use anteroom_tests::{FRONTEND, PASSWORD, Setup, TestApp, User, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

on_every_store![
    a_forgotten_password_is_reset_and_every_session_ends,
    of_64_who_reset_with_one_link_one_does,
    of_64_who_reset_with_two_links_one_does,
    a_login_that_is_under_way_is_none_after_a_reset,
    a_refused_password_leaves_the_link_good,
    revokes_on_every_node,
];

const OTHER: &str = "lantern-under-the-quiet-canal";

async fn a_forgotten_password_is_reset_and_every_session_ends(setup: &Setup) {
    let app = setup.app().await;
    let (user, browser) = (app.user().await, app.browser().await);
    let ask = |email: &str| app.post("/v1/auth/password/forgot").json(&json!({ "email": email }));
    let events = ["account.password.reset_requested"];
    let known = ask(&user.email.to_uppercase())
        .expect(202)
        .events(&events)
        .mails(&[&user.email])
        .await;
    let unknown = ask("nobody@example.com").expect(202).events(&events).await;
    assert_eq!(known.json(), unknown.json());
    // Recorded after the answer, with the mail where there is one.
    for (answer, rows) in [
        (&known, &["account.password.reset_request succeeded"][..]),
        (&unknown, &["account.password.reset_request failed"]),
    ] {
        let found = anteroom_tests::eventually_asking("it is recorded", async || {
            let found = recorded(&app, &answer.request_id()).await;
            (!found.is_empty()).then_some(found)
        });
        assert_eq!(found.await, rows);
    }
    ask("none").expect(422).errors(&[("/email", "invalid_email")]).await;
    // A page of another site may not ask for it.
    ask(&user.email)
        .header("origin", "https://evil.example")
        .expect(403)
        .code("origin_not_allowed")
        .await;

    let token = app.mailed_token(&user.email).await;
    app.post("/v1/auth/password/reset")
        .header("origin", FRONTEND)
        .json(&json!({ "token": token, "password": OTHER }))
        .expect(204)
        .events(&["account.password.reset", "session.ended"])
        .audit(&["account.password.reset succeeded"])
        .mails(&[&user.email])
        .await;
    app.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
    app.post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": user.refresh_token }))
        .await
        .refused(401, "invalid_refresh_token");
    app.get("/v1/me").from(&browser).await.is(200);
    let log_in = |password: &str| {
        app.post("/v1/auth/login")
            .json(&json!({ "email": user.email, "password": password }))
    };
    log_in(PASSWORD).await.refused(401, "invalid_credentials");
    let body = log_in(OTHER).await.is(200).json();
    assert_eq!(body["user"]["email_verified"], true);
}

async fn of_64_who_reset_with_one_link_one_does(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.post("/v1/auth/password/forgot")
        .json(&json!({ "email": user.email }))
        .expect(202)
        .events(&["account.password.reset_requested"])
        .mails(&[&user.email])
        .await;
    let token = app.mailed_token(&user.email).await;
    let tries = (0..64).map(|number| {
        let body = json!({ "token": token, "password": format!("{OTHER}-{number}") });
        let app = app.clone();
        async move { app.post("/v1/auth/password/reset").json(&body).await.told() }
    });
    let told = join_all(tries).await;
    assert_eq!(told.iter().filter(|(status, _)| *status == 204).count(), 1, "{told:?}");
    assert!(told.iter().all(|(status, _)| matches!(status, 204 | 400)), "{told:?}");
    app.expect_mails(std::slice::from_ref(&user.email));
}

async fn of_64_who_reset_with_two_links_one_does(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        app.post("/v1/auth/password/forgot")
            .json(&json!({ "email": user.email }))
            .await
            .is(202);
        app.expect_mails(std::slice::from_ref(&user.email));
        tokens.push(app.mailed_token(&user.email).await);
    }
    assert_ne!(tokens[0], tokens[1]);
    let tries = (0..64).map(|number: usize| {
        let body = json!({ "token": tokens[number % 2], "password": format!("{OTHER}-{number}") });
        let app = app.clone();
        async move { app.post("/v1/auth/password/reset").json(&body).await.told() }
    });
    let told = join_all(tries).await;
    // None waits for another who waits for it.
    assert!(told.iter().all(|(status, _)| matches!(status, 204 | 400)), "{told:?}");
    assert_eq!(told.iter().filter(|(status, _)| *status == 204).count(), 1, "{told:?}");
    app.expect_mails(std::slice::from_ref(&user.email));
}

async fn a_login_that_is_under_way_is_none_after_a_reset(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let passwords: Vec<String> = (0..6).map(|number| format!("{OTHER}-{number}")).collect();
    let mut old = PASSWORD;
    for new in &passwords {
        let let_in = reset_amid_logins(&app, &user, old, new).await;
        app.post("/v1/auth/login")
            .json(&json!({ "email": user.email, "password": new }))
            .await
            .is(200);
        // Otherwise the reset came after them all.
        if let_in < 64 {
            return;
        }
        old = new;
    }
    panic!("no reset came while logins were under way");
}

/// How many of 64 logins were let in with the old password. None of them is for long.
async fn reset_amid_logins(app: &TestApp, user: &User, old: &str, new: &str) -> usize {
    app.post("/v1/auth/password/forgot")
        .json(&json!({ "email": user.email }))
        .await
        .is(202);
    app.expect_mails(std::slice::from_ref(&user.email));
    let token = app.mailed_token(&user.email).await;
    let log_in = json!({ "email": user.email, "password": old });
    let logins = || join_all((0..32).map(|_| app.post("/v1/auth/login").json(&log_in).into_future()));
    let reset = app
        .post("/v1/auth/password/reset")
        .json(&json!({ "token": token, "password": new }))
        .into_future();
    let (before, reset, after) = tokio::join!(logins(), reset, logins());
    reset.is(204);
    app.expect_mails(std::slice::from_ref(&user.email));
    let mut let_in = 0;
    for answer in before.into_iter().chain(after) {
        if answer.status == 200 {
            let_in += 1;
            let session = User::of(&answer.json());
            app.get("/v1/me").by(&session).await.refused(401, "unauthenticated");
        } else {
            answer.refused(401, "invalid_credentials");
        }
    }
    let_in
}

async fn a_refused_password_leaves_the_link_good(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.post("/v1/auth/password/forgot")
        .json(&json!({ "email": user.email }))
        .await
        .is(202);
    app.expect_mails(std::slice::from_ref(&user.email));
    let token = app.mailed_token(&user.email).await;
    let reset = |password: &str| {
        app.post("/v1/auth/password/reset")
            .json(&json!({ "token": token, "password": password }))
    };
    reset("short")
        .expect(422)
        .errors(&[("/password", "password_too_short")])
        .events(&["account.password.reset_failed"])
        .audit(&["account.password.reset failed"])
        .await;
    reset(OTHER)
        .expect(204)
        .events(&["account.password.reset", "session.ended"])
        .audit(&["account.password.reset succeeded"])
        .mails(&[&user.email])
        .await;
    reset(OTHER)
        .expect(400)
        .code("invalid_token")
        .events(&["account.password.reset_failed"])
        .audit(&["account.password.reset failed"])
        .await;
}

async fn revokes_on_every_node(setup: &Setup) {
    let [one, other] = setup.nodes().await;
    let user = one.user().await;
    other.get("/v1/me").by(&user).await.is(200);
    one.post("/v1/auth/password/forgot")
        .json(&json!({ "email": user.email }))
        .await
        .is(202);
    one.expect_mails(std::slice::from_ref(&user.email));
    let token = one.mailed_token(&user.email).await;
    one.post("/v1/auth/password/reset")
        .json(&json!({ "token": token, "password": OTHER }))
        .await
        .is(204);
    one.expect_mails(std::slice::from_ref(&user.email));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    other.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
}
