//! Models that have several targets.

use anteroom_tests::upstream::{KEY, chunk, completion, sse};
use anteroom_tests::{Script, Setup, Step, Upstream, logs, on_every_store};
use serde_json::json;

use super::{ask, question, streamed, used};

on_every_store![
    falls_back_while_nothing_has_been_sent,
    leaves_a_target_alone_that_keeps_failing,
    says_when_nothing_is_left_to_ask,
    warns_once_of_a_target_without_a_price,
    clamps_the_answer_to_the_models_maximum,
    keeps_an_alias_to_its_plans,
    g68_nothing_in_a_body_chooses_where_a_call_goes,
];

/// Two providers, each with a key of its own, and what else is offered.
fn settings(first: &Upstream, second: &Upstream, aliases: &str) -> Vec<(&'static str, String)> {
    let providers = format!(
        r#"[{{ name = "first", kind = "openai", base_url = "{}", api_key_variable = "FIRST_KEY" }}, {{ name = "second", kind = "openai", base_url = "{}", api_key_variable = "SECOND_KEY" }}]"#,
        first.url, second.url
    );
    vec![
        ("ai.providers", providers),
        ("ai.aliases", aliases.to_owned()),
        ("ai.retries", "0".to_owned()),
        ("FIRST_KEY", "key-of-the-first-0123456789".to_owned()),
        ("SECOND_KEY", "key-of-the-second-0123456789".to_owned()),
    ]
}

const FAST: &str = r#"[{ name = "fast", targets = [{ provider = "first", model = "m1" }, { provider = "second", model = "m2", input_usd_per_million = 1.0, output_usd_per_million = 2.0 }] }]"#;

fn pairs<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

async fn falls_back_while_nothing_has_been_sent(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let set = settings(&first, &second, FAST);
    let app = setup.app_with(&pairs(&set)).await;
    let user = app.user().await;
    let models = app.get("/v1/models").by(&user).await.is(200).json();
    assert_eq!(
        (&models["data"][0]["id"], models["data"].as_array().unwrap().len()),
        (&json!("fast"), 1)
    );

    first.on("m1", Script::answer(500, &[], ""));
    second.on("m2", Script::json(&completion("from the second")));
    let mut body = question("fast");
    body["x_custom"] = json!({ "kept": 1.5 });
    let answer = ask(&app, &user, &body)
        .expect(200)
        .events(&["chat.target.failed", "chat.call.ended"])
        .await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "from the second");
    let (theirs, ours) = (first.last(), second.last());
    assert_eq!(
        (&theirs.json()["model"], &ours.json()["model"]),
        (&json!("m1"), &json!("m2"))
    );
    assert_eq!(ours.json()["x_custom"], body["x_custom"]);
    // Each is shown its own key only.
    assert_eq!(theirs.headers["authorization"], "Bearer key-of-the-first-0123456789");
    assert_eq!(ours.headers["authorization"], "Bearer key-of-the-second-0123456789");

    // A stream that breaks off is not begun again elsewhere.
    first.on("m1", Script::stream(vec![sse(&chunk("Hel")), Step::Cut]));
    let calls = second.calls().len();
    let mut stream = ask(&app, &user, &streamed("fast")).stream().await;
    let events = stream.rest().await;
    assert_eq!(events[0].json()["choices"][0]["delta"]["content"], "Hel");
    assert_eq!(events[1].json()["error"]["code"], "upstream_unreachable");
    assert_eq!((events.len(), second.calls().len()), (2, calls));
    stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    assert_eq!(used(&app, &user).await, 2);
}

async fn leaves_a_target_alone_that_keeps_failing(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut set = settings(&first, &second, FAST);
    set.push(("ai.breaker_failures", "2".to_owned()));
    set.push(("ai.breaker_open_seconds", "2".to_owned()));
    let app = setup.app_with(&pairs(&set)).await;
    let user = app.user().await;
    first.on("m1", Script::answer(503, &[], ""));
    second.on("m2", Script::json(&completion("here")));
    ask(&app, &user, &question("fast"))
        .expect(200)
        .events(&["chat.target.failed", "chat.call.ended"])
        .await;
    ask(&app, &user, &question("fast"))
        .expect(200)
        .events(&["chat.target.opened", "chat.target.failed", "chat.call.ended"])
        .await;
    for _ in 0..2 {
        ask(&app, &user, &question("fast"))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    assert_eq!((first.calls().len(), second.calls().len()), (2, 4));
    first.on("m1", Script::json(&completion("well again")));
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let answer = ask(&app, &user, &question("fast"))
        .expect(200)
        .events(&["chat.target.recovered", "chat.call.ended"])
        .await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "well again");
}

/// A price that nobody states is the operator's affair: they are told once, and no call is refused for it.
async fn warns_once_of_a_target_without_a_price(setup: &Setup) {
    let upstream = Upstream::start().await;
    let (model, priced) = (
        format!("no-price-{:?}", setup.kind()),
        format!("priced-{:?}", setup.kind()),
    );
    let models = format!("{model},{priced}");
    let prices = format!("[{{ model = '{priced}', input_usd_per_million = 1.0, output_usd_per_million = 1.0 }}]");
    let mut settings = upstream.settings(&models).to_vec();
    settings.push(("ai.prices", &prices));
    let app = setup.app_with(&settings).await;
    let told = |model: &str| logs::about("chat.target.unpriced", model).len();
    assert_eq!((told(&model), told(&priced)), (1, 0), "it is said at start");
    let user = app.user().await;
    for _ in 0..2 {
        ask(&app, &user, &question(&model))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    assert_eq!(told(&model), 1);
    // What only the provider lists is known when it is first asked.
    let listed = format!("listed-without-price-{:?}", setup.kind());
    let list = json!({ "data": [{ "id": listed }] }).to_string();
    upstream.on("models", Script::json(&list));
    let app = setup.app_with(&upstream.settings("")).await;
    let user = app.user().await;
    assert_eq!(told(&listed), 0);
    for _ in 0..2 {
        ask(&app, &user, &question(&listed))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    assert_eq!(told(&listed), 1);
}

async fn says_when_nothing_is_left_to_ask(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut set = settings(&first, &second, FAST);
    set.push(("ai.breaker_failures", "1".to_owned()));
    let app = setup.app_with(&pairs(&set)).await;
    let user = app.user().await;
    first.on("m1", Script::answer(500, &[], ""));
    second.on("m2", Script::answer(500, &[], ""));
    ask(&app, &user, &question("fast"))
        .expect(502)
        .code("upstream_error")
        .events(&[
            "chat.target.opened",
            "chat.target.failed",
            "chat.target.opened",
            "chat.call.failed",
            "chat.call.ended",
            "request.failed",
        ])
        .await;
    for body in [question("fast"), streamed("fast")] {
        let answer = ask(&app, &user, &body)
            .expect(503)
            .code("upstream_unavailable")
            .events(&["chat.call.failed", "chat.call.ended", "request.failed"])
            .await;
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
    }
    assert_eq!(used(&app, &user).await, 0);
}

async fn clamps_the_answer_to_the_models_maximum(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let aliases = r#"[{ name = "short", context_window = 8000, max_output_tokens = 50, targets = [{ provider = "first", model = "m1" }] }]"#;
    let set = settings(&first, &second, aliases);
    let app = setup.app_with(&pairs(&set)).await;
    let user = app.user().await;
    let shown = app.get("/v1/models/short").by(&user).await.is(200).json();
    assert_eq!(
        (&shown["context_window"], &shown["max_output_tokens"]),
        (&json!(8000), &json!(50))
    );
    first.on("m1", Script::json(&completion("short")));
    for (asked, sent) in [(json!(4000), 50), (json!(20), 20), (json!(null), 50)] {
        let mut body = question("short");
        if !asked.is_null() {
            body["max_tokens"] = asked;
        }
        ask(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
        assert_eq!(first.last().json()["max_tokens"], sent);
    }
}

async fn keeps_an_alias_to_its_plans(setup: &Setup) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let aliases = r#"[{ name = "fine", plans = ["pro"], targets = [{ provider = "first", model = "m1" }] }, { name = "plain", targets = [{ provider = "second", model = "m2" }] }]"#;
    let set = settings(&first, &second, aliases);
    let app = setup.app_with(&pairs(&set)).await;
    let user = app.user().await;
    first.on("m1", Script::json(&completion("fine")));
    second.on("m2", Script::json(&completion("plain")));
    let offered = async || {
        let models = app.get("/v1/models").by(&user).await.is(200).json();
        let models = models["data"].as_array().unwrap();
        models
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // The first that is open to the plan is the free one's.
    assert_eq!(offered().await, ["plain"]);
    ask(&app, &user, &question("fine"))
        .expect(403)
        .code("model_not_in_plan")
        .await;
    ask(&app, &user, &question("plain"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    app.buy(&user, "pro").await;
    assert_eq!(offered().await, ["fine", "plain"]);
    ask(&app, &user, &question("fine"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
}

/// Security case G 68 (CVE-2024-6587): there, a body named the server that the provider's key was sent to.
async fn g68_nothing_in_a_body_chooses_where_a_call_goes(setup: &Setup) {
    let (upstream, canary) = (Upstream::start().await, Upstream::start().await);
    let mut set = upstream.settings("m").to_vec();
    set.push(("ai.first_token_timeout_ms", "5000"));
    let app = setup.app_with(&set).await;
    let user = app.user().await;
    upstream.on("m", Script::json(&completion("here")));
    let bare = canary.url.trim_end_matches("/v1");
    let places = [
        canary.url.clone(),
        bare.to_owned(),
        bare.replace("http://", "//"),
        bare.replace("http://", "http://user:pass@"),
        bare.replace("127.0.0.1", "0x7f.1"),
        bare.replace("127.0.0.1", "2130706433"),
        bare.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
        bare.replace("127.0.0.1", "localhost"),
    ];
    let names = [
        "api_base",
        "base_url",
        "baseURL",
        "api_url",
        "url",
        "endpoint",
        "proxy",
        "callback_url",
        "webhook",
        "host",
    ];
    let bodies = |url: &str| {
        let mut chat = question("m");
        for name in names {
            chat[name] = json!(url);
        }
        chat["headers"] = json!({ "authorization": "Bearer mine", "host": url });
        chat["extra_headers"] = chat["headers"].clone();
        chat["api_key"] = json!("mine");
        chat["anteroom"] = json!({ "base_url": url, "provider": url });
        chat["metadata"] = json!({ "url": url });
        let image = json!([{ "type": "image_url", "image_url": { "url": format!("{url}/x.png") } }]);
        let mut seen = chat.clone();
        seen["messages"] = json!([{ "role": "user", "content": image }]);
        let named = json!({ "model": url, "messages": [{ "role": "user", "content": "hi" }] });
        [chat, seen, named]
    };
    for place in &places {
        let [chat, seen, named] = bodies(place);
        for body in [chat, seen] {
            ask(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
            let call = upstream.last();
            assert_eq!(call.headers["authorization"], format!("Bearer {KEY}"));
            assert_eq!(
                call.json()["api_base"],
                body["api_base"],
                "it travels as it came, and means nothing here"
            );
        }
        ask(&app, &user, &named).expect(403).code("model_not_in_plan").await;
        for path in ["/v1/messages", "/v1/responses", "/v1/embeddings"] {
            let body = json!({
                "model": "m", "max_tokens": 9, "input": "hi", "messages": [{ "role": "user", "content": "hi" }],
                "api_base": place, "base_url": place, "extra_headers": { "authorization": "Bearer mine" },
            });
            // Whatever the answer: the server that was asked is the operator's, with the operator's key.
            let before = upstream.calls().len();
            let _ = app.post(path).by(&user).json(&body).await;
            assert_eq!(upstream.calls().len(), before + 1, "{path}");
            assert_eq!(upstream.last().headers["authorization"], format!("Bearer {KEY}"));
        }
    }
    // Nor does a provider: the key would go along.
    let elsewhere = format!("{}/chat/completions", canary.url);
    for status in [301, 302, 303, 307, 308] {
        upstream.on("m", Script::answer(status, &[("location", &elsewhere)], ""));
        for body in [question("m"), streamed("m")] {
            ask(&app, &user, &body)
                .expect(502)
                .code("upstream_error")
                .events(&["chat.call.failed", "chat.call.ended", "request.failed"])
                .await;
        }
    }
    assert_eq!(canary.calls().len(), 0);
    assert_eq!(canary.connections(), 0, "nobody so much as knocked");
}
