//! `POST /v1/responses`: OpenAI's Responses API, without a memory.

use std::time::Duration;

use anteroom_tests::upstream::{chunk, completion, sse, usage_chunk};
use anteroom_tests::{Ask, Script, Setup, Sse, Step, TestApp, Upstream, User, eventually, logs, on_every_store};
use serde_json::{Value, json};

use super::chat::completions::{plans_with_limit, used};

on_every_store![
    answers_whole_and_streamed,
    says_a_request_as_a_chat_completion,
    lets_tools_be_called_and_answered,
    refuses_what_needs_a_memory,
    refuses_in_openais_envelope,
    keeps_to_plan_and_limit,
    passes_on_why_a_request_was_refused,
    tells_of_a_failure_in_the_middle,
    hangs_up_when_nobody_listens,
];

const PATH: &str = "/v1/responses";

fn question(model: &str) -> Value {
    json!({ "model": model, "input": "What is an anteroom?" })
}

fn streamed(model: &str) -> Value {
    let mut question = question(model);
    question["stream"] = true.into();
    question
}

fn ask(app: &TestApp, user: &User, body: &Value) -> Ask {
    app.post(PATH).by(user).json(body)
}

fn text(events: &[Sse]) -> String {
    let delta = |e: &&Sse| e.name.as_deref() == Some("response.output_text.delta");
    events
        .iter()
        .filter(delta)
        .map(|e| e.json()["delta"].as_str().unwrap().to_owned())
        .collect()
}

async fn answers_whole_and_streamed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let mut body = question("echo");
    body["metadata"] = json!({ "k": "v" });
    body["store"] = true.into();
    let whole = ask(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
    assert_eq!(whole.header("anteroom-dropped-parameters"), None);
    let response = whole.json();
    let id = whole.request_id().replace('-', "");
    assert_eq!(
        (&response["id"], &response["object"]),
        (&json!(format!("resp_{id}")), &json!("response"))
    );
    assert_eq!(
        (&response["status"], &response["store"], &response["metadata"]),
        (&json!("completed"), &json!(false), &json!({ "k": "v" }))
    );
    assert_eq!(response["output"][0]["content"][0]["text"], "What is an anteroom?");
    assert_eq!(
        (&response["usage"]["input_tokens"], &response["usage"]["total_tokens"]),
        (&json!(4), &json!(8))
    );
    let mut stream = ask(&app, &user, &streamed("echo")).stream().await;
    let events = stream.rest().await;
    assert_eq!(text(&events), "What is an anteroom?");
    let (first, last) = (events.first().unwrap(), events.last().unwrap());
    assert_eq!(
        (first.name.as_deref(), last.name.as_deref()),
        (Some("response.created"), Some("response.completed"))
    );
    for (number, event) in events.iter().enumerate() {
        let data = event.json();
        assert_eq!(
            (data["type"].as_str(), data["sequence_number"].as_u64()),
            (event.name.as_deref(), Some(number as u64))
        );
    }
    let response = &last.json()["response"];
    assert_eq!(response["output"][0]["content"][0]["text"], "What is an anteroom?");
    assert_eq!(response["usage"]["total_tokens"], 8);
    stream.logged(&["chat.call.ended"]).await;
    assert_eq!(used(&app, &user).await, 2, "each call is booked once");
    let mut short = question("echo");
    short["max_output_tokens"] = 2.into();
    let cut = ask(&app, &user, &short).await.is(200).json();
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]),
        (&json!("incomplete"), &json!({ "reason": "max_output_tokens" }))
    );
}

async fn says_a_request_as_a_chat_completion(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let body = json!({
        "model": "m", "instructions": "Be brief.", "max_output_tokens": 7, "temperature": 0.5, "include": ["message.output_text.logprobs"],
        "text": { "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" }, "strict": true } },
        "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "hi" }] }],
    });
    let answer = ask(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
    assert_eq!(answer.header("anteroom-dropped-parameters").as_deref(), Some("include"));
    assert_eq!(
        upstream.last().json(),
        json!({
            "model": "m", "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }],
            "max_completion_tokens": 7, "temperature": 0.5,
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" }, "strict": true } },
        })
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
    let asked =
        json!({ "choices": [{ "message": { "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" }] });
    upstream.on("m", Script::json(&asked.to_string()));
    let mut body = question("m");
    body["input"] = json!([{ "role": "user", "content": "Rain?" }]);
    body["tools"] =
        json!([{ "type": "function", "name": "weather", "parameters": { "type": "object" }, "strict": false }]);
    let answer = ask(&app, &user, &body).await.is(200).json();
    let item = &answer["output"][0];
    assert_eq!(
        (&item["type"], &item["call_id"], &item["arguments"]),
        (
            &json!("function_call"),
            &json!("call_1"),
            &json!("{\"city\": \"Graz\"}")
        )
    );
    let input = body["input"].as_array_mut().unwrap();
    input.push(item.clone());
    input.push(json!({ "type": "function_call_output", "call_id": "call_1", "output": "rain" }));
    upstream.on("m", Script::json(&completion("It rains.")));
    ask(&app, &user, &body).await.is(200);
    let sent = upstream.last().json();
    assert_eq!(sent["messages"][1]["tool_calls"], json!([call]));
    assert_eq!(
        sent["messages"][2],
        json!({ "role": "tool", "tool_call_id": "call_1", "content": "rain" })
    );
}

async fn refuses_what_needs_a_memory(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for (more, param) in [
        (json!({ "previous_response_id": "resp_1" }), "previous_response_id"),
        (json!({ "conversation": "conv_1" }), "conversation"),
        (json!({ "background": true }), "background"),
        (
            json!({ "input": [{ "type": "item_reference", "id": "msg_1" }] }),
            "input.0.type",
        ),
        (json!({ "tools": [{ "type": "web_search" }] }), "tools.0.type"),
    ] {
        let mut body = question("echo");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ask(&app, &user, &body)
            .expect(400)
            .code("unsupported_parameter")
            .events(&[])
            .await;
        assert_eq!(answer.json()["error"]["param"], param, "{answer:?}");
    }
    assert_eq!(used(&app, &user).await, 0);
    let id = "resp_01890000000070008000000000000000";
    app.get(&format!("{PATH}/{id}"))
        .by(&user)
        .await
        .refused(404, "no_such_route");
}

async fn refuses_in_openais_envelope(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let json = |body: &str| {
        app.post(PATH)
            .by(&user)
            .header("content-type", "application/json")
            .body(body)
    };
    let mine = |answer: anteroom_tests::Answer, kind: &str| {
        assert_eq!(answer.json()["error"]["type"], kind, "{answer:?}");
        assert_eq!(answer.json()["error"]["request_id"], answer.request_id());
    };
    mine(json("{").await.refused(400, "invalid_request"), "invalid_request_error");
    mine(
        json("{\"model\":\"echo\"}").await.refused(400, "invalid_request"),
        "invalid_request_error",
    );
    mine(
        app.post(PATH)
            .by(&user)
            .body("{}")
            .await
            .refused(415, "unsupported_media_type"),
        "invalid_request_error",
    );
    mine(
        json(&" ".repeat(40_000_000)).await.refused(413, "body_too_large"),
        "invalid_request_error",
    );
    mine(
        app.get(PATH).by(&user).await.refused(405, "method_not_allowed"),
        "invalid_request_error",
    );
    let stranger = app.post(PATH).json(&question("echo")).await;
    mine(stranger.refused(401, "unauthenticated"), "authentication_error");
    // Only Anthropic's paths know its header.
    let key = app
        .post(PATH)
        .header("x-api-key", &user.access_token)
        .json(&question("echo"));
    key.await.refused(401, "unauthenticated");
}

async fn keeps_to_plan_and_limit(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = plans_with_limit(2);
    let mut settings = upstream.settings("small,large").to_vec();
    settings.push(("billing.plans", &plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    for body in [question("large"), streamed("large")] {
        ask(&app, &user, &body)
            .expect(403)
            .code("model_not_in_plan")
            .events(&[])
            .await;
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
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["limit"], &error["used"], &error["type"]),
            (&json!(2), &json!(2), &json!("insufficient_quota"))
        );
    }
    assert_eq!(upstream.calls().len(), 2);
}

async fn passes_on_why_a_request_was_refused(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let failed = ["chat.call.failed", "chat.call.ended", "request.failed"];
    let refusal =
        r#"{"error":{"message":"too hot","type":"invalid_request_error","param":"temperature","code":"too_hot"}}"#;
    for (theirs, ours, code) in [
        (400, 400, "too_hot"),
        (429, 429, "upstream_rate_limited"),
        (500, 502, "upstream_error"),
    ] {
        upstream.on(
            "m",
            Script::answer(theirs, &[("content-type", "application/json")], refusal),
        );
        for body in [question("m"), streamed("m")] {
            ask(&app, &user, &body).expect(ours).code(code).events(&failed).await;
        }
    }
    assert_eq!(used(&app, &user).await, 0);
}

async fn tells_of_a_failure_in_the_middle(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let theirs = r#"{"error":{"message":"the model fell over","type":"server_error","code":"overloaded"}}"#;
    for (end, code) in [
        (vec![sse(theirs), Step::End], "overloaded"),
        (vec![Step::Cut], "upstream_unreachable"),
    ] {
        let mut steps = vec![sse(&chunk("so ")), sse(&chunk("far"))];
        steps.extend(end);
        upstream.on("m", Script::stream(steps));
        let mut stream = ask(&app, &user, &streamed("m")).stream().await;
        let events = stream.rest().await;
        assert_eq!(text(&events), "so far");
        let [.., error, failed] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (failed.name.as_deref(), error.name.as_deref()),
            (Some("response.failed"), Some("error"))
        );
        let response = &failed.json()["response"];
        assert_eq!(
            (&response["status"], &response["error"]["code"]),
            (&json!("failed"), &json!(code))
        );
        assert_eq!(response["output"][0]["content"][0]["text"], "so far");
        assert_eq!(error.json()["error"]["code"], code);
        stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    }
    assert_eq!(used(&app, &user).await, 2, "what brought something counts");
}

async fn hangs_up_when_nobody_listens(setup: &Setup) {
    let upstream = Upstream::start().await;
    let model = format!("responses-nobody-reads-{:?}", setup.kind());
    let app = setup.app_with(&upstream.settings(&model)).await;
    let user = app.user().await;
    let drip = || [sse(&chunk("word ")), Step::Pause(Duration::from_millis(50))];
    upstream.on(&model, Script::stream((0..10_000).flat_map(|_| drip()).collect()));
    let mut stream = ask(&app, &user, &streamed(&model)).stream().await;
    stream.next().await.unwrap();
    drop(stream);
    let took = upstream.hung_up().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let outcome = eventually("the call is booked", || {
        let ended = logs::about("chat.call.ended", &model);
        ended.last().map(|e| e.fields["outcome"].clone())
    })
    .await;
    assert_eq!(outcome, "cancelled");
    assert_eq!(used(&app, &user).await, 1, "what has begun counts");
}
