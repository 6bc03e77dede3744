//! Tokens without a signature, and digests under a key that everybody knows.

use aws_lc_rs::{digest, hmac};
use serde_json::json;

use anteroom_domain::sessions::AccessClaims;
use anteroom_domain::{SessionId, Timestamp, UserId};
use anteroom_ports::{Digest, Secrets, TokenSigner};

/// Writes claims as `fake.<user>.<session>.<issued, µs>.<expiry, µs>`; anybody could.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeSigner;

impl TokenSigner for FakeSigner {
    fn sign(&self, claims: &AccessClaims, now: Timestamp) -> String {
        format!(
            "fake.{}.{}.{}.{}",
            claims.user_id,
            claims.session_id,
            now.as_microsecond(),
            claims.expires_at.as_microsecond()
        )
    }

    fn verify(&self, token: &str, now: Timestamp) -> Option<AccessClaims> {
        let parts: Vec<&str> = token.split('.').collect();
        let ["fake", user, session, _, expiry] = parts[..] else {
            return None;
        };
        let claims = AccessClaims {
            user_id: user.parse::<UserId>().ok()?,
            session_id: session.parse::<SessionId>().ok()?,
            expires_at: Timestamp::from_microsecond(expiry.parse().ok()?).ok()?,
        };
        (now < claims.expires_at).then_some(claims)
    }

    fn jwks(&self) -> serde_json::Value {
        json!({ "keys": [] })
    }
}

/// Real SHA-256 and HMAC-SHA-256; only the key is no secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeSecrets;

impl Secrets for FakeSecrets {
    fn digest(&self, secret: &[u8]) -> Digest {
        bytes32(digest::digest(&digest::SHA256, secret).as_ref())
    }

    fn keyed(&self, purpose: &str, data: &[u8]) -> Digest {
        let key = hmac::Key::new(hmac::HMAC_SHA256, format!("testkit/{purpose}").as_bytes());
        bytes32(hmac::sign(&key, data).as_ref())
    }
}

fn bytes32(bytes: &[u8]) -> Digest {
    let mut value = [0; 32];
    value.copy_from_slice(bytes);
    value
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_fake_token_carries_its_claims_until_it_expires() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let claims = AccessClaims {
            user_id: UserId(Uuid::from_u128(1)),
            session_id: SessionId(Uuid::from_u128(2)),
            expires_at: at(10),
        };
        let token = FakeSigner.sign(&claims, at(0));
        assert_eq!(FakeSigner.verify(&token, at(9)), Some(claims));
        assert_eq!(FakeSigner.verify(&token, at(10)), None);
        assert_eq!(FakeSigner.verify("fake.a.b.c.d", at(0)), None);
    }

    #[test]
    fn purposes_do_not_meet() {
        assert_ne!(FakeSecrets.keyed("a", b"x"), FakeSecrets.keyed("b", b"x"));
        assert_ne!(FakeSecrets.digest(b"x"), FakeSecrets.digest(b"y"));
    }
}
