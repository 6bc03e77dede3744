//! Prometheus metrics, on a listener of their own so that they are never public by accident.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anteroom_ports::TargetObserver;
use anteroom_ports::chat::TargetCall;
use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How long models take is another matter than how long requests do.
const ANSWER_SECONDS: [f64; 14] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

const FIRST_TOKEN: &str = "anteroom_chat_target_first_token_seconds";
const TOTAL: &str = "anteroom_chat_target_seconds";
const CALLS: &str = "anteroom_chat_target_calls_total";
const ERRORS: &str = "anteroom_chat_target_errors_total";

/// So many targets are told apart; what is beyond is counted as `other`. Clients cannot name any: only the configuration,
/// admins, and a provider that lists its own.
const MOST_TARGETS: usize = 500;

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
        .set_buckets_for_metric(Matcher::Full(TOTAL.to_owned()), &ANSWER_SECONDS)?;
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
    metrics::describe_counter!(
        CALLS,
        "Calls that a target of a model was asked for, each try counted, by how they ended."
    );
    metrics::describe_counter!(ERRORS, "Failures of a target of a model, by kind.");
    metrics::describe_histogram!(
        FIRST_TOKEN,
        "From asking a target of a model to the first token of a streamed answer."
    );
    metrics::describe_histogram!(TOTAL, "From asking a target of a model to the end of its answer.");
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

/// Counts how the targets of models do.
#[derive(Default)]
pub(crate) struct TargetMetrics {
    targets: Mutex<HashSet<(String, String)>>,
}

impl TargetMetrics {
    /// Whether a target is counted by itself.
    fn is_told_apart(&self, provider: &str, model: &str) -> bool {
        let key = (provider.to_owned(), model.to_owned());
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if targets.contains(&key) {
            return true;
        }
        targets.len() < MOST_TARGETS && targets.insert(key)
    }
}

impl TargetObserver for TargetMetrics {
    fn ended(&self, call: TargetCall<'_>) {
        let (provider, model) = if self.is_told_apart(call.provider, call.model) {
            (call.provider.to_owned(), call.model.to_owned())
        } else {
            ("other".to_owned(), "other".to_owned())
        };
        let labels = [("provider", provider), ("model", model)];
        metrics::histogram!(TOTAL, &labels).record(call.total);
        if let Some(first_token) = call.first_token {
            metrics::histogram!(FIRST_TOKEN, &labels).record(first_token);
        }
        if let Some(kind) = call.failure {
            let [provider, model] = labels.clone();
            metrics::counter!(ERRORS, &[provider, model, ("kind", kind.to_owned())]).increment(1);
        }
        let [provider, model] = labels;
        let outcome = ("outcome", call.outcome.as_str().to_owned());
        metrics::counter!(CALLS, &[provider, model, outcome]).increment(1);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_targets_are_told_apart() {
        let metrics = TargetMetrics::default();
        for number in 0..MOST_TARGETS {
            assert!(metrics.is_told_apart("p", &number.to_string()));
        }
        assert!(!metrics.is_told_apart("p", "one more"));
        assert!(metrics.is_told_apart("p", "0"));
    }
}
