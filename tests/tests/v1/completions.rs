//! `POST /v1/completions`: OpenAI's older completions of a text.

use anteroom_tests::upstream::{chunk, sse};
use anteroom_tests::{Script, Setup, Step, Upstream, on_every_store};
use serde_json::json;

use super::chat::completions::used;

on_every_store![
    answers_whole_and_streamed,
    refuses_what_a_chat_cannot_say,
    tells_of_a_failure_in_the_middle
];

const PATH: &str = "/v1/completions";

async fn answers_whole_and_streamed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let mut body = json!({ "model": "echo", "prompt": "Is anybody there?", "logprobs": 1 });
    let whole = app
        .post(PATH)
        .by(&user)
        .json(&body)
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(whole.header("anteroom-dropped-parameters").as_deref(), Some("logprobs"));
    let answer = whole.json();
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("text_completion"), &json!("echo"))
    );
    assert_eq!(
        answer["choices"],
        json!([{ "text": "Is anybody there?", "index": 0, "logprobs": null, "finish_reason": "stop" }])
    );
    body["stream"] = true.into();
    let events = app.post(PATH).by(&user).json(&body).stream().await.rest().await;
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.data, "[DONE]");
    let text: String = chunks
        .iter()
        .map(|e| e.json()["choices"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text, "Is anybody there?");
    assert_eq!(used(&app, &user).await, 2, "each call is booked once");
}

async fn refuses_what_a_chat_cannot_say(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for (body, code, param) in [
        (
            json!({ "model": "echo", "prompt": ["a", "b"] }),
            "unsupported_parameter",
            "prompt",
        ),
        (
            json!({ "model": "echo", "prompt": "a", "suffix": "b" }),
            "unsupported_parameter",
            "suffix",
        ),
        (json!({ "model": "echo" }), "invalid_request", "prompt"),
        (json!({ "prompt": "a" }), "invalid_request", "model"),
    ] {
        let answer = app
            .post(PATH)
            .by(&user)
            .json(&body)
            .expect(400)
            .code(code)
            .events(&[])
            .await;
        assert_eq!(answer.json()["error"]["param"], param);
    }
    app.post(PATH).json(&json!({})).await.refused(401, "unauthenticated");
    let missing = json!({ "model": "no such model", "prompt": "a" });
    let answer = app
        .post(PATH)
        .by(&user)
        .json(&missing)
        .await
        .refused(403, "model_not_in_plan");
    assert_eq!(answer.json()["error"]["type"], "permission_error");
}

async fn tells_of_a_failure_in_the_middle(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("m")).await;
    let user = app.user().await;
    upstream.on("m", Script::stream(vec![sse(&chunk("so far")), Step::Cut]));
    let body = json!({ "model": "m", "prompt": "a", "stream": true });
    let events = app.post(PATH).by(&user).json(&body).stream().await.rest().await;
    let [first, last] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(first.json()["choices"][0]["text"], "so far");
    assert_eq!(last.json()["error"]["code"], "upstream_unreachable");
}
