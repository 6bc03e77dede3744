//! What an API key looks like: `ar_`, 43 characters of secret, six of a checksum.
//!
//! As with GitHub's, the prefix lets scanners find a key that went astray, and the checksum tells a mistyped one, or
//! something that only looks like one, from a key, without asking the store.

use secrecy::{ExposeSecret as _, SecretString};

/// What every API key begins with.
pub const API_KEY_PREFIX: &str = "ar_";

/// How a scanner finds API keys.
pub const API_KEY_PATTERN: &str = "ar_[0-9A-Za-z]{49}";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62^43 is the first power of 62 that holds 32 bytes.
const SECRET_CHARS: usize = 43;

/// 62^6 is the first that holds 32 bits.
const CHECKSUM_CHARS: usize = 6;

/// The key with this secret.
pub fn api_key_text(secret: &[u8; 32]) -> SecretString {
    let random = base62::<SECRET_CHARS>(secret);
    let checksum = base62::<CHECKSUM_CHARS>(&crc32(random.as_bytes()).to_be_bytes());
    format!("{API_KEY_PREFIX}{random}{checksum}").into()
}

/// Whether a text has the form of a key and its checksum is right. It says nothing of whether there is such a key.
pub fn is_api_key(text: &str) -> bool {
    let Some((random, checksum)) = text
        .strip_prefix(API_KEY_PREFIX)
        .and_then(|rest| rest.split_at_checked(SECRET_CHARS))
    else {
        return false;
    };
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
    plain(random)
        && checksum
            .bytes()
            .eq(base62::<CHECKSUM_CHARS>(&crc32(random.as_bytes()).to_be_bytes()).bytes())
}

/// What is shown of a key later: its last four characters, which belong to the checksum.
pub fn api_key_hint(key: &SecretString) -> String {
    let text = key.expose_secret();
    text.get(text.len().saturating_sub(4)..).unwrap_or_default().to_owned()
}

/// The bytes as one number, in `LENGTH` digits to the base of 62.
fn base62<const LENGTH: usize>(bytes: &[u8]) -> String {
    let mut digits = [0_u32; LENGTH];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in digits.iter_mut().rev() {
            let value = *digit * 256 + carry;
            *digit = value % 62;
            carry = value / 62;
        }
    }
    let character = |digit: &u32| DIGITS.get(*digit as usize).map_or('0', |b| char::from(*b));
    digits.iter().map(character).collect()
}

/// CRC-32 as zlib and GitHub have it (ISO 3309, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        api_key_text(&[byte; 32]).expose_secret().to_owned()
    }

    #[test]
    fn a_key_has_one_form() {
        assert_eq!(
            crc32(b"123456789"),
            0xcbf4_3926,
            "the check value of the catalogue of CRCs"
        );
        assert_eq!(base62::<3>(&[1, 0]), "048");
        for byte in [0, 1, 0x7f, 0xff] {
            let key = key(byte);
            assert_eq!((key.len(), &key[..3]), (52, "ar_"), "{key}");
            assert!(key[3..].bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
            assert!(is_api_key(&key));
        }
        assert_ne!(key(0), key(1));
        assert_eq!(api_key_hint(&"ar_abcd1234".to_owned().into()), "1234");
        assert_eq!(
            API_KEY_PATTERN,
            format!("ar_[0-9A-Za-z]{{{}}}", SECRET_CHARS + CHECKSUM_CHARS)
        );
    }

    /// GHSA-6mq3-xmgp-pjm5: a truncated token was accepted.
    #[test]
    fn c47_no_part_of_a_key_and_no_other_character_in_it_is_one() {
        let key = key(0x5a);
        for length in 0..key.len() {
            assert!(!is_api_key(&key[..length]) && !is_api_key(&key[key.len() - length..]));
        }
        for at in 0..key.len() {
            for other in DIGITS.iter().chain(b"_-'\" \0") {
                let mut changed = key.clone().into_bytes();
                changed[at] = *other;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(is_api_key(&changed), changed == key, "{changed}");
            }
        }
        for text in [
            "",
            "ar_",
            &format!("{key}0"),
            &format!(" {key}"),
            &"ä".repeat(60),
            &format!("ar_{}", "ä".repeat(49)),
        ] {
            assert!(!is_api_key(text), "{text}");
        }
    }
}
