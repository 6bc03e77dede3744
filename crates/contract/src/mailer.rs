//! What every mailer does, wherever it takes mails.
//!
//! An adapter's tests implement [`Bench`] and call each of the suite's functions on a fresh one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use anteroom_ports::{Mail, MailError, Mailer};

/// What the suite needs of a mailer beyond its port: to look at what came out. The sender is at `id.example`.
#[async_trait]
pub trait Bench: Sync {
    /// The adapter.
    fn mailer(&self) -> Arc<dyn Mailer>;

    /// The mails that have arrived, each as its bytes, in any order. A repeated one may be there once or twice.
    fn arrived(&self) -> Vec<Vec<u8>>;

    /// Takes the other side away.
    async fn take_away(&self);
}

/// A mail out of its bytes.
#[derive(Debug)]
struct Read {
    headers: Vec<(String, String)>,
    body: String,
}

impl Read {
    fn of(message: &str) -> Self {
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        let unfolded = head
            .trim_start_matches("\r\n")
            .replace("\r\n ", " ")
            .replace("\r\n\t", " ");
        let headers = unfolded.split("\r\n").map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| unreadable(line));
            (name.to_lowercase(), value.trim().to_owned())
        });
        Self {
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    /// The one header of this name.
    fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let value = &found.next().unwrap_or_else(|| unreadable(name)).1;
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    fn parts(&self) -> Vec<Self> {
        let kind = self.header("content-type");
        let boundary = kind.split("boundary=").nth(1).unwrap().trim_matches('"');
        let body = format!("\r\n{}", self.body);
        let mut parts: Vec<_> = body.split(&format!("\r\n--{boundary}")).skip(1).collect();
        assert!(parts.pop().unwrap().starts_with("--"), "the last boundary ends");
        parts.into_iter().map(Self::of).collect()
    }

    /// The text, decoded, lines ended by `\n`.
    fn text(&self) -> String {
        let bytes = match self.header("content-transfer-encoding") {
            "7bit" => {
                assert!(self.body.is_ascii());
                self.body.clone().into_bytes()
            }
            "8bit" => self.body.clone().into_bytes(),
            "quoted-printable" => {
                assert!(self.body.split("\r\n").all(|line| line.len() <= 76 && line.is_ascii()));
                unquoted(&self.body.replace("=\r\n", ""), false)
            }
            "base64" => STANDARD.decode(self.body.replace("\r\n", "")).unwrap(),
            other => unreadable(other),
        };
        String::from_utf8(bytes)
            .unwrap()
            .replace("\r\n", "\n")
            .trim_end()
            .to_owned()
    }
}

fn unreadable(what: &str) -> ! {
    panic!("no such thing, or one that cannot be read: {what}")
}

/// Quoted-printable (RFC 2045 section 6.7), or the Q encoding of headers (RFC 2047 section 4.2).
fn unquoted(text: &str, in_header: bool) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'=' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            b'_' if in_header => out.push(b' '),
            other => out.push(other),
        }
    }
    out
}

/// A header's text out of encoded words (RFC 2047). The space between two of them is none.
fn decoded(header: &str) -> String {
    let (mut out, mut last_was_encoded) = (Vec::new(), false);
    for (number, word) in header.split(' ').enumerate() {
        let encoded = word.strip_prefix("=?").and_then(|rest| rest.strip_suffix("?="));
        if number > 0 && !(last_was_encoded && encoded.is_some()) {
            out.push(b' ');
        }
        last_was_encoded = encoded.is_some();
        let Some(encoded) = encoded else {
            out.extend_from_slice(word.as_bytes());
            continue;
        };
        let fields: Vec<&str> = encoded.splitn(3, '?').collect();
        assert_eq!(fields[0].to_lowercase(), "utf-8");
        match fields[1].to_lowercase().as_str() {
            "b" => out.extend(STANDARD.decode(fields[2]).unwrap()),
            _ => out.extend(unquoted(fields[2], true)),
        }
    }
    String::from_utf8(out).unwrap()
}

fn mail(number: u128) -> Mail {
    Mail {
        id: Uuid::from_u128(number),
        to: "ada@example.com".into(),
        subject: "Grüße aus dem Vorzimmer, mit einem Betreff, der länger ist als eine Zeile lang sein soll".into(),
        text: "Grüß dich,\n.\n..dots\nFrom here on\nhttps://app.example/verify-email#token=0123abcd\n".into(),
        html: "<!doctype html>\n<p>Grüß dich &amp; Co. = gut</p>\n.\n".into(),
        locale: "de".into(),
    }
}

/// The mails with this identifier.
fn arrived(bench: &dyn Bench, id: Uuid) -> Vec<Read> {
    let all = bench.arrived();
    let texts = all.into_iter().map(|bytes| String::from_utf8(bytes).unwrap());
    let mine = texts.filter(|text| text.contains(&format!("<{id}@id.example>")));
    let look = |text: String| {
        let bare = text.replace("\r\n", "");
        assert!(!bare.contains(['\r', '\n', '\0']), "a bare line end or a NUL: {text:?}");
        assert!(
            text.split("\r\n").all(|line| line.len() <= 998),
            "a long line: {text:?}"
        );
        Read::of(&text)
    };
    mine.map(look).collect()
}

/// A mail arrives as it was given: text and HTML, umlauts, dots, long lines, what looks like headers or boundaries.
pub async fn mails(bench: &dyn Bench) {
    let long = "ä".repeat(3000);
    let tricky = format!(
        "Bcc: eve@evil.example\n\n--=_{}--\n{long}\ntab\there =3D \\ end",
        Uuid::nil().simple()
    );
    let mails = [
        mail(1),
        Mail {
            text: tricky.clone(),
            html: format!("<pre>{tricky}</pre>"),
            ..mail(2)
        },
        Mail {
            subject: "Plain".into(),
            text: "Plain\n".into(),
            html: "<p>Plain</p>\n".into(),
            locale: String::new(),
            ..mail(3)
        },
        Mail {
            subject: "=?utf-8?B?R3I=?= 日本語 ".repeat(20).trim().to_owned(),
            ..mail(4)
        },
    ];
    for mail in &mails {
        bench.mailer().send(mail).await.unwrap();
        let read = arrived(bench, mail.id).remove(0);
        assert!(read.header("from").contains("no-reply@id.example"), "{read:?}");
        assert_eq!(read.header("to"), mail.to);
        assert_eq!(decoded(read.header("subject")), mail.subject);
        assert_eq!(read.header("message-id"), format!("<{}@id.example>", mail.id));
        assert_eq!(read.header("auto-submitted"), "auto-generated");
        assert!(read.header("date").contains(" 20"), "{read:?}");
        if mail.locale.is_empty() {
            assert!(read.headers.iter().all(|(name, _)| name != "content-language"));
        } else {
            assert_eq!(read.header("content-language"), mail.locale);
        }
        assert!(read.headers.iter().all(|(name, _)| name != "bcc"), "{read:?}");
        assert!(
            read.header("content-type").starts_with("multipart/alternative;"),
            "{read:?}"
        );
        let parts = read.parts();
        assert_eq!(parts.len(), 2, "{read:?}");
        assert!(parts[0].header("content-type").starts_with("text/plain; charset=utf-8"));
        assert!(parts[1].header("content-type").starts_with("text/html; charset=utf-8"));
        assert_eq!(parts[0].text(), mail.text.trim_end());
        assert_eq!(parts[1].text(), mail.html.trim_end());
    }
    // One that a version queued that knew only text.
    let text_only = Mail {
        html: String::new(),
        ..mail(5)
    };
    bench.mailer().send(&text_only).await.unwrap();
    let read = arrived(bench, text_only.id).remove(0);
    assert!(read.header("content-type").starts_with("text/plain; charset=utf-8"));
    assert_eq!(read.text(), text_only.text.trim_end());
}

/// A repeated mail is the same mail.
pub async fn repeats(bench: &dyn Bench) {
    for _ in 0..3 {
        bench.mailer().send(&mail(1)).await.unwrap();
    }
    let all = arrived(bench, mail(1).id);
    assert!((1..=3).contains(&all.len()));
    let first = all[0].header("content-type").to_owned();
    assert!(all.iter().all(|read| read.header("content-type") == first), "{all:?}");
}

/// What would add a header or a recipient is refused for good, and nothing arrives.
pub async fn hostile_mails(bench: &dyn Bench) {
    for bad in [
        "\r\nBcc: eve@evil.example",
        "\nBcc: eve@evil.example",
        "\rx",
        "\0",
        "\u{85}x",
    ] {
        for mail in [
            Mail {
                to: format!("ada@example.com{bad}"),
                ..mail(1)
            },
            Mail {
                subject: format!("Hello{bad}"),
                ..mail(1)
            },
            Mail {
                locale: format!("de{bad}"),
                ..mail(1)
            },
        ] {
            let refused = bench.mailer().send(&mail).await;
            assert!(matches!(refused, Err(MailError::Permanent(_))), "{bad:?}: {refused:?}");
            assert!(!refused.unwrap_err().to_string().contains("ada"));
        }
    }
    for to in [
        "",
        "ada",
        "ada example.com",
        "ada@example.com>\r\nRCPT TO:<eve@evil.example",
    ] {
        let refused = bench
            .mailer()
            .send(&Mail {
                to: to.into(),
                ..mail(1)
            })
            .await;
        assert!(matches!(refused, Err(MailError::Permanent(_))), "{to:?}: {refused:?}");
    }
    assert!(bench.arrived().is_empty());
}

/// 64 at once all arrive, each whole.
pub async fn many_at_once(bench: &dyn Bench) {
    let sends: Vec<_> = (1..=64)
        .map(|number| {
            let mailer = bench.mailer();
            tokio::spawn(async move { mailer.send(&mail(number)).await })
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    for number in 1..=64 {
        let all = arrived(bench, Uuid::from_u128(number));
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].parts()[0].text(), mail(number).text.trim_end());
    }
}

/// While the other side is away mails fail for now, and the reason names nobody. Before, a look says that it is there.
pub async fn the_other_side_away(bench: &dyn Bench) {
    assert_eq!(bench.mailer().check().await, Ok(()));
    assert!(bench.arrived().is_empty(), "a look sends nothing");
    bench.take_away().await;
    for outcome in [bench.mailer().send(&mail(1)).await, bench.mailer().check().await] {
        assert!(matches!(outcome, Err(MailError::Temporary(_))), "{outcome:?}");
        let said = outcome.unwrap_err().to_string();
        // No shorter than that: it names a folder of the test's, which is called anything.
        for secret in ["ada@", "0123abcd", "Grü", "hunter2"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

/// Writes one test for each case; `$bench` makes a fresh [`Bench`].
#[macro_export]
macro_rules! mailer_contract {
    ($bench:expr) => {
        $crate::mailer_contract!(@ $bench; mails, repeats, hostile_mails, many_at_once, the_other_side_away);
    };
    (@ $bench:expr; $($case:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bench = $bench;
                $crate::mailer::$case(&bench).await;
            }
        )*
    };
}
