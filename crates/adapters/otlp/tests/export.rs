//! What is traced arrives at a collector; one that is away is in nobody's way.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anteroom_otlp::{Exporting, OtlpOptions, Place, SPANS};
use anteroom_testkit::{CollectedSpan, Collector};
use secrecy::SecretString;
use serde_json::json;
use tracing::field::Empty;
use tracing::{Dispatch, info_span};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn open(url: &str, sample_ratio: f64) -> (Dispatch, Exporting) {
    let place = Place {
        kind: "anthropic",
        server: Some(("models.example".to_owned(), 8443)),
    };
    let (spans, exporter) = anteroom_otlp::open(OtlpOptions {
        endpoint: format!("{url}/behind/a/path/").parse().unwrap(),
        headers: vec![("x-key".to_owned(), SecretString::from("k3y"))],
        service_name: "lobby".to_owned(),
        service_version: "9.8.7",
        sample_ratio,
        places: HashMap::from([("far".to_owned(), place)]),
    })
    .unwrap();
    let spans = spans.with_filter(filter_fn(|about| about.target() == SPANS));
    (
        Dispatch::new(tracing_subscriber::registry().with(spans)),
        exporter.start(),
    )
}

/// A request with a call to a model in it, and a span of the log between them.
fn ask(traceparent: Option<&str>) {
    let request = info_span!(target: "anteroom::trace", "http", otel.name = "POST", otel.kind = "server", traceparent, http.route = Empty, http.response.status_code = Empty, ended = Empty);
    request.in_scope(|| {
        let _log = info_span!("request", secret = "only for the log").entered();
        let call = info_span!(target: "anteroom::trace", "model", otel.name = "chat m", otel.kind = "client", anteroom.provider = "far", gen_ai.response.finish_reasons = Empty, gen_ai.usage.input_tokens = Empty, error.type = Empty, ended = Empty);
        call.record("gen_ai.response.finish_reasons", "stop\nlength");
        call.record("gen_ai.usage.input_tokens", 7_i64);
        call.record("error.type", "timeout");
        call.record("ended", true);
        std::thread::sleep(Duration::from_millis(30));
        // It has ended, though it is still held.
        call.record("gen_ai.usage.input_tokens", 8_i64);
    });
    request.record("otel.name", "POST /v1/x");
    request.record("http.route", "/v1/x");
    request.record("http.response.status_code", 200_u16);
}

fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:?}");
    found[0]
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_with_their_attributes_under_their_parents() {
    let collector = Collector::start();
    let (subscriber, exporting) = open(&collector.url, 1.0);
    tracing::dispatcher::with_default(&subscriber, || ask(Some(PARENT)));
    exporting.stop(LONG).await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (request, call) = (named(&spans, "POST /v1/x"), named(&spans, "chat m"));
    assert_eq!((request.kind, call.kind), (2, 3));
    assert_eq!((request.failed, call.failed), (false, true));
    assert_eq!(
        (request.trace.as_str(), request.parent.as_str()),
        (&PARENT[3..35], &PARENT[36..52])
    );
    assert_eq!((&call.trace, &call.parent), (&request.trace, &request.id));
    assert_eq!(
        json!(request.attributes),
        json!({ "http.route": "/v1/x", "http.response.status_code": 200 })
    );
    assert_eq!(
        json!(call.attributes),
        json!({
            "gen_ai.provider.name": "anthropic", "server.address": "models.example", "server.port": 8443,
            "anteroom.provider": "far", "gen_ai.response.finish_reasons": ["stop", "length"],
            "gen_ai.usage.input_tokens": 7, "error.type": "timeout",
        })
    );
    assert_eq!(
        json!(request.resource),
        json!({ "service.name": "lobby", "service.version": "9.8.7" })
    );
    // It ended when that was said, not when it was let go.
    assert!(call.nanoseconds + 25_000_000 < request.nanoseconds, "{spans:?}");
    assert!(!collector.was_sent("only for the log"));
    let (first, headers) = &collector.heads()[0];
    assert_eq!(first, "POST /behind/a/path/v1/traces HTTP/1.1");
    assert_eq!(headers["x-key"], "k3y");
    assert_eq!(headers["content-type"], "application/x-protobuf");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_can_have_a_trace_left_out_but_not_have_one_taken() {
    let left_out = PARENT.replace("-01", "-00");
    for (ratio, traceparent, expected) in [
        (1.0, None, 2),
        (1.0, Some(left_out.as_str()), 0),
        (1.0, Some("no such thing"), 2),
        (0.0, None, 0),
        (0.0, Some(PARENT), 0),
    ] {
        let collector = Collector::start();
        let (subscriber, exporting) = open(&collector.url, ratio);
        tracing::dispatcher::with_default(&subscriber, || ask(traceparent));
        exporting.stop(LONG).await;
        assert_eq!(collector.spans().len(), expected, "{ratio} {traceparent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_holds_nobody_up() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let silent = Collector::start();
    silent.fall_silent();
    for url in [away, silent.url.clone()] {
        let (subscriber, exporting) = open(&url, 1.0);
        let begun = Instant::now();
        tracing::dispatcher::with_default(&subscriber, || {
            // More than there is room for.
            for _ in 0..6000 {
                drop(info_span!(target: "anteroom::trace", "http"));
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(5), "{url}: {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let begun = Instant::now();
        exporting.stop(Duration::from_secs(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{url}: {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_is_sent_in_pieces_that_collectors_take() {
    let collector = Collector::start();
    let (subscriber, exporting) = open(&collector.url, 1.0);
    let text = "x".repeat(1024 * 1024);
    tracing::dispatcher::with_default(&subscriber, || {
        for _ in 0..8 {
            drop(info_span!(target: "anteroom::trace", "model", gen_ai.input.messages = text));
        }
    });
    exporting.stop(LONG).await;
    assert_eq!(collector.spans().len(), 8);
    let heads = collector.heads();
    assert!(heads.len() >= 3, "{heads:?}");
    for (_, headers) in heads {
        let length: usize = headers["content-length"].parse().unwrap();
        assert!(length < 4 * 1024 * 1024, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_gets_what_comes_then() {
    // What it asks to be sent again is; what it refuses is lost.
    for (status, arriving) in [(503, 4), (400, 2)] {
        let collector = Collector::start();
        collector.answer(status);
        let (subscriber, exporting) = open(&collector.url, 1.0);
        tracing::dispatcher::with_default(&subscriber, || ask(None));
        let begun = Instant::now();
        while collector.heads().is_empty() {
            assert!(begun.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        collector.answer(200);
        tracing::dispatcher::with_default(&subscriber, || ask(None));
        exporting.stop(LONG).await;
        assert_eq!(collector.spans().len(), arriving, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_go_nowhere_but_where_the_operator_said() {
    let collector = Collector::start();
    collector.answer(307);
    let (subscriber, exporting) = open(&collector.url, 1.0);
    tracing::dispatcher::with_default(&subscriber, || ask(None));
    exporting.stop(LONG).await;
    let heads = collector.heads();
    assert!(!heads.is_empty());
    assert!(
        heads.iter().all(|(first, _)| first.ends_with("/v1/traces HTTP/1.1")),
        "{heads:?}"
    );
}
