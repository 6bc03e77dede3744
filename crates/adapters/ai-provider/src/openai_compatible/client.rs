//! async-openai's way to the network.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use reqwest::Response;
use serde_json::Value;

use anteroom_ports::chat::ProviderError;

use crate::shared::failure;
use crate::shared::transport::{MAX_ANSWER, Transport};

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
            let body = this.whole(request.build().await?, MAX_ANSWER).await?;
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
