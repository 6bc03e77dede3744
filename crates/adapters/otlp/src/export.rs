//! From a span's end to the collector: a bounded queue, and a task that sends what is in it. Whoever ends a span waits for
//! nothing: where the queue is full the span is dropped, and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, TracerProvider as _};
use opentelemetry::{KeyValue, Value};
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
/// The most bytes of texts that wait; only what is said to models and answered ever comes near.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// From so many bytes of texts on no more is sent at once: collectors refuse what is too large, whole.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How long others are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts spans that have ended into the queue.
#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    /// How many bytes of texts wait.
    bytes: Arc<AtomicUsize>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if !SpanContext::is_sampled(&span.span_context) {
            return;
        }
        let size = texts(&span);
        let waiting = self.bytes.fetch_add(size, Ordering::Relaxed);
        if waiting + size > QUEUE_BYTES || self.spans.try_send(span).is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
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

/// How many bytes of texts a span has.
fn texts(span: &SpanData) -> usize {
    let size = |it: &KeyValue| match &it.value {
        Value::String(text) => text.as_str().len(),
        _ => 0,
    };
    span.attributes.iter().map(size).sum()
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
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        spans: queue,
        bytes: Arc::clone(&bytes),
    };
    let provider = SdkTracerProvider::builder()
        .with_sampler(Share::of(options.sample_ratio))
        .with_resource(resource)
        .with_span_processor(queue)
        .build();
    let exporter = Exporter {
        exporter,
        waiting,
        bytes,
        provider: provider.clone(),
        away: false,
    };
    Ok((provider.tracer("anteroom"), exporter))
}

/// Takes spans to the collector.
pub struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    /// How many bytes of texts wait.
    bytes: Arc<AtomicUsize>,
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
        let mut batch = Batch::default();
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                _ = &mut stopped => stopping = true,
                received = self.waiting.recv() => match received {
                    Some(span) => self.take(span, &mut batch),
                    None => return,
                },
            }
            self.fill(&mut batch);
            if !stopping && !batch.is_full() {
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

    fn take(&self, span: SpanData, batch: &mut Batch) {
        let size = texts(&span);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
        batch.bytes += size;
        batch.spans.push(span);
    }

    /// Takes what waits, as far as there is room. Answers whether there is anything to send.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        while !batch.is_full()
            && let Ok(span) = self.waiting.try_recv()
        {
            self.take(span, batch);
        }
        !batch.spans.is_empty()
    }

    /// Sends once. What the collector does not take is lost: to keep it would only fill the queue with what is old.
    async fn send(&mut self, batch: &mut Batch) {
        let batch = std::mem::take(batch).spans;
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        let sent = tokio::time::timeout(PATIENCE, self.exporter.export(batch)).await;
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

/// Spans that are sent at once.
#[derive(Default)]
struct Batch {
    spans: Vec<SpanData>,
    /// How many bytes of texts they have.
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.spans.len() >= BATCH || self.bytes >= BATCH_BYTES
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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span as _, Tracer as _};

    use super::*;

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let (spans, mut waiting) = mpsc::channel(QUEUE);
        let bytes = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            spans,
            bytes: Arc::clone(&bytes),
        };
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer("anteroom");
        let end_one_of = |size: usize| {
            let mut span = tracer.start("x");
            span.set_attribute(KeyValue::new("text", "x".repeat(size)));
            span.end();
        };
        let mib = 1024 * 1024;
        for _ in 0..40 {
            end_one_of(mib);
        }
        // What is small still has no room, then; and has when something has left.
        end_one_of(1);
        let mut arrived = 0;
        while let Ok(span) = waiting.try_recv() {
            bytes.fetch_sub(texts(&span), Ordering::Relaxed);
            arrived += 1;
        }
        assert_eq!((arrived, bytes.load(Ordering::Relaxed)), (QUEUE_BYTES / mib, 0));
        end_one_of(1);
        assert!(waiting.try_recv().is_ok());
    }
}
