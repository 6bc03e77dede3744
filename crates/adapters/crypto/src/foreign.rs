//! Digests as other systems make them.
//!
//! A hash that was made elsewhere is stored as `$anteroom$f1$<kdf>$<bytes of digest>$<salt>$<tag>`, where the tag is
//! HMAC-SHA-384 under the pepper of the digest that the other system had stored. So a stolen table is worth as little
//! for it as for our own, and what is compared is still exactly that digest.

use std::num::NonZeroU32;

use anteroom_domain::accounts::{ForeignHash, Kdf, Prf};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::zeroize::Zeroizing;

/// The beginning of every such form.
pub(crate) const VERSION: &str = "$anteroom$f1$";

/// Keeps tags apart from what the pepper is used for otherwise.
const CONTEXT: &[u8] = b"anteroom/foreign-hash/1";

/// A stored hash of another system.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) kdf: Kdf,
    bytes: usize,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

/// The form in which a hash is stored.
pub(crate) fn stored_form(pepper: &hmac::Key, foreign: &ForeignHash) -> String {
    let tag = tag(pepper, &foreign.digest);
    format!(
        "{VERSION}{}${}${}${}",
        foreign.kdf,
        foreign.digest.len(),
        STANDARD_NO_PAD.encode(&foreign.salt),
        STANDARD_NO_PAD.encode(tag)
    )
}

fn tag(pepper: &hmac::Key, digest: &[u8]) -> hmac::Tag {
    hmac::sign(pepper, &[CONTEXT, digest].concat())
}

impl Stored {
    /// Reads what stands behind [`VERSION`]; `None` if it is none of ours.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let parts: Vec<&str> = rest.split('$').collect();
        let &[kdf, bytes, salt, tag] = parts.as_slice() else {
            return None;
        };
        let bytes = bytes.parse().ok().filter(|bytes| (16..=128).contains(bytes))?;
        Some(Self {
            kdf: kdf.parse().ok()?,
            bytes,
            salt: STANDARD_NO_PAD.decode(salt).ok()?,
            tag: STANDARD_NO_PAD.decode(tag).ok()?,
        })
    }

    /// Whether a password is the one. As slow as the other system wanted it to be.
    pub(crate) fn matches(&self, pepper: &hmac::Key, password: &[u8]) -> Result<bool, String> {
        let digest = derive(self.kdf, &self.salt, self.bytes, password)?;
        let data = Zeroizing::new([CONTEXT, digest.as_slice()].concat());
        Ok(hmac::verify(pepper, &data, &self.tag).is_ok())
    }
}

fn derive(kdf: Kdf, salt: &[u8], bytes: usize, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut digest = Zeroizing::new(vec![0; bytes]);
    match kdf {
        Kdf::Bcrypt { cost } => bcrypt(cost, salt, password, &mut digest)?,
        Kdf::Argon2id {
            memory_kib,
            passes,
            lanes,
        } => {
            let params = argon2::Params::new(memory_kib, passes, lanes, Some(bytes)).map_err(|e| e.to_string())?;
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                .hash_password_into(password, salt, &mut digest)
                .map_err(|e| e.to_string())?;
        }
        Kdf::Scrypt { log_n, r, p } => scrypt(log_n, r, p, salt, password, &mut digest)?,
        Kdf::FirebaseScrypt { log_n, r } => {
            let mut key = Zeroizing::new([0; 32]);
            scrypt(log_n, r, 1, salt, password, key.as_mut_slice())?;
            // A stream over zeros is the stream itself.
            let failed = |_| "AES failed".to_owned();
            let key = UnboundCipherKey::new(&AES_256, key.as_slice()).map_err(failed)?;
            let start = EncryptionContext::Iv128([0; 16].into());
            EncryptingKey::ctr(key)
                .and_then(|key| key.less_safe_encrypt(&mut digest, start))
                .map_err(failed)?;
        }
        Kdf::Pbkdf2 { prf, iterations } => {
            let algorithm = match prf {
                Prf::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
                Prf::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                Prf::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
            };
            let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
            pbkdf2::derive(algorithm, iterations, salt, password, &mut digest);
        }
    }
    Ok(digest)
}

/// bcrypt as everybody computes it: of the password and a zero byte, of which 72 bytes count.
fn bcrypt(cost: u32, salt: &[u8], password: &[u8], digest: &mut [u8]) -> Result<(), String> {
    let salt: [u8; 16] = salt.try_into().map_err(|_| "bcrypt's salt has 16 bytes".to_owned())?;
    let mut input = Zeroizing::new([0; 72]);
    let length = password.len().min(72);
    input[..length].copy_from_slice(&password[..length]);
    let output = Zeroizing::new(bcrypt::bcrypt(cost, salt, &input[..(length + 1).min(72)]));
    // The 24th byte is never stored.
    let stored = output.get(..digest.len()).filter(|part| part.len() == 23);
    digest.copy_from_slice(stored.ok_or_else(|| "bcrypt's digest has 23 bytes".to_owned())?);
    Ok(())
}

fn scrypt(log_n: u8, r: u32, p: u32, salt: &[u8], password: &[u8], output: &mut [u8]) -> Result<(), String> {
    let params = scrypt::Params::new(log_n, r, p).map_err(|e| e.to_string())?;
    scrypt::scrypt(password, salt, &params, output).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use anteroom_domain::accounts::ForeignParts;

    use super::*;

    /// Made with passlib 1.7.4, argon2-cffi 25.1, bcrypt 4.0 and Python's hashlib.
    const PASSWORD: &str = "correct horse bättery";
    const VECTORS: [&str; 11] = [
        "$2b$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
        "$2a$05$abcdefghijklmnopqrstuuiAUQSqLgPmKC.81UqN54J7SM7C5uZ5q",
        "$2y$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
        "$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk",
        "$argon2id$v=19$m=128,t=1,p=2$AAECAwQFBgcICQoLDA0ODw$sf0mssHohAtrM5ov2/TCuA",
        "$scrypt$ln=8,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$WJzrt0lQKH5DghGzL5KJWPwr0yeCgccbmv5WMoIdAGU",
        "$pbkdf2$1000$AAECAwQFBgcICQoLDA0ODw$RKou3NCJtohx6XBUw5clBqg1Kgk",
        "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$KNnI6qMWHAqAnT0mrq8B0juulbkyG7uC.HoDGNtkZlg",
        "$pbkdf2-sha512$1000$AAECAwQFBgcICQoLDA0ODw$Jy7zXSEOgBc/8M.lZL8/mpQAW7VO4v9kqiJSuosxuPGejsM3Y.Wo2rsqdmIfjDaSB7miVcgr9WTtyP.kOkPwLA",
        "$pbkdf2-sha256$i=2000,l=32$AAECAwQFBgcICQoLDA0ODw$hFX3ZXoqXCRYId9xSt6F6kXydut+x1B7DJcYpOd4HDU",
        "pbkdf2_sha256$1000$seasalt12345$hueVd0uzQzCNI3QXDORHV1Edc90AWhxY707xaqnhx5I=",
    ];

    fn pepper(secret: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA384, secret)
    }

    fn stored(pepper: &hmac::Key, foreign: &ForeignHash) -> (String, Stored) {
        let form = stored_form(pepper, foreign);
        let stored = Stored::parse(form.strip_prefix(VERSION).unwrap()).unwrap();
        (form, stored)
    }

    #[test]
    fn what_others_made_is_matched_by_its_password_only() {
        let pepper = pepper(b"pepper");
        for text in VECTORS {
            let foreign = ForeignHash::parse(text).unwrap();
            let (form, stored) = stored(&pepper, &foreign);
            assert!(stored.matches(&pepper, PASSWORD.as_bytes()).unwrap(), "{text}");
            for wrong in ["correct horse battery", "", "correct horse bättery "] {
                assert!(!stored.matches(&pepper, wrong.as_bytes()).unwrap(), "{text}: {wrong}");
            }
            // Nothing of the digest is in it, and under another pepper it is worth nothing.
            let digest = STANDARD_NO_PAD.encode(&foreign.digest);
            assert!(!form.contains(&digest[..12]), "{form}");
            let other = hmac::Key::new(hmac::HMAC_SHA384, b"other");
            assert!(!stored.matches(&other, PASSWORD.as_bytes()).unwrap());
        }
    }

    #[test]
    fn bcrypt_looks_at_72_bytes_as_it_always_has() {
        let pepper = pepper(b"pepper");
        let long = "a".repeat(80);
        let hash = bcrypt::hash_with_salt(&long, 4, [7; 16]).unwrap().to_string();
        let (_, stored) = stored(&pepper, &ForeignHash::parse(&hash).unwrap());
        assert!(stored.matches(&pepper, long.as_bytes()).unwrap());
        assert!(stored.matches(&pepper, &long.as_bytes()[..72]).unwrap());
        assert!(!stored.matches(&pepper, &long.as_bytes()[..71]).unwrap());
    }

    /// From the README of github.com/firebase/scrypt.
    #[test]
    fn firebase_scrypt_is_as_documented() {
        let parts: ForeignParts = serde_json::from_str(
            r#"{"algorithm": "firebase-scrypt", "salt": "42xEC+ixf3L2lw==", "salt_separator": "Bw==", "rounds": 8, "mem_cost": 14,
                "signer_key": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
                "hash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="}"#,
        )
        .unwrap();
        let pepper = pepper(b"pepper");
        let (form, stored) = stored(&pepper, &ForeignHash::from_parts(&parts).unwrap());
        assert!(stored.matches(&pepper, b"user1password").unwrap());
        assert!(!stored.matches(&pepper, b"user2password").unwrap());
        assert!(!form.contains("jxspr8Ki0RYy"), "{form}");
    }

    #[test]
    fn what_is_no_stored_form_is_not_read() {
        for bad in [
            "",
            "bcrypt:4$23$AAAA",
            "bcrypt:31$23$AAAA$AAAA",
            "bcrypt:4$1000000000$AAAA$AAAA",
            "bcrypt:4$23$!$AAAA",
            "md5:1$16$AAAA$AAAA",
            "bcrypt:4$23$AAAA$AAAA$",
        ] {
            assert!(Stored::parse(bad).is_none(), "{bad}");
        }
        // A form with the wrong salt fails, and is no panic.
        let broken = Stored::parse("bcrypt:4$24$AAAA$AAAA").unwrap();
        assert!(broken.matches(&pepper(b"pepper"), b"x").is_err());
    }
}
