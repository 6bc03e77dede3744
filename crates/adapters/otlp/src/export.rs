//! From a span's end to the collector: a bounded queue, and a task that sends what is in it. Whoever ends a span waits for
//! nothing: where the queue is full the span is dropped, and counted.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, TracerProvider as _};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use secrecy::ExposeSecret as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::sampling::Share;
use crate::{OtlpError, OtlpOptions};

/// The metric that counts spans, by what became of them.
pub const SPANS_COUNTED: &str = "anteroom_telemetry_spans_total";

/// Spans that wait; a few seconds of a busy node.
const QUEUE: usize = 4096;
/// The most that are sent at once.
const BATCH: usize = 512;
/// How long others are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts spans that have ended into the queue.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if SpanContext::is_sampled(&span.span_context) && self.0.try_send(span).is_err() {
            count("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn count(outcome: &'static str, spans: usize) {
    let spans = u64::try_from(spans).unwrap_or(u64::MAX);
    metrics::counter!(SPANS_COUNTED, "outcome" => outcome).increment(spans);
}

pub(crate) fn open(options: &OtlpOptions) -> Result<(SdkTracer, Exporter), OtlpError> {
    let said = options.headers.iter();
    let headers: HashMap<String, String> = said
        .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
        .collect();
    // Headers may hold a key: they go where the operator said, and nowhere else.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()?;
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", options.endpoint.as_str().trim_end_matches('/')))
        .with_timeout(PATIENCE)
        .with_headers(headers)
        .build()?;
    // Not what the process' variables say besides: the configuration is the only source.
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", options.service_name.clone()),
            KeyValue::new("service.version", options.service_version),
        ])
        .build();
    exporter.set_resource(&resource);
    let (queue, waiting) = mpsc::channel(QUEUE);
    let provider = SdkTracerProvider::builder()
        .with_sampler(Share::of(options.sample_ratio))
        .with_resource(resource)
        .with_span_processor(Queue(queue))
        .build();
    let exporter = Exporter {
        exporter,
        waiting,
        provider: provider.clone(),
        away: false,
    };
    Ok((provider.tracer("anteroom"), exporter))
}

/// Takes spans to the collector.
pub struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    /// Spans are made only as long as somebody holds it.
    provider: SdkTracerProvider,
    away: bool,
}

impl Exporter {
    /// Starts, on the runtime that it is called on.
    pub fn start(self) -> Exporting {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(self.run(stopped));
        Exporting { stop, task }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                _ = &mut stopped => stopping = true,
                received = self.waiting.recv_many(&mut batch, BATCH) => if received == 0 { return },
            }
            if !stopping && batch.len() < BATCH {
                tokio::select! {
                    _ = &mut stopped => stopping = true,
                    () = tokio::time::sleep(GATHER) => {}
                }
            }
            self.fill(&mut batch);
            self.send(&mut batch).await;
        }
        while self.fill(&mut batch) {
            self.send(&mut batch).await;
        }
        drop(self.provider);
    }

    /// Takes what waits, as far as there is room. Answers whether there is anything to send.
    fn fill(&mut self, batch: &mut Vec<SpanData>) -> bool {
        while batch.len() < BATCH
            && let Ok(span) = self.waiting.try_recv()
        {
            batch.push(span);
        }
        !batch.is_empty()
    }

    /// Sends once. What the collector does not take is lost: to keep it would only fill the queue with what is old.
    async fn send(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        let sent = tokio::time::timeout(PATIENCE, self.exporter.export(std::mem::take(batch))).await;
        match sent {
            Ok(Ok(())) => {
                count("exported", spans);
                if std::mem::take(&mut self.away) {
                    info!(event = "telemetry.collector.recovered");
                }
            }
            Ok(Err(e)) => self.failed(spans, &e.to_string()),
            Err(_) => self.failed(spans, "it took too long"),
        }
    }

    fn failed(&mut self, spans: usize, reason: &str) {
        count("failed", spans);
        if !std::mem::replace(&mut self.away, true) {
            warn!(
                event = "telemetry.collector.away",
                reason, "spans are lost until it is back, and this is said once"
            );
        }
    }
}

/// Spans that are being exported.
pub struct Exporting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what has ended, and ends; for so long at most.
    pub async fn stop(mut self, longest: Duration) {
        let _ = self.stop.send(());
        if tokio::time::timeout(longest, &mut self.task).await.is_err() {
            self.task.abort();
            warn!(
                event = "telemetry.stopped.unsent",
                "the collector did not take the last spans in time"
            );
        }
    }
}
