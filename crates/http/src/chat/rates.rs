//! The headers in which OpenAI's and Anthropic's SDKs look for what is left of a rate.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use anteroom_domain::Timestamp;
use anteroom_domain::protection::{CallRates, Limit, Verdict};
use jiff::SignedDuration;

use crate::Api;
use crate::caller::Admitted;
use crate::problem::Shape;

/// Names of OpenAI's headers for one thing that is counted: the most, what is left, and when all is there again.
type Names = [&'static str; 3];

const REQUESTS: Names = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
const TOKENS: Names = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];
const ANTHROPIC_REQUESTS: Names = [
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];
const ANTHROPIC_TOKENS: Names = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];

/// OpenAI's headers.
pub(crate) fn openai(rates: &CallRates) -> impl Iterator<Item = (HeaderName, String)> {
    let told = [(REQUESTS, rates.requests), (TOKENS, rates.tokens)];
    told.into_iter().flat_map(|(names, counted)| {
        let values = counted.map(|(limit, verdict)| values(limit, verdict, duration(verdict.after_seconds)));
        let named = move |values: [String; 3]| names.map(HeaderName::from_static).into_iter().zip(values);
        values.into_iter().flat_map(named)
    })
}

/// Says with an answer what is left: where the plan has no rate of calls, of the requests that are counted for all.
pub(crate) fn announce(
    mut answer: HttpResponse,
    request: &HttpRequest,
    api: &Api,
    mut rates: CallRates,
) -> HttpResponse {
    let admitted = request
        .extensions()
        .get::<Admitted>()
        .and_then(|admitted| admitted.count);
    rates.requests = rates.requests.or(admitted);
    let headers = answer.headers_mut();
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    for (name, value) in openai(&rates) {
        add(name, &value);
    }
    if Shape::of(request.path()) == Shape::Anthropic {
        let now = api.ops.now();
        for (names, counted) in [(ANTHROPIC_REQUESTS, rates.requests), (ANTHROPIC_TOKENS, rates.tokens)] {
            let Some((limit, verdict)) = counted else { continue };
            let values = values(limit, verdict, moment(now, verdict.after_seconds));
            for (name, value) in names.into_iter().zip(&values) {
                add(HeaderName::from_static(name), value);
            }
        }
    }
    answer
}

fn values(limit: Limit, verdict: Verdict, reset: String) -> [String; 3] {
    [limit.most.to_string(), verdict.remaining.to_string(), reset]
}

/// As OpenAI writes one: `1s`, `6m0s`.
fn duration(seconds: u64) -> String {
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

/// As Anthropic writes one: RFC 3339.
fn moment(now: Timestamp, seconds: u64) -> String {
    let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let at = now.saturating_add(wait).unwrap_or(now);
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_as_the_vendors_write_them() {
        assert_eq!(
            ["0s", "59s", "1m0s", "61m1s"],
            [0, 59, 60, 3661].map(duration).each_ref().map(String::as_str)
        );
        let now: Timestamp = "2026-11-20T12:00:00.75Z".parse().unwrap();
        assert_eq!(moment(now, 60), "2026-11-20T12:01:00Z");
        let verdict = Verdict {
            allowed: true,
            remaining: 59,
            after_seconds: 1,
        };
        let rates = CallRates {
            requests: None,
            tokens: Some((Limit::per_minute("tokens", 60), verdict)),
        };
        let said: Vec<String> = openai(&rates).map(|(name, value)| format!("{name}: {value}")).collect();
        let expected = [
            "x-ratelimit-limit-tokens: 60",
            "x-ratelimit-remaining-tokens: 59",
            "x-ratelimit-reset-tokens: 1s",
        ];
        assert_eq!(said, expected);
    }
}
