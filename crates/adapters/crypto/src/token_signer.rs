//! Access tokens: signed JWTs (RFC 9068) under one Ed25519 key (RFC 8037).
//!
//! Tokens are put together here and checked by `jsonwebtoken`, whose check reads the ambient clock; times are
//! therefore compared here, against the time that the caller states.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use anteroom_domain::sessions::AccessClaims;
use anteroom_domain::{SessionId, Timestamp, UserId};
use anteroom_ports::TokenSigner;

use crate::keys::{DeploymentKeys, KeyError};

/// The media type in the header (RFC 9068 section 2.1): an access token never passes for an ID token or the reverse.
const TYPE: &str = "at+jwt";

/// The longest token that is looked at. Those made here have about 600 bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// How far ahead the clock of the node that signed may be, in seconds.
const CLOCK_SKEW: i64 = 60;

/// Makes aws-lc-rs the cryptography of `jsonwebtoken` for this process. Without it, that library panics at its first
/// use if another dependency turns its second backend on. Calling it again changes nothing.
pub fn install_crypto() {
    // An error means that it is installed already.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Signs and checks access tokens with the deployment's Ed25519 key.
pub struct Ed25519Signer {
    key_pair: Ed25519KeyPair,
    decoding_key: DecodingKey,
    validation: Validation,
    header: String,
    key_id: String,
    issuer: String,
    audience: String,
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
    #[serde(rename = "jti")]
    _jti: String,
}

impl Ed25519Signer {
    /// `issuer` is the public URL, `audience` whom the tokens are for; a token for another of either is refused.
    pub fn new(keys: &DeploymentKeys, issuer: &str, audience: &str) -> Result<Self, KeyError> {
        install_crypto();
        let key_pair = Ed25519KeyPair::from_seed_unchecked(keys.signing_seed()).map_err(|_| KeyError::Failed)?;
        let key_id = thumbprint(key_pair.public_key().as_ref());
        let header = json!({ "alg": "EdDSA", "kid": key_id, "typ": TYPE }).to_string();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.validate_exp = false;
        Ok(Self {
            decoding_key: DecodingKey::from_ed_der(key_pair.public_key().as_ref()),
            key_pair,
            validation,
            header: URL_SAFE_NO_PAD.encode(header),
            key_id,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    fn sign_parts(&self, header: &str, payload: &[u8]) -> String {
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key_pair.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl TokenSigner for Ed25519Signer {
    fn sign(&self, claims: &AccessClaims, now: Timestamp) -> String {
        // Only tells tokens apart, so that a system without randomness, which nothing here survives, may leave it.
        let mut jti = [0; 16];
        let _ = rand::fill(&mut jti);
        let payload = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": claims.user_id,
            "sid": claims.session_id,
            "iat": now.as_second(),
            "exp": claims.expires_at.as_second(),
            "jti": URL_SAFE_NO_PAD.encode(jti),
        });
        self.sign_parts(&self.header, payload.to_string().as_bytes())
    }

    fn verify(&self, token: &str, now: Timestamp) -> Option<AccessClaims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        // The key is ours whatever the header says: `jku`, `jwk`, `x5u` and `x5c` are never followed.
        let token = jsonwebtoken::decode::<Claims>(token, &self.decoding_key, &self.validation).ok()?;
        let header = token.header;
        let ours = header.kid.as_deref() == Some(self.key_id.as_str())
            && header.typ.is_some_and(|typ| typ.eq_ignore_ascii_case(TYPE))
            && header.crit.is_none();
        let claims = token.claims;
        // The library also takes lists that name us among others; tokens of ours never do.
        let for_us = claims.iss == self.issuer && claims.aud == self.audience;
        let now = now.as_second();
        let in_time = now < claims.exp && claims.iat <= now.saturating_add(CLOCK_SKEW);
        if !(ours && for_us && in_time) {
            return None;
        }
        Some(AccessClaims {
            user_id: UserId(claims.sub),
            session_id: SessionId(claims.sid),
            expires_at: Timestamp::from_second(claims.exp).ok()?,
        })
    }

    fn jwks(&self) -> serde_json::Value {
        let x = URL_SAFE_NO_PAD.encode(self.key_pair.public_key().as_ref());
        json!({
            "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA", "kid": self.key_id }]
        })
    }
}

/// The JWK thumbprint (RFC 7638): SHA-256 over the required members in lexical order (RFC 8037 section 2).
fn thumbprint(public_key: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::{JwkSet, ThumbprintHash};
    use jsonwebtoken::{EncodingKey, Header};
    use secrecy::SecretString;
    use serde_json::Value;

    use super::*;

    const ISSUER: &str = "https://id.example";
    const AUDIENCE: &str = "anteroom";
    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn keys(letter: &str) -> DeploymentKeys {
        DeploymentKeys::derive(&SecretString::from(letter.repeat(32))).unwrap()
    }

    fn signer() -> Ed25519Signer {
        Ed25519Signer::new(&keys("k"), ISSUER, AUDIENCE).unwrap()
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

    fn header(signer: &Ed25519Signer) -> Value {
        json!({ "alg": "EdDSA", "kid": signer.key_id, "typ": "at+jwt" })
    }

    fn signed(signer: &Ed25519Signer, header: &Value, payload: &str) -> String {
        signer.sign_parts(&URL_SAFE_NO_PAD.encode(header.to_string()), payload.as_bytes())
    }

    #[test]
    fn a_token_carries_its_claims_until_it_expires() {
        let signer = signer();
        let token = signer.sign(&claims(), at(NOW));
        assert_eq!(signer.verify(&token, at(NOW)), Some(claims()));
        assert_eq!(signer.verify(&token, at(NOW + 899)), Some(claims()));
        assert_eq!(signer.verify(&token, at(NOW + 900)), None);
        assert_ne!(
            token,
            signer.sign(&claims(), at(NOW)),
            "each has an identifier of its own"
        );
        assert!(token.len() < 700, "{}", token.len());
        let again = Ed25519Signer::new(&keys("k"), ISSUER, AUDIENCE).unwrap();
        assert_eq!(
            again.verify(&token, at(NOW)),
            Some(claims()),
            "another node, or after a restart"
        );
    }

    #[test]
    fn whoever_holds_the_published_key_can_check_a_token() {
        let signer = signer();
        let token = signer.sign(&claims(), at(NOW));
        let set: JwkSet = serde_json::from_value(signer.jwks()).unwrap();
        let head = jsonwebtoken::decode_header(&token).unwrap();
        let jwk = set.find(&head.kid.unwrap()).unwrap();
        assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), signer.key_id);
        let key = DecodingKey::from_jwk(jwk).unwrap();
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &signer.validation).unwrap();
        assert_eq!(decoded.claims["sub"], json!(claims().user_id));
        assert_eq!((head.typ.as_deref(), head.alg), (Some("at+jwt"), Algorithm::EdDSA));
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let x = URL_SAFE_NO_PAD
            .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
            .unwrap();
        assert_eq!(thumbprint(&x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn no_part_and_no_variant_of_a_token_is_one() {
        let signer = signer();
        let token = signer.sign(&claims(), at(NOW));
        for cut in 0..token.len() {
            assert!(signer.verify(&token[..cut], at(NOW)).is_none(), "prefix of {cut}");
            assert!(signer.verify(&token[cut + 1..], at(NOW)).is_none(), "suffix from {cut}");
        }
        let mut flipped = 0;
        for bit in 0..token.len() * 8 {
            let mut bytes = token.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(signer.verify(&text, at(NOW)).is_none(), "bit {bit}");
            flipped += 1;
        }
        assert!(flipped >= token.len() * 7);
        for around in [
            format!(" {token}"),
            format!("{token} "),
            format!("{token}="),
            format!("{token}."),
        ] {
            assert!(signer.verify(&around, at(NOW)).is_none());
        }
        assert!(signer.verify(&"a".repeat(MAX_TOKEN_BYTES + 1), at(NOW)).is_none());
    }

    #[test]
    fn no_other_algorithm_key_type_or_purpose_is_accepted() {
        let signer = signer();
        let (good, body) = (header(&signer), payload().to_string());
        assert!(signer.verify(&signed(&signer, &good, &body), at(NOW)).is_some());
        let changed = |key: &str, value: Value| {
            let mut header = good.clone();
            header[key] = value;
            signed(&signer, &header, &body)
        };
        for (key, value) in [
            ("alg", json!("none")),
            ("alg", json!("None")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("alg", json!("ES256")),
            ("alg", json!(null)),
            ("kid", json!("other")),
            ("kid", json!("../../dev/null")),
            ("kid", json!("' OR 1=1 --")),
            ("kid", json!(null)),
            ("typ", json!("JWT")),
            ("typ", json!("at+jwt ")),
            ("typ", json!(null)),
            ("crit", json!(["exp"])),
        ] {
            assert!(
                signer.verify(&changed(key, value.clone()), at(NOW)).is_none(),
                "{key}: {value}"
            );
        }
        assert!(signer.verify(&changed("typ", json!("AT+JWT")), at(NOW)).is_some());
        // Without a signature, whatever the header says.
        let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": signer.key_id, "typ": "at+jwt" }).to_string());
        assert!(
            signer
                .verify(&format!("{none}.{}.", URL_SAFE_NO_PAD.encode(&body)), at(NOW))
                .is_none()
        );
        // An HMAC whose key is the public key: what a verifier that trusts `alg` would take.
        let mut hmac = Header::new(Algorithm::HS256);
        (hmac.kid, hmac.typ) = (Some(signer.key_id.clone()), Some("at+jwt".to_owned()));
        let public = EncodingKey::from_secret(signer.key_pair.public_key().as_ref());
        let confused = jsonwebtoken::encode(&hmac, &payload(), &public).unwrap();
        assert!(signer.verify(&confused, at(NOW)).is_none());
    }

    #[test]
    fn a_key_in_the_header_is_never_used() {
        let (signer, attacker) = (signer(), Ed25519Signer::new(&keys("x"), ISSUER, AUDIENCE).unwrap());
        let jwk = attacker.jwks()["keys"][0].clone();
        for (key, value) in [
            ("jwk", jwk.clone()),
            ("jku", json!("https://attacker.example/jwks.json")),
            ("x5u", json!("https://attacker.example/cert.pem")),
            ("x5c", json!(["MIIB"])),
        ] {
            let mut header = header(&signer);
            header[key] = value;
            let forged = signed(&attacker, &header, &payload().to_string());
            assert!(signer.verify(&forged, at(NOW)).is_none(), "{key}");
        }
        assert!(signer.verify(&attacker.sign(&claims(), at(NOW)), at(NOW)).is_none());
    }

    #[test]
    fn claims_of_a_wrong_type_missing_or_twice_are_refused() {
        let signer = signer();
        let header = header(&signer);
        let refused = |body: &str| {
            let token = signed(&signer, &header, body);
            assert!(signer.verify(&token, at(NOW)).is_none(), "{body}");
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
        let twice = payload()
            .to_string()
            .replacen('{', &format!("{{\"exp\":{},", NOW + 9000), 1);
        refused(&twice);
        refused("[]");
        refused("");
        let mut ahead = payload();
        ahead["iat"] = json!(NOW + 60);
        assert!(
            signer
                .verify(&signed(&signer, &header, &ahead.to_string()), at(NOW))
                .is_some()
        );
    }
}
