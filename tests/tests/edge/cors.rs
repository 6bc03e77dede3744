//! Which pages may call.

use anteroom_tests::{Answer, FRONTEND, PASSWORD, Setup, TestApp, on_every_store};
use serde_json::json;

on_every_store![
    the_frontend_may_ask_before_it_calls,
    others_may_not,
    the_frontend_may_call_with_credentials,
    others_cannot_read_answers_nor_change_anything,
    foreign_pages_cannot_sign_their_visitors_in,
    caches_are_told_what_answers_depend_on,
    this_machine_has_two_names_while_it_is_tried_out,
];

/// Origins that are not the frontend's, however much they look like it.
fn foreign() -> Vec<String> {
    let host = FRONTEND.strip_prefix("https://").unwrap();
    vec![
        "https://evil.example".to_owned(),
        format!("http://{host}"),
        format!("https://{host}.evil.example"),
        format!("https://evil-{host}"),
        format!("https://{host}:8443"),
        format!("{FRONTEND}/"),
        FRONTEND.to_uppercase(),
        "null".to_owned(),
        "*".to_owned(),
        String::new(),
        "file://".to_owned(),
    ]
}

async fn preflight(app: &TestApp, path: &str, method: &str, origin: &str) -> Answer {
    app.ask("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization, content-type, idempotency-key",
        )
        .await
}

async fn the_frontend_may_ask_before_it_calls(setup: &Setup) {
    let app = setup.app().await;
    for origin in [FRONTEND, app.url()] {
        for (path, method) in [
            ("/v1/auth/login", "POST"),
            ("/v1/me", "PATCH"),
            ("/v1/conversations/x", "DELETE"),
            ("/v1/chat/completions", "POST"),
        ] {
            let answer = preflight(&app, path, method, origin).await.is(204);
            assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some(origin));
            assert_eq!(
                answer.header("access-control-allow-credentials").as_deref(),
                Some("true")
            );
            assert!(answer.header("access-control-allow-methods").unwrap().contains(method));
            let headers = answer.header("access-control-allow-headers").unwrap();
            assert!(
                ["authorization", "content-type", "idempotency-key"]
                    .iter()
                    .all(|h| headers.contains(h)),
                "{headers}"
            );
            assert!(answer.header("access-control-max-age").is_some());
            assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
        }
    }
}

async fn others_may_not(setup: &Setup) {
    let app = setup.app().await;
    for origin in foreign() {
        let answer = preflight(&app, "/v1/auth/login", "POST", &origin)
            .await
            .refused(403, "origin_not_allowed");
        not_shared(&answer);
    }
}

/// What stands in all lines of `Vary`.
fn varies(answer: &Answer) -> String {
    let lines: Vec<&str> = answer
        .headers
        .get_all("vary")
        .iter()
        .map(|v| v.to_str().unwrap())
        .collect();
    lines.join(", ").to_lowercase()
}

async fn caches_are_told_what_answers_depend_on(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    // An answer that was kept from a request without an origin must not be given to a page.
    for path in [
        "/docs",
        "/openapi.json",
        "/.well-known/jwks.json",
        "/v1/plans",
        "/v1/me",
        "/nowhere",
    ] {
        for ask in [
            app.get(path).by(&user),
            app.get(path).by(&user).header("origin", FRONTEND),
        ] {
            let answer = ask.await;
            assert_eq!(varies(&answer), "origin", "{answer:?}");
        }
    }
    for origin in [FRONTEND, "https://evil.example"] {
        let answer = preflight(&app, "/v1/me", "PATCH", origin).await;
        for name in [
            "origin",
            "access-control-request-method",
            "access-control-request-headers",
        ] {
            assert!(varies(&answer).split(", ").any(|n| n == name), "{name}: {answer:?}");
        }
    }
}

async fn this_machine_has_two_names_while_it_is_tried_out(setup: &Setup) {
    let app = setup.app().await;
    let port = app.url().rsplit(':').next().unwrap();
    for host in ["localhost", "127.0.0.1"] {
        preflight(&app, "/v1/me", "PATCH", &format!("http://{host}:{port}"))
            .await
            .is(204);
        for other in [
            format!("https://{host}:{port}"),
            format!("http://{host}"),
            format!("http://{host}:1"),
        ] {
            preflight(&app, "/v1/me", "PATCH", &other)
                .await
                .refused(403, "origin_not_allowed");
        }
    }
}

/// Whether a browser keeps the answer from the page.
fn not_shared(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

fn shared(answer: &Answer) {
    assert_eq!(
        answer.header("access-control-allow-origin").as_deref(),
        Some(FRONTEND),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("access-control-allow-credentials").as_deref(),
        Some("true")
    );
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["retry-after", "x-request-id", "anteroom-dropped-parameters"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
}

async fn the_frontend_may_call_with_credentials(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    shared(&app.get("/v1/me").from(&browser).await.is(200));
    shared(
        &app.patch("/v1/me")
            .from(&browser)
            .json(&json!({ "name": "Ada" }))
            .await
            .is(200),
    );
    // Errors can be read as well.
    shared(
        &app.get("/v1/admin/users")
            .from(&browser)
            .await
            .refused(403, "forbidden"),
    );
    shared(
        &app.get("/v1/nothing")
            .from(&browser)
            .await
            .refused(404, "no_such_route"),
    );
    let body = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    let mut stream = app
        .post("/v1/chat/completions")
        .from(&browser)
        .json(&body)
        .stream()
        .await;
    assert_eq!(stream.headers["access-control-allow-origin"], FRONTEND);
    stream.rest().await;
    // A page of Anteroom's own needs no leave, and says so itself.
    let own = app
        .post("/v1/auth/refresh")
        .header("cookie", &browser.cookie)
        .header("sec-fetch-site", "same-origin");
    own.await.is(200);
}

async fn others_cannot_read_answers_nor_change_anything(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    for origin in foreign() {
        let ask = app
            .get("/v1/me")
            .header("cookie", &browser.cookie)
            .header("origin", &origin);
        not_shared(&ask.await.is(200));
        let ask = app
            .patch("/v1/me")
            .header("cookie", &browser.cookie)
            .header("origin", &origin);
        let answer = ask
            .json(&json!({ "name": "changed" }))
            .await
            .refused(403, "origin_not_allowed");
        not_shared(&answer);
        // What browsers say of themselves does not help a foreign origin.
        let ask = app
            .post("/v1/auth/logout")
            .header("cookie", &browser.cookie)
            .header("origin", &origin);
        ask.header("sec-fetch-site", "same-origin")
            .await
            .refused(403, "origin_not_allowed");
    }
    let me = app.get("/v1/me").from(&browser).await.is(200).json();
    assert!(me["name"].is_null());
}

async fn foreign_pages_cannot_sign_their_visitors_in(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let ask = json!({ "email": user.email, "password": PASSWORD, "transport": "cookie" });
    for origin in foreign() {
        for path in ["/v1/auth/login", "/v1/auth/signup"] {
            let answer = app
                .post(path)
                .header("origin", &origin)
                .json(&ask)
                .await
                .refused(403, "origin_not_allowed");
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    // Programs send no origin.
    app.post("/v1/auth/login").json(&ask).await.is(200);
}
