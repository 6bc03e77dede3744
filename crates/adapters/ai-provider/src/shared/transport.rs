//! Sends requests and turns every failure into a [`ProviderError`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Request, Response};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use thread_local::ThreadLocal;
use tokio::time::timeout;
use url::Url;

use anteroom_ports::chat::ProviderError;

use super::redact::Redactor;
use super::{InvalidOptions, failure};

/// What is asked for: a whole answer.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is asked for: a stream.
pub(crate) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Largest whole answer.
pub(crate) const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Largest answer with vectors, which may be thousands of thousands of numbers.
pub(crate) const MAX_VECTORS: usize = 64 * 1024 * 1024;

/// Most that is read of an error's body.
const MAX_ERROR: usize = 64 * 1024;

/// How long an error's body may take once its status is known.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);

/// The HTTP clients, and the key that must not come back from them. They follow no redirect (the key would go along) and
/// repeat no request (a model's answer costs).
#[derive(Clone)]
pub(crate) struct Transport {
    clients: Arc<Clients>,
    redactor: Arc<Redactor>,
}

/// A client for each thread that makes calls. A connection is driven by the runtime that opened it: what a worker's call
/// goes over must neither wait for another worker nor end with it.
struct Clients {
    connect_timeout: Duration,
    /// Reading the machine's authorities takes milliseconds, and sessions that are resumed are worth sharing.
    tls: ClientConfig,
    first: reqwest::Client,
    of_thread: ThreadLocal<reqwest::Client>,
}

impl Clients {
    fn new(connect_timeout: Duration, tls: ClientConfig) -> reqwest::Result<Self> {
        let first = Self::build(connect_timeout, &tls)?;
        Ok(Self {
            connect_timeout,
            tls,
            first,
            of_thread: ThreadLocal::new(),
        })
    }

    fn build(connect_timeout: Duration, tls: &ClientConfig) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .user_agent(concat!("anteroom/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(connect_timeout)
            .build()
    }

    /// This thread's.
    fn here(&self) -> &reqwest::Client {
        // What could be built once can be built again.
        let build = || Self::build(self.connect_timeout, &self.tls).unwrap_or_else(|_| self.first.clone());
        self.of_thread.get_or(build)
    }
}

/// TLS as reqwest sets it up by itself.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()), Arc::clone);
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_platform_verifier()?.with_no_client_auth())
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    pub(crate) fn new(connect_timeout: Duration, redactor: Arc<Redactor>) -> Result<Self, InvalidOptions> {
        let clients = tls()
            .map_err(|e| e.to_string())
            .and_then(|tls| Clients::new(connect_timeout, tls).map_err(|e| failure::transport(e, &redactor).detail))
            .map_err(InvalidOptions::Client)?;
        Ok(Self {
            clients: Arc::new(clients),
            redactor,
        })
    }

    /// A client to build requests with.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.clients.first
    }

    pub(crate) fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Sends a request and answers the response once its status says success.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, ProviderError> {
        let sent = self.clients.here().execute(request).await;
        let mut response = sent.map_err(|e| failure::transport(e, &self.redactor))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut body = BytesMut::new();
        // A body that breaks off, or does not come, must not hide the status.
        let read = async {
            while let Ok(Some(piece)) = response.chunk().await {
                let room = MAX_ERROR - body.len();
                body.extend_from_slice(&piece[..piece.len().min(room)]);
                if body.len() == MAX_ERROR {
                    break;
                }
            }
        };
        let _ = timeout(ERROR_BODY_TIME, read).await;
        Err(failure::refusal(
            status.as_u16(),
            response.headers(),
            &body,
            &self.redactor,
        ))
    }

    /// Sends a request and reads its whole answer, of at most so many bytes.
    pub(crate) async fn whole(&self, request: Request, most: usize) -> Result<Bytes, ProviderError> {
        self.read(self.send(request).await?, most).await
    }

    async fn read(&self, mut response: Response, most: usize) -> Result<Bytes, ProviderError> {
        let too_long = || failure::protocol(format!("an answer of more than {most} bytes"));
        let length = response.content_length().map_or(Ok(0), usize::try_from);
        if length.is_ok_and(|length| length > most) || length.is_err() {
            return Err(too_long());
        }
        let mut body = BytesMut::new();
        let failed = |e| failure::transport(e, &self.redactor);
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > most {
                return Err(too_long());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// A request with a body of JSON.
    pub(crate) fn post(
        &self,
        url: impl reqwest::IntoUrl,
        mut headers: HeaderMap,
        body: Bytes,
        accept: HeaderValue,
    ) -> Result<Request, ProviderError> {
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, accept);
        let request = self.http().post(url).headers(headers).body(body).build();
        request.map_err(|e| failure::transport(e, &self.redactor))
    }

    /// Asks for JSON.
    pub(crate) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Value, ProviderError> {
        let request = self.http().get(url).headers(headers).header(ACCEPT, JSON).build();
        let request = request.map_err(|e| failure::transport(e, &self.redactor))?;
        let body = self.whole(request, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|_| failure::protocol("an answer that is not JSON"))
    }

    /// Sends a request for a stream and answers it once its status says success and it is no JSON.
    pub(crate) async fn open(&self, request: Request) -> Result<Response, ProviderError> {
        let response = self.send(request).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if !content_type.is_some_and(|t| t.starts_with("application/json")) {
            return Ok(response);
        }
        // Some servers report an error with status 200.
        let body = self.read(response, MAX_ANSWER).await?;
        match serde_json::from_slice(&body).ok().and_then(failure::error_object) {
            Some(error) => Err(failure::in_answer(Some(error), &self.redactor)),
            None => Err(failure::protocol("a whole answer where a stream was asked for")),
        }
    }
}

/// Whether an address can be called, and shows nothing that it should keep to itself.
pub(crate) fn check_base(base: &Url) -> Result<(), InvalidOptions> {
    let plain = base.username().is_empty() && base.password().is_none() && base.fragment().is_none();
    if !plain || !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err(InvalidOptions::BaseUrl);
    }
    Ok(())
}

/// The base with a path appended; a query stays.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// The header that shows the key, if there is one.
pub(crate) fn key_header(name: HeaderName, prefix: &str, key: &SecretString) -> Result<HeaderMap, InvalidOptions> {
    let mut headers = HeaderMap::new();
    let key = key.expose_secret();
    if !key.is_empty() {
        let text = format!("{prefix}{key}");
        let mut value = HeaderValue::from_str(&text).map_err(|_| InvalidOptions::ApiKey)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
