//! `POST /v1/chat/completions`

mod access;
mod cancel;
mod cuts;
mod elsewhere;
mod failures;
mod fidelity;
mod kept;
mod limits;
mod moderation;
mod parameters;
mod relay;
mod routing;

use anteroom_tests::{Ask, TestApp, User};
use serde_json::{Value, json};

/// A question to a model.
fn question(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "What is an anteroom?" }] })
}

/// The same, streamed.
fn streamed(model: &str) -> Value {
    let mut question = question(model);
    question["stream"] = true.into();
    question
}

/// Asks as a user.
fn ask(app: &TestApp, user: &User, body: &Value) -> Ask {
    app.post("/v1/chat/completions").by(user).json(body)
}

/// How many messages of today's are used up.
pub async fn used(app: &TestApp, user: &User) -> i64 {
    let list = app.get("/v1/me/entitlements").by(user).await.is(200).json();
    let messages = list["data"].as_array().unwrap().iter().find(|e| e["key"] == "messages");
    messages.unwrap()["used"].as_i64().unwrap()
}

/// Plans as the tests of limits want them: so many messages a day for everybody.
pub fn plans_with_limit(limit: i64) -> String {
    format!(
        r#"[{{ key = "free", name = "Free", version = 1, models = "first", entitlements = [{{ key = "messages", kind = "metered", limit = {limit}, window = "day" }}] }},
            {{ key = "pro", name = "Pro", version = 1, models = "all", prices = [{{ amount = 1900, currency = "usd", interval = "month" }}], entitlements = [{{ key = "messages", kind = "metered", window = "day" }}] }}]"#
    )
    .replace('\n', " ")
}
