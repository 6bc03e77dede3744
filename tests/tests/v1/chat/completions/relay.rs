//! What is asked and answered travels untouched.

use std::time::Duration;

use anteroom_tests::upstream::{KEY, chunk, sse, usage_chunk};
use anteroom_tests::{Script, Setup, Step, Upstream, User, on_every_store};
use serde_json::{Value, json};

use super::{ask, question, streamed, used};

on_every_store![
    tells_the_provider_of_no_client,
    says_that_it_is_there_while_the_model_thinks,
    echoes_whole_and_streamed,
    hands_a_whole_answer_on_byte_for_byte,
    hands_a_stream_on_byte_for_byte,
    tells_a_streams_usage_to_those_who_ask,
    lets_tool_calls_pass,
    refuses_what_cannot_be_relayed,
    takes_long_conversations,
];

async fn echoes_whole_and_streamed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let whole = ask(&app, &user, &question("echo"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(whole.header("content-type").as_deref(), Some("application/json"));
    let body = whole.json();
    assert_eq!(
        body["choices"][0]["message"],
        json!({ "role": "assistant", "content": "What is an anteroom?", "refusal": null })
    );
    let tokens = ["prompt_tokens", "completion_tokens", "total_tokens"].map(|key| body["usage"][key].as_i64().unwrap());
    assert_eq!(tokens, [4, 4, 8]);
    assert_eq!(
        (&body["object"], &body["model"]),
        (&json!("chat.completion"), &json!("echo"))
    );

    let mut stream = ask(&app, &user, &streamed("echo")).stream().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.headers[name], value);
    }
    let events = stream.rest().await;
    assert!(events.iter().all(|e| e.name.is_none()), "{events:?}");
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.data, "[DONE]");
    let words: Vec<String> = chunks
        .iter()
        .filter_map(|e| Some(e.json()["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(words, ["What ", "is ", "an ", "anteroom?"]);
    stream.logged(&["chat.call.ended"]).await;
    assert_eq!(used(&app, &user).await, 2);
}

async fn hands_a_whole_answer_on_byte_for_byte(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let answer = "{ \"id\":\"x\",\n  \"x_score\": 1.50, \"big\": 123456789012345678901234567890, \"tiny\":1e-7,\r\n \"choices\" : [ {\"message\":{\"role\":\"assistant\",\"content\":\"\\u00e9 é \\/\",\"reasoning_content\":\"…\"}} ] , \"x\":1,\"x\":2 }";
    upstream.on("m", Script::json(answer));
    // Members keep their order and their bytes; only the space between them is Anteroom's.
    let body = "{\"temperature\":1.50,\"messages\":[{\"role\":\"user\",\"content\":\"h\\u0069\",\"x_own\":[1.0, null]}\n],\"x_custom\":{\"k\" : 1.0},\"model\":\"m\",\"seed\":123456789012345678901234567890}";
    let relayed = app
        .post("/v1/chat/completions")
        .by(&user)
        .header("content-type", "application/json; charset=utf-8")
        .body(body)
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(relayed.text(), answer);
    let call = upstream.last();
    assert_eq!(String::from_utf8(call.body.clone()).unwrap(), body);
    assert_eq!(
        (call.path.as_str(), call.headers["authorization"].as_str()),
        ("/v1/chat/completions", &*format!("Bearer {KEY}"))
    );
    // Nothing of the caller's own credential, address or browser goes along.
    let sent = format!("{:?}", call.headers);
    assert!(
        !sent.contains(&user.access_token) && !call.headers.contains_key("cookie") && !sent.contains("127.0.0.1:0"),
        "{sent}"
    );
    assert!(
        call.headers.keys().all(|name| !name.starts_with("x-forwarded")),
        "{sent}"
    );
}

async fn hands_a_stream_on_byte_for_byte(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let odd = "{\"choices\":[{\"delta\":{\"content\":\"a\\u0062\",\"x_logit\":1.50}}], \"x\" : {\"n\":1.0,\"big\":12345678901234567890123} }";
    let empty = "{\"choices\":[]}";
    upstream.on("m", Script::data(&[odd, empty, &chunk("ü"), "[DONE]"]));
    let mut body = streamed("m");
    body["x_custom"] = json!({ "k": 1 });
    body["stream_options"] = json!({ "include_usage": true, "x_more": 1 });
    let events = ask(&app, &user, &body).stream().await.rest().await;
    let data: Vec<&str> = events.iter().map(|e| e.data.as_str()).collect();
    assert_eq!(data, [odd, empty, chunk("ü").as_str(), "[DONE]"]);
    assert_eq!(upstream.last().body, body.to_string().into_bytes());
}

async fn tells_a_streams_usage_to_those_who_ask(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let usage = usage_chunk(5, 2);
    upstream.on("m", Script::data(&[&chunk("hi"), &usage, "[DONE]"]));
    let options = [
        (Value::Null, false),
        (json!({ "include_usage": false }), false),
        (json!({ "x_own": 1 }), false),
        (json!({ "include_usage": true }), true),
    ];
    for (options, wanted) in options {
        let mut body = streamed("m");
        if !options.is_null() {
            body["stream_options"] = options.clone();
        }
        let mut stream = ask(&app, &user, &body).stream().await;
        let events = stream.rest().await;
        let data: Vec<&str> = events.iter().map(|e| e.data.as_str()).collect();
        assert_eq!(data.contains(&usage.as_str()), wanted, "{options}: {data:?}");
        // The upstream is always asked, since what was used has to be booked.
        let sent = upstream.last().json();
        assert_eq!(sent["stream_options"]["include_usage"], true, "{sent}");
        assert_eq!(sent["stream_options"]["x_own"], options["x_own"]);
        stream.logged(&["chat.call.ended"]).await;
        let ended = anteroom_tests::logs::of_request(&stream.request_id).remove(0);
        let said = |key: &str| ended.fields[key].clone();
        assert_eq!(
            (said("prompt_tokens"), said("completion_tokens"), said("exact")),
            ("5".into(), "2".into(), "true".into())
        );
    }
    // Without a stream nothing is asked for that the caller does not ask for.
    ask(&app, &user, &question("m")).await;
    assert_eq!(upstream.last().json(), question("m"));
}

async fn lets_tool_calls_pass(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let answer = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Graz\"}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}"#;
    upstream.on("m", Script::json(answer));
    let body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Weather?" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }] }],
        "tools": [{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }],
        "tool_choice": "auto",
    });
    assert_eq!(ask(&app, &user, &body).await.is(200).text(), answer);
    assert_eq!(upstream.last().json(), body);
}

async fn refuses_what_cannot_be_relayed(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let table = [
        (json!({ "messages": messages }), "model"),
        (json!({ "model": "", "messages": messages }), "model"),
        (json!({ "model": 7, "messages": messages }), "model"),
        (json!({ "model": "m" }), "messages"),
        (json!({ "model": "m", "messages": [] }), "messages"),
        (json!({ "model": "m", "messages": "hi" }), "messages"),
        (json!({ "model": "m", "messages": messages, "stream": "yes" }), "stream"),
        (json!({ "model": "m", "messages": messages, "n": 17 }), "n"),
        (json!({ "model": "m", "messages": messages, "n": 0 }), "n"),
        (
            json!({ "model": "m", "messages": messages, "max_tokens": -1 }),
            "max_tokens",
        ),
        (
            json!({ "model": "m", "messages": messages, "max_completion_tokens": "x" }),
            "max_completion_tokens",
        ),
        (
            json!({ "model": "m", "messages": messages, "stream_options": 1 }),
            "stream_options",
        ),
    ];
    for (body, param) in table {
        let answer = ask(&app, &user, &body).expect(400).code("invalid_request").await.json();
        assert_eq!(answer["error"]["param"], param, "{answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"model\":\"m\",}",
        "{\"model\":\"m\",\"model\":\"n\",\"messages\":[{}]}",
    ] {
        let ask = app
            .post("/v1/chat/completions")
            .by(&user)
            .header("content-type", "application/json")
            .body(body);
        ask.expect(400).code("invalid_request").await;
    }
    let ask = app
        .post("/v1/chat/completions")
        .by(&user)
        .header("content-type", "text/plain")
        .body(question("m").to_string());
    ask.expect(415).code("unsupported_media_type").await;
    app.post("/v1/chat/completions")
        .json(&question("m"))
        .expect(401)
        .code("unauthenticated")
        .await;
    assert_eq!(upstream.calls().len(), 0);
    assert_eq!(used(&app, &user).await, 0);
}

async fn takes_long_conversations(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let long =
        json!({ "model": "m", "messages": [{ "role": "user", "content": "word ".repeat(400_000) }], "max_tokens": 1 });
    ask(&app, &user, &long).expect(200).events(&["chat.call.ended"]).await;
    assert_eq!(upstream.last().body.len(), long.to_string().len());
    let too_long = json!({ "model": "m", "messages": [{ "role": "user", "content": "x".repeat(10_500_000) }] });
    ask(&app, &user, &too_long).expect(413).code("body_too_large").await;
}

async fn says_that_it_is_there_while_the_model_thinks(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("server.heartbeat_seconds", "1"));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let pause = Step::Pause(Duration::from_millis(2300));
    let script = vec![
        sse(&chunk("Let me think.")),
        pause,
        sse(&chunk(" Done.")),
        sse("[DONE]"),
        Step::End,
    ];
    upstream.on("m", Script::stream(script));
    let surfaces = [
        ("/v1/chat/completions", streamed("m")),
        (
            "/v1/messages",
            json!({ "model": "m", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
    ];
    for (path, body) in &surfaces {
        let mut stream = app.post(path).by(&user).json(body).stream().await;
        let events = stream.rest().await;
        assert_eq!(stream.heartbeats, 2, "{path}: {events:?}");
        assert!(
            events.iter().any(|event| event.data.contains(" Done.")),
            "{path}: {events:?}"
        );
        stream.logged(&["chat.call.ended"]).await;
    }
    // Thought that was not asked for is silence, as often as it comes.
    let thought = r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#;
    let mut script = vec![sse(&chunk("Let me think."))];
    script.extend((0..6).flat_map(|_| [Step::Pause(Duration::from_millis(400)), sse(thought)]));
    script.extend([sse(&chunk(" Done.")), sse("[DONE]"), Step::End]);
    upstream.on("m", Script::stream(script));
    let (path, body) = &surfaces[1];
    let mut stream = app.post(path).by(&user).json(body).stream().await;
    let events = stream.rest().await;
    // On a busy machine it takes longer, and more of them come; were it put off, there would be none.
    assert!(stream.heartbeats >= 2, "{}: {events:?}", stream.heartbeats);
    stream.logged(&["chat.call.ended"]).await;
}

/// Who asks may be written as an address; providers are told a name that says nothing.
async fn tells_the_provider_of_no_client(setup: &Setup) {
    let upstream = Upstream::start().await;
    let providers = ["", "send_user = true", "send_user = false"].iter().enumerate();
    let providers: Vec<String> = providers
        .map(|(number, more)| {
            let comma = if more.is_empty() { "" } else { "," };
            let url = &upstream.url;
            format!(r#"{{ name = "p{number}", kind = "openai", base_url = "{url}"{comma} {more} }}"#)
        })
        .collect();
    let aliases: Vec<String> = (0..3)
        .map(|number| {
            format!(r#"{{ name = "m{number}", targets = [{{ provider = "p{number}", model = "m{number}" }}] }}"#)
        })
        .collect();
    let (providers, aliases) = (format!("[{}]", providers.join(",")), format!("[{}]", aliases.join(",")));
    let app = setup
        .app_with(&[("ai.providers", &providers), ("ai.aliases", &aliases)])
        .await;
    let (ada, eve) = (app.user().await, app.user().await);
    app.buy(&ada, "pro").await;
    app.buy(&eve, "pro").await;
    let sent = async |user: &User, model: &str, named: &str| {
        let text = format!(r#"{{"model":"{model}","a":1.50,{named}"messages":[{{"role":"user","content":"Hi"}}]}}"#);
        let ask = app.post("/v1/chat/completions").by(user);
        ask.header("content-type", "application/json")
            .body(text.clone())
            .await
            .is(200);
        let sent = String::from_utf8(upstream.last().body).unwrap();
        (sent, text)
    };
    let written = r#""user":"ada@example.com","#;
    let (first, text) = sent(&ada, "m0", written).await;
    let name = upstream.last().json()["user"].as_str().unwrap().to_owned();
    assert_eq!(first, text.replace("ada@example.com", &name), "all else is as it was");
    assert!(name.len() == 32 && !name.contains(&ada.id), "{name}");
    assert_eq!(sent(&ada, "m0", written).await.0, first, "it is the same each time");
    assert_ne!(sent(&eve, "m0", written).await.0, first, "accounts are told apart");
    let (none, text) = sent(&ada, "m0", "").await;
    assert_eq!(none, text, "who names nobody is not named");
    sent(&ada, "m1", "").await;
    assert_eq!(upstream.last().json()["user"], name.as_str());
    let (silent, text) = sent(&ada, "m2", written).await;
    assert_eq!(silent, text.replace(written, ""));
    // No other spelling comes through, and the other surfaces have the same name.
    let ask = app.post("/v1/chat/completions").by(&ada);
    let odd = r#"{"model":"m0","User":"ada@example.com","messages":[{"role":"user","content":"Hi"}]}"#;
    ask.header("content-type", "application/json").body(odd).await.is(400);
    let ask = serde_json::json!({ "model": "m0", "max_tokens": 9, "metadata": { "user_id": "ada@example.com" },
        "messages": [{ "role": "user", "content": "Hi" }] });
    app.post("/v1/messages").by(&ada).json(&ask).await.is(200);
    assert_eq!(upstream.last().json()["user"], name.as_str());
    let ask = serde_json::json!({ "model": "m0", "input": "Hi", "user": "ada@example.com" });
    app.post("/v1/embeddings").by(&ada).json(&ask).await.is(200);
    assert_eq!(upstream.last().json()["user"], name.as_str());
    let calls = upstream.calls();
    assert!(
        calls
            .iter()
            .all(|call| !String::from_utf8_lossy(&call.body).contains("example.com"))
    );
}
