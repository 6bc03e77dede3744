//! The route table, walked: what is not for everybody is closed to everybody.

use anteroom_http::routes;
use anteroom_tests::{Ask, Setup, TestApp, on_every_store};

on_every_store![
    what_is_not_for_everybody_is_closed,
    what_is_for_admins_is_closed_to_users,
    cookies_alone_change_nothing
];

/// Every route with its method, its path (with an identifier where it wants one) and who may call.
fn table() -> Vec<(String, String, String)> {
    let fill = |path: &str| {
        path.replace("{id}", "01890000-0000-7000-8000-000000000000")
            .replace("{provider}", "stripe-stub")
            .replace("{file}", "index.html")
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
