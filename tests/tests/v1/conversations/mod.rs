//! `/v1/conversations`

mod export;
mod limits;
mod messages;

use anteroom_tests::{Setup, TestApp, User, on_every_store};
use serde_json::{Value, json};

on_every_store![
    are_made_read_changed_and_deleted,
    are_nobody_elses,
    come_in_pages,
    take_fields_that_are_some,
    are_made_once_under_an_idempotency_key,
    need_a_session,
];

/// Makes one.
async fn create(app: &TestApp, user: &User, body: Value) -> Value {
    app.post("/v1/conversations")
        .by(user)
        .json(&body)
        .expect(201)
        .events(&["chat.conversation.created"])
        .await
        .json()
}

/// Where one is.
fn path(conversation: &Value) -> String {
    format!("/v1/conversations/{}", conversation["id"].as_str().unwrap())
}

async fn are_made_read_changed_and_deleted(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let empty = create(&app, &user, json!({})).await;
    assert_eq!(
        (&empty["title"], &empty["model"], &empty["instructions"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let made = create(
        &app,
        &user,
        json!({ "title": " Rooms ", "model": "echo", "instructions": "Be brief." }),
    )
    .await;
    assert_eq!(
        (&made["title"], &made["model"], &made["instructions"]),
        (&json!("Rooms"), &json!("echo"), &json!("Be brief."))
    );
    assert_eq!(app.get(&path(&made)).by(&user).expect(200).await.json(), made);
    assert_eq!(
        app.get(&format!("{}/messages", path(&made)))
            .by(&user)
            .expect(200)
            .await
            .json(),
        json!({ "data": [] })
    );
    let list = app.get("/v1/conversations").by(&user).expect(200).await.json();
    assert_eq!(list, json!({ "data": [made, empty] }), "newest first");

    let change = json!({ "title": "Halls", "instructions": null });
    let changed = app.patch(&path(&made)).by(&user).json(&change).expect(200).await.json();
    assert_eq!(
        (&changed["title"], &changed["model"], &changed["instructions"]),
        (&json!("Halls"), &json!("echo"), &Value::Null)
    );
    assert_eq!(
        (&changed["id"], &changed["created_at"]),
        (&made["id"], &made["created_at"])
    );
    assert!(changed["updated_at"].as_str() > made["updated_at"].as_str());
    let same = app
        .patch(&path(&made))
        .by(&user)
        .json(&json!({}))
        .expect(200)
        .await
        .json();
    assert_eq!(same["title"], "Halls");
    assert_eq!(app.get(&path(&made)).by(&user).await.json(), same);

    app.delete(&path(&made))
        .by(&user)
        .expect(204)
        .events(&["chat.conversation.deleted"])
        .await;
    app.get(&path(&made)).by(&user).expect(404).code("not_found").await;
    app.delete(&path(&made)).by(&user).expect(404).code("not_found").await;
    let list = app.get("/v1/conversations").by(&user).expect(200).await.json();
    assert_eq!(list["data"], json!([empty]));
}

async fn are_nobody_elses(setup: &Setup) {
    let app = setup.app().await;
    let (owner, other, admin) = (app.user().await, app.user().await, app.admin().await);
    let made = create(&app, &owner, json!({ "title": "mine" })).await;
    let said = json!({ "content": "hello" });
    app.post(&format!("{}/messages", path(&made)))
        .by(&owner)
        .json(&said)
        .await
        .is(201);
    let unknown = json!({ "id": "01890000-0000-7000-8000-000000000000" });
    let not_an_id = json!({ "id": "x" });
    for stranger in [&other, &admin] {
        for conversation in [&made, &unknown, &not_an_id] {
            let (path, messages) = (path(conversation), format!("{}/messages", path(conversation)));
            app.get(&path).by(stranger).expect(404).code("not_found").await;
            app.patch(&path)
                .by(stranger)
                .json(&json!({ "title": "theirs" }))
                .expect(404)
                .code("not_found")
                .await;
            app.delete(&path).by(stranger).expect(404).code("not_found").await;
            app.get(&messages).by(stranger).expect(404).code("not_found").await;
            app.post(&messages)
                .by(stranger)
                .json(&said)
                .expect(404)
                .code("not_found")
                .await;
            let ask = json!({ "content": "hello", "stream": true });
            app.post(&messages)
                .by(stranger)
                .json(&ask)
                .expect(404)
                .code("not_found")
                .await;
        }
        assert_eq!(
            app.get("/v1/conversations").by(stranger).await.json(),
            json!({ "data": [] })
        );
        // A cursor that is another's own opens nothing of theirs.
        let from = format!("/v1/conversations?cursor={}", made["id"].as_str().unwrap());
        assert_eq!(app.get(&from).by(stranger).await.json(), json!({ "data": [] }));
    }
    assert_eq!(app.get(&path(&made)).by(&owner).await.is(200).json()["title"], "mine");
    let messages = app
        .get(&format!("{}/messages", path(&made)))
        .by(&owner)
        .await
        .is(200)
        .json();
    assert_eq!(messages["data"].as_array().unwrap().len(), 2);
}

async fn come_in_pages(setup: &Setup) {
    let app = setup.app().await;
    let (user, other) = (app.user().await, app.user().await);
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(create(&app, &user, json!({ "title": format!("number {number}") })).await["id"].clone());
        create(&app, &other, json!({})).await;
    }
    made.reverse();
    let mut path = "/v1/conversations?limit=3".to_owned();
    let mut seen: Vec<Value> = Vec::new();
    loop {
        let page = app.get(&path).by(&user).expect(200).await.json();
        let data = page["data"].as_array().unwrap();
        seen.extend(data.iter().map(|c| c["id"].clone()));
        // What comes meanwhile moves nothing.
        create(&app, &user, json!({ "title": "late" })).await;
        match page.get("next_cursor") {
            Some(cursor) => {
                assert_eq!(data.len(), 3);
                path = format!("/v1/conversations?limit=3&cursor={}", cursor.as_str().unwrap());
            }
            None => break assert_eq!(data.len(), 1),
        }
    }
    assert_eq!(seen, made);
    for query in ["limit=0", "limit=101", "cursor=nonsense", "page=2"] {
        app.get(&format!("/v1/conversations?{query}"))
            .by(&user)
            .expect(400)
            .code("invalid_query")
            .await;
    }
}

async fn take_fields_that_are_some(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let made = create(&app, &user, json!({})).await;
    for (body, pointer, code) in [
        (json!({ "title": "" }), "/title", "invalid_title"),
        (json!({ "title": "x".repeat(201) }), "/title", "invalid_title"),
        (json!({ "title": "a\nb" }), "/title", "invalid_title"),
        (json!({ "title": 1 }), "/title", "invalid_type"),
        (json!({ "model": "" }), "/model", "invalid_model"),
        (json!({ "model": "m".repeat(201) }), "/model", "invalid_model"),
        (
            json!({ "instructions": "nul \u{0}" }),
            "/instructions",
            "invalid_instructions",
        ),
        (
            json!({ "instructions": "x".repeat(33_000) }),
            "/instructions",
            "invalid_instructions",
        ),
        (json!({ "user_id": user.id }), "/user_id", "unknown_field"),
        (json!({ "id": user.id }), "/id", "unknown_field"),
    ] {
        app.post("/v1/conversations")
            .by(&user)
            .json(&body)
            .expect(422)
            .errors(&[(pointer, code)])
            .await;
        app.patch(&path(&made))
            .by(&user)
            .json(&body)
            .expect(422)
            .errors(&[(pointer, code)])
            .await;
    }
    assert_eq!(
        app.get("/v1/conversations").by(&user).await.json(),
        json!({ "data": [made] })
    );
}

async fn are_made_once_under_an_idempotency_key(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let ask = || {
        let ask = app
            .post("/v1/conversations")
            .by(&user)
            .header("idempotency-key", "once");
        ask.json(&json!({ "title": "once" }))
    };
    let first = ask().expect(201).events(&["chat.conversation.created"]).await;
    let again = ask().expect(201).await;
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(first.body, again.body);
    assert_eq!(
        app.get("/v1/conversations").by(&user).await.json(),
        json!({ "data": [first.json()] })
    );
}

async fn need_a_session(setup: &Setup) {
    let app = setup.app().await;
    let browser = app.browser().await;
    app.post("/v1/conversations")
        .json(&json!({}))
        .expect(401)
        .code("unauthenticated")
        .await;
    // A cookie alone changes nothing; with the page's origin it does.
    let ask = app
        .post("/v1/conversations")
        .header("cookie", &browser.cookie)
        .json(&json!({}));
    ask.expect(403).code("origin_not_allowed").await;
    let made = app.post("/v1/conversations").from(&browser).json(&json!({}));
    made.expect(201).events(&["chat.conversation.created"]).await;
}
