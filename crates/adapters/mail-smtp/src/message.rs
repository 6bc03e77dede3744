//! A mail as bytes: RFC 5322 and MIME, in ASCII but for an address that is not.

use std::time::SystemTime;

use anteroom_domain::Timestamp;
use anteroom_ports::{Mail, MailError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};

/// A mail with its envelope.
pub(crate) struct Built {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) bytes: Vec<u8>,
}

/// Writes a mail down. Refuses, for good, one whose address, subject or language would add a header of its own.
pub(crate) fn build(from: &Mailbox, mail: &Mail, now: Timestamp) -> Result<Built, MailError> {
    let refused = |what: &str| MailError::Permanent(what.to_owned());
    let to = recipient(&mail.to).ok_or_else(|| refused("the recipient is not an address"))?;
    if mail.subject.contains(char::is_control) {
        return Err(refused("the subject is not one line of text"));
    }
    if !mail.locale.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(refused("the language is not a language tag"));
    }
    let mut builder = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .raw_header(subject(&mail.subject))
        .date(SystemTime::from(now))
        .message_id(Some(format!("<{}@{}>", mail.id, from.email.domain())))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    if !mail.locale.is_empty() {
        builder = builder.raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Content-Language"),
            mail.locale.clone(),
        ));
    }
    let text = part(ContentType::TEXT_PLAIN, &mail.text);
    let message = if mail.html.is_empty() {
        builder.singlepart(text)
    } else {
        // Made of the identifier, so that a repeated mail is the same mail.
        let both = MultiPart::alternative().boundary(format!("=_{}", mail.id.simple()));
        builder.multipart(
            both.singlepart(text)
                .singlepart(part(ContentType::TEXT_HTML, &mail.html)),
        )
    };
    let message = message.map_err(|_| refused("it cannot be written as a message"))?;
    Ok(Built {
        from: from.email.clone(),
        to,
        bytes: message.formatted(),
    })
}

/// The longest subject that is written as it is: with its name it fits a line of 78.
const MAX_PLAIN_SUBJECT: usize = 68;

/// Bytes in one encoded word: 60 characters of base64, 72 with their frame; 75 are allowed (RFC 2047 section 2).
const WORD_BYTES: usize = 45;

/// The subject's header. Encoded here, because lettre leaves a text that looks like an encoded word as it is, and it
/// would be read as what it encodes.
fn subject(text: &str) -> HeaderValue {
    let mut words = Vec::new();
    let mut rest = text;
    if text.is_ascii() && text.len() <= MAX_PLAIN_SUBJECT && !text.contains("=?") {
        words.push(text.to_owned());
        rest = "";
    }
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    let name = HeaderName::new_from_ascii_str("Subject");
    HeaderValue::dangerous_new_pre_encoded(name, text.to_owned(), words.join("\r\n "))
}

/// The encoding is chosen by what the text holds; a NUL, which no mail may hold, goes.
fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).body(text.replace('\0', "\u{fffd}"))
}

/// The address with its domain in ASCII (RFC 5891), which every server takes.
fn recipient(text: &str) -> Option<Address> {
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let (local, domain) = text.rsplit_once('@')?;
    let domain = idna::domain_to_ascii(domain).ok()?;
    Address::new(local, domain).ok()
}
