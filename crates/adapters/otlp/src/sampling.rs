//! Which traces are exported.

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// A share of all traces, whole ones. Who calls can have a trace left out, but not have one taken: everybody may call, and
/// a flag in a header is no reason to send the collector more than the operator wants.
#[derive(Debug, Clone)]
pub(crate) struct Share(Sampler);

impl Share {
    pub(crate) fn of(ratio: f64) -> Self {
        Self(Sampler::TraceIdRatioBased(ratio))
    }
}

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let above = parent.map(|parent| parent.span().span_context().clone());
        match above.filter(SpanContext::is_valid) {
            Some(above) if !above.is_sampled() => SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: above.trace_state().clone(),
            },
            Some(above) if !above.is_remote() => SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: above.trace_state().clone(),
            },
            _ => self.0.should_sample(parent, trace_id, name, kind, attributes, links),
        }
    }
}
