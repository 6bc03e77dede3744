//! Every letter in both languages, and what must not get into any.

use std::collections::HashSet;
use std::sync::LazyLock;

use anteroom_domain::billing::{Borne, PlanChangeReason, Price, Window};

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LOCALES: [&str; 2] = ["en", "de-AT"];

fn options() -> LetterOptions {
    let page = |path: &str| format!("https://app.example/{path}");
    LetterOptions {
        product: "Anteroom".into(),
        color: "#2f5bea".into(),
        logo_url: None,
        support: Some("help@app.example".into()),
        links: Links {
            verify_email: page("verify-email"),
            reset_password: page("reset-password"),
            confirm_email: page("confirm-email"),
            undo_email_change: page("undo-email-change"),
            revoke_session: page("revoke-session"),
            billing: page("billing"),
        },
    }
}

fn to() -> Email {
    Email::parse("ada@example.com").unwrap()
}

fn at() -> Timestamp {
    "2026-03-05T09:07:00Z".parse().unwrap()
}

/// The letters about plans, payments and limits, each of which links to the page of the plan.
fn billing_letters() -> Vec<BillingLetter<'static>> {
    static PRICE: LazyLock<Price> = LazyLock::new(|| Price {
        amount: 1900,
        currency: "usd".into(),
        interval: "month".into(),
    });
    let trial = |price, card| BillingLetter::TrialEnding {
        plan: "Pro",
        ends_at: at(),
        price,
        card,
    };
    let failed = |borne| BillingLetter::PaymentFailed { plan: "Pro", borne };
    let changed = |why| BillingLetter::PlanChanged {
        from: "Free",
        to: "Pro",
        why,
        price: Some(&PRICE),
    };
    let used = |what, all, window, beyond| BillingLetter::QuotaUsed {
        what,
        all,
        used: if all { 1_250_000_000 } else { 1_000_000_000 },
        limit: 1_250_000_000,
        beyond,
        window,
        resets_at: Some(at()),
    };
    vec![
        trial(Some(&PRICE), true),
        trial(Some(&PRICE), false),
        trial(None, true),
        failed(Borne::Until(at())),
        failed(Borne::No),
        failed(Borne::Apart),
        changed(PlanChangeReason::Chosen),
        changed(PlanChangeReason::Trial(Some(at()))),
        changed(PlanChangeReason::Unpaid),
        changed(PlanChangeReason::TrialOver),
        changed(PlanChangeReason::Ended),
        BillingLetter::PlanWillChange {
            from: "Pro",
            to: "Free",
            on: at(),
        },
        BillingLetter::PlanStays { plan: "Pro" },
        used("messages", false, Window::Month, None),
        used("tokens", true, Window::Day, None),
        used("cost", false, Window::Month, None),
        used("exports", true, Window::Month, None),
        used("tokens", false, Window::Month, Some(500_000)),
        used("exports", true, Window::Month, Some(20)),
    ]
}

/// Every letter, with the page that it links to.
fn letters<'a>(token: &'a SecretString, said: &'a str) -> Vec<(Letter<'a>, Option<&'static str>)> {
    let (device, address, country) = (said, Some("2001:db8::1"), Some(said));
    let key = |did| Letter::ApiKey {
        did,
        name: said,
        hint: "Ab12",
        address,
        at: at(),
    };
    let later = at() + jiff::SignedDuration::from_hours(24);
    let billing = billing_letters().into_iter();
    let mut all = vec![
        (key(KeyAct::Created), None),
        (key(KeyAct::Changed), None),
        (key(KeyAct::Rotated { until: later }), None),
        (key(KeyAct::Rotated { until: at() }), None),
        (key(KeyAct::Deleted), None),
        (key(KeyAct::DeletedByAdmin), None),
        (
            Letter::VerifyEmail {
                token,
                expires_hours: 24,
            },
            Some("verify-email"),
        ),
        (Letter::SignUpWithTakenEmail, None),
        (
            Letter::ResetPassword {
                token,
                expires_minutes: 30,
            },
            Some("reset-password"),
        ),
        (Letter::PasswordChanged, None),
        (Letter::PasswordReset, None),
        (
            Letter::ConfirmNewEmail {
                token,
                new_email: "new@example.com",
                expires_hours: 1,
            },
            Some("confirm-email"),
        ),
        (
            Letter::EmailChangeRequested {
                new_email: "new@example.com",
                undo_token: token,
                undo_hours: 72,
            },
            Some("undo-email-change"),
        ),
        (
            Letter::EmailChanged {
                new_email: "new@example.com",
                undo_token: token,
                undo_hours: 72,
            },
            Some("undo-email-change"),
        ),
        (Letter::DeletionScheduled { on: at() }, None),
        (Letter::DeletionCancelled, None),
        (Letter::AccountErased, None),
        (
            Letter::NewDevice {
                device,
                address,
                country,
                at: at(),
                revoke_token: token,
            },
            Some("revoke-session"),
        ),
        (
            Letter::RefreshTokenReused {
                device: Some(device),
                at: at(),
            },
            None,
        ),
        (Letter::LockedOut { address, at: at() }, None),
        (
            Letter::PasswordResetByAdmin {
                token,
                expires_minutes: 60,
            },
            Some("reset-password"),
        ),
    ];
    all.extend(billing.map(|letter| (Letter::Billing(letter), Some("billing"))));
    all
}

/// The addresses that anything in the document would be fetched from or lead to.
fn links_in(html: &str) -> Vec<&str> {
    let after = |name: &'static str| html.split(name).skip(1).filter_map(|rest| rest.split('"').next());
    after("href=\"").chain(after("src=\"")).collect()
}

/// The tags of a document, by name, in order.
fn tags(html: &str) -> Vec<&str> {
    let name = |rest: &'_ str| rest.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(rest.len());
    html.split('<').skip(1).map(|rest| &rest[..name(rest)]).collect()
}

#[test]
fn every_letter_is_whole_in_both_languages() {
    let token = SecretString::from(TOKEN);
    for locale in LOCALES {
        for (number, (letter, page)) in letters(&token, "Firefox on Linux").into_iter().enumerate() {
            let mail = options().write(Uuid::nil(), &to(), locale, Some("Ada"), letter);
            // To look at them in a browser.
            if let Some(folder) = std::env::var_os("LETTERS_TO") {
                let path = std::path::Path::new(&folder).join(format!("{number:02}-{}.html", &locale[..2]));
                std::fs::write(path, &mail.html).unwrap();
            }
            let what = format!("{locale} {letter:?}: {} {}", mail.subject, mail.text);
            assert_eq!(
                (mail.to.as_str(), mail.locale.as_str()),
                ("ada@example.com", &locale[..2]),
                "{what}"
            );
            assert!(
                !mail.subject.is_empty() && !mail.subject.contains(char::is_control),
                "{what}"
            );
            assert!(mail.subject.chars().count() <= 78, "{what}");
            assert!(
                mail.text.lines().chain(mail.html.lines()).all(|line| line.len() <= 998),
                "{what}"
            );
            assert!(
                mail.text.ends_with("Anteroom\nQuestions? help@app.example\n") || locale != "en",
                "{what}"
            );
            assert!(!mail.text.contains("\n\n\n") && !mail.text.contains("  "), "{what}");
            assert!(!mail.text.contains(['<', '&', '{']), "{what}");
            assert!(
                mail.html.contains("Anteroom") && mail.html.trim_end().ends_with("</html>"),
                "{what}"
            );
            assert!(
                mail.html.contains(&format!("<html lang=\"{}\"", &locale[..2])),
                "{what}"
            );
            let carries = matches!(page, Some(page) if page != "billing");
            let token = if carries {
                format!("#token={TOKEN}")
            } else {
                String::new()
            };
            let link = page.map(|page| format!("https://app.example/{page}{token}"));
            let links: Vec<String> = link.into_iter().collect();
            let found = links_in(&mail.html);
            // The button, and the link as text.
            assert_eq!(
                found,
                links.iter().flat_map(|link| [link, link]).collect::<Vec<_>>(),
                "{what}"
            );
            let lines: Vec<_> = mail.text.lines().filter(|line| line.contains("://")).collect();
            assert_eq!(lines, links, "{what}");
            assert_eq!(mail.html.matches(TOKEN).count(), 3 * usize::from(carries), "{what}");
        }
    }
}

#[test]
fn the_locale_chooses_the_language() {
    for (locale, subject) in [
        ("de", "Ihr Passwort für Anteroom wurde geändert"),
        ("DE-at", "Ihr Passwort für Anteroom wurde geändert"),
        ("de-CH-1996", "Ihr Passwort für Anteroom wurde geändert"),
        ("en", "Your password for Anteroom was changed"),
        ("den", "Your password for Anteroom was changed"),
        ("fr", "Your password for Anteroom was changed"),
        ("", "Your password for Anteroom was changed"),
    ] {
        let mail = options().write(Uuid::nil(), &to(), locale, None, Letter::PasswordChanged);
        assert_eq!(mail.subject, subject, "{locale}");
    }
}

#[test]
fn times_are_said_as_people_say_them() {
    let token = SecretString::from(TOKEN);
    let text = |locale, letter| options().write(Uuid::nil(), &to(), locale, None, letter).text;
    let on = Letter::DeletionScheduled { on: at() };
    assert!(
        text("en", on)
            .replace('\n', " ")
            .contains("on 5 March 2026, 09:07 UTC,")
    );
    assert!(
        text("de", on)
            .replace('\n', " ")
            .contains("am 5. März 2026, 09:07 Uhr (UTC) gelöscht")
    );
    for (minutes, en, de) in [
        (30, "within 30 minutes", "innerhalb von 30 Minuten"),
        (1, "within 1 minute.", "innerhalb von einer Minute"),
        (60, "within 1 hour.", "innerhalb von einer Stunde"),
        (4320, "within 3 days", "innerhalb von 3 Tagen"),
    ] {
        let letter = Letter::ResetPassword {
            token: &token,
            expires_minutes: minutes,
        };
        assert!(
            text("en", letter).contains(en) && text("de", letter).contains(de),
            "{minutes}"
        );
    }
}

#[test]
fn names_greet_only_where_the_address_is_known_to_be_theirs() {
    let token = SecretString::from(TOKEN);
    for (letter, _) in letters(&token, "Firefox") {
        let mail = options().write(Uuid::nil(), &to(), "en", Some("Ada Lovelace"), letter);
        let greeted = mail.text.starts_with("Hello Ada Lovelace,\n");
        assert!(greeted || mail.text.starts_with("Hello,\n"), "{}", mail.text);
        let unproven = matches!(
            letter,
            Letter::VerifyEmail { .. } | Letter::SignUpWithTakenEmail | Letter::ConfirmNewEmail { .. }
        );
        assert_eq!(greeted, !unproven, "{letter:?}");
        assert_eq!(mail.html.contains("Ada Lovelace"), !unproven, "{letter:?}");
    }
}

#[test]
fn what_people_wrote_adds_no_header_link_or_tag() {
    let token = SecretString::from(TOKEN);
    let hostile = [
        "x\r\nBcc: eve@evil.example",
        "<a href=\"https://evil.example\">free money</a>",
        "\"><script>alert(1)</script>",
        "</title></style><img src=x onerror=alert(1)>",
        "https://evil.example/login",
        "your prize is at evil.example",
        "{{ 7*7 }} {% include \"x\" %}",
        "\u{202e}moc.live\u{200b}",
        "--\r\n=_00000000000000000000000000000000--",
    ];
    for locale in LOCALES {
        for (number, (letter, _)) in letters(&token, "Firefox").into_iter().enumerate() {
            let clean = options().write(Uuid::nil(), &to(), locale, None, letter);
            let allowed: HashSet<&str> = tags(&clean.html).into_iter().collect();
            for said in hostile {
                // As a display name, as a device and a country, as the product's name.
                let (said_letter, _) = letters(&token, said)[number];
                let product = LetterOptions {
                    product: said.to_owned(),
                    ..options()
                };
                for (mail, is_product) in [
                    (options().write(Uuid::nil(), &to(), locale, Some(said), letter), false),
                    (options().write(Uuid::nil(), &to(), locale, None, said_letter), false),
                    (product.write(Uuid::nil(), &to(), locale, None, letter), true),
                ] {
                    let what = format!("{locale} {letter:?} {said:?}: {}", mail.text);
                    assert!(!mail.subject.contains(char::is_control), "{what}");
                    assert_eq!(links_in(&mail.html), links_in(&clean.html), "{what}");
                    assert!(tags(&mail.html).iter().all(|tag| allowed.contains(tag)), "{what}");
                    assert!(!mail.text.contains(['\r', '\u{202e}', '\u{200b}']), "{what}");
                    assert!(!mail.text.lines().any(|line| line.starts_with("Bcc")), "{what}");
                    // What the operator calls the product is shown as it is; nobody else's text may hold a link.
                    assert!(is_product || !mail.text.contains("evil"), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_token_stays_in_its_link() {
    let token = SecretString::from("a b&c\"><#/é");
    let mail = options().write(
        Uuid::nil(),
        &to(),
        "en",
        None,
        Letter::VerifyEmail {
            token: &token,
            expires_hours: 1,
        },
    );
    let link = "https://app.example/verify-email#token=a%20b%26c%22%3E%3C%23%2F%C3%A9";
    assert!(mail.text.contains(&format!("\n{link}\n")), "{}", mail.text);
    assert!(mail.html.contains(&format!("href=\"{link}\"")));
    // Nor is it in what is logged of a letter or a mail.
    assert!(!format!("{mail:?}").contains("a%20b"));
}

#[test]
fn the_look_is_the_configurations() {
    let with = |color: &str, logo: Option<&str>| {
        let options = LetterOptions {
            color: color.to_owned(),
            logo_url: logo.map(str::to_owned),
            ..options()
        };
        let token = SecretString::from(TOKEN);
        options
            .write(
                Uuid::nil(),
                &to(),
                "en",
                None,
                Letter::VerifyEmail {
                    token: &token,
                    expires_hours: 1,
                },
            )
            .html
    };
    let dark = with("#102030", Some("https://app.example/logo.png"));
    assert!(dark.contains("bgcolor=\"#102030\"") && dark.contains("color:#ffffff;text-decoration:none"));
    assert!(dark.contains("<img src=\"https://app.example/logo.png\" alt=\"Anteroom\""));
    assert!(with("#ffd400", None).contains("color:#14171c;text-decoration:none"));
    assert!(with("red;background:url(x)", None).contains(DEFAULT_ACCENT));
}
