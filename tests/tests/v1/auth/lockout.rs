//! What failed logins cost, on `POST /v1/auth/login`.

use anteroom_tests::{Answer, Ask, PASSWORD, Setup, TestApp, User, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

on_every_store![
    b20_every_path_with_a_password_shares_one_counter,
    the_sixth_failure_closes_the_way_in_and_says_until_when,
    a_known_and_an_unknown_address_are_refused_alike,
    b21_of_1000_parallel_guesses_on_two_nodes_ten_are_compared,
    b23_one_network_of_ipv6_is_one_client,
    the_right_password_opens_it_again_in_time,
];

/// Lockout on, and no other limit in its way.
const ON: [(&str, &str); 4] = [
    ("protection.enabled", "true"),
    ("protection.login_per_minute", "1000000"),
    ("protection.signup_per_minute", "1000000"),
    ("protection.default_per_minute", "1000000"),
];

fn on(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    ON.iter().chain(more).copied().collect()
}

fn log_in(app: &TestApp, email: &str, password: &str) -> Ask {
    app.post("/v1/auth/login")
        .json(&json!({ "email": email, "password": password }))
}

async fn fail(app: &TestApp, email: &str, times: usize) {
    for _ in 0..times {
        log_in(app, email, "a wrong password")
            .await
            .refused(401, "invalid_credentials");
    }
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

async fn the_sixth_failure_closes_the_way_in_and_says_until_when(setup: &Setup) {
    let app = setup
        .app_with(&on(&[("protection.lockout_first_delay_seconds", "300")]))
        .await;
    let user = app.user().await;
    fail(&app, &user.email, 5).await;
    log_in(&app, &user.email, PASSWORD).await.is(200);
    fail(&app, &user.email, 5).await;
    log_in(&app, &user.email, "a wrong password")
        .expect(401)
        .code("invalid_credentials")
        .events(&["account.login.failed", "account.lockout.began"])
        .audit(&["account.login failed", "account.lockout succeeded"])
        .mails(&[&user.email])
        .await;
    let mail = app.mails().pop().unwrap();
    assert!(
        mail.text.contains("Subject: Many failed logins at Anteroom"),
        "{}",
        mail.text
    );
    for password in ["a wrong password", PASSWORD] {
        let answer = log_in(&app, &user.email, password)
            .expect(429)
            .code("login_blocked")
            .events(&["account.login.blocked"])
            .audit(&[])
            .await;
        assert!((290..=300).contains(&retry_after(&answer)), "{answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(detail, "too many logins have failed; try again in 5 minutes");
        assert_eq!(answer.header("set-cookie"), None);
    }
    // Who is signed in stays so, and others log in.
    app.get("/v1/me").by(&user).await.is(200);
    let other = app.user().await;
    app.log_in(&other.email).await;
    // The operator opens it.
    assert!(app.services().protection.unlock_account(&user.email).await.unwrap());
    app.log_in(&user.email).await;
}

async fn a_known_and_an_unknown_address_are_refused_alike(setup: &Setup) {
    let app = setup
        .app_with(&on(&[
            ("protection.lockout_first_delay_seconds", "3600"),
            ("protection.lockout_longest_delay_seconds", "3600"),
        ]))
        .await;
    let user = app.user().await;
    let mut told = Vec::new();
    for email in [user.email.as_str(), "nobody@example.com", "no address at all"] {
        fail(&app, email, 6).await;
        let answer = log_in(&app, email, "a wrong password").await;
        let after = retry_after(&answer);
        assert!((3590..=3600).contains(&after), "{after}");
        let mut body = answer.json();
        body["request_id"] = "".into();
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        told.push((answer.status, body, names));
    }
    app.expect_mails(std::slice::from_ref(&user.email));
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

/// A path on which a password is compared, and what it says of a wrong one.
#[derive(Debug, Clone, Copy)]
enum Path {
    LogIn,
    Reauthenticate,
    ChangePassword,
}

impl Path {
    fn ask(self, app: &TestApp, user: &User, password: &str) -> Ask {
        match self {
            Self::LogIn => log_in(app, &user.email, password),
            Self::Reauthenticate => app
                .post("/v1/auth/reauthenticate")
                .by(user)
                .json(&json!({ "password": password })),
            Self::ChangePassword => app
                .post("/v1/me/password")
                .by(user)
                .json(&json!({ "current_password": password, "new_password": "lantern-under-the-quiet-canal" })),
        }
    }

    fn wrong(self) -> (u16, &'static str) {
        match self {
            Self::LogIn => (401, "invalid_credentials"),
            Self::Reauthenticate => (403, "invalid_credentials"),
            Self::ChangePassword => (422, "validation_failed"),
        }
    }
}

async fn b20_every_path_with_a_password_shares_one_counter(setup: &Setup) {
    // Five cost nothing, and the sixth begins a block that outlasts the test.
    let app = setup
        .app_with(&on(&[
            ("protection.sensitive_per_minute", "1000000"),
            ("protection.lockout_address_free_failures", "1000000"),
            ("protection.lockout_first_delay_seconds", "900"),
        ]))
        .await;
    let paths = [Path::LogIn, Path::Reauthenticate, Path::ChangePassword];
    let backwards = [Path::ChangePassword, Path::Reauthenticate, Path::LogIn];
    for order in [paths, backwards] {
        let user = app.user().await;
        for path in order {
            for _ in 0..2 {
                let (status, code) = path.wrong();
                path.ask(&app, &user, "a wrong password").await.refused(status, code);
            }
        }
        app.expect_mails(std::slice::from_ref(&user.email));
        for path in order {
            // The right one is refused as well: nothing is compared any more.
            for password in ["a wrong password", PASSWORD] {
                let answer = path.ask(&app, &user, password).await.refused(429, "login_blocked");
                assert!((880..=900).contains(&retry_after(&answer)), "{path:?}: {answer:?}");
            }
        }
        // Who is signed in stays so.
        app.get("/v1/me").by(&user).await.is(200);
        let renew = json!({ "refresh_token": user.refresh_token });
        app.post("/v1/auth/refresh").json(&renew).await.is(200);
        // And what was guessed at one account is no other's failure.
        let other = app.user().await;
        for path in order {
            let (status, code) = path.wrong();
            path.ask(&app, &other, "a wrong password").await.refused(status, code);
        }
        Path::Reauthenticate.ask(&app, &other, PASSWORD).await.is(200);
        // Once it was the right one, all begin anew.
        assert!(app.services().protection.unlock_account(&user.email).await.unwrap());
        for _ in 0..2 {
            for path in order.iter().chain(&order[..2]) {
                let (status, code) = path.wrong();
                path.ask(&app, &user, "a wrong password").await.refused(status, code);
            }
            Path::LogIn.ask(&app, &user, PASSWORD).await.is(200);
        }
    }
}

async fn b21_of_1000_parallel_guesses_on_two_nodes_ten_are_compared(setup: &Setup) {
    // Nine cost nothing, and the tenth begins a block that outlasts the test.
    let set = on(&[
        ("server.public_url", "http://anteroom.example.test"),
        ("protection.lockout_free_failures", "9"),
        ("protection.lockout_address_free_failures", "1000000"),
        ("protection.lockout_first_delay_seconds", "900"),
    ]);
    let nodes = [setup.app_with(&set).await, setup.app_with(&set).await];
    let user = nodes[0].user().await;
    let guesses = (0..1000)
        .map(|number| log_in(&nodes[number % 2], &user.email, &format!("guess number {number}")).into_future());
    let answers = join_all(guesses).await;
    let count = |status, code: &str| answers.iter().filter(|a| a.told() == (status, code.to_owned())).count();
    let compared = count(401, "invalid_credentials");
    let refused = count(429, "login_blocked");
    // A store that is asked too much at once refuses too, and then nothing is compared either.
    let away = count(503, "store_unavailable");
    assert_eq!(compared + refused + away, 1000);
    assert_eq!(compared, 10, "{refused} refused, {away} put off");
    nodes[0].expect_mails(std::slice::from_ref(&user.email));
    for node in &nodes {
        log_in(node, &user.email, PASSWORD).await.refused(429, "login_blocked");
        node.get("/v1/me").by(&user).await.is(200);
    }
}

async fn b23_one_network_of_ipv6_is_one_client(setup: &Setup) {
    let app = setup
        .app_with(&on(&[
            ("server.trusted_proxies", "127.0.0.1"),
            ("protection.lockout_address_free_failures", "3"),
            ("protection.lockout_first_delay_seconds", "900"),
        ]))
        .await;
    let from = |address: &str, number: usize| {
        log_in(&app, &format!("somebody{number}@example.com"), "a wrong password").header("x-forwarded-for", address)
    };
    for (number, address) in [
        "2001:db8:1:2::1",
        "2001:db8:1:2::2",
        "2001:DB8:1:2:0:0:0:3",
        "2001:db8:1:2:ffff::",
    ]
    .into_iter()
    .enumerate()
    {
        from(address, number).await.refused(401, "invalid_credentials");
    }
    from("2001:db8:1:2::5", 5).await.refused(429, "login_blocked");
    from("2001:db8:1:3::5", 6).await.refused(401, "invalid_credentials");
    from("192.0.2.1", 7).await.refused(401, "invalid_credentials");
}

async fn the_right_password_opens_it_again_in_time(setup: &Setup) {
    let app = setup
        .app_with(&on(&[
            ("protection.lockout_free_failures", "0"),
            ("protection.lockout_first_delay_seconds", "1"),
        ]))
        .await;
    let user = app.user().await;
    fail(&app, &user.email, 1).await;
    app.expect_mails(std::slice::from_ref(&user.email));
    log_in(&app, &user.email, PASSWORD).await.refused(429, "login_blocked");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    log_in(&app, &user.email, PASSWORD).await.is(200);
}
