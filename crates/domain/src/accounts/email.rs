//! E-mail addresses, and what makes two of them the same.

use std::str::FromStr as _;

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization as _;

/// A valid address as the user wrote it, with the form under which it is unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    written: String,
    folded: String,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidEmail {
    reason: String,
}

/// The longest address, RFC 5321 section 4.5.3.1 (254 octets between the brackets).
const MAX_BYTES: usize = 254;

impl Email {
    /// Checks an address: RFC 5321 syntax, a domain with a top level, no display name, no address literal.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let written = text.trim();
        let invalid = |reason: &str| InvalidEmail {
            reason: reason.to_owned(),
        };
        if written.len() > MAX_BYTES {
            return Err(invalid("an e-mail address has at most 254 bytes"));
        }
        if written.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid("an e-mail address has no spaces or control characters"));
        }
        let options = Options::default()
            .with_required_tld()
            .without_display_text()
            .without_domain_literal();
        EmailAddress::parse_with_options(written, options)
            .map_err(|e| invalid(&format!("not an e-mail address: {e}")))?;
        EmailAddress::from_str(written).map_err(|e| invalid(&format!("not an e-mail address: {e}")))?;
        Ok(Self {
            written: written.to_owned(),
            folded: Self::fold(written),
        })
    }

    /// Rebuilds an address that was stored, without checking it again.
    pub fn stored(written: String) -> Self {
        let folded = Self::fold(&written);
        Self { written, folded }
    }

    /// The form under which an address is unique: case-folded as a whole, since no provider in use tells
    /// `Ada@` from `ada@` and a person who types either means the same mailbox.
    ///
    /// Unicode full case folding over NFC, and the domain in its ASCII form (RFC 5891), so that `bücher.example` is
    /// `xn--bcher-kva.example`.
    pub fn fold(text: &str) -> String {
        match text.trim().rsplit_once('@') {
            Some((local, domain)) => {
                let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| fold_text(domain));
                format!("{}@{domain}", fold_text(local))
            }
            None => fold_text(text),
        }
    }

    /// As the user wrote it; what mails are sent to.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The form under which it is unique.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// Text in the form in which it is compared and searched: trimmed, NFC, Unicode full case folding.
pub fn fold_text(text: &str) -> String {
    unicase::UniCase::unicode(text.trim().nfc().collect::<String>())
        .to_folded_case()
        .nfc()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_as_a_whole() {
        let email = Email::parse(" Ada.Lovelace@Example.COM ").unwrap();
        assert_eq!(email.as_str(), "Ada.Lovelace@Example.COM");
        assert_eq!(email.folded(), "ada.lovelace@example.com");
        assert_eq!(Email::parse("ÄDA@example.com").unwrap().folded(), "äda@example.com");
    }

    #[test]
    fn what_reads_the_same_is_the_same() {
        for (one, other) in [
            ("ΑΣ@example.com", "ασ@example.com"),
            ("ας@example.com", "ασ@example.com"),
            ("STRASSE@example.com", "straße@example.com"),
            ("e\u{301}va@example.com", "Éva@example.com"),
            ("\u{212a}arl@example.com", "karl@example.com"),
            ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ] {
            assert_eq!(Email::fold(one), Email::fold(other), "{one} {other}");
        }
        assert_ne!(Email::fold("ada@example.com"), Email::fold("adá@example.com"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "a b@example.com",
            "Ada <ada@example.com>",
            "ada@[127.0.0.1]",
            "ada@example.com\r\nBcc: x@example.com",
            "a\u{0}@example.com",
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
