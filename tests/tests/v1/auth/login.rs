//! `POST /v1/auth/login`

use std::time::{Duration, Instant};

use anteroom_tests::{FRONTEND, PASSWORD, Setup, User, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

use super::signup::no_tokens;

on_every_store![
    answers_with_tokens,
    answers_with_a_cookie,
    tells_nobody_whether_an_address_is_known,
    begins_a_session_of_its_own,
    costs_the_same_whether_an_address_is_known,
    is_refused_when_too_many_wait,
];

async fn answers_with_tokens(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for transport in [None, Some("token")] {
        let mut ask = json!({ "email": user.email.to_uppercase(), "password": PASSWORD });
        if let Some(transport) = transport {
            ask["transport"] = transport.into();
        }
        let answer = app
            .post("/v1/auth/login")
            .json(&ask)
            .expect(200)
            .events(&["account.login.succeeded"])
            .audit(&["account.login succeeded"])
            .await;
        assert_eq!(answer.header("set-cookie"), None);
        let body = answer.json();
        assert_eq!(
            (&body["status"], &body["token_type"], &body["expires_in"]),
            (&json!("ok"), &json!("Bearer"), &json!(900))
        );
        assert_eq!(body["user"]["id"], user.id);
        app.get("/v1/auth/session").by(&User::of(&body)).await.is(200);
    }
}

async fn answers_with_a_cookie(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let answer = app
        .post("/v1/auth/login")
        .header("origin", FRONTEND)
        .json(&json!({ "email": user.email, "password": PASSWORD, "transport": "cookie" }))
        .expect(200)
        .events(&["account.login.succeeded"])
        .await;
    no_tokens(&answer.json());
    let cookie = answer.cookie().unwrap();
    let session = app
        .get("/v1/auth/session")
        .header("cookie", &cookie)
        .await
        .is(200)
        .json();
    assert_eq!(session["session"]["id"], answer.json()["session"]["id"]);
    // The cookie's value is no bearer token, nor is a token a cookie.
    let value = cookie.strip_prefix("anteroom=").unwrap();
    app.get("/v1/me").bearer(value).await.refused(401, "unauthenticated");
    let as_cookie = format!("anteroom={}", user.access_token);
    app.get("/v1/me")
        .header("cookie", &as_cookie)
        .await
        .refused(401, "unauthenticated");
}

async fn tells_nobody_whether_an_address_is_known(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let long = "x".repeat(2000);
    let mut told = Vec::new();
    for (email, password) in [
        (user.email.as_str(), "a wrong password"),
        (user.email.as_str(), ""),
        (user.email.as_str(), long.as_str()),
        ("nobody@example.com", PASSWORD),
        ("no address at all", PASSWORD),
        ("", ""),
    ] {
        let answer = app
            .post("/v1/auth/login")
            .json(&json!({ "email": email, "password": password }))
            .expect(401)
            .code("invalid_credentials")
            .events(&["account.login.failed"])
            .audit(&["account.login failed"])
            .await;
        assert_eq!(answer.header("set-cookie"), None);
        let mut body = answer.json();
        body["request_id"] = "".into();
        told.push(body);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

async fn begins_a_session_of_its_own(setup: &Setup) {
    let app = setup.app().await;
    let first = app.user().await;
    // A cookie that is presented while logging in does not become the session's (fixation).
    let ask = json!({ "email": first.email, "password": PASSWORD, "transport": "cookie" });
    let planted = format!("anteroom={}", "5".repeat(64));
    let answer = app
        .post("/v1/auth/login")
        .header("origin", FRONTEND)
        .header("cookie", &planted)
        .json(&ask)
        .await
        .is(200);
    assert_ne!(answer.cookie().unwrap(), planted);
    assert_ne!(answer.json()["session"]["id"], first.session_id);
    app.get("/v1/me")
        .header("cookie", &planted)
        .await
        .refused(401, "unauthenticated");
    let second = app.log_in(&first.email).await;
    assert_ne!(second.session_id, first.session_id);
    app.get("/v1/me").by(&first).await.is(200);
    app.get("/v1/me").by(&second).await.is(200);
}

async fn costs_the_same_whether_an_address_is_known(setup: &Setup) {
    let app = setup.app_with(&[("passwords.bcrypt_cost", "8")]).await;
    let user = app.user().await;
    let mut took = [Vec::new(), Vec::new()];
    // In turns, so that what else the machine does falls on both.
    for _ in 0..15 {
        for (email, took) in [user.email.as_str(), "nobody@example.com"].into_iter().zip(&mut took) {
            let begun = Instant::now();
            let ask = app
                .post("/v1/auth/login")
                .json(&json!({ "email": email, "password": "a wrong password" }));
            ask.await.refused(401, "invalid_credentials");
            took.push(begun.elapsed());
        }
    }
    let [known, unknown] = took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    });
    // Without a hash of its own an unknown address would take a tenth.
    assert!(unknown * 2 > known && known * 2 > unknown, "{known:?} and {unknown:?}");
}

async fn is_refused_when_too_many_wait(setup: &Setup) {
    let slow = [
        ("passwords.bcrypt_cost", "9"),
        ("passwords.max_wait_ms", "100"),
        ("passwords.hash_threads", "1"),
    ];
    let app = setup.app_with(&slow).await;
    let user = app.user().await;
    let ask = || {
        app.post("/v1/auth/login")
            .json(&json!({ "email": user.email, "password": PASSWORD }))
    };
    // So that it is known how long one takes.
    ask().await.is(200);
    let begun = Instant::now();
    let answers = join_all((0..64).map(|_| ask().into_future())).await;
    let refused: Vec<_> = answers.iter().filter(|a| a.status != 200).collect();
    assert!(
        !refused.is_empty() && refused.len() < 64,
        "{} of 64 were refused",
        refused.len()
    );
    for answer in refused {
        assert_eq!(answer.told(), (503, "too_busy".to_owned()));
        let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..60).contains(&after), "{after}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    ask().await.is(200);
}
