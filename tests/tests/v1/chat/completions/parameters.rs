//! Parameters that cost the operator more than tokens: refused unless the plan allows them, untouched where it does.

use anteroom_tests::{Setup, TestApp, Upstream, User, on_every_store};
use serde_json::{Value, json};

use super::{ask, question, used};

on_every_store![
    what_costs_more_than_tokens_needs_a_plan_that_allows_it,
    what_clients_send_by_themselves_passes,
    no_dialect_is_a_way_round,
    what_an_assistant_fixes_is_not_the_callers,
    a_request_has_so_many_messages_at_most,
];

const PLANS: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", max_choices = 2,
        refused_parameters = ["logprobs", "temperature", "top_k"], entitlements = [{ key = "messages", kind = "metered", window = "day" }] },
    { key = "pro", name = "Pro", version = 1, models = "all", prices = [{ amount = 1900, currency = "usd", interval = "month" }],
        allowed_parameters = ["service_tier", "web_search_options", "store", "tools", "modalities", "audio"],
        entitlements = [{ key = "messages", kind = "metered", window = "day" }] }]"#;

async fn app_with_plans(setup: &Setup, upstream: &Upstream) -> TestApp {
    let plans = PLANS.replace('\n', " ");
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([
        ("billing.plans", plans.as_str()),
        ("billing.default_plan", "free"),
        ("billing.provider", "stripe-stub"),
        ("ai.max_request_messages", "3"),
        (
            "ai.assistants",
            r#"[{ name = "butler", model = "m", instructions = "Open doors.", temperature = 0.0 }]"#,
        ),
    ]);
    setup.app_with(&settings).await
}

/// The body of a question with more in it, as text: what it says must arrive as it was written.
fn with(more: &str) -> String {
    format!(r#"{{"model":"m",{more},"messages":[{{"role":"user","content":"hi"}}]}}"#)
}

fn say(app: &TestApp, user: &User, body: &str) -> anteroom_tests::Ask {
    app.post("/v1/chat/completions")
        .by(user)
        .header("content-type", "application/json")
        .body(body)
}

async fn what_costs_more_than_tokens_needs_a_plan_that_allows_it(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_with_plans(setup, &upstream).await;
    let (free, pro) = (app.user().await, app.user().await);
    app.buy(&pro, "pro").await;
    for (parameter, more) in [
        ("service_tier", r#""service_tier":"priority""#),
        (
            "web_search_options",
            r#""web_search_options":{"search_context_size": "high"}"#,
        ),
        ("store", r#""store":true"#),
        (
            "tools",
            r#""tools":[{"type":"function","function":{"name":"f"}}, {"type":"web_search"}]"#,
        ),
        ("modalities", r#""modalities":["text","audio"],"audio":{"voice":"v"}"#),
    ] {
        let body = with(more);
        let refused = say(&app, &free, &body)
            .expect(403)
            .code("parameter_not_in_plan")
            .events(&[])
            .await
            .json();
        assert_eq!(refused["error"]["param"], parameter, "{refused}");
        say(&app, &pro, &body).expect(200).events(&["chat.call.ended"]).await;
        assert_eq!(String::from_utf8_lossy(&upstream.last().body), body);
    }
    // The plan has not everything for that.
    for more in [r#""models":["dear"]"#, r#""plugins":[{"id":"web"}]"#] {
        say(&app, &pro, &with(more))
            .expect(403)
            .code("parameter_not_in_plan")
            .events(&[])
            .await;
    }
    for (parameter, more) in [("logprobs", r#""logprobs":true"#), ("n", r#""n":3"#)] {
        let refused = say(&app, &free, &with(more))
            .expect(403)
            .code("parameter_not_in_plan")
            .events(&[])
            .await;
        assert_eq!(refused.json()["error"]["param"], parameter);
        say(&app, &pro, &with(more))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    assert_eq!(used(&app, &free).await, 0, "what is refused counts nothing");
    assert_eq!(upstream.calls().len(), 7);
    let more = json!({ "model": "m", "input": "hi", "provider": { "only": ["dear"] } });
    let vectors = app.post("/v1/embeddings").by(&free).json(&more);
    vectors.expect(403).code("parameter_not_in_plan").events(&[]).await;
}

async fn what_clients_send_by_themselves_passes(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_with_plans(setup, &upstream).await;
    let user = app.user().await;
    for more in [
        r#""service_tier":"auto","store":false,"n":1,"tools":[]"#,
        r#""service_tier":"default","store":null,"web_search_options":null,"modalities":["text"]"#,
        r#""service_tier":"flex","n":2,"tools":[{"type":"function","function":{"name":"f"}}],"x_custom":1.50"#,
    ] {
        let body = with(more);
        say(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
        assert_eq!(String::from_utf8_lossy(&upstream.last().body), body);
    }
}

async fn no_dialect_is_a_way_round(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_with_plans(setup, &upstream).await;
    let user = app.user().await;
    // As the SDKs have it: what is asked for is answered as not kept.
    let response = |more: Value| {
        let mut body = json!({ "model": "m", "input": "hi", "store": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/v1/responses").by(&user).json(&body)
    };
    response(json!({ "service_tier": "auto" }))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(upstream.last().json().get("store"), None);
    let refused = response(json!({ "service_tier": "priority" }))
        .expect(403)
        .code("parameter_not_in_plan")
        .await;
    assert_eq!(refused.json()["error"]["param"], "service_tier");
    let search = response(json!({ "tools": [{ "type": "web_search" }] }));
    search.expect(400).code("unsupported_parameter").await;

    let message = |more: Value| {
        let mut body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/v1/messages").by(&user).json(&body)
    };
    let dropped = message(json!({ "service_tier": "auto", "speed": "fast" }))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    let named = dropped.header("anteroom-dropped-parameters");
    assert_eq!(named.as_deref(), Some("service_tier, speed"));
    let sent = upstream.last().json();
    assert_eq!((sent.get("service_tier"), sent.get("speed")), (None, None));
    let search = message(json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }));
    search.expect(400).code("unsupported_parameter").await;
    // What an operator refuses is refused where the completion that is made of it has no such thing, too.
    let refused = message(json!({ "top_k": 3 }))
        .expect(403)
        .code("parameter_not_in_plan")
        .await;
    assert!(refused.text().contains("top_k"), "{refused:?}");
    let text = json!({ "model": "m", "prompt": "hi", "n": 3 });
    let text = app.post("/v1/completions").by(&user).json(&text);
    text.expect(403).code("parameter_not_in_plan").await;
}

async fn what_an_assistant_fixes_is_not_the_callers(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_with_plans(setup, &upstream).await;
    let user = app.user().await;
    let body = json!({ "model": "assistant:butler", "messages": [{ "role": "user", "content": "hi" }] });
    say(&app, &user, &body.to_string())
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(upstream.last().json()["temperature"], 0.0);
    let mut own = body;
    own["temperature"] = json!(1);
    say(&app, &user, &own.to_string())
        .expect(403)
        .code("parameter_not_in_plan")
        .await;
}

async fn a_request_has_so_many_messages_at_most(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_with_plans(setup, &upstream).await;
    let user = app.user().await;
    let said = |times: usize| {
        let mut body = question("m");
        body["messages"] = vec![json!({ "role": "user", "content": "hi" }); times].into();
        body
    };
    ask(&app, &user, &said(3))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    let refused = ask(&app, &user, &said(4))
        .expect(400)
        .code("too_many_messages")
        .events(&[])
        .await
        .json();
    assert_eq!(
        (&refused["error"]["param"], &refused["error"]["limit"]),
        (&json!("messages"), &json!(3))
    );
    let body = json!({ "model": "m", "max_tokens": 9, "messages": said(4)["messages"] });
    app.post("/v1/messages")
        .by(&user)
        .json(&body)
        .expect(400)
        .code("too_many_messages")
        .await;
    let body = json!({ "model": "m", "input": said(4)["messages"] });
    app.post("/v1/responses")
        .by(&user)
        .json(&body)
        .expect(400)
        .code("too_many_messages")
        .await;
}
