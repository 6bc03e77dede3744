//! Sends requests, and sends them again where that may help.

use std::time::Duration;

use aws_lc_rs::rand;
use bytes::BytesMut;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::sleep;
use tracing::debug;
use url::{Host, Url};

use anteroom_ports::billing::PaymentError;

use crate::API_VERSION;
use crate::InvalidOptions;
use crate::failure::{refusal, words};
use crate::form::Form;

/// Largest answer that is read, in bytes. A hundred subscriptions with all that is asked for beside them are about two
/// million.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// How often a request is sent again: as Stripe's own libraries do.
const MAX_RETRIES: u32 = 2;

/// The first wait before a request is sent again; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait of our own.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a request may wait in all, between its attempts. A `Retry-After` beyond that is not waited for: the request
/// fails at once. So nothing takes longer than three timeouts and a minute.
const MAX_WAITING: Duration = Duration::from_secs(60);

/// The longest identifier or idempotency key that Stripe takes.
const MAX_ID_BYTES: usize = 255;

/// A request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    form: Form,
    key: Option<String>,
    what: &'static str,
}

impl<'a> Call<'a> {
    /// Asks for something. `what` is its name in "has no such …"; `path` follows `/v1`.
    pub(crate) fn get(what: &'static str, path: &'a [&'a str], form: Form) -> Self {
        Self {
            method: Method::GET,
            path,
            form,
            key: None,
            what,
        }
    }

    /// Changes something, once for each idempotency key.
    pub(crate) fn post(what: &'static str, path: &'a [&'a str], form: Form, key: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            path,
            form,
            key: Some(key.into()),
            what,
        }
    }

    /// Ends something. Stripe wants no idempotency key here: doing it twice is doing it once.
    pub(crate) fn delete(what: &'static str, path: &'a [&'a str], form: Form) -> Self {
        Self {
            method: Method::DELETE,
            path,
            form,
            key: None,
            what,
        }
    }
}

/// Whether Stripe could have made this identifier. Others are not put into an address, where `..` or a slash would lead
/// elsewhere.
pub(crate) fn is_id(id: &str) -> bool {
    let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(part)
}

/// An idempotency key for what is asked for without one, so that its attempts have the effect of one.
pub(crate) fn random_key() -> Result<String, PaymentError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| away("the system has no random numbers"))?;
    Ok(hex::encode(bytes))
}

fn odd_key() -> PaymentError {
    PaymentError::Refused {
        code: None,
        message: "the idempotency key cannot stand in a header".to_owned(),
    }
}

fn away(detail: impl Into<String>) -> PaymentError {
    PaymentError::Unavailable(detail.into())
}

/// An attempt that failed.
struct Failed {
    error: PaymentError,
    again: bool,
    retry_after: Option<Duration>,
}

impl Failed {
    fn for_good(error: PaymentError) -> Self {
        Self {
            error,
            again: false,
            retry_after: None,
        }
    }

    fn for_now(error: PaymentError) -> Self {
        Self {
            again: true,
            ..Self::for_good(error)
        }
    }
}

/// The way to Stripe.
pub(crate) struct Transport {
    base: Url,
    secret_key: SecretString,
    timeout: Duration,
    // Made at the first request: reading the system's certificates would slow every start.
    client: OnceCell<Client>,
}

impl Transport {
    pub(crate) fn new(base: Url, secret_key: SecretString, timeout: Duration) -> Result<Self, InvalidOptions> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(InvalidOptions::Address);
        }
        authorization(&secret_key)?;
        Ok(Self {
            base,
            secret_key,
            timeout,
            client: OnceCell::new(),
        })
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Sends it until it succeeds or trying again does not help.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Value, PaymentError> {
        let mut waited = Duration::ZERO;
        let mut attempt = 0;
        loop {
            let failed = match self.attempt(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let wait = backoff(attempt).max(failed.retry_after.unwrap_or_default());
            if !failed.again || attempt == MAX_RETRIES || waited + wait > MAX_WAITING {
                return Err(failed.error);
            }
            debug!(error = %failed.error, attempt, ?wait, "Stripe is asked again");
            sleep(wait).await;
            waited += wait;
            attempt += 1;
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Value, Failed> {
        let client = self.client.get_or_try_init(|| async { self.client() }).await;
        let client = client.map_err(Failed::for_good)?;
        let url = self.url(call).ok_or(PaymentError::NotFound(call.what));
        let mut request = client.request(call.method.clone(), url.map_err(Failed::for_good)?);
        if let Some(key) = &call.key {
            let value = HeaderValue::from_str(key).map_err(|_| Failed::for_good(odd_key()))?;
            request = request.header("idempotency-key", value);
        }
        if call.method == Method::POST {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(call.form.encode());
        }
        let response = request.send().await.map_err(|e| self.broken(&e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let request_id = headers.get("request-id").and_then(|id| id.to_str().ok());
        debug!(
            method = %call.method,
            path = call.path.join("/"),
            status = status.as_u16(),
            request_id,
            "Stripe answered"
        );
        let body = self.body(response).await?;
        if status.is_success() {
            return whole(&body).map_err(Failed::for_good);
        }
        let key = self.secret_key.expose_secret();
        Err(Failed {
            error: refusal(status, &body, call.what, key),
            again: helps(status, &headers),
            retry_after: retry_after(&headers),
        })
    }

    /// The base, which may have a path of its own, then `v1` and the path.
    fn url(&self, call: &Call<'_>) -> Option<Url> {
        let mut url = self.base.clone();
        if !call.path.iter().all(|part| is_id(part)) {
            return None;
        }
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .push("v1")
            .extend(call.path);
        if call.method != Method::POST && !call.form.is_empty() {
            url.set_query(Some(&call.form.encode()));
        }
        Some(url)
    }

    async fn body(&self, mut response: Response) -> Result<BytesMut, Failed> {
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|e| self.broken(&e))? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(Failed::for_good(away("its answer is too large")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// No answer, or half of one: it can be asked again, since the idempotency key is the same.
    fn broken(&self, error: &reqwest::Error) -> Failed {
        if error.is_timeout() {
            return Failed::for_now(away("it took too long"));
        }
        // reqwest's own text is just "error sending request"; the last cause says why.
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let what = if error.is_connect() {
            "it cannot be reached"
        } else {
            "the connection broke"
        };
        let cause = words(&cause.to_string(), self.secret_key.expose_secret());
        Failed::for_now(away(format!("{what}: {cause}")))
    }

    fn client(&self) -> Result<Client, PaymentError> {
        let mut headers = HeaderMap::new();
        let authorization = authorization(&self.secret_key).map_err(|e| PaymentError::Key(e.to_string()))?;
        headers.insert(AUTHORIZATION, authorization);
        headers.insert("stripe-version", HeaderValue::from_static(API_VERSION));
        // Redirects would take the key elsewhere. Retries are made here.
        let mut builder = Client::builder()
            .user_agent(concat!("anteroom/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .timeout(self.timeout);
        // No proxy can reach this machine's own loopback.
        if is_loopback(&self.base) {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|_| away("the HTTP client cannot be made"))
    }
}

fn authorization(key: &SecretString) -> Result<HeaderValue, InvalidOptions> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).map_err(|_| InvalidOptions::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An answer of Stripe's: an object that says what it is.
fn whole(body: &[u8]) -> Result<Value, PaymentError> {
    let answer: Value = serde_json::from_slice(body).map_err(|e| away(format!("its answer is not JSON: {e}")))?;
    if answer.get("object").and_then(Value::as_str).is_none() {
        return Err(away("its answer is no object of Stripe's"));
    }
    Ok(answer)
}

/// Whether another attempt may help. Stripe says so itself where it knows; a conflict is another request with the same
/// key, or on the same object, that is still running, and a timeout (408) is a request that came too slowly.
fn helps(status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get("stripe-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error(),
    }
}

/// In seconds; Stripe sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Half a second, doubled with each attempt; a random part of the upper half keeps many from coming back at once.
fn backoff(attempt: u32) -> Duration {
    let full = FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(LONGEST_WAIT);
    let mut dice = [0; 1];
    // Without random numbers it waits the whole time.
    let spared = rand::fill(&mut dice).map_or(0, |()| u32::from(dice[0]));
    full.saturating_sub(full / 2 * spared / 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(base: &str) -> Transport {
        let key = SecretString::from("sk_test_x");
        Transport::new(Url::parse(base).unwrap(), key, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn paths_are_joined_to_whatever_the_base_has() {
        for (base, joined) in [
            (
                "https://api.stripe.com",
                "https://api.stripe.com/v1/subscriptions/sub_1",
            ),
            (
                "https://api.stripe.com/",
                "https://api.stripe.com/v1/subscriptions/sub_1",
            ),
            (
                "http://127.0.0.1:7860/stripe-stub",
                "http://127.0.0.1:7860/stripe-stub/v1/subscriptions/sub_1",
            ),
            (
                "http://127.0.0.1:7860/stripe-stub/",
                "http://127.0.0.1:7860/stripe-stub/v1/subscriptions/sub_1",
            ),
        ] {
            let call = Call::get("subscription", &["subscriptions", "sub_1"], Form::new());
            assert_eq!(transport(base).url(&call).unwrap().as_str(), joined);
        }
        let call = Call::get("price", &["prices"], Form::new().with("lookup_keys[]", "a b"));
        let url = transport("http://x/y").url(&call).unwrap();
        assert_eq!(url.as_str(), "http://x/y/v1/prices?lookup_keys%5B%5D=a+b");
    }

    #[test]
    fn nothing_leads_elsewhere() {
        for id in [
            "",
            ".",
            "..",
            "../prices",
            "a/b",
            "a?b",
            "a#b",
            "a%2fb",
            "ä",
            &"a".repeat(256),
        ] {
            let path = ["subscriptions", id];
            let call = Call::get("subscription", &path, Form::new());
            assert!(transport("http://x/").url(&call).is_none(), "{id}");
        }
    }

    #[test]
    fn waits_double_within_bounds() {
        for (attempt, longest) in [(0, 500), (1, 1000), (2, 2000), (3, 4000), (4, 5000), (60, 5000)] {
            for _ in 0..100 {
                let wait = backoff(attempt).as_millis();
                assert!(wait <= longest && wait > longest / 2 - 1, "{attempt}: {wait}");
            }
        }
    }

    #[test]
    fn stripe_says_itself_what_can_be_tried_again() {
        let headers = |word: &'static str| {
            HeaderMap::from_iter([(
                reqwest::header::HeaderName::from_static("stripe-should-retry"),
                HeaderValue::from_static(word),
            )])
        };
        let none = HeaderMap::new();
        for (status, again) in [
            (400, false),
            (402, false),
            (408, true),
            (409, true),
            (429, true),
            (500, true),
            (503, true),
            (401, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(helps(status, &none), again, "{status}");
            assert!(helps(status, &headers("true")));
            assert!(!helps(status, &headers("false")));
        }
    }
}
