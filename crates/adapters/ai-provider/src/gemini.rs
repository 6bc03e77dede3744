//! Google's own API for Gemini: `generateContent`, whole and streamed, `batchEmbedContents` and the list of models
//! (<https://ai.google.dev/api/generate-content>).

mod answer;
mod events;
mod request;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Request;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use anteroom_ports::chat::{
    ChatCall, ChatReply, ChatStream, EmbedCall, EmbedReply, OfferedModel, ProviderError, ProviderErrorKind,
};
use anteroom_ports::{ChatModel, Clock, Embedder};

use crate::shared::redact::Redactor;
use crate::shared::transport::{EVENT_STREAM, JSON, MAX_ANSWER, MAX_VECTORS, Transport, below, check_base, key_header};
use crate::shared::{InvalidOptions, Timeouts, failure, flow};
use crate::translate::answer::{Head, tokens};
use crate::translate::vectors::{EmbedAsk, Input};
use events::Events;

const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The most texts of one request for vectors.
const BATCH: usize = 100;

/// Where the server is, the key to it, and how long it may take.
#[derive(Debug, Clone)]
pub struct GeminiOptions {
    /// Up to and including the API's version: `https://generativelanguage.googleapis.com/v1beta`.
    pub base_url: Url,
    /// Sent as `x-goog-api-key`; empty, none is sent.
    pub api_key: SecretString,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// Google's API, told and answering in OpenAI's.
///
/// [`ChatModel::stream`] answers once the first event has come, so that a failure before it has a status of its own.
pub struct Gemini {
    base: Url,
    headers: HeaderMap,
    transport: Transport,
    timeouts: Timeouts,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Gemini {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gemini").finish_non_exhaustive()
    }
}

impl Gemini {
    /// Connects to nothing yet: the server may be away. The clock gives answers their `created`.
    pub fn new(options: GeminiOptions, clock: Arc<dyn Clock>) -> Result<Self, InvalidOptions> {
        check_base(&options.base_url)?;
        let headers = key_header(KEY, "", &options.api_key)?;
        let redactor = Arc::new(Redactor::new(options.api_key));
        Ok(Self {
            base: options.base_url,
            headers,
            transport: Transport::new(options.timeouts.connect, redactor)?,
            timeouts: options.timeouts,
            clock,
        })
    }

    /// Where a model is asked to do something.
    fn of_model(&self, model: &str, act: &str) -> Url {
        let mut url = below(&self.base, "/models");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(&format!("{}:{act}", bare(model)));
        }
        url
    }

    fn post(&self, url: Url, body: &Value, accept: HeaderValue) -> Result<Request, ProviderError> {
        let body = Bytes::from(body.to_string());
        self.transport.post(url, self.headers.clone(), body, accept)
    }

    fn head(&self, call: &ChatCall) -> Head {
        Head {
            id: format!("chatcmpl-{}", call.request_id.0.simple()),
            created: self.clock.now().as_second(),
            model: call.model.clone(),
        }
    }

    async fn ask(&self, request: Request, most: usize) -> Result<Bytes, ProviderError> {
        self.transport.whole(request, most).await.map_err(judged)
    }

    async fn listed(&self) -> Result<Vec<Value>, ProviderError> {
        #[derive(Deserialize)]
        struct List {
            models: Vec<Value>,
        }
        let mut url = below(&self.base, "/models");
        // The most for one page, and far more than there are.
        url.query_pairs_mut().append_pair("pageSize", "1000");
        let listed = self.transport.get(url, self.headers.clone()).await.map_err(judged)?;
        let list: List =
            serde_json::from_value(listed).map_err(|_| failure::protocol("a list of models that is none"))?;
        Ok(list.models)
    }

    /// One batch of vectors, and what they used.
    async fn batch(
        &self,
        model: &str,
        ask: &EmbedAsk,
        texts: &[&str],
    ) -> Result<(Vec<Vec<f32>>, Option<i64>), ProviderError> {
        #[derive(Deserialize)]
        struct Answer {
            embeddings: Vec<Embedding>,
            #[serde(default, rename = "usageMetadata")]
            usage: Value,
        }
        #[derive(Deserialize)]
        struct Embedding {
            values: Vec<f32>,
        }
        let request = |text: &&str| {
            let mut request =
                json!({ "model": format!("models/{}", bare(model)), "content": { "parts": [{ "text": text }] } });
            if let Some(dimensions) = ask.dimensions {
                request["outputDimensionality"] = json!(dimensions);
            }
            request
        };
        let body = json!({ "requests": texts.iter().map(request).collect::<Vec<_>>() });
        let request = self.post(self.of_model(model, "batchEmbedContents"), &body, JSON)?;
        let answer = self.ask(request, MAX_VECTORS).await?;
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|_| failure::protocol("an answer without vectors"))?;
        if answer.embeddings.len() != texts.len() {
            return Err(failure::protocol("more or fewer vectors than texts"));
        }
        let vectors = answer.embeddings.into_iter().map(|e| e.values).collect();
        Ok((vectors, tokens(&answer.usage["promptTokenCount"])))
    }
}

/// A model's name without the `models/` that this API puts before it.
fn bare(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

/// A key that is wrong is a 400 here; its error object has no place for `code` and `status` where OpenAI's is read.
fn judged(mut failure: ProviderError) -> ProviderError {
    let ProviderErrorKind::BadRequest {
        status,
        error: Some(error),
    } = &failure.kind
    else {
        return failure;
    };
    let details = error["details"].as_array().into_iter().flatten();
    let is_key = |detail: &Value| {
        let reason = detail["reason"].as_str();
        matches!(
            reason,
            Some("API_KEY_INVALID" | "API_KEY_SERVICE_BLOCKED" | "API_KEY_EXPIRED")
        )
    };
    failure.kind = if details.clone().any(is_key) {
        ProviderErrorKind::Auth
    } else {
        ProviderErrorKind::BadRequest {
            status: *status,
            error: Some(openai_error(error)),
        }
    };
    failure
}

/// This API's error object as OpenAI's: its word for what happened is the `type`.
fn openai_error(error: &Value) -> Value {
    json!({ "message": error["message"], "type": error["status"] })
}

#[async_trait]
impl ChatModel for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn takes_instructions_apart(&self) -> bool {
        true
    }

    async fn models(&self) -> Result<Vec<OfferedModel>, ProviderError> {
        let listed = flow::models(&self.timeouts, self.listed()).await?;
        let offered = listed.into_iter().filter_map(|entry| {
            let methods = entry["supportedGenerationMethods"].as_array()?;
            let can = |method: &Value| method == "generateContent" || method == "embedContent";
            methods.iter().any(can).then_some(())?;
            Some(OfferedModel {
                id: bare(entry["name"].as_str()?).to_owned(),
                owned_by: "google".to_owned(),
                created: 0,
            })
        });
        Ok(offered.collect())
    }

    async fn complete(&self, call: ChatCall) -> Result<ChatReply, ProviderError> {
        let (body, dropped) = request::translate(&call)?;
        let request = self.post(self.of_model(&call.model, "generateContent"), &body, JSON)?;
        let answer = flow::whole(&self.timeouts, self.ask(request, MAX_ANSWER)).await?;
        let reply = answer::reply(&answer, self.head(&call), self.transport.redactor())?;
        Ok(ChatReply { dropped, ..reply })
    }

    async fn stream(&self, call: ChatCall) -> Result<ChatStream, ProviderError> {
        let (body, dropped) = request::translate(&call)?;
        let mut url = self.of_model(&call.model, "streamGenerateContent");
        url.query_pairs_mut().append_pair("alt", "sse");
        let request = self.post(url, &body, EVENT_STREAM)?;
        let opening = async { self.transport.open(request).await.map_err(judged) };
        let redactor = Arc::clone(self.transport.redactor());
        let events = flow::stream(&self.timeouts, opening, Events::new(self.head(&call)), redactor).await?;
        Ok(ChatStream { events, dropped })
    }
}

#[async_trait]
impl Embedder for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    async fn embed(&self, call: EmbedCall) -> Result<EmbedReply, ProviderError> {
        let ask = EmbedAsk::read(&call.body)?;
        let text = |input: &Input| match input {
            Input::Text(text) => Ok(text.clone()),
            Input::Tokens(_) => Err(failure::unsupported(
                "input",
                "this model's provider takes texts, no tokens",
            )),
        };
        let texts: Vec<String> = ask.inputs.iter().map(text).collect::<Result<_, _>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let all = async {
            let mut vectors = Vec::with_capacity(texts.len());
            let mut used = Some(0);
            for texts in texts.chunks(BATCH) {
                let (more, tokens) = self.batch(&call.model, &ask, texts).await?;
                vectors.extend(more);
                // What one batch does not say is not known of all.
                used = used.zip(tokens).map(|(sum, more)| i64::saturating_add(sum, more));
            }
            Ok((vectors, used))
        };
        let (vectors, used) = flow::whole(&self.timeouts, all).await?;
        Ok(ask.answer(&call.model, vectors, used))
    }
}
