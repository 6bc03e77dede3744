//! Keys that are only names, tokens without a signature, and digests under a key that everybody knows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::{digest, hmac, rand};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

use anteroom_domain::sessions::{AccessClaims, SigningAlgorithm, SigningKey, signs_at};
use anteroom_domain::{SessionId, Timestamp, UserId};
use anteroom_ports::{Digest, SealError, Secrets, SigningKeyError, TokenRefusal, TokenSigner};

use crate::lock;

/// How long a key of the fake verifies after it was retired, and two minutes: as if access tokens lived so long.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(15);

/// Writes claims as `fake.<kid>.<user>.<session>.<issued, µs>.<expiry, µs>`; anybody could. Keys are nothing but names,
/// and sealed if their record says `sealed`.
#[derive(Debug, Default)]
pub struct FakeSigner {
    keys: Mutex<Vec<SigningKey>>,
    loads: AtomicUsize,
}

impl FakeSigner {
    /// How often keys were loaded.
    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

impl TokenSigner for FakeSigner {
    fn generate(
        &self,
        algorithm: SigningAlgorithm,
        created_at: Timestamp,
        active_from: Timestamp,
    ) -> Result<SigningKey, SigningKeyError> {
        let mut name = [0; 16];
        rand::fill(&mut name).map_err(|_| SigningKeyError::Failed)?;
        let kid = Uuid::from_bytes(name).simple().to_string();
        Ok(key(kid, algorithm, created_at, active_from))
    }

    fn former(&self, now: Timestamp) -> Result<SigningKey, SigningKeyError> {
        Ok(key("former".to_owned(), SigningAlgorithm::EdDsa, now, now))
    }

    fn load(&self, keys: &[SigningKey]) -> Vec<SigningKeyError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let opens = |key: &&SigningKey| key.revoked_at.is_some() || key.sealed == SEALED;
        let failed = keys.iter().filter(|key| !opens(key));
        let errors = failed.map(|key| SigningKeyError::Sealed { kid: key.kid.clone() });
        *lock(&self.keys) = keys.iter().filter(opens).cloned().collect();
        errors.collect()
    }

    fn sign(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, SigningKeyError> {
        let keys = lock(&self.keys);
        let key = signs_at(&keys, now).ok_or(SigningKeyError::NoneInForce)?;
        Ok(format!(
            "fake.{}.{}.{}.{}.{}",
            key.kid,
            claims.user_id,
            claims.session_id,
            now.as_microsecond(),
            claims.expires_at.as_microsecond()
        ))
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenRefusal> {
        let parts: Vec<&str> = token.split('.').collect();
        let ["fake", kid, user, session, _, expiry] = parts[..] else {
            return Err(TokenRefusal::Invalid);
        };
        let keys = lock(&self.keys);
        let key = keys.iter().find(|key| key.kid == kid).ok_or(TokenRefusal::UnknownKey)?;
        let claims = claims(user, session, expiry).filter(|claims| now < claims.expires_at);
        claims
            .filter(|_| key.verifies_at(now, TOKEN_LIFE))
            .ok_or(TokenRefusal::Invalid)
    }

    fn jwks(&self, now: Timestamp) -> serde_json::Value {
        let keys = lock(&self.keys);
        let verifying = keys.iter().filter(|key| key.verifies_at(now, TOKEN_LIFE));
        let published = verifying.map(|key| json!({ "kid": key.kid, "alg": key.algorithm.as_str() }));
        json!({ "keys": published.collect::<Vec<_>>() })
    }
}

const SEALED: &[u8] = b"sealed";

fn key(kid: String, algorithm: SigningAlgorithm, created_at: Timestamp, active_from: Timestamp) -> SigningKey {
    SigningKey {
        public_jwk: json!({ "kid": kid }).to_string(),
        kid,
        algorithm,
        sealed: SEALED.to_vec(),
        wrapping_version: 1,
        created_at,
        active_from,
        retired_at: None,
        revoked_at: None,
    }
}

fn claims(user: &str, session: &str, expiry: &str) -> Option<AccessClaims> {
    Some(AccessClaims {
        user_id: user.parse::<UserId>().ok()?,
        session_id: session.parse::<SessionId>().ok()?,
        expires_at: Timestamp::from_microsecond(expiry.parse().ok()?).ok()?,
    })
}

/// Real SHA-256 and HMAC-SHA-256; only the key is no secret. What is sealed is written backwards.
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

    fn seal(&self, purpose: &str, text: &SecretString) -> Result<String, SealError> {
        Ok(format!("{purpose}:{}", backwards(text)))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Option<SecretString> {
        let text = sealed.strip_prefix(purpose)?.strip_prefix(':')?;
        Some(backwards(&text.into()).into())
    }
}

/// Nobody finds a text in this who looks for it as it is.
fn backwards(text: &SecretString) -> String {
    text.expose_secret().chars().rev().collect()
}

fn bytes32(bytes: &[u8]) -> Digest {
    let mut value = [0; 32];
    value.copy_from_slice(bytes);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fake_token_carries_its_claims_until_it_expires() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let claims = AccessClaims {
            user_id: UserId(Uuid::from_u128(1)),
            session_id: SessionId(Uuid::from_u128(2)),
            expires_at: at(10),
        };
        let signer = FakeSigner::default();
        assert_eq!(signer.sign(&claims, at(0)), Err(SigningKeyError::NoneInForce));
        let mut key = signer.generate(SigningAlgorithm::Es256, at(0), at(0)).unwrap();
        assert_eq!(signer.load(std::slice::from_ref(&key)), []);
        let token = signer.sign(&claims, at(0)).unwrap();
        assert_eq!(signer.verify(&token, at(9)), Ok(claims));
        assert_eq!(signer.verify(&token, at(10)), Err(TokenRefusal::Invalid));
        assert_eq!(signer.verify("fake.a.b.c.d.e", at(0)), Err(TokenRefusal::UnknownKey));
        assert_eq!(signer.verify("fake.a.b.c.d", at(0)), Err(TokenRefusal::Invalid));
        assert_eq!(signer.jwks(at(0))["keys"][0]["kid"], json!(key.kid));
        key.sealed.clear();
        assert_eq!(signer.load(&[key]).len(), 1);
        assert_eq!(signer.verify(&token, at(9)), Err(TokenRefusal::UnknownKey));
        assert_eq!(signer.loads(), 2);
    }

    #[test]
    fn purposes_do_not_meet() {
        assert_ne!(FakeSecrets.keyed("a", b"x"), FakeSecrets.keyed("b", b"x"));
        assert_ne!(FakeSecrets.digest(b"x"), FakeSecrets.digest(b"y"));
    }
}
