//! Bytes travel both ways as they came.

use anteroom_ai_provider::{AzureOptions, OpenAiCompatible, OpenAiOptions};
use anteroom_ports::chat::{ChatCall, EmbedCall};
use anteroom_ports::{ChatModel as _, Embedder as _};
use serde_json::json;

use crate::upstream::{Upstream, body, data, end, head, json as answer};
use crate::{call, datas, model, options};

/// An object that no typed view would give back the same: odd numbers, order, spaces, fields of nobody.
const ODD: &str = "{ \"temperature\" : 1.50,\t\"z\":[1e3, 12345678901234567890 ],\n \"a\":{\"x_custom\":null},\"u\":\"\\u00e4ä\",\"choices\":[{\"finish_reason\":\"eos\",\"index\":0,\"message\":{\"content\":\"hi\",\"x\":1.0}}] }";

#[tokio::test]
async fn a_request_and_its_answer_travel_untouched() {
    let upstream = Upstream::start(|_| vec![answer(200, ODD)]).await;
    let reply = model(&upstream.base_url, "sk-1").complete(call(ODD)).await.unwrap();
    assert_eq!(reply.body, ODD);
    assert_eq!(reply.text, "hi");
    let seen = upstream.seen();
    let request = &seen.requests[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(request.body, ODD.as_bytes());
    assert_eq!(request.header("authorization"), Some("Bearer sk-1"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert!(request.header("user-agent").unwrap().starts_with("anteroom/"));
    // No more than that: nothing of the machine, the environment or another library's taste.
    let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn chunks_travel_untouched_and_in_order() {
    let one_line = ODD.replace('\n', "");
    let sent: Vec<String> = (0..200).map(|n| one_line.replace("1.50", &format!("{n}.50"))).collect();
    let steps = [
        vec![head()],
        sent.iter().map(|chunk| data(chunk)).collect(),
        vec![data("[DONE]"), end()],
    ];
    let upstream = Upstream::start(move |_| steps.concat()).await;
    let events = model(&upstream.base_url, "sk-1").stream(call(ODD)).await.unwrap();
    assert_eq!(datas(events).await, sent);
    let seen = upstream.seen();
    assert_eq!(seen.requests[0].body, ODD.as_bytes());
    assert_eq!(seen.requests[0].header("accept"), Some("text/event-stream"));
}

#[tokio::test]
async fn what_is_no_data_is_passed_over() {
    let text = "\u{feff}: OPENROUTER PROCESSING\n\nretry: 5\nid: 7\ndata: {\"choices\":[ ]}\r\n\r\n\
        event: keepalive\ndata: {}\n\ndata:\n\ndata:{\"a\":\ndata: 1.50}\n\nevent: x\ndata: {\"b\":2}\n\ndata: [DONE]";
    for size in [1, 7, text.len()] {
        let mut steps = vec![head()];
        // Cut anywhere, also within a character, as networks do.
        for piece in text.as_bytes().chunks(size) {
            let mut step = format!("{:x}\r\n", piece.len()).into_bytes();
            step.extend_from_slice(piece);
            step.extend_from_slice(b"\r\n");
            steps.push(crate::upstream::Step::Send(step));
        }
        steps.push(end());
        let upstream = Upstream::start(move |_| steps.clone()).await;
        let events = model(&upstream.base_url, "sk-1").stream(call("{}")).await.unwrap();
        let expected = ["{\"choices\":[ ]}", "{\"a\":\n1.50}", "{\"b\":2}"];
        assert_eq!(datas(events).await, expected, "in pieces of {size}");
    }
}

#[tokio::test]
async fn models_are_listed_in_whatever_shape() {
    let openai = json!({ "object": "list", "data": [
        { "id": "a", "object": "model", "created": 1_700_000_000, "owned_by": "them", "new": true },
        { "id": "b" },
        { "id": "c", "created": 1.5, "owned_by": null },
        { "name": "not this" },
        7,
    ] });
    let bare = openai["data"].clone();
    for listed in [openai, bare] {
        let upstream = Upstream::start(move |_| vec![answer(200, &listed.to_string())]).await;
        let models = model(&upstream.base_url, "sk-1").models().await.unwrap();
        let models: Vec<_> = models
            .iter()
            .map(|m| (m.id.as_str(), m.owned_by.as_str(), m.created))
            .collect();
        assert_eq!(
            models,
            [("a", "them", 1_700_000_000), ("b", "unknown", 0), ("c", "unknown", 0)]
        );
        let seen = upstream.seen();
        let request = &seen.requests[0];
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/models"));
        assert_eq!(request.header("authorization"), Some("Bearer sk-1"));
    }
    for listed in ["{}", "{\"data\":{}}", "\"models\"", "null", "[", ""] {
        let upstream = Upstream::start(move |_| vec![answer(200, listed)]).await;
        assert!(model(&upstream.base_url, "sk-1").models().await.is_err(), "{listed}");
    }
}

#[tokio::test]
async fn a_base_urls_path_and_query_are_kept_and_no_key_is_no_header() {
    let upstream = Upstream::start(|_| vec![answer(200, "{\"choices\":[],\"data\":[]}")]).await;
    let base_url = format!("{}/deployments/x/?api-version=1", upstream.base_url);
    let model = model(&base_url, "");
    model.complete(call("{}")).await.unwrap();
    model.models().await.unwrap();
    let seen = upstream.seen();
    let paths: Vec<_> = seen.requests.iter().map(|r| r.path.as_str()).collect();
    let expected = [
        "/v1/deployments/x/chat/completions?api-version=1",
        "/v1/deployments/x/models?api-version=1",
    ];
    assert_eq!(paths, expected);
    assert!(seen.requests.iter().all(|r| r.header("authorization").is_none()));
}

#[tokio::test]
async fn a_stream_may_be_of_nothing() {
    let upstream = Upstream::start(|_| vec![head(), body("data: [DONE]\n\n"), end()]).await;
    let events = model(&upstream.base_url, "sk-1").stream(call("{}")).await.unwrap();
    assert!(datas(events).await.is_empty());
}

#[tokio::test]
async fn vectors_are_asked_for_and_handed_on_untouched() {
    const VECTORS: &str =
        "{ \"x\":1.50,\"data\":[ {\"embedding\":[ 1e-3 ]}], \"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}";
    let upstream = Upstream::start(|_| vec![answer(200, VECTORS)]).await;
    let plain = call(ODD);
    let asked = EmbedCall {
        request_id: plain.request_id,
        model: plain.model,
        body: plain.body,
    };
    let reply = model(&upstream.base_url, "sk-1").embed(asked).await.unwrap();
    assert_eq!(reply.body, VECTORS);
    assert_eq!(reply.usage.unwrap().prompt_tokens, 3);
    let seen = upstream.seen();
    assert_eq!(seen.requests[0].path, "/v1/embeddings");
    assert_eq!(seen.requests[0].body, ODD.as_bytes());
}

#[tokio::test]
async fn azure_gets_its_header_and_its_addresses() {
    let upstream = Upstream::start(|_| vec![answer(200, "{\"choices\":[],\"data\":[]}")]).await;
    for (api_version, chat, models) in [
        (None, "/v1/chat/completions", "/v1/models"),
        (
            Some("2024-10-21"),
            "/v1/deployments/a%2Fb/chat/completions?api-version=2024-10-21",
            "/v1/models?api-version=2024-10-21",
        ),
    ] {
        let azure = AzureOptions {
            api_version: api_version.map(str::to_owned),
        };
        let model = OpenAiCompatible::new(OpenAiOptions {
            azure: Some(azure),
            ..options(&upstream.base_url, "key-1")
        })
        .unwrap();
        let asked = ChatCall {
            model: "a/b".to_owned(),
            ..call("{}")
        };
        model.complete(asked).await.unwrap();
        model.models().await.unwrap();
        let mut seen = upstream.seen();
        let paths: Vec<_> = seen.requests.iter().map(|r| r.path.as_str()).collect();
        assert_eq!(paths, [chat, models]);
        for request in &seen.requests {
            assert_eq!(request.header("api-key"), Some("key-1"));
            assert_eq!(request.header("authorization"), None);
        }
        seen.requests.clear();
    }
}
