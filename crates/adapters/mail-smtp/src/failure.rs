//! What an SMTP failure means for the mail, in words that hold no address, nothing of the mail and no password. A
//! server's own words often quote the recipient, so of them only the numbers are told.

use std::error::Error as _;
use std::io;

use anteroom_ports::MailError;
use lettre::transport::smtp::Error;

/// Where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Name, TCP, TLS from the start, greeting, EHLO.
    Connect,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The answer to the mail itself.
    Message,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::Message => "the mail",
        }
    }

    /// Whether a 5xx here is about this very mail. Before that it is about the server, the password or the sender,
    /// which an operator can mend: mails wait for that rather than being lost.
    fn judges_the_mail(self) -> bool {
        matches!(self, Self::Rcpt | Self::Data | Self::Message)
    }
}

/// Replies that ask for a login or for encryption (RFC 4954 section 6, RFC 3207 section 4), wherever they come.
const WANTS_LOGIN: [u16; 4] = [530, 534, 535, 538];

/// It took too long.
pub(crate) fn too_long(step: Step) -> MailError {
    MailError::Temporary(format!("{} took too long", step.name()))
}

/// What lettre's error means.
pub(crate) fn of(step: Step, error: &Error) -> MailError {
    let name = step.name();
    if let Some(code) = error.status() {
        let number = u16::from(code);
        let reason = format!("{name} was answered {number}{}", enhanced(error));
        let judged = error.is_permanent() && step.judges_the_mail() && !WANTS_LOGIN.contains(&number);
        return if judged {
            MailError::Permanent(reason)
        } else {
            MailError::Temporary(reason)
        };
    }
    let what = if let Some(io) = io_error(error) {
        format!("{name}: {io}")
    } else if error.is_response() {
        // Its own words quote the answer.
        format!("{name}: the answer ended early or is not SMTP")
    } else if error.is_tls() {
        format!("{name}: TLS failed")
    } else {
        format!("{name} failed")
    };
    MailError::Temporary(what)
}

/// ` 5.1.1` out of a reply that begins with such a code (RFC 3463).
fn enhanced(error: &Error) -> String {
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    let word = text.split_whitespace().next().unwrap_or_default();
    let numbers: Vec<&str> = word.split('.').collect();
    let is_number = |n: &&str| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    if numbers.len() == 3 && numbers.iter().all(is_number) {
        format!(" {word}")
    } else {
        String::new()
    }
}

/// The operating system's or rustls' error at the bottom: "connection refused", "invalid peer certificate".
fn io_error(error: &Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io);
        }
        source = cause.source();
    }
    None
}
