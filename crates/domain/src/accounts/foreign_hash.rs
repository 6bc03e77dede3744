//! Password hashes that were made elsewhere: which are understood, and how much work one may cost.
//!
//! A hash says itself how much memory and time comparing a password with it takes. Whoever could have any of them stored
//! could stop the server with one login, so each is held to a limit, and one beyond it is not taken.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::{BCRYPT, STANDARD};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

/// The pseudo-random function of PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Prf {
    Sha1,
    Sha256,
    Sha512,
}

/// How a password becomes a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    /// bcrypt 2a, 2b and 2y, which agree on everything but broken inputs.
    Bcrypt {
        /// The logarithm of the rounds.
        cost: u32,
    },
    /// Argon2id, version 0x13 (RFC 9106).
    Argon2id {
        /// Memory, in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// scrypt (RFC 7914).
    Scrypt {
        /// The logarithm of N.
        log_n: u8,
        /// Block size.
        r: u32,
        /// Parallelism.
        p: u32,
    },
    /// PBKDF2 with HMAC (RFC 8018).
    Pbkdf2 {
        /// Of which hash.
        prf: Prf,
        /// Iterations.
        iterations: u32,
    },
    /// Firebase's scrypt: scrypt makes the key of a stream, with which the project's signer key is encrypted.
    FirebaseScrypt {
        /// The logarithm of N: the project's "mem cost".
        log_n: u8,
        /// Block size: the project's "rounds".
        r: u32,
    },
}

/// A password hash that was made elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ForeignHash {
    /// How it was made.
    pub kdf: Kdf,
    /// With which salt.
    pub salt: Vec<u8>,
    /// What came of it.
    pub digest: Vec<u8>,
}

impl fmt::Debug for ForeignHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForeignHash({})", self.kdf)
    }
}

/// Why a hash is not taken. Nothing of the hash is in the words but its parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RefusedHash(String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, RefusedHash> {
    Err(RefusedHash(reason.into()))
}

const MAX_MEMORY_KIB: u64 = 256 * 1024;
const MAX_ARGON2_WORK_KIB: u64 = 1024 * 1024;
const MAX_SCRYPT_WORK: u64 = 1 << 22;
const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;
const MAX_SALT_BYTES: usize = 128;
const DIGEST_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

impl Kdf {
    /// Whether comparing a password with such a hash costs no more than a login may: 256 MiB of memory and about a
    /// second of a core.
    pub fn check(self) -> Result<(), RefusedHash> {
        let fits = match self {
            Self::Bcrypt { cost } => (4..=16).contains(&cost),
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                let memory = u64::from(memory_kib);
                (1..=16).contains(&passes)
                    && (1..=16).contains(&lanes)
                    && memory >= 8 * u64::from(lanes)
                    && memory <= MAX_MEMORY_KIB
                    && memory * u64::from(passes) <= MAX_ARGON2_WORK_KIB
            }
            Self::Scrypt { log_n, r, p } => scrypt_fits(log_n, r, p),
            Self::FirebaseScrypt { log_n, r } => scrypt_fits(log_n, r, 1),
            Self::Pbkdf2 { iterations, .. } => (1..=MAX_PBKDF2_ITERATIONS).contains(&iterations),
        };
        if fits {
            return Ok(());
        }
        let limits = match self {
            Self::Bcrypt { .. } => "a cost of 4 to 16",
            Self::Argon2id { .. } => "1 to 16 passes and lanes, 256 MiB, and 1 GiB over all passes",
            Self::Scrypt { .. } | Self::FirebaseScrypt { .. } => "128 N r within 256 MiB, and N r p within 4,194,304",
            Self::Pbkdf2 { .. } => "1 to 2,000,000 iterations",
        };
        refuse(format!("{self} is beyond what is computed: {limits}"))
    }
}

fn scrypt_fits(log_n: u8, r: u32, p: u32) -> bool {
    if !(1..=24).contains(&log_n) || !(1..=64).contains(&r) || !(1..=16).contains(&p) {
        return false;
    }
    let blocks = (1_u64 << log_n) * u64::from(r);
    blocks * 128 <= MAX_MEMORY_KIB * 1024 && blocks * u64::from(p) <= MAX_SCRYPT_WORK
}

impl fmt::Display for Kdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bcrypt { cost } => write!(f, "bcrypt:{cost}"),
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => write!(f, "argon2id:{memory_kib},{passes},{lanes}"),
            Self::Scrypt { log_n, r, p } => write!(f, "scrypt:{log_n},{r},{p}"),
            Self::FirebaseScrypt { log_n, r } => write!(f, "firebase-scrypt:{log_n},{r}"),
            Self::Pbkdf2 { prf, iterations } => write!(f, "pbkdf2-{}:{iterations}", prf.as_str()),
        }
    }
}

impl FromStr for Kdf {
    type Err = RefusedHash;

    /// Reads what [`Kdf`] writes, within the limits only.
    fn from_str(text: &str) -> Result<Self, RefusedHash> {
        let (name, numbers) = text.split_once(':').unwrap_or((text, ""));
        let numbers: Vec<u32> = numbers
            .split(',')
            .map(number)
            .collect::<Option<_>>()
            .ok_or_else(|| RefusedHash("its parameters are no numbers".to_owned()))?;
        let kdf = match (name, numbers.as_slice()) {
            ("bcrypt", &[cost]) => Self::Bcrypt { cost },
            ("argon2id", &[memory_kib, passes, lanes]) => Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            },
            ("scrypt", &[log_n, r, p]) => Self::Scrypt {
                log_n: small(log_n),
                r,
                p,
            },
            ("firebase-scrypt", &[log_n, r]) => Self::FirebaseScrypt { log_n: small(log_n), r },
            (name, &[iterations]) => Self::Pbkdf2 {
                prf: name
                    .strip_prefix("pbkdf2-")
                    .and_then(Prf::parse)
                    .ok_or_else(|| RefusedHash("its algorithm is not known".to_owned()))?,
                iterations,
            },
            _ => return refuse("its algorithm is not known"),
        };
        kdf.check()?;
        Ok(kdf)
    }
}

impl Prf {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|prf| prf.as_str() == word)
    }
}

/// A hash in members, as exports have them. Bytes are in base64.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the exports' own names")]
pub struct ForeignParts {
    /// `pbkdf2-sha1`, `pbkdf2-sha256`, `pbkdf2-sha512`, `scrypt`, `argon2id` or `firebase-scrypt`.
    pub algorithm: String,
    pub hash: String,
    pub salt: String,
    pub iterations: Option<u32>,
    pub n: Option<u64>,
    pub r: Option<u32>,
    pub p: Option<u32>,
    pub memory_kib: Option<u32>,
    pub passes: Option<u32>,
    pub lanes: Option<u32>,
    pub signer_key: Option<String>,
    pub salt_separator: Option<String>,
    pub rounds: Option<u32>,
    pub mem_cost: Option<u32>,
}

impl ForeignHash {
    /// Puts a hash together whose every part is within its limits.
    pub fn new(kdf: Kdf, salt: Vec<u8>, digest: Vec<u8>) -> Result<Self, RefusedHash> {
        kdf.check()?;
        let least = if matches!(kdf, Kdf::Argon2id { .. }) { 8 } else { 1 };
        if !(least..=MAX_SALT_BYTES).contains(&salt.len()) {
            return refuse(format!(
                "its salt has {} bytes, not {least} to {MAX_SALT_BYTES}",
                salt.len()
            ));
        }
        if !DIGEST_BYTES.contains(&digest.len()) {
            return refuse(format!("its digest has {} bytes, not 16 to 128", digest.len()));
        }
        Ok(Self { kdf, salt, digest })
    }

    /// Reads a hash in one string: bcrypt's own form, the PHC string format with the names that are in use for it
    /// (passlib's included), and Django's.
    pub fn parse(text: &str) -> Result<Self, RefusedHash> {
        // Django puts a name before bcrypt's (`bcrypt$$2b$…`) and Argon2's (`argon2$argon2id$…`) own forms.
        let text = text
            .strip_prefix("bcrypt$")
            .or_else(|| text.strip_prefix("argon2").filter(|rest| rest.starts_with('$')))
            .unwrap_or(text);
        let parts: Vec<&str> = text.split('$').collect();
        match parts.as_slice() {
            ["", "2a" | "2b" | "2y", cost, rest] => bcrypt(cost, rest),
            ["", "2" | "2x", ..] => refuse("bcrypt of a version known to be broken"),
            ["", "argon2id", version, parameters, salt, digest] => {
                if *version != "v=19" {
                    return refuse("argon2id of another version than 19");
                }
                let kdf = Kdf::Argon2id {
                    memory_kib: parameter(parameters, "m")?,
                    passes: parameter(parameters, "t")?,
                    lanes: parameter(parameters, "p")?,
                };
                Self::new(kdf, bytes(salt)?, bytes(digest)?)
            }
            ["", "scrypt", parameters, salt, digest] => {
                let kdf = Kdf::Scrypt {
                    log_n: small(parameter(parameters, "ln")?),
                    r: parameter(parameters, "r")?,
                    p: parameter(parameters, "p")?,
                };
                Self::new(kdf, bytes(salt)?, bytes(digest)?)
            }
            ["", name, parameters, salt, digest] if name.starts_with("pbkdf2") => {
                let iterations = match number(parameters) {
                    Some(iterations) => iterations,
                    None => parameter(parameters, "i")?,
                };
                pbkdf2(name, iterations, bytes(salt)?, bytes(digest)?)
            }
            // Django's salt is text.
            [name, iterations, salt, digest] if name.starts_with("pbkdf2_") => {
                let iterations = number(iterations).ok_or_else(|| malformed("iterations"))?;
                let name = name.replace('_', "-");
                pbkdf2(&name, iterations, salt.as_bytes().to_vec(), bytes(digest)?)
            }
            ["", "argon2i" | "argon2d", ..] => refuse("of Argon2 only argon2id is understood"),
            ["bcrypt_sha256", ..] => refuse("Django's bcrypt_sha256 is not understood; its plain bcrypt is"),
            _ => refuse("not a hash that is understood"),
        }
    }

    /// Reads a hash in members.
    pub fn from_parts(parts: &ForeignParts) -> Result<Self, RefusedHash> {
        let (salt, digest) = (bytes(&parts.salt)?, bytes(&parts.hash)?);
        match parts.algorithm.as_str() {
            "argon2id" => {
                let kdf = Kdf::Argon2id {
                    memory_kib: needed(parts.memory_kib, "memory_kib")?,
                    passes: needed(parts.passes, "passes")?,
                    lanes: needed(parts.lanes, "lanes")?,
                };
                Self::new(kdf, salt, digest)
            }
            "scrypt" => {
                let n = needed(parts.n, "n")?;
                if !n.is_power_of_two() {
                    return refuse("scrypt's n is a power of two");
                }
                let kdf = Kdf::Scrypt {
                    log_n: small(n.ilog2()),
                    r: needed(parts.r, "r")?,
                    p: needed(parts.p, "p")?,
                };
                Self::new(kdf, salt, digest)
            }
            "firebase-scrypt" => firebase(parts, salt, &digest),
            name if name.starts_with("pbkdf2") => pbkdf2(name, needed(parts.iterations, "iterations")?, salt, digest),
            _ => refuse("its algorithm is not understood"),
        }
    }
}

fn bcrypt(cost: &str, rest: &str) -> Result<ForeignHash, RefusedHash> {
    let cost = (cost.len() == 2)
        .then(|| number(cost))
        .flatten()
        .ok_or_else(|| malformed("cost"))?;
    if !rest.is_ascii() || rest.len() != 53 {
        return Err(malformed("length"));
    }
    // The last of the salt's 22 characters carries two bits more than there are bytes for.
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&BCRYPT, config);
    let decode = |text: &str| engine.decode(text).map_err(|_| malformed("base64"));
    ForeignHash::new(Kdf::Bcrypt { cost }, decode(&rest[..22])?, decode(&rest[22..])?)
}

fn pbkdf2(name: &str, iterations: u32, salt: Vec<u8>, digest: Vec<u8>) -> Result<ForeignHash, RefusedHash> {
    // Passlib's `$pbkdf2$` is the one of SHA-1.
    let prf = if name == "pbkdf2" {
        Some(Prf::Sha1)
    } else {
        name.strip_prefix("pbkdf2-").and_then(Prf::parse)
    };
    let prf = prf.ok_or_else(|| RefusedHash("PBKDF2 with SHA-1, SHA-256 or SHA-512 is understood".to_owned()))?;
    ForeignHash::new(Kdf::Pbkdf2 { prf, iterations }, salt, digest)
}

/// What Firebase calls the hash is the signer key, encrypted with a stream that the password makes. The stream is their
/// difference, and is kept instead: so the signer key itself is not stored.
fn firebase(parts: &ForeignParts, salt: Vec<u8>, hash: &[u8]) -> Result<ForeignHash, RefusedHash> {
    let signer = bytes(needed(parts.signer_key.as_deref(), "signer_key")?)?;
    let separator = bytes(parts.salt_separator.as_deref().unwrap_or_default())?;
    if signer.len() != hash.len() {
        return refuse("the hash is not as long as the signer key");
    }
    let stream: Vec<u8> = signer.iter().zip(hash).map(|(a, b)| a ^ b).collect();
    let kdf = Kdf::FirebaseScrypt {
        log_n: small(needed(parts.mem_cost, "mem_cost")?),
        r: needed(parts.rounds, "rounds")?,
    };
    ForeignHash::new(kdf, [salt, separator].concat(), stream)
}

fn malformed(what: &str) -> RefusedHash {
    RefusedHash(format!("it is malformed: {what}"))
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T, RefusedHash> {
    value.ok_or_else(|| RefusedHash(format!("`{name}` is missing")))
}

/// Digits only: a number parser would also take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Whatever does not fit is beyond every limit.
fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// `m=65536,t=3,p=4`
fn parameter(parameters: &str, name: &str) -> Result<u32, RefusedHash> {
    let value = parameters
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value));
    value.and_then(number).ok_or_else(|| malformed(name))
}

/// Base64 in any of the alphabets in use, padded or not.
fn bytes(text: &str) -> Result<Vec<u8>, RefusedHash> {
    let standard: String = text
        .chars()
        .map(|c| match c {
            '.' | '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config)
        .decode(standard)
        .map_err(|_| malformed("base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_understood() {
        for (text, kdf) in [
            (
                "$2b$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
                "bcrypt:4",
            ),
            (
                "$2a$16$abcdefghijklmnopqrstuuiAUQSqLgPmKC.81UqN54J7SM7C5uZ5q",
                "bcrypt:16",
            ),
            (
                "bcrypt$$2b$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
                "bcrypt:4",
            ),
            (
                "argon2$argon2id$v=19$m=102400,t=2,p=8$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk",
                "argon2id:102400,2,8",
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk",
                "argon2id:256,2,1",
            ),
            (
                "$scrypt$ln=17,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$WJzrt0lQKH5DghGzL5KJWPwr0yeCgccbmv5WMoIdAGU",
                "scrypt:17,8,1",
            ),
            (
                "$pbkdf2$1000$AAECAwQFBgcICQoLDA0ODw$RKou3NCJtohx6XBUw5clBqg1Kgk",
                "pbkdf2-sha1:1000",
            ),
            (
                "$pbkdf2-sha256$i=2000,l=32$AAECAwQFBgcICQoLDA0ODw$hFX3ZXoqXCRYId9xSt6F6kXydut+x1B7DJcYpOd4HDU",
                "pbkdf2-sha256:2000",
            ),
            (
                "pbkdf2_sha256$1000000$seasalt12345$hueVd0uzQzCNI3QXDORHV1Edc90AWhxY707xaqnhx5I=",
                "pbkdf2-sha256:1000000",
            ),
        ] {
            let hash = ForeignHash::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(hash.kdf.to_string(), kdf);
            assert_eq!(kdf.parse::<Kdf>().unwrap(), hash.kdf);
        }
    }

    #[test]
    fn what_costs_too_much_is_refused_and_says_so() {
        let salt = "AAECAwQFBgcICQoLDA0ODw";
        let digest = "SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk";
        let argon2 = |parameters: &str| format!("$argon2id$v=19${parameters}${salt}${digest}");
        let scrypt = |parameters: &str| format!("$scrypt${parameters}${salt}${digest}");
        let bcrypt = |cost: &str| format!("$2b${cost}$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq");
        for text in [
            bcrypt("03"),
            bcrypt("17"),
            bcrypt("31"),
            argon2("m=262145,t=1,p=1"),
            argon2("m=4294967295,t=1,p=1"),
            argon2("m=262144,t=5,p=1"),
            argon2("m=64,t=17,p=1"),
            argon2("m=64,t=0,p=1"),
            argon2("m=1024,t=1,p=17"),
            argon2("m=15,t=1,p=2"),
            scrypt("ln=18,r=16,p=1"),
            scrypt("ln=19,r=8,p=1"),
            scrypt("ln=17,r=8,p=5"),
            scrypt("ln=63,r=8,p=1"),
            scrypt("ln=300,r=8,p=1"),
            scrypt("ln=14,r=0,p=1"),
            scrypt("ln=14,r=4294967295,p=1"),
            format!("$pbkdf2-sha256$2000001${salt}${digest}"),
            format!("$pbkdf2-sha256$0${salt}${digest}"),
        ] {
            let refused = ForeignHash::parse(&text).unwrap_err().to_string();
            assert!(refused.contains("beyond what is computed"), "{text}: {refused}");
        }
        for text in [
            bcrypt("16"),
            argon2("m=262144,t=4,p=1"),
            scrypt("ln=17,r=8,p=4"),
            scrypt("ln=18,r=8,p=1"),
        ] {
            ForeignHash::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_and_not_repeated() {
        let secret = "hunter2hunter2";
        for text in [
            "",
            "$",
            "$$$$$",
            secret,
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "$1$abcdefgh$hunter2hunter2",
            "$2b$+4$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
            "$2b$4$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
            "$2b$04$abcdefghijklmnopqrstuu.re4/lWF",
            "$2b$04$äbcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwK",
            "$2x$04$abcdefghijklmnopqrstuu.re4/lWF.zqrrGnYy1AP3doZ95IIwKq",
            "$argon2i$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN",
            "$argon2id$v=16$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN",
            "$argon2id$v=19$m=256,t=2$AAECAwQFBgcICQoLDA0ODw$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN",
            "$argon2id$v=19$m=256,t=2,p=1$AAEC$SNb826Pn54psaLxIBhMuiS7HjWY1ZeN",
            "$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$!!!",
            "$scrypt$ln=8,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$WJzr",
            "$pbkdf2-md5$1000$AAECAwQFBgcICQoLDA0ODw$RKou3NCJtohx6XBUw5clBqg1Kgk",
            "pbkdf2_sha256$many$salt$hueVd0uzQzCNI3QXDORHV1Edc90AWhxY707xaqnhx5I=",
        ] {
            let refused = ForeignHash::parse(text).expect_err(text).to_string();
            assert!(!refused.contains(secret), "{refused}");
        }
        assert!("bcrypt:40".parse::<Kdf>().is_err() && "bcrypt".parse::<Kdf>().is_err());
        assert!("scrypt:14,8".parse::<Kdf>().is_err() && "md5:1".parse::<Kdf>().is_err());
    }

    fn parts(json: &str) -> Result<ForeignHash, RefusedHash> {
        ForeignHash::from_parts(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn members_are_understood_as_well() {
        let salt = "AAECAwQFBgcICQoLDA0ODw==";
        let digest = "SNb826Pn54psaLxIBhMuiS7HjWY1ZeN+diHohjOdUtk=";
        let with = |rest: &str| parts(&format!(r#"{{"salt":"{salt}","hash":"{digest}",{rest}}}"#));
        for (rest, kdf) in [
            (
                r#""algorithm":"pbkdf2-sha512","iterations":210000"#,
                "pbkdf2-sha512:210000",
            ),
            (r#""algorithm":"scrypt","n":16384,"r":8,"p":1"#, "scrypt:14,8,1"),
            (
                r#""algorithm":"argon2id","memory_kib":7168,"passes":5,"lanes":1"#,
                "argon2id:7168,5,1",
            ),
        ] {
            assert_eq!(with(rest).unwrap().kdf.to_string(), kdf);
        }
        for (rest, named) in [
            (r#""algorithm":"pbkdf2-sha512""#, "iterations"),
            (r#""algorithm":"scrypt","n":16385,"r":8,"p":1"#, "power of two"),
            (r#""algorithm":"md5""#, "algorithm"),
            (
                r#""algorithm":"firebase-scrypt","rounds":8,"mem_cost":14"#,
                "signer_key",
            ),
            (
                r#""algorithm":"firebase-scrypt","rounds":8,"mem_cost":14,"signer_key":"AAEC""#,
                "as long as",
            ),
            (r#""algorithm":"scrypt","n":1099511627776,"r":8,"p":1"#, "beyond"),
        ] {
            let refused = with(rest).unwrap_err().to_string();
            assert!(refused.contains(named), "{rest}: {refused}");
        }
    }
}
