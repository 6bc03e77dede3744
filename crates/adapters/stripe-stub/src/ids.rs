//! Identifiers that look like Stripe's and cannot be guessed.

use uuid::Uuid;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `prefix` and 32 or more letters and digits: over 180 random bits, because whoever holds a checkout's address may pay.
#[expect(
    clippy::disallowed_methods,
    reason = "the stub is a program of its own and makes its own ids"
)]
pub(crate) fn random_id(prefix: &str) -> String {
    let mut id = String::from(prefix);
    push_base62(&mut id, Uuid::new_v4().as_u128());
    push_base62(&mut id, u128::from(Uuid::new_v4().as_u64_pair().1));
    id
}

fn push_base62(out: &mut String, mut number: u128) {
    while number > 0 {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        out.push(DIGITS.get(digit).copied().map_or('0', char::from));
        number /= 62;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_long() {
        let (one, two) = (random_id("cs_test_"), random_id("cs_test_"));
        assert_ne!(one, two);
        assert!(one.starts_with("cs_test_") && one.len() >= 8 + 28, "{one}");
        assert!(one[8..].bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
