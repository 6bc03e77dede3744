//! `/v1/admin/users/{id}/api-keys`

use anteroom_tests::{Setup, on_every_store};
use serde_json::json;

use crate::v1::me::api_keys::made;

on_every_store![shows_the_keys_of_a_user, deletes_a_key_of_a_user];

async fn shows_the_keys_of_a_user(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    made(&app, &admin, &json!({ "name": "the admin's" })).await;
    let at = format!("/v1/admin/users/{}/api-keys", user.id);
    let answer = app.get(&at).by(&admin).expect(200).audit(&[]).await;
    assert!(!answer.text().contains(key["key"].as_str().unwrap()));
    let list = answer.json();
    assert_eq!(
        (list["data"].as_array().unwrap().len(), &list["data"][0]["id"]),
        (1, &key["id"])
    );
    app.get(&at).by(&user).expect(403).code("forbidden").await;
    app.get(&at).expect(401).code("unauthenticated").await;
    for nobody in ["019b7ca9-8f2e-7000-8000-000000000001", "nonsense"] {
        let at = format!("/v1/admin/users/{nobody}/api-keys");
        app.get(&at).by(&admin).expect(404).code("not_found").await;
    }
}

async fn deletes_a_key_of_a_user(setup: &Setup) {
    let app = setup.app().await;
    let (admin, user) = (app.admin().await, app.user().await);
    let key = made(&app, &user, &json!({ "name": "x" })).await;
    let id = key["id"].as_str().unwrap();
    let models = || app.get("/v1/models").bearer(key["key"].as_str().unwrap());
    models().expect(200).await;
    let at = |of: &str| format!("/v1/admin/users/{of}/api-keys/{id}");
    app.delete(&at(&user.id)).by(&user).expect(403).code("forbidden").await;
    // Whose it is counts.
    app.delete(&at(&admin.id))
        .by(&admin)
        .expect(404)
        .code("not_found")
        .await;
    models().expect(200).await;
    app.delete(&at(&user.id))
        .by(&admin)
        .expect(204)
        .events(&["api_key.deleted"])
        .audit(&["api_key.delete succeeded"])
        .mails(&[&user.email])
        .await;
    models().await.refused(401, "unauthenticated");
    let ask = app.delete(&at(&user.id)).by(&admin).expect(404).code("not_found");
    ask.audit(&[]).await;
    let seen = app.get("/v1/me/activity").by(&user).await.is(200).json();
    assert_eq!(
        (
            &seen["data"][0]["act"],
            &seen["data"][0]["by"],
            &seen["data"][0]["address"]
        ),
        (&json!("api_key.delete"), &json!("admin"), &json!(null))
    );
    // An admin who is none any more.
    let other = made(&app, &user, &json!({ "name": "y" })).await;
    let at = format!("/v1/admin/users/{}/api-keys/{}", user.id, other["id"].as_str().unwrap());
    let boss = app.admin().await;
    let demote = format!("/v1/admin/users/{}", admin.id);
    app.patch(&demote)
        .by(&boss)
        .json(&json!({ "role": "user" }))
        .await
        .is(200);
    app.delete(&at).by(&admin).expect(403).code("forbidden").await;
}
