//! Cases that have gone wrong elsewhere, by their numbers in the list that Anteroom is tested against.

use std::time::{Duration, Instant};

use anteroom_services::Client;
use anteroom_tests::app::fresh_email;
use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{
    Ask, Browser, FRONTEND, Kind, PASSWORD, Script, Setup, Step, TestApp, Upstream, User, eventually_asking,
    on_every_store,
};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::tokens::damaged;

on_every_store![
    b24_what_ends_a_session_ends_it_on_every_node_within_a_second,
    b24_a_password_change_or_a_closed_account_ends_sessions_and_streams_on_every_node,
    b25_a_disabled_account_enters_by_no_path,
    b31_a_login_makes_a_session_of_its_own,
    b31_a_login_makes_nothing_of_an_earlier_session,
    b31_a_change_of_role_counts_in_every_session_on_every_node,
    b32_a_cookie_that_is_not_exactly_ours_is_nobody,
    c47_no_part_of_a_mailed_token_and_no_flipped_bit_is_one,
];

/// Another password that is accepted.
const OTHER: &str = "lantern-under-the-quiet-canal";

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

async fn b24_a_password_change_or_a_closed_account_ends_sessions_and_streams_on_every_node(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let (here, there) = (setup.app_with(&settings).await, setup.app_with(&settings).await);
    let admin = here.admin().await;
    let say = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
    for closed in [false, true] {
        let ada = here.user().await;
        let lost = here.log_in(&ada.email).await;
        upstream.on("m", Script::stream(vec![sse(&chunk("word ")), Step::Hang]));
        let mut stream = there.post("/v1/chat/completions").by(&lost).json(&say).stream().await;
        stream.next().await.unwrap();
        for session in [&ada, &lost] {
            there.get("/v1/auth/session").by(session).await.is(200);
        }
        let begun = Instant::now();
        if closed {
            let path = format!("/v1/admin/users/{}", ada.id);
            let close = here.patch(&path).by(&admin).json(&json!({ "disabled": true }));
            close.await.is(200);
        } else {
            let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
            here.post("/v1/me/password").by(&ada).json(&body).await.is(204);
            here.expect_mails(std::slice::from_ref(&ada.email));
        }
        here.get("/v1/me").by(&lost).await.refused(401, "unauthenticated");
        eventually_asking("the other node refuses it", async || {
            (there.get("/v1/me").by(&lost).await.status == 401).then_some(())
        })
        .await;
        assert!(begun.elapsed() < SOON, "{closed}: {:?}", begun.elapsed());
        let last = stream.rest().await.pop().expect("an error says why it ends");
        assert!(begun.elapsed() < SOON, "{closed}: {:?}", begun.elapsed());
        assert_eq!(last.json()["error"]["code"], "unauthenticated", "{last:?}");
        upstream.hung_up().await;
        for node in [&here, &there] {
            node.post("/v1/auth/refresh")
                .json(&json!({ "refresh_token": lost.refresh_token }))
                .await
                .refused(401, "invalid_refresh_token");
            // The session that changed the password goes on; none does of a closed account.
            let own = node.get("/v1/me").by(&ada).await;
            assert_eq!(own.status, if closed { 401 } else { 200 }, "{own:?}");
        }
    }
}

/// Asks for a link to set a new password, and takes it out of the mail.
async fn reset_token(app: &TestApp, email: &str) -> String {
    app.post("/v1/auth/password/forgot")
        .json(&json!({ "email": email }))
        .expect(202)
        .events(&["account.password.reset_requested"])
        .mails(&[email])
        .await;
    app.mailed_token(email).await
}

/// Asks for another address, and takes the links to confirm and to undo that out of the mails.
async fn change_tokens(app: &TestApp, user: &User) -> (String, String) {
    let new = fresh_email();
    app.post("/v1/me/email")
        .by(user)
        .json(&json!({ "email": new }))
        .expect(202)
        .events(&["account.email.change_requested"])
        .mails(&[&new, &user.email])
        .await;
    (app.mailed_token(&new).await, app.mailed_token(&user.email).await)
}

async fn b25_a_disabled_account_enters_by_no_path(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let verify = app.mailed_token(&user.email).await;
    let reset = reset_token(&app, &user.email).await;
    let (confirm, undo) = change_tokens(&app, &user).await;
    let made_up = format!("anteroom={}", "a".repeat(64));
    let browser = Browser {
        id: user.id.clone(),
        email: user.email.clone(),
        cookie: log_in_with(&app, &user.email, &made_up).await,
    };
    app.get("/v1/me").from(&browser).await.is(200);
    let path = format!("/v1/admin/users/{}", user.id);
    let disabled = async |disabled: bool| {
        let ask = app.patch(&path).by(&admin).json(&json!({ "disabled": disabled }));
        ask.await.is(200)
    };
    disabled(true).await;

    let log_in = |password: &str, transport: &str| {
        let body = json!({ "email": user.email, "password": password, "transport": transport });
        app.post("/v1/auth/login").header("origin", FRONTEND).json(&body)
    };
    let with = |path: &str, body: Value| app.post(path).json(&body);
    // The live sessions, by bearer token, refresh token and cookie.
    let of_sessions = || -> [(Ask, u16, &str); 7] {
        [
            (app.get("/v1/me").by(&user), 401, "unauthenticated"),
            (app.get("/v1/auth/session").from(&browser), 401, "unauthenticated"),
            (app.post("/v1/auth/refresh").from(&browser), 401, "unauthenticated"),
            (
                with("/v1/auth/refresh", json!({ "refresh_token": user.refresh_token })),
                401,
                "invalid_refresh_token",
            ),
            (
                with("/v1/auth/reauthenticate", json!({ "password": PASSWORD })).by(&user),
                401,
                "unauthenticated",
            ),
            (
                with(
                    "/v1/me/password",
                    json!({ "current_password": PASSWORD, "new_password": OTHER }),
                )
                .from(&browser),
                401,
                "unauthenticated",
            ),
            (
                with("/v1/me/email", json!({ "email": "other@example.com" })).by(&user),
                401,
                "unauthenticated",
            ),
        ]
    };
    let shut = async || {
        for (ask, status, code) in of_sessions() {
            ask.await.refused(status, code);
        }
        for transport in ["token", "cookie"] {
            let answer = log_in(PASSWORD, transport).await.refused(403, "account_disabled");
            assert_eq!(answer.header("set-cookie"), None);
            log_in(OTHER, transport).await.refused(401, "invalid_credentials");
        }
    };
    shut().await;
    // Links that were mailed before open nothing and change nothing, and no new ones are mailed.
    for token in [&verify, &confirm] {
        let ask = with("/v1/auth/email/verify", json!({ "token": token }));
        ask.await.refused(400, "invalid_token");
    }
    let ask = with("/v1/auth/password/reset", json!({ "token": reset, "password": OTHER }));
    ask.await.refused(400, "invalid_token");
    for path in ["/v1/auth/password/forgot", "/v1/auth/email/resend"] {
        with(path, json!({ "email": user.email }))
            .expect(202)
            .events(&[match path {
                "/v1/auth/email/resend" => "account.email.verification_requested",
                _ => "account.password.reset_requested",
            }])
            .mails(&[])
            .await;
    }
    let shown = app.get(&path).by(&admin).await.is(200).json();
    assert_eq!(
        (&shown["email"], &shown["email_verified"]),
        (&json!(user.email), &json!(false)),
        "{shown}"
    );
    shut().await;
    // The mails that were asked for are decided on while it is closed.
    setup.errands_are_done(&app).await;
    // What was closed stays ended once the account is open again; its password is what it was.
    disabled(false).await;
    for (ask, status, code) in of_sessions() {
        ask.await.refused(status, code);
    }
    log_in(OTHER, "token").await.refused(401, "invalid_credentials");
    log_in(PASSWORD, "token").await.is(200);
    // Taking a change of address back is not entering: it works where the account was closed because of that change.
    disabled(true).await;
    let answer = with("/v1/auth/email/undo", json!({ "token": undo })).await.is(204);
    assert_eq!(answer.header("set-cookie"), None);
    app.expect_mails(std::slice::from_ref(&user.email));
    let reset = app.mailed_token(&user.email).await;
    let ask = with("/v1/auth/password/reset", json!({ "token": reset, "password": OTHER }));
    ask.await.refused(400, "invalid_token");
    for password in [PASSWORD, OTHER] {
        log_in(password, "token").await.refused(401, "invalid_credentials");
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

async fn b31_a_login_makes_nothing_of_an_earlier_session(setup: &Setup) {
    let app = setup.app().await;
    let victim = app.browser().await;
    let earlier = victim.cookie.clone();
    let shown = async |cookie: &str| {
        let ask = app.get("/v1/auth/session").header("cookie", cookie);
        ask.await.is(200).json()["session"].clone()
    };
    let eleven = match setup.kind() {
        Kind::Sqlite => "660000000",
        Kind::Postgres => "interval '11 minutes'",
    };
    let sql = format!("UPDATE sessions SET authenticated_at = authenticated_at - {eleven}");
    setup.execute(&sql).await;
    let before = shown(&earlier).await;
    // It is sent along with the login, as a browser does that was given it beforehand.
    let given = log_in_with(&app, &victim.email, &earlier).await;
    assert_ne!(given, earlier);
    let (old, new) = (shown(&earlier).await, shown(&given).await);
    assert_ne!(new["id"], before["id"]);
    assert_eq!((&old["id"], &old["created_at"]), (&before["id"], &before["created_at"]));
    // Whoever has the earlier cookie has gained nothing: no proof, no later end.
    assert_eq!(old["expires_at"], before["expires_at"]);
    let change = |cookie: &str| {
        app.post("/v1/me/password")
            .header("cookie", cookie)
            .header("origin", FRONTEND)
            .json(&json!({ "current_password": PASSWORD, "new_password": OTHER }))
    };
    change(&earlier).await.refused(403, "reauthentication_required");
    // And the new one has: its change of the password ends the earlier one.
    change(&given)
        .expect(204)
        .events(&["account.password.changed", "session.ended"])
        .mails(&[&victim.email])
        .await;
    app.get("/v1/me")
        .header("cookie", &earlier)
        .await
        .refused(401, "unauthenticated");
    app.get("/v1/me").header("cookie", &given).await.is(200);
}

/// A role is read with every check of a session, so that its sessions need not end: none of them says what it may do.
async fn b31_a_change_of_role_counts_in_every_session_on_every_node(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let (admin, user) = (here.admin().await, here.user().await);
    let second = there.log_in(&user.email).await;
    let path = format!("/v1/admin/users/{}", user.id);
    for (role, status) in [("admin", 200), ("user", 403)] {
        for session in [&user, &second] {
            let before = there.get("/v1/admin/users").by(session).await.status;
            assert_eq!(before, if status == 200 { 403 } else { 200 });
        }
        let begun = Instant::now();
        here.patch(&path)
            .by(&admin)
            .json(&json!({ "role": role }))
            .await
            .is(200);
        assert_eq!(here.get("/v1/admin/users").by(&user).await.status, status);
        for session in [&user, &second] {
            eventually_asking("the other node knows the role", async || {
                (there.get("/v1/admin/users").by(session).await.status == status).then_some(())
            })
            .await;
            assert!(begun.elapsed() < SOON, "{role}: {:?}", begun.elapsed());
            // It is the same session, and its token is renewed like before.
            assert_eq!(
                there.get("/v1/auth/session").by(session).await.is(200).json()["session"]["id"],
                session.session_id
            );
        }
    }
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

async fn c47_no_part_of_a_mailed_token_and_no_flipped_bit_is_one(setup: &Setup) {
    let app = setup.app().await;
    let accounts = &app.services().accounts;
    let client = Client::default();
    let secret = |token: &str| SecretString::from(token.to_owned());
    let user = app.user().await;
    let verify = app.mailed_token(&user.email).await;
    let user = app.user().await;
    let (reset, renewed) = (reset_token(&app, &user.email).await, user);
    let user = app.user().await;
    let (confirm, confirmed) = (change_tokens(&app, &user).await.0, user);
    let user = app.user().await;
    let (undo, undone) = (change_tokens(&app, &user).await.1, user);
    let user = app.user().await;
    app.post("/v1/auth/login")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
        )
        .json(&json!({ "email": user.email, "password": PASSWORD }))
        .await
        .is(200);
    app.expect_mails(std::slice::from_ref(&user.email));
    app.mails_have_left().await;
    let newest = app
        .mails()
        .into_iter()
        .rev()
        .find(|mail| mail.to == user.email)
        .unwrap();
    let (_, rest) = newest.text.split_once("#token=anv_").unwrap();
    let revoke = format!("anv_{}", &rest[..64]);

    let refused = async |what: &str, token: &str| match what {
        "verify" | "confirm" => accounts.verify_email(&secret(token), &client).await.is_err(),
        "reset" => {
            let password = secret(OTHER);
            accounts
                .reset_password(&secret(token), &password, &client)
                .await
                .is_err()
        }
        "undo" => accounts.undo_email_change(&secret(token), &client).await.is_err(),
        _ => app
            .services()
            .sessions
            .revoke_by_link(&secret(token), &client)
            .await
            .is_err(),
    };
    for (what, token) in [
        ("verify", &verify),
        ("reset", &reset),
        ("confirm", &confirm),
        ("undo", &undo),
        ("revoke", &revoke),
    ] {
        let (path, password) = match what {
            "verify" | "confirm" => ("/v1/auth/email/verify", None),
            "reset" => ("/v1/auth/password/reset", Some(OTHER)),
            "undo" => ("/v1/auth/email/undo", None),
            _ => ("/v1/auth/sessions/revoke", None),
        };
        let present = |token: &str| {
            let mut body = json!({ "token": token });
            if let Some(password) = password {
                body["password"] = json!(password);
            }
            app.post(path).json(&body)
        };
        for bad in damaged(token) {
            assert!(refused(what, &bad).await, "{what}: {bad:?}");
        }
        for bad in [
            token.to_uppercase(),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{token}0"),
            format!("{token}{token}"),
            format!("anr_{token}"),
            format!("{token}\0"),
        ] {
            present(&bad).await.refused(400, "invalid_token");
        }
        // None of this has used it up.
        present(token).await.is(204);
        present(token).await.refused(400, "invalid_token");
    }
    for user in [&renewed, &confirmed, &undone] {
        app.expect_mails(std::slice::from_ref(&user.email));
    }
}
