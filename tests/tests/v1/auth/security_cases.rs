//! Cases that have gone wrong elsewhere, by their numbers in the list that Anteroom is tested against.

use std::time::{Duration, Instant};

use anteroom_tests::{FRONTEND, PASSWORD, Setup, TestApp, User, eventually_asking, on_every_store};
use serde_json::json;

on_every_store![
    b24_what_ends_a_session_ends_it_on_every_node_within_a_second,
    b31_a_login_makes_a_session_of_its_own,
    b32_a_cookie_that_is_not_exactly_ours_is_nobody,
];

/// What is promised, and what a busy machine may take besides.
const SOON: Duration = Duration::from_millis(1000 + 500);

async fn b24_what_ends_a_session_ends_it_on_every_node_within_a_second(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    for way in ["logout", "one", "others"] {
        let ada = here.user().await;
        let lost = here.log_in(&ada.email).await;
        // Both nodes know it as well as they can.
        for node in [&here, &there] {
            node.get("/v1/auth/session").by(&lost).await.is(200);
        }
        let begun = Instant::now();
        match way {
            "logout" => here.post("/v1/auth/logout").by(&lost).await.is(204),
            "one" => {
                let path = format!("/v1/me/sessions/{}", lost.session_id);
                here.delete(&path).by(&ada).await.is(204)
            }
            _ => here.delete("/v1/me/sessions").by(&ada).await.is(200),
        };
        here.get("/v1/me").by(&lost).await.refused(401, "unauthenticated");
        eventually_asking("the other node refuses it", async || {
            let answer = there.get("/v1/me").by(&lost).await;
            (answer.status == 401).then_some(())
        })
        .await;
        assert!(begun.elapsed() < SOON, "{way}: {:?}", begun.elapsed());
        for node in [&here, &there] {
            node.post("/v1/auth/refresh")
                .json(&json!({ "refresh_token": lost.refresh_token }))
                .await
                .refused(401, "invalid_refresh_token");
        }
    }
}

async fn log_in_with(app: &TestApp, email: &str, cookie: &str) -> String {
    let answer = app
        .post("/v1/auth/login")
        .header("origin", FRONTEND)
        .header("cookie", cookie)
        .json(&json!({ "email": email, "password": PASSWORD, "transport": "cookie" }))
        .await
        .is(200);
    answer.cookie().unwrap()
}

async fn b31_a_login_makes_a_session_of_its_own(setup: &Setup) {
    let app = setup.app().await;
    let (victim, attacker) = (app.browser().await, app.browser().await);
    // The attacker has put a cookie of their own, or one that they made up, into the victim's browser.
    let made_up = format!("anteroom={}", "a".repeat(64));
    for planted in [&attacker.cookie, &made_up, &victim.cookie] {
        let given = log_in_with(&app, &victim.email, planted).await;
        assert_ne!(&given, planted);
        let session = app
            .get("/v1/auth/session")
            .header("cookie", &given)
            .await
            .is(200)
            .json();
        assert_eq!(session["user"]["id"], victim.id);
    }
    app.get("/v1/auth/session")
        .header("cookie", &made_up)
        .await
        .refused(401, "unauthenticated");
    let theirs = app.get("/v1/auth/session").header("cookie", &attacker.cookie).await;
    assert_eq!(theirs.is(200).json()["user"]["id"], attacker.id);
    // A renewed token is another one, and the one before opens nothing later.
    let ada = app.user().await;
    let again = app
        .post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": ada.refresh_token }))
        .await
        .is(200);
    assert_ne!(User::of(&again.json()).refresh_token, ada.refresh_token);
}

async fn b32_a_cookie_that_is_not_exactly_ours_is_nobody(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    let (name, value) = browser.cookie.split_once('=').unwrap();
    let with = |value: &str| format!("{name}={value}").into_bytes();
    let mut cookies: Vec<Vec<u8>> = vec![
        with(&format!("\"{value}\"")),
        with(&value.to_uppercase()),
        with(&format!("{value}%00")),
        with(&format!("{value}{value}")),
        with(&format!("{value},{value}")),
        with(&format!("={value}")),
        with(""),
        with("null"),
        with("undefined"),
        with("' OR 1=1 --"),
        with(&"x".repeat(5000)),
        format!("{name}={value}; {name}={value}").into_bytes(),
        format!("{name}=; {name}={value}").into_bytes(),
        format!("{name}={value}; {name}=x").into_bytes(),
        format!("{}={value}", name.to_uppercase()).into_bytes(),
        format!("__Host-{name}={value}").into_bytes(),
        format!("{name} {value}").into_bytes(),
        format!("x{name}={value}").into_bytes(),
        [b"anteroom=\xff\xfe".as_slice(), value.as_bytes()].concat(),
        [with(value), b"\xff".to_vec()].concat(),
    ];
    // One byte changed, missing or too many, anywhere.
    for at in 0..value.len() {
        let other = if &value[at..=at] == "0" { "1" } else { "0" };
        cookies.push(with(&format!("{}{other}{}", &value[..at], &value[at + 1..])));
        cookies.push(with(&format!("{}{}", &value[..at], &value[at + 1..])));
        cookies.push(with(&format!("{}{other}{}", &value[..at], &value[at..])));
    }
    for cookie in &cookies {
        let shown = String::from_utf8_lossy(cookie).into_owned();
        let answer = app.get("/v1/auth/session").raw_header("cookie", cookie).await;
        assert_eq!(answer.told(), (401, "unauthenticated".to_owned()), "{shown}");
        assert_eq!(answer.header("set-cookie"), None, "{shown}");
    }
    for cookie in cookies.iter().step_by(7) {
        let ask = app.post("/v1/auth/logout").raw_header("cookie", cookie);
        ask.header("origin", FRONTEND).await.refused(401, "unauthenticated");
        // What is open to everybody stays open.
        app.get("/v1/plans").raw_header("cookie", cookie).await.is(200);
    }
    // Two headers are two cookies.
    let twice = app.get("/v1/me").header("cookie", &browser.cookie);
    twice
        .header("cookie", &browser.cookie)
        .await
        .refused(401, "unauthenticated");
    app.get("/v1/me").header("cookie", &browser.cookie).await.is(200);
    let among = format!("a=b; {}; other=\"x\"; c", browser.cookie);
    app.get("/v1/me").header("cookie", &among).await.is(200);
}
