//! Features that Anteroom's own operations ask for, as the operator says.

use anteroom_tests::{Ask, Setup, TestApp, User, eventually_asking, on_every_store};
use jiff::SignedDuration;
use serde_json::json;

on_every_store![
    opens_what_the_plan_has_and_nothing_else,
    opens_what_is_granted_for_as_long_as_it_is,
    asks_for_nothing_unless_it_is_said,
];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }, { key = "api", kind = "boolean", value = false }] },
    { key = "pro", name = "Pro", version = 1, rank = 1, models = "all", prices = [{ amount = 1900, currency = "usd", interval = "month" }], entitlements = [
        { key = "messages", kind = "metered", window = "day" }, { key = "api", kind = "boolean", value = true },
    ] },
]"#;

const REQUIRES: &str = r#"[
    { operation = "chat_completions", feature = "api" }, { operation = "completions", feature = "api" },
    { operation = "responses", feature = "api" }, { operation = "messages", feature = "api" },
    { operation = "embeddings", feature = "api" }, { operation = "conversations", feature = "api" },
    { operation = "api_keys", feature = "api" },
]"#;

/// The operation whose path has an identifier in it.
const ANSWERED: &str = "a message of a conversation";

/// Each operation, asked of a server as somebody, with the status of its success.
async fn operations(app: &TestApp, user: &User) -> Vec<(&'static str, Ask, u16)> {
    let said = json!([{ "role": "user", "content": "hi" }]);
    let conversation = app.post("/v1/conversations").by(user).json(&json!({}));
    let conversation = conversation.await.is(201).json();
    let messages = format!("/v1/conversations/{}/messages", conversation["id"].as_str().unwrap());
    let asked = [
        (
            "/v1/chat/completions",
            json!({ "model": "echo", "messages": said }),
            200,
        ),
        ("/v1/completions", json!({ "model": "echo", "prompt": "hi" }), 200),
        ("/v1/responses", json!({ "model": "echo", "input": "hi" }), 200),
        (
            "/v1/messages",
            json!({ "model": "echo", "max_tokens": 9, "messages": said }),
            200,
        ),
        ("/v1/embeddings", json!({ "model": "echo", "input": "hi" }), 200),
        ("/v1/me/api-keys", json!({ "name": "mine" }), 201),
    ];
    let asked = asked
        .into_iter()
        .map(|(path, ask, status)| (path, app.post(path).by(user).json(&ask), status));
    let answered = app.post(&messages).by(user).json(&json!({ "content": "hi" }));
    asked.chain([(ANSWERED, answered, 201)]).collect()
}

async fn are_open(app: &TestApp, user: &User) {
    for (what, ask, status) in operations(app, user).await {
        assert_eq!(ask.await.told(), (status, String::new()), "{what}");
    }
    // Whose key was made is told by mail.
    app.expect_mails(std::slice::from_ref(&user.email));
}

async fn are_shut(app: &TestApp, user: &User, plan: &str) {
    for (what, ask, _) in operations(app, user).await {
        let refused = ask.await.refused(403, "feature_not_in_plan").json();
        // Each in the form that its clients read: Anteroom's own, OpenAI's or Anthropic's.
        let told = match what {
            "/v1/me/api-keys" | ANSWERED => &refused,
            _ => &refused["error"],
        };
        assert_eq!(
            json!([told["feature"], told["plan"]]),
            json!(["api", plan]),
            "{what}: {refused}"
        );
        let of_anthropic = refused["type"] == "error" && told["type"] == "permission_error";
        assert_eq!(of_anthropic, what == "/v1/messages", "{what}: {refused}");
    }
}

async fn opens_what_the_plan_has_and_nothing_else(setup: &Setup) {
    let set = [("billing.plans", PLANS), ("billing.requires", REQUIRES)];
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    are_shut(&app, &user, "free").await;
    // What is one's own is read all the same, and what is for sale can be bought.
    for path in [
        "/v1/me",
        "/v1/me/entitlements",
        "/v1/me/api-keys",
        "/v1/models",
        "/v1/conversations",
    ] {
        app.get(path).by(&user).await.is(200);
    }
    app.log_in(&user.email).await;
    app.buy(&user, "pro").await;
    app.stub().settled().await;
    are_open(&app, &user).await;
    app.post("/v1/billing/cancel")
        .by(&user)
        .json(&json!({ "when": "now" }))
        .await
        .is(200);
    are_shut(&app, &user, "free").await;
}

async fn opens_what_is_granted_for_as_long_as_it_is(setup: &Setup) {
    let set = [("billing.plans", PLANS), ("billing.requires", REQUIRES)];
    let app = setup.app_with(&set).await;
    let (user, admin) = (app.user().await, app.admin().await);
    let overrides = format!("/v1/admin/users/{}/overrides", user.id);
    let until = anteroom_tests::now() + SignedDuration::from_secs(20);
    let feature = json!({ "key": "api", "kind": "boolean", "value": true });
    let grant = json!({ "entitlement": feature, "reason": "a trial", "expires_at": until.to_string() });
    app.post(&overrides).by(&admin).json(&grant).await.is(201);
    let embed = || {
        app.post("/v1/embeddings")
            .by(&user)
            .json(&json!({ "model": "echo", "input": "hi" }))
    };
    eventually_asking("it is open", async || (embed().await.told().0 == 200).then_some(())).await;
    are_open(&app, &user).await;
    eventually_asking("it is shut again", async || {
        (anteroom_tests::now() >= until && embed().await.told().0 == 403).then_some(())
    })
    .await;
    are_shut(&app, &user, "free").await;
}

async fn asks_for_nothing_unless_it_is_said(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", PLANS)]).await;
    let user = app.user().await;
    are_open(&app, &user).await;
    let only = r#"[{ operation = "embeddings", feature = "api" }]"#;
    let app = setup
        .app_with(&[("billing.plans", PLANS), ("billing.requires", only)])
        .await;
    let user = app.user().await;
    for (what, ask, status) in operations(&app, &user).await {
        let expected = match what {
            "/v1/embeddings" => (403, "feature_not_in_plan".to_owned()),
            _ => (status, String::new()),
        };
        assert_eq!(ask.await.told(), expected, "{what}");
    }
    app.expect_mails(std::slice::from_ref(&user.email));
}
