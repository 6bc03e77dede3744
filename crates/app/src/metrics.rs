//! Prometheus metrics, on a listener of their own so that they are never public by accident.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// The recorder is the process's; several servers in one process (tests) share it.
fn recorder() -> anyhow::Result<&'static PrometheusHandle> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = RECORDER.get() {
        return Ok(handle);
    }
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
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
