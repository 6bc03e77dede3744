//! Spans of `tracing` as spans of OpenTelemetry.
//!
//! Fields become attributes of the same name; `gen_ai.response.finish_reasons` a list of its lines. These are meant otherwise: `otel.name` is the span's name, `otel.kind` what
//! it is, `traceparent` (W3C Trace Context) what it belongs to, `ended` its end, though it may be held longer;
//! `anteroom.provider` names a provider, of which the conventions want to know more. `error.type` makes it a failed one.

use std::collections::HashMap;
use std::fmt;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use crate::Place;

/// Turns spans into OpenTelemetry's. Filter it to the target [`crate::SPANS`].
pub struct SpanLayer {
    tracer: SdkTracer,
    places: HashMap<String, Place>,
}

/// The span that stands for one of `tracing`'s.
struct Exported(Span);

/// What fields say.
#[derive(Default)]
struct Said {
    attributes: Vec<KeyValue>,
    name: Option<String>,
    parent: Option<SpanContext>,
    kind: Option<SpanKind>,
    provider: Option<String>,
    failed: bool,
    ended: bool,
}

impl SpanLayer {
    pub(crate) fn new(tracer: SdkTracer, places: HashMap<String, Place>) -> Self {
        Self { tracer, places }
    }

    /// The attributes, with what is known of the provider.
    fn attributes(&self, said: &mut Said) -> Vec<KeyValue> {
        let mut attributes = std::mem::take(&mut said.attributes);
        if let Some(name) = said.provider.take() {
            let place = self.places.get(&name);
            let kind = place.map_or_else(|| name.clone(), |place| place.kind.to_owned());
            attributes.push(KeyValue::new("gen_ai.provider.name", kind));
            if let Some((host, port)) = place.and_then(|place| place.server.clone()) {
                attributes.push(KeyValue::new("server.address", host));
                attributes.push(KeyValue::new("server.port", i64::from(port)));
            }
            attributes.push(KeyValue::new("anteroom.provider", name));
        }
        attributes
    }
}

impl<S> layer::Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        let mut above = said.parent.take();
        let mut ancestor = span.parent();
        while let (None, Some(next)) = (&above, ancestor) {
            above = next
                .extensions()
                .get::<Exported>()
                .map(|it| it.0.span_context().clone());
            ancestor = next.parent();
        }
        let parent = above.map_or_else(Context::new, |above| Context::new().with_remote_span_context(above));
        let name = said
            .name
            .take()
            .unwrap_or_else(|| attributes.metadata().name().to_owned());
        let mut builder = SpanBuilder::from_name(name).with_kind(said.kind.take().unwrap_or(SpanKind::Internal));
        builder.attributes = Some(self.attributes(&mut said));
        let begun = self.tracer.build_with_context(builder, &parent);
        span.extensions_mut().insert(Exported(begun));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(Exported(begun)) = extensions.get_mut::<Exported>() else {
            return;
        };
        let mut said = Said::default();
        values.record(&mut said);
        if let Some(name) = said.name.take() {
            begun.update_name(name);
        }
        begun.set_attributes(self.attributes(&mut said));
        if said.failed {
            begun.set_status(Status::error(""));
        }
        if said.ended {
            begun.end();
        }
    }

    fn on_close(&self, id: Id, context: layer::Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(Exported(begun)) = span.extensions_mut().get_mut::<Exported>() {
            // One that has ended stays as it ended.
            begun.end();
        }
    }
}

impl Said {
    fn attribute(&mut self, field: &Field, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attribute(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attribute(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attribute(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "ended" => self.ended = value,
            _ => self.attribute(field, value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "otel.name" => self.name = Some(value.to_owned()),
            "otel.kind" => {
                self.kind = match value {
                    "server" => Some(SpanKind::Server),
                    "client" => Some(SpanKind::Client),
                    _ => None,
                };
            }
            "traceparent" => self.parent = remote(value),
            "anteroom.provider" => self.provider = Some(value.to_owned()),
            "gen_ai.response.finish_reasons" => {
                let lines = value.lines().map(|line| StringValue::from(line.to_owned()));
                self.attribute(field, Value::Array(Array::String(lines.collect())));
            }
            name => {
                self.failed |= name == "error.type";
                self.attribute(field, value.to_owned());
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// What a `traceparent` header names; nothing, if it cannot be read (W3C Trace Context, 3.2.2: then a trace begins anew).
fn remote(header: &str) -> Option<SpanContext> {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = header.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // What later versions add comes after it.
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !(known && hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let above = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    above.is_valid().then_some(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_standard_has_it() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for (header, sampled) in [
            (format!("00-{trace}-{span}-01"), true),
            (format!("00-{trace}-{span}-00"), false),
            (format!("00-{trace}-{span}-03"), true),
            (format!("cc-{trace}-{span}-01-what-comes-later"), true),
        ] {
            let above = remote(&header).unwrap();
            assert_eq!(above.trace_id().to_string(), trace, "{header}");
            assert_eq!(above.span_id().to_string(), span, "{header}");
            assert_eq!((above.is_sampled(), above.is_remote()), (sampled, true), "{header}");
        }
        let zeros = "0".repeat(32);
        for header in [
            String::new(),
            "00".to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{zeros}-{span}-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{trace}-{span}-é"),
            format!("00-{trace}0-{span}-01"),
            format!("00-{}+-{span}-01", &trace[1..]),
        ] {
            assert!(remote(&header).is_none(), "{header}");
        }
    }
}
