//! `/v1/me`

mod account;
mod activity;
pub mod api_keys;
mod credits;
mod entitlements;
mod sessions;
mod subscription;
pub mod usage;

use anteroom_tests::{Setup, on_every_store};
use serde_json::json;

on_every_store![
    is_the_user_itself,
    changes_what_is_named,
    changes_nothing_where_nothing_is_named,
    changes_nothing_else,
    takes_names_and_languages_that_are_some,
];

async fn is_the_user_itself(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let me = app.get("/v1/me").by(&user).expect(200).await.json();
    let mut members: Vec<&String> = me.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "created_at",
            "email",
            "email_verified",
            "id",
            "locale",
            "name",
            "role",
            "updated_at"
        ]
    );
    assert_eq!((&me["id"], &me["email"]), (&json!(user.id), &json!(user.email)));
    app.get("/v1/me").expect(401).code("unauthenticated").await;
    app.patch("/v1/me")
        .json(&json!({ "name": "Eve" }))
        .expect(401)
        .code("unauthenticated")
        .await;
}

async fn changes_what_is_named(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let before = app.get("/v1/me").by(&user).await.is(200).json();
    let table = [
        (json!({ "name": "  Ada Lovelace " }), json!("Ada Lovelace"), "en"),
        (json!({ "locale": "de-AT" }), json!("Ada Lovelace"), "de-AT"),
        (json!({ "name": null, "locale": "en" }), json!(null), "en"),
        (json!({ "name": "数学者 🧮" }), json!("数学者 🧮"), "en"),
    ];
    for (change, name, locale) in table {
        let answer = app
            .patch("/v1/me")
            .by(&user)
            .json(&change)
            .expect(200)
            .events(&["account.profile.changed"])
            .audit(&["account.profile.change succeeded"])
            .await
            .json();
        assert_eq!(
            (&answer["name"], &answer["locale"]),
            (&name, &json!(locale)),
            "{change}"
        );
        assert_eq!(app.get("/v1/me").by(&user).await.json(), answer);
        // The session shows it at once, although it was asked for moments ago.
        assert_eq!(app.get("/v1/auth/session").by(&user).await.json()["user"], answer);
        for kept in ["id", "email", "email_verified", "role", "created_at"] {
            assert_eq!(answer[kept], before[kept]);
        }
    }
}

async fn changes_nothing_where_nothing_is_named(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let before = app.get("/v1/me").by(&user).await.is(200).json();
    let answer = app
        .patch("/v1/me")
        .by(&user)
        .json(&json!({}))
        .expect(200)
        .events(&[])
        .audit(&[])
        .await;
    assert_eq!(answer.json(), before, "not even updated_at");
    assert_eq!(app.get("/v1/me").by(&user).await.json(), before);
}

async fn changes_nothing_else(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let before = app.get("/v1/me").by(&user).await.json();
    for member in [
        "role",
        "email",
        "email_verified",
        "id",
        "created_at",
        "password",
        "user_id",
    ] {
        let pointer = format!("/{member}");
        app.patch("/v1/me")
            .by(&user)
            .json(&json!({ "name": "changed", member: "admin" }))
            .expect(422)
            .errors(&[(&pointer, "unknown_field")])
            .audit(&[])
            .await;
    }
    assert_eq!(app.get("/v1/me").by(&user).await.json(), before);
}

async fn takes_names_and_languages_that_are_some(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for (change, pointer, code) in [
        (json!({ "name": "" }), "/name", "invalid_name"),
        (json!({ "name": "a\u{0}b" }), "/name", "invalid_name"),
        (json!({ "name": "é".repeat(201) }), "/name", "invalid_name"),
        (json!({ "name": 7 }), "/name", "invalid_type"),
        (json!({ "locale": "english please" }), "/locale", "invalid_locale"),
        (json!({ "locale": "" }), "/locale", "invalid_locale"),
        (json!({ "locale": ["en"] }), "/locale", "invalid_type"),
        (json!({ "locale": null }), "/locale", "invalid_type"),
    ] {
        app.patch("/v1/me")
            .by(&user)
            .json(&change)
            .expect(422)
            .errors(&[(pointer, code)])
            .await;
    }
    let both = json!({ "name": " ", "locale": "x" });
    let ask = app.patch("/v1/me").by(&user).json(&both).expect(422);
    ask.errors(&[("/name", "invalid_name"), ("/locale", "invalid_locale")])
        .await;
}
