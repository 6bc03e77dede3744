//! Stripe's webhook signatures: `Stripe-Signature: t=<Unix seconds>,v1=<hex of HMAC-SHA-256(secret, "<t>.<body>")>`.
//!
//! As <https://docs.stripe.com/webhooks#verify-manually> describes them: several `v1` may stand in one header (while
//! a secret is being replaced), schemes other than `v1` are passed over.

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};

use anteroom_domain::Timestamp;
use anteroom_ports::billing::WebhookRejected;

/// The header's name.
pub const SIGNATURE_HEADER: &str = "stripe-signature";

/// How old, or how far ahead, an event may be: what Stripe's own libraries take.
const TOLERANCE_SECONDS: i64 = 300;

/// The header that Stripe would send with this body at this time.
pub fn sign(secret: &SecretString, body: &[u8], now: Timestamp) -> String {
    let seconds = now.as_second().to_string();
    let message = [seconds.as_bytes(), b".", body].concat();
    let tag = hmac::sign(&key(secret), &message);
    format!("t={seconds},v1={}", hex::encode(tag))
}

/// Checks a header against a body: first the signature, in constant time, then its age.
pub(crate) fn verify(secret: &SecretString, header: &str, body: &[u8], now: Timestamp) -> Result<(), WebhookRejected> {
    let header = Header::parse(header).ok_or(WebhookRejected::BadSignature)?;
    let message = [header.time.as_bytes(), b".", body].concat();
    let key = key(secret);
    let right = header
        .signatures
        .iter()
        .any(|tag| hmac::verify(&key, &message, tag).is_ok());
    if !right {
        return Err(WebhookRejected::BadSignature);
    }
    let age = now.as_second().saturating_sub(header.seconds);
    if age.unsigned_abs() > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(WebhookRejected::Stale);
    }
    Ok(())
}

/// The whole text of the secret is the key, its `whsec_` included, as Stripe does it.
fn key(secret: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes())
}

struct Header<'a> {
    time: &'a str,
    seconds: i64,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Header<'a> {
    /// One `t` of digits, at least one `v1`, each of 64 lower-case hexadecimal digits; anything else is none.
    fn parse(text: &'a str) -> Option<Self> {
        let (mut time, mut signatures) = (None, Vec::new());
        for part in text.split(',') {
            let (key, value) = part.split_once('=')?;
            match key {
                "t" if time.is_none() => time = Some(value),
                "t" => return None,
                "v1" => signatures.push(lower_hex(value)?),
                _ => (),
            }
        }
        let time = time.filter(|t| !t.is_empty() && t.len() <= 12 && t.bytes().all(|b| b.is_ascii_digit()))?;
        Some(Self {
            time,
            seconds: time.parse().ok()?,
            signatures,
        })
        .filter(|header| !header.signatures.is_empty())
    }
}

fn lower_hex(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn secret() -> SecretString {
        SecretString::from("whsec_test")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_header_is_the_one_that_stripe_makes() {
        // HMAC-SHA-256 computed with Python's hmac module.
        assert_eq!(
            sign(&secret(), BODY, at(1_800_000_000)),
            "t=1800000000,v1=45705be2a45ab5acdd1395cc695e9e7073125385ec24194921c401dff44176f8"
        );
    }

    #[test]
    fn e60_only_well_formed_signatures_are_read() {
        let header = sign(&secret(), BODY, at(1000));
        let tag = header.split_once("v1=").unwrap().1;
        let verify = |header: &str| verify(&secret(), header, BODY, at(1000));
        let other = "0".repeat(64);
        for good in [
            header.clone(),
            format!("t=1000,v1={other},v1={tag}"),
            format!("t=1000,v1={tag},v1={other}"),
            format!("t=1000,v0={other},v1={tag}"),
            format!("v1={tag},t=1000"),
        ] {
            assert_eq!(verify(&good), Ok(()), "{good}");
        }
        for bad in [
            String::new(),
            "t=1000".to_owned(),
            format!("v1={tag}"),
            "t=1000,v1=".to_owned(),
            format!("t=1000,v1={}", &tag[..63]),
            format!("t=1000,v1={}", &tag[..62]),
            format!("t=1000,v1={}", &tag[..2]),
            format!("t=1000,v1={tag}00"),
            format!("t=1000,v1={tag} "),
            format!("t=1000,v1= {tag}"),
            format!("t=1000, v1={tag}"),
            format!("t=1000,v1={tag},"),
            format!("t=1000,v1={}", tag.to_uppercase()),
            format!("t=1000,v0={tag}"),
            format!("t=1000,v1={other}"),
            format!("t=1001,v1={tag}"),
            format!("t=01000,v1={tag}"),
            format!("t=+1000,v1={tag}"),
            format!("t=1000,t=1000,v1={tag}"),
            format!("t=,v1={tag}"),
            format!("t={},v1={tag}", "1".repeat(40)),
        ] {
            assert_eq!(verify(&bad), Err(WebhookRejected::BadSignature), "{bad}");
        }
    }

    #[test]
    fn an_event_is_fresh_for_five_minutes_both_ways() {
        let header = sign(&secret(), BODY, at(1000));
        let verify = |now| verify(&secret(), &header, BODY, at(now));
        assert_eq!((verify(1300), verify(700)), (Ok(()), Ok(())));
        assert_eq!(verify(1301), Err(WebhookRejected::Stale));
        assert_eq!(verify(699), Err(WebhookRejected::Stale));
        let other = SecretString::from("whsec_other");
        let forged = super::verify(&other, &header, BODY, at(9000));
        assert_eq!(
            forged,
            Err(WebhookRejected::BadSignature),
            "age is told to nobody without the secret"
        );
    }
}
