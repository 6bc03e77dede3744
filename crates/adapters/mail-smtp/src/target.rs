//! What an SMTP address means: the forms of lettre, with everything else refused, so that a slip of the pen does not
//! send passwords in the clear.

use std::fmt;

use secrecy::SecretString;
use url::{Host, Url};

/// What is accepted, for error messages.
pub const EXPECTED: &str = "smtp://host:port, smtp://user:password@host?tls=required (STARTTLS) or \
    smtps://user:password@host (TLS from the start)";

/// When a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    None,
    /// With STARTTLS (RFC 3207) if the server offers it. Whoever sits between can take the offer away.
    Opportunistic,
    /// With STARTTLS, or not at all.
    Required,
    /// From the first byte (RFC 8314 section 3.3).
    Implicit,
}

/// A mail server, and how to speak to it. `{:?}` shows neither user nor password.
#[derive(Clone)]
pub struct SmtpTarget {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    pub(crate) hello: Option<String>,
    pub(crate) credentials: Option<(String, SecretString)>,
}

impl SmtpTarget {
    /// Reads an address: `smtp://` without TLS (port 25), `smtp://…?tls=opportunistic` and `?tls=required` with
    /// STARTTLS (port 587), `smtps://` (port 465). User and password are percent-decoded; a path is the name to greet
    /// the server with. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let host = match url.host()? {
            Host::Domain(name) => decoded(name)?,
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if host.is_empty() || url.fragment().is_some() {
            return None;
        }
        let mut asked = None;
        for (name, value) in url.query_pairs() {
            if name != "tls" || asked.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let (tls, port) = match (url.scheme(), asked.as_deref()) {
            ("smtp", None) => (Tls::None, 25),
            ("smtp", Some("opportunistic")) => (Tls::Opportunistic, 587),
            ("smtp", Some("required")) => (Tls::Required, 587),
            ("smtps", None | Some("required" | "wrapper")) => (Tls::Implicit, 465),
            _ => return None,
        };
        let credentials = match (decoded(url.username())?, url.password()) {
            (user, None) if user.is_empty() => None,
            (user, Some(password)) if !user.is_empty() => Some((user, SecretString::from(decoded(password)?))),
            // One without the other would be left out without a word.
            _ => return None,
        };
        let hello = url.path().trim_matches('/');
        if !hello.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
            return None;
        }
        Some(Self {
            host,
            port: url.port().unwrap_or(port),
            tls,
            hello: (!hello.is_empty()).then(|| hello.to_owned()),
            credentials,
        })
    }

    /// Host and port, for people.
    pub fn server(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// When it is encrypted.
    pub fn tls(&self) -> Tls {
        self.tls
    }

    /// Whether a password may travel in the clear to another machine.
    pub fn exposes_password(&self) -> bool {
        let encrypted = matches!(self.tls, Tls::Required | Tls::Implicit);
        self.credentials.is_some() && !encrypted && !self.is_loopback()
    }

    fn is_loopback(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }
}

impl fmt::Debug for SmtpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpTarget")
            .field("server", &self.server())
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Percent-decoded; `None` if that is no text or holds a control character.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_forms_of_lettre_are_read() {
        for (text, server, tls) in [
            ("smtp://mail.example", "mail.example:25", Tls::None),
            ("smtp://127.0.0.1:2525", "127.0.0.1:2525", Tls::None),
            ("smtp://[::1]:2525", "[::1]:2525", Tls::None),
            ("smtp://mail.example?tls=required", "mail.example:587", Tls::Required),
            (
                "smtp://mail.example/?tls=opportunistic",
                "mail.example:587",
                Tls::Opportunistic,
            ),
            ("smtps://mail.example", "mail.example:465", Tls::Implicit),
            (
                "smtps://mail.example:1465?tls=required",
                "mail.example:1465",
                Tls::Implicit,
            ),
        ] {
            let target = SmtpTarget::parse(text).unwrap();
            assert_eq!((target.server().as_str(), target.tls()), (server, tls), "{text}");
        }
        let target = SmtpTarget::parse("smtps://ada%40example.com:p%3A%2Fss%20w@mail.example/app.example").unwrap();
        let (user, password) = target.credentials.clone().unwrap();
        assert_eq!(
            (user.as_str(), password.expose_secret()),
            ("ada@example.com", "p:/ss w")
        );
        assert_eq!(target.hello.as_deref(), Some("app.example"));
        let shown = format!("{target:?}");
        assert!(!shown.contains("ada") && !shown.contains("ss w"), "{shown}");
    }

    #[test]
    fn a_slip_of_the_pen_is_refused() {
        for bad in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://mail.example?tsl=required",
            "smtp://mail.example?tls=yes",
            "smtp://mail.example?tls=required&tls=none",
            "smtps://mail.example?tls=none",
            "smtp://ada@mail.example",
            "smtp://:secret@mail.example",
            "smtp://a:%zz@mail.example",
            "smtp://a:b%0d%0aRSET@mail.example",
            "smtp://mail.example/he%20lo",
            "smtp://mail.example#x",
        ] {
            assert!(SmtpTarget::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_exposed_on_plain_ways_to_others_only() {
        let exposes = |text| SmtpTarget::parse(text).unwrap().exposes_password();
        assert!(exposes("smtp://a:b@mail.example") && exposes("smtp://a:b@mail.example?tls=opportunistic"));
        for fine in [
            "smtp://mail.example",
            "smtp://a:b@127.0.0.1",
            "smtp://a:b@[::1]",
            "smtp://a:b@localhost",
            "smtp://a:b@mail.example?tls=required",
            "smtps://a:b@mail.example",
        ] {
            assert!(!exposes(fine), "{fine}");
        }
    }
}
