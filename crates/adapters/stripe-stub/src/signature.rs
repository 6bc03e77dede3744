//! Stripe's webhook signatures: `Stripe-Signature: t=<Unix seconds>,v1=<hex of HMAC-SHA-256(secret, "<t>.<body>")>`,
//! as <https://docs.stripe.com/webhooks#verify-manually> describes them.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

/// The header's name.
pub const SIGNATURE_HEADER: &str = "stripe-signature";

/// The header that Stripe would send with this body at this time. The whole text of the secret is the key, its
/// `whsec_` included, as Stripe does it.
pub fn sign(secret: &SecretString, body: &[u8], now: Timestamp) -> String {
    let seconds = now.as_second().to_string();
    let message = [seconds.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    format!("t={seconds},v1={}", hex::encode(hmac::sign(&key, &message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_one_that_stripe_makes() {
        // HMAC-SHA-256 computed with Python's hmac module.
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(
            sign(&SecretString::from("whsec_test"), br#"{"id":"evt_1"}"#, time),
            "t=1800000000,v1=45705be2a45ab5acdd1395cc695e9e7073125385ec24194921c401dff44176f8"
        );
    }
}
