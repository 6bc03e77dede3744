//! Traces, out of the configuration.

use std::collections::HashMap;

use anteroom_otlp::{Exporter, OtlpOptions, Place, SpanLayer};
use anyhow::Context as _;
use url::Url;

use crate::config::{ProviderKind, ProviderSettings, Settings};

/// What makes spans and takes them away, if a collector is set. Connects to nothing yet.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Option<(SpanLayer, Exporter)>> {
    let telemetry = &settings.telemetry;
    let Some(endpoint) = telemetry.otlp_endpoint.clone() else {
        return Ok(None);
    };
    let opened = anteroom_otlp::open(OtlpOptions {
        endpoint,
        headers: telemetry.headers().map_err(anyhow::Error::msg)?,
        service_name: telemetry.service_name.clone(),
        service_version: env!("CARGO_PKG_VERSION"),
        sample_ratio: telemetry.sample_ratio,
        places: places(settings),
    });
    Ok(Some(opened.context("traces cannot be exported")?))
}

/// What the conventions say of the providers, by the operator's names for them.
pub(crate) fn places(settings: &Settings) -> HashMap<String, Place> {
    let providers = settings.model_providers();
    let placed = providers
        .iter()
        .map(|provider| (provider.name.clone(), place(provider)));
    placed.collect()
}

/// What the conventions say of a provider: which API it speaks, and where it is.
fn place(provider: &ProviderSettings) -> Place {
    let (kind, own) = match provider.kind {
        ProviderKind::OpenAi => ("openai", "https://api.openai.com"),
        ProviderKind::Azure => ("azure.ai.openai", ""),
        ProviderKind::Anthropic => ("anthropic", "https://api.anthropic.com"),
        ProviderKind::Gemini => ("gcp.gemini", "https://generativelanguage.googleapis.com"),
        ProviderKind::Echo => ("anteroom.echo", ""),
    };
    let url = provider.base_url.clone().or_else(|| Url::parse(own).ok());
    let server = url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    Place { kind, server }
}
