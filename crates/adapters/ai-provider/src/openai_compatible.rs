//! Any server that speaks OpenAI's API: chat completions and the list of models.
//!
//! The chat path posts the request's bytes and hands the answer's on, so that a field which only client and server
//! know arrives as it was sent. async-openai does the rest (its addresses and headers, the list of models) over the
//! same HTTP client; its typed chat would drop unknown fields, read ahead without bound and take a stream that breaks
//! off for a whole one.

mod endpoint;
mod events;
mod failure;
mod redact;
mod transport;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Request, Response};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use anteroom_ports::ChatModel;
use anteroom_ports::chat::{ChatCall, ChatEvent, ChatReply, ChatStream, OfferedModel, ProviderError, TimeoutStage};

use endpoint::Endpoint;
use events::Events;
use redact::Redactor;
use transport::{Transport, from_client};

/// How long the list of models may take, if a whole answer may take longer.
const MODELS_TIME: Duration = Duration::from_secs(30);

/// How long the end of a connection's answer is waited for after `[DONE]`, so that the connection can be used again.
const END_TIME: Duration = Duration::from_millis(10);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Where the server is, the key to it, and how long it may take.
#[derive(Debug, Clone)]
pub struct OpenAiOptions {
    /// Up to and including the API's version: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// Sent as a bearer token; empty, none is sent.
    pub api_key: SecretString,
    /// For name resolution, TCP and TLS.
    pub connect_timeout: Duration,
    /// From the call to a stream's first event.
    pub first_token_timeout: Duration,
    /// Between two of a stream's events, counted only while the next one is waited for.
    pub idle_timeout: Duration,
    /// From the call to the end of its answer, whole or streamed.
    pub total_timeout: Duration,
}

/// Why options cannot work. Holds nothing of the key or the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// Not an address to call.
    #[error("the base URL must begin with http:// or https:// and hold neither a user name, nor a password, nor a #")]
    BaseUrl,
    /// Not a key to send.
    #[error("the API key holds a character that cannot be sent in a header; is there a line break in it?")]
    ApiKey,
    /// The machine lacks something, such as the certificates of the authorities.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
}

/// A server that speaks OpenAI's API.
///
/// [`ChatModel::stream`] answers once the first event has come, so that a failure before it has a status of its own.
pub struct OpenAiCompatible {
    endpoint: Arc<Endpoint>,
    transport: Transport,
    client: Client<Arc<dyn Config>>,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    total_timeout: Duration,
}

impl fmt::Debug for OpenAiCompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiCompatible").finish_non_exhaustive()
    }
}

impl OpenAiCompatible {
    /// Connects to nothing yet: the server may be away.
    pub fn new(options: OpenAiOptions) -> Result<Self, InvalidOptions> {
        let redactor = Arc::new(Redactor::new(options.api_key.clone()));
        let endpoint = Arc::new(Endpoint::new(options.base_url, options.api_key)?);
        let transport = Transport::new(options.connect_timeout, redactor)?;
        let config: Arc<dyn Config> = endpoint.clone();
        let client = Client::build(transport.http().clone(), config).with_http_service(transport.clone());
        Ok(Self {
            endpoint,
            transport,
            client,
            first_token_timeout: options.first_token_timeout,
            idle_timeout: options.idle_timeout,
            total_timeout: options.total_timeout,
        })
    }

    fn request(&self, body: Bytes, accept: HeaderValue) -> Result<Request, ProviderError> {
        let mut headers: HeaderMap = self.endpoint.headers();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, accept);
        let url = self.endpoint.url("/chat/completions");
        let request = self.transport.http().post(url).headers(headers).body(body).build();
        request.map_err(|e| failure::transport(e, self.transport.redactor()))
    }

    async fn whole(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        let response = self.transport.send(self.request(call.body, JSON)?).await?;
        let body = self.transport.read(response).await?;
        view::reply(body, self.transport.redactor())
    }

    async fn open(&self, call: ChatCall) -> Result<Response, ProviderError> {
        let response = self.transport.send(self.request(call.body, EVENT_STREAM)?).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if !content_type.is_some_and(|t| t.starts_with("application/json")) {
            return Ok(response);
        }
        // Some servers report an error with status 200.
        let body = self.transport.read(response).await?;
        view::reply(body, self.transport.redactor())?;
        Err(failure::protocol("a whole answer where a stream was asked for"))
    }
}

#[async_trait]
impl ChatModel for OpenAiCompatible {
    fn name(&self) -> &'static str {
        "openai-compatible"
    }

    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError> {
        let asked = self.client.models();
        let listed = timeout(MODELS_TIME.min(self.total_timeout), asked.list_byot::<Value>());
        let listed = listed.await.map_err(|_| failure::timeout(TimeoutStage::Total))?;
        offered(listed.map_err(from_client)?)
    }

    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        timeout(self.total_timeout, self.whole(call))
            .await
            .map_err(|_| failure::timeout(TimeoutStage::Total))?
    }

    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError> {
        let total = after(self.total_timeout);
        let first = Limit::new(after(self.first_token_timeout), TimeoutStage::FirstToken, total);
        let opened = timeout_at(first.at, self.open(call)).await;
        let response = opened.map_err(|_| failure::timeout(first.stage))??;
        let mut relay = Relay {
            events: Events::new(response.bytes_stream()),
            redactor: Arc::clone(self.transport.redactor()),
            idle: self.idle_timeout,
            total,
        };
        let first = relay.next(first).await?;
        let events = Box::pin(stream::unfold(Some((relay, Some(first))), |state| async move {
            let (mut relay, first) = state?;
            let item = match first {
                Some(event) => Ok(event),
                None => relay.next_in_time().await,
            };
            let over = matches!(item, Err(_) | Ok(ChatEvent::Done));
            Some((item, (!over).then_some((relay, None))))
        }));
        let dropped = Vec::new();
        Ok(ChatStream { events, dropped })
    }
}

/// The models of a list, which is OpenAI's `{"data":[..]}` or bare. An entry without a name is none; what else a
/// server leaves out is filled in.
fn offered(listed: Value) -> Result<Vec<OfferedModel>, ProviderError> {
    #[derive(Deserialize)]
    struct Listed {
        id: String,
        owned_by: Option<Value>,
        created: Option<Value>,
    }
    let entries = match listed {
        Value::Object(mut members) => members.remove("data"),
        bare => Some(bare),
    };
    let Some(Value::Array(entries)) = entries else {
        return Err(failure::protocol("a list of models that is none"));
    };
    let models = entries.into_iter().filter_map(|entry| {
        let listed: Listed = serde_json::from_value(entry).ok()?;
        Some(OfferedModel {
            id: listed.id,
            owned_by: listed
                .owned_by
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or("unknown")
                .to_owned(),
            created: listed.created.as_ref().and_then(Value::as_i64).unwrap_or(0),
        })
    });
    Ok(models.collect())
}

/// A time from now; one beyond reckoning is thirty years.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time)
        .unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 24 * 3600))
}

/// Until when something is waited for, and what is then missing.
#[derive(Clone, Copy)]
struct Limit {
    at: Instant,
    stage: TimeoutStage,
}

impl Limit {
    fn new(at: Instant, stage: TimeoutStage, total: Instant) -> Self {
        if total <= at {
            let stage = TimeoutStage::Total;
            return Self { at: total, stage };
        }
        Self { at, stage }
    }
}

/// A stream that runs. It holds the connection and nothing else: dropping it hangs up.
struct Relay {
    events: Events<reqwest::Error>,
    redactor: Arc<Redactor>,
    idle: Duration,
    total: Instant,
}

impl Relay {
    async fn next_in_time(&mut self) -> Result<ChatEvent, ProviderError> {
        let limit = Limit::new(after(self.idle), TimeoutStage::Idle, self.total);
        self.next(limit).await
    }

    async fn next(&mut self, limit: Limit) -> Result<ChatEvent, ProviderError> {
        loop {
            // Checked by hand: what is ready at once never runs into the timeout below.
            if Instant::now() >= self.total {
                return Err(failure::timeout(TimeoutStage::Total));
            }
            let next = timeout_at(limit.at, self.events.next()).await;
            let event = match next.map_err(|_| failure::timeout(limit.stage))? {
                Some(Ok(event)) => event,
                Some(Err(error)) => return Err(events::unreadable(error, &self.redactor)),
                None => return Err(failure::protocol("a stream that ended without [DONE]")),
            };
            match view::event(event, &self.redactor)? {
                Some(ChatEvent::Done) => {
                    // Every chunk has been handed on. A connection whose answer was not read to its end is closed,
                    // and the next call would have to make another, with all of TLS.
                    let _ = timeout(END_TIME, self.events.next()).await;
                    return Ok(ChatEvent::Done);
                }
                Some(chunk) => return Ok(chunk),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_never_lets_us_wait_is_stopped_by_the_total_time() {
        let body = stream::repeat_with(|| Ok(Bytes::from_static(b"data: {}\n\n")));
        let mut relay = Relay {
            events: Events::new(body),
            redactor: Arc::new(Redactor::new("".into())),
            idle: Duration::from_secs(30),
            total: after(Duration::from_millis(50)),
        };
        let begun = Instant::now();
        let failure = loop {
            match relay.next_in_time().await {
                Err(failure) => break failure,
                Ok(_) => assert!(begun.elapsed() < Duration::from_secs(30)),
            }
        };
        assert_eq!(failure, failure::timeout(TimeoutStage::Total));
    }

    #[test]
    fn a_time_beyond_reckoning_is_far_away() {
        assert!(after(Duration::MAX) > after(Duration::from_secs(3600)));
    }
}
