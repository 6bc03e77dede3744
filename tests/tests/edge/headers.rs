//! The headers of every answer.

use anteroom_tests::{Answer, Setup, logs, on_every_store};
use serde_json::json;

on_every_store![
    every_answer_says_how_it_may_be_used,
    https_is_promised_where_there_is_some,
    a_frame_is_allowed_to_whom_the_operator_names,
    every_request_has_an_id_and_a_line_in_the_log,
    the_line_says_how_many_statements_it_took,
];

fn secured(answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name).as_deref(), Some(value), "{name}: {answer:?}");
    }
    let csp = answer.header("content-security-policy").unwrap();
    assert!(
        csp.contains("frame-ancestors 'none'") && csp.contains("default-src "),
        "{csp}"
    );
    assert!(answer.header("permissions-policy").unwrap().contains("camera=()"));
    assert_eq!(answer.header("strict-transport-security"), None);
    assert_eq!(answer.header("server"), None);
    assert_eq!(answer.header("x-powered-by"), None);
}

async fn every_answer_says_how_it_may_be_used(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let body = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] });
    let answers = [
        app.get("/health").await.is(200),
        app.get("/v1/me").by(&user).await.is(200),
        app.get("/v1/me").await.is(401),
        app.post("/v1/auth/login")
            .body("{")
            .header("content-type", "application/json")
            .await
            .is(400),
        app.get("/nowhere").await.is(404),
        app.ask("PUT", "/v1/me").await.is(405),
        app.get("/v1/models").await.is(401),
        app.post("/v1/chat/completions").by(&user).json(&body).await.is(200),
        app.ask("OPTIONS", "/v1/me")
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "GET")
            .await
            .is(403),
    ];
    for answer in &answers {
        secured(answer);
        assert_eq!(
            answer.header("cache-control").as_deref(),
            Some("no-store"),
            "{answer:?}"
        );
    }
    secured(&app.get("/docs").await.is(200));
}

async fn https_is_promised_where_there_is_some(setup: &Setup) {
    let app = setup
        .app_with(&[("server.public_url", "https://anteroom.example.test")])
        .await;
    let answer = app.get("/health").await.is(200);
    assert_eq!(
        answer.header("strict-transport-security").as_deref(),
        Some("max-age=31536000; includeSubDomains")
    );
}

async fn a_frame_is_allowed_to_whom_the_operator_names(setup: &Setup) {
    let app = setup
        .app_with(&[("security.frame_ancestors", "https://huggingface.co")])
        .await;
    for path in ["/docs", "/health", "/v1/me"] {
        let answer = app.get(path).await;
        let csp = answer.header("content-security-policy").unwrap();
        assert!(csp.contains("frame-ancestors https://huggingface.co"), "{csp}");
        assert_eq!(answer.header("x-frame-options"), None);
    }
}

async fn every_request_has_an_id_and_a_line_in_the_log(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let table = [
        (app.get("/v1/me").by(&user).await, "GET", "/v1/me", "200"),
        (
            app.get("/v1/conversations/x").by(&user).await,
            "GET",
            "/v1/conversations/{id}",
            "404",
        ),
        (app.get("/nowhere").await, "GET", "", "404"),
        (app.post("/v1/auth/logout").await, "POST", "/v1/auth/logout", "401"),
    ];
    for (answer, method, route, status) in table {
        let line = logs::request_line(&answer.request_id()).expect("a line");
        let said = |key: &str| line.fields.get(key).cloned().unwrap_or_default();
        assert_eq!(
            (said("method"), said("route"), said("status")),
            (method.into(), route.into(), status.into())
        );
        assert!(said("ms").parse::<f64>().is_ok(), "{line:?}");
        // The body says the same id, so that a person can read it out.
        if answer.status >= 400 {
            assert_eq!(answer.json()["request_id"], answer.request_id());
        }
    }
    let mine = app.get("/v1/me").by(&user).await;
    let line = logs::request_line(&mine.request_id()).unwrap();
    assert_eq!(line.fields["user_id"], user.id);
    // An id that the client makes up is not taken over.
    let made_up = app.get("/health").header("x-request-id", "made-up").await;
    assert_ne!(made_up.request_id(), "made-up");
    assert!(made_up.request_id().parse::<uuid::Uuid>().is_ok());
}

async fn the_line_says_how_many_statements_it_took(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let queries = |answer: &Answer| {
        let line = logs::request_line(&answer.request_id()).expect("a line");
        line.fields["queries"].parse::<u32>().unwrap()
    };
    let ask = json!({ "email": user.email, "password": anteroom_tests::PASSWORD });
    let login = app.post("/v1/auth/login").json(&ask).await.is(200);
    // At the least: two transactions with a statement each, and the hash.
    assert!((7..100).contains(&queries(&login)), "{}", queries(&login));
    let me = app.get("/v1/me/sessions").by(&user).await.is(200);
    assert!((1..10).contains(&queries(&me)), "{}", queries(&me));
    app.get("/v1/auth/session").by(&user).await.is(200);
    // What is in memory is not read again; what another request reads is not counted here.
    for _ in 0..3 {
        let (session, other) = tokio::join!(
            app.get("/v1/auth/session").by(&user),
            app.post("/v1/auth/login").json(&ask)
        );
        assert_eq!(queries(&session.is(200)), 0);
        assert_eq!(queries(&other.is(200)), queries(&login));
    }
    assert_eq!(queries(&app.get("/health").await), 0);
}
