//! What all providers behind a network have in common: the way there and back, time, and what failures mean.

pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod flow;
pub(crate) mod redact;
pub(crate) mod transport;

use std::time::Duration;

/// How long a provider may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For name resolution, TCP and TLS.
    pub connect: Duration,
    /// From the call to a stream's first event.
    pub first_token: Duration,
    /// Between two of a stream's events, counted only while the next one is waited for.
    pub idle: Duration,
    /// From the call to the end of its answer, whole or streamed.
    pub total: Duration,
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
