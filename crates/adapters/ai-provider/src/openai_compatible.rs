//! Any server that speaks OpenAI's API: chat completions, embeddings and the list of models.
//!
//! A call's bytes are posted and the answer's handed on, so that a field which only client and server know arrives as
//! it was sent. async-openai does the rest (its addresses and headers, the list of models) over the same HTTP client;
//! its typed chat would drop unknown fields, read ahead without bound and take a stream that breaks off for a whole
//! one.

mod client;
mod endpoint;
mod view;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_openai::Client;
use async_openai::config::Config;
use async_trait::async_trait;
use bytes::Bytes;
use eventsource_stream::Event;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use anteroom_ports::chat::{
    ChatCall, ChatEvent, ChatReply, ChatStream, EmbedCall, EmbedReply, OfferedModel, ProviderError,
};
use anteroom_ports::{ChatModel, Embedder};

use crate::shared::flow::{self, Reader};
use crate::shared::redact::Redactor;
use crate::shared::transport::{EVENT_STREAM, JSON, MAX_ANSWER, MAX_VECTORS, Transport};
use crate::shared::{InvalidOptions, Timeouts, failure};
use client::from_client;
use endpoint::Endpoint;

/// Where the server is, the key to it, and how long it may take.
#[derive(Debug, Clone)]
pub struct OpenAiOptions {
    /// Up to and including the API's version: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// Sent as a bearer token; empty, none is sent.
    pub api_key: SecretString,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Set for Azure OpenAI.
    pub azure: Option<AzureOptions>,
}

/// What is different at Azure OpenAI: the key travels in the header `api-key`.
#[derive(Debug, Clone, Default)]
pub struct AzureOptions {
    /// With a version (`2024-10-21`), the base URL ends in `/openai`, a model is the name of a deployment, and calls
    /// go to `/deployments/{model}/…?api-version=…`. Without, the base URL ends in `/openai/v1`.
    pub api_version: Option<String>,
}

/// A server that speaks OpenAI's API.
///
/// [`ChatModel::stream`] answers once the first event has come, so that a failure before it has a status of its own.
pub struct OpenAiCompatible {
    endpoint: Arc<Endpoint>,
    transport: Transport,
    client: Client<Arc<dyn Config>>,
    timeouts: Timeouts,
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
        let endpoint = Arc::new(Endpoint::new(options.base_url, options.api_key, options.azure)?);
        let transport = Transport::new(options.timeouts.connect, redactor)?;
        let config: Arc<dyn Config> = endpoint.clone();
        let client = Client::build(transport.http().clone(), config).with_http_service(transport.clone());
        Ok(Self {
            endpoint,
            transport,
            client,
            timeouts: options.timeouts,
        })
    }

    /// The answer's bytes, which are at most so many.
    async fn post(&self, path: &str, model: &str, body: Bytes, most: usize) -> Result<Bytes, ProviderError> {
        let url = self.endpoint.of_model(model, path);
        let request = self.transport.post(url, self.endpoint.headers(), body, JSON)?;
        self.transport.whole(request, most).await
    }
}

#[async_trait]
impl ChatModel for OpenAiCompatible {
    fn name(&self) -> &'static str {
        "openai-compatible"
    }

    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError> {
        let asked = self.client.models();
        let listed = async { asked.list_byot::<Value>().await.map_err(from_client) };
        offered(flow::models(&self.timeouts, listed).await?)
    }

    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        let dropped = call.lost();
        let answer = self.post("/chat/completions", &call.model, call.body, MAX_ANSWER);
        let reply = view::reply(flow::whole(&self.timeouts, answer).await?, self.transport.redactor())?;
        Ok(ChatReply { dropped, ..reply })
    }

    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError> {
        let url = self.endpoint.of_model(&call.model, "/chat/completions");
        let headers = self.endpoint.headers();
        let dropped = call.lost();
        let request = self.transport.post(url, headers, call.body, EVENT_STREAM)?;
        let (opening, redactor) = (self.transport.open(request), Arc::clone(self.transport.redactor()));
        Ok(ChatStream {
            events: flow::stream(&self.timeouts, opening, Chunks, redactor).await?,
            dropped,
        })
    }
}

#[async_trait]
impl Embedder for OpenAiCompatible {
    fn name(&self) -> &'static str {
        "openai-compatible"
    }

    async fn embed(&self, call: EmbedCall) -> Result<EmbedReply, ProviderError> {
        let answer = self.post("/embeddings", &call.model, call.body, MAX_VECTORS);
        view::embedded(flow::whole(&self.timeouts, answer).await?, self.transport.redactor())
    }
}

/// Events that are chunks already.
struct Chunks;

impl Reader for Chunks {
    fn read(&mut self, event: Event, redactor: &Redactor, out: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
        out.extend(view::event(event, redactor)?);
        Ok(())
    }

    fn end(&mut self, _: &Redactor, _: &mut VecDeque<ChatEvent>) -> Result<(), ProviderError> {
        Err(failure::protocol("a stream that ended without [DONE]"))
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
