//! `/v1/admin/users/{id}` and what lies below it.

use std::time::{Duration, Instant};

use anteroom_domain::accounts::Role;
use anteroom_ports::accounts::UserFilter;
use anteroom_tests::{PASSWORD, Setup, TestApp, User, eventually_asking, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    shows_one_user,
    changes_role_name_and_language,
    closes_an_account_at_once_and_opens_it_again,
    ends_the_sessions_of_others,
    mails_a_link_that_sets_a_new_password,
    mails_no_link_that_would_open_nothing,
    says_so_where_no_mail_leaves,
    forgets_failed_logins,
    keeps_the_last_admin,
    keeps_an_admin_when_64_demote_each_other,
    is_closed_to_an_admin_who_is_none_any_more,
    takes_nothing_that_is_the_owners,
    names_nobody_who_is_not_there,
];

fn path(user: &User) -> String {
    format!("/v1/admin/users/{}", user.id)
}

async fn shown(app: &TestApp, admin: &User, user: &User) -> Value {
    app.get(&path(user)).by(admin).expect(200).audit(&[]).await.json()
}

async fn shows_one_user(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let first = shown(&app, &admin, &user).await;
    assert_eq!(
        (&first["id"], &first["email"], &first["role"], &first["sessions"]),
        (&json!(user.id), &json!(user.email), &json!("user"), &json!(1))
    );
    assert_eq!(
        (&first["disabled_at"], &first["delete_after"]),
        (&Value::Null, &Value::Null)
    );
    app.log_in(&user.email).await;
    let then = shown(&app, &admin, &user).await;
    assert_eq!(then["sessions"], 2);
    let time = |of: &Value| {
        of["last_login_at"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert!(time(&then) > time(&first), "{then}");
    app.post("/v1/auth/logout").by(&user).await.is(204);
    assert_eq!(shown(&app, &admin, &user).await["sessions"], 1);
}

async fn changes_role_name_and_language(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let answer = app
        .patch(&path(&user))
        .by(&admin)
        .json(&json!({ "role": "admin", "name": " Ada ", "locale": "de" }))
        .expect(200)
        .events(&["account.role.changed", "account.profile.changed"])
        .audit(&["account.role.change succeeded", "account.profile.change succeeded"])
        .await
        .json();
    assert_eq!(
        (&answer["role"], &answer["name"], &answer["locale"]),
        (&json!("admin"), &json!("Ada"), &json!("de"))
    );
    let rows = app
        .get(&format!("/v1/admin/audit?subject={}&act=account.role", user.id))
        .by(&user)
        .expect(200)
        .await
        .json();
    assert_eq!(
        (&rows["data"][0]["actor"]["id"], &rows["data"][0]["details"]),
        (&json!(admin.id), &json!({ "from": "user", "to": "admin" }))
    );
    // What is so already is no act.
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "role": "admin", "disabled": false, "name": "Ada" }))
        .expect(200)
        .audit(&[])
        .await;
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "name": "\n", "locale": "x" }))
        .expect(422)
        .errors(&[("/name", "invalid_name"), ("/locale", "invalid_locale")])
        .audit(&[])
        .await;
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "role": "root" }))
        .expect(422)
        .errors(&[("/role", "invalid_type")])
        .await;
    for member in ["role", "disabled", "locale"] {
        app.patch(&path(&user))
            .by(&admin)
            .json(&json!({ member: null }))
            .expect(422)
            .errors(&[(&format!("/{member}"), "invalid_type")])
            .audit(&[])
            .await;
    }
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "role": "user", "name": null }))
        .expect(200)
        .events(&["account.role.changed", "account.profile.changed"])
        .audit(&["account.role.change succeeded", "account.profile.change succeeded"])
        .await;
    app.get("/v1/admin/users").by(&user).await.refused(403, "forbidden");
}

async fn closes_an_account_at_once_and_opens_it_again(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let (admin, user) = (here.admin().await, here.user().await);
    let second = here.log_in(&user.email).await;
    there.get("/v1/me").by(&user).await.is(200);
    // What is expected below waits for mails as well, which is not what is measured.
    here.mails_have_left().await;
    let begun = Instant::now();
    let answer = here
        .patch(&path(&user))
        .by(&admin)
        .json(&json!({ "disabled": true }))
        .expect(200)
        .events(&["account.disabled", "session.ended", "session.ended"])
        .audit(&["account.disable succeeded"])
        .await
        .json();
    assert!(answer["disabled_at"].is_string() && answer["sessions"] == 0, "{answer}");
    for session in [&user, &second] {
        here.get("/v1/me").by(session).await.refused(401, "unauthenticated");
        here.post("/v1/auth/refresh")
            .json(&json!({ "refresh_token": session.refresh_token }))
            .await
            .refused(401, "invalid_refresh_token");
    }
    eventually_asking("the other node notices", async || {
        (there.get("/v1/me").by(&user).await.status == 401).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let log_in = json!({ "email": user.email, "password": PASSWORD });
    here.post("/v1/auth/login")
        .json(&log_in)
        .expect(403)
        .code("account_disabled")
        .events(&["account.login.failed"])
        .audit(&["account.login failed"])
        .await;
    // Once more changes nothing, the time of closing included.
    let again = here.patch(&path(&user)).by(&admin).json(&json!({ "disabled": true }));
    let again = again.expect(200).audit(&[]).await.json();
    assert_eq!(again["disabled_at"], answer["disabled_at"]);
    here.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "disabled": false }))
        .expect(200)
        .events(&["account.enabled"])
        .audit(&["account.enable succeeded"])
        .await;
    // Its sessions stay ended.
    here.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
    here.post("/v1/auth/login").json(&log_in).await.is(200);
}

async fn ends_the_sessions_of_others(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user, other) = (app.admin().await, app.user().await, app.user().await);
    let second = app.log_in(&user.email).await;
    let revoke = format!("{}/sessions/revoke", path(&user));
    let answer = app
        .post(&revoke)
        .by(&admin)
        .expect(200)
        .events(&["account.sessions.revoked", "session.ended", "session.ended"])
        .audit(&["account.sessions.revoke succeeded"])
        .await;
    assert_eq!(answer.json(), json!({ "ended": 2 }));
    for session in [&user, &second] {
        app.get("/v1/me").by(session).await.refused(401, "unauthenticated");
    }
    app.get("/v1/me").by(&other).await.is(200);
    app.log_in(&user.email).await;
    app.post(&revoke)
        .by(&other)
        .expect(403)
        .code("forbidden")
        .audit(&[])
        .await;
    // Their own too, the one they ask with included.
    let own = format!("{}/sessions/revoke", path(&admin));
    app.post(&own).by(&admin).await.is(200);
    app.get("/v1/me").by(&admin).await.refused(401, "unauthenticated");
}

async fn mails_a_link_that_sets_a_new_password(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let reset = format!("{}/password/reset-mail", path(&user));
    let answer = app
        .post(&reset)
        .by(&admin)
        .expect(202)
        .events(&["account.password.reset_mailed"])
        .audit(&["account.password.reset_request succeeded"])
        .mails(&[&user.email])
        .await;
    assert_eq!(
        answer.json(),
        json!({ "status": "check_email" }),
        "the link is the user's"
    );
    // Until they use it everything is as it was.
    app.get("/v1/me").by(&user).await.is(200);
    let token = app.mailed_token(&user.email).await;
    let new = "eight rather loud rooms";
    app.post("/v1/auth/password/reset")
        .json(&json!({ "token": token, "password": new }))
        .expect(204)
        .events(&["account.password.reset", "session.ended"])
        .audit(&["account.password.reset succeeded"])
        .mails(&[&user.email])
        .await;
    app.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
    let log_in = json!({ "email": user.email, "password": new });
    app.post("/v1/auth/login").json(&log_in).await.is(200);
    let rows = app
        .get(&format!("/v1/admin/audit?subject={}&act=account.password", user.id))
        .by(&admin)
        .expect(200)
        .await
        .json();
    assert_eq!(rows["data"][1]["actor"], json!({ "kind": "user", "id": admin.id }));
}

async fn mails_no_link_that_would_open_nothing(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let reset = format!("{}/password/reset-mail", path(&user));
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "disabled": true }))
        .await
        .is(200);
    app.post(&reset)
        .by(&admin)
        .expect(409)
        .code("account_disabled")
        .audit(&[])
        .mails(&[])
        .await;
    app.post(&reset).expect(401).code("unauthenticated").await;
    let other = app.user().await;
    app.post(&reset)
        .by(&other)
        .expect(403)
        .code("forbidden")
        .audit(&[])
        .await;
}

async fn says_so_where_no_mail_leaves(setup: &Setup) {
    let app = setup.app_with(&[("mail.transport", "none")]).await;
    let signup = json!({ "email": "ada@example.com", "password": PASSWORD });
    let admin = User::of(&app.post("/v1/auth/signup").json(&signup).await.is(201).json());
    setup.execute("UPDATE users SET role = 'admin'").await;
    let admin = app.log_in(&admin.email).await;
    app.post(&format!("{}/password/reset-mail", path(&admin)))
        .by(&admin)
        .expect(409)
        .code("mail_not_configured")
        .audit(&[])
        .await;
}

async fn forgets_failed_logins(setup: &Setup) {
    let app = setup
        .app_with(&[
            ("protection.enabled", "true"),
            ("protection.login_per_minute", "1000000"),
            ("protection.lockout_free_failures", "1"),
            ("protection.lockout_address_free_failures", "1000"),
            ("protection.lockout_first_delay_seconds", "900"),
        ])
        .await;
    let (admin, user) = (app.admin().await, app.user().await);
    let log_in = |password: &str| {
        app.post("/v1/auth/login")
            .json(&json!({ "email": user.email, "password": password }))
    };
    for _ in 0..2 {
        log_in("a wrong password").await.refused(401, "invalid_credentials");
    }
    app.expect_mails(std::slice::from_ref(&user.email));
    log_in(PASSWORD).await.refused(429, "login_blocked");
    let unlock = format!("{}/unlock", path(&user));
    app.post(&unlock)
        .by(&user)
        .expect(403)
        .code("forbidden")
        .audit(&[])
        .await;
    log_in(PASSWORD).await.refused(429, "login_blocked");
    for cleared in [true, false] {
        let answer = app
            .post(&unlock)
            .by(&admin)
            .expect(200)
            .events(&["account.lockout.cleared"])
            .audit(&["account.lockout.clear succeeded"])
            .await;
        assert_eq!(answer.json(), json!({ "cleared": cleared }));
    }
    log_in(PASSWORD).await.is(200);
}

async fn keeps_the_last_admin(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    for change in [json!({ "role": "user" }), json!({ "disabled": true })] {
        app.patch(&path(&admin))
            .by(&admin)
            .json(&change)
            .expect(409)
            .code("last_admin")
            .audit(&[])
            .await;
    }
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "role": "admin" }))
        .await
        .is(200);
    // An admin whose account is closed is none who counts.
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "disabled": true }))
        .await
        .is(200);
    app.patch(&path(&admin))
        .by(&admin)
        .json(&json!({ "role": "user" }))
        .expect(409)
        .code("last_admin")
        .await;
    app.patch(&path(&user))
        .by(&admin)
        .json(&json!({ "disabled": false }))
        .await
        .is(200);
    app.patch(&path(&admin))
        .by(&admin)
        .json(&json!({ "role": "user" }))
        .await
        .is(200);
    app.get("/v1/admin/users").by(&admin).await.refused(403, "forbidden");
}

async fn keeps_an_admin_when_64_demote_each_other(setup: &Setup) {
    let nodes = setup.nodes().await;
    let mut admins = Vec::new();
    for _ in 0..64 {
        admins.push(nodes[0].admin().await);
    }
    let demotions = (0..64).map(|number: usize| {
        let node = &nodes[number % 2];
        let next = &admins[(number + 1) % 64];
        let change = if number.is_multiple_of(3) {
            json!({ "disabled": true })
        } else {
            json!({ "role": "user" })
        };
        node.patch(&path(next)).by(&admins[number]).json(&change).into_future()
    });
    let mut done = 0;
    for answer in join_all(demotions).await {
        match answer.told() {
            (200, _) => done += 1,
            // Whoever was demoted before their turn came may demote nobody; whoever was closed is not signed in.
            (403, code) if code == "forbidden" => {}
            (401, code) if code == "unauthenticated" => {}
            (409, code) if code == "last_admin" => {}
            told => panic!("{told:?}"),
        }
    }
    let admins = UserFilter {
        role: Some(Role::Admin),
        disabled: Some(false),
        ..UserFilter::default()
    };
    let accounts = &nodes[0].services().accounts;
    let left = accounts.list_users(&admins, None, 100).await.unwrap().items.len();
    assert!(left >= 1 && done >= 1, "{left} are left");
    assert_eq!(left, 64 - done, "each demotion took one");
}

async fn is_closed_to_an_admin_who_is_none_any_more(setup: &Setup) {
    let [here, there] = setup.nodes().await;
    let (first, second, user) = (here.admin().await, here.admin().await, here.user().await);
    // The other node has just looked, so it takes them for an admin for a moment; the store does not.
    for change in [json!({ "name": "Mallory" }), json!({ "role": "admin" })] {
        there.get("/v1/admin/users").by(&second).await.is(200);
        here.patch(&path(&second))
            .by(&first)
            .json(&json!({ "role": "user" }))
            .await
            .is(200);
        there
            .patch(&path(&user))
            .by(&second)
            .json(&change)
            .expect(403)
            .code("forbidden")
            .audit(&[])
            .await;
        let revoke = format!("{}/sessions/revoke", path(&user));
        there
            .post(&revoke)
            .by(&second)
            .expect(403)
            .code("forbidden")
            .audit(&[])
            .await;
        here.patch(&path(&second))
            .by(&first)
            .json(&json!({ "role": "admin" }))
            .await
            .is(200);
        eventually_asking("the role is back", async || {
            (there.get("/v1/admin/users").by(&second).await.status == 200).then_some(())
        })
        .await;
    }
    here.get("/v1/me").by(&user).await.is(200);
}

async fn takes_nothing_that_is_the_owners(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    for member in [
        "password",
        "password_hash",
        "email",
        "email_verified",
        "disabled_at",
        "delete_after",
        "id",
    ] {
        let pointer = format!("/{member}");
        app.patch(&path(&user))
            .by(&admin)
            .json(&json!({ member: "x" }))
            .expect(422)
            .errors(&[(&pointer, "unknown_field")])
            .audit(&[])
            .await;
    }
}

async fn names_nobody_who_is_not_there(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    for id in ["01890000-0000-7000-8000-000000000000", "x", "ada@example.com"] {
        let path = format!("/v1/admin/users/{id}");
        app.get(&path).by(&admin).expect(404).code("not_found").await;
        let change = app.patch(&path).by(&admin).json(&json!({ "name": "Ada" }));
        change.expect(404).code("not_found").audit(&[]).await;
        let revoke = app.post(&format!("{path}/sessions/revoke")).by(&admin);
        revoke.expect(404).code("not_found").audit(&[]).await;
        for act in ["password/reset-mail", "unlock"] {
            let ask = app.post(&format!("{path}/{act}")).by(&admin);
            ask.expect(404).code("not_found").audit(&[]).mails(&[]).await;
        }
    }
}
