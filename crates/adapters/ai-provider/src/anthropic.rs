//! Anthropic's own API: Messages (<https://docs.anthropic.com/en/api/messages>), whole and streamed, and its models.

mod answer;
mod events;
mod original;
mod request;
mod thinking;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Request;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use anteroom_domain::chat::Dialect;
use anteroom_ports::chat::{ChatCall, ChatReply, ChatStream, OfferedModel, ProviderError};
use anteroom_ports::{ChatModel, Clock};

use crate::shared::redact::Redactor;
use crate::shared::transport::{EVENT_STREAM, JSON, MAX_ANSWER, Transport, below, check_base, key_header};
use crate::shared::{InvalidOptions, Timeouts, failure, flow};
use events::Events;

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("anthropic-version"),
    HeaderValue::from_static("2023-06-01"),
);
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// Where the server is, the key to it, and how long it may take.
#[derive(Debug, Clone)]
pub struct AnthropicOptions {
    /// Up to and including the API's version: `https://api.anthropic.com/v1`.
    pub base_url: Url,
    /// Sent as `x-api-key`; empty, none is sent.
    pub api_key: SecretString,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// The most tokens of an answer where the request names no maximum: this API wants one.
    pub max_tokens: u32,
}

/// Anthropic's API, told and answering in OpenAI's.
///
/// [`ChatModel::stream`] answers once the model has begun to say something, so that a failure before has a status of
/// its own.
pub struct Anthropic {
    base: Url,
    headers: HeaderMap,
    transport: Transport,
    timeouts: Timeouts,
    max_tokens: u32,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anthropic").finish_non_exhaustive()
    }
}

impl Anthropic {
    /// Connects to nothing yet: the server may be away. The clock gives answers their `created`.
    pub fn new(options: AnthropicOptions, clock: Arc<dyn Clock>) -> Result<Self, InvalidOptions> {
        check_base(&options.base_url)?;
        let mut headers = key_header(KEY, "", &options.api_key)?;
        headers.extend([VERSION]);
        let redactor = Arc::new(Redactor::new(options.api_key));
        Ok(Self {
            base: options.base_url,
            headers,
            transport: Transport::new(options.timeouts.connect, redactor)?,
            timeouts: options.timeouts,
            max_tokens: options.max_tokens,
            clock,
        })
    }

    /// The request for the server, and what it cannot be told.
    fn request(&self, call: &ChatCall, streamed: bool) -> Result<(Request, Vec<String>), ProviderError> {
        let mut headers = self.headers.clone();
        let (body, dropped) = if let Some(said) = original::of(call) {
            if let Some(betas) = original::betas(said) {
                headers.insert(BETA, betas);
            }
            (original::body(said, call, streamed)?, Vec::new())
        } else {
            let (mut body, dropped) = request::translate(call, self.max_tokens)?;
            body["stream"] = streamed.into();
            (Bytes::from(body.to_string()), dropped)
        };
        let accept = if streamed { EVENT_STREAM } else { JSON };
        let url = below(&self.base, "/messages");
        let request = self.transport.post(url, headers, body, accept)?;
        Ok((request, dropped))
    }

    async fn listed(&self) -> Result<Value, ProviderError> {
        let mut url = below(&self.base, "/models");
        // The most for one page, and far more than there are.
        url.query_pairs_mut().append_pair("limit", "1000");
        self.transport.get(url, self.headers.clone()).await
    }
}

#[async_trait]
impl ChatModel for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn speaks(&self, dialect: Dialect) -> bool {
        dialect == Dialect::AnthropicMessages
    }

    fn takes_instructions_apart(&self) -> bool {
        true
    }

    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Value>,
        }
        let listed = flow::models(&self.timeouts, self.listed()).await?;
        let list: List =
            serde_json::from_value(listed).map_err(|_| failure::protocol("a list of models that is none"))?;
        // Those that no longer answer stay in the list, as its record of them.
        let answering = list.data.into_iter().filter(|entry| entry["lifecycle"] != "retired");
        let offered = answering.filter_map(|entry| {
            let created: Option<jiff::Timestamp> = entry["created_at"].as_str().and_then(|text| text.parse().ok());
            Some(OfferedModel {
                id: entry["id"].as_str()?.to_owned(),
                owned_by: "anthropic".to_owned(),
                created: created.map_or(0, jiff::Timestamp::as_second),
            })
        });
        Ok(offered.collect())
    }

    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        let (request, dropped) = self.request(&call, false)?;
        let body = flow::whole(&self.timeouts, self.transport.whole(request, MAX_ANSWER)).await?;
        let redactor = self.transport.redactor();
        let mut reply = answer::reply(&body, self.clock.now().as_second(), redactor)?;
        if original::of(&call).is_some()
            && let Ok(own) = std::str::from_utf8(&body)
        {
            reply.body = original::beside(&reply.body, own.trim(), redactor);
        }
        Ok(ChatReply { dropped, ..reply })
    }

    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError> {
        let (request, dropped) = self.request(&call, true)?;
        let own_words = original::of(&call).is_some();
        let events = Events::new(call.model, self.clock.now().as_second(), own_words);
        let redactor = Arc::clone(self.transport.redactor());
        let events = flow::stream(&self.timeouts, self.transport.open(request), events, redactor).await?;
        Ok(ChatStream { events, dropped })
    }
}
