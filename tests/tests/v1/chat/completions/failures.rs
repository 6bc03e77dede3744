//! What goes wrong upstream, and what callers are told of it.

use std::time::{Duration, Instant};

use anteroom_tests::upstream::{KEY, chunk, completion, sse};
use anteroom_tests::{PATIENCE, Script, Setup, Sse, Step, Upstream, logs, on_every_store};
use serde_json::json;

use super::{ask, question, streamed, used};

on_every_store![
    has_a_status_for_each_failure,
    passes_on_why_a_request_was_refused,
    tells_of_a_failure_in_the_middle,
    takes_no_stream_for_whole_that_is_not,
    waits_no_longer_than_it_was_told,
    waits_no_longer_for_a_connection,
    starts_while_the_upstream_is_away,
    never_shows_the_providers_key,
];

/// What a failed call logs.
const FAILED: [&str; 3] = ["chat.call.failed", "chat.call.ended", "request.failed"];

async fn has_a_status_for_each_failure(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let table = [
        (401, 502, "upstream_auth_failed"),
        (402, 502, "upstream_auth_failed"),
        (403, 502, "upstream_auth_failed"),
        (407, 502, "upstream_auth_failed"),
        (429, 429, "upstream_rate_limited"),
        (500, 502, "upstream_error"),
        (503, 502, "upstream_error"),
        (529, 502, "upstream_error"),
        (302, 502, "upstream_error"),
        (204, 502, "upstream_error"),
    ];
    for (theirs, ours, code) in table {
        let headers = [
            ("content-type", "application/json"),
            ("location", "http://127.0.0.1:1/"),
            ("retry-after", "7"),
        ];
        let body = if theirs == 204 {
            ""
        } else {
            // What is refused with a status costs nothing.
            assert_eq!(used(&app, &user).await, 0);
            r#"{"error":{"message":"no","type":"t","code":"c"}}"#
        };
        upstream.on("m", Script::answer(theirs, &headers, body));
        for body in [question("m"), streamed("m")] {
            let answer = ask(&app, &user, &body).expect(ours).code(code).events(&FAILED).await;
            let retry = (ours == 429).then(|| "7".to_owned());
            assert_eq!(answer.header("retry-after"), retry, "{theirs}: {answer:?}");
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
    for body in ["<html>busy</html>", "", "[]", r#"{"error":{"message":"inside a 200"}}"#] {
        upstream.on("m", Script::json(body));
        for question in [question("m"), streamed("m")] {
            ask(&app, &user, &question)
                .expect(502)
                .code("upstream_error")
                .events(&FAILED)
                .await;
        }
    }
    assert_eq!(used(&app, &user).await, 10, "what may have been worked on is booked");
    // Without a time of their own, callers are asked to wait a second.
    upstream.on("m", Script::answer(429, &[], ""));
    let answer = ask(&app, &user, &question("m"))
        .expect(429)
        .code("upstream_rate_limited")
        .events(&FAILED)
        .await;
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    upstream.on("m", Script::json(&completion("well again")));
    ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(used(&app, &user).await, 11);
}

async fn passes_on_why_a_request_was_refused(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let refusal = json!({ "error": { "message": "too many tokens", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded", "x": 1 } });
    for status in [400, 404, 413, 422] {
        upstream.on(
            "m",
            Script::answer(status, &[("content-type", "application/json")], &refusal.to_string()),
        );
        for body in [question("m"), streamed("m")] {
            let answer = ask(&app, &user, &body).expect(status).events(&FAILED).await.json();
            for member in ["message", "type", "param", "code", "x"] {
                assert_eq!(answer["error"][member], refusal["error"][member], "{status}: {answer}");
            }
        }
    }
    assert_eq!(used(&app, &user).await, 0);
}

/// The text that came before the end, and the error that ended it.
fn broken_off(events: &[Sse]) -> (String, String) {
    let (last, chunks) = events.split_last().unwrap();
    let text = chunks
        .iter()
        .map(|e| e.json()["choices"][0]["delta"]["content"].as_str().unwrap().to_owned())
        .collect();
    let error = last.json()["error"].clone();
    assert!(error["message"].is_string() && error["type"].is_string(), "{last:?}");
    (text, error["code"].as_str().unwrap().to_owned())
}

async fn tells_of_a_failure_in_the_middle(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let error = r#"{"error":{"message":"the model fell over","type":"server_error","code":"overloaded"}}"#;
    upstream.on(
        "m",
        Script::data(&[&chunk("so "), &chunk("far"), error, &chunk("never seen"), "[DONE]"]),
    );
    let mut stream = ask(&app, &user, &streamed("m")).stream().await;
    let events = stream.rest().await;
    assert_eq!(broken_off(&events), ("so far".into(), "overloaded".into()));
    assert_eq!(events.last().unwrap().json()["error"]["message"], "the model fell over");
    stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    let ended = logs::of_request(&stream.request_id)
        .into_iter()
        .find(|e| e.name == "chat.call.ended");
    assert_eq!(ended.unwrap().fields["outcome"], "partial");
    assert_eq!(used(&app, &user).await, 1, "what brought something counts");
    // An error that comes first still has a status.
    upstream.on("m", Script::data(&[error]));
    let answer = ask(&app, &user, &streamed("m"))
        .expect(502)
        .events(&FAILED)
        .await
        .json();
    assert_eq!(answer["error"]["message"], "the model fell over");
    assert_eq!(used(&app, &user).await, 2);
}

async fn takes_no_stream_for_whole_that_is_not(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let unreadable = Step::Chunk(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\n\n".to_vec());
    for end in [vec![Step::End], vec![Step::Cut], vec![unreadable, Step::End]] {
        let cut = matches!(end[..], [Step::Cut]);
        let mut steps = vec![sse(&chunk("half an "))];
        steps.extend(end);
        upstream.on("m", Script::stream(steps));
        let mut stream = ask(&app, &user, &streamed("m")).stream().await;
        let events = stream.rest().await;
        let code = if cut { "upstream_unreachable" } else { "upstream_error" };
        assert_eq!(broken_off(&events), ("half an ".into(), code.into()));
        stream.logged(&["chat.call.failed", "chat.call.ended"]).await;
    }
    upstream.on("m", Script::stream(vec![Step::End]));
    ask(&app, &user, &streamed("m"))
        .expect(502)
        .code("upstream_error")
        .events(&FAILED)
        .await;
    upstream.on("m", Script::new(vec![Step::Cut]));
    for body in [question("m"), streamed("m")] {
        ask(&app, &user, &body)
            .expect(502)
            .code("upstream_unreachable")
            .events(&FAILED)
            .await;
    }
}

async fn waits_no_longer_than_it_was_told(setup: &Setup) {
    let upstream = Upstream::start().await;
    let mut settings = upstream.settings("silent,stalls,drips,slow").to_vec();
    settings.extend([
        ("ai.first_token_timeout_ms", "300"),
        ("ai.idle_timeout_ms", "300"),
        ("ai.total_timeout_ms", "900"),
    ]);
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    upstream.on("silent", Script::new(vec![Step::Hang]));
    upstream.on("slow", Script::stream(vec![Step::Hang]));
    upstream.on("stalls", Script::stream(vec![sse(&chunk("a")), Step::Hang]));
    let drop = || [Step::Pause(Duration::from_millis(150)), sse(&chunk("a"))];
    upstream.on("drips", Script::stream((0..100).flat_map(|_| drop()).collect()));
    for body in [question("silent"), streamed("silent"), streamed("slow")] {
        let begun = Instant::now();
        let answer = ask(&app, &user, &body)
            .expect(504)
            .code("upstream_timeout")
            .events(&FAILED)
            .await;
        assert!(begun.elapsed() < PATIENCE / 2);
        // The provider may have worked on it, and bills that.
        let ended = logs::of_request(&answer.request_id())
            .into_iter()
            .find(|e| e.name == "chat.call.ended");
        let ended = ended.unwrap().fields;
        assert!(ended["prompt_tokens"].parse::<i64>().unwrap() > 0, "{ended:?}");
        assert_eq!(
            (ended["completion_tokens"].as_str(), ended["exact"].as_str()),
            ("0", "false")
        );
        upstream.hung_up().await;
    }
    for model in ["stalls", "drips"] {
        let events = ask(&app, &user, &streamed(model)).stream().await.rest().await;
        let (text, code) = broken_off(&events);
        assert_eq!((&text[..1], code.as_str()), ("a", "upstream_timeout"), "{model}");
        upstream.hung_up().await;
    }
}

async fn waits_no_longer_for_a_connection(setup: &Setup) {
    let (address, _kept) = Upstream::mute_address().await;
    let url = format!("http://{address}/v1");
    let settings = [
        ("ai.openai_base_url", url.as_str()),
        ("ai.models", "m"),
        ("ai.connect_timeout_ms", "400"),
        ("ai.retries", "0"),
    ];
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    for body in [question("m"), streamed("m")] {
        let begun = Instant::now();
        let answer = ask(&app, &user, &body)
            .expect(504)
            .code("upstream_timeout")
            .events(&FAILED)
            .await;
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_millis(390) && waited < Duration::from_secs(4),
            "{waited:?}"
        );
        assert!(answer.text().contains("could not be reached in time"), "{answer:?}");
        assert!(!answer.text().contains(&address), "{answer:?}");
    }
    assert_eq!(used(&app, &user).await, 0, "what brought nothing costs nothing");
}

async fn starts_while_the_upstream_is_away(setup: &Setup) {
    let address = Upstream::free_address().await;
    let url = format!("http://{address}/v1");
    for models in ["m", ""] {
        let app = setup
            .app_with(&[("ai.openai_base_url", &url), ("ai.models", models), ("ai.retries", "0")])
            .await;
        let user = app.user().await;
        let events = if models.is_empty() {
            vec!["models.list.failed", "request.failed"]
        } else {
            FAILED.to_vec()
        };
        for body in [question("m"), streamed("m")] {
            let answer = ask(&app, &user, &body)
                .expect(502)
                .code("upstream_unreachable")
                .events(&events)
                .await;
            assert!(
                !answer.text().contains(&address),
                "addresses inside are nobody's business: {answer:?}"
            );
        }
        app.get("/health/ready").expect(200).await;
    }
    let app = setup.app_with(&[("ai.openai_base_url", &url)]).await;
    let user = app.user().await;
    let upstream = Upstream::start_at(&address).await;
    ask(&app, &user, &question("listed-1"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(upstream.calls().len(), 1);
}

async fn never_shows_the_providers_key(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    let error = json!({ "error": { "message": format!("Incorrect API key provided: {KEY}."), "code": KEY, KEY: KEY, "type": "x" } }).to_string();
    for status in [400, 401, 403, 404, 429, 500, 200] {
        for content_type in ["application/json", "text/plain"] {
            upstream.on(
                "m",
                Script::answer(status, &[("content-type", content_type), ("x-key", KEY)], &error),
            );
            for body in [question("m"), streamed("m")] {
                let answer = ask(&app, &user, &body).await;
                assert!(answer.status >= 400, "{answer:?}");
                assert!(!format!("{answer:?} {:?}", answer.headers).contains(KEY), "{answer:?}");
            }
        }
    }
    upstream.on("m", Script::data(&[&chunk("a"), &error]));
    let events = ask(&app, &user, &streamed("m")).stream().await.rest().await;
    assert_eq!(events.len(), 2);
    assert!(!format!("{events:?}").contains(KEY), "{events:?}");
    assert!(!logs::mention(KEY));
}
