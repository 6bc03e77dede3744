//! A mail as bytes: RFC 5322, with MIME (RFC 2045, 2047) as far as a text in UTF-8 and its HTML need it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use anteroom_domain::Timestamp;
use anteroom_ports::{Mail, MailError};

/// The longest line that may travel as it is, without its end (RFC 5322 section 2.1.1).
const MAX_LINE: usize = 998;

/// The longest subject that is written as it is: with its name it fits a line of 78.
const MAX_PLAIN_SUBJECT: usize = 68;

/// Bytes in one encoded word: 60 characters of base64, 72 with their frame; 75 are allowed (RFC 2047 section 2).
const WORD_BYTES: usize = 45;

/// The longest line of quoted-printable (RFC 2045 section 6.7), less the `=` that joins it to the next.
const MAX_QUOTED_LINE: usize = 75;

/// Who a mail is from, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    header: String,
    host: String,
}

impl Sender {
    /// `ada@example.com` or `Ada <ada@example.com>`.
    pub(crate) fn parse(text: &str) -> Result<Self, MailError> {
        let header = text.trim();
        let invalid = || MailError::Permanent("the sender is not an address".to_owned());
        let address = match header.split_once('<') {
            Some((_, rest)) => rest.strip_suffix('>').ok_or_else(invalid)?,
            None => header,
        };
        let (local, host) = address.rsplit_once('@').ok_or_else(invalid)?;
        let odd = |c: char| c.is_control() || c.is_whitespace() || "<>,;".contains(c);
        if local.is_empty() || host.is_empty() || address.contains(odd) || header.contains(char::is_control) {
            return Err(invalid());
        }
        Ok(Self {
            host: host.to_owned(),
            header: header.to_owned(),
        })
    }
}

/// Writes a mail down. Refuses, for good, one whose address or subject would add a header of its own.
pub(crate) fn write(from: &Sender, mail: &Mail, now: Timestamp) -> Result<Vec<u8>, MailError> {
    let refused = |what: &str| MailError::Permanent(what.to_owned());
    if !mail.to.contains('@') || mail.to.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(refused("the recipient is not an address"));
    }
    if mail.subject.contains(char::is_control) {
        return Err(refused("the subject is not one line of text"));
    }
    let date = rfc2822::to_string(&now.to_zoned(TimeZone::UTC)).map_err(|_| refused("the date is out of range"))?;
    if !mail.locale.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(refused("the language is not a language tag"));
    }
    let mut message = String::new();
    for (name, value) in [
        ("From", from.header.as_str()),
        ("To", &mail.to),
        ("Subject", &subject(&mail.subject)),
        ("Date", &date),
        ("Message-ID", &format!("<{}@{}>", mail.id, from.host)),
        ("Auto-Submitted", "auto-generated"),
        ("Content-Language", &mail.locale),
        ("MIME-Version", "1.0"),
    ] {
        if !value.is_empty() {
            header(&mut message, name, value);
        }
    }
    if mail.html.is_empty() {
        part(&mut message, "text/plain", &mail.text);
        return Ok(message.into_bytes());
    }
    // Made of the identifier, so that a repeated mail is the same mail.
    let boundary = format!("=_{}", mail.id.simple());
    header(
        &mut message,
        "Content-Type",
        &format!("multipart/alternative; boundary=\"{boundary}\""),
    );
    // RFC 2046 section 5.1.4: the plainest first, the one to be shown last.
    for (kind, text) in [("text/plain", &mail.text), ("text/html", &mail.html)] {
        // Writing into a string cannot fail.
        let _ = write!(message, "\r\n--{boundary}\r\n");
        part(&mut message, kind, text);
    }
    let _ = write!(message, "\r\n--{boundary}--\r\n");
    Ok(message.into_bytes())
}

fn header(message: &mut String, name: &str, value: &str) {
    let _ = write!(message, "{name}: {value}\r\n");
}

/// The headers that say what a text is, and the text.
fn part(message: &mut String, kind: &str, text: &str) {
    let (encoding, body) = body(text);
    header(message, "Content-Type", &format!("{kind}; charset=utf-8"));
    header(message, "Content-Transfer-Encoding", encoding);
    message.push_str("\r\n");
    message.push_str(&body);
}

/// The subject's header: as it is where that is allowed, otherwise in encoded words, each of whole characters.
fn subject(text: &str) -> String {
    if text.is_ascii() && text.len() <= MAX_PLAIN_SUBJECT && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

/// The body, lines ended by CRLF: as it is, so that a link in it can be copied, unless a line is too long for that.
fn body(text: &str) -> (&'static str, String) {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let plain = |line: &str| line.len() <= MAX_LINE && !line.contains('\0');
    if text.split('\n').all(plain) {
        return ("8bit", format!("{}\r\n", text.replace('\n', "\r\n")));
    }
    let lines: Vec<_> = text.split('\n').map(quoted).collect();
    ("quoted-printable", format!("{}\r\n", lines.join("\r\n")))
}

/// One line in quoted-printable.
fn quoted(line: &str) -> String {
    let (mut out, mut width) = (String::new(), 0);
    for (number, &byte) in line.as_bytes().iter().enumerate() {
        let last = number + 1 == line.len();
        let literal = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (byte == b' ' && !last);
        let needed = if literal { 1 } else { 3 };
        if width + needed > MAX_QUOTED_LINE {
            out.push_str("=\r\n");
            width = 0;
        }
        width += needed;
        if literal {
            out.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(out, "={byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn mail(subject: &str, text: &str) -> Mail {
        Mail {
            id: Uuid::nil(),
            to: "ada@example.com".into(),
            subject: subject.into(),
            text: text.into(),
            html: String::new(),
            locale: "de".into(),
        }
    }

    fn written(mail: &Mail) -> String {
        let sender = Sender::parse("Anteroom <no-reply@id.example>").unwrap();
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        String::from_utf8(write(&sender, mail, now).unwrap()).unwrap()
    }

    #[test]
    fn a_mail_is_its_headers_and_its_text() {
        let expected = [
            "From: Anteroom <no-reply@id.example>",
            "To: ada@example.com",
            "Subject: Welcome",
            "Date: Fri, 2 Jan 2026 03:04:05 +0000",
            "Message-ID: <00000000-0000-0000-0000-000000000000@id.example>",
            "Auto-Submitted: auto-generated",
            "Content-Language: de",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            "Grüß dich,",
            "https://id.example/verify?token=abc",
            "",
        ];
        let text = "Grüß dich,\nhttps://id.example/verify?token=abc\n";
        assert_eq!(written(&mail("Welcome", text)), expected.join("\r\n"));
    }

    #[test]
    fn a_mail_with_html_is_both_the_text_first() {
        let mail = Mail {
            html: format!("<p>Grüß dich</p>\n<!-- {} -->\n", "x".repeat(2000)),
            ..mail("Welcome", "Grüß dich\n")
        };
        let message = written(&mail);
        let boundary = "=_00000000000000000000000000000000";
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Type: multipart/alternative; boundary=\"{boundary}\"")));
        let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 4, "{body}");
        assert_eq!(
            parts[1],
            "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüß dich\r\n\r\n"
        );
        assert!(
            parts[2].starts_with(
                "\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3"
            ),
            "{}",
            parts[2]
        );
        assert_eq!(parts[3], "--\r\n");
        assert_eq!(message, written(&mail), "a repeated mail is the same mail");
    }

    #[test]
    fn nothing_can_add_a_header() {
        let sender = Sender::parse("a@b.example").unwrap();
        for bad in [
            "x\r\nBcc: eve@example.com",
            "x\nBcc: e@example.com",
            "x\rBcc: e",
            "x\0",
            "x\u{85}y",
        ] {
            for mail in [
                mail(bad, "text"),
                Mail {
                    to: format!("ada@example.com{bad}"),
                    ..mail("ok", "text")
                },
                Mail {
                    locale: format!("de{bad}"),
                    ..mail("ok", "text")
                },
            ] {
                let refused = write(&sender, &mail, Timestamp::UNIX_EPOCH);
                assert!(matches!(refused, Err(MailError::Permanent(_))), "{bad:?}");
            }
        }
        for bad in [
            "",
            "ada",
            "@b.example",
            "a@",
            "A <a@b.example",
            "a@b.example\r\nX: y",
            "a@b.example, c@d.example",
        ] {
            assert!(Sender::parse(bad).is_err(), "{bad:?}");
        }
        // A body that looks like headers stays a body, and no bare line end survives.
        let message = written(&mail("ok", "a\r\rBcc: eve@example.com\r\n\nb"));
        assert!(
            message.ends_with("\r\n\r\na\r\n\r\nBcc: eve@example.com\r\n\r\nb\r\n"),
            "{message:?}"
        );
        assert_eq!(message.matches('\n').count(), message.matches("\r\n").count());
    }

    #[test]
    fn subjects_are_encoded_where_they_must_be() {
        assert_eq!(subject("Plain text"), "Plain text");
        assert_eq!(subject("Grüße"), "=?utf-8?B?R3LDvMOfZQ==?=");
        assert_ne!(subject("=?utf-8?B?R3I=?="), "=?utf-8?B?R3I=?=");
        let long = "日本語 ".repeat(30);
        let folded = subject(&long);
        assert!(folded.split("\r\n ").all(|word| word.len() <= 75));
        let decoded: Vec<u8> = folded
            .split("\r\n ")
            .flat_map(|word| STANDARD.decode(&word[10..word.len() - 2]).unwrap())
            .collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), long);
        assert!(subject(&"a".repeat(2000)).split("\r\n ").all(|word| word.len() <= 75));
    }

    #[test]
    fn lines_that_are_too_long_are_quoted() {
        let (encoding, text) = body(&format!("short = line \n{}\n", "é".repeat(600)));
        assert_eq!(encoding, "quoted-printable");
        assert!(text.lines().all(|line| line.len() <= 76));
        assert!(text.starts_with("short =3D line=20\r\n=C3=A9"), "{text}");
        assert_eq!(
            text.matches("=C3=A9").count() + text.matches("=C3=\r\n=A9").count(),
            600
        );
    }
}
