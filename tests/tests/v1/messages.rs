//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's dialect, whichever provider answers.

use std::time::Duration;

use anteroom_tests::client::raw;
use anteroom_tests::upstream::{chunk, completion, sse, usage_chunk};
use anteroom_tests::{
    Answer, Ask, Script, Setup, Sse, Step, TestApp, Upstream, User, eventually, logs, on_every_store,
};
use serde_json::{Value, json};

use super::chat::completions::{plans_with_limit, used};

on_every_store![
    answers_whole_and_streamed,
    says_a_request_as_a_chat_completion,
    lets_tools_be_called_and_answered,
    takes_the_token_as_anthropics_sdks_send_it,
    tells_what_was_not_passed_on,
    refuses_in_anthropics_envelope,
    keeps_to_plan_and_limit,
    has_a_status_for_each_failure,
    tells_of_a_failure_in_the_middle,
    takes_no_answer_that_is_none,
    hangs_up_when_nobody_listens,
    estimates_tokens,
    keeps_what_only_anthropic_understands,
    lets_tools_through_that_only_anthropics_models_know,
];

const PATH: &str = "/v1/messages";

fn question(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 50, "messages": [{ "role": "user", "content": "What is an anteroom?" }] })
}

fn streamed(model: &str) -> Value {
    let mut question = question(model);
    question["stream"] = true.into();
    question
}

fn ask(app: &TestApp, user: &User, body: &Value) -> Ask {
    app.post(PATH).by(user).json(body)
}

fn names(events: &[Sse]) -> Vec<&str> {
    events.iter().map(|e| e.name.as_deref().unwrap()).collect()
}

fn text(events: &[Sse]) -> String {
    events
        .iter()
        .filter_map(|e| Some(e.json()["delta"]["text"].as_str()?.to_owned()))
        .collect()
}

/// Fails unless an error has Anthropic's envelope with this kind of error.
#[track_caller]
fn is_anthropics(answer: &Answer, kind: &str) {
    let body = answer.json();
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&json!("error"), &json!(kind)),
        "{answer:?}"
    );
    assert!(body["error"]["message"].is_string(), "{answer:?}");
    assert_eq!(body["request_id"], answer.request_id(), "{answer:?}");
    assert_eq!(answer.header("request-id"), Some(answer.request_id()));
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
}

async fn answers_whole_and_streamed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let whole = ask(&app, &user, &question("echo"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(whole.header("request-id"), Some(whole.request_id()));
    assert_eq!(whole.header("anteroom-dropped-parameters"), None);
    let id = format!("msg_{}", whole.request_id().replace('-', ""));
    assert_eq!(
        whole.json(),
        json!({
            "id": id, "type": "message", "role": "assistant", "model": "echo",
            "content": [{ "type": "text", "text": "What is an anteroom?" }], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": 4, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 4 },
        })
    );
    let mut stream = ask(&app, &user, &streamed("echo")).stream().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
    ] {
        assert_eq!(stream.headers[name], value);
    }
    let events = stream.rest().await;
    let mut expected = vec!["message_start", "ping", "content_block_start"];
    expected.extend(["content_block_delta"; 4]);
    expected.extend(["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(names(&events), expected);
    assert_eq!(text(&events), "What is an anteroom?");
    let delta = events[events.len() - 2].json();
    assert_eq!(delta["delta"]["stop_reason"], "end_turn");
    assert_eq!(
        (&delta["usage"]["input_tokens"], &delta["usage"]["output_tokens"]),
        (&json!(4), &json!(4))
    );
    stream.logged(&["chat.call.ended"]).await;
    assert_eq!(used(&app, &user).await, 2, "each call is booked once");
    let mut short = question("echo");
    short["max_tokens"] = 2.into();
    let cut = ask(&app, &user, &short).await.is(200).json();
    assert_eq!(
        (&cut["stop_reason"], &cut["content"][0]["text"]),
        (&json!("max_tokens"), &json!("What is "))
    );
}

async fn says_a_request_as_a_chat_completion(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let cached = r#"{"model":"m-1","choices":[{"index":0,"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":6}}}"#;
    upstream.on("m", Script::json(cached));
    let body = json!({
        "model": "m", "max_tokens": 7, "system": [{ "type": "text", "text": "Be brief." }], "temperature": 0.5, "stop_sequences": ["END"],
        "metadata": { "user_id": "u-1" }, "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }],
    });
    let answer = ask(&app, &user, &body)
        .expect(200)
        .events(&["chat.call.ended"])
        .await
        .json();
    let mut sent = upstream.last().json();
    // Who asks is told to nobody as the caller put it.
    let named = sent["user"].take();
    assert_eq!(named.as_str().unwrap().len(), 32, "{named}");
    assert_eq!(
        sent,
        json!({
            "model": "m", "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }],
            "max_completion_tokens": 7, "temperature": 0.5, "stop": ["END"], "user": null,
        })
    );
    // OpenAI counts cached tokens among the prompt's, Anthropic beside them.
    assert_eq!(
        (
            &answer["model"],
            &answer["usage"]["input_tokens"],
            &answer["usage"]["cache_read_input_tokens"]
        ),
        (&json!("m-1"), &json!(3), &json!(6))
    );
    upstream.on("m", Script::data(&[&chunk("yes"), &usage_chunk(5, 2), "[DONE]"]));
    ask(&app, &user, &streamed("m")).stream().await.rest().await;
    assert_eq!(
        upstream.last().json()["stream_options"],
        json!({ "include_usage": true })
    );
}

async fn lets_tools_be_called_and_answered(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{\"city\": \"Graz\"}" } });
    upstream.on(
        "m",
        Script::json(&json!({ "choices": [{ "message": { "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" }] }).to_string()),
    );
    let mut body = question("m");
    body["tools"] = json!([{ "name": "weather", "description": "d", "input_schema": { "type": "object" } }]);
    body["tool_choice"] = json!({ "type": "any", "disable_parallel_tool_use": true });
    let answer = ask(&app, &user, &body).await.is(200).json();
    assert_eq!(
        (&answer["content"], &answer["stop_reason"]),
        (
            &json!([{ "type": "tool_use", "id": "call_1", "name": "weather", "input": { "city": "Graz" } }]),
            &json!("tool_use")
        )
    );
    let sent = upstream.last().json();
    assert_eq!(
        (
            &sent["tool_choice"],
            &sent["parallel_tool_calls"],
            &sent["tools"][0]["function"]["name"]
        ),
        (&json!("required"), &json!(false), &json!("weather"))
    );
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": answer["content"] }));
    messages.push(
        json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "call_1", "content": "rain" }] }),
    );
    upstream.on("m", Script::json(&completion("It rains.")));
    ask(&app, &user, &body).await.is(200);
    let sent = upstream.last().json();
    assert_eq!(
        sent["messages"][1]["tool_calls"],
        json!([{ "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Graz\"}" } }])
    );
    assert_eq!(
        sent["messages"][2],
        json!({ "role": "tool", "tool_call_id": "call_1", "content": "rain" })
    );
}

async fn takes_the_token_as_anthropics_sdks_send_it(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let token = user.access_token.as_str();
    for path in [PATH, "/v1/messages/count_tokens"] {
        let ask = || app.post(path).json(&question("echo"));
        ask().header("x-api-key", token).await.is(200);
        ask().bearer(token).await.is(200);
        // The usual header counts alone.
        ask().header("x-api-key", "nonsense").bearer(token).await.is(200);
        ask()
            .header("x-api-key", token)
            .bearer("nonsense")
            .await
            .refused(401, "unauthenticated");
        ask()
            .header("x-api-key", token)
            .header("x-api-key", token)
            .await
            .refused(401, "unauthenticated");
        is_anthropics(
            &ask()
                .header("x-api-key", "nonsense")
                .await
                .refused(401, "unauthenticated"),
            "authentication_error",
        );
        is_anthropics(&ask().await.refused(401, "unauthenticated"), "authentication_error");
    }
    // Nowhere else is it a credential.
    for path in ["/v1/me", "/v1/models"] {
        app.get(path)
            .header("x-api-key", token)
            .await
            .refused(401, "unauthenticated");
    }
    let body = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] });
    let elsewhere = app.post("/v1/chat/completions").header("x-api-key", token).json(&body);
    elsewhere.await.refused(401, "unauthenticated");
    // The session it stands for ends like any other.
    app.post("/v1/auth/logout").by(&user).await.is(204);
    let late = app.post(PATH).header("x-api-key", token).json(&question("echo"));
    late.await.refused(401, "unauthenticated");
}

async fn tells_what_was_not_passed_on(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    for mut body in [question("m"), streamed("m")] {
        body["top_k"] = 5.into();
        body["x_new"] = json!({});
        let dropped = if body["stream"] == true {
            let stream = ask(&app, &user, &body).stream().await;
            stream.headers["anteroom-dropped-parameters"]
                .to_str()
                .unwrap()
                .to_owned()
        } else {
            ask(&app, &user, &body)
                .await
                .is(200)
                .header("anteroom-dropped-parameters")
                .unwrap()
        };
        // The order is the request's own.
        let mut names: Vec<&str> = dropped.split(", ").collect();
        names.sort_unstable();
        assert_eq!(names, ["top_k", "x_new"]);
        let sent = upstream.last().json();
        assert!(sent["top_k"].is_null() && sent["x_new"].is_null(), "{sent}");
    }
}

async fn refuses_in_anthropics_envelope(setup: &Setup) {
    let app = setup
        .app_with(&[("protection.enabled", "true"), ("protection.default_per_minute", "30")])
        .await;
    let user = app.user().await;
    let table = [
        (
            json!({ "max_tokens": null }),
            400,
            "invalid_request",
            Some("max_tokens"),
            "invalid_request_error",
        ),
        (
            json!({ "container": "c" }),
            400,
            "unsupported_parameter",
            Some("container"),
            "invalid_request_error",
        ),
        (
            json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }),
            400,
            "unsupported_parameter",
            Some("tools.0.type"),
            "invalid_request_error",
        ),
        (
            json!({ "model": "no such model" }),
            403,
            "model_not_in_plan",
            Some("model"),
            "permission_error",
        ),
    ];
    for (more, status, code, param, kind) in table {
        let mut body = question("echo");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ask(&app, &user, &body).expect(status).code(code).events(&[]).await;
        is_anthropics(&answer, kind);
        assert_eq!(answer.json()["error"]["param"].as_str(), param, "{answer:?}");
    }
    let json = |body: &str| {
        app.post(PATH)
            .by(&user)
            .header("content-type", "application/json")
            .body(body)
    };
    is_anthropics(
        &json("{").await.refused(400, "invalid_request"),
        "invalid_request_error",
    );
    is_anthropics(
        &app.post(PATH)
            .by(&user)
            .body("{}")
            .await
            .refused(415, "unsupported_media_type"),
        "invalid_request_error",
    );
    is_anthropics(
        &json(&" ".repeat(40_000_000)).await.refused(413, "body_too_large"),
        "request_too_large",
    );
    is_anthropics(
        &app.get(PATH).by(&user).await.refused(405, "method_not_allowed"),
        "invalid_request_error",
    );
    is_anthropics(
        &app.get("/v1/messages/batches")
            .by(&user)
            .await
            .refused(404, "no_such_route"),
        "not_found_error",
    );
    let broken = raw(&app, b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n").await;
    assert!(
        broken.contains(r#""type":"invalid_request_error""#) && broken.contains(r#""code":"malformed_request""#),
        "{broken}"
    );
    let mut limited = ask(&app, &user, &json!({})).await;
    // It refills while the large body is sent.
    for _ in 0..300 {
        if limited.status == 429 {
            break;
        }
        limited = ask(&app, &user, &json!({})).await;
    }
    is_anthropics(&limited, "rate_limit_error");
    assert_eq!(limited.code(), "rate_limited");
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
}

async fn keeps_to_plan_and_limit(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = plans_with_limit(2);
    let mut settings = upstream.settings("small,large").to_vec();
    settings.push(("billing.plans", &plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    for body in [question("large"), streamed("large")] {
        let answer = ask(&app, &user, &body)
            .expect(403)
            .code("model_not_in_plan")
            .events(&[])
            .await;
        is_anthropics(&answer, "permission_error");
    }
    ask(&app, &user, &question("small"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    ask(&app, &user, &streamed("small")).stream().await.rest().await;
    for body in [question("small"), streamed("small")] {
        let answer = ask(&app, &user, &body)
            .expect(402)
            .code("quota_exceeded")
            .events(&["quota.denied"])
            .await;
        is_anthropics(&answer, "billing_error");
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["limit"], &error["used"], &error["meter"]),
            (&json!(2), &json!(2), &json!("messages"))
        );
        assert!(error["resets_at"].is_string(), "{answer:?}");
    }
    assert_eq!(upstream.calls().len(), 2);
}

/// What a failed call logs.
const FAILED: [&str; 3] = ["chat.call.failed", "chat.call.ended", "request.failed"];

async fn has_a_status_for_each_failure(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let refusal = r#"{"error":{"message":"too hot","type":"theirs","param":"temperature","code":"too_hot"}}"#;
    for (theirs, ours, code, kind) in [
        (400, 400, "too_hot", "invalid_request_error"),
        (404, 404, "too_hot", "not_found_error"),
        (401, 502, "upstream_auth_failed", "api_error"),
        (429, 429, "upstream_rate_limited", "rate_limit_error"),
        (500, 502, "upstream_error", "api_error"),
    ] {
        let headers = [("content-type", "application/json"), ("retry-after", "7")];
        upstream.on("m", Script::answer(theirs, &headers, refusal));
        for body in [question("m"), streamed("m")] {
            let answer = ask(&app, &user, &body).expect(ours).code(code).events(&FAILED).await;
            is_anthropics(&answer, kind);
            if theirs == 400 {
                assert_eq!(answer.json()["error"]["message"], "too hot");
            }
            let retry = (ours == 429).then(|| "7".to_owned());
            assert_eq!(answer.header("retry-after"), retry, "{answer:?}");
        }
    }
    assert_eq!(used(&app, &user).await, 0, "what brought nothing costs nothing");
}

async fn tells_of_a_failure_in_the_middle(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let error = r#"{"error":{"message":"the model fell over","type":"server_error","code":"overloaded"}}"#;
    for (end, code) in [
        (vec![sse(error), Step::End], "overloaded"),
        (vec![Step::End], "upstream_error"),
        (vec![Step::Cut], "upstream_unreachable"),
    ] {
        let mut steps = vec![sse(&chunk("so ")), sse(&chunk("far"))];
        steps.extend(end);
        upstream.on("m", Script::stream(steps));
        let mut stream = ask(&app, &user, &streamed("m")).stream().await;
        let events = stream.rest().await;
        assert_eq!(text(&events), "so far");
        assert!(!names(&events).contains(&"message_stop"), "{events:?}");
        let last = events.last().unwrap();
        assert_eq!(last.name.as_deref(), Some("error"));
        let error = last.json();
        assert_eq!(
            (
                &error["type"],
                &error["error"]["type"],
                &error["error"]["code"],
                &error["request_id"]
            ),
            (
                &json!("error"),
                &json!("api_error"),
                &json!(code),
                &json!(stream.request_id)
            )
        );
        stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    }
    assert_eq!(used(&app, &user).await, 3, "what brought something counts");
}

async fn takes_no_answer_that_is_none(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    // A provider's answer that the relay lets pass as it is, but that is no chat completion.
    upstream.on("m", Script::json(r#"{"choices":[{"message":"hello"}]}"#));
    let answer = ask(&app, &user, &question("m")).await;
    is_anthropics(&answer, "api_error");
    assert_eq!(answer.told(), (502, "upstream_error".to_owned()));
    let logged = logs::of_request(&answer.request_id());
    let unreadable = logged.iter().find(|e| e.name == "chat.answer.unreadable").unwrap();
    assert!(!format!("{unreadable:?}").contains("hello"), "{unreadable:?}");
    upstream.on(
        "m",
        Script::data(&[
            &chunk("a"),
            r#"{"choices":[{"delta":"hello"}]}"#,
            &chunk("never seen"),
            "[DONE]",
        ]),
    );
    let events = ask(&app, &user, &streamed("m")).stream().await.rest().await;
    assert_eq!(text(&events), "a");
    assert_eq!(events.last().unwrap().json()["error"]["code"], "upstream_error");
}

async fn hangs_up_when_nobody_listens(setup: &Setup) {
    let upstream = Upstream::start().await;
    let model = format!("messages-nobody-reads-{:?}", setup.kind());
    let app = setup.app_with(&upstream.settings(&model)).await;
    let user = app.user().await;
    let drip = || [sse(&chunk("word ")), Step::Pause(Duration::from_millis(50))];
    upstream.on(&model, Script::stream((0..10_000).flat_map(|_| drip()).collect()));
    let mut stream = ask(&app, &user, &streamed(&model)).stream().await;
    stream.next().await.unwrap();
    drop(stream);
    let took = upstream.hung_up().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    upstream.on(&model, Script::new(vec![Step::Hang]));
    let asking = tokio::spawn(ask(&app, &user, &question(&model)).into_future());
    upstream.called(2).await;
    asking.abort();
    let took = upstream.hung_up().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let outcomes = eventually("both calls are booked", || {
        let ended = logs::about("chat.call.ended", &model);
        (ended.len() == 2).then(|| {
            ended
                .into_iter()
                .map(|e| e.fields["outcome"].clone())
                .collect::<Vec<_>>()
        })
    })
    .await;
    assert_eq!(outcomes, ["cancelled", "cancelled"]);
}

async fn estimates_tokens(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let count = async |body: &Value| {
        let answer = app
            .post("/v1/messages/count_tokens")
            .by(&user)
            .json(body)
            .expect(200)
            .events(&[])
            .await;
        answer.json()["input_tokens"].as_i64().unwrap()
    };
    let mut body = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] });
    let small = count(&body).await;
    assert!((1..60).contains(&small), "{small}");
    body["messages"][0]["content"] = "x".repeat(30_000).into();
    let large = count(&body).await;
    assert!((10_000..10_100).contains(&large), "{large}");
    assert_eq!(used(&app, &user).await, 0, "nothing is called for it");
    body["container"] = "c".into();
    let refused = app.post("/v1/messages/count_tokens").by(&user).json(&body).await;
    is_anthropics(&refused.refused(400, "unsupported_parameter"), "invalid_request_error");
}

/// The server of Anthropic's own API, offered as `own`; and one that knows OpenAI's only, as `other`.
fn both_kinds(own: &Upstream, other: &Upstream) -> Vec<(&'static str, String)> {
    let providers = format!(
        r#"[{{ name = "a", kind = "anthropic", base_url = "{}", api_key_variable = "A_KEY" }}, {{ name = "o", kind = "openai", base_url = "{}", api_key_variable = "O_KEY" }}]"#,
        own.url, other.url
    );
    let aliases = r#"[{ name = "own", targets = [{ provider = "a", model = "claude-x" }] }, { name = "other", targets = [{ provider = "o", model = "gpt-x" }] }]"#;
    vec![
        ("ai.providers", providers),
        ("ai.aliases", aliases.to_owned()),
        ("ai.retries", "0".to_owned()),
        ("billing.plans", plans_with_limit(100).replace("\"first\"", "\"all\"")),
        ("A_KEY", "key-of-anthropics-0123456789".to_owned()),
        ("O_KEY", "key-of-openais-0123456789".to_owned()),
    ]
}

/// What Anthropic answers, as it stands on the wire: thought with its signature, hidden thought, and a call.
const OWN_EVENTS: [&str; 13] = [
    r#"{"type":"message_start","message":{"id":"msg_up","type":"message","role":"assistant","model":"claude-x-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"cache_creation_input_tokens":4,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"h\u006d \/"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM+/=="}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"EmwKAhgB"}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"c\": 1.50"}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"}"}}"#,
    r#"{"type":"content_block_stop","index":2}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":9,"output_tokens":7}}"#,
    r#"{"type":"message_stop"}"#,
];

async fn keeps_what_only_anthropic_understands(setup: &Setup) {
    let (own, other) = (Upstream::start().await, Upstream::start().await);
    let settings = both_kinds(&own, &other);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let said = |model: &str, more: &str, messages: &str| {
        format!(
            r#"{{"model":"{model}","max_tokens":5000,"top_k":5,"thinking":{{"type":"enabled","budget_tokens":2048}},"system":[{{"type":"text","text":"s","cache_control":{{"type":"ephemeral"}}}}],"tools":[{{"cache_control":{{"ttl":"1h","type":"ephemeral"}},"name":"weather","input_schema":{{"type":"object"}}}}]{more},"messages":{messages}}}"#
        )
    };
    let ask = |body: String| {
        app.post(PATH)
            .by(&user)
            .header("content-type", "application/json")
            .body(body)
    };
    let event = |data: &&str| {
        let name = serde_json::from_str::<Value>(data).unwrap()["type"].clone();
        Step::Chunk(format!("event: {}\ndata: {data}\n\n", name.as_str().unwrap()).into())
    };
    let mut steps: Vec<Step> = OWN_EVENTS.iter().map(event).collect();
    steps.push(Step::End);
    own.on("claude-x", Script::stream(steps));
    let first = r#"[{"role":"user","content":"Rain?"}]"#;
    let mut stream = ask(said("own", r#","stream":true,"x_new":1"#, first)).stream().await;
    assert_eq!(stream.headers["anteroom-dropped-parameters"], "x_new");
    let events = stream.rest().await;
    let data: Vec<&str> = events.iter().map(|e| e.data.as_str()).collect();
    assert_eq!(data, OWN_EVENTS);
    stream.logged(&["chat.call.ended"]).await;
    let ended = logs::of_request(&stream.request_id).remove(0);
    // Anthropic counts beside the prompt what it writes to its cache.
    assert_eq!(
        (&ended.fields["prompt_tokens"], &ended.fields["completion_tokens"]),
        (&"13".to_owned(), &"7".to_owned())
    );
    assert_eq!(own.last().path, "/v1/messages");

    // The next turn gives the blocks back, and the tool's result.
    let turns = r#"[{"role":"user","content":"Rain?"},{"role":"assistant","content":[{"type":"thinking","thinking":"h\u006d \/","signature":"EqQBCgIYAhIM+/=="},{"type":"redacted_thinking","data":"EmwKAhgB"},{"type":"tool_use","id":"toolu_1","name":"weather","input":{"c": 1.50}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","is_error":false,"content":"rain","cache_control":{"type":"ephemeral"}}]}]"#;
    let message = r#"{"id":"msg_2","type":"message","role":"assistant","model":"claude-x-1","content":[{"type":"text","text":"Yes.", "citations":null}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":2}}"#;
    own.on("claude-x", Script::json(message));
    let answer = ask(said("own", "", turns))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(answer.text(), message);
    assert_eq!(answer.header("anteroom-dropped-parameters"), None);
    let sent = String::from_utf8(own.last().body).unwrap();
    let expected = said("claude-x", "", turns);
    assert_eq!(
        sent,
        format!("{},\"stream\":false}}", expected.strip_suffix('}').unwrap())
    );

    // Whoever does not understand it is not told, and the caller is.
    other.on("gpt-x", Script::json(&completion("Yes.")));
    let answer = ask(said("other", "", turns))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(answer.json()["content"][0]["text"], "Yes.");
    let dropped = answer.header("anteroom-dropped-parameters").unwrap();
    assert_eq!(
        dropped,
        "top_k, cache_control, messages.content.thinking, tools.cache_control"
    );
    let sent = String::from_utf8(other.last().body).unwrap();
    assert!(
        !sent.contains("cache_control") && !sent.contains("EqQB") && !sent.contains("anteroom"),
        "{sent}"
    );

    // A stream that breaks off ends in the surface's words.
    let mut steps: Vec<Step> = OWN_EVENTS[..3].iter().map(event).collect();
    steps.push(Step::Cut);
    own.on("claude-x", Script::stream(steps));
    let events = ask(said("own", r#","stream":true"#, first)).stream().await.rest().await;
    assert_eq!(names(&events)[3..], ["error"]);
    assert_eq!(events[3].json()["error"]["code"], "upstream_unreachable");
}

async fn lets_tools_through_that_only_anthropics_models_know(setup: &Setup) {
    let (own, other) = (Upstream::start().await, Upstream::start().await);
    let mut settings = both_kinds(&own, &other);
    let aliases = r#"[{ name = "own", targets = [{ provider = "a", model = "claude-x" }] }, { name = "other", targets = [{ provider = "o", model = "gpt-x" }] }, { name = "either", targets = [{ provider = "o", model = "gpt-x" }, { provider = "a", model = "claude-x" }] }]"#;
    aliases.clone_into(&mut settings[1].1);
    let assistants = r#"[{ name = "butler", model = "own", instructions = "Be grand." }]"#;
    settings.push(("ai.assistants", assistants.to_owned()));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let tools = json!([
        { "type": "bash_20250124", "name": "bash" },
        { "name": "weather", "input_schema": { "type": "object" } },
        { "type": "computer_20250124", "name": "computer", "display_width_px": 800, "display_height_px": 600 },
    ]);
    let body = |model: &str, stream: bool| json!({ "model": model, "max_tokens": 100, "stream": stream, "tools": tools, "messages": [{ "role": "user", "content": "Look." }] });
    let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x-1","content":[{"type":"tool_use","id":"toolu_1","name":"bash","input":{"command":"ls"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":300,"output_tokens":2}}"#;
    other.on("gpt-x", Script::json(&completion("Never asked.")));
    // A target that knows them is found, whichever is first.
    for (model, events) in [
        ("own", &["chat.call.ended"][..]),
        ("either", &["chat.target.failed", "chat.call.ended"]),
    ] {
        own.on("claude-x", Script::json(message));
        let answer = ask(&app, &user, &body(model, false)).expect(200).events(events).await;
        assert_eq!(answer.text(), message);
        let sent = own.last();
        assert_eq!(sent.json()["tools"], tools);
        assert_eq!(sent.headers["anthropic-beta"], "computer-use-2025-01-24");
    }
    // Without one the request is refused, and nobody is asked.
    for (model, stream) in [("other", false), ("other", true), ("assistant:butler", false)] {
        let refused = ask(&app, &user, &body(model, stream)).await;
        let refused = refused.refused(400, "unsupported_parameter");
        is_anthropics(&refused, "invalid_request_error");
        assert_eq!(refused.json()["error"]["param"], "tools.0.type");
    }
    // Those that cost extra are refused whoever answers.
    let mut paid = body("own", false);
    paid["tools"] = json!([{ "type": "web_search_20250305", "name": "web_search" }]);
    is_anthropics(
        &ask(&app, &user, &paid).await.refused(400, "unsupported_parameter"),
        "invalid_request_error",
    );
    assert_eq!((own.calls().len(), other.calls().len()), (2, 0));
}
