//! `/v1/auth/email`: proving addresses, and taking a change back.

use anteroom_tests::app::fresh_email;
use anteroom_tests::{PASSWORD, Setup, TestApp, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

on_every_store![
    a_mailed_token_proves_the_address_once,
    what_is_no_token_proves_nothing,
    another_link_is_mailed_whoever_asks_is_told_the_same,
    where_addresses_are_proven_first_signing_up_tells_nothing,
    an_address_changes_and_is_taken_back,
    of_two_passwords_for_an_unproven_address_neither_counts,
    mails_are_in_the_language_of_whoever_signs_up,
    of_64_who_confirm_or_undo_a_change_one_does,
];

async fn a_mailed_token_proves_the_address_once(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let token = app.mailed_token(&user.email).await;
    let tries = (0..64).map(|_| {
        let (app, body) = (app.clone(), json!({ "token": token }));
        async move { app.post("/v1/auth/email/verify").json(&body).await.told() }
    });
    let told = join_all(tries).await;
    assert_eq!(told.iter().filter(|(status, _)| *status == 204).count(), 1, "{told:?}");
    let others = told.iter().filter(|(status, _)| *status != 204);
    assert!(others.clone().all(|(status, _)| *status == 400), "{told:?}");
    let me = app.get("/v1/me").by(&user).await.is(200).json();
    assert_eq!(me["email_verified"], true);
}

async fn what_is_no_token_proves_nothing(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let token = app.mailed_token(&user.email).await;
    for bad in [
        "",
        "x",
        &token[1..],
        &format!("{token}0"),
        &token.to_uppercase(),
        "\u{0}",
    ] {
        app.post("/v1/auth/email/verify")
            .json(&json!({ "token": bad }))
            .expect(400)
            .code("invalid_token")
            .events(&["account.email.verify_failed"])
            .audit(&["account.email.verify failed"])
            .await;
    }
    // Nor is a token of one kind one of another.
    app.post("/v1/auth/email/undo")
        .json(&json!({ "token": token }))
        .expect(400)
        .code("invalid_token")
        .events(&["account.email.undo_failed"])
        .audit(&["account.email.undo failed"])
        .await;
    app.post("/v1/auth/password/reset")
        .json(&json!({ "token": token, "password": PASSWORD }))
        .expect(400)
        .code("invalid_token")
        .events(&["account.password.reset_failed"])
        .audit(&["account.password.reset failed"])
        .await;
    app.post("/v1/auth/email/verify")
        .json(&json!({ "token": token }))
        .expect(204)
        .events(&["account.email.verified"])
        .audit(&["account.email.verify succeeded"])
        .await;
}

async fn another_link_is_mailed_whoever_asks_is_told_the_same(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let first = app.mailed_token(&user.email).await;
    let ask = |email: &str| app.post("/v1/auth/email/resend").json(&json!({ "email": email }));
    let events = ["account.email.verification_requested"];
    let known = ask(&user.email.to_uppercase())
        .expect(202)
        .events(&events)
        .mails(&[&user.email])
        .await;
    let unknown = ask("nobody@example.com").expect(202).events(&events).await;
    assert_eq!(known.json(), unknown.json());
    ask("none").expect(422).errors(&[("/email", "invalid_email")]).await;
    let second = app.mailed_token(&user.email).await;
    assert_ne!(first, second);
    // Both work until one is used.
    app.post("/v1/auth/email/verify")
        .json(&json!({ "token": first }))
        .await
        .is(204);
    app.post("/v1/auth/email/verify")
        .json(&json!({ "token": second }))
        .await
        .refused(400, "invalid_token");
    ask(&user.email).expect(202).events(&events).await;
}

async fn where_addresses_are_proven_first_signing_up_tells_nothing(setup: &Setup) {
    let app = setup.app_with(&[("accounts.require_verified_email", "true")]).await;
    let email = fresh_email();
    let sign_up = || {
        app.post("/v1/auth/signup")
            .json(&json!({ "email": email, "password": PASSWORD }))
    };
    let log_in = || {
        app.post("/v1/auth/login")
            .json(&json!({ "email": email, "password": PASSWORD }))
    };
    let new = sign_up()
        .expect(202)
        .events(&["account.signup.mailed"])
        .audit(&["account.signup succeeded"])
        .mails(&[&email])
        .await;
    assert_eq!(new.json(), json!({ "status": "verify_email" }));
    assert_eq!(new.header("set-cookie"), None);
    let unproven = log_in()
        .expect(202)
        .events(&["account.login.failed"])
        .audit(&["account.login failed"])
        .await;
    assert_eq!(unproven.json(), json!({ "status": "verify_email" }));
    let token = app.mailed_token(&email).await;
    app.post("/v1/auth/email/verify")
        .json(&json!({ "token": token }))
        .await
        .is(204);
    log_in().expect(200).events(&["account.login.succeeded"]).await;
    // Taken now, and the answer is the same; its owner is told.
    let taken = sign_up()
        .expect(202)
        .events(&["account.signup.mailed"])
        .audit(&["account.signup failed"])
        .mails(&[&email])
        .await;
    assert_eq!(taken.json(), new.json());
    let refused = setup
        .try_app_with(&[("accounts.require_verified_email", "true"), ("mail.transport", "none")])
        .await
        .err()
        .unwrap();
    assert!(refused.contains("accounts.require_verified_email"), "{refused}");
}

async fn an_address_changes_and_is_taken_back(setup: &Setup) {
    let app = setup.app().await;
    let (user, taken) = (app.user().await, app.user().await);
    let new = fresh_email();
    let ask = |email: &str| app.post("/v1/me/email").by(&user).json(&json!({ "email": email }));
    app.post("/v1/me/email")
        .json(&json!({ "email": new }))
        .await
        .refused(401, "unauthenticated");
    ask(&taken.email)
        .expect(409)
        .code("email_taken")
        .events(&["account.email.change_failed"])
        .audit(&["account.email.change_request failed"])
        .await;
    ask(&user.email)
        .expect(422)
        .errors(&[("/email", "same_email")])
        .events(&["account.email.change_failed"])
        .audit(&["account.email.change_request failed"])
        .await;
    ask(&new)
        .expect(202)
        .events(&["account.email.change_requested"])
        .audit(&["account.email.change_request succeeded"])
        .mails(&[&new, &user.email])
        .await;
    let (confirm, undo) = (app.mailed_token(&new).await, app.mailed_token(&user.email).await);
    assert_eq!(app.get("/v1/me").by(&user).await.is(200).json()["email"], user.email);
    app.post("/v1/auth/email/verify")
        .json(&json!({ "token": confirm }))
        .expect(204)
        .events(&["account.email.changed"])
        .audit(&["account.email.change succeeded"])
        .mails(&[&user.email])
        .await;
    let me = app.get("/v1/me").by(&user).await.is(200).json();
    assert_eq!((&me["email"], &me["email_verified"]), (&json!(new), &json!(true)));
    // Nobody gets the former address while its owner may come back.
    app.post("/v1/auth/signup")
        .json(&json!({ "email": user.email, "password": PASSWORD }))
        .expect(409)
        .code("email_taken")
        .events(&["account.signup.failed"])
        .await;
    app.post("/v1/auth/email/undo")
        .json(&json!({ "token": undo }))
        .expect(204)
        .events(&["account.email.change_undone", "session.ended"])
        .audit(&["account.email.undo succeeded"])
        .mails(&[&user.email])
        .await;
    app.get("/v1/me").by(&user).await.refused(401, "unauthenticated");
    // Whoever asked for the change knew the password: it opens nothing any more.
    let log_in = |password: &str| {
        app.post("/v1/auth/login")
            .json(&json!({ "email": user.email, "password": password }))
    };
    log_in(PASSWORD).await.refused(401, "invalid_credentials");
    let other = "lantern-under-the-quiet-canal";
    app.post("/v1/auth/password/reset")
        .json(&json!({ "token": app.mailed_token(&user.email).await, "password": other }))
        .await
        .is(204);
    app.expect_mails(std::slice::from_ref(&user.email));
    log_in(other).await.is(200);
}

/// A stranger has signed up with the address first, and waits for its owner to prove it for them.
async fn of_two_passwords_for_an_unproven_address_neither_counts(setup: &Setup) {
    let app = setup.app_with(&[("accounts.require_verified_email", "true")]).await;
    let email = fresh_email();
    let (strangers, owners) = ("lantern-under-the-quiet-canal", PASSWORD);
    let mut answers = Vec::new();
    for (password, act) in [
        (strangers, "account.signup succeeded"),
        (owners, "account.signup failed"),
    ] {
        let answer = app
            .post("/v1/auth/signup")
            .json(&json!({ "email": email, "password": password }))
            .expect(202)
            .events(&["account.signup.mailed"])
            .audit(&[act])
            .mails(&[&email])
            .await;
        answers.push(answer.json());
    }
    assert_eq!(answers[0], answers[1]);
    // What the second mail has is no link that proves the address for whoever came first.
    let token = app.mailed_token(&email).await;
    let verify = app.post("/v1/auth/email/verify").json(&json!({ "token": token }));
    verify
        .expect(400)
        .code("invalid_token")
        .events(&["account.email.verify_failed"])
        .audit(&["account.email.verify failed"])
        .await;
    let mine = "eight rather loud rooms";
    app.post("/v1/auth/password/reset")
        .json(&json!({ "token": token, "password": mine }))
        .expect(204)
        .events(&["account.password.reset"])
        .mails(&[&email])
        .await;
    for (password, status) in [(strangers, 401), (owners, 401), (mine, 200)] {
        let log_in = json!({ "email": email, "password": password });
        app.post("/v1/auth/login").json(&log_in).await.is(status);
    }
}

async fn mails_are_in_the_language_of_whoever_signs_up(setup: &Setup) {
    let app = setup.app().await;
    let sign_up = |locale: Option<&str>, header: &str| {
        let mut body = json!({ "email": fresh_email(), "password": PASSWORD });
        if let Some(locale) = locale {
            body["locale"] = locale.into();
        }
        app.post("/v1/auth/signup")
            .json(&body)
            .header("accept-language", header)
    };
    for (locale, header, expected, subject) in [
        (None, "de-AT,de;q=0.9,en;q=0.8", "de-AT", "QmVzdMOkdGlnZW4"),
        (Some("de"), "en-GB", "de", "QmVzdMOkdGlnZW4"),
        (None, "*", "en", "Confirm"),
        (None, "../x", "en", "Confirm"),
    ] {
        let user = sign_up(locale, header).await.is(201).json()["user"].clone();
        assert_eq!(user["locale"], expected, "{header}");
        let email = user["email"].as_str().unwrap().to_owned();
        app.expect_mails(std::slice::from_ref(&email));
        app.mails_have_left().await;
        let mails = app.mails();
        let mail = mails.iter().find(|mail| mail.to == email).unwrap();
        let line = mail.text.lines().find(|line| line.starts_with("Subject:")).unwrap();
        assert!(line.contains(subject), "{line}");
    }
    sign_up(Some("no tag"), "de")
        .expect(422)
        .errors(&[("/locale", "invalid_locale")])
        .events(&["account.signup.failed"])
        .await;
}

/// Presents a token 64 times at once, on two nodes; answers how many did what it is for. The others opened nothing.
async fn at_once(nodes: &[TestApp; 2], path: &str, token: &str) -> usize {
    let tries = (0..64).map(|number| {
        let body = json!({ "token": token });
        nodes[number % 2].post(path).json(&body).into_future()
    });
    let mut done = 0;
    for answer in join_all(tries).await {
        match answer.told() {
            (204, _) => done += 1,
            // A store that is asked too much at once on a busy machine puts off, and nothing is done.
            (503, code) => assert_eq!(code, "store_unavailable", "{answer:?}"),
            _ => _ = answer.refused(400, "invalid_token"),
        }
    }
    done
}

async fn of_64_who_confirm_or_undo_a_change_one_does(setup: &Setup) {
    let nodes = setup.nodes().await;
    let app = &nodes[0];
    let user = app.user().await;
    let new = fresh_email();
    app.post("/v1/me/email")
        .by(&user)
        .json(&json!({ "email": new }))
        .expect(202)
        .events(&["account.email.change_requested"])
        .mails(&[&new, &user.email])
        .await;
    let (confirm, asked) = (app.mailed_token(&new).await, app.mailed_token(&user.email).await);
    assert_eq!(at_once(&nodes, "/v1/auth/email/verify", &confirm).await, 1);
    // One of them has told the former address, with a link of its own.
    app.expect_mails(std::slice::from_ref(&user.email));
    let changed = app.mailed_token(&user.email).await;
    assert_ne!(changed, asked);
    assert_eq!(app.get("/v1/me").by(&user).await.is(200).json()["email"], new);
    assert_eq!(at_once(&nodes, "/v1/auth/email/undo", &asked).await, 1);
    app.expect_mails(std::slice::from_ref(&user.email));
    // Whichever of the two links is used first is the only one.
    app.post("/v1/auth/email/undo")
        .json(&json!({ "token": changed }))
        .await
        .refused(400, "invalid_token");
    let reset = json!({ "token": app.mailed_token(&user.email).await, "password": PASSWORD });
    app.post("/v1/auth/password/reset").json(&reset).await.is(204);
    app.expect_mails(std::slice::from_ref(&user.email));
    let back = app.log_in(&user.email).await;
    assert_eq!(app.get("/v1/me").by(&back).await.is(200).json()["email"], user.email);
}
