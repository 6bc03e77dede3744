//! Webhooks: first the signature, then the event.

mod events;
mod signature;

use aws_lc_rs::hmac;
use secrecy::SecretString;

use anteroom_domain::Timestamp;
use anteroom_ports::billing::{ProviderEvent, WebhookRejected};

pub use signature::SIGNATURE_HEADER;

/// Checks webhooks.
pub(crate) struct Verifier {
    keys: Vec<hmac::Key>,
    live: bool,
}

impl Verifier {
    /// `live` is the secret key's mode; events of the other one are refused.
    pub(crate) fn new(secrets: &[SecretString], live: bool) -> Self {
        Self {
            keys: secrets.iter().map(signature::key).collect(),
            live,
        }
    }

    pub(crate) fn verify(&self, header: &str, body: &[u8], now: Timestamp) -> Result<ProviderEvent, WebhookRejected> {
        signature::verify(&self.keys, header, body, now)?;
        events::read(body, self.live)
    }
}
