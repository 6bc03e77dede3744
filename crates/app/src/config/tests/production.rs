//! What production refuses, and the cookie.

use super::*;

#[test]
fn production_starts_with_a_secret_key_and_changes_the_defaults() {
    let Loaded { settings, .. } = production(&[]).unwrap();
    assert!(settings.is_production() && settings.cookie_secure());
    assert_eq!(settings.billing.provider, PaymentProviderName::None);
    assert_eq!(settings.mail.transport, MailTransport::None);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn production_refuses_what_is_unsafe_and_development_does_not() {
    for (name, value, key, said) in [
        ("SECRET_KEY", "", "secret.key", "anteroom secret"),
        (
            "SECRET_KEY",
            "abababababababababababababababababab",
            "secret.key",
            "plain",
        ),
        (
            "SECRET_KEY",
            "please-CHANGE-ME-0123456789-0123456789",
            "secret.key",
            "known",
        ),
        (
            "ANTEROOM__PASSWORDS__BCRYPT_COST",
            "9",
            "passwords.bcrypt_cost",
            "10 or more",
        ),
        ("ANTEROOM__PROTECTION__ENABLED", "false", "protection.enabled", "limits"),
        ("ANTEROOM__COOKIE__SECURE", "false", "cookie.secure", "in the clear"),
        (
            "ANTEROOM__MAIL__TRANSPORT",
            "folder",
            "mail.transport",
            "not in production",
        ),
    ] {
        let problems = production(&[(name, value)]).unwrap_err().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].key == key && problems[0].message.contains(said),
            "{problems:?}"
        );
        assert!(load_env(&[(name, value)]).is_ok(), "{name} in development");
    }
}

#[test]
fn mails_go_to_the_mail_server_where_there_is_one() {
    let from = ("ANTEROOM__MAIL__FROM", "A Room <no-reply@a.example>");
    for load in [load_env, production] {
        let url = ("SMTP_URL", "smtps://ada:hunter2@mail.example");
        let loaded = load(&[url, from]).unwrap();
        assert_eq!(loaded.settings.mail.transport, MailTransport::Smtp);
        assert_eq!(loaded.settings.mail_server().unwrap().server(), "mail.example:465");
        assert!(!loaded.dump().contains("hunter2"));
        assert!(
            !loaded.warnings.iter().any(|warning| warning.contains("mail.")),
            "{:?}",
            loaded.warnings
        );
        let nowhere = |loaded: &Loaded| loaded.warnings.iter().any(|w| w.contains("set FRONTEND_URL"));
        let frontend = ("FRONTEND_URL", "https://app.a.example");
        assert!(nowhere(&loaded) && !nowhere(&load(&[url, from, frontend]).unwrap()));
        // In the clear, to another machine; and what mail servers refuse.
        let said = load(&[("SMTP_URL", "smtp://ada:hunter2@mail.example")])
            .unwrap()
            .warnings
            .join("; ");
        assert!(
            said.contains("in the clear to mail.example:25") && said.contains("mail.from"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
        let local = load(&[("SMTP_URL", "smtp://ada:hunter2@localhost"), from])
            .unwrap()
            .warnings;
        assert!(
            !local.iter().any(|warning| warning.contains("in the clear to")),
            "{local:?}"
        );
        // Asked for, and not there; not asked for, and there.
        let said = messages(load(&[("ANTEROOM__MAIL__TRANSPORT", "smtp")]));
        assert!(said[0].contains("SMTP_URL"), "{said:?}");
        let unused = load(&[url, ("ANTEROOM__MAIL__TRANSPORT", "none")]).unwrap().warnings;
        assert!(
            unused.iter().any(|warning| warning.contains("mail.smtp_url is set")),
            "{unused:?}"
        );
        let said = messages(load(&[("SMTP_URL", "smtp://ada:hunter2@mail.example?tsl=required")]));
        assert!(
            said[0].contains("tls=required") && !said[0].contains("hunter2"),
            "{said:?}"
        );
    }
}

#[test]
fn pages_are_the_frontends_or_the_servers_own() {
    let page = |pairs: &[(&str, &str)]| {
        let settings = load_env(pairs).unwrap().settings;
        settings.page(&settings.links.verify_email)
    };
    let server = ("ANTEROOM__SERVER__PUBLIC_URL", "https://api.example");
    assert_eq!(page(&[server]), "https://api.example/verify-email");
    assert_eq!(
        page(&[server, ("FRONTEND_URL", "https://app.example/x/")]),
        "https://app.example/x/verify-email"
    );
    let path = ("ANTEROOM__LINKS__VERIFY_EMAIL", "/konto/bestaetigen");
    assert_eq!(page(&[server, path]), "https://api.example/konto/bestaetigen");
}

#[test]
fn a_short_secret_key_is_refused_everywhere() {
    assert!(load_env(&[("SECRET_KEY", &KEY[1..])]).is_err());
    assert!(production(&[("SECRET_KEY", &KEY[1..])]).is_err());
}

#[test]
fn the_stub_takes_payments_in_production_only_when_asked_and_then_warns() {
    let loaded = production(&[("ANTEROOM__BILLING__PROVIDER", "stripe-stub")]).unwrap();
    assert_eq!(loaded.settings.billing.provider, PaymentProviderName::StripeStub);
    assert!(
        loaded.warnings.iter().any(|warning| warning.contains("stripe-stub")),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn the_cookie_follows_the_public_url() {
    let secure = |pairs: &[(&str, &str)]| load_env(pairs).unwrap().settings.cookie_secure();
    assert!(secure(&[("ANTEROOM__SERVER__PUBLIC_URL", "https://a.example")]));
    assert!(!secure(&[("ANTEROOM__SERVER__PUBLIC_URL", "http://a.example")]));
    assert!(!secure(&[("HOST", "0.0.0.0")]));
    assert!(secure(&[("ANTEROOM__COOKIE__SECURE", "true")]));
    assert!(!secure(&[
        ("ANTEROOM__SERVER__PUBLIC_URL", "http://localhost:1"),
        ("ANTEROOM__COOKIE__SECURE", "false")
    ]));
    // On a hosting platform: everywhere, behind somebody's https, with nothing said.
    let loaded = production(&[("HOST", "0.0.0.0"), ("ANTEROOM__SERVER__PUBLIC_URL", "")]).unwrap();
    assert!(loaded.settings.cookie_secure());
    assert!(
        loaded
            .warnings
            .iter()
            .any(|warning| warning.contains("public_url is not set"))
    );
    // Production on this machine only, as tests of production run it.
    let local = [
        ("ANTEROOM__SERVER__PUBLIC_URL", ""),
        ("ANTEROOM__COOKIE__SECURE", "false"),
    ];
    assert!(!production(&local).unwrap().settings.cookie_secure());
}

#[test]
fn a_cookie_for_other_sites_needs_https() {
    let said = messages(load_env(&[("ANTEROOM__COOKIE__SAME_SITE", "none")]));
    assert!(said[0].contains("https"), "{said:?}");
    assert!(production(&[("ANTEROOM__COOKIE__SAME_SITE", "none")]).is_ok());
}
