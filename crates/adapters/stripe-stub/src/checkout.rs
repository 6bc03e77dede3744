//! Checkouts that are kept nowhere: the order travels in the identifier, under an authenticator.
//!
//! So a page works on every node and after a restart, and nobody can change what is bought. The identifier is no
//! secret about the order: whoever holds it may see it, and pay.

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::billing::{CheckoutOrder, PaymentError};

const PREFIX: &str = "cs_stub_";

/// How long a checkout can be paid: as long as one of Stripe's.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// What an identifier says. Members are never renamed: pages that are open would stop working.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    user_id: Uuid,
    plan: String,
    plan_version: i32,
    plan_name: String,
    amount: i64,
    currency: String,
    interval: String,
    success_url: String,
    cancel_url: String,
    created: i64,
    nonce: String,
}

/// A checkout whose identifier has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenCheckout {
    pub(crate) id: String,
    pub(crate) order: CheckoutOrder,
    pub(crate) created: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Makes and reads identifiers of checkouts.
pub(crate) struct CheckoutIds {
    key: hmac::Key,
}

impl CheckoutIds {
    /// The key derives from the webhook's secret, so that one secret is enough.
    pub(crate) fn new(secret: &SecretString) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let key = hmac::sign(&secret, b"anteroom/stripe-stub/checkout-id/1");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
        }
    }

    /// A fresh identifier for this order.
    pub(crate) fn make(&self, order: &CheckoutOrder, now: Timestamp) -> Result<String, PaymentError> {
        let failed = |what: &str| PaymentError::Unavailable(what.to_owned());
        let mut nonce = [0; 12];
        rand::fill(&mut nonce).map_err(|_| failed("the system gives no randomness"))?;
        let payload = Payload {
            user_id: order.user_id.0,
            plan: order.plan.clone(),
            plan_version: order.plan_version,
            plan_name: order.plan_name.clone(),
            amount: order.amount,
            currency: order.currency.clone(),
            interval: order.interval.clone(),
            success_url: order.success_url.clone(),
            cancel_url: order.cancel_url.clone(),
            created: now.as_second(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
        };
        let json = serde_json::to_vec(&payload).map_err(|_| failed("the order cannot be written down"))?;
        let body = URL_SAFE_NO_PAD.encode(json);
        let tag = hmac::sign(&self.key, body.as_bytes());
        Ok(format!("{PREFIX}{body}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// The checkout behind an identifier of ours that is not over.
    pub(crate) fn read(&self, id: &str, now: Timestamp) -> Option<OpenCheckout> {
        let (body, tag) = id.strip_prefix(PREFIX)?.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, body.as_bytes(), &tag).ok()?;
        let payload: Payload = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let created = Timestamp::from_second(payload.created).ok()?;
        let expires_at = created.checked_add(LIFETIME).ok()?;
        if now >= expires_at {
            return None;
        }
        Some(OpenCheckout {
            id: id.to_owned(),
            order: CheckoutOrder {
                user_id: UserId(payload.user_id),
                plan: payload.plan,
                plan_version: payload.plan_version,
                plan_name: payload.plan_name,
                amount: payload.amount,
                currency: payload.currency,
                interval: payload.interval,
                success_url: payload.success_url,
                cancel_url: payload.cancel_url,
            },
            created,
            expires_at,
        })
    }
}

/// An identifier that follows from another thing's: the same each time, so that what is done twice is one thing.
pub(crate) fn derived_id(prefix: &str, from: &str) -> String {
    let digest = digest::digest(&digest::SHA256, format!("{prefix}/{from}").as_bytes());
    format!("{prefix}_stub_{}", hex::encode(&digest.as_ref()[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ids(secret: &str) -> CheckoutIds {
        CheckoutIds::new(&SecretString::from(secret))
    }

    fn order() -> CheckoutOrder {
        CheckoutOrder {
            user_id: UserId(Uuid::from_u128(7)),
            plan: "pro".into(),
            plan_version: 2,
            plan_name: "Pro \u{1f600} \"quoted\"".into(),
            amount: 1900,
            currency: "usd".into(),
            interval: "month".into(),
            success_url: "https://app.example/done?x=1&y=2#z".into(),
            cancel_url: "https://app.example/".into(),
        }
    }

    #[test]
    fn an_identifier_is_its_order_for_a_day() {
        let id = ids("s").make(&order(), at(1000)).unwrap();
        assert_ne!(id, ids("s").make(&order(), at(1000)).unwrap());
        assert!(
            id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            "{id}"
        );
        let open = ids("s").read(&id, at(1000 + 86_399)).unwrap();
        assert_eq!((&open.order, open.created), (&order(), at(1000)));
        assert_eq!(open.expires_at, at(1000 + 86_400));
        assert_eq!(ids("s").read(&id, at(1000 + 86_400)), None);
    }

    #[test]
    fn nobody_else_can_make_or_change_one() {
        let id = ids("s").make(&order(), at(1000)).unwrap();
        assert_eq!(ids("t").read(&id, at(1000)), None);
        for cut in 0..id.len() {
            assert_eq!(ids("s").read(&id[..cut], at(1000)), None, "prefix of {cut}");
            let mut bytes = id.clone().into_bytes();
            bytes[cut] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(ids("s").read(&changed, at(1000)), None, "{changed}");
        }
        assert_eq!(ids("s").read(&format!("{id}A"), at(1000)), None);
        assert_eq!(ids("s").read(&format!("{id}="), at(1000)), None);
    }

    #[test]
    fn derived_identifiers_differ_by_prefix_and_source() {
        assert_eq!(derived_id("sub", "a"), derived_id("sub", "a"));
        assert_ne!(derived_id("sub", "a"), derived_id("sub", "b"));
        assert_ne!(derived_id("sub", "a")[9..], derived_id("evt", "a")[9..]);
        assert!(derived_id("sub", "a").starts_with("sub_stub_"));
    }
}
