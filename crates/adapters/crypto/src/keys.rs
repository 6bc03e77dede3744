//! Everything that derives from the deployment's one secret, each under its own label.
//!
//! HKDF-SHA-256 (RFC 5869): extracted once with a fixed salt, then expanded once per purpose. A label that has been
//! used must never change its meaning: what it protects could not be read any more.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use anteroom_ports::{Digest, SealError, Secrets};

/// The shortest deployment secret. [`generate_secret`] makes longer ones.
pub const MIN_SECRET_BYTES: usize = 32;

const SALT: &[u8] = b"anteroom/deployment-secret/1";
const LABEL_PEPPER: &str = "password-pepper/1";
const LABEL_KEYED: &str = "keyed/1";
const LABEL_SIGNING: &str = "access-token-ed25519-seed/1";
const LABEL_SIGNING_WRAP: &str = "signing-key-wrap/1";
const LABEL_SEALED: &str = "sealed/1";
const LABEL_WEBHOOK: &str = "stripe-stub-webhook/1";
const LABEL_STUB: &str = "stripe-stub-secret-key/1";

/// Why no keys were derived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is too short to be one.
    #[error("the deployment's secret must have at least {MIN_SECRET_BYTES} characters; `anteroom secret` makes one")]
    TooShort,
    /// The cryptographic library refused.
    #[error("no keys could be derived from the deployment's secret")]
    Failed,
}

/// The keys of a deployment. Forgets them when dropped, and shows none of them.
pub struct DeploymentKeys {
    pepper: Zeroizing<[u8; 32]>,
    keyed: hmac::Key,
    sealing: LessSafeKey,
    signing_seed: Zeroizing<[u8; 32]>,
    signing_wrap: Zeroizing<[u8; 32]>,
    webhook: Zeroizing<[u8; 32]>,
    stub: Zeroizing<[u8; 32]>,
}

impl DeploymentKeys {
    /// Derives all keys. White space around the secret is not part of it: files end in a newline, variables do not.
    pub fn derive(secret: &SecretString) -> Result<Self, KeyError> {
        let secret = secret.expose_secret().trim().as_bytes();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::TooShort);
        }
        let root = Salt::new(HKDF_SHA256, SALT).extract(secret);
        Ok(Self {
            pepper: expand(&root, LABEL_PEPPER)?,
            keyed: hmac::Key::new(hmac::HMAC_SHA256, expand(&root, LABEL_KEYED)?.as_slice()),
            sealing: LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM, expand(&root, LABEL_SEALED)?.as_slice()).map_err(|_| KeyError::Failed)?,
            ),
            signing_seed: expand(&root, LABEL_SIGNING)?,
            signing_wrap: expand(&root, LABEL_SIGNING_WRAP)?,
            webhook: expand(&root, LABEL_WEBHOOK)?,
            stub: expand(&root, LABEL_STUB)?,
        })
    }

    /// What passwords are keyed with before they are hashed.
    pub fn password_pepper(&self) -> PasswordPepper {
        PasswordPepper(hmac::Key::new(hmac::HMAC_SHA384, self.pepper.as_slice()))
    }

    /// What the built-in payment provider signs its events with, unless the operator set something else.
    pub fn webhook_secret(&self) -> SecretString {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.webhook.as_slice()));
        SecretString::from(format!("whsec_{}", text.as_str()))
    }

    /// What the API of the built-in payment provider takes, unless the operator set something else.
    pub fn stub_secret_key(&self) -> SecretString {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.stub.as_slice()));
        SecretString::from(format!("sk_test_{}", text.as_str()))
    }

    /// The seed of the one key that tokens were signed with before keys were kept in the store.
    pub(crate) fn signing_seed(&self) -> &[u8; 32] {
        &self.signing_seed
    }

    /// What private keys are sealed with in the store.
    pub(crate) fn signing_key_wrap(&self) -> &[u8; 32] {
        &self.signing_wrap
    }
}

impl fmt::Debug for DeploymentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKeys(..)")
    }
}

impl Secrets for DeploymentKeys {
    fn digest(&self, secret: &[u8]) -> Digest {
        bytes32(digest::digest(&digest::SHA256, secret).as_ref())
    }

    fn keyed(&self, purpose: &str, data: &[u8]) -> Digest {
        // A key for each purpose first: no data under one purpose can equal data under another.
        let key = hmac::sign(&self.keyed, purpose.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        bytes32(hmac::sign(&key, data).as_ref())
    }

    // AES-256-GCM under a random nonce, which stands before it; the purpose is bound to it as associated data.
    fn seal(&self, purpose: &str, text: &SecretString) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError)?;
        let mut sealed = text.expose_secret().as_bytes().to_vec();
        let bound = Aad::from(purpose.as_bytes());
        self.sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed)
            .map_err(|_| SealError)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Option<SecretString> {
        let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).ok()?);
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self
            .sealing
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), sealed)
            .ok()?;
        Some(SecretString::from(str::from_utf8(text).ok()?))
    }
}

/// What passwords are keyed with before they are hashed: HMAC-SHA-384.
#[derive(Clone)]
pub struct PasswordPepper(pub(crate) hmac::Key);

impl fmt::Debug for PasswordPepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordPepper(..)")
    }
}

/// A fresh secret for a deployment: 256 bits, printable (base64url, 43 characters).
pub fn generate_secret() -> Result<SecretString, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Failed)?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Compares two secrets in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

fn expand(root: &Prk, label: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    root.expand(&[label.as_bytes()], Bytes32)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|_| KeyError::Failed)?;
    Ok(key)
}

fn bytes32(bytes: &[u8]) -> Digest {
    let mut value = [0; 32];
    value.copy_from_slice(bytes);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn derive(secret: &str) -> DeploymentKeys {
        DeploymentKeys::derive(&SecretString::from(secret)).unwrap()
    }

    #[test]
    fn derived_keys_never_change() {
        // Computed with Python's hmac module. If this fails, no existing deployment can read its data any more.
        let keys = derive(SECRET);
        assert_eq!(
            hex::encode(keys.pepper.as_slice()),
            "079beda58c16141f78b88ea53285eb253a0094b680d06ad27c89229253f397b9"
        );
        assert_eq!(
            hex::encode(keys.signing_seed.as_slice()),
            "6b5c1e8f3616c73a9179060cb14c9d6eea89b1b16285728159519caf9201235c"
        );
        assert_eq!(
            hex::encode(keys.signing_wrap.as_slice()),
            "680d0906e437116c8242fd4e2d2155d277deb3080e27df80b9bd05c4272f91c3"
        );
        assert_eq!(
            hex::encode(keys.keyed("refresh", b"token")),
            "ff76062415ac018289645abc0a49d6b72f138ecd123e91584972d71d9e018ad9"
        );
    }

    #[test]
    fn another_secret_is_recognised_and_white_space_is_none() {
        let value = |secret: &str| derive(secret).keyed("secret-key-check", b"anteroom");
        assert_ne!(value(SECRET), value(&SECRET.to_uppercase()));
        assert_eq!(value(SECRET), value(&format!(" {SECRET}\n")));
        let short = DeploymentKeys::derive(&SecretString::from(format!("{:<40}", "short")));
        assert_eq!(short.unwrap_err(), KeyError::TooShort);
    }

    #[test]
    fn purposes_do_not_meet() {
        let keys = derive(SECRET);
        assert_ne!(keys.keyed("a", b"bc"), keys.keyed("ab", b"c"));
        assert_ne!(keys.keyed("a", b"x"), keys.keyed("b", b"x"));
        assert_ne!(keys.keyed("a", b"x"), keys.digest(b"x"));
    }

    #[test]
    fn a_sealed_text_is_opened_for_its_purpose_by_its_deployment_only() {
        let (keys, text) = (derive(SECRET), SecretString::from("grüß dich\n"));
        let sealed = keys.seal("mail", &text).unwrap();
        assert_ne!(sealed, keys.seal("mail", &text).unwrap());
        let opened = |keys: &DeploymentKeys, purpose, sealed: &str| {
            keys.open(purpose, sealed).map(|text| text.expose_secret().to_owned())
        };
        assert_eq!(opened(&keys, "mail", &sealed).as_deref(), Some(text.expose_secret()));
        assert_eq!(opened(&keys, "mails", &sealed), None);
        assert_eq!(opened(&derive(&SECRET.to_uppercase()), "mail", &sealed), None);
        for at in 0..sealed.len() {
            let mut other = sealed.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(opened(&keys, "mail", str::from_utf8(&other).unwrap()), None, "{at}");
            assert_eq!(opened(&keys, "mail", &sealed[..at]), None, "{at}");
        }
        // Made with Python's cryptography package. If this fails, what is sealed in stores can be read no more.
        let made_before = "AAECAwQFBgcICQoLLln-Un4VvWsZ81SH3Bd8RSAhjFgKhiikPWwRpg";
        assert_eq!(
            opened(&keys, "mail", made_before).as_deref(),
            Some(text.expose_secret())
        );
    }

    #[test]
    fn fresh_secrets_are_long_enough_and_different() {
        let (a, b) = (generate_secret().unwrap(), generate_secret().unwrap());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert_eq!(a.expose_secret().len(), 43);
        assert!(DeploymentKeys::derive(&a).is_ok());
    }

    #[test]
    fn nothing_is_shown() {
        let shown = format!("{:?} {:?}", derive(SECRET), derive(SECRET).password_pepper());
        assert_eq!(shown, "DeploymentKeys(..) PasswordPepper(..)");
    }

    #[test]
    fn comparing_needs_equal_lengths() {
        assert!(constant_time_eq(b"abc", b"abc"));
        for other in [&b"ab"[..], b"abcd", b"abd", b""] {
            assert!(!constant_time_eq(b"abc", other));
        }
    }
}
