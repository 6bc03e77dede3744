//! What conversations are called, how many there may be, and for how long.

use anteroom_tests::upstream::chunk;
use anteroom_tests::{Script, Setup, Upstream, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{create, path};

on_every_store![
    are_named_after_what_is_said_first,
    have_a_most_of_messages,
    have_a_most_for_each_user,
    say_what_the_model_was_not_shown,
    end_when_they_are_not_used,
];

async fn are_named_after_what_is_said_first(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let say = async |conversation: &Value, content: &str| {
        let say = app.post(&format!("{}/messages", path(conversation))).by(&user);
        say.json(&json!({ "content": content })).await.is(201);
        app.get(&path(conversation)).by(&user).await.is(200).json()["title"].clone()
    };
    let rename = async |conversation: &Value, title: Value| {
        let rename = app.patch(&path(conversation)).by(&user);
        rename.json(&json!({ "title": title })).await.is(200).json()["title"].clone()
    };
    let conversation = create(&app, &user, json!({})).await;
    let long = "What would you say an anteroom is, in a house that has many of them?\nAnd why?";
    let title = say(&conversation, &format!("\n  {long}")).await;
    assert_eq!(title, "What would you say an anteroom is, in a house that has many…");
    assert_eq!(say(&conversation, "Thanks.").await, title);
    // The user's own title stays; without one it is named anew.
    assert_eq!(rename(&conversation, json!("Mine")).await, "Mine");
    assert_eq!(say(&conversation, "Really.").await, "Mine");
    assert_eq!(rename(&conversation, Value::Null).await, Value::Null);
    assert_eq!(say(&conversation, "Now then").await, "Now then");
    let named = create(&app, &user, json!({ "title": "Tea" })).await;
    assert_eq!(say(&named, "Hello").await, "Tea");
}

async fn have_a_most_of_messages(setup: &Setup) {
    let app = setup.app_with(&[("chat.max_messages", "5")]).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    let messages = format!("{}/messages", path(&conversation));
    let say = || app.post(&messages).by(&user).json(&json!({ "content": "hello" }));
    say().await.is(201);
    say().await.is(201);
    // Four there are; a question and an answer would be six.
    let refused = say().expect(409).code("conversation_full").await.json();
    assert_eq!(refused["limit"], 5);
    let list = app.get(&messages).by(&user).await.is(200).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 4);
    // What is there may still be asked again, or in other words; nothing of what was refused was counted.
    let id = |n: usize| list["data"][n]["id"].as_str().unwrap();
    app.post(&format!("{messages}/{}/regenerate", id(3)))
        .by(&user)
        .await
        .is(201);
    let edit = app.post(&format!("{messages}/{}/edit", id(2))).by(&user);
    edit.json(&json!({ "content": "hullo" })).await.is(201);
    say().await.refused(409, "conversation_full");
}

async fn have_a_most_for_each_user(setup: &Setup) {
    let set = [
        ("chat.max_conversations", "3"),
        ("server.public_url", "http://anteroom.example.test"),
    ];
    let nodes = [setup.app_with(&set).await, setup.app_with(&set).await];
    let (user, other) = (nodes[0].user().await, nodes[0].user().await);
    let made = create(&nodes[0], &user, json!({})).await;
    let make = |n: usize| nodes[n % 2].post("/v1/conversations").by(&user).json(&json!({}));
    let told: Vec<_> = join_all((0..16).map(|n| make(n).into_future())).await;
    let told: Vec<(u16, String)> = told.iter().map(anteroom_tests::Answer::told).collect();
    assert_eq!(told.iter().filter(|t| t.0 == 201).count(), 2, "{told:?}");
    assert!(
        told.iter()
            .all(|t| t.0 == 201 || *t == (409, "too_many_conversations".to_owned())),
        "{told:?}"
    );
    let list = nodes[0].get("/v1/conversations").by(&user).await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 3);
    create(&nodes[0], &other, json!({})).await;
    nodes[0].delete(&path(&made)).by(&user).await.is(204);
    create(&nodes[1], &user, json!({})).await;
}

async fn say_what_the_model_was_not_shown(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("chat.memory_tokens", "40"));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let conversation = create(&app, &user, json!({})).await;
    upstream.on("m", Script::data(&[&chunk("pong"), "[DONE]"]));
    let messages = format!("{}/messages", path(&conversation));
    // Each of them 6 or 7 tokens.
    for (sent, left_out) in [(1, 0), (3, 0), (5, 0), (5, 2), (5, 4)] {
        let say = app.post(&messages).by(&user).json(&json!({ "content": "ping!" }));
        let context = say.await.is(201).json()["context"].clone();
        assert_eq!(context, json!({ "messages": sent, "left_out": left_out }));
        let shown = upstream.last().json()["messages"].as_array().unwrap().len();
        assert_eq!(shown, sent);
    }
    let streamed = app
        .post(&messages)
        .by(&user)
        .json(&json!({ "content": "ping!", "stream": true }));
    let events = streamed.stream().await.rest().await;
    let context = |n: usize| events[n].json()["message"]["context"].clone();
    assert_eq!(context(0), json!({ "messages": 5, "left_out": 6 }));
    assert_eq!(context(events.len() - 1), Value::Null, "it is said at the beginning");
}

async fn end_when_they_are_not_used(setup: &Setup) {
    let app = setup.app_with(&[("chat.conversation_days", "30")]).await;
    let user = app.user().await;
    let (old, new) = (
        create(&app, &user, json!({})).await,
        create(&app, &user, json!({})).await,
    );
    for conversation in [&old, &new] {
        let say = app.post(&format!("{}/messages", path(conversation))).by(&user);
        say.json(&json!({ "content": "hello" })).await.is(201);
    }
    let before = match setup.kind() {
        anteroom_tests::Kind::Sqlite => "updated_at - 31 * 86400000000",
        anteroom_tests::Kind::Postgres => "updated_at - interval '31 days'",
    };
    let first = "(SELECT min(id) FROM conversations)";
    let first = match setup.kind() {
        anteroom_tests::Kind::Sqlite => first,
        // There is no least identifier there.
        anteroom_tests::Kind::Postgres => "(SELECT id FROM conversations ORDER BY id LIMIT 1)",
    };
    setup
        .execute(&format!(
            "UPDATE conversations SET updated_at = {before} WHERE id = {first}"
        ))
        .await;
    assert_eq!(app.services().chat.purge_conversations().await.unwrap(), 1);
    assert_eq!(app.services().chat.purge_conversations().await.unwrap(), 0);
    app.get(&path(&old)).by(&user).expect(404).code("not_found").await;
    app.get(&path(&new)).by(&user).await.is(200);
    // Where nothing ends them, nothing does.
    let patient = setup.app().await;
    setup
        .execute(&format!("UPDATE conversations SET updated_at = {before}"))
        .await;
    assert_eq!(patient.services().chat.purge_conversations().await.unwrap(), 0);
}
