//! Access tokens: signed JWTs (RFC 9068) under the keys that are loaded, Ed25519 (RFC 8037) or ES256 (RFC 7518).
//!
//! Tokens are put together here and checked by `jsonwebtoken`, whose check reads the ambient clock; times are
//! therefore compared here, against the time that the caller states.
//!
//! A token's header says nothing that is believed. It must be, byte for byte, the header that one of the loaded keys
//! writes; that key and its algorithm then are what the signature is checked with. So there is no `alg` to confuse, no
//! `kid` to look up anywhere, and `jku`, `jwk`, `x5u`, `x5c` and `crit` are not even read.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use anteroom_domain::sessions::{AccessClaims, SigningAlgorithm, SigningKey, signs_at};
use anteroom_domain::{SessionId, Timestamp, UserId};
use anteroom_ports::{SigningKeyError, TokenRefusal, TokenSigner};

use crate::keys::{DeploymentKeys, KeyError};
use crate::signing_keys::{KeyWrap, PrivateKey};

/// The media type in the header (RFC 9068 section 2.1): an access token never passes for an ID token or the reverse.
const TYPE: &str = "at+jwt";

/// The longest token that is looked at. Those made here have about 600 bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// The length of a `kid` made here: a SHA-256 in base64url.
const KID_CHARACTERS: usize = 43;

/// How far ahead the clock of the node that signed may be, in seconds.
const CLOCK_SKEW: i64 = 60;

/// Makes aws-lc-rs the cryptography of `jsonwebtoken` for this process. Without it, that library panics at its first
/// use if another dependency turns its second backend on. Calling it again changes nothing.
pub fn install_crypto() {
    // An error means that it is installed already.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// What tokens say, and for how long.
#[derive(Debug, Clone)]
pub struct KeyRingOptions {
    /// `iss`: the public URL. A token of another is refused.
    pub issuer: String,
    /// `aud`: whom the tokens are for. A token for another is refused.
    pub audience: String,
    /// How long access tokens live: so long a key verifies after it was retired.
    pub token_life: SignedDuration,
}

/// Signs and checks access tokens with the keys that are loaded.
pub struct KeyRing {
    options: KeyRingOptions,
    wrap: KeyWrap,
    former: PrivateKey,
    /// Exchanged as a whole; readers hold the lock for as long as it takes to count one more reader.
    loaded: RwLock<Arc<Loaded>>,
}

#[derive(Default)]
struct Loaded {
    records: Vec<SigningKey>,
    keys: Vec<LoadedKey>,
    unusable: Vec<SigningKeyError>,
}

struct LoadedKey {
    record: SigningKey,
    private: PrivateKey,
    /// The encoded header of every token that it signs.
    header: String,
    decoding_key: DecodingKey,
    validation: Validation,
}

impl AsRef<SigningKey> for LoadedKey {
    fn as_ref(&self) -> &SigningKey {
        &self.record
    }
}

/// What an access token says. Every claim has one type; a token that has another, or a claim twice, is none.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
    #[serde(rename = "jti")]
    _jti: String,
}

impl KeyRing {
    /// An empty one: nothing is signed or accepted before keys are loaded.
    pub fn new(keys: &DeploymentKeys, options: KeyRingOptions) -> Result<Self, KeyError> {
        install_crypto();
        Ok(Self {
            options,
            wrap: KeyWrap::new(keys)?,
            former: PrivateKey::from_seed(keys.signing_seed()).map_err(|_| KeyError::Failed)?,
            loaded: RwLock::default(),
        })
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self, record: &SigningKey) -> Result<LoadedKey, SigningKeyError> {
        let private = self.wrap.open(record)?;
        let (algorithm, decoding_key) = match private.coordinates() {
            (x, None) => (Algorithm::EdDSA, DecodingKey::from_ed_components(&x)),
            (x, Some(y)) => (Algorithm::ES256, DecodingKey::from_ec_components(&x, &y)),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_audience(&[&self.options.audience]);
        // Against the time that the caller states, below.
        validation.validate_exp = false;
        Ok(LoadedKey {
            header: header(record.algorithm, &record.kid),
            decoding_key: decoding_key.map_err(|_| SigningKeyError::Failed)?,
            validation,
            private,
            record: record.clone(),
        })
    }

    fn claims(&self, key: &LoadedKey, token: &str, now: Timestamp) -> Option<AccessClaims> {
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding_key, &key.validation)
            .ok()?
            .claims;
        // The library also takes lists that name us among others; tokens of ours never do.
        let for_us = claims.iss == self.options.issuer && claims.aud == self.options.audience;
        let now = now.as_second();
        let ahead = now.saturating_add(CLOCK_SKEW);
        let in_time = now < claims.exp && claims.iat <= ahead && claims.nbf.is_none_or(|nbf| nbf <= ahead);
        if !(for_us && in_time) {
            return None;
        }
        Some(AccessClaims {
            user_id: UserId(claims.sub),
            session_id: SessionId(claims.sid),
            expires_at: Timestamp::from_second(claims.exp).ok()?,
        })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loaded = self.loaded();
        let kids: Vec<&str> = loaded.keys.iter().map(|key| key.record.kid.as_str()).collect();
        f.debug_struct("KeyRing").field("kids", &kids).finish_non_exhaustive()
    }
}

impl TokenSigner for KeyRing {
    fn generate(
        &self,
        algorithm: SigningAlgorithm,
        created_at: Timestamp,
        active_from: Timestamp,
    ) -> Result<SigningKey, SigningKeyError> {
        let key = PrivateKey::generate(algorithm)?;
        self.wrap.record(&key, created_at, active_from)
    }

    fn former(&self, now: Timestamp) -> Result<SigningKey, SigningKeyError> {
        self.wrap.record(&self.former, now, now)
    }

    fn load(&self, records: &[SigningKey]) -> Vec<SigningKeyError> {
        let before = self.loaded();
        if before.records == records {
            return before.unusable.clone();
        }
        let mut next = Loaded {
            records: records.to_vec(),
            ..Loaded::default()
        };
        for record in records.iter().filter(|record| record.revoked_at.is_none()) {
            match self.open(record) {
                Ok(key) => next.keys.push(key),
                Err(e) => next.unusable.push(e),
            }
        }
        let unusable = next.unusable.clone();
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        unusable
    }

    fn sign(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, SigningKeyError> {
        let loaded = self.loaded();
        let key = signs_at(&loaded.keys, now).ok_or(SigningKeyError::NoneInForce)?;
        // Only tells tokens apart, so that a system without randomness, which nothing here survives, may leave it.
        let mut jti = [0; 16];
        let _ = rand::fill(&mut jti);
        let payload = json!({
            "iss": self.options.issuer,
            "aud": self.options.audience,
            "sub": claims.user_id,
            "sid": claims.session_id,
            "iat": now.as_second(),
            "exp": claims.expires_at.as_second(),
            "jti": URL_SAFE_NO_PAD.encode(jti),
        });
        sign_parts(&key.private, &key.header, payload.to_string().as_bytes())
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::Invalid);
        }
        let (header, _) = token.split_once('.').ok_or(TokenRefusal::Invalid)?;
        let loaded = self.loaded();
        let Some(key) = loaded.keys.iter().find(|key| key.header == header) else {
            let unknown = named_key(header).is_some_and(|kid| loaded.records.iter().all(|record| record.kid != kid));
            return Err(if unknown {
                TokenRefusal::UnknownKey
            } else {
                TokenRefusal::Invalid
            });
        };
        if !key.record.verifies_at(now, self.options.token_life) {
            return Err(TokenRefusal::Invalid);
        }
        self.claims(key, token, now).ok_or(TokenRefusal::Invalid)
    }

    fn jwks(&self, now: Timestamp) -> Value {
        let loaded = self.loaded();
        let verifies = |key: &&LoadedKey| key.record.verifies_at(now, self.options.token_life);
        let keys: Vec<Value> = loaded
            .keys
            .iter()
            .filter(verifies)
            .map(|key| key.private.public_jwk())
            .collect();
        json!({ "keys": keys })
    }
}

/// The encoded header of the tokens of a key. Both words are of a few letters that JSON writes as they are.
fn header(algorithm: SigningAlgorithm, kid: &str) -> String {
    let alg = algorithm.as_str();
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"{TYPE}"}}"#))
}

/// The `kid` of a header that some key of ours could have written.
fn named_key(encoded: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        kid: String,
    }
    let text = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let Named { kid } = serde_json::from_slice(&text).ok()?;
    let made_here = kid.len() == KID_CHARACTERS && URL_SAFE_NO_PAD.decode(&kid).is_ok();
    let written_here = |algorithm: SigningAlgorithm| header(algorithm, &kid) == encoded;
    let ours = made_here && (written_here(SigningAlgorithm::EdDsa) || written_here(SigningAlgorithm::Es256));
    ours.then_some(kid)
}

fn sign_parts(key: &PrivateKey, header: &str, payload: &[u8]) -> Result<String, SigningKeyError> {
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = key.sign(message.as_bytes())?;
    Ok(format!("{message}.{signature}"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    use jsonwebtoken::jwk::{JwkSet, ThumbprintHash};
    use jsonwebtoken::{EncodingKey, Header};
    use secrecy::SecretString;

    use super::*;

    const ISSUER: &str = "https://id.example";
    const AUDIENCE: &str = "anteroom";
    const NOW: i64 = 1_800_000_000;
    const ALGORITHMS: [SigningAlgorithm; 2] = [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn empty(letter: &str) -> KeyRing {
        let keys = DeploymentKeys::derive(&SecretString::from(letter.repeat(32))).unwrap();
        let options = KeyRingOptions {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            token_life: SignedDuration::from_secs(900),
        };
        KeyRing::new(&keys, options).unwrap()
    }

    /// A ring with one key in it.
    fn ring(algorithm: SigningAlgorithm) -> (KeyRing, SigningKey) {
        let ring = empty("k");
        let key = ring.generate(algorithm, at(NOW), at(NOW)).unwrap();
        assert_eq!(ring.load(std::slice::from_ref(&key)), []);
        (ring, key)
    }

    fn claims() -> AccessClaims {
        AccessClaims {
            user_id: UserId(Uuid::from_u128(1)),
            session_id: SessionId(Uuid::from_u128(2)),
            expires_at: at(NOW + 900),
        }
    }

    fn payload() -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2),
            "iat": NOW, "exp": NOW + 900, "jti": "x",
        })
    }

    /// A token with any header and body, and a right signature of the ring's first key.
    fn signed(ring: &KeyRing, header: &str, payload: &str) -> String {
        let key = &ring.loaded().keys[0];
        sign_parts(&key.private, &URL_SAFE_NO_PAD.encode(header), payload.as_bytes()).unwrap()
    }

    fn head(key: &SigningKey) -> String {
        format!(
            r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#,
            key.algorithm.as_str(),
            key.kid
        )
    }

    #[test]
    fn a_token_carries_its_claims_until_it_expires() {
        for algorithm in ALGORITHMS {
            let (ring, key) = ring(algorithm);
            let token = ring.sign(&claims(), at(NOW)).unwrap();
            assert_eq!(ring.verify(&token, at(NOW)), Ok(claims()));
            assert_eq!(ring.verify(&token, at(NOW + 899)), Ok(claims()));
            assert_eq!(ring.verify(&token, at(NOW + 900)), Err(TokenRefusal::Invalid));
            let again = ring.sign(&claims(), at(NOW)).unwrap();
            assert_ne!(token, again, "each has an identifier of its own");
            assert!(token.len() < 700, "{}", token.len());
            let elsewhere = empty("k");
            assert_eq!(elsewhere.verify(&token, at(NOW)), Err(TokenRefusal::UnknownKey));
            elsewhere.load(&[key]);
            let found = elsewhere.verify(&token, at(NOW));
            assert_eq!(found, Ok(claims()), "another node, or after a restart");
        }
    }

    #[test]
    fn whoever_holds_the_published_key_can_check_a_token() {
        for algorithm in ALGORITHMS {
            let (ring, key) = ring(algorithm);
            let token = ring.sign(&claims(), at(NOW)).unwrap();
            let set: JwkSet = serde_json::from_value(ring.jwks(at(NOW))).unwrap();
            let head = jsonwebtoken::decode_header(&token).unwrap();
            let jwk = set.find(&head.kid.unwrap()).unwrap();
            assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), key.kid);
            let public = DecodingKey::from_jwk(jwk).unwrap();
            let decoded = jsonwebtoken::decode::<Value>(&token, &public, &ring.loaded().keys[0].validation).unwrap();
            assert_eq!(decoded.claims["sub"], json!(claims().user_id));
            let alg = serde_json::to_value(head.alg).unwrap();
            assert_eq!((head.typ.as_deref(), alg), (Some("at+jwt"), json!(algorithm.as_str())));
            assert!(ring.jwks(at(NOW))["keys"][0].get("d").is_none());
        }
    }

    #[test]
    fn keys_take_over_from_one_another_and_go() {
        let (ring, mut old) = ring(SigningAlgorithm::EdDsa);
        let before = ring.sign(&claims(), at(NOW)).unwrap();
        let new = ring.generate(SigningAlgorithm::Es256, at(NOW), at(NOW + 600)).unwrap();
        old.retired_at = Some(at(NOW + 600));
        ring.load(&[old.clone(), new.clone()]);
        let kid = |now: i64| {
            let long = AccessClaims {
                expires_at: at(now + 9000),
                ..claims()
            };
            let token = ring.sign(&long, at(now)).unwrap();
            assert!(ring.verify(&token, at(now)).is_ok());
            jsonwebtoken::decode_header(&token).unwrap().kid.unwrap()
        };
        let published = |now: i64| -> Vec<String> {
            let set = ring.jwks(at(now));
            let kids = set["keys"].as_array().unwrap().iter();
            kids.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!((kid(NOW + 599), kid(NOW + 600)), (old.kid.clone(), new.kid.clone()));
        assert_eq!(published(NOW), [old.kid.clone(), new.kid.clone()], "before it signs");
        assert!(ring.verify(&before, at(NOW + 899)).is_ok());
        // One that lives longer than tokens do, so that only the key's end can be why.
        old.retired_at = None;
        ring.load(std::slice::from_ref(&old));
        let long = AccessClaims {
            expires_at: at(NOW + 90_000),
            ..claims()
        };
        let long_lived = ring.sign(&long, at(NOW)).unwrap();
        old.retired_at = Some(at(NOW + 600));
        ring.load(&[old.clone(), new.clone()]);
        assert!(ring.verify(&long_lived, at(NOW + 600 + 900 + 119)).is_ok());
        assert_eq!(
            ring.verify(&long_lived, at(NOW + 600 + 900 + 120)),
            Err(TokenRefusal::Invalid)
        );
        assert_eq!(published(NOW + 600 + 900 + 120), std::slice::from_ref(&new.kid));
        // Revoked: at once, and known, so that nobody looks for it.
        old.retired_at = None;
        old.revoked_at = Some(at(NOW));
        ring.load(&[old.clone(), new.clone()]);
        assert_eq!(ring.verify(&before, at(NOW)), Err(TokenRefusal::Invalid));
        assert_eq!(published(NOW), [new.kid]);
        ring.load(&[old]);
        assert_eq!(ring.sign(&claims(), at(NOW)), Err(SigningKeyError::NoneInForce));
        assert_eq!(ring.jwks(at(NOW)), json!({ "keys": [] }));
    }

    #[test]
    fn a_key_that_does_not_open_is_left_out_and_named() {
        let (ring, good) = ring(SigningAlgorithm::EdDsa);
        let token = ring.sign(&claims(), at(NOW)).unwrap();
        let foreign = empty("x").generate(SigningAlgorithm::EdDsa, at(NOW), at(NOW)).unwrap();
        let named = SigningKeyError::Sealed {
            kid: foreign.kid.clone(),
        };
        assert_eq!(
            ring.load(&[good.clone(), foreign.clone()]),
            std::slice::from_ref(&named)
        );
        assert_eq!(ring.load(&[good.clone(), foreign.clone()]), [named], "and again");
        assert!(ring.verify(&token, at(NOW)).is_ok());
        let mut given_up = foreign;
        given_up.revoked_at = Some(at(NOW));
        assert_eq!(ring.load(&[good, given_up]), []);
    }

    #[test]
    fn the_former_key_is_the_derived_one() {
        let ring = empty("k");
        assert_eq!(ring.sign(&claims(), at(NOW)), Err(SigningKeyError::NoneInForce));
        let former = ring.former(at(NOW)).unwrap();
        assert_eq!(former.kid, empty("k").former(at(NOW + 1)).unwrap().kid);
        assert_ne!(former.kid, empty("x").former(at(NOW)).unwrap().kid);
        // Written by the version that knew only that key.
        let written = r#"{"alg":"EdDSA","kid":"KID","typ":"at+jwt"}"#.replace("KID", &former.kid);
        let token = sign_parts(
            &ring.former,
            &URL_SAFE_NO_PAD.encode(written),
            payload().to_string().as_bytes(),
        );
        ring.load(&[former]);
        assert_eq!(ring.verify(&token.unwrap(), at(NOW)), Ok(claims()));
    }

    #[test]
    fn no_part_and_no_variant_of_a_token_is_one() {
        for algorithm in ALGORITHMS {
            let (ring, _) = ring(algorithm);
            let token = ring.sign(&claims(), at(NOW)).unwrap();
            for cut in 0..token.len() {
                assert!(ring.verify(&token[..cut], at(NOW)).is_err(), "prefix of {cut}");
                assert!(ring.verify(&token[cut + 1..], at(NOW)).is_err(), "suffix from {cut}");
            }
            let mut flipped = 0;
            for bit in 0..token.len() * 8 {
                let mut bytes = token.clone().into_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(text) = String::from_utf8(bytes) else { continue };
                assert!(ring.verify(&text, at(NOW)).is_err(), "bit {bit}");
                flipped += 1;
            }
            assert!(flipped >= token.len() * 7);
            for around in [
                format!(" {token}"),
                format!("{token} "),
                format!("{token}="),
                format!("{token}."),
            ] {
                assert!(ring.verify(&around, at(NOW)).is_err());
            }
            assert_eq!(
                ring.verify(&"a".repeat(MAX_TOKEN_BYTES + 1), at(NOW)),
                Err(TokenRefusal::Invalid)
            );
            let long = format!("{token}{}", "A".repeat(MAX_TOKEN_BYTES));
            assert_eq!(ring.verify(&long, at(NOW)), Err(TokenRefusal::Invalid));
        }
    }

    #[test]
    fn no_other_algorithm_key_type_or_purpose_is_accepted() {
        for algorithm in ALGORITHMS {
            let (ring, key) = ring(algorithm);
            let body = payload().to_string();
            assert!(ring.verify(&signed(&ring, &head(&key), &body), at(NOW)).is_ok());
            let good: Value = serde_json::from_str(&head(&key)).unwrap();
            let other = if algorithm == SigningAlgorithm::EdDsa {
                "ES256"
            } else {
                "EdDSA"
            };
            for (member, value) in [
                ("alg", json!("none")),
                ("alg", json!("None")),
                ("alg", json!("HS256")),
                ("alg", json!("RS256")),
                ("alg", json!(other)),
                ("alg", json!(null)),
                ("kid", json!("other")),
                ("kid", json!("../../dev/null")),
                ("kid", json!("' OR 1=1 --")),
                ("kid", json!(format!("{}\u{0}", key.kid))),
                ("kid", json!(null)),
                ("typ", json!("JWT")),
                ("typ", json!("at+jwt ")),
                ("typ", json!(null)),
                ("crit", json!(["exp"])),
                ("zip", json!("DEF")),
            ] {
                let mut header = good.clone();
                header[member] = value.clone();
                let token = signed(&ring, &header.to_string(), &body);
                assert_eq!(
                    ring.verify(&token, at(NOW)),
                    Err(TokenRefusal::Invalid),
                    "{member}: {value}"
                );
            }
            // A second `alg` or `kid`, in either order.
            for twice in [
                head(&key).replacen('{', r#"{"alg":"none","#, 1),
                head(&key).replacen('{', &format!(r#"{{"kid":"{}","#, key.kid), 1),
                head(&key).replacen('}', r#","alg":"none"}"#, 1),
            ] {
                assert!(ring.verify(&signed(&ring, &twice, &body), at(NOW)).is_err(), "{twice}");
            }
            // Without a signature, whatever the header says.
            for header in [head(&key), head(&key).replace(key.algorithm.as_str(), "none")] {
                let (header, body) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&body));
                for token in [format!("{header}.{body}."), format!("{header}.{body}")] {
                    assert!(ring.verify(&token, at(NOW)).is_err(), "{token}");
                }
            }
            // An HMAC whose key is the public key or nothing: what a verifier that trusts `alg` would take.
            let mut hmac = Header::new(Algorithm::HS256);
            (hmac.kid, hmac.typ) = (Some(key.kid.clone()), Some("at+jwt".to_owned()));
            let x = URL_SAFE_NO_PAD
                .decode(ring.jwks(at(NOW))["keys"][0]["x"].as_str().unwrap())
                .unwrap();
            for secret in [x.as_slice(), key.public_jwk.as_bytes(), b""] {
                let confused = jsonwebtoken::encode(&hmac, &payload(), &EncodingKey::from_secret(secret)).unwrap();
                assert!(ring.verify(&confused, at(NOW)).is_err());
            }
        }
    }

    #[test]
    fn a_key_of_ours_signs_nothing_under_anothers_name() {
        let ring = empty("k");
        let ed = ring.generate(SigningAlgorithm::EdDsa, at(NOW), at(NOW)).unwrap();
        let ec = ring.generate(SigningAlgorithm::Es256, at(NOW), at(NOW)).unwrap();
        ring.load(&[ed.clone(), ec.clone()]);
        let body = payload().to_string();
        for (number, own, other) in [(0, &ed, &ec), (1, &ec, &ed)] {
            let private = &ring.loaded().keys[number].private;
            let under = |header: String| sign_parts(private, &URL_SAFE_NO_PAD.encode(header), body.as_bytes()).unwrap();
            assert!(ring.verify(&under(head(own)), at(NOW)).is_ok());
            assert!(ring.verify(&under(head(other)), at(NOW)).is_err(), "its key");
            let mixed = head(own).replace(own.algorithm.as_str(), other.algorithm.as_str());
            assert!(ring.verify(&under(mixed), at(NOW)).is_err(), "its algorithm");
        }
    }

    #[test]
    fn an_es256_signature_in_der_is_none() {
        let (ring, key) = ring(SigningAlgorithm::Es256);
        let document = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        )
        .unwrap();
        let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
        // The same numbers as in the right signature, in ASN.1.
        let token = signed(&ring, &head(&key), &payload().to_string());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let fixed = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(fixed.len(), 64);
        let integer = |part: &[u8]| {
            let mut bytes: Vec<u8> = part.iter().copied().skip_while(|b| *b == 0).collect();
            if bytes[0] & 0x80 != 0 {
                bytes.insert(0, 0);
            }
            [vec![2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
        };
        let numbers = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
        let same = [vec![0x30, u8::try_from(numbers.len()).unwrap()], numbers].concat();
        let foreign = der
            .sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes())
            .unwrap();
        for bytes in [same.as_slice(), foreign.as_ref(), &[0; 64], &[0; 0]] {
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
            assert!(ring.verify(&token, at(NOW)).is_err());
        }
    }

    #[test]
    fn a_key_in_the_header_is_never_used() {
        let (ring, key) = ring(SigningAlgorithm::EdDsa);
        let (attacker, theirs) = self::ring(SigningAlgorithm::EdDsa);
        let jwk = attacker.jwks(at(NOW))["keys"][0].clone();
        for (member, value) in [
            ("jwk", jwk),
            ("jku", json!("https://attacker.example/jwks.json")),
            ("x5u", json!("https://attacker.example/cert.pem")),
            ("x5c", json!(["MIIB"])),
        ] {
            for kid in [&key.kid, &theirs.kid] {
                let mut header: Value = serde_json::from_str(&head(&key)).unwrap();
                header["kid"] = json!(kid);
                header[member] = value.clone();
                let forged = signed(&attacker, &header.to_string(), &payload().to_string());
                assert_eq!(ring.verify(&forged, at(NOW)), Err(TokenRefusal::Invalid), "{member}");
            }
        }
        let forged = signed(&attacker, &head(&key), &payload().to_string());
        assert_eq!(ring.verify(&forged, at(NOW)), Err(TokenRefusal::Invalid));
        let theirs = attacker.sign(&claims(), at(NOW)).unwrap();
        assert_eq!(ring.verify(&theirs, at(NOW)), Err(TokenRefusal::UnknownKey));
    }

    #[test]
    fn claims_of_a_wrong_type_missing_or_twice_are_refused() {
        let (ring, key) = ring(SigningAlgorithm::EdDsa);
        let refused = |body: &str| {
            let token = signed(&ring, &head(&key), body);
            assert!(ring.verify(&token, at(NOW)).is_err(), "{body}");
        };
        for (claim, value) in [
            ("exp", json!((NOW + 900).to_string())),
            ("exp", json!(1.8e9 + 900.5)),
            ("exp", json!(null)),
            ("exp", json!(NOW)),
            ("exp", json!(-1)),
            ("exp", json!(u64::MAX)),
            ("iat", json!(NOW.to_string())),
            ("iat", json!(NOW + 61)),
            ("iss", json!("https://id.example/")),
            ("iss", json!([ISSUER])),
            ("aud", json!("other")),
            ("aud", json!([AUDIENCE, "other"])),
            ("aud", json!(null)),
            ("sub", json!(7)),
            ("sub", json!("ada")),
            ("sid", json!(true)),
            ("jti", json!(7)),
        ] {
            let mut payload = payload();
            payload[claim] = value;
            refused(&payload.to_string());
            payload.as_object_mut().unwrap().remove(claim);
            refused(&payload.to_string());
        }
        for nbf in [json!(NOW.to_string()), json!(NOW + 61), json!([NOW]), json!(true)] {
            let mut payload = payload();
            payload["nbf"] = nbf;
            refused(&payload.to_string());
        }
        for claim in [
            format!("\"exp\":{}", NOW + 9000),
            format!("\"sub\":\"{}\"", Uuid::from_u128(1)),
        ] {
            refused(&payload().to_string().replacen('{', &format!("{{{claim},"), 1));
            refused(&payload().to_string().replacen('}', &format!(",{claim}}}"), 1));
        }
        refused("[]");
        refused("");
        let mut ahead = payload();
        ahead["iat"] = json!(NOW + 60);
        ahead["nbf"] = json!(NOW + 60);
        assert!(
            ring.verify(&signed(&ring, &head(&key), &ahead.to_string()), at(NOW))
                .is_ok()
        );
    }
}
