//! The contract of mailers over SMTP, and what failures come to.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this binary is tests from end to end"
)]

mod real_server;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_contract::mailer::Bench;
use anteroom_contract::mailer_contract;
use anteroom_mail_smtp::{MailSmtp, SmtpOptions, SmtpTarget};
use anteroom_ports::{Mail, MailError, Mailer};
use anteroom_testkit::FixedClock;
use async_trait::async_trait;
use uuid::Uuid;

use server::{Reply, Server};

const TIMEOUT: Duration = Duration::from_millis(400);

fn options(url: &str) -> SmtpOptions {
    SmtpOptions {
        target: SmtpTarget::parse(url).unwrap(),
        from: "Anteroom <no-reply@id.example>".into(),
        timeout: TIMEOUT,
        max_idle: 4,
        ca_file: None,
    }
}

fn mailer(url: &str) -> MailSmtp {
    MailSmtp::new(options(url), Arc::new(FixedClock::new())).unwrap()
}

fn mail(number: u128) -> Mail {
    Mail {
        id: Uuid::from_u128(number),
        to: "ada@example.com".into(),
        subject: "Hello".into(),
        text: format!("Hello {number}, #token=0123abcd\n"),
        html: "<p>Hello</p>\n".into(),
        locale: "en".into(),
    }
}

struct Smtp {
    server: Server,
    mailer: Arc<MailSmtp>,
}

impl Smtp {
    fn new() -> Self {
        let server = Server::start();
        let url = format!("smtp://ada:hunter2@{}", server.address);
        // 64 at once on a busy machine take their time.
        let options = SmtpOptions {
            timeout: Duration::from_secs(20),
            ..options(&url)
        };
        let mailer = Arc::new(MailSmtp::new(options, Arc::new(FixedClock::new())).unwrap());
        Self { server, mailer }
    }
}

#[async_trait]
impl Bench for Smtp {
    fn mailer(&self) -> Arc<dyn Mailer> {
        Arc::<MailSmtp>::clone(&self.mailer)
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        self.server.mails()
    }

    async fn take_away(&self) {
        self.server.go_away();
    }
}

mailer_contract!(Smtp::new());

/// Asserts what came of a mail, and that its reason tells nothing.
fn assert_failed(outcome: Result<(), MailError>, permanent: bool, says: &str, what: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(matches!(error, MailError::Permanent(_)), permanent, "{what}: {error:?}");
    let said = error.to_string();
    assert!(said.contains(says), "{what}: {said}");
    for secret in ["ada", "0123abcd", "hunter2", "YWRh"] {
        assert!(!said.contains(secret), "{what}: {said}");
    }
}

#[tokio::test]
async fn replies_say_whether_a_mail_may_leave_later() {
    for (step, reply, permanent, says) in [
        (
            "greeting",
            "554 5.3.2 no service for ada@example.com",
            false,
            "connecting was answered 554 5.3.2",
        ),
        ("greeting", "421 too many", false, "connecting was answered 421"),
        ("EHLO", "550 go away", false, "connecting was answered 550"),
        (
            "AUTH",
            "535 5.7.8 wrong password hunter2",
            false,
            "AUTH was answered 535 5.7.8",
        ),
        ("MAIL", "451 4.3.0 later", false, "MAIL FROM was answered 451 4.3.0"),
        (
            "MAIL",
            "550 5.7.60 not as this sender",
            false,
            "MAIL FROM was answered 550 5.7.60",
        ),
        (
            "RCPT",
            "450 4.2.1 greylisted <ada@example.com>",
            false,
            "RCPT TO was answered 450 4.2.1",
        ),
        (
            "RCPT",
            "530 5.7.0 log in first",
            false,
            "RCPT TO was answered 530 5.7.0",
        ),
        (
            "RCPT",
            "550 5.1.1 <ada@example.com> unknown",
            true,
            "RCPT TO was answered 550 5.1.1",
        ),
        (
            "RCPT",
            "550 <ada@example.com> unknown",
            true,
            "RCPT TO was answered 550",
        ),
        ("DATA", "452 4.3.1 full", false, "DATA was answered 452 4.3.1"),
        (
            "message",
            "451-4.7.1 looks\r\n451 4.7.1 odd",
            false,
            "the mail was answered 451 4.7.1",
        ),
        (
            "message",
            "554 5.6.0 #token=0123abcd is spam",
            true,
            "the mail was answered 554 5.6.0",
        ),
        (
            "RCPT",
            "ada@example.com is not SMTP",
            false,
            "RCPT TO: the answer ended early or is not SMTP",
        ),
    ] {
        let server = Server::start();
        server.next(step, Reply::Say(reply));
        let mailer = mailer(&format!("smtp://ada:hunter2@{}", server.address));
        assert_failed(mailer.send(&mail(1)).await, permanent, says, &format!("{step} {reply}"));
        assert!(server.mails().is_empty());
        // And the next one leaves.
        mailer.send(&mail(2)).await.unwrap();
        assert_eq!(server.mails().len(), 1, "{step} {reply}");
    }
}

#[tokio::test]
async fn a_silent_or_broken_server_is_left_in_time() {
    for step in ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "message"] {
        for reply in [Reply::HangUp, Reply::Late(TIMEOUT * 8)] {
            let server = Server::start();
            server.next(step, reply.clone());
            let mailer = mailer(&format!("smtp://ada:hunter2@{}", server.address));
            let begun = Instant::now();
            assert_failed(mailer.send(&mail(1)).await, false, "", &format!("{step} {reply:?}"));
            assert!(begun.elapsed() < TIMEOUT * 7, "{step} {reply:?}: {:?}", begun.elapsed());
            mailer.send(&mail(2)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_serves_the_next_mail() {
    let server = Server::start();
    let mailer = mailer(&format!("smtp://{}", server.address));
    for number in 1..=5 {
        mailer.send(&mail(number)).await.unwrap();
    }
    assert_eq!((server.connections(), server.mails().len()), (1, 5));
    // One that the server has closed meanwhile is noticed before a mail is lost on it.
    server.next("NOOP", Reply::HangUp);
    mailer.send(&mail(6)).await.unwrap();
    assert_eq!((server.connections(), server.mails().len()), (2, 6));
    assert!(
        !server.commands().iter().any(|line| line.starts_with("AUTH")),
        "no password, no login"
    );
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_is_not_taken_for_the_next_ones() {
    let server = Server::start();
    let mailer = mailer(&format!("smtp://{}", server.address));
    mailer.send(&mail(1)).await.unwrap();
    server.next("RCPT", Reply::Late(TIMEOUT / 4));
    // Given up in the middle; its answer would come on the connection that the first mail left.
    let given_up = tokio::time::timeout(TIMEOUT / 8, mailer.send(&mail(2))).await;
    assert!(given_up.is_err());
    server.next("RCPT", Reply::Say("550 5.1.1 no such person"));
    tokio::time::sleep(TIMEOUT / 2).await;
    assert_failed(
        mailer.send(&mail(3)).await,
        true,
        "550",
        "the third mail has its own answer",
    );
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_password_nor_mail_where_tls_is_required() {
    let server = Server::start();
    let required = mailer(&format!("smtp://ada:hunter2@{}?tls=required", server.address));
    assert_failed(
        required.send(&mail(1)).await,
        false,
        "does not offer STARTTLS",
        "required",
    );
    assert_eq!(server.commands().len(), 1, "{:?}", server.commands());
    let opportunistic = mailer(&format!("smtp://ada:hunter2@{}?tls=opportunistic", server.address));
    opportunistic.send(&mail(1)).await.unwrap();
}

#[tokio::test]
async fn addresses_beyond_ascii_go_where_they_can() {
    let server = Server::start();
    let mailer = mailer(&format!("smtp://{}", server.address));
    let to = |to: &str| Mail {
        to: to.into(),
        ..mail(1)
    };
    mailer.send(&to("ada@bücher.example")).await.unwrap();
    assert!(
        server
            .commands()
            .contains(&"RCPT TO:<ada@xn--bcher-kva.example>".to_owned())
    );
    assert_failed(
        mailer.send(&to("grün@example.com")).await,
        true,
        "SMTPUTF8",
        "a server without SMTPUTF8",
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let clock = || Arc::new(FixedClock::new());
    let no_sender = SmtpOptions {
        from: "nobody".into(),
        ..options("smtp://localhost")
    };
    assert!(MailSmtp::new(no_sender, clock()).is_err());
    let no_file = SmtpOptions {
        ca_file: Some("/nowhere/ca.pem".into()),
        ..options("smtps://localhost")
    };
    let said = MailSmtp::new(no_file, clock()).err().unwrap().to_string();
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
}
