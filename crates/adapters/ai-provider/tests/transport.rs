//! Connections: where they go, how long they may take, when they are used again.

use std::time::Duration;

use anteroom_ai_provider::{OpenAiCompatible, OpenAiOptions, Timeouts};
use anteroom_ports::chat::{EmbedCall, ProviderErrorKind, TimeoutStage};
use anteroom_ports::{ChatModel as _, Embedder as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::upstream::{Step, Upstream, data, end, head, json as answer, whole};
use crate::{call, datas, model, options};

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::start(|_| vec![answer(200, "{\"choices\":[]}")]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}/chat/completions\r\n", elsewhere.base_url);
        let upstream = Upstream::start(move |_| vec![whole(status, &location, "")]).await;
        let model = model(&upstream.base_url, "sk-1");
        for failure in [
            model.complete(call("{}")).await.unwrap_err(),
            model.stream(call("{}")).await.err().unwrap(),
            model.models().await.unwrap_err(),
        ] {
            assert_eq!(failure.kind, ProviderErrorKind::Upstream { status });
            assert!(failure.detail.contains("redirect"), "{failure}");
        }
        assert_eq!(upstream.seen().requests.len(), 3);
    }
    assert_eq!(elsewhere.seen().connections, 0);
}

#[tokio::test]
async fn connecting_has_a_time_of_its_own() {
    // It takes the connection and never answers TLS's greeting.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}/v1", listener.local_addr().unwrap());
    let model = OpenAiCompatible::new(OpenAiOptions {
        timeouts: Timeouts {
            connect: Duration::from_millis(200),
            ..crate::PATIENT
        },
        ..options(&base_url, "sk-1")
    });
    let model = model.unwrap();
    let expected = ProviderErrorKind::Timeout(TimeoutStage::Connect);
    assert_eq!(model.complete(call("{}")).await.unwrap_err().kind, expected);
    assert_eq!(model.stream(call("{}")).await.err().unwrap().kind, expected);
    assert_eq!(model.models().await.unwrap_err().kind, expected);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_cannot_be_reached() {
    let model = model("http://no-such-host.invalid/v1", "sk-1");
    let failure = model.complete(call("{}")).await.unwrap_err();
    assert_eq!(failure.kind, ProviderErrorKind::Unreachable);
    assert!(!failure.detail.contains("http://"), "{failure}");
}

#[tokio::test]
async fn a_connection_is_used_again_after_whole_streams() {
    // The end of the body comes after the mark, apart, as it does from most servers. Soon: a busy machine may take longer
    // for it than it is waited for.
    let late_end = vec![
        head(),
        data("{\"choices\":[]}"),
        data("[DONE]"),
        Step::Wait(Duration::from_micros(1)),
        end(),
    ];
    let upstream = Upstream::start(move |_| late_end.clone()).await;
    let model = model(&upstream.base_url, "sk-1");
    for _ in 0..5 {
        assert_eq!(datas(model.stream(call("{}")).await.unwrap()).await.len(), 1);
        // Handing a connection back takes the client a moment.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = upstream.seen();
    assert_eq!((seen.requests.len(), seen.connections), (5, 1));
}

#[tokio::test]
async fn a_connection_that_stays_open_after_the_mark_holds_nobody_up() {
    let open = vec![head(), data("{\"choices\":[]}"), data("[DONE]"), Step::Hang];
    let upstream = Upstream::start(move |_| open.clone()).await;
    let begun = Instant::now();
    let events = model(&upstream.base_url, "sk-1").stream(call("{}")).await.unwrap();
    assert_eq!(datas(events).await.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_beyond_bounds_is_not_read_on() {
    // 17 MiB of answer.
    let piece = Step::Send("x".repeat(1024 * 1024).into());
    let large = "HTTP/1.1 200 OK\r\ncontent-length: 17825792\r\n\r\n";
    let steps = [vec![Step::Send(large.into())], vec![piece; 17]].concat();
    let upstream = Upstream::start(move |_| steps.clone()).await;
    let failure = model(&upstream.base_url, "sk-1")
        .complete(call("{}"))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, ProviderErrorKind::Protocol { error: None });
    assert!(failure.detail.contains("more than"), "{failure}");
}

#[tokio::test]
async fn vectors_may_be_larger_than_an_answer() {
    let many = format!(
        r#"{{"data":[{{"embedding":"{}"}}],"usage":{{"prompt_tokens":3}}}}"#,
        "AAAA".repeat(4 * 1024 * 1024)
    );
    let sent = many.clone();
    let upstream = Upstream::start(move |_| vec![answer(200, &sent)]).await;
    let embed = async |upstream: &Upstream| {
        let asked = call(r#"{"model":"m","input":"x","encoding_format":"base64"}"#);
        let asked = EmbedCall {
            request_id: asked.request_id,
            model: asked.model,
            body: asked.body,
        };
        model(&upstream.base_url, "sk-1").embed(asked).await
    };
    assert!(
        embed(&upstream).await.unwrap().body == many,
        "it arrives as it was sent"
    );
    // Nothing is read of what says that it is larger.
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\n";
    let upstream = Upstream::start(move |_| vec![Step::Send(head.into()), Step::Hang]).await;
    let failure = embed(&upstream).await.unwrap_err();
    assert_eq!(failure.kind, ProviderErrorKind::Protocol { error: None });
}

#[tokio::test]
async fn an_errors_body_may_be_large_slow_or_missing() {
    let endless = Step::Repeat("x".repeat(64 * 1024).into(), Duration::ZERO);
    let begin = |length: &str| Step::Send(format!("HTTP/1.1 503 X\r\n{length}\r\n").into());
    for steps in [
        vec![begin("content-length: 999999999\r\n"), endless],
        vec![begin("content-length: 10\r\n"), Step::Hang],
        vec![begin("content-length: 10\r\n"), Step::Close],
        vec![begin("content-length: 0\r\n")],
    ] {
        let upstream = Upstream::start(move |_| steps.clone()).await;
        let begun = Instant::now();
        let failure = model(&upstream.base_url, "sk-1")
            .complete(call("{}"))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, ProviderErrorKind::Upstream { status: 503 });
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_whole_answer_is_no_stream() {
    let (error, fine) = ("{\"error\":{\"message\":\"no\"}}", "{\"choices\":[]}");
    for (body, message) in [(error, Some("no")), (fine, None)] {
        let upstream = Upstream::start(move |_| vec![answer(200, body)]).await;
        let failure = model(&upstream.base_url, "sk-1")
            .stream(call("{}"))
            .await
            .err()
            .unwrap();
        let ProviderErrorKind::Protocol { error } = failure.kind else {
            panic!("{failure:?}");
        };
        assert_eq!(error.as_ref().and_then(|e| e["message"].as_str()), message);
    }
}
