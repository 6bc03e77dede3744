//! Users and what they prove themselves with.

mod email;
mod foreign_hash;
mod one_time;
mod password;

pub use email::{Email, InvalidEmail, fold_text};
pub use foreign_hash::{ForeignHash, ForeignParts, Kdf, Prf, RefusedHash};
pub use one_time::{OneTimeToken, Purpose};
pub use password::{PasswordLists, PasswordPolicy, Personal, RefusedPassword};

use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId};

/// What a user may do beyond their own things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Own things only.
    User,
    /// The operator's people: everything under `/v1/admin`.
    Admin,
}

impl Role {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// Reads the stored word; `None` for one that no version of Anteroom has written.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Self::User),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// A person with an account. Credentials are kept apart, so that no answer can carry one by accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Identifier.
    pub id: UserId,
    /// Address, unique case-folded as a whole.
    pub email: Email,
    /// Whether the address has been proven; only the verification flow sets it.
    pub email_verified: bool,
    /// Name to show, as the user wrote it.
    pub name: Option<String>,
    /// BCP 47 language tag for mails and pages.
    pub locale: String,
    /// What the user may do.
    pub role: Role,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When the account was last changed.
    pub updated_at: Timestamp,
    /// Since when the account may not be used: an admin has closed it.
    pub disabled_at: Option<Timestamp>,
    /// When the account is erased, if its owner has asked for that.
    pub delete_after: Option<Timestamp>,
}

impl User {
    /// Whether the account may be used: whether it can log in, and whether its sessions open doors.
    pub fn usable(&self) -> bool {
        self.disabled_at.is_none()
    }
}

/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 200;

/// The language of users who chose none.
pub const DEFAULT_LOCALE: &str = "en";

/// Checks a display name: trimmed, 1 to [`MAX_NAME_CHARS`] characters, no control characters.
pub fn valid_name(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS;
    (fits && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

/// Checks the form of a BCP 47 language tag (RFC 5646): subtags of 1 to 8 letters or digits, the first of letters.
pub fn valid_locale(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary = subtags.next().unwrap_or_default();
    let word = |s: &str| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= 35
        && (2..=8).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && subtags.all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(valid_name("  Ada "), Some("Ada".to_owned()));
        assert_eq!(valid_name("   "), None);
        assert_eq!(valid_name("a\u{0}b"), None);
        assert!(valid_name(&"é".repeat(200)).is_some());
        assert!(valid_name(&"é".repeat(201)).is_none());
    }

    #[test]
    fn locales_are_language_tags() {
        for good in ["en", "de-AT", "zh-Hant-TW"] {
            assert!(valid_locale(good), "{good}");
        }
        for bad in ["", "e", "en_US", "en-", "12", "en-waytoolongtag"] {
            assert!(!valid_locale(bad), "{bad}");
        }
    }

    #[test]
    fn roles_survive_a_round_trip() {
        for role in [Role::User, Role::Admin] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}
