//! `/v1/me/sessions`, and the link that a mail has: `POST /v1/auth/sessions/revoke`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anteroom_tests::scenario::recorded;
use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Answer, PASSWORD, Script, Setup, Step, TestApp, Upstream, User, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    says_where_one_is_signed_in,
    ends_one_of_ones_own,
    ends_the_one_that_asks_as_a_logout_does,
    ends_all_others,
    keeps_the_newest_when_it_is_full,
    refuses_more_when_it_is_full,
    tells_of_a_new_device_with_a_link_that_ends_it,
    cuts_the_streams_of_what_it_ends,
];

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";

async fn log_in(app: &TestApp, email: &str, headers: &[(&str, &str)]) -> Answer {
    let mut ask = app
        .post("/v1/auth/login")
        .json(&json!({ "email": email, "password": PASSWORD }));
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    ask.await
}

async fn listed(app: &TestApp, user: &User) -> Vec<Value> {
    let list = app.get("/v1/me/sessions").by(user).expect(200).await.json();
    list["data"].as_array().unwrap().clone()
}

async fn says_where_one_is_signed_in(setup: &Setup) {
    let proxied = [
        ("server.trusted_proxies", "127.0.0.1"),
        ("server.country_header", "CF-IPCountry"),
    ];
    let app = setup.app_with(&proxied).await;
    let first = app.user().await;
    app.user().await;
    let from = [
        ("user-agent", FIREFOX),
        ("x-forwarded-for", "192.0.2.44"),
        ("cf-ipcountry", "NZ"),
    ];
    let second = User::of(&log_in(&app, &first.email, &from).await.is(200).json());
    app.expect_mails(std::slice::from_ref(&first.email));
    let sessions = listed(&app, &first).await;
    let ids: Vec<&str> = sessions.iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [second.session_id.as_str(), first.session_id.as_str()],
        "newest first"
    );
    let other = &sessions[0];
    assert_eq!(other["device"], "Firefox on Linux");
    assert_eq!(
        (&other["address"], &other["country"]),
        (&json!("192.0.2.44"), &json!("NZ"))
    );
    assert_eq!(
        (&other["current"], &sessions[1]["current"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&sessions[1]["device"], &sessions[1]["country"]),
        (&Value::Null, &Value::Null)
    );
    // What login and the session itself show is the same.
    let own = app.get("/v1/auth/session").by(&second).await.json()["session"].clone();
    assert_eq!((&own["device"], &own["country"]), (&other["device"], &other["country"]));
    app.get("/v1/me/sessions").expect(401).code("unauthenticated").await;
}

async fn ends_one_of_ones_own(setup: &Setup) {
    let app = setup.app().await;
    let (ada, eve) = (app.user().await, app.user().await);
    let lost = app.log_in(&ada.email).await;
    app.get("/v1/me").by(&lost).await.is(200);
    let path = format!("/v1/me/sessions/{}", lost.session_id);
    app.delete(&path).by(&eve).expect(404).code("not_found").await;
    app.get("/v1/me").by(&lost).await.is(200);
    let ask = app.delete(&path).by(&ada).expect(204).events(&["session.ended"]);
    let answer = ask.audit(&["session.revoke succeeded"]).await;
    assert_eq!(answer.header("set-cookie"), None);
    app.get("/v1/me").by(&lost).await.refused(401, "unauthenticated");
    app.post("/v1/auth/refresh")
        .json(&json!({ "refresh_token": lost.refresh_token }))
        .expect(401)
        .code("invalid_refresh_token")
        .events(&["session.refresh.failed"])
        .await;
    app.get("/v1/me").by(&ada).await.is(200);
    for gone in [
        path.as_str(),
        "/v1/me/sessions/nonsense",
        "/v1/me/sessions/019b7ca9-8f2e-7000-8000-000000000001",
    ] {
        app.delete(gone).by(&ada).expect(404).code("not_found").await;
    }
    app.delete(&path).expect(401).code("unauthenticated").await;
}

async fn ends_the_one_that_asks_as_a_logout_does(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    let current = app.get("/v1/auth/session").from(&browser).await.json()["session"]["id"].clone();
    let path = format!("/v1/me/sessions/{}", current.as_str().unwrap());
    let foreign = app.delete(&path).header("cookie", &browser.cookie);
    foreign.expect(403).code("origin_not_allowed").await;
    let answer = app
        .delete(&path)
        .from(&browser)
        .expect(204)
        .events(&["session.ended"])
        .audit(&["session.logout succeeded"])
        .await;
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"), "{answer:?}");
    app.get("/v1/me").from(&browser).await.refused(401, "unauthenticated");
}

async fn ends_all_others(setup: &Setup) {
    let app = setup.app().await;
    let (ada, eve) = (app.user().await, app.user().await);
    let others = [app.log_in(&ada.email).await, app.log_in(&ada.email).await];
    let ask = app.delete("/v1/me/sessions").by(&ada).expect(200);
    let ask = ask.events(&["session.ended", "session.ended"]);
    let answer = ask.audit(&["session.revoke succeeded"]).await;
    assert_eq!(answer.json(), json!({ "ended": 2 }));
    for other in &others {
        app.get("/v1/me").by(other).await.refused(401, "unauthenticated");
    }
    app.get("/v1/me").by(&eve).await.is(200);
    assert_eq!(listed(&app, &ada).await.len(), 1);
    let again = app.delete("/v1/me/sessions").by(&ada).expect(200).audit(&[]).await;
    assert_eq!(again.json(), json!({ "ended": 0 }));
    app.delete("/v1/me/sessions").expect(401).code("unauthenticated").await;
}

/// Two nodes, and twice as many logins at once as sessions may be.
async fn full(setup: &Setup, when_full: &str) -> (TestApp, User, Vec<Answer>) {
    let settings = [
        ("server.public_url", "http://anteroom.example.test"),
        ("sessions.max_per_user", "32"),
        ("sessions.when_full", when_full),
    ];
    let nodes = [setup.app_with(&settings).await, setup.app_with(&settings).await];
    let user = nodes[0].user().await;
    let logins = (0..64).map(|number| log_in(&nodes[number % 2], &user.email, &[]));
    let answers = join_all(logins).await;
    let [app, _] = nodes;
    (app, user, answers)
}

async fn keeps_the_newest_when_it_is_full(setup: &Setup) {
    let (app, first, answers) = full(setup, "evict_oldest").await;
    let users: Vec<User> = answers
        .into_iter()
        .map(|answer| User::of(&answer.is(200).json()))
        .collect();
    let mut live = BTreeSet::new();
    for user in users.iter().chain([&first]) {
        // The node that did not end it may know it for a moment.
        let answer = anteroom_tests::eventually_asking("the session's state is settled", async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Some(app.get("/v1/me").by(user).await)
        });
        if answer.await.status == 200 {
            live.insert(user.session_id.clone());
        }
        if live.len() == 1 {
            break;
        }
    }
    let reader = users.iter().find(|user| live.contains(&user.session_id)).unwrap();
    assert_eq!(listed(&app, reader).await.len(), 32);
    let one_more = log_in(&app, &first.email, &[]).await.is(200);
    assert_eq!(listed(&app, &User::of(&one_more.json())).await.len(), 32);
    let ask = app
        .post("/v1/auth/login")
        .json(&json!({ "email": first.email, "password": PASSWORD }));
    ask.expect(200)
        .events(&["account.login.succeeded", "session.ended"])
        .audit(&["account.login succeeded", "session.evict succeeded"])
        .await;
}

async fn refuses_more_when_it_is_full(setup: &Setup) {
    let (app, first, answers) = full(setup, "refuse").await;
    let mut granted = 0;
    for answer in answers {
        if answer.status == 200 {
            granted += 1;
        } else {
            assert_eq!(answer.json()["limit"], 32);
            answer.refused(409, "too_many_sessions");
        }
    }
    assert_eq!(granted, 31, "and the one of the signup");
    assert_eq!(listed(&app, &first).await.len(), 32);
    let ask = app
        .post("/v1/auth/login")
        .json(&json!({ "email": first.email, "password": PASSWORD }));
    ask.expect(409)
        .code("too_many_sessions")
        .events(&["account.login.failed"])
        .audit(&["account.login failed"])
        .await;
    app.post("/v1/auth/logout").by(&first).await.is(204);
    log_in(&app, &first.email, &[]).await.is(200);
}

async fn tells_of_a_new_device_with_a_link_that_ends_it(setup: &Setup) {
    let nodes = setup.nodes().await;
    let app = &nodes[0];
    let ada = app.user().await;
    app.mails_have_left().await;
    let before = app.mails().len();
    let ask = app
        .post("/v1/auth/login")
        .header("user-agent", FIREFOX)
        .json(&json!({ "email": ada.email, "password": PASSWORD }));
    let answer = ask
        .expect(200)
        .events(&["account.login.succeeded", "session.device.new"])
        .mails(&[&ada.email])
        .await;
    let stranger = User::of(&answer.json());
    let mail = app.mails().split_off(before).pop().unwrap();
    let text = mail.text.replace("=\r\n", "").replace("=3D", "=");
    assert!(text.contains("Firefox on Linux"), "{text}");
    let at = text.find("/revoke-session#token=anv_").unwrap() + "/revoke-session#token=".len();
    let token = &text[at..at + 68];

    for (body, code) in [
        (json!({ "token": "anv_unheard-of" }), 400),
        (json!({ "token": ada.refresh_token }), 400),
        (json!({ "token": token, "more": 1 }), 422),
        (json!({}), 422),
    ] {
        app.post("/v1/auth/sessions/revoke").json(&body).expect(code).await;
    }
    let tries = (0..64).map(|number| {
        let ask = nodes[number % 2].post("/v1/auth/sessions/revoke");
        ask.json(&json!({ "token": token })).into_future()
    });
    let mut done = 0;
    for answer in join_all(tries).await {
        let rows = recorded(app, &answer.request_id()).await;
        if answer.status == 204 {
            assert_eq!(rows, ["session.revoke succeeded"]);
            done += 1;
        } else {
            assert_eq!(rows, ["session.revoke failed"]);
            answer.refused(400, "invalid_token");
        }
    }
    assert_eq!(done, 1);
    nodes[0].get("/v1/me").by(&ada).await.is(200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for node in &nodes {
        node.get("/v1/me").by(&stranger).await.refused(401, "unauthenticated");
    }
    // Whoever comes back from there is known.
    log_in(app, &ada.email, &[("user-agent", FIREFOX)]).await.is(200);
}

async fn cuts_the_streams_of_what_it_ends(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let (here, there) = (setup.app_with(&settings).await, setup.app_with(&settings).await);
    let ask = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
    for all in [false, true] {
        let ada = here.user().await;
        let lost = here.log_in(&ada.email).await;
        upstream.on("m", Script::stream(vec![sse(&chunk("word ")), Step::Hang]));
        let mut stream = there.post("/v1/chat/completions").by(&lost).json(&ask).stream().await;
        stream.next().await.unwrap();
        let begun = Instant::now();
        let ended = if all {
            here.delete("/v1/me/sessions").by(&ada).await.is(200)
        } else {
            let path = format!("/v1/me/sessions/{}", lost.session_id);
            here.delete(&path).by(&ada).await.is(204)
        };
        let last = stream.rest().await.pop().expect("an error says why it ends");
        let took = begun.elapsed();
        assert_eq!(
            last.json()["error"]["code"],
            "unauthenticated",
            "{last:?} after {ended:?}"
        );
        assert!(took < Duration::from_millis(1500), "{took:?}");
        upstream.hung_up().await;
    }
}
