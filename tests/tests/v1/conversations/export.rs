//! `/v1/conversations/{id}/export`

use anteroom_tests::upstream::chunk;
use anteroom_tests::{Script, Setup, Step, Upstream, on_every_store};
use serde_json::{Value, json};

use super::{create, path};

on_every_store![is_json, is_markdown, is_whole_however_long, is_the_owners_only];

async fn is_json(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({ "title": "Rooms" })).await;
    for (asked, messages) in [("", 0), ("?format=json", 2)] {
        if messages > 0 {
            let say = app.post(&format!("{}/messages", path(&conversation))).by(&user);
            say.json(&json!({ "content": "hello" })).await.is(201);
        }
        let export = app
            .get(&format!("{}/export{asked}", path(&conversation)))
            .by(&user)
            .expect(200)
            .await;
        let name = format!(
            "attachment; filename=\"conversation-{}.json\"",
            conversation["id"].as_str().unwrap()
        );
        assert_eq!(export.header("content-disposition"), Some(name));
        let export = export.json();
        let list = app
            .get(&format!("{}/messages", path(&conversation)))
            .by(&user)
            .await
            .json();
        assert_eq!(export["messages"], list["data"]);
        assert_eq!(export["messages"].as_array().unwrap().len(), messages);
        assert_eq!(
            export["conversation"],
            app.get(&path(&conversation)).by(&user).await.json()
        );
    }
    app.get(&format!("{}/export?format=pdf", path(&conversation)))
        .by(&user)
        .expect(400)
        .code("invalid_query")
        .await;
}

async fn is_markdown(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let instructions = "Be \"brief\":\n- no jokes";
    let made = create(&app, &user, json!({ "model": "m", "instructions": instructions })).await;
    upstream.on(
        "m",
        Script::stream(vec![
            anteroom_tests::upstream::sse(&chunk("An *outer* room")),
            Step::Cut,
        ]),
    );
    let say = app.post(&format!("{}/messages", path(&made))).by(&user);
    say.json(&json!({ "content": "What: is\nan anteroom?\n" }))
        .await
        .is(502);
    let export = app
        .get(&format!("{}/export?format=markdown", path(&made)))
        .by(&user)
        .expect(200)
        .await;
    assert_eq!(
        export.header("content-type").as_deref(),
        Some("text/markdown; charset=utf-8")
    );
    assert!(export.header("content-disposition").unwrap().ends_with(".md\""));
    let conversation = app.get(&path(&made)).by(&user).await.json();
    let list = app.get(&format!("{}/messages", path(&made))).by(&user).await.json();
    let at = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
    let (created, updated) = (at(&conversation, "created_at"), at(&conversation, "updated_at"));
    let (asked, answered) = (at(&list["data"][0], "created_at"), at(&list["data"][1], "created_at"));
    let expected = format!(
        "---\ntitle: \"What: is\"\nmodel: \"m\"\ninstructions: \"Be \\\"brief\\\":\\n- no jokes\"\n\
         created_at: {created}\nupdated_at: {updated}\n---\n\n# What: is\n\n## User, {asked}\n\nWhat: is\nan anteroom?\n\n\
         ## Assistant (m), {answered}\n\n*partial*\n\nAn *outer* room\n\n"
    );
    assert_eq!(export.text(), expected);
}

async fn is_whole_however_long(setup: &Setup) {
    let plans = r#"[{ key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 1000, window = "day" }] }]"#;
    let limits = [("billing.plans", plans)];
    let app = setup.app_with(&limits).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    // 103 times two: more than two pages.
    for number in 0..103 {
        let say = app.post(&format!("{}/messages", path(&conversation))).by(&user);
        say.json(&json!({ "content": format!("number {number}") }))
            .await
            .is(201);
    }
    let export = app
        .get(&format!("{}/export", path(&conversation)))
        .by(&user)
        .expect(200)
        .await
        .json();
    let contents: Vec<&str> = export["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (0..206).map(|n| format!("number {}", n / 2)).collect();
    assert_eq!(contents, expected);
    let markdown = app
        .get(&format!("{}/export?format=markdown", path(&conversation)))
        .by(&user)
        .await
        .is(200)
        .text();
    assert_eq!(markdown.matches("\n## ").count(), 206);
}

async fn is_the_owners_only(setup: &Setup) {
    let app = setup.app().await;
    let (user, eve) = (app.user().await, app.user().await);
    let conversation = create(&app, &user, json!({})).await;
    for format in ["json", "markdown"] {
        app.get(&format!("{}/export?format={format}", path(&conversation)))
            .by(&eve)
            .expect(404)
            .code("not_found")
            .await;
    }
}
