//! Who may call is decided by the route that a request has met, and by nothing else that it says of where it goes.

use anteroom_tests::client::raw;
use anteroom_tests::{Setup, TestApp, User, on_every_store};
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};

on_every_store![
    f66_no_host_opens_a_route,
    f66_no_spelling_of_a_path_opens_a_route,
    f66_no_form_of_the_target_opens_a_route,
];

/// Routes that are not for everybody, with what they answer to nobody and to a user who is no admin.
const CLOSED: [(&str, &str, u16, u16); 6] = [
    ("GET", "/v1/admin/users", 401, 403),
    ("GET", "/v1/admin/audit", 401, 403),
    ("GET", "/v1/admin/users/019b7ca9-8f2e-7000-8000-000000000001", 401, 403),
    ("GET", "/v1/me", 401, 200),
    ("GET", "/v1/me/sessions", 401, 200),
    ("DELETE", "/v1/me/sessions", 401, 200),
];

/// The status of a request that is written as it stands; `host` may have line ends of its own.
async fn status(app: &TestApp, method: &str, target: &str, host: &str, user: Option<&User>) -> (u16, String) {
    let bearer = user.map_or_else(String::new, |user| {
        format!("authorization: Bearer {}\r\n", user.access_token)
    });
    let request = format!("{method} {target} HTTP/1.1\r\n{host}{bearer}connection: close\r\n\r\n");
    // On a busy machine one may not be answered in the time that is waited for; each changes nothing.
    for _ in 0..10 {
        let answer = raw(app, request.as_bytes()).await;
        if let Some(code) = answer.split(' ').nth(1) {
            return (code.parse().unwrap(), answer);
        }
    }
    panic!("{request:?} was not answered");
}

/// A few at a time.
async fn in_turn(asked: Vec<impl Future<Output = ()>>) {
    stream::iter(asked).buffer_unordered(8).collect::<()>().await;
}

/// CVE-2026-48710 (Starlette): a host that holds the path of an open route.
async fn f66_no_host_opens_a_route(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let own = app.url().strip_prefix("http://").unwrap();
    let hosts = [
        format!("host: {own}\r\n"),
        format!("host: {own}?\r\n"),
        format!("host: {own}#\r\n"),
        format!("host: {own}/health?\r\n"),
        format!("host: {own}/health#\r\n"),
        format!("host: {own}/v1/plans?x=\r\n"),
        format!("host: admin@{own}\r\n"),
        format!("host: {own}@evil.example\r\n"),
        "host: /health?\r\n".to_owned(),
        "host: ?\r\n".to_owned(),
        "host: #\r\n".to_owned(),
        "host: \r\n".to_owned(),
        "host: evil.example/../health\r\n".to_owned(),
        "host: evil.example\\health?\r\n".to_owned(),
        format!("host: {own}\r\nx-original-url: /health\r\nx-rewrite-url: /health\r\n"),
        format!("host: {own}\r\nx-forwarded-host: {own}/health?\r\nx-forwarded-prefix: /health\r\n"),
        format!("host: {own}\r\nhost: {own}/health?\r\n"),
    ];
    let mut asked = Vec::new();
    for host in &hosts {
        for (method, path, nobody, somebody) in CLOSED {
            for (user, expected) in [(None, nobody), (Some(&user), somebody)] {
                let app = &app;
                asked.push(async move {
                    let (code, answer) = status(app, method, path, host, user).await;
                    // The same as with a plain host, unless it is no host at all.
                    assert!(code == expected || code == 400, "{path} {host:?}: {answer}");
                });
            }
        }
    }
    in_turn(asked).await;
}

async fn f66_no_spelling_of_a_path_opens_a_route(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let own = format!("host: {}\r\n", app.url().strip_prefix("http://").unwrap());
    let mut asked = Vec::new();
    for path in [
        "/v1/admin/users%2f",
        "/v1/admin/users/",
        "/v1/admin/users//",
        "/v1/admin/users%3f",
        "/v1/admin/users%23",
        "/v1/admin/users%00",
        "/v1/admin/users;x=/health",
        "/v1/admin/users?/health",
        "/v1/admin/%75sers",
        "/v1/%61dmin/users",
        "/v1%2fadmin/users",
        "/v1/admin%2fusers",
        "/v1/admin/%2575sers",
        "/v1/admin\\users",
        "/V1/ADMIN/USERS",
        "//v1/admin/users",
        "/v1//admin/users",
        "/v1/./admin/users",
        "/./v1/admin/users",
        "/health/../v1/admin/users",
        "/health/%2e%2e/v1/admin/users",
        "/health/..%2fv1/admin/users",
        "/v1/plans/../admin/users",
        "/docs/../v1/admin/users",
        "/docs/%2e%2e%2fv1%2fadmin%2fusers",
        "/v1/me/../admin/users",
        "/v1/admin/users/.",
        "/v1/admin/users/..",
        "/v1/admin/users/%2e%2e",
    ] {
        for user in [None, Some(&user)] {
            for method in ["GET", "HEAD", "POST", "PATCH"] {
                let (app, own) = (&app, &own);
                let ask = async move {
                    let (code, answer) = status(app, method, path, own, user).await;
                    assert!(matches!(code, 400 | 401 | 403 | 404 | 405), "{method} {path}: {answer}");
                    assert!(!answer.contains("@example.com"), "{method} {path}: {answer}");
                };
                asked.push(ask.boxed_local());
            }
        }
    }
    // The same of what is for whoever is signed in, as nobody.
    for path in [
        "/v1/me%2f",
        "/v1/me/",
        "//v1/me",
        "/v1/./me",
        "/v1/%6de",
        "/v1/%6de/sessions",
        "/v1/me;/health",
        "/v1/me?/health",
        "/health/../v1/me",
        "/health/%2e%2e/v1/me",
        "/v1/plans/../me",
        "/V1/me",
        "/v1/auth/session%2f",
        "/v1/conversations/%2e%2e/plans",
    ] {
        let (app, own) = (&app, &own);
        let ask = async move {
            let (code, answer) = status(app, "GET", path, own, None).await;
            assert!(matches!(code, 400 | 401 | 404), "{path}: {answer}");
        };
        asked.push(ask.boxed_local());
    }
    in_turn(asked).await;
}

/// What proxies are sent (RFC 9112 section 3.2.2 to 3.2.4) is taken for the path that it holds, or for nothing.
async fn f66_no_form_of_the_target_opens_a_route(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let own = app.url().strip_prefix("http://").unwrap();
    let host = format!("host: {own}\r\n");
    let mut targets = Vec::new();
    for (_, path, _, _) in CLOSED {
        for before in [
            format!("http://{own}"),
            format!("https://{own}"),
            "http://evil.example".to_owned(),
            format!("http://admin@{own}"),
            format!("http://admin:admin@{own}"),
            format!("http://{own}/health/.."),
            format!("http://{own}//"),
            "ftp://evil.example".to_owned(),
            "/health@".to_owned(),
            "health".to_owned(),
        ] {
            targets.push((path, format!("{before}{path}")));
        }
    }
    targets.push(("/v1/admin/users", "*".to_owned()));
    targets.push(("/v1/admin/users", own.to_owned()));
    let mut asked = Vec::new();
    for (path, target) in &targets {
        for caller in [None, Some(&user)] {
            if caller.is_some() && !path.starts_with("/v1/admin") {
                continue;
            }
            for method in ["GET", "POST", "CONNECT"] {
                let (app, host) = (&app, &host);
                asked.push(async move {
                    let (code, answer) = status(app, method, target, host, caller).await;
                    assert!(
                        matches!(code, 400 | 401 | 403 | 404 | 405),
                        "{method} {target}: {answer}"
                    );
                });
            }
        }
    }
    in_turn(asked).await;
    app.get("/v1/me").by(&user).await.is(200);
}
