//! Spans sent to an OpenTelemetry collector, by OTLP over HTTP. The other crates say what happens with `tracing`, under the
//! target [`SPANS`]; here that becomes spans of OpenTelemetry, by its conventions for HTTP and for generative AI.

mod export;
mod layer;
mod sampling;

use std::collections::HashMap;

use secrecy::SecretString;
use url::Url;

pub use export::{Exporter, Exporting, SPANS_COUNTED};
pub use layer::SpanLayer;

/// The target of the spans that are exported.
pub const SPANS: &str = "anteroom::trace";

/// Where spans go, and which.
pub struct OtlpOptions {
    /// The collector's address; `/v1/traces` is added to it.
    pub endpoint: Url,
    /// Headers that are sent along, such as a key.
    pub headers: Vec<(String, SecretString)>,
    /// What this deployment is called.
    pub service_name: String,
    /// The version that runs.
    pub service_version: &'static str,
    /// The share of traces that is exported, from 0 to 1.
    pub sample_ratio: f64,
    /// The providers, by the operator's names for them.
    pub places: HashMap<String, Place>,
}

/// What conventions say of a provider.
#[derive(Debug, Clone)]
pub struct Place {
    /// The kind of provider, as `gen_ai.provider.name` spells it.
    pub kind: &'static str,
    /// Its host and port, if it has any.
    pub server: Option<(String, u16)>,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter cannot be made.
    #[error("the exporter cannot be made: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Makes the two ends: a layer for the subscriber, and what takes its spans away once it is started.
pub fn open(options: OtlpOptions) -> Result<(SpanLayer, Exporter), OtlpError> {
    let (tracer, exporter) = export::open(&options)?;
    Ok((SpanLayer::new(tracer, options.places), exporter))
}
