//! Private keys: making, sealing and opening them, and what is published of them.
//!
//! A key lies in the store sealed with AES-256-GCM under a key that derives from the deployment's secret, with a random
//! nonce before it, and bound to its `kid` and algorithm. Whoever reads the store has no key; whoever writes to it can
//! make none that opens.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};

use anteroom_domain::Timestamp;
use anteroom_domain::sessions::{SigningAlgorithm, SigningKey};
use anteroom_ports::SigningKeyError;

use crate::keys::{DeploymentKeys, KeyError};

/// The version of the wrapping key that new records name. Another way to wrap gets another number.
pub(crate) const WRAPPING_VERSION: i32 = 1;

/// A private key, ready to sign.
pub(crate) enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    /// P-256. Signatures are `r` and `s`, 32 bytes each (RFC 7518 section 3.4), never DER.
    P256(EcdsaKeyPair),
}

impl PrivateKey {
    pub(crate) fn generate(algorithm: SigningAlgorithm) -> Result<Self, SigningKeyError> {
        let made = match algorithm {
            SigningAlgorithm::EdDsa => Ed25519KeyPair::generate().map(Self::Ed25519),
            SigningAlgorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::P256),
        };
        made.map_err(|_| SigningKeyError::Failed)
    }

    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, SigningKeyError> {
        let made = Ed25519KeyPair::from_seed_unchecked(seed);
        made.map(Self::Ed25519).map_err(|_| SigningKeyError::Failed)
    }

    fn from_pkcs8(algorithm: SigningAlgorithm, document: &[u8]) -> Option<Self> {
        match algorithm {
            SigningAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(document).ok().map(Self::Ed25519),
            SigningAlgorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document)
                .ok()
                .map(Self::P256),
        }
    }

    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
        let document = match self {
            Self::Ed25519(pair) => pair.to_pkcs8(),
            Self::P256(pair) => pair.to_pkcs8v1(),
        };
        let document = document.map_err(|_| SigningKeyError::Failed)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    pub(crate) fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Ed25519(_) => SigningAlgorithm::EdDsa,
            Self::P256(_) => SigningAlgorithm::Es256,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<String, SigningKeyError> {
        match self {
            Self::Ed25519(pair) => Ok(URL_SAFE_NO_PAD.encode(pair.sign(message))),
            Self::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| URL_SAFE_NO_PAD.encode(signature))
                .map_err(|_| SigningKeyError::Failed),
        }
    }

    /// The public half: `x`, and `y` where the curve has one, each in base64url.
    pub(crate) fn coordinates(&self) -> (String, Option<String>) {
        match self {
            Self::Ed25519(pair) => (URL_SAFE_NO_PAD.encode(pair.public_key()), None),
            Self::P256(pair) => {
                // Uncompressed (SEC 1 section 2.3.3): a 4, then both coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                (URL_SAFE_NO_PAD.encode(x), Some(URL_SAFE_NO_PAD.encode(y)))
            }
        }
    }

    /// What is published (RFC 7517).
    pub(crate) fn public_jwk(&self) -> Value {
        let (alg, kid) = (self.algorithm().as_str(), self.kid());
        match self.coordinates() {
            (x, None) => json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": alg, "kid": kid }),
            (x, Some(y)) => {
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": alg, "kid": kid })
            }
        }
    }

    /// The JWK thumbprint (RFC 7638): SHA-256 over the required members in lexical order (section 3.2, and RFC 8037
    /// section 2).
    pub(crate) fn kid(&self) -> String {
        let canonical = match self.coordinates() {
            (x, None) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            (x, Some(y)) => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }
}

/// Seals private keys and opens them.
pub(crate) struct KeyWrap(LessSafeKey);

impl KeyWrap {
    pub(crate) fn new(keys: &DeploymentKeys) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, keys.signing_key_wrap()).map_err(|_| KeyError::Failed)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// The record of a key that is to be kept.
    pub(crate) fn record(
        &self,
        key: &PrivateKey,
        created_at: Timestamp,
        active_from: Timestamp,
    ) -> Result<SigningKey, SigningKeyError> {
        let (kid, algorithm) = (key.kid(), key.algorithm());
        Ok(SigningKey {
            sealed: self.seal(key, &kid)?,
            public_jwk: key.public_jwk().to_string(),
            kid,
            algorithm,
            wrapping_version: WRAPPING_VERSION,
            created_at,
            active_from,
            retired_at: None,
            revoked_at: None,
        })
    }

    fn seal(&self, key: &PrivateKey, kid: &str) -> Result<Vec<u8>, SigningKeyError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SigningKeyError::Failed)?;
        let mut text = key.to_pkcs8()?;
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                bound_to(kid, key.algorithm()),
                &mut text,
            )
            .map_err(|_| SigningKeyError::Failed)?;
        Ok([nonce.as_slice(), text.as_slice(), tag.as_ref()].concat())
    }

    /// The key in a record. It must be the one that the record says it is.
    pub(crate) fn open(&self, record: &SigningKey) -> Result<PrivateKey, SigningKeyError> {
        if record.wrapping_version != WRAPPING_VERSION {
            return Err(SigningKeyError::UnknownWrapping {
                kid: record.kid.clone(),
                version: record.wrapping_version,
            });
        }
        self.opened(record)
            .filter(|key| key.kid() == record.kid)
            .ok_or_else(|| SigningKeyError::Sealed {
                kid: record.kid.clone(),
            })
    }

    fn opened(&self, record: &SigningKey) -> Option<PrivateKey> {
        let (nonce, sealed) = record.sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let document = self
            .0
            .open_in_place(nonce, bound_to(&record.kid, record.algorithm), &mut text)
            .ok()?;
        PrivateKey::from_pkcs8(record.algorithm, document)
    }
}

/// A sealed key is none under another `kid` or for another algorithm.
fn bound_to(kid: &str, algorithm: SigningAlgorithm) -> Aad<String> {
    Aad::from(format!("anteroom/signing-key/1 {} {kid}", algorithm.as_str()))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn wrap(letter: &str) -> KeyWrap {
        let keys = DeploymentKeys::derive(&SecretString::from(letter.repeat(32))).unwrap();
        KeyWrap::new(&keys).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        // RFC 8037, appendices A.1 and A.3.
        let seed = URL_SAFE_NO_PAD
            .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
            .unwrap();
        let key = PrivateKey::from_seed(&seed.try_into().unwrap()).unwrap();
        assert_eq!(key.coordinates().0, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // Another implementation's of RFC 7638.
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.public_jwk()).unwrap();
            let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
            assert_eq!(thumbprint, key.kid());
        }
    }

    #[test]
    fn a_key_survives_being_sealed_and_no_two_records_are_alike() {
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let record = wrap("k").record(&key, at(1), at(2)).unwrap();
            assert_eq!((record.created_at, record.active_from), (at(1), at(2)));
            let opened = wrap("k").open(&record).unwrap();
            assert_eq!(opened.public_jwk(), key.public_jwk());
            assert_eq!(opened.public_jwk().to_string(), record.public_jwk);
            assert!(!record.public_jwk.contains("\"d\""));
            assert_ne!(wrap("k").record(&key, at(1), at(2)).unwrap().sealed, record.sealed);
            let private = key.to_pkcs8().unwrap();
            assert!(
                !record
                    .sealed
                    .windows(16)
                    .any(|part| private.windows(16).any(|p| p == part))
            );
        }
    }

    #[test]
    fn a_record_that_was_touched_does_not_open_and_says_what_to_do() {
        let key = PrivateKey::generate(SigningAlgorithm::EdDsa).unwrap();
        let good = wrap("k").record(&key, at(1), at(2)).unwrap();
        let fails = |record: &SigningKey, wrap: &KeyWrap| {
            let error = wrap.open(record).err().expect("it must not open");
            assert!(matches!(error, SigningKeyError::Sealed { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("anteroom keys revoke {}", record.kid)), "{text}");
        };
        for bit in 0..good.sealed.len() * 8 {
            let mut record = good.clone();
            record.sealed[bit / 8] ^= 1 << (bit % 8);
            fails(&record, &wrap("k"));
        }
        for length in 0..good.sealed.len() {
            let mut record = good.clone();
            record.sealed.truncate(length);
            fails(&record, &wrap("k"));
        }
        fails(&good, &wrap("x"));
        // Under another key's name, or another algorithm's.
        let mut swapped = wrap("k")
            .record(&PrivateKey::generate(SigningAlgorithm::EdDsa).unwrap(), at(1), at(2))
            .unwrap();
        swapped.sealed.clone_from(&good.sealed);
        fails(&swapped, &wrap("k"));
        let mut other = good.clone();
        other.algorithm = SigningAlgorithm::Es256;
        fails(&other, &wrap("k"));
        let mut newer = good;
        newer.wrapping_version = 2;
        let error = wrap("k").open(&newer).err().unwrap();
        assert!(
            matches!(error, SigningKeyError::UnknownWrapping { version: 2, .. }),
            "{error:?}"
        );
    }
}
