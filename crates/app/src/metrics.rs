//! Prometheus metrics, on a listener of their own so that they are never public by accident.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::target_metrics::{self, FIRST_CHUNK, FIRST_TOKEN, OPERATION, TOKENS, TOTAL};

/// How long models take is another matter than how long requests do.
const ANSWER_SECONDS: [f64; 14] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// As the conventions of OpenTelemetry have it for what a client of generative AI waits for.
const GEN_AI_SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// As they have it for tokens: powers of four.
const GEN_AI_TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// The recorder is the process's; several servers in one process (tests) share it.
fn recorder() -> anyhow::Result<&'static PrometheusHandle> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = RECORDER.get() {
        return Ok(handle);
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(FIRST_TOKEN.to_owned()), &ANSWER_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(TOTAL.to_owned()), &ANSWER_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(OPERATION.to_owned()), &GEN_AI_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(FIRST_CHUNK.to_owned()), &GEN_AI_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(TOKENS.to_owned()), &GEN_AI_TOKENS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        return RECORDER.get().context("another metrics recorder is installed");
    }
    metrics::describe_counter!(
        "anteroom_http_requests_total",
        "Requests answered, by method and class of status."
    );
    metrics::describe_histogram!(
        "anteroom_http_request_seconds",
        "From a request's head to its answer's head."
    );
    metrics::describe_gauge!(
        "anteroom_chat_calls_running",
        "Calls to models that run or are being booked."
    );
    target_metrics::describe();
    metrics::describe_counter!(
        "anteroom_chat_moderation_findings_total",
        "What moderation found, by moderator, direction and consequence."
    );
    metrics::describe_counter!(
        "anteroom_chat_moderation_failures_total",
        "Texts that the moderator could not look at."
    );
    metrics::describe_counter!(anteroom_otlp::SPANS_COUNTED, "Spans of traces, by what became of them.");
    metrics::describe_counter!(
        "anteroom_chat_cache_lookups_total",
        "Requests that a kept answer was looked for, by whether there was one."
    );
    Ok(RECORDER.get_or_init(|| handle))
}

/// Serves `/metrics` on a listener until the handle is stopped.
pub fn serve(listener: TcpListener) -> anyhow::Result<ServerHandle> {
    let handle = recorder()?;
    // Histograms grow until they are drained, whether or not anybody scrapes.
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            handle.run_upkeep();
        }
    });
    let server = HttpServer::new(move || {
        let text = move || async move {
            HttpResponse::Ok()
                .content_type("text/plain; version=0.0.4")
                .body(handle.render())
        };
        App::new().route("/metrics", web::get().to(text))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let control = server.handle();
    tokio::spawn(server);
    Ok(control)
}
