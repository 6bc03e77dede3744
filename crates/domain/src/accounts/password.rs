//! Which passwords are accepted: length and strength, no composition rules (NIST 800-63B-4, OWASP ASVS 5.0 V6.2).

use std::fmt;

/// The shortest password, in bytes (ASVS 6.2.1).
pub const MIN_BYTES: usize = 8;
/// The longest password, in bytes: hashing input is bounded, nothing is truncated.
pub const MAX_BYTES: usize = 1024;

/// What an operator can set about accepted passwords.
#[derive(Debug, Clone, Copy)]
pub struct PasswordPolicy {
    /// The least zxcvbn score (0 to 4). 2 refuses what falls to fewer than 10^6 guesses.
    pub min_strength: u8,
}

/// Which rule refused a password. The password itself is in none of the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedPassword {
    /// Fewer than 8 bytes.
    TooShort,
    /// More than 1024 bytes.
    TooLong,
    /// Guessable: common, a pattern, or close to the address or name. Carries advice where there is any.
    TooWeak(Option<String>),
}

impl RefusedPassword {
    /// The stable code of the rule that failed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort => "password_too_short",
            Self::TooLong => "password_too_long",
            Self::TooWeak(_) => "password_too_weak",
        }
    }
}

impl fmt::Display for RefusedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "a password has at least {MIN_BYTES} bytes"),
            Self::TooLong => write!(f, "a password has at most {MAX_BYTES} bytes"),
            Self::TooWeak(Some(advice)) => write!(f, "this password is too easy to guess: {advice}"),
            Self::TooWeak(None) => write!(
                f,
                "this password is too easy to guess; use a longer one or several unusual words"
            ),
        }
    }
}

impl PasswordPolicy {
    /// Checks a password against the policy; `known` are words an attacker would try first (address, name).
    pub fn check(self, password: &str, known: &[&str]) -> Result<(), RefusedPassword> {
        if password.len() < MIN_BYTES {
            return Err(RefusedPassword::TooShort);
        }
        if password.len() > MAX_BYTES {
            return Err(RefusedPassword::TooLong);
        }
        let estimate = zxcvbn::zxcvbn(password, known);
        if u8::from(estimate.score()) < self.min_strength {
            let advice = estimate
                .feedback()
                .and_then(zxcvbn::feedback::Feedback::warning)
                .map(|w| w.to_string());
            return Err(RefusedPassword::TooWeak(advice));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: PasswordPolicy = PasswordPolicy { min_strength: 2 };

    #[test]
    fn length_is_counted_in_bytes_and_nothing_else_is_demanded() {
        assert_eq!(POLICY.check("short", &[]), Err(RefusedPassword::TooShort));
        assert_eq!(POLICY.check(&"x7".repeat(513), &[]), Err(RefusedPassword::TooLong));
        assert_eq!(POLICY.check("all lower words here", &[]), Ok(()));
        assert_eq!(POLICY.check("пароль-из-многих-слов", &[]), Ok(()));
    }

    #[test]
    fn common_and_personal_passwords_are_refused_with_their_rule() {
        for weak in ["password1", "12345678", "qwertyuiop", "iloveyou"] {
            let refused = POLICY.check(weak, &[]).unwrap_err();
            assert_eq!(refused.code(), "password_too_weak", "{weak}");
            assert!(!refused.to_string().contains(weak));
        }
        assert!(POLICY.check("adalovelace", &["adalovelace", "example"]).is_err());
    }
}
