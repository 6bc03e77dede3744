//! What is sensitive about oneself: `POST /v1/me/password`, `DELETE /v1/me`, `POST /v1/auth/reauthenticate`.

use anteroom_tests::{FRONTEND, Kind, PASSWORD, Setup, User, on_every_store};
use serde_json::json;

on_every_store![
    a_password_is_changed_and_other_sessions_end,
    a_proof_is_given_again_within_the_session,
    a_proof_older_than_ten_minutes_does_not_do,
    an_account_is_deleted_and_comes_back_by_a_login,
    the_last_admin_stays,
];

const OTHER: &str = "lantern-under-the-quiet-canal";

async fn a_password_is_changed_and_other_sessions_end(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let elsewhere = app.log_in(&user.email).await;
    let change = |current: &str, new: &str| {
        app.post("/v1/me/password")
            .by(&user)
            .json(&json!({ "current_password": current, "new_password": new }))
    };
    change("a wrong password", OTHER)
        .expect(422)
        .errors(&[("/current_password", "wrong_password")])
        .events(&["account.password.change_failed"])
        .audit(&["account.password.change failed"])
        .await;
    change(PASSWORD, "short")
        .expect(422)
        .errors(&[("/new_password", "password_too_short")])
        .events(&["account.password.change_failed"])
        .audit(&["account.password.change failed"])
        .await;
    change(PASSWORD, OTHER)
        .expect(204)
        .events(&["account.password.changed", "session.ended"])
        .audit(&["account.password.change succeeded"])
        .mails(&[&user.email])
        .await;
    app.get("/v1/me").by(&user).await.is(200);
    app.get("/v1/me").by(&elsewhere).await.refused(401, "unauthenticated");
    let log_in = |password: &str| {
        app.post("/v1/auth/login")
            .json(&json!({ "email": user.email, "password": password }))
    };
    log_in(PASSWORD).await.refused(401, "invalid_credentials");
    log_in(OTHER).await.is(200);
}

async fn a_proof_is_given_again_within_the_session(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let prove = |password: &str| {
        app.post("/v1/auth/reauthenticate")
            .by(&user)
            .json(&json!({ "password": password }))
    };
    prove("a wrong password")
        .expect(403)
        .code("invalid_credentials")
        .events(&["account.reauthentication.failed"])
        .audit(&["account.reauthenticate failed"])
        .await;
    let body = prove(PASSWORD)
        .expect(200)
        .events(&["account.reauthentication.succeeded"])
        .audit(&["account.reauthenticate succeeded"])
        .await
        .json();
    assert_eq!(
        (&body["status"], &body["session"]["id"]),
        (&json!("ok"), &json!(user.session_id))
    );
    assert_eq!(body.get("access_token"), None);
    app.post("/v1/auth/reauthenticate")
        .json(&json!({ "password": PASSWORD }))
        .await
        .refused(401, "unauthenticated");
}

async fn a_proof_older_than_ten_minutes_does_not_do(setup: &Setup) {
    let [app, other] = setup.nodes().await;
    let user = app.user().await;
    let eleven = match setup.kind() {
        Kind::Sqlite => "660000000",
        Kind::Postgres => "interval '11 minutes'",
    };
    let sql = format!("UPDATE sessions SET authenticated_at = authenticated_at - {eleven}");
    setup.execute(&sql).await;
    let password = other
        .post("/v1/me/password")
        .by(&user)
        .json(&json!({ "current_password": PASSWORD, "new_password": OTHER }));
    let email = other
        .post("/v1/me/email")
        .by(&user)
        .json(&json!({ "email": "new@example.com" }));
    let account = other.delete("/v1/me").by(&user);
    for (ask, event, act) in [
        (
            password,
            "account.password.change_failed",
            "account.password.change failed",
        ),
        (
            email,
            "account.email.change_failed",
            "account.email.change_request failed",
        ),
        (account, "account.deletion.failed", "account.deletion.request failed"),
    ] {
        ask.expect(403)
            .code("reauthentication_required")
            .events(&[event])
            .audit(&[act])
            .await;
    }
    // Refreshing proves nothing.
    let fresh = other
        .post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": user.refresh_token }))
        .await
        .is(200);
    let user = User::of(&fresh.json());
    let change = || {
        other
            .post("/v1/me/password")
            .by(&user)
            .json(&json!({ "current_password": PASSWORD, "new_password": OTHER }))
    };
    change()
        .expect(403)
        .code("reauthentication_required")
        .events(&["account.password.change_failed"])
        .await;
    other
        .post("/v1/auth/reauthenticate")
        .by(&user)
        .json(&json!({ "password": PASSWORD }))
        .expect(200)
        .events(&["account.reauthentication.succeeded"])
        .await;
    change()
        .expect(204)
        .events(&["account.password.changed"])
        .mails(&[&user.email])
        .await;
}

async fn an_account_is_deleted_and_comes_back_by_a_login(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let answer = app
        .delete("/v1/me")
        .by(&user)
        .expect(202)
        .events(&["account.deletion.requested", "session.ended"])
        .audit(&["account.deletion.request succeeded"])
        .mails(&[&user.email])
        .await;
    assert!(answer.json()["delete_after"].is_string());
    app.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
    let back = app
        .post("/v1/auth/login")
        .json(&json!({ "email": user.email, "password": PASSWORD }))
        .expect(200)
        .events(&["account.login.succeeded", "account.deletion.cancelled"])
        .audit(&["account.login succeeded", "account.deletion.cancel succeeded"])
        .mails(&[&user.email])
        .await;
    let back = anteroom_tests::User::of(&back.json());
    // The subscription was cancelled at the provider, whose event has come.
    anteroom_tests::eventually_asking("the subscription ends", async || {
        let held = app.get("/v1/me/subscription").by(&back).await.is(200).json();
        (held["status"] == "canceled").then_some(())
    })
    .await;

    let browser = app.browser().await;
    let gone = app
        .delete("/v1/me")
        .from(&browser)
        .header("origin", FRONTEND)
        .await
        .is(202);
    app.expect_mails(std::slice::from_ref(&browser.email));
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    app.delete("/v1/me")
        .from(&browser)
        .await
        .refused(401, "unauthenticated");
}

async fn the_last_admin_stays(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    app.delete("/v1/me")
        .by(&admin)
        .expect(409)
        .code("last_admin")
        .events(&["account.deletion.failed"])
        .audit(&["account.deletion.request failed"])
        .await;
    let second = app.admin().await;
    app.delete("/v1/me").by(&second).await.is(202);
    app.expect_mails(std::slice::from_ref(&second.email));
}
