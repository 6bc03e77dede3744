//! Sends requests and turns every failure into a [`ProviderError`], for the chat path and for async-openai alike.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use bytes::{Bytes, BytesMut};
use reqwest::{Request, Response};
use serde_json::Value;
use tokio::time::timeout;

use anteroom_ports::chat::ProviderError;

use super::redact::Redactor;
use super::{InvalidOptions, failure};

/// Largest whole answer.
pub(super) const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Most that is read of an error's body.
const MAX_ERROR: usize = 64 * 1024;

/// How long an error's body may take once its status is known.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);

/// The one HTTP client, and the key that must not come back from it. It follows no redirect (the key would go along)
/// and repeats no request (a model's answer costs).
#[derive(Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    redactor: Arc<Redactor>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    pub(super) fn new(connect_timeout: Duration, redactor: Arc<Redactor>) -> Result<Self, InvalidOptions> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("anteroom/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(connect_timeout)
            .build()
            .map_err(|e| InvalidOptions::Client(failure::transport(e, &redactor).detail))?;
        Ok(Self { http, redactor })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(super) fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Sends a request and answers the response once its status says success.
    pub(super) async fn send(&self, request: Request) -> Result<Response, ProviderError> {
        let sent = self.http.execute(request).await;
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

    /// Reads a whole answer.
    pub(super) async fn read(&self, mut response: Response) -> Result<Bytes, ProviderError> {
        let mut body = BytesMut::new();
        let failed = |e| failure::transport(e, &self.redactor);
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(failure::protocol(format!("an answer of more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }
}

/// What async-openai sends through. Its own way to the network retries, reads bodies of any size and logs those of
/// errors and of answers it cannot read, where a server may have repeated the key. So it gets nothing but whole JSON
/// answers; every failure travels through it as the [`ProviderError`] it is.
impl tower::Service<HttpRequestFactory> for Transport {
    type Response = Response;
    type Error = tower::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, tower::BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let response = this.send(request.build().await?).await?;
            let body = this.read(response).await?;
            if serde_json::from_slice::<Value>(&body).is_err() {
                return Err(failure::protocol("an answer that is not JSON").into());
            }
            Ok(http::Response::new(body).into())
        })
    }
}

/// Takes the [`ProviderError`] out again.
pub(super) fn from_client(error: OpenAIError) -> ProviderError {
    if let OpenAIError::Boxed(inner) = error
        && let Ok(inner) = inner.downcast::<ProviderError>()
    {
        return *inner;
    }
    // Its text may hold what the server sent.
    failure::protocol("an answer that could not be read")
}
