//! How often somebody may do something.

use anteroom_services::protection::Act;
use anteroom_tests::{Answer, Ask, PASSWORD, Setup, TestApp, User, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

on_every_store![
    ten_logins_a_minute,
    signups_are_counted_apart,
    what_proves_a_user_is_limited_for_each_user,
    links_asked_for_are_limited_for_each_address,
    every_route_is_counted_as_it_should,
    a_hundred_parallel_guesses_are_ten,
    users_are_counted_apart_and_strangers_by_address,
    f65_proxies_are_believed_if_they_are_trusted,
    health_is_never_counted,
    the_relay_speaks_openais_language_here_too,
    the_operators_own_rules_count_beside_the_others,
    a_rule_may_only_look_on,
];

const ON: (&str, &str) = ("protection.enabled", "true");
/// Failed logins slow an account down before the limits do.
const NO_LOCKOUT: (&str, &str) = ("protection.lockout_free_failures", "1000");

fn guess(app: &TestApp) -> Ask {
    app.post("/v1/auth/login")
        .json(&json!({ "email": "ada@example.com", "password": "wrong" }))
}

fn limited(answer: &Answer) {
    assert_eq!(answer.told(), (429, "rate_limited".to_owned()), "{answer:?}");
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
}

/// `r` and `t` of the `RateLimit` header.
fn left(answer: &Answer) -> (i64, i64) {
    let header = answer.header("ratelimit").unwrap();
    let number = |key: &str| {
        header
            .split(key)
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    (number(";r="), number(";t="))
}

async fn ten_logins_a_minute(setup: &Setup) {
    let app = setup.app_with(&[ON, NO_LOCKOUT]).await;
    for number in 1..=10 {
        let answer = guess(&app)
            .expect(401)
            .code("invalid_credentials")
            .events(&["account.login.failed"])
            .await;
        assert_eq!(
            answer.header("ratelimit-policy").as_deref(),
            Some("\"login\";q=10;w=60")
        );
        assert!(answer.header("ratelimit").unwrap().starts_with("\"login\";r="));
        assert_eq!(left(&answer).0, 10 - number, "{answer:?}");
    }
    // Nothing is even looked at any more.
    for _ in 0..3 {
        let answer = guess(&app).expect(429).code("rate_limited").await;
        limited(&answer);
        assert_eq!(left(&answer).0, 0);
    }
    // A body that says nothing is counted like one that does: before it is read.
    limited(&app.post("/v1/auth/login").body("x").await);
}

async fn signups_are_counted_apart(setup: &Setup) {
    let app = setup.app_with(&[ON, NO_LOCKOUT]).await;
    for _ in 0..11 {
        guess(&app).await;
    }
    limited(&guess(&app).await);
    for _ in 0..10 {
        let user = app.user().await;
        app.get("/v1/me").by(&user).await.is(200);
    }
    let ask = app
        .post("/v1/auth/signup")
        .json(&json!({ "email": "one-too-many@example.com", "password": PASSWORD }));
    let answer = ask.expect(429).code("rate_limited").await;
    limited(&answer);
    assert_eq!(
        answer.header("ratelimit-policy").as_deref(),
        Some("\"signup\";q=10;w=60")
    );
}

async fn what_proves_a_user_is_limited_for_each_user(setup: &Setup) {
    let app = setup.app_with(&[ON, NO_LOCKOUT]).await;
    let (user, other) = (app.user().await, app.user().await);
    let prove = |user: &User| {
        app.post("/v1/auth/reauthenticate")
            .by(user)
            .json(&json!({ "password": "a wrong password" }))
    };
    // One count for the three.
    for number in 0..10 {
        let (path, body) = match number % 3 {
            0 => (
                "/v1/me/password",
                json!({ "current_password": "x", "new_password": "y" }),
            ),
            1 => ("/v1/me/email", json!({ "email": "none" })),
            _ => ("/v1/auth/reauthenticate", json!({ "password": "a wrong password" })),
        };
        let answer = app.post(path).by(&user).json(&body).await;
        assert!(matches!(answer.status, 403 | 422), "{answer:?}");
        assert_eq!(
            answer.header("ratelimit-policy").as_deref(),
            Some("\"sensitive\";q=10;w=60")
        );
    }
    limited(&prove(&user).await);
    prove(&other).await.refused(403, "invalid_credentials");
    // Not what keeps a session going, or ends it.
    app.get("/v1/auth/session").by(&user).await.is(200);
    let fresh = app
        .post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": user.refresh_token }))
        .await
        .is(200);
    app.post("/v1/auth/logout").by(&User::of(&fresh.json())).await.is(204);
}

async fn links_asked_for_are_limited_for_each_address(setup: &Setup) {
    let app = setup.app_with(&[ON, NO_LOCKOUT]).await;
    let forgot = || {
        app.post("/v1/auth/password/forgot")
            .json(&json!({ "email": "nobody@example.com" }))
    };
    for _ in 0..10 {
        forgot().await.is(202);
    }
    limited(&forgot().await);
    let verify = app.post("/v1/auth/email/verify").json(&json!({ "token": "x" }));
    limited(&verify.await);
    guess(&app).await.refused(401, "invalid_credentials");
}

/// Which routes have a limit of their own: one that lost it would be found by nobody else.
async fn every_route_is_counted_as_it_should(_: &Setup) {
    let mut own: Vec<String> = anteroom_http::routes()
        .iter()
        .filter(|route| route.act != Act::Default)
        .map(|route| format!("{:?} {} {}", route.act, route.method, route.path))
        .collect();
    own.sort();
    assert_eq!(
        own,
        [
            "LogIn POST /v1/auth/login",
            "Recover POST /v1/auth/email/resend",
            "Recover POST /v1/auth/email/undo",
            "Recover POST /v1/auth/email/verify",
            "Recover POST /v1/auth/password/forgot",
            "Recover POST /v1/auth/password/reset",
            "Recover POST /v1/auth/sessions/revoke",
            "Sensitive PATCH /v1/me/api-keys/{id}",
            "Sensitive POST /v1/auth/reauthenticate",
            "Sensitive POST /v1/me/api-keys",
            "Sensitive POST /v1/me/api-keys/{id}/rotate",
            "Sensitive POST /v1/me/email",
            "Sensitive POST /v1/me/password",
            "SignUp POST /v1/auth/signup",
            "Unlimited GET /health",
            "Unlimited GET /health/ready",
        ]
    );
}

async fn a_hundred_parallel_guesses_are_ten(setup: &Setup) {
    let app = setup.app_with(&[ON, NO_LOCKOUT]).await;
    let answers = join_all((0..100).map(|_| guess(&app).into_future())).await;
    let looked_at = answers.iter().filter(|a| a.status == 401).count();
    // One more comes free every six seconds, on a slow machine.
    assert!((10..=12).contains(&looked_at), "{looked_at}");
    for refused in answers.iter().filter(|a| a.status != 401) {
        limited(refused);
    }
}

async fn users_are_counted_apart_and_strangers_by_address(setup: &Setup) {
    let app = setup
        .app_with(&[ON, NO_LOCKOUT, ("protection.default_per_minute", "5")])
        .await;
    let (user, other) = (app.user().await, app.user().await);
    for _ in 0..5 {
        let answer = app.get("/v1/me").by(&user).await.is(200);
        assert_eq!(
            answer.header("ratelimit-policy").as_deref(),
            Some("\"default\";q=5;w=60")
        );
    }
    limited(&app.get("/v1/me").by(&user).await);
    limited(&app.get("/v1/me/subscription").by(&user).await);
    app.get("/v1/me").by(&other).await.is(200);
    // A stranger, and who guesses at tokens, is counted where they come from.
    for number in 0..5 {
        let ask = app.get("/v1/me").bearer(&format!("guess-{number}"));
        ask.await.refused(401, "unauthenticated");
    }
    limited(&app.get("/v1/me").bearer("guess-6").await);
    limited(&app.get("/v1/plans").await);
    app.get("/v1/me").by(&other).await.is(200);
}

async fn f65_proxies_are_believed_if_they_are_trusted(setup: &Setup) {
    let trusting = setup
        .app_with(&[ON, NO_LOCKOUT, ("server.trusted_proxies", "127.0.0.0/8, 10.0.0.0/8")])
        .await;
    for _ in 0..10 {
        guess(&trusting).header("x-forwarded-for", "203.0.113.7").await.is(401);
    }
    limited(&guess(&trusting).header("x-forwarded-for", "203.0.113.7").await);
    // What the client wrote itself stands to the left, and counts for nothing; nor do the proxies' own addresses.
    limited(
        &guess(&trusting)
            .header("x-forwarded-for", "198.51.100.1, 203.0.113.7, 10.1.2.3")
            .await,
    );
    guess(&trusting).header("x-forwarded-for", "203.0.113.8").await.is(401);
    // A network of IPv6 is one client.
    for number in 0..10 {
        guess(&trusting)
            .header("x-forwarded-for", &format!("2001:db8:1:2::{number:x}"))
            .await
            .is(401);
    }
    limited(
        &guess(&trusting)
            .header("x-forwarded-for", "2001:db8:1:2:ffff:ffff:ffff:ffff")
            .await,
    );
    limited(
        &guess(&trusting)
            .header("x-forwarded-for", "2001:0DB8:0001:0002::1")
            .await,
    );
    guess(&trusting)
        .header("x-forwarded-for", "2001:db8:1:3::1")
        .await
        .is(401);
    let user = trusting
        .post("/v1/auth/signup")
        .header("x-forwarded-for", "203.0.113.9")
        .json(&json!({ "email": "ada@example.com", "password": PASSWORD }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .mails(&["ada@example.com"])
        .await;
    assert_eq!(user.json()["session"]["address"], "203.0.113.9");

    // A line that cannot be read does not make one believed that came before it, which the client may have written.
    for lines in [
        &[b"203.0.113.66".as_slice(), b"\xff"][..],
        &[b"203.0.113.66", b"198.51.100.1\xff"],
        &[b"203.0.113.66, \xff"],
    ] {
        let login = json!({ "email": "ada@example.com", "password": PASSWORD });
        let ask = lines
            .iter()
            .fold(trusting.post("/v1/auth/login").json(&login), |ask, line| {
                ask.raw_header("x-forwarded-for", line)
            });
        let session = ask.await.is(200).json()["session"].clone();
        assert_eq!(session["address"], "127.0.0.1", "{lines:?}");
    }

    let wary = setup.app_with(&[ON, NO_LOCKOUT]).await;
    for number in 0..10 {
        guess(&wary)
            .header("x-forwarded-for", &format!("203.0.113.{number}"))
            .await
            .is(401);
    }
    limited(&guess(&wary).header("x-forwarded-for", "203.0.113.200").await);
    let user = wary
        .post("/v1/auth/signup")
        .header("x-forwarded-for", "203.0.113.9")
        .header("forwarded", "for=203.0.113.9")
        .header("x-real-ip", "203.0.113.9")
        .json(&json!({ "email": "bob@example.com", "password": PASSWORD }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .mails(&["bob@example.com"])
        .await;
    assert_eq!(user.json()["session"]["address"], "127.0.0.1");
}

async fn health_is_never_counted(setup: &Setup) {
    let app = setup
        .app_with(&[ON, NO_LOCKOUT, ("protection.default_per_minute", "3")])
        .await;
    for _ in 0..20 {
        let answer = app.get("/health").await.is(200);
        assert_eq!(answer.header("ratelimit"), None);
    }
    app.get("/health/ready").await.is(200);
}

async fn the_relay_speaks_openais_language_here_too(setup: &Setup) {
    let app = setup
        .app_with(&[ON, NO_LOCKOUT, ("protection.default_per_minute", "1")])
        .await;
    let user = app.user().await;
    app.get("/v1/models").by(&user).await.is(200);
    let answer = app.get("/v1/models").by(&user).await;
    limited(&answer);
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
}

async fn the_operators_own_rules_count_beside_the_others(setup: &Setup) {
    let rules = r#"[
        { name = "reading-me", route = "GET /v1/me", per = "user", limit = 2, window = "hour" },
        { name = "asking", route = "/v1/me/*", per = "api_key", limit = 1, window = "day" },
        { name = "plans", route = "/v1/plans", per = "address", limit = 3, window = "minute" },
    ]"#
    .replace('\n', " ");
    let app = setup.app_with(&[ON, ("protection.rules", &rules)]).await;
    let (ada, bob) = (app.user().await, app.user().await);
    for user in [&ada, &bob] {
        for _ in 0..2 {
            app.get("/v1/me").by(user).expect(200).await;
        }
        let refused = app.get("/v1/me").by(user).expect(429).code("rate_limited").await;
        assert_eq!(refused.json()["limit"], "reading-me");
        let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1800).contains(&after), "{after}");
        assert_eq!(
            refused.header("ratelimit-policy").as_deref(),
            Some("\"reading-me\";q=2;w=3600")
        );
        // Another method, and other paths, are not covered.
        let change = json!({ "name": "Ada" });
        app.patch("/v1/me").by(user).json(&change).await.is(200);
        app.get("/v1/me/usage").by(user).await.is(200);
        app.get("/v1/me/usage").by(user).await.is(200);
    }
    let named = json!({ "name": "k", "scopes": ["usage:read"] });
    let keys = [(); 2].map(|()| app.post("/v1/me/api-keys").by(&ada).json(&named).into_future());
    app.expect_mails(&[ada.email.clone(), ada.email.clone()]);
    for key in join_all(keys).await {
        let key = key.is(201).json()["key"].as_str().unwrap().to_owned();
        app.get("/v1/me/usage").bearer(&key).await.is(200);
        let refused = app.get("/v1/me/usage").bearer(&key).await.refused(429, "rate_limited");
        assert_eq!(refused.json()["limit"], "asking");
    }
    let answers = join_all((0..64).map(|_| app.get("/v1/plans").into_future())).await;
    let through = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(through, 3, "of 64 at once");
}

async fn a_rule_may_only_look_on(setup: &Setup) {
    let rules = r#"[{ name = "trial", route = "*", per = "address", limit = 1, window = "day", action = "log" }]"#;
    let app = setup.app_with(&[ON, ("protection.rules", rules)]).await;
    app.get("/v1/plans").expect(200).await;
    // Health is never counted, and nobody's log is filled by it.
    app.get("/health").expect(200).await;
    let answer = app.get("/v1/plans").expect(200).events(&["rate.exceeded"]).await;
    assert!(
        answer.header("ratelimit").unwrap().starts_with("\"default\""),
        "{answer:?}"
    );
}
