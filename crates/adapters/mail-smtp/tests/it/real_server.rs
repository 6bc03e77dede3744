//! Against aiosmtpd, where there is one: see `anteroom_testkit::smtp`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_mail_smtp::{MailSmtp, SmtpOptions};
use anteroom_ports::{Mail, MailError, Mailer};
use anteroom_testkit::FixedClock;
use anteroom_testkit::smtp::SmtpServer;
use base64::Engine as _;

use super::{mail, options};

fn there() -> bool {
    if !SmtpServer::is_there() {
        eprintln!("skipped: TEST_SMTP_PYTHON names no Python with aiosmtpd");
    }
    SmtpServer::is_there()
}

fn to(local: &str) -> Mail {
    Mail {
        to: format!("{local}@example.com"),
        ..mail(1)
    }
}

fn patient(options: SmtpOptions) -> MailSmtp {
    let timeout = Duration::from_secs(20);
    MailSmtp::new(SmtpOptions { timeout, ..options }, Arc::new(FixedClock::new())).unwrap()
}

#[tokio::test]
async fn mails_are_accepted_deferred_and_refused() {
    if !there() {
        return;
    }
    let server = SmtpServer::start(&[]);
    let mailer = patient(options(&format!("smtp://127.0.0.1:{}", server.port)));
    mailer.check().await.unwrap();
    assert!(server.taken(0).await.is_empty());
    mailer.send(&to("ada")).await.unwrap();
    let deferred = mailer.send(&to("later")).await.unwrap_err();
    assert_eq!(deferred, MailError::Temporary("RCPT TO was answered 451 4.7.1".into()));
    mailer.send(&to("later")).await.unwrap();
    let refused = mailer.send(&to("never")).await.unwrap_err();
    assert_eq!(refused, MailError::Permanent("RCPT TO was answered 550 5.1.1".into()));
    let dropped = mailer.send(&to("drop")).await.unwrap_err();
    assert!(matches!(dropped, MailError::Temporary(_)), "{dropped:?}");
    // An address beyond ASCII, by SMTPUTF8.
    mailer.send(&to("grün")).await.unwrap();
    let taken = server.taken(3).await;
    let recipients: Vec<_> = taken.iter().map(|mail| mail["to"].as_str().unwrap()).collect();
    assert_eq!(recipients, ["ada@example.com", "later@example.com", "grün@example.com"]);
    assert_eq!(taken[0]["from"], "no-reply@id.example");
    let message = taken[0]["message"].as_str().unwrap();
    let message = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(message).unwrap()).unwrap();
    assert!(
        message.contains("#token=0123abcd") && message.contains("multipart/alternative"),
        "{message}"
    );
}

#[tokio::test]
async fn a_slow_server_is_given_up_in_time() {
    if !there() {
        return;
    }
    let server = SmtpServer::start(&[]);
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let short = SmtpOptions {
        timeout: Duration::from_millis(500),
        ..options(&url)
    };
    let mailer = MailSmtp::new(short, Arc::new(FixedClock::new())).unwrap();
    let begun = Instant::now();
    let slow = mailer.send(&to("slow")).await.unwrap_err();
    assert_eq!(slow, MailError::Temporary("the mail took too long".into()));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn starttls_is_used_and_a_foreign_certificate_refused() {
    tls("starttls", "smtp", "?tls=required").await;
}

#[tokio::test]
async fn implicit_tls_is_used_and_a_foreign_certificate_refused() {
    tls("implicit", "smtps", "").await;
}

async fn tls(kind: &str, scheme: &str, query: &str) {
    let folder = tempfile::tempdir().unwrap();
    if !there() {
        return;
    }
    let Some((certificate, key)) = SmtpServer::certificate(folder.path()) else {
        return eprintln!("skipped: there is no openssl to make a certificate with");
    };
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let user = ["--user", "ada", "--password", "hunter2"];
    let server = SmtpServer::start(&[&["--tls", kind, "--certificate", certificate, "--key", key][..], &user].concat());
    let url = |host: &str, user: &str| format!("{scheme}://{user}{host}:{}{query}", server.port);
    let trusting = |url: &str| {
        patient(SmtpOptions {
            ca_file: Some(certificate.into()),
            ..options(url)
        })
    };

    // An authority that nobody here knows, and a certificate for another name.
    for mailer in [
        patient(options(&url("localhost", "ada:hunter2@"))),
        trusting(&url("127.0.0.1", "ada:hunter2@")),
    ] {
        let refused = mailer.send(&to("ada")).await.unwrap_err();
        assert!(matches!(refused, MailError::Temporary(_)), "{refused:?}");
        assert!(refused.to_string().contains("certificate"), "{refused:?}");
        assert!(mailer.check().await.is_err());
    }
    // A wrong password, and none.
    let wrong = trusting(&url("localhost", "ada:wrong@"))
        .send(&to("ada"))
        .await
        .unwrap_err();
    assert_eq!(wrong, MailError::Temporary("AUTH was answered 535 5.7.8".into()));
    let none = trusting(&url("localhost", "")).send(&to("ada")).await.unwrap_err();
    assert!(
        matches!(&none, MailError::Temporary(said) if said.contains("530")),
        "{none:?}"
    );
    assert!(server.taken(0).await.is_empty());

    let mailer = trusting(&url("localhost", "ada:hunter2@"));
    mailer.check().await.unwrap();
    mailer.send(&to("ada")).await.unwrap();
    let taken = server.taken(1).await;
    assert_eq!(
        (&taken[0]["tls"], &taken[0]["authenticated"]),
        (&true.into(), &true.into())
    );
}
