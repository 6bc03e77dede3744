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

/// Whether a list holds a password. A list may take one that it does not hold for one that it does, never the reverse.
pub type Listed<'a> = &'a (dyn Fn(&str) -> bool + 'a);

/// The lists that passwords are looked up in.
#[derive(Clone, Copy)]
pub struct PasswordLists<'a> {
    /// The most common ones, in small letters.
    pub common: Listed<'a>,
    /// Those that were found in breaches.
    pub breached: Listed<'a>,
}

/// What an attacker knows of the person and tries first.
#[derive(Debug, Clone, Copy)]
pub struct Personal<'a> {
    /// The address, as written.
    pub email: &'a str,
    /// The name, if there is one.
    pub name: Option<&'a str>,
}

/// Which rule refused a password. The password itself is in none of the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedPassword {
    /// Fewer than 8 bytes.
    TooShort,
    /// More than 1024 bytes.
    TooLong,
    /// Among the most common ones (ASVS 6.2.4).
    Common,
    /// Found in a breach (ASVS 6.2.12).
    Breached,
    /// The address or the name, or little more.
    SimilarToEmail,
    /// Guessable: a pattern, or few words. Carries advice where there is any.
    TooWeak(Option<String>),
}

impl RefusedPassword {
    /// The stable code of the rule that failed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort => "password_too_short",
            Self::TooLong => "password_too_long",
            Self::Common => "password_common",
            Self::Breached => "password_breached",
            Self::SimilarToEmail => "password_similar_to_email",
            Self::TooWeak(_) => "password_too_weak",
        }
    }
}

impl fmt::Display for RefusedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "a password has at least {MIN_BYTES} bytes"),
            Self::TooLong => write!(f, "a password has at most {MAX_BYTES} bytes"),
            Self::Common => write!(
                f,
                "this password is among the most common ones; use a longer one or several unusual words"
            ),
            Self::Breached => write!(
                f,
                "this password is known from a breach of some service; use one that was never used elsewhere"
            ),
            Self::SimilarToEmail => write!(
                f,
                "this password is too similar to the address or the name; use something else"
            ),
            Self::TooWeak(Some(advice)) => write!(f, "this password is too easy to guess: {advice}"),
            Self::TooWeak(None) => write!(
                f,
                "this password is too easy to guess; use a longer one or several unusual words"
            ),
        }
    }
}

impl PasswordPolicy {
    /// Checks a password against the policy. The first rule that fails is told, the most telling ones first.
    pub fn check(
        self,
        password: &str,
        personal: Personal<'_>,
        lists: PasswordLists<'_>,
    ) -> Result<(), RefusedPassword> {
        if password.len() < MIN_BYTES {
            return Err(RefusedPassword::TooShort);
        }
        if password.len() > MAX_BYTES {
            return Err(RefusedPassword::TooLong);
        }
        if (lists.common)(&password.to_lowercase()) {
            return Err(RefusedPassword::Common);
        }
        if (lists.breached)(password) {
            return Err(RefusedPassword::Breached);
        }
        if is_personal(password, personal) {
            return Err(RefusedPassword::SimilarToEmail);
        }
        let (local, name) = (
            personal.email.split('@').next().unwrap_or_default(),
            personal.name.unwrap_or_default(),
        );
        let estimate = zxcvbn::zxcvbn(password, &[personal.email, local, name]);
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

/// Shorter words of an address or a name are in too many passwords by chance.
const MIN_WORD: usize = 4;
/// So many other characters make a password out of a word.
const MIN_OTHERS: usize = 6;
/// From this similarity on (1 is equality, a difference of one character in four is 0.75) two words are the same.
const SAME_FROM: f64 = 0.75;
/// No longer address is one (RFC 5321 section 4.5.3.1).
const MAX_EMAIL_BYTES: usize = 254;

/// Whether a password is a word of the address or the name, written another way, or with little beside it.
fn is_personal(password: &str, personal: Personal<'_>) -> bool {
    let email = if personal.email.len() <= MAX_EMAIL_BYTES {
        personal.email.trim()
    } else {
        ""
    };
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let label = domain.split('.').next().unwrap_or_default();
    let name = personal.name.unwrap_or_default();
    let words = [email, local, label, name]
        .into_iter()
        .chain(local.split(|c: char| !c.is_alphanumeric()))
        .chain(name.split_whitespace());
    let (plain, folded) = (letters(password, |c| c), letters(password, unleet));
    let close = |word: &[char], password: &[char]| {
        let backwards: Vec<char> = word.iter().rev().copied().collect();
        let holds = |word: &[char]| {
            password.len() < word.len() + MIN_OTHERS && password.windows(word.len()).any(|part| part == word)
        };
        let alike = || {
            let (a, b): (String, String) = (word.iter().collect(), password.iter().collect());
            strsim::normalized_levenshtein(&a, &b) >= SAME_FROM
        };
        word.len() >= MIN_WORD && (holds(word) || holds(&backwards) || alike())
    };
    words
        .into_iter()
        .any(|word| close(&letters(word, |c| c), &plain) || close(&letters(word, unleet), &folded))
}

/// Letters and digits, in small letters.
fn letters(text: &str, fold: impl Fn(char) -> char) -> Vec<char> {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(fold)
        .filter(|c| c.is_alphanumeric())
        .collect()
}

/// What people write for a letter.
fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: PasswordPolicy = PasswordPolicy { min_strength: 2 };
    const NOBODY: Personal<'_> = Personal { email: "", name: None };
    const NONE: PasswordLists<'_> = PasswordLists {
        common: &|_| false,
        breached: &|_| false,
    };

    fn check(password: &str, personal: Personal<'_>) -> Result<(), &'static str> {
        POLICY.check(password, personal, NONE).map_err(|refused| {
            assert!(!refused.to_string().contains(password));
            refused.code()
        })
    }

    #[test]
    fn length_is_counted_in_bytes_and_nothing_else_is_demanded() {
        assert_eq!(check("short", NOBODY), Err("password_too_short"));
        assert_eq!(check(&"x7".repeat(513), NOBODY), Err("password_too_long"));
        assert_eq!(check("all lower words here", NOBODY), Ok(()));
        assert_eq!(check("пароль-из-многих-слов", NOBODY), Ok(()));
    }

    #[test]
    fn patterns_are_refused() {
        for weak in ["password1", "12345678", "qwertyuiop", "iloveyou"] {
            assert_eq!(check(weak, NOBODY), Err("password_too_weak"), "{weak}");
        }
        let anything = PasswordPolicy { min_strength: 0 };
        assert_eq!(anything.check("12345678", NOBODY, NONE), Ok(()));
    }

    #[test]
    fn lists_are_asked_before_strength_is_estimated() {
        let lists = PasswordLists {
            common: &|password| password == "password1",
            breached: &|password| password == "Tr0ub4dor&3 Staple",
        };
        let code = |password| POLICY.check(password, NOBODY, lists).map_err(|refused| refused.code());
        // Common ones whatever their case; breached ones as they were.
        assert_eq!(code("password1"), Err("password_common"));
        assert_eq!(code("PassWord1"), Err("password_common"));
        assert_eq!(code("Tr0ub4dor&3 Staple"), Err("password_breached"));
        assert_eq!(code("tr0ub4dor&3 staple"), Ok(()));
        // What is short is short, whatever it is.
        let all = PasswordLists {
            common: &|_| true,
            breached: &|_| true,
        };
        assert_eq!(POLICY.check("short", NOBODY, all), Err(RefusedPassword::TooShort));
    }

    #[test]
    fn the_address_and_the_name_are_no_passwords() {
        let ada = Personal {
            email: "Ada.Lovelace@Engines.example",
            name: Some("Augusta Ada King"),
        };
        for password in [
            "Ada.Lovelace@Engines.example",
            "adalovelace",
            "ADA-LOVELACE",
            "lovelace1",
            "lovelace2024",
            "!lovelace!",
            "4d4L0v3l4c3",
            "ecalevol",
            "lovelaace",
            "lovelcae",
            "engines99",
            "Augusta!1",
            "augusta ada king",
        ] {
            assert_eq!(check(password, ada), Err("password_similar_to_email"), "{password}");
        }
        for password in [
            "quiet-lantern-over-the-canal",
            "lovelace wrote the first program",
            "Ada has eleven blue boats",
            "engineer of small bridges",
        ] {
            assert_eq!(check(password, ada), Ok(()), "{password}");
        }
        // Short words prove nothing, and a text that is no address is compared with as little.
        let short = Personal {
            email: "al@x.example",
            name: Some("Al"),
        };
        assert_eq!(check("alpine-goat-42", short), Ok(()));
        let long = "x".repeat(100_000);
        let long = Personal {
            email: &long,
            name: None,
        };
        assert_eq!(check("alpine-goat-42", long), Ok(()));
    }
}
