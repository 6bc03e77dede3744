//! What the text of a setting must look like.

use std::net::IpAddr;

use anteroom_mail_smtp::SmtpTarget;
use ipnet::IpNet;
use url::{Host, Url};

use super::database_target::{self, DatabaseTarget};

/// What a text must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Any,
    Line,
    Host,
    Path,
    Url,
    UrlPath,
    Color,
    Smtp,
    Cidr,
    Header,
    Csp,
    Model,
    Mailbox,
    Database,
}

impl Format {
    /// The format that the default file calls so.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "line" => Self::Line,
            "host" => Self::Host,
            "path" => Self::Path,
            "url" => Self::Url,
            "url_path" => Self::UrlPath,
            "color" => Self::Color,
            "smtp" => Self::Smtp,
            "cidr" => Self::Cidr,
            "header" => Self::Header,
            "csp" => Self::Csp,
            "model" => Self::Model,
            "mailbox" => Self::Mailbox,
            "database" => Self::Database,
            _ => return None,
        })
    }

    /// What is expected, in words.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Any => "a text",
            Self::Line => "one line of text, not empty",
            Self::Host => "an IP address or a host name, without scheme and port",
            Self::Path => "a path",
            Self::Url => "an address such as https://app.example.com (http or https, no password, query or fragment)",
            Self::UrlPath => "a path such as /verify-email (letters, digits, and / - _ . ~)",
            Self::Color => "a colour such as #2f5bea",
            Self::Smtp => anteroom_mail_smtp::EXPECTED,
            Self::Cidr => "an IP address or a range such as 10.0.0.0/8",
            Self::Header => "the name of an HTTP header such as CF-IPCountry",
            Self::Csp => "a CSP source such as https://huggingface.co or https://*.hf.space",
            Self::Model => "a model's name",
            Self::Mailbox => "a sender such as Anteroom <no-reply@example.com>",
            Self::Database => database_target::EXPECTED,
        }
    }

    /// The text in the form that is kept, or `None` if it does not look as it must. An empty one passes where
    /// it stands for "not set".
    pub fn accept(self, text: &str, may_be_empty: bool) -> Option<String> {
        if text.chars().any(char::is_control) {
            return None;
        }
        if text.is_empty() {
            return may_be_empty.then(String::new);
        }
        let is_right = match self {
            Self::Any | Self::Line | Self::Path | Self::Model => true,
            Self::Host => is_host(text),
            Self::Url => is_web_address(text),
            Self::UrlPath => is_url_path(text),
            Self::Color => is_color(text),
            Self::Smtp => SmtpTarget::parse(text).is_some(),
            Self::Cidr => return range(text),
            // RFC 9110 section 5.6.2.
            Self::Header => text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)),
            // A space, comma or semicolon would end the directive in the header.
            Self::Csp => text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b",;".contains(&byte)),
            Self::Mailbox => is_mailbox(text),
            Self::Database => DatabaseTarget::parse(text).is_some(),
        };
        is_right.then(|| text.to_owned())
    }
}

fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || matches!(Host::parse(text), Ok(Host::Domain(_) | Host::Ipv4(_)))
}

fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

/// A path that stays below its base: no second slash at the start, which would name a host, and no step upwards.
fn is_url_path(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
    text.starts_with('/') && text.bytes().all(is_plain) && !text.contains("//") && !text.contains("..")
}

fn is_color(text: &str) -> bool {
    text.len() == 7 && text.starts_with('#') && text.bytes().skip(1).all(|b| b.is_ascii_hexdigit())
}

/// A range, or a single address as a range of one.
fn range(text: &str) -> Option<String> {
    let range: IpNet = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().ok()?,
    };
    Some(range.to_string())
}

fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>'),
        None => Some(text),
    };
    let Some((local, domain)) = address.and_then(|address| address.rsplit_once('@')) else {
        return false;
    };
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "<>@,".contains(c));
    is_word(local) && is_word(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_is_meant_and_refuse_what_is_not() {
        let cases: [(Format, &[&str], &[&str]); 11] = [
            (
                Format::Host,
                &["127.0.0.1", "::", "localhost", "api.example.com"],
                &["http://x", "x:80", "a b", "[::1]"],
            ),
            (
                Format::Url,
                &["https://a.example", "http://localhost:7860/"],
                &["a.example", "ftp://a", "https://u:p@a", "https://a?x=1"],
            ),
            (
                Format::Cidr,
                &["10.0.0.1", "10.0.0.0/8", "fd00::/8"],
                &["proxy.example", "10.0.0.0/33"],
            ),
            (Format::Header, &["CF-IPCountry", "x-country"], &["a b", "a:b", "ä"]),
            (
                Format::Csp,
                &["https://huggingface.co", "https://*.hf.space", "'self'"],
                &["a;b", "a b", "a,b"],
            ),
            (
                Format::Mailbox,
                &["a@b.example", "A Room <a@b.example>"],
                &["a", "A <a@b.example", "<@b>", "a@", "A <a b@c>"],
            ),
            (
                Format::UrlPath,
                &["/verify-email", "/de/konto/bestaetigen"],
                &["verify", "//evil.example", "/a//b", "/../b", "/a?b", "/a#b", "/a b"],
            ),
            (
                Format::Color,
                &["#2f5bea", "#FFFFFF"],
                &["#fff", "red", "#2f5beg", "2f5bea0"],
            ),
            (
                Format::Smtp,
                &[
                    "smtp://localhost",
                    "smtps://a:b@mail.example",
                    "smtp://a:b@mail.example?tls=required",
                ],
                &["mail.example", "smtp://a:b@mail.example?tls=maybe"],
            ),
            (Format::Line, &["one line"], &["two\nlines"]),
            (Format::Database, &["sqlite://a.db", "postgres://h/d"], &["a.db"]),
        ];
        for (format, good, bad) in cases {
            for text in good {
                assert!(format.accept(text, false).is_some(), "{format:?} takes {text}");
            }
            for text in bad {
                assert!(format.accept(text, true).is_none(), "{format:?} refuses {text}");
            }
            assert!(
                format.accept("", true).is_some() && format.accept("", false).is_none(),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_single_address_becomes_a_range() {
        assert_eq!(Format::Cidr.accept("10.0.0.1", false).as_deref(), Some("10.0.0.1/32"));
        assert_eq!(Format::Cidr.accept("::1", false).as_deref(), Some("::1/128"));
    }
}
