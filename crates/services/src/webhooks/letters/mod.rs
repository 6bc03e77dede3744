//! What mails say. The words are in `en.rs` and `de.rs`, once for text and HTML; how they look is in
//! `crates/services/templates`.
//!
//! Links are made of the configured addresses only: nothing of a request reaches this module but what people wrote
//! and where a request came from, and of that nothing becomes a link ([`plain`]).

mod billing;
mod de;
mod de_billing;
mod en;
mod en_billing;
mod plain;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::Write as _;

use anteroom_domain::Timestamp;
use anteroom_domain::access::{API_KEY_PREFIX, ApiKey};
use anteroom_domain::accounts::Email;
use anteroom_ports::webhooks::Mail;
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::error;
use uuid::Uuid;

pub(crate) use billing::BillingLetter;

use super::Webhooks;
use crate::Client;
use words::{Language, Words, wrapped};

/// How letters look, and where their links lead.
#[derive(Debug, Clone)]
pub struct LetterOptions {
    /// The product's name.
    pub product: String,
    /// The accent colour, `#rrggbb`.
    pub color: String,
    /// A picture to show instead of the product's name.
    pub logo_url: Option<String>,
    /// Where to turn with questions: an address, shown as it is.
    pub support: Option<String>,
    /// Where links lead.
    pub links: Links,
}

/// The pages that links in mails lead to, as whole addresses without a fragment. The token goes behind `#token=`,
/// where no server's log and no `Referer` gets it.
#[derive(Debug, Clone)]
pub struct Links {
    /// Confirms the address of an account.
    pub verify_email: String,
    /// Sets a new password.
    pub reset_password: String,
    /// Confirms a new address.
    pub confirm_email: String,
    /// Takes a change of address back.
    pub undo_email_change: String,
    /// Ends a session.
    pub revoke_session: String,
    /// Shows the plan and what is paid for it. No token follows.
    pub billing: String,
}

impl Links {
    fn verify_email(&self, token: &SecretString) -> String {
        link(&self.verify_email, token)
    }

    fn reset_password(&self, token: &SecretString) -> String {
        link(&self.reset_password, token)
    }

    fn confirm_email(&self, token: &SecretString) -> String {
        link(&self.confirm_email, token)
    }

    fn undo_email_change(&self, token: &SecretString) -> String {
        link(&self.undo_email_change, token)
    }

    fn revoke_session(&self, token: &SecretString) -> String {
        link(&self.revoke_session, token)
    }
}

/// `page#token=…`, everything that is not unreserved (RFC 3986 section 2.3) encoded.
fn link(page: &str, token: &SecretString) -> String {
    let mut link = format!("{page}#token=");
    for byte in token.expose_secret().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            link.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(link, "%{byte:02X}");
        }
    }
    link
}

/// A mail to somebody with, or about to have, an account.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Letter<'a> {
    /// Asks the owner of an address to prove it.
    VerifyEmail {
        token: &'a SecretString,
        expires_hours: i64,
    },
    /// Tells the owner of a taken address of an attempt to sign up with it.
    SignUpWithTakenEmail,
    /// The way to a new password.
    ResetPassword {
        token: &'a SecretString,
        expires_minutes: i64,
    },
    /// The password was changed by somebody who knew the old one.
    PasswordChanged,
    /// The password was set by somebody who had the link.
    PasswordReset,
    /// To the new address: asks its owner to prove it.
    ConfirmNewEmail {
        token: &'a SecretString,
        new_email: &'a str,
        expires_hours: i64,
    },
    /// To the present address: another one was asked for.
    EmailChangeRequested {
        new_email: &'a str,
        undo_token: &'a SecretString,
        undo_hours: i64,
    },
    /// To the former address: another one holds now.
    EmailChanged {
        new_email: &'a str,
        undo_token: &'a SecretString,
        undo_hours: i64,
    },
    /// The account will be erased.
    DeletionScheduled { on: Timestamp },
    /// It will not.
    DeletionCancelled,
    /// It has been.
    AccountErased,
    /// A login from a device or country that the account has not seen.
    NewDevice {
        device: &'a str,
        address: Option<&'a str>,
        country: Option<&'a str>,
        at: Timestamp,
        revoke_token: &'a SecretString,
    },
    /// A session was ended because a refresh token was presented again.
    RefreshTokenReused { device: Option<&'a str>, at: Timestamp },
    /// Logins to the account have to wait.
    LockedOut { address: Option<&'a str>, at: Timestamp },
    /// The way to a new password, sent by an administrator.
    PasswordResetByAdmin {
        token: &'a SecretString,
        expires_minutes: i64,
    },
    /// Something was done to an API key.
    ApiKey {
        did: KeyAct,
        name: &'a str,
        hint: &'a str,
        address: Option<&'a str>,
        at: Timestamp,
    },
    /// Of plans, payments and limits.
    Billing(BillingLetter<'a>),
}

/// What was done to an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAct {
    /// Its owner made it.
    Created,
    /// It may do other things than before.
    Changed,
    /// It got a new secret; the one before works until then.
    Rotated { until: Timestamp },
    /// Its owner deleted it.
    Deleted,
    /// An admin deleted it.
    DeletedByAdmin,
}

impl<'a> Letter<'a> {
    /// Of something that was done to an API key. From where an admin acts is not told.
    pub(crate) fn of_api_key(did: KeyAct, key: &'a ApiKey, client: &'a Client, at: Timestamp) -> Self {
        Self::ApiKey {
            did,
            name: &key.name,
            hint: &key.hint,
            address: client.address.as_deref().filter(|_| did != KeyAct::DeletedByAdmin),
            at,
        }
    }
}

/// A key as it is shown once its secret is no longer known.
fn shown_key(hint: &str) -> String {
    format!("{API_KEY_PREFIX}…{hint}")
}

impl Letter<'_> {
    /// Whether it may greet by name. Not where the address is perhaps somebody else's than the name: a stranger could
    /// have chosen the name to be read by the address's owner.
    fn greets_by_name(&self) -> bool {
        !matches!(
            self,
            Self::VerifyEmail { .. } | Self::SignUpWithTakenEmail | Self::ConfirmNewEmail { .. }
        )
    }
}

#[derive(Template)]
#[template(path = "letter.txt")]
struct TextLetter<'a> {
    product: &'a str,
    support: Option<&'a str>,
    support_label: &'a str,
    greeting: &'a str,
    words: &'a Words,
    before: Vec<String>,
    after: Vec<String>,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct HtmlLetter<'a> {
    lang: &'a str,
    product: &'a str,
    color: &'a str,
    on_color: &'a str,
    logo_url: Option<&'a str>,
    support: Option<&'a str>,
    support_label: &'a str,
    link_label: &'a str,
    greeting: &'a str,
    words: &'a Words,
}

impl Webhooks {
    /// Writes a letter. `locale` is the user's BCP 47 tag: German for `de` and its regions, else English. `name` is
    /// the user's display name, as they wrote it.
    pub(crate) fn letter(&self, to: &Email, locale: &str, name: Option<&str>, letter: Letter<'_>) -> Mail {
        self.options.letters.write(self.ids.uuid(), to, locale, name, letter)
    }
}

impl LetterOptions {
    fn write(&self, id: Uuid, to: &Email, locale: &str, name: Option<&str>, letter: Letter<'_>) -> Mail {
        let language = Language::of(locale);
        let product = plain::one_line(&self.product, 60);
        let name = name.filter(|_| letter.greets_by_name()).and_then(plain::name);
        let (words, greeting, support_label, link_label) = match language {
            Language::English => (
                en::words(&letter, &product, &self.links),
                en::greeting(name.as_deref()),
                en::SUPPORT,
                en::LINK,
            ),
            Language::German => (
                de::words(&letter, &product, &self.links),
                de::greeting(name.as_deref()),
                de::SUPPORT,
                de::LINK,
            ),
        };
        let support = self.support.as_deref().map(|support| plain::one_line(support, 254));
        let text = TextLetter {
            product: &product,
            support: support.as_deref(),
            support_label,
            greeting: &greeting,
            words: &words,
            before: words.before.iter().map(|paragraph| wrapped(paragraph)).collect(),
            after: words.after.iter().map(|paragraph| wrapped(paragraph)).collect(),
        };
        let color = accent(&self.color);
        let html = HtmlLetter {
            lang: language.tag(),
            product: &product,
            color,
            on_color: ink_on(color),
            logo_url: self.logo_url.as_deref(),
            support: support.as_deref(),
            support_label,
            link_label,
            greeting: &greeting,
            words: &words,
        };
        Mail {
            id,
            to: to.as_str().to_owned(),
            text: rendered(&text),
            html: rendered(&html),
            subject: words.subject,
            locale: language.tag().to_owned(),
        }
    }
}

/// Rendering into memory fails only if a value's `Display` does, and all values are texts.
fn rendered(template: &impl Template) -> String {
    let mut text = template.render().unwrap_or_else(|e| {
        error!(event = "mail.render.failed", reason = %e);
        String::new()
    });
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

const DEFAULT_ACCENT: &str = "#2f5bea";

/// The colour, if it is one. It goes into a style, where escaping would not hold back a second declaration.
fn accent(color: &str) -> &str {
    let is_color = color.len() == 7 && color.starts_with('#') && color[1..].bytes().all(|b| b.is_ascii_hexdigit());
    if is_color { color } else { DEFAULT_ACCENT }
}

/// White or near-black, whichever is easier to read on the colour (WCAG 2.2, relative luminance).
fn ink_on(color: &str) -> &'static str {
    let channel = |at: usize| {
        let value = color
            .get(at..at + 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let value = f64::from(value.unwrap_or(0)) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    let luminance = 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
    // Contrast with white is 1.05 / (l + 0.05), with black (l + 0.05) / 0.05; they meet at 0.179.
    if luminance > 0.179 { "#14171c" } else { "#ffffff" }
}
