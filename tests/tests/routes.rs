//! The route table, walked: what is not for everybody is closed to everybody.

use anteroom_http::routes;
use anteroom_tests::{Ask, Setup, TestApp, on_every_store};

on_every_store![
    a12_every_route_says_who_may_call,
    what_is_not_for_everybody_is_closed,
    what_is_for_admins_is_closed_to_users,
    cookies_alone_change_nothing,
    a_body_where_none_is_wanted_is_refused,
];

/// What strangers may ask for; a path that ends with `*` stands for all that begin so.
const OPEN: [&str; 11] = [
    "POST /v1/auth/*",
    "GET /v1/plans",
    "GET /v1/billing/credits/packs",
    "POST /v1/billing/webhooks/stripe-stub",
    "GET /health",
    "GET /health/ready",
    "GET /.well-known/*",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/index.html",
    "GET /",
];

/// Every route with its method, its path (with an identifier where it wants one) and who may call.
fn table() -> Vec<(String, String, String)> {
    let fill = |path: &str| {
        path.replace("{id}", "01890000-0000-7000-8000-000000000000")
            .replace("{message}", "01890000-0000-7000-8000-000000000000")
            .replace("{override}", "01890000-0000-7000-8000-000000000000")
            .replace("{grant}", "01890000-0000-7000-8000-000000000000")
            .replace("{id:.+}", "some/model")
            .replace("{provider}", "stripe-stub")
            .replace("{file:[^/]*}", "index.html")
    };
    let routes = routes();
    assert!(routes.len() > 25, "the table is all there");
    routes
        .iter()
        .map(|r| (r.method.to_string(), fill(r.path), format!("{:?}", r.who)))
        .collect()
}

fn asked(app: &TestApp, method: &str, path: &str) -> Ask {
    let ask = app.ask(method, path);
    if method == "GET" {
        return ask;
    }
    ask.header("content-type", "application/json").body("{}")
}

/// Security case A 12, a debug endpoint without authentication: what is for everybody is named here, one by one, so that
/// a new route is closed until somebody says otherwise. That each says who may call is checked when it is compiled.
async fn a12_every_route_says_who_may_call(setup: &Setup) {
    let app = setup.app().await;
    let mut open = Vec::new();
    for (method, path, who) in table() {
        assert!(
            ["Anonymous", "SignedIn", "Admin"].contains(&who.as_str()),
            "{path}: {who}"
        );
        let hidden = ["debug", "test", "internal", "metrics", "setup", "install"];
        assert!(
            !hidden.iter().any(|word| path.split('/').any(|part| part == *word)),
            "{path}"
        );
        if who == "Anonymous" {
            open.push(format!("{method} {path}"));
        }
    }
    for route in &open {
        let known = OPEN.iter().any(|open| match open.strip_suffix('*') {
            Some(begin) => route.starts_with(begin),
            None => route == open,
        });
        assert!(known, "{route} is for everybody: say so in OPEN, if it is to be");
    }
    // And nothing answers that is not in the table.
    for path in [
        "/debug",
        "/metrics",
        "/setup",
        "/v1/setup",
        "/v1/admin",
        "/v1/debug",
        "/admin",
        "/actuator",
        "/.env",
    ] {
        app.get(path).await.refused(404, "no_such_route");
    }
}

async fn what_is_not_for_everybody_is_closed(setup: &Setup) {
    let app = setup.app().await;
    let mut closed = 0;
    for (method, path, who) in table() {
        if who == "Anonymous" {
            continue;
        }
        closed += 1;
        for ask in [
            asked(&app, &method, &path),
            asked(&app, &method, &path).bearer("eyJhbGciOiJub25lIn0.e30."),
            asked(&app, &method, &path)
                .header("cookie", "anteroom=0000")
                .header("sec-fetch-site", "same-origin"),
        ] {
            let answer = ask.await;
            assert_eq!(answer.told(), (401, "unauthenticated".to_owned()), "{answer:?}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        }
    }
    assert!(closed >= 14, "{closed}");
}

async fn what_is_for_admins_is_closed_to_users(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let mut closed = 0;
    for (method, path, who) in table() {
        assert_eq!(who == "Admin", path.starts_with("/v1/admin"), "{path}");
        if who == "Admin" {
            closed += 1;
            let answer = asked(&app, &method, &path).by(&user).await;
            assert_eq!(answer.told(), (403, "forbidden".to_owned()), "{answer:?}");
        }
    }
    assert!(closed >= 1);
}

async fn cookies_alone_change_nothing(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    for (method, path, who) in table() {
        if who == "Anonymous" || method == "GET" {
            continue;
        }
        let with = |name: &str, value: &str| {
            asked(&app, &method, &path)
                .header("cookie", &browser.cookie)
                .header(name, value)
        };
        for ask in [
            asked(&app, &method, &path).header("cookie", &browser.cookie),
            with("origin", "https://evil.example"),
            with("origin", "null"),
            with("sec-fetch-site", "cross-site"),
            with("sec-fetch-site", "same-site"),
            with("referer", anteroom_tests::FRONTEND),
        ] {
            let answer = ask.await;
            assert_eq!(answer.told(), (403, "origin_not_allowed".to_owned()), "{answer:?}");
        }
    }
    app.get("/v1/me").from(&browser).await.is(200);
}

/// Whoever sends a body expects something of it; many clients send an empty object with every POST.
async fn a_body_where_none_is_wanted_is_refused(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    let id = "01890000-0000-7000-8000-000000000000";
    let bodiless: Vec<(String, String)> = routes()
        .iter()
        .filter(|r| !r.reads_body && r.method != "GET" && r.path.starts_with("/v1/"))
        .map(|r| (r.method.to_string(), r.path.replace("{id}", id)))
        .collect();
    assert!(bodiless.contains(&("POST".to_owned(), "/v1/auth/logout".to_owned())));
    assert!(bodiless.len() >= 3, "{bodiless:?}");
    for (method, path) in &bodiless {
        for body in ["{\"all\":true}", "[]", "null", "{", "x", "{}{}", &"{}".repeat(50_000)] {
            let ask = app
                .ask(method, path)
                .header("content-type", "application/json")
                .body(body);
            ask.by(&admin).await.refused(400, "body_not_wanted");
            // Who calls is asked first.
            let ask = app
                .ask(method, path)
                .header("content-type", "application/json")
                .body(body);
            ask.await.refused(401, "unauthenticated");
        }
    }
    app.get("/v1/me").by(&admin).await.is(200);
    for body in ["", "{}", " { }\r\n"] {
        let other = app.log_in(&admin.email).await;
        for ask in [
            app.post("/v1/auth/logout"),
            app.post("/v1/auth/logout").header("content-type", "application/json"),
        ] {
            let answer = ask.by(&other).body(body).await;
            assert!([204, 401].contains(&answer.status), "{answer:?}");
        }
        app.get("/v1/me").by(&other).await.is(401);
        let ask = app.delete(&format!("/v1/conversations/{id}")).by(&admin).body(body);
        ask.await.refused(404, "not_found");
    }
}
