//! `GET /v1/admin/users`

use anteroom_tests::{Setup, on_every_store};
use serde_json::{Value, json};

on_every_store![
    is_for_admins,
    comes_in_pages,
    takes_pages_that_are_some,
    is_filtered_and_searched
];

async fn is_for_admins(setup: &Setup) {
    let app = setup.app().await;
    app.get("/v1/admin/users").expect(401).code("unauthenticated").await;
    let user = app.user().await;
    app.get("/v1/admin/users").by(&user).expect(403).code("forbidden").await;
    let browser = app.browser().await;
    app.get("/v1/admin/users")
        .from(&browser)
        .expect(403)
        .code("forbidden")
        .await;
    let admin = app.admin().await;
    let list = app.get("/v1/admin/users").by(&admin).expect(200).await.json();
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [&admin.id, &browser.id, &user.id], "newest first");
    assert_eq!(list["data"][0]["role"], "admin");
    assert!(list.get("next_cursor").is_none());
}

async fn comes_in_pages(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    for _ in 0..6 {
        app.user().await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/admin/users?limit=3".to_owned();
    for expected in [3, 3, 1] {
        let page = app.get(&path).by(&admin).expect(200).await.json();
        let data = page["data"].as_array().unwrap();
        assert_eq!(data.len(), expected);
        seen.extend(data.iter().map(|u| u["id"].as_str().unwrap().to_owned()));
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(cursor) => path = format!("/v1/admin/users?limit=3&cursor={cursor}"),
            None => assert_eq!(expected, 1, "the last page is the last"),
        }
    }
    assert_eq!(seen.last(), Some(&admin.id));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}

async fn takes_pages_that_are_some(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=",
        "cursor=x",
        "page=2",
        "limit=1&limit=2",
        "limit=99999999999999999999",
        "q=",
        "q=%20",
        "role=root",
        "disabled=1",
    ] {
        let path = format!("/v1/admin/users?{query}");
        app.get(&path).by(&admin).expect(400).code("invalid_query").await;
    }
    app.get("/v1/admin/users?limit=100").by(&admin).expect(200).await;
}

async fn is_filtered_and_searched(setup: &Setup) {
    let app = setup.app().await;
    let admin = app.admin().await;
    let (ada, eve) = (app.user().await, app.user().await);
    for (user, change) in [
        (&ada, json!({ "name": "Ada Lovelace 100%" })),
        (&eve, json!({ "disabled": true })),
    ] {
        let path = format!("/v1/admin/users/{}", user.id);
        app.patch(&path).by(&admin).json(&change).await.is(200);
    }
    let found = async |query: &str| {
        let list = app
            .get(&format!("/v1/admin/users?{query}"))
            .by(&admin)
            .expect(200)
            .await;
        let list = list.json();
        let ids = list["data"].as_array().unwrap().iter();
        ids.map(|user| user["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("role=admin").await, [admin.id.as_str()]);
    assert_eq!(found("role=user").await, [eve.id.as_str(), ada.id.as_str()]);
    assert_eq!(found("disabled=true").await, [eve.id.as_str()]);
    assert_eq!(found("disabled=false&role=user").await, [ada.id.as_str()]);
    assert_eq!(found("verified=true").await, [""; 0]);
    assert_eq!(found("verified=false&limit=1").await, [eve.id.as_str()]);
    assert_eq!(found("q=LOVELACE").await, [ada.id.as_str()]);
    assert_eq!(found("q=100%25").await, [ada.id.as_str()]);
    assert_eq!(found("q=%25").await, [ada.id.as_str()], "no wildcard");
    assert_eq!(found("q=_").await, [""; 0], "no wildcard");
    assert_eq!(
        found(&format!("q={}", eve.email.to_uppercase())).await,
        [eve.id.as_str()]
    );
    let long = format!("/v1/admin/users?q={}", "x".repeat(101));
    app.get(&long).by(&admin).expect(400).code("invalid_query").await;
}
