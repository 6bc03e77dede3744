//! Whatever comes, the answer is a 4xx problem that points to the fault, nothing breaks, and nothing is half-written.

use anteroom_tests::client::raw;
use anteroom_tests::{PASSWORD, Setup, TestApp, on_every_store};
use serde_json::{Value, json};

on_every_store![
    json_that_is_none,
    bodies_of_the_wrong_kind,
    bodies_that_are_too_large,
    members_of_the_wrong_type_or_name,
    routes_and_methods_that_do_not_exist,
    headers_that_are_absurd,
    requests_that_are_none,
    bodies_that_end_early,
    identifiers_and_queries_that_are_none,
];

/// Checks that the server is well and that `nobody@example.com` has no account.
async fn unharmed(app: &TestApp) {
    app.get("/health/ready").await.is(200);
    let ask = json!({ "email": "nobody@example.com", "password": PASSWORD });
    app.post("/v1/auth/login")
        .json(&ask)
        .await
        .refused(401, "invalid_credentials");
}

async fn json_that_is_none(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"{".to_vec(),
        b"{\"email\":\"nobody@example.com\",\"password\":\"quiet-lantern-over-the-canal\"".to_vec(),
        b"{\"email\":\"nobody@example.com\",\"password\":\"quiet-lantern-over-the-canal\"} {}".to_vec(),
        b"{'email':1}".to_vec(),
        b"{\"email\":\"\xff\xfe\"}".to_vec(),
        b"{\"email\":\"\\ud800\"}".to_vec(),
        b"{\"email\":\"a\nb\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"NaN".to_vec(),
        b"\x00".to_vec(),
        // No deeper than anybody would want.
        b"[".repeat(60_000),
    ];
    for body in bodies {
        for path in [
            "/v1/auth/signup",
            "/v1/auth/login",
            "/v1/billing/checkout",
            "/v1/conversations",
            "/v1/conversations/01890000-0000-7000-8000-000000000000/messages",
        ] {
            let ask = app
                .post(path)
                .by(&user)
                .header("content-type", "application/json")
                .body(body.clone());
            if !path.starts_with("/v1/auth") {
                // The first fault is the one that is told: here it may be a member that does not belong.
                let status = ask.await.status;
                assert!(status == 400 || status == 422, "{path}: {status}");
                continue;
            }
            let problem = ask.expect(400).code("malformed_json").await.json();
            assert!(problem["line"].is_u64() && problem["column"].is_u64(), "{problem}");
        }
    }
    unharmed(&app).await;
}

async fn bodies_of_the_wrong_kind(setup: &Setup) {
    let app = setup.app().await;
    let body = json!({ "email": "nobody@example.com", "password": PASSWORD }).to_string();
    for kind in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonx"),
        Some("application/json-patch+json"),
        Some("text/json"),
        Some(";"),
    ] {
        let mut ask = app.post("/v1/auth/signup").body(body.clone());
        if let Some(kind) = kind {
            ask = ask.header("content-type", kind);
        }
        ask.expect(415).code("unsupported_media_type").await;
    }
    for coding in ["gzip", "br", "deflate", "x"] {
        let ask = app
            .post("/v1/auth/signup")
            .header("content-type", "application/json")
            .header("content-encoding", coding);
        ask.body(body.clone()).expect(415).code("unsupported_media_type").await;
    }
    let ask = app
        .post("/v1/auth/refresh")
        .header("content-type", "text/plain")
        .body("x");
    ask.expect(415).code("unsupported_media_type").await;
    unharmed(&app).await;
}

async fn bodies_that_are_too_large(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let large = json!({ "email": "nobody@example.com", "password": PASSWORD, "name": "x".repeat(70_000) });
    for path in [
        "/v1/auth/signup",
        "/v1/auth/login",
        "/v1/auth/refresh",
        "/v1/billing/checkout",
        "/v1/conversations",
    ] {
        app.post(path)
            .by(&user)
            .json(&large)
            .expect(413)
            .code("body_too_large")
            .await;
    }
    app.patch("/v1/me")
        .by(&user)
        .json(&large)
        .expect(413)
        .code("body_too_large")
        .await;
    // One that does not say its size is counted as it comes.
    let host = app.url().strip_prefix("http://").unwrap();
    let mut chunked = format!(
        "POST /v1/auth/signup HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for _ in 0..80 {
        chunked.push_str(&format!("400\r\n{}\r\n", "x".repeat(1024)));
    }
    chunked.push_str("0\r\n\r\n");
    let answer = raw(&app, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // One that only claims to be large is refused before it comes.
    let claims = format!(
        "POST /v1/auth/signup HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n"
    );
    let answer = raw(&app, claims.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    unharmed(&app).await;
}

async fn members_of_the_wrong_type_or_name(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let good = json!({ "email": "nobody@example.com", "password": PASSWORD });
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let mut table = vec![
        (json!([]), "", "invalid_type"),
        (json!(["nobody@example.com", PASSWORD, null, null]), "", "invalid_type"),
        (json!("x"), "", "invalid_type"),
        (json!(null), "", "invalid_type"),
        (json!(1), "", "invalid_type"),
        (json!({}), "/email", "required"),
        (json!({ "email": "nobody@example.com" }), "/password", "required"),
        (with("transport", json!("carrier pigeon")), "/transport", "invalid_type"),
        (with("transport", json!(1)), "/transport", "invalid_type"),
        (with("EMAIL", json!("x")), "/EMAIL", "unknown_field"),
        (with("a/b~c", json!("x")), "/a~1b~0c", "unknown_field"),
        (with("__proto__", json!({})), "/__proto__", "unknown_field"),
        (with("", json!({})), "/", "unknown_field"),
    ];
    for value in [
        json!(1),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(["nobody@example.com"]),
    ] {
        table.push((with("email", value.clone()), "/email", "invalid_type"));
        table.push((with("password", value), "/password", "invalid_type"));
    }
    for (body, pointer, code) in table {
        app.post("/v1/auth/signup")
            .json(&body)
            .expect(422)
            .errors(&[(pointer, code)])
            .await;
    }
    // What was sent is not repeated: it may be a secret.
    let answer = app
        .post("/v1/auth/signup")
        .json(&with("password", json!(75_319_024_680_i64)))
        .await;
    assert!(!answer.refused(422, "validation_failed").text().contains("75319024680"));
    // What is said twice is said once too often.
    let twice = "{\"email\":\"nobody@example.com\",\"email\":\"other@example.com\",\"password\":\"quiet-lantern-over-the-canal\"}";
    let ask = app
        .post("/v1/auth/signup")
        .header("content-type", "application/json")
        .body(twice);
    ask.expect(422).code("validation_failed").await;
    let ask = app.patch("/v1/me").by(&user).json(&json!([]));
    ask.expect(422).errors(&[("", "invalid_type")]).await;
    unharmed(&app).await;
}

async fn routes_and_methods_that_do_not_exist(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/auth",
        "/v1/auth/login/",
        "//v1/me",
        "/V1/me",
        "/v1/me/",
        "/v1/users",
        "/admin",
        "/.env",
        "/metrics",
        "/v1/conversations/",
        "/health/",
        "/index.php",
        "/v1/billing/webhooks",
        "/v1/billing/webhooks/",
        "/v1/me%2f",
        "/v1/me;x=1",
        "/%",
    ] {
        for ask in [app.get(path), app.get(path).by(&user), app.post(path).json(&json!({}))] {
            let answer = ask.await;
            assert_eq!(answer.told(), (404, "no_such_route".to_owned()), "{answer:?}");
        }
    }
    for (path, allowed) in [
        ("/v1/auth/login", "POST"),
        ("/v1/me", "GET, PATCH, DELETE, HEAD"),
        ("/v1/conversations", "POST, GET, HEAD"),
        ("/v1/conversations/x", "GET, PATCH, DELETE, HEAD"),
        ("/health", "GET, HEAD"),
        ("/v1/chat/completions", "POST"),
    ] {
        for method in ["PUT", "TRACE", "CONNECT", "PROPFIND", "get", "X"] {
            // CONNECT has another kind of target.
            if method == "CONNECT" {
                continue;
            }
            let answer = app.ask(method, path).by(&user).await;
            assert_eq!(answer.told(), (405, "method_not_allowed".to_owned()), "{answer:?}");
            let mut said: Vec<String> = answer.header("allow").unwrap().split(", ").map(str::to_owned).collect();
            let mut expected: Vec<String> = allowed.split(", ").map(str::to_owned).collect();
            said.sort();
            expected.sort();
            assert_eq!(said, expected, "{path}");
        }
    }
    // Another method cannot be smuggled in.
    let ask = app
        .post("/v1/me")
        .by(&user)
        .header("x-http-method-override", "PATCH")
        .json(&json!({ "name": "x" }));
    ask.await.refused(405, "method_not_allowed");
    app.get("/v1/auth/login?_method=POST")
        .await
        .refused(405, "method_not_allowed");
    unharmed(&app).await;
}

async fn headers_that_are_absurd(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let browser = app.browser().await;
    let huge = "x".repeat(20_000);
    for (name, value) in [
        ("cookie", &*format!("anteroom={huge}")),
        ("cookie", &*"a=b; ".repeat(4000)),
        ("authorization", &*format!("Bearer {huge}")),
        ("user-agent", &*huge),
        ("accept", &*"*/*,".repeat(4000)),
        ("origin", &*huge),
        ("x-forwarded-for", &*"1.2.3.4,".repeat(2000)),
        ("idempotency-key", &*huge),
        ("accept-language", &*huge),
        ("range", "bytes=0-,0-,0-,0-"),
        ("if-none-match", "*"),
        ("expect", "the unexpected"),
        ("upgrade", "h2c"),
        ("host", "evil.example/?#@"),
        ("x-original-url", "/v1/admin/users"),
        ("x-rewrite-url", "/v1/admin/users"),
    ] {
        let answer = app.get("/v1/auth/session").header(name, value).await;
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
        let answer = app.get("/v1/plans").header(name, value).await;
        assert!(
            answer.status == 200 || (400..500).contains(&answer.status),
            "{name}: {answer:?}"
        );
    }
    let odd = b"\xff\xfe caf\xe9";
    for name in [
        "user-agent",
        "cookie",
        "authorization",
        "origin",
        "x-forwarded-for",
        "idempotency-key",
        "content-type",
        "accept",
    ] {
        let answer = app.get("/v1/me").raw_header(name, odd).await;
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
        let answer = app
            .post("/v1/billing/checkout")
            .by(&user)
            .raw_header(name, odd)
            .json(&json!({ "plan": "none" }))
            .await;
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
    }
    // An odd name of a browser is kept as far as it can be read, and does no harm.
    let ask = json!({ "email": browser.email, "password": PASSWORD });
    for agent in [odd.as_slice(), huge.as_bytes(), b"a\tb"] {
        let session = app
            .post("/v1/auth/login")
            .raw_header("user-agent", agent)
            .json(&ask)
            .await
            .is(200)
            .json();
        assert!(session["session"]["user_agent"].as_str().unwrap().len() <= 2000);
    }
    // `ab` is a name, and a device that had not been seen.
    app.expect_mails(std::slice::from_ref(&browser.email));
    let many = (0..90).fold(app.get("/v1/plans"), |ask, n| ask.header(&format!("x-{n}"), "y"));
    many.await.is(200);
    unharmed(&app).await;
}

async fn requests_that_are_none(setup: &Setup) {
    let app = setup.app().await;
    let host = app.url().strip_prefix("http://").unwrap().to_owned();
    let body = json!({ "email": "nobody@example.com", "password": PASSWORD }).to_string();
    let length = body.len();
    let signup = "POST /v1/auth/signup HTTP/1.1";
    let kind = "content-type: application/json";
    let many_headers: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let requests = [
        "hello\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        format!("GET /health HTTP/1.1\r\nhost: {host}\r\nbad header\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nhost: {host}\r\nx: a\0b\r\n\r\n"),
        format!("GET /v1/\u{7f}me HTTP/1.1\r\nhost: {host}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nhost: {host}\r\n{many_headers}\r\n"),
        format!("GET /{} HTTP/1.1\r\nhost: {host}\r\n\r\n", "x".repeat(140_000)),
        format!(
            "GET /health HTTP/1.1\r\nhost: {host}\r\nx: {}\r\n\r\n",
            "y".repeat(140_000)
        ),
        // Two readers could disagree about where this one ends.
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ncontent-length: {length}\r\ncontent-length: 1\r\n\r\n{body}"),
        format!(
            "{signup}\r\nhost: {host}\r\n{kind}\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        ),
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ncontent-length: +{length}\r\n\r\n{body}"),
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ncontent-length: -1\r\n\r\n{body}"),
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ncontent-length: x\r\n\r\n{body}"),
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ncontent-length : {length}\r\n\r\n{body}"),
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ntransfer-encoding: xchunked\r\n\r\n{body}"),
        format!("{signup}\r\nhost: {host}\r\n{kind}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"),
    ];
    for request in requests {
        let answer = raw(&app, request.as_bytes()).await;
        let shown = &request[..request.len().min(200)];
        // It is refused, or the connection is closed without a word.
        let status = answer.split(' ').nth(1).unwrap_or("400");
        assert!(status.starts_with('4'), "{shown:?} was answered {answer}");
        assert!(
            !answer.contains("\r\n\r\nHTTP/1.1 2"),
            "{shown:?} was answered {answer}"
        );
        app.get("/health").await.is(200);
    }
    unharmed(&app).await;
}

async fn bodies_that_end_early(setup: &Setup) {
    let app = setup.app().await;
    let host = app.url().strip_prefix("http://").unwrap().to_owned();
    let body = json!({ "email": "nobody@example.com", "password": PASSWORD }).to_string();
    let head = format!("POST /v1/auth/signup HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n");
    let more = body.len() + 10;
    for request in [
        format!("{head}content-length: {more}\r\n\r\n{body}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len()),
        format!("{head}transfer-encoding: chunked\r\n\r\n{more:x}\r\n{body}"),
        head.clone(),
    ] {
        // The connection is closed in the middle, when the helper stops listening.
        let answer = raw(&app, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    unharmed(&app).await;
}

async fn identifiers_and_queries_that_are_none(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for id in [
        "x",
        "1",
        "-1",
        "%00",
        "%ff%fe",
        "00000000-0000-0000-0000-000000000000",
        "'; DROP TABLE users; --",
        "..%2f..",
        "{id}",
        &"9".repeat(2000),
        "null",
    ] {
        let path = format!("/v1/conversations/{}", id.replace(' ', "%20"));
        let answer = app.get(&path).by(&user).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        let answer = app.delete(&path).by(&user).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    for query in [
        "limit",
        "limit=",
        "limit=1.5",
        "limit=1e3",
        "limit=%00",
        "limit=%ff",
        "cursor=%ff",
        "cursor=",
        "=",
        "limit[]=1",
        "unknown=1",
        "&&limit=0",
        "limit=9223372036854775808",
    ] {
        let answer = app.get(&format!("/v1/conversations?{query}")).by(&user).await;
        assert_eq!(answer.told(), (400, "invalid_query".to_owned()), "{query}: {answer:?}");
    }
    app.get("/v1/conversations?").by(&user).await.is(200);
    app.get("/v1/plans?anything=%ff").await.is(200);
    unharmed(&app).await;
}
