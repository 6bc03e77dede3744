//! The letters in English.

use anteroom_domain::Timestamp;

use super::words::{Words, time_parts};
use super::{Links, en_billing, plain, shown_key};
use crate::webhooks::{KeyAct, Letter};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const SUPPORT: &str = "Questions?";
pub(super) const LINK: &str = "If the button does not work, open this address:";

pub(super) fn greeting(name: Option<&str>) -> String {
    name.map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},"))
}

pub(super) fn time(at: Timestamp) -> String {
    let (day, month, year, clock) = time_parts(at);
    format!("{day} {} {year}, {clock} UTC", MONTHS[month])
}

pub(super) fn day(at: Timestamp) -> String {
    let (day, month, year, _) = time_parts(at);
    format!("{day} {} {year}", MONTHS[month])
}

fn hours(n: i64) -> String {
    match n {
        1 => "1 hour".to_owned(),
        n if n >= 48 && n % 24 == 0 => format!("{} days", n / 24),
        n => format!("{n} hours"),
    }
}

fn minutes(n: i64) -> String {
    match n {
        1 => "1 minute".to_owned(),
        n if n >= 60 && n % 60 == 0 => hours(n / 60),
        n => format!("{n} minutes"),
    }
}

fn facts(
    device: Option<&str>,
    address: Option<&str>,
    country: Option<&str>,
    at: Timestamp,
) -> Vec<(&'static str, String)> {
    let known = [
        ("Device", device.and_then(plain::fact)),
        ("Address", address.and_then(plain::network_address)),
        ("Country", country.and_then(plain::fact)),
        ("Time", Some(time(at))),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a letter after the other, to be read as such")]
pub(super) fn words(letter: &Letter<'_>, product: &str, links: &Links) -> Words {
    let once = |within: String| format!("The link works once, within {within}.");
    match letter {
        Letter::VerifyEmail { token, expires_hours } => Words {
            subject: format!("Confirm your e-mail address for {product}"),
            preheader: format!("One press, within {}.", hours(*expires_hours)),
            title: "Confirm your e-mail address".to_owned(),
            before: vec![format!(
                "Somebody, we hope you, has given this address to {product}. Please confirm that it is yours."
            )],
            button: Some(("Confirm address", links.verify_email(token))),
            after: vec![
                once(hours(*expires_hours)),
                "If you know nothing of it, ignore this mail: without your confirmation the address stays unconfirmed."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::SignUpWithTakenEmail => Words {
            subject: format!("You already have an account at {product}"),
            preheader: "Somebody tried to sign up with your address.".to_owned(),
            title: "You already have an account".to_owned(),
            before: vec![
                format!("Somebody, probably you, has just tried to sign up at {product} with this address."),
                "It has an account already, so nothing was changed. Log in instead; if you have forgotten your \
                 password, you can reset it there."
                    .to_owned(),
            ],
            after: vec!["If it was not you, there is nothing you need to do.".to_owned()],
            ..Words::default()
        },
        Letter::ResetPassword { token, expires_minutes } => Words {
            subject: format!("Reset your password for {product}"),
            preheader: format!("The link works once, within {}.", minutes(*expires_minutes)),
            title: "Reset your password".to_owned(),
            before: vec![format!(
                "Somebody, we hope you, has asked for a new password for your account at {product}."
            )],
            button: Some(("Choose a new password", links.reset_password(token))),
            after: vec![
                once(minutes(*expires_minutes)),
                "If it was not you, ignore this mail: your password stays as it is.".to_owned(),
            ],
            ..Words::default()
        },
        Letter::PasswordResetByAdmin { token, expires_minutes } => Words {
            subject: format!("Choose a new password for {product}"),
            preheader: format!("The link works once, within {}.", minutes(*expires_minutes)),
            title: "Choose a new password".to_owned(),
            before: vec![format!(
                "The people who run {product} have sent you this link, with which you can choose a new password for \
                 your account. Nobody but you learns what you choose."
            )],
            button: Some(("Choose a new password", links.reset_password(token))),
            after: vec![
                once(minutes(*expires_minutes)),
                "Until you use it, your password stays as it is.".to_owned(),
            ],
            ..Words::default()
        },
        Letter::PasswordChanged => Words {
            subject: format!("Your password for {product} was changed"),
            preheader: "All other sessions have been ended.".to_owned(),
            title: "Your password was changed".to_owned(),
            before: vec![format!(
                "The password of your account at {product} has just been changed. All other sessions have been ended."
            )],
            after: vec!["If it was not you, reset your password now, from the login page, and tell us.".to_owned()],
            ..Words::default()
        },
        Letter::PasswordReset => Words {
            subject: format!("Your password for {product} was reset"),
            preheader: "All sessions have been ended.".to_owned(),
            title: "Your password was reset".to_owned(),
            before: vec![format!(
                "The password of your account at {product} has just been reset with a link that we had sent to this \
                 address. All sessions have been ended; log in with the new password."
            )],
            after: vec![
                "If it was not you, somebody else reads your mail: secure your mailbox, then reset your password from \
                 the login page."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::ConfirmNewEmail {
            token,
            new_email,
            expires_hours,
        } => Words {
            subject: format!("Confirm your new e-mail address for {product}"),
            preheader: format!("One press, within {}.", hours(*expires_hours)),
            title: "Confirm your new e-mail address".to_owned(),
            before: vec![format!(
                "An account at {product} is to use the address {} from now on. Please confirm that it is yours.",
                plain::email(new_email)
            )],
            button: Some(("Confirm address", links.confirm_email(token))),
            after: vec![
                once(hours(*expires_hours)),
                "If you know nothing of it, ignore this mail: without your confirmation nothing changes.".to_owned(),
            ],
            ..Words::default()
        },
        Letter::EmailChangeRequested {
            new_email,
            undo_token,
            undo_hours,
        } => Words {
            subject: format!("Your e-mail address for {product} is to be changed"),
            preheader: "If that was not you, stop it.".to_owned(),
            title: "Your e-mail address is to be changed".to_owned(),
            before: vec![
                format!("Somebody who is logged in to your account at {product} has asked for another address."),
                "It is changed as soon as the new address is confirmed. If that is what you want, there is nothing \
                 you need to do here."
                    .to_owned(),
            ],
            facts: vec![("New address", plain::email(new_email))],
            button: Some(("Keep the present address", links.undo_email_change(undo_token))),
            after: vec![
                format!(
                    "If it was not you, press the button: the address stays as it is. The link works once, within {}.",
                    hours(*undo_hours)
                ),
                "Then change your password: somebody has been in your account.".to_owned(),
            ],
        },
        Letter::EmailChanged {
            new_email,
            undo_token,
            undo_hours,
        } => Words {
            subject: format!("Your e-mail address for {product} was changed"),
            preheader: "If that was not you, undo it.".to_owned(),
            title: "Your e-mail address was changed".to_owned(),
            before: vec![format!(
                "Your account at {product} has another address now. Mails go there from here on."
            )],
            facts: vec![("New address", plain::email(new_email))],
            button: Some(("Undo the change", links.undo_email_change(undo_token))),
            after: vec![format!(
                "If it was not you, undo it and reset your password. The link works once, within {}.",
                hours(*undo_hours)
            )],
        },
        Letter::DeletionScheduled { on } => Words {
            subject: format!("Your account at {product} will be deleted"),
            preheader: format!("On {}, with all that is in it.", day(*on)),
            title: "Your account will be deleted".to_owned(),
            before: vec![format!(
                "As you asked, your account at {product} will be deleted on {}, with all that is in it. A subscription \
                 ends with it.",
                time(*on)
            )],
            after: vec!["Have you changed your mind, or was it not you? Log in before then to keep it.".to_owned()],
            ..Words::default()
        },
        Letter::DeletionCancelled => Words {
            subject: format!("Your account at {product} stays"),
            preheader: "It will not be deleted.".to_owned(),
            title: "Your account stays".to_owned(),
            before: vec![format!(
                "Your account at {product} will not be deleted. A subscription that ended meanwhile is not renewed by \
                 itself."
            )],
            after: vec!["If it was not you who kept it, reset your password from the login page.".to_owned()],
            ..Words::default()
        },
        Letter::AccountErased => Words {
            subject: format!("Your account at {product} was deleted"),
            preheader: "This is the last mail from us.".to_owned(),
            title: "Your account was deleted".to_owned(),
            before: vec![format!(
                "Your account at {product} and what was in it have been deleted. This is the last mail from us."
            )],
            after: vec!["Thank you for having been here.".to_owned()],
            ..Words::default()
        },
        Letter::NewDevice {
            device,
            address,
            country,
            at,
            revoke_token,
        } => Words {
            subject: format!("New login to your account at {product}"),
            preheader: "Was that you?".to_owned(),
            title: "New login to your account".to_owned(),
            before: vec![format!(
                "Somebody has logged in to your account at {product} from a device or place that we have not seen \
                 before. If it was you, there is nothing you need to do."
            )],
            facts: facts(Some(device), *address, *country, *at),
            button: Some(("It was not me: end that session", links.revoke_session(revoke_token))),
            after: vec![
                "If it was not you, press the button, then reset your password from the login page: somebody knows it."
                    .to_owned(),
            ],
        },
        Letter::RefreshTokenReused { device, at } => Words {
            subject: format!("We have ended a session at {product}"),
            preheader: "Somebody may have had a copy of it.".to_owned(),
            title: "We have ended a session".to_owned(),
            before: vec![
                format!(
                    "A key of one of your sessions at {product} was used a second time. That happens when somebody \
                     has a copy of it, and now and then when a program goes wrong."
                ),
                "To be on the safe side we have ended the session. Log in again where you need it.".to_owned(),
            ],
            facts: facts(*device, None, None, *at),
            after: vec![
                "If you do not know why it happened, check the device for programs you have not installed, and change \
                 your password."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::LockedOut { address, at } => Words {
            subject: format!("Many failed logins at {product}"),
            preheader: "Your running sessions are not affected.".to_owned(),
            title: "Many failed logins".to_owned(),
            before: vec![
                format!(
                    "Somebody has entered wrong passwords for your account at {product} again and again. Further \
                     logins have to wait for a while, yours too."
                ),
                "These tries were all refused, and sessions that are running go on.".to_owned(),
            ],
            facts: facts(None, *address, None, *at),
            after: vec![
                "If you have forgotten your password, reset it from the login page: that also ends the waiting."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::ApiKey {
            did,
            name,
            hint,
            address,
            at,
        } => {
            let named = [
                plain::fact(name).map(|name| ("Name", name)),
                Some(("Key", shown_key(hint))),
            ];
            Words {
                facts: named
                    .into_iter()
                    .flatten()
                    .chain(facts(None, *address, None, *at))
                    .collect(),
                ..api_key(*did, *at, product)
            }
        }
        Letter::Billing(letter) => en_billing::words(letter, product, links),
    }
}

fn api_key(did: KeyAct, at: Timestamp, product: &str) -> Words {
    let (title, said, preheader) = match did {
        KeyAct::Created => (
            "A new API key",
            format!(
                "An API key has been made for your account at {product}. Programs that have it can use your account, \
                 as far as the key goes."
            ),
            "Was that you?",
        ),
        KeyAct::Changed => (
            "An API key was changed",
            format!("What an API key of your account at {product} may do has been changed."),
            "Was that you?",
        ),
        KeyAct::Rotated { until } => {
            let old = if until > at {
                format!("The old one works until {}.", time(until))
            } else {
                "The old one works no more.".to_owned()
            };
            (
                "An API key was rotated",
                format!("An API key of your account at {product} has got a new secret. {old}"),
                "Was that you?",
            )
        }
        KeyAct::Deleted => (
            "An API key was deleted",
            format!(
                "An API key of your account at {product} has been deleted. Programs that use it are let in no more."
            ),
            "Programs that use it are let in no more.",
        ),
        KeyAct::DeletedByAdmin => (
            "An API key was deleted",
            format!(
                "The people who run {product} have deleted an API key of your account. Programs that use it are let in \
                 no more."
            ),
            "Programs that use it are let in no more.",
        ),
    };
    let doubt = "If it was not you, reset your password from the login page, then delete the API keys that you do not \
                 know: somebody has been in your account.";
    Words {
        subject: format!("{title} at {product}"),
        preheader: preheader.to_owned(),
        title: title.to_owned(),
        before: vec![said],
        after: match did {
            KeyAct::DeletedByAdmin => vec!["Ask them, if you do not know why.".to_owned()],
            _ => vec![doubt.to_owned()],
        },
        ..Words::default()
    }
}
