//! `POST /v1/auth/signup`

use std::os::unix::fs::PermissionsExt as _;

use anteroom_tests::process::{command, output};
use anteroom_tests::{Answer, FRONTEND, PASSWORD, Setup, User, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    makes_an_account_and_signs_in,
    gives_a_cookie_instead_of_tokens,
    protects_the_cookie_where_the_public_url_is_https,
    refuses_an_address_that_is_taken,
    refuses_all_bad_fields_at_once,
    refuses_bad_passwords,
    refuses_breached_passwords,
    refuses_everyone_where_it_is_closed,
    takes_nothing_that_a_stranger_may_not_say,
    makes_one_account_of_64_parallel_tries,
];

async fn makes_an_account_and_signs_in(setup: &Setup) {
    let app = setup.app().await;
    let answer = app
        .post("/v1/auth/signup")
        .header("user-agent", "tests/1.0")
        .json(&json!({ "email": "Ada.Lovelace@Example.com", "password": PASSWORD, "name": "Ada" }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .audit(&["account.signup succeeded"])
        .mails(&["Ada.Lovelace@Example.com"])
        .await;
    assert_eq!(answer.header("set-cookie"), None);
    let body = answer.json();
    assert_eq!(
        (&body["status"], &body["token_type"], &body["expires_in"]),
        (&json!("ok"), &json!("Bearer"), &json!(900))
    );
    let user = &body["user"];
    assert_eq!(user["email"], "Ada.Lovelace@Example.com");
    assert_eq!(
        (&user["name"], &user["locale"], &user["role"]),
        (&json!("Ada"), &json!("en"), &json!("user"))
    );
    assert_eq!(user["email_verified"], false);
    let session = &body["session"];
    assert_eq!(
        (&session["address"], &session["user_agent"]),
        (&json!("127.0.0.1"), &json!("tests/1.0"))
    );
    assert_eq!(session["current"], true);
    let time = |key: &str| session[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("expires_at").duration_since(time("created_at")).as_hours(), 7 * 24);

    let signed_in = app.get("/v1/me").by(&User::of(&body)).await.is(200).json();
    assert_eq!(&signed_in, user);

    let mail = app.mails().remove(0);
    assert!(
        mail.text.contains("Subject: Confirm your e-mail address for Anteroom"),
        "{}",
        mail.text
    );
    // The address may be a victim's, so the mail carries nothing that a stranger wrote.
    assert!(!mail.text.contains("Ada,"), "{}", mail.text);
    let link = format!("{FRONTEND}/verify-email#token=");
    assert!(mail.text.contains(&link), "{}", mail.text);
    let mode = std::fs::metadata(&mail.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

async fn gives_a_cookie_instead_of_tokens(setup: &Setup) {
    let app = setup.app().await;
    let answer = app
        .post("/v1/auth/signup")
        .header("origin", FRONTEND)
        .json(&json!({ "email": "ada@example.com", "password": PASSWORD, "transport": "cookie" }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .mails(&["ada@example.com"])
        .await;
    no_tokens(&answer.json());
    let cookie = set_cookie(&answer);
    let (value, attributes) = cookie.split_once(';').unwrap();
    let value = value.strip_prefix("anteroom=").unwrap();
    assert_eq!(
        (value.len(), attributes),
        (64, " Path=/; Max-Age=604800; HttpOnly; SameSite=Lax")
    );
    assert!(value.bytes().all(|b| b.is_ascii_hexdigit()));
    let session = app
        .get("/v1/auth/session")
        .header("cookie", &answer.cookie().unwrap())
        .await
        .is(200);
    assert_eq!(session.json()["user"]["email"], "ada@example.com");
}

/// The `Set-Cookie` header of a session that has just begun.
fn set_cookie(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap();
    // The rest of a week, in seconds: one may have begun meanwhile.
    cookie.replace("Max-Age=604799;", "Max-Age=604800;")
}

pub(super) fn no_tokens(body: &Value) {
    let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["session", "status", "user"]);
}

async fn protects_the_cookie_where_the_public_url_is_https(setup: &Setup) {
    let app = setup
        .app_with(&[("server.public_url", "https://anteroom.example.test")])
        .await;
    let answer = app
        .post("/v1/auth/signup")
        .header("origin", "https://anteroom.example.test")
        .json(&json!({ "email": "ada@example.com", "password": PASSWORD, "transport": "cookie" }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .mails(&["ada@example.com"])
        .await;
    let cookie = set_cookie(&answer);
    assert!(cookie.starts_with("__Host-anteroom="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Lax"),
        "{cookie}"
    );
    // A cookie of the name that is used on plain http opens nothing here.
    let plain = answer.cookie().unwrap().replace("__Host-", "");
    app.get("/v1/me")
        .header("cookie", &plain)
        .await
        .refused(401, "unauthenticated");
    app.get("/v1/me")
        .header("cookie", &answer.cookie().unwrap())
        .await
        .is(200);
}

async fn refuses_an_address_that_is_taken(setup: &Setup) {
    let app = setup.app().await;
    let first = app.user().await;
    for email in [
        first.email.clone(),
        first.email.to_uppercase(),
        format!("  {}", first.email),
    ] {
        app.post("/v1/auth/signup")
            .json(&json!({ "email": email, "password": PASSWORD }))
            .expect(409)
            .code("email_taken")
            .events(&["account.signup.failed"])
            .await;
    }
    // Letters beyond ASCII are folded as well.
    app.post("/v1/auth/signup")
        .json(&json!({ "email": "GRÜN@example.com", "password": PASSWORD }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .mails(&["GRÜN@example.com"])
        .await;
    app.post("/v1/auth/signup")
        .json(&json!({ "email": "grün@EXAMPLE.com", "password": PASSWORD }))
        .expect(409)
        .code("email_taken")
        .events(&["account.signup.failed"])
        .await;
}

async fn refuses_all_bad_fields_at_once(setup: &Setup) {
    let app = setup.app().await;
    app.post("/v1/auth/signup")
        .json(&json!({ "email": "not an address", "password": "short", "name": "  " }))
        .expect(422)
        .errors(&[
            ("/email", "invalid_email"),
            ("/password", "password_too_short"),
            ("/name", "invalid_name"),
        ])
        .events(&["account.signup.failed"])
        .await;
    let long = format!("{}@example.com", "a".repeat(300));
    for email in [
        "",
        "ada",
        "ada@localhost",
        "ada@example.com\r\nBcc: eve@example.com",
        "a\u{0}@example.com",
        &long,
    ] {
        app.post("/v1/auth/signup")
            .json(&json!({ "email": email, "password": PASSWORD }))
            .expect(422)
            .errors(&[("/email", "invalid_email")])
            .events(&["account.signup.failed"])
            .await;
    }
}

async fn refuses_bad_passwords(setup: &Setup) {
    let app = setup.app().await;
    let long = "x7".repeat(513);
    for (password, code) in [
        ("seven77", "password_too_short"),
        (long.as_str(), "password_too_long"),
        ("password1", "password_common"),
        ("PassWord1", "password_common"),
        ("adalovelace", "password_similar_to_email"),
        ("Ada.Lovelace!", "password_similar_to_email"),
        ("abcdefabcdef!", "password_too_weak"),
    ] {
        let answer = app
            .post("/v1/auth/signup")
            .json(&json!({ "email": "adalovelace@example.com", "password": password }))
            .expect(422)
            .errors(&[("/password", code)])
            .events(&["account.signup.failed"])
            .await;
        assert!(!answer.text().contains(password), "{answer:?}");
    }
    let longest = "correct horse ".repeat(73) + "ab";
    assert_eq!(longest.len(), 1024);
    app.post("/v1/auth/signup")
        .json(&json!({ "email": "adalovelace@example.com", "password": longest }))
        .expect(201)
        .events(&["account.signup.succeeded"])
        .mails(&["adalovelace@example.com"])
        .await;
    // The 72 bytes that bcrypt itself would look at are not enough.
    let truncated = &longest[..1023];
    app.post("/v1/auth/login")
        .json(&json!({ "email": "adalovelace@example.com", "password": truncated }))
        .await
        .refused(401, "invalid_credentials");
}

async fn refuses_breached_passwords(setup: &Setup) {
    let (list, filter) = (setup.folder().join("list.txt"), setup.folder().join("breached.filter"));
    // SHA-1 of "seven quiet rooms" as Have I Been Pwned writes it, and a plain one.
    std::fs::write(
        &list,
        "AC99FACA4F7A8AF87D916C7DA4A8B623D30401CD:12\r\nmany green bottles 7\n",
    )
    .unwrap();
    let arguments = [
        "passwords",
        "build-filter",
        "--input",
        "list.txt",
        "--output",
        "breached.filter",
    ];
    let built = output(command(setup.folder(), &setup.variables(&[]), &arguments), "");
    let said = String::from_utf8_lossy(&built.stdout).into_owned();
    assert!(built.status.success() && said.contains("2 passwords"), "{built:?}");
    let app = setup
        .app_with(&[("passwords.breached_filter", filter.to_str().unwrap())])
        .await;
    for password in ["seven quiet rooms", "many green bottles 7"] {
        app.post("/v1/auth/signup")
            .json(&json!({ "email": "ada@example.com", "password": password }))
            .expect(422)
            .errors(&[("/password", "password_breached")])
            .events(&["account.signup.failed"])
            .await;
    }
    app.user().await;
    // A file that is none is a start that fails, and says which file.
    std::fs::write(&filter, "seven quiet rooms\n").unwrap();
    let refused = setup
        .try_app_with(&[("passwords.breached_filter", filter.to_str().unwrap())])
        .await;
    let said = refused.err().unwrap();
    assert!(
        said.contains("breached.filter") && said.contains("build-filter"),
        "{said}"
    );
}

async fn refuses_everyone_where_it_is_closed(setup: &Setup) {
    let app = setup.app_with(&[("accounts.signup", "closed")]).await;
    app.post("/v1/auth/signup")
        .json(&json!({ "email": "ada@example.com", "password": PASSWORD }))
        .expect(403)
        .code("signup_closed")
        .events(&["account.signup.failed"])
        .await;
}

async fn takes_nothing_that_a_stranger_may_not_say(setup: &Setup) {
    let app = setup.app().await;
    for (member, value) in [
        ("role", json!("admin")),
        ("email_verified", json!(true)),
        ("id", json!("01890000-0000-7000-8000-000000000000")),
        ("plan", json!("pro")),
    ] {
        let pointer = format!("/{member}");
        app.post("/v1/auth/signup")
            .json(&json!({ "email": "ada@example.com", "password": PASSWORD, member: value }))
            .expect(422)
            .errors(&[(&pointer, "unknown_field")])
            .await;
    }
    let ask = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.post("/v1/auth/login")
        .json(&ask)
        .await
        .refused(401, "invalid_credentials");
}

async fn makes_one_account_of_64_parallel_tries(setup: &Setup) {
    let app = setup.app().await;
    let tries = (0..64).map(|number| {
        let email = if number % 2 == 0 {
            "ada@example.com"
        } else {
            "ADA@example.com"
        };
        app.post("/v1/auth/signup")
            .json(&json!({ "email": email, "password": PASSWORD }))
            .into_future()
    });
    let answers = join_all(tries).await;
    let made: Vec<_> = answers.iter().filter(|a| a.status == 201).collect();
    assert_eq!(made.len(), 1);
    let refused = answers
        .iter()
        .filter(|a| a.status == 409 && a.code() == "email_taken")
        .count();
    assert_eq!(refused, 63, "{answers:?}");
    app.expect_mails(&[made[0].json()["user"]["email"].as_str().unwrap().to_owned()]);
}
