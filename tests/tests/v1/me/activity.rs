//! `GET /v1/me/activity`

use anteroom_tests::{Setup, on_every_store};
use serde_json::{Value, json};

on_every_store![
    shows_what_one_did_and_what_was_done_to_one,
    tells_nobody_from_where_an_admin_acted,
    comes_in_pages,
];

async fn shows_what_one_did_and_what_was_done_to_one(setup: &Setup) {
    let app = setup.app().await;
    let (user, other) = (app.user().await, app.user().await);
    let ask = json!({ "email": user.email, "password": "a wrong password" });
    app.post("/v1/auth/login")
        .header("user-agent", "burglar/1.0")
        .json(&ask)
        .await;
    app.patch("/v1/me")
        .by(&user)
        .json(&json!({ "name": "Ada" }))
        .await
        .is(200);
    let list = app.get("/v1/me/activity").by(&user).expect(200).audit(&[]).await.json();
    let rows = list["data"].as_array().unwrap();
    let told: Vec<(&str, &str, &str)> = rows
        .iter()
        .map(|row| {
            let word = |key: &str| row[key].as_str().unwrap();
            (word("act"), word("outcome"), word("by"))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("account.profile.change", "succeeded", "you"),
            ("account.login", "failed", "somebody"),
            ("account.signup", "succeeded", "you"),
        ]
    );
    assert_eq!(
        (&rows[1]["address"], &rows[1]["user_agent"]),
        (&json!("127.0.0.1"), &json!("burglar/1.0"))
    );
    assert_eq!(rows[2]["session_id"], user.session_id);
    let mut members: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "act",
            "address",
            "at",
            "by",
            "id",
            "outcome",
            "session_id",
            "user_agent"
        ]
    );
    let list = app.get("/v1/me/activity").by(&other).expect(200).await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "others see their own");
    app.get("/v1/me/activity").expect(401).code("unauthenticated").await;
}

async fn tells_nobody_from_where_an_admin_acted(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    app.patch(&format!("/v1/admin/users/{}", user.id))
        .by(&admin)
        .header("user-agent", "the-admins-browser")
        .json(&json!({ "name": "Ada" }))
        .await
        .is(200);
    let list = app.get("/v1/me/activity?limit=1").by(&user).expect(200).await.json();
    let row = &list["data"][0];
    assert_eq!(
        (&row["act"], &row["by"]),
        (&json!("account.profile.change"), &json!("admin"))
    );
    for hidden in ["address", "user_agent", "session_id"] {
        assert_eq!(row[hidden], Value::Null, "{hidden}");
    }
    assert!(!list.to_string().contains(&admin.id), "nor who it was");
    // The admin sees that row too, as their own.
    let list = app.get("/v1/me/activity?limit=1").by(&admin).expect(200).await.json();
    assert_eq!(
        (&list["data"][0]["by"], &list["data"][0]["user_agent"]),
        (&json!("you"), &json!("the-admins-browser"))
    );
}

async fn comes_in_pages(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for number in 0..4 {
        let ask = json!({ "name": format!("Name {number}") });
        app.patch("/v1/me").by(&user).json(&ask).await.is(200);
    }
    let first = app.get("/v1/me/activity?limit=4").by(&user).expect(200).await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/v1/me/activity?limit=4&cursor={cursor}");
    let rest = app.get(&path).by(&user).expect(200).await.json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    assert_eq!(rest["data"][0]["act"], "account.signup");
    assert!(rest.get("next_cursor").is_none());
    app.get("/v1/me/activity?cursor=x")
        .by(&user)
        .expect(400)
        .code("invalid_query")
        .await;
}
