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

/// The longest header that is read, in bytes: room for a dozen signatures, each of which is compared.
const MAX_HEADER: usize = 1024;

/// The largest body that is looked at, in bytes. Stripe's events are far smaller.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Checks a header against a body: first the signature with every key, in constant time, then its age.
pub(crate) fn verify(keys: &[hmac::Key], header: &str, body: &[u8], now: Timestamp) -> Result<(), WebhookRejected> {
    if header.len() > MAX_HEADER || body.len() > MAX_BODY {
        return Err(WebhookRejected::BadSignature);
    }
    let header = Header::parse(header).ok_or(WebhookRejected::BadSignature)?;
    let message = [header.time.as_bytes(), b".", body].concat();
    let signed_with = |key| {
        header
            .signatures
            .iter()
            .any(|tag| hmac::verify(key, &message, tag).is_ok())
    };
    if !keys.iter().any(signed_with) {
        return Err(WebhookRejected::BadSignature);
    }
    let age = now.as_second().saturating_sub(header.seconds);
    if age.unsigned_abs() > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(WebhookRejected::Stale);
    }
    Ok(())
}

/// The whole text of the secret is the key, its `whsec_` included, as Stripe does it.
pub(crate) fn key(secret: &SecretString) -> hmac::Key {
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

    fn secret(text: &str) -> hmac::Key {
        key(&SecretString::from(text))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sign(secret: &str, body: &[u8], second: i64) -> String {
        let message = [second.to_string().as_bytes(), b".", body].concat();
        let tag = hmac::sign(&key(&SecretString::from(secret)), &message);
        format!("t={second},v1={}", hex::encode(tag))
    }

    #[test]
    fn what_stripe_signs_is_taken() {
        // HMAC-SHA-256 computed with Python's hmac module.
        let header = "t=1800000000,v1=45705be2a45ab5acdd1395cc695e9e7073125385ec24194921c401dff44176f8";
        assert_eq!(verify(&[secret("whsec_test")], header, BODY, at(1_800_000_000)), Ok(()));
    }

    #[test]
    fn e60_only_well_formed_signatures_are_read() {
        let header = sign("whsec_test", BODY, 1000);
        let tag = header.split_once("v1=").unwrap().1;
        let verify = |header: &str| verify(&[secret("whsec_test")], header, BODY, at(1000));
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
            format!("{header}{}", format!(",v1={other}").repeat(100)),
        ] {
            assert_eq!(verify(&bad), Err(WebhookRejected::BadSignature), "{bad}");
        }
    }

    #[test]
    fn any_secret_of_several_serves_and_none_serves_nothing() {
        let keys = [secret("whsec_old"), secret("whsec_new")];
        for known in ["whsec_old", "whsec_new"] {
            assert_eq!(verify(&keys, &sign(known, BODY, 1000), BODY, at(1000)), Ok(()));
        }
        let foreign = sign("whsec_other", BODY, 1000);
        assert_eq!(
            verify(&keys, &foreign, BODY, at(1000)),
            Err(WebhookRejected::BadSignature)
        );
        assert_eq!(
            verify(&[], &foreign, BODY, at(1000)),
            Err(WebhookRejected::BadSignature)
        );
        let large = vec![b' '; MAX_BODY + 1];
        let header = sign("whsec_new", &large, 1000);
        assert_eq!(
            verify(&keys, &header, &large, at(1000)),
            Err(WebhookRejected::BadSignature)
        );
    }

    #[test]
    fn an_event_is_fresh_for_five_minutes_both_ways() {
        let header = sign("whsec_test", BODY, 1000);
        let verify_at = |now| verify(&[secret("whsec_test")], &header, BODY, at(now));
        assert_eq!((verify_at(1300), verify_at(700)), (Ok(()), Ok(())));
        assert_eq!(verify_at(1301), Err(WebhookRejected::Stale));
        assert_eq!(verify_at(699), Err(WebhookRejected::Stale));
        let forged = verify(&[secret("whsec_other")], &header, BODY, at(9000));
        assert_eq!(
            forged,
            Err(WebhookRejected::BadSignature),
            "age is told to nobody without the secret"
        );
    }
}
