//! From what a server says when it does not answer to a [`ProviderError`].

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use http::header::{DATE, HeaderMap, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::{Map, Value, json};

use anteroom_ports::chat::{ProviderError, ProviderErrorKind, TimeoutStage};

use super::redact::Redactor;

/// Longest text of a connection's failure that is kept.
const MAX_DETAIL: usize = 300;

/// An answer that is none. The detail is ours, never the server's words, which could repeat the prompt.
pub(crate) fn protocol(detail: impl Into<String>) -> ProviderError {
    ProviderError {
        kind: ProviderErrorKind::Protocol { error: None },
        detail: detail.into(),
    }
}

/// A request that cannot be translated, because it is not what OpenAI's API takes. Nothing was sent.
pub(crate) fn bad_request(param: Option<&str>, message: String) -> ProviderError {
    let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": null });
    ProviderError {
        kind: ProviderErrorKind::BadRequest {
            status: 400,
            error: Some(error),
        },
        detail: message,
    }
}

/// A parameter that the provider has nothing for, and that cannot be left out. Nothing was sent.
pub(crate) fn unsupported(parameter: &str, why: &str) -> ProviderError {
    ProviderError {
        kind: ProviderErrorKind::Unsupported {
            parameter: parameter.to_owned(),
        },
        detail: format!("`{parameter}` cannot be used here: {why}"),
    }
}

/// An error object in a place where an answer was due.
pub(crate) fn in_answer(error: Option<Value>, redactor: &Redactor) -> ProviderError {
    let error = error.map(|e| redactor.json(e));
    let detail = format!("it sent an error instead of an answer{}", words(error.as_ref()));
    ProviderError {
        kind: ProviderErrorKind::Protocol { error },
        detail,
    }
}

/// Time that ran out.
pub(crate) fn timeout(stage: TimeoutStage) -> ProviderError {
    let detail = match stage {
        TimeoutStage::Connect => "no connection in time",
        TimeoutStage::FirstToken => "no first token in time",
        TimeoutStage::Idle => "too long between two chunks",
        TimeoutStage::Total => "no whole answer in time",
    };
    ProviderError {
        kind: ProviderErrorKind::Timeout(stage),
        detail: detail.to_owned(),
    }
}

/// A connection that could not be made or broke. The URL is left out: its query may hold a credential.
pub(crate) fn transport(error: reqwest::Error, redactor: &Redactor) -> ProviderError {
    if error.is_connect() && error.is_timeout() {
        return timeout(TimeoutStage::Connect);
    }
    let kind = if error.is_connect() || error.is_builder() {
        ProviderErrorKind::Unreachable
    } else {
        ProviderErrorKind::Transport
    };
    let error = error.without_url();
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(detail, ": {cause}");
        source = cause.source();
    }
    let detail = redactor.text(&detail).chars().take(MAX_DETAIL).collect();
    ProviderError { kind, detail }
}

/// A status other than success, with what could be read of its body.
pub(crate) fn refusal(status: u16, headers: &HeaderMap, body: &[u8], redactor: &Redactor) -> ProviderError {
    let error = serde_json::from_slice(body).ok().and_then(error_object);
    let error = error.map(|e| redactor.json(e));
    let mut detail = format!("status {status}{}", words(error.as_ref()));
    let kind = match status {
        // 402 (no money left) and 407 (a proxy's password) are about Anteroom's account as well: the operator must
        // act, and the caller must not take them for an answer to its own request.
        401..=403 | 407 => ProviderErrorKind::Auth,
        429 => ProviderErrorKind::RateLimited {
            retry_after: retry_after(headers),
        },
        400..=499 => ProviderErrorKind::BadRequest { status, error },
        _ => {
            if (300..=399).contains(&status) {
                detail.push_str(", a redirect, which is not followed");
            }
            ProviderErrorKind::Upstream { status }
        }
    };
    ProviderError { kind, detail }
}

/// What the log may say of an error object: its type and code, if they are single words. Its message may repeat the
/// prompt.
fn words(error: Option<&Value>) -> String {
    let word = |name: &str| {
        let word = error?.get(name)?;
        let word = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        ((1..=64).contains(&word.len()) && word != "null" && word.chars().all(plain)).then_some(word)
    };
    let words: Vec<String> = ["type", "code"].into_iter().filter_map(word).collect();
    if words.is_empty() {
        return String::new();
    }
    format!(" ({})", words.join(", "))
}

/// Finds the error object in the shapes that servers use: OpenAI's `{"error":{..}}`, the same in a list (Gemini),
/// `{"error":"text"}` (Ollama), the object itself (older vLLM, Mistral) and `{"detail":..}` (FastAPI).
pub(crate) fn error_object(body: Value) -> Option<Value> {
    let mut members = match body {
        Value::Object(members) => members,
        Value::Array(items) => return error_object(items.into_iter().next().filter(Value::is_object)?),
        _ => return None,
    };
    match members.remove("error") {
        Some(Value::Object(error)) => return Some(Value::Object(error)),
        Some(Value::String(message)) => return Some(json!({ "message": message })),
        _ => {}
    }
    if members.get("message").is_some_and(Value::is_string) {
        return Some(Value::Object(members));
    }
    let message = match members.remove("detail")? {
        Value::String(text) => text,
        Value::Null => return None,
        other => other.to_string(),
    };
    Some(Value::Object(Map::from_iter([("message".to_owned(), message.into())])))
}

/// Reads Retry-After (RFC 9110 section 10.2.3): seconds, or a date, which counts from the response's own `Date`, so
/// that a clock that is off does no harm.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.ceil()).ok();
    }
    let parser = DateTimeParser::new();
    let date = parser.parse_timestamp(text).ok()?;
    let now = parser.parse_timestamp(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (pairs, seconds) in [
            (vec![("retry-after", "7")], Some(7)),
            (vec![("retry-after", " 0 ")], Some(0)),
            (vec![("retry-after", "1.2")], Some(2)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT"), date], Some(120)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date], Some(0)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT")], None),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "NaN")], None),
            (vec![("retry-after", "1e300")], None),
            (vec![], None),
        ] {
            assert_eq!(
                retry_after(&headers(&pairs)),
                seconds.map(Duration::from_secs),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn error_objects_of_every_shape_are_found() {
        for (body, expected) in [
            (
                json!({ "error": { "message": "m", "code": 1 } }),
                Some(json!({ "message": "m", "code": 1 })),
            ),
            (
                json!([{ "error": { "message": "m" } }]),
                Some(json!({ "message": "m" })),
            ),
            (json!({ "error": "m" }), Some(json!({ "message": "m" }))),
            (
                json!({ "object": "error", "message": "m", "code": 400 }),
                Some(json!({ "object": "error", "message": "m", "code": 400 })),
            ),
            (json!({ "detail": "m" }), Some(json!({ "message": "m" }))),
            (
                json!({ "detail": [{ "loc": ["a"] }] }),
                Some(json!({ "message": r#"[{"loc":["a"]}]"# })),
            ),
            (json!({ "detail": null }), None),
            (json!({ "error": null }), None),
            (json!({}), None),
            (json!([]), None),
            (json!([[[]]]), None),
            (json!("no"), None),
        ] {
            assert_eq!(error_object(body), expected);
        }
    }

    #[test]
    fn statuses_become_kinds() {
        let redactor = Redactor::new("sk-canary".into());
        let body = br#"{"error":{"message":"key sk-canary, prompt: hello","type":"t_1","code":"sk-canary"}}"#;
        let error = json!({ "message": "key [redacted], prompt: hello", "type": "t_1", "code": "[redacted]" });
        for (status, kind) in [
            (401, ProviderErrorKind::Auth),
            (402, ProviderErrorKind::Auth),
            (403, ProviderErrorKind::Auth),
            (407, ProviderErrorKind::Auth),
            (429, ProviderErrorKind::RateLimited { retry_after: None }),
            (500, ProviderErrorKind::Upstream { status: 500 }),
            (529, ProviderErrorKind::Upstream { status: 529 }),
            (307, ProviderErrorKind::Upstream { status: 307 }),
            (101, ProviderErrorKind::Upstream { status: 101 }),
        ] {
            assert_eq!(refusal(status, &HeaderMap::new(), body, &redactor).kind, kind);
        }
        for status in [400, 404, 413, 422, 499] {
            let failure = refusal(status, &HeaderMap::new(), body, &redactor);
            let error = Some(error.clone());
            assert_eq!(failure.kind, ProviderErrorKind::BadRequest { status, error });
            // The log gets neither the key nor the server's message, which repeats the prompt.
            assert_eq!(failure.detail, format!("status {status} (t_1)"));
        }
        let failure = refusal(404, &HeaderMap::new(), b"<html>", &redactor);
        assert_eq!(
            failure.kind,
            ProviderErrorKind::BadRequest {
                status: 404,
                error: None
            }
        );
        assert_eq!(failure.detail, "status 404");
    }
}
