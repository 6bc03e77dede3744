//! The settings of traces.

use actix_web::http::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::settings::unless_empty;

/// `[telemetry]`: traces, sent to a collector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// The collector; `None`: nothing is traced.
    #[serde(deserialize_with = "unless_empty")]
    pub otlp_endpoint: Option<Url>,
    /// Headers sent along, `name=value,name=value`.
    #[serde(deserialize_with = "unless_empty")]
    pub otlp_headers: Option<SecretString>,
    /// What the traces call this service.
    pub service_name: String,
    /// The share of traces that is sent.
    pub sample_ratio: f64,
    /// Whether traces are told what is said to models and what they answer.
    pub content: bool,
    /// How much of it, in bytes.
    pub content_max_bytes: usize,
}

impl TelemetrySettings {
    /// The most bytes that a span is told of a question, and of an answer; `None`: nothing is.
    pub fn traced_content(&self) -> Option<usize> {
        (self.content && self.otlp_endpoint.is_some()).then_some(self.content_max_bytes)
    }

    /// The headers, each by itself; or which of them, counted from one, is none. Never shows them.
    pub fn headers(&self) -> Result<Vec<(String, SecretString)>, String> {
        let Some(text) = &self.otlp_headers else {
            return Ok(Vec::new());
        };
        let parts = text.expose_secret().split(',').map(str::trim).enumerate();
        parts.filter(|(_, part)| !part.is_empty()).map(header).collect()
    }
}

fn header((at, part): (usize, &str)) -> Result<(String, SecretString), String> {
    let wrong = |what: &str| format!("the header at place {} {what}; write name=value", at + 1);
    let (name, value) = part.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong("has no name that HTTP knows"))?;
    // Percent signs are decoded, and nothing else: a plus stays one.
    let plain = value.trim().replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let value: String = form_urlencoded::parse(plain.as_bytes())
        .map(|(value, _)| value.into_owned())
        .collect();
    if value.is_empty() || HeaderValue::try_from(value.as_str()).is_err() {
        return Err(wrong("has no value that HTTP can carry"));
    }
    Ok((name.as_str().to_owned(), SecretString::from(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let settings = TelemetrySettings {
            otlp_endpoint: None,
            otlp_headers: Some(SecretString::from(text)),
            service_name: "anteroom".to_owned(),
            sample_ratio: 1.0,
            content: false,
            content_max_bytes: 0,
        };
        let shown = |(name, value): (String, SecretString)| (name, value.expose_secret().to_owned());
        Ok(settings.headers()?.into_iter().map(shown).collect())
    }

    #[test]
    fn headers_are_read_as_other_programs_read_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read_well = read("Authorization=Basic%20YWI6Y2Q=, x-key = a+b&c ,").unwrap();
        assert_eq!(
            read_well,
            [pair("authorization", "Basic YWI6Y2Q="), pair("x-key", "a+b&c")]
        );
    }

    #[test]
    fn what_is_no_header_is_named_without_being_shown() {
        for text in ["a=b,s3cret", "a=b,s3cret name=x", "a=b,x=s3cret%0A", "a=b,s3cret="] {
            let message = read(text).unwrap_err();
            assert!(message.contains("place 2") && !message.contains("s3cret"), "{message}");
        }
    }
}
