//! What goes wrong on the way, and what is made of it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anteroom_ports::PaymentProvider as _;
use anteroom_ports::billing::PaymentError;
use anteroom_stripe::{InvalidOptions, Stripe, StripeOptions};
use secrecy::SecretString;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span;
use url::Url;

use crate::server::{Line, Server, answer};
use crate::{KEY, options, owner, stripe};

fn customer() -> Value {
    json!({"id": "cus_1", "object": "customer"})
}

fn error(kind: &str, message: &str) -> Value {
    json!({"error": {"type": kind, "message": message}})
}

async fn create(stripe: &Stripe) -> Result<String, PaymentError> {
    stripe.create_customer(owner(), "a@b.example", "the-key").await
}

/// What comes of a script, and how often it was asked.
async fn played(script: &[Line]) -> (Result<String, PaymentError>, Vec<Option<String>>) {
    let server = Server::start(script.to_vec()).await;
    let outcome = create(&stripe(&server.base)).await;
    let asked = server.asked();
    let keys = asked
        .iter()
        .map(|asked| asked.header("idempotency-key").map(str::to_owned));
    (outcome, keys.collect())
}

#[tokio::test]
async fn what_may_help_is_tried_again_with_the_same_key() {
    let fine = answer(200, &customer());
    let says = |status, word| Line::Answer {
        status,
        headers: vec![("stripe-should-retry", word)],
        body: error("invalid_request_error", "x").to_string(),
    };
    for fault in [
        answer(500, &error("api_error", "x")),
        answer(503, &json!("not Stripe's")),
        answer(409, &error("idempotency_error", "x")),
        answer(429, &error("invalid_request_error", "x")),
        says(400, "true"),
        Line::Hangup,
        Line::Half {
            body: "{\"id\": \"cus_1\"",
            announced: 100,
        },
    ] {
        let (outcome, keys) = played(&[fault.clone(), fine.clone()]).await;
        assert_eq!(outcome, Ok("cus_1".to_owned()), "{fault:?}");
        assert_eq!(keys, vec![Some("the-key".to_owned()); 2], "{fault:?}");
    }
    for (fault, tries) in [
        (answer(400, &error("invalid_request_error", "x")), 1),
        (says(500, "false"), 1),
    ] {
        let (outcome, keys) = played(&[fault]).await;
        assert!(outcome.is_err() && keys.len() == tries);
    }
}

#[tokio::test]
async fn it_is_tried_three_times_at_most() {
    let (outcome, keys) = played(&vec![answer(500, &error("api_error", "Stripe is down")); 3]).await;
    let PaymentError::Unavailable(said) = outcome.unwrap_err() else {
        panic!()
    };
    assert!(said.contains("500") && said.contains("Stripe is down"), "{said}");
    assert_eq!(keys.len(), 3);
    let (outcome, _) = played(&vec![Line::Hangup; 3]).await;
    assert!(matches!(outcome, Err(PaymentError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_wait_that_stripe_asks_for_is_kept_unless_it_is_too_long() {
    let busy = |seconds| Line::Answer {
        status: 429,
        headers: vec![("retry-after", seconds)],
        body: error("invalid_request_error", "busy").to_string(),
    };
    let began = Instant::now();
    let (outcome, keys) = played(&[busy("1"), answer(200, &customer())]).await;
    assert!(outcome.is_ok() && keys.len() == 2 && began.elapsed() >= Duration::from_secs(1));
    let began = Instant::now();
    let (outcome, keys) = played(&[busy("61")]).await;
    assert!(matches!(outcome, Err(PaymentError::Unavailable(_))));
    assert!(keys.len() == 1 && began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_is_slow_is_away() {
    let server = Server::start(vec![Line::Silence; 3]).await;
    let impatient = StripeOptions {
        timeout: Duration::from_secs(1),
        ..options(&server.base)
    };
    let outcome = create(&Stripe::new(impatient).unwrap()).await;
    assert_eq!(outcome, Err(PaymentError::Unavailable("it took too long".to_owned())));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn nobody_there_is_away() {
    for base in ["http://127.0.0.1:1/", "https://127.0.0.1:1/"] {
        let outcome = create(&stripe(base)).await;
        let PaymentError::Unavailable(said) = outcome.unwrap_err() else {
            panic!("{base}")
        };
        assert!(said.starts_with("it cannot be reached: "), "{said}");
    }
    let odd = stripe("http://127.0.0.1:1/")
        .create_customer(owner(), "a@b.example", "two\nlines")
        .await;
    assert!(matches!(odd, Err(PaymentError::Refused { .. })), "{odd:?}");
}

#[tokio::test]
async fn what_is_not_stripes_json_is_away_and_says_what_it_was() {
    let page = |status| Line::Answer {
        status,
        headers: vec![("content-type", "text/html")],
        body: "<html>Sign in to the hotel's network</html>".to_owned(),
    };
    let moved = Line::Answer {
        status: 302,
        headers: vec![("location", "https://evil.example/")],
        body: String::new(),
    };
    for (line, words) in [
        (page(200), "not JSON"),
        (page(403), "403"),
        (moved, "302"),
        (answer(200, &json!([1])), "no object"),
        (answer(200, &json!({"id": "cus_1"})), "no object"),
        (answer(200, &json!({"object": "customer"})), "without `/id`"),
        (Line::Flood, "too large"),
    ] {
        let (outcome, keys) = played(&[line]).await;
        let PaymentError::Unavailable(said) = outcome.unwrap_err() else {
            panic!("{words}")
        };
        assert!(said.contains(words) && keys.len() == 1, "{said}");
    }
}

#[tokio::test]
async fn what_a_restricted_key_lacks_is_named() {
    let lacks = "The provided key 'rk_test_***' does not have the required permissions: rak_customer_write";
    let (outcome, _) = played(&[answer(403, &error("invalid_request_error", lacks))]).await;
    assert_eq!(outcome, Err(PaymentError::Key(lacks.to_owned())));
    let (outcome, _) = played(&[answer(401, &error("invalid_request_error", "Invalid API Key"))]).await;
    assert_eq!(outcome, Err(PaymentError::Key("Invalid API Key".to_owned())));
}

#[test]
fn options_that_cannot_serve_are_refused() {
    let with_key = |key: &str| {
        Stripe::new(StripeOptions {
            secret_key: SecretString::from(key),
            ..options("https://api.stripe.com/")
        })
    };
    for (key, live) in [
        ("sk_live_x", true),
        ("rk_live_x", true),
        ("sk_test_x", false),
        ("rk_test_x", false),
    ] {
        assert_eq!(with_key(key).unwrap().live(), live);
    }
    for key in [
        "",
        "sk_live_",
        "pk_live_x",
        "sk_x",
        "sk_test_a b",
        "sk_test_a\n",
        " sk_test_x",
        "whsec_x",
        "sk_tést_x",
    ] {
        assert_eq!(with_key(key).unwrap_err(), InvalidOptions::Key, "{key:?}");
    }
    let with_base = |base: &str| {
        Stripe::new(StripeOptions {
            api_base: Url::parse(base).unwrap(),
            ..options("https://api.stripe.com/")
        })
    };
    for base in ["ftp://x/", "mailto:x@y.example", "file:///x"] {
        assert_eq!(with_base(base).unwrap_err(), InvalidOptions::Address, "{base}");
    }
    let everybody = StripeOptions {
        webhook_secrets: vec![SecretString::from("whsec_x"), SecretString::from("")],
        ..options("https://api.stripe.com/")
    };
    assert_eq!(Stripe::new(everybody).unwrap_err(), InvalidOptions::WebhookSecret);
}

thread_local! {
    static LOGGED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes down everything that is logged on a thread that listens. It is there for all threads: `tracing` may forget to
/// ask a thread's own about what another thread logs for the first time.
struct Log;

impl Log {
    fn keep(record: impl FnOnce(&mut Words)) {
        LOGGED.with_borrow_mut(|logged| logged.as_mut().map(|logged| record(&mut Words(logged))));
    }
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        Self::keep(|words| attributes.record(words));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        Self::keep(|words| values.record(words));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        Self::keep(|words| event.record(words));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn the_key_is_seen_nowhere() {
    tracing::subscriber::set_global_default(Log).unwrap();
    LOGGED.set(Some(String::new()));
    let mut seen = String::new();
    let telling = error("invalid_request_error", &format!("no such key: {KEY}"));
    for status in [400, 401, 402, 404, 500] {
        let server = Server::start(vec![answer(status, &telling); if status == 500 { 3 } else { 1 }]).await;
        let stripe = stripe(&server.base);
        let outcome = create(&stripe).await.unwrap_err();
        let _ = write!(seen, "{outcome} {outcome:?} {stripe:?} {:?}", options(&server.base));
        let asked = &server.asked()[0];
        assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    }
    seen.push_str(&LOGGED.take().unwrap());
    assert!(
        seen.contains("Stripe answered") && seen.contains("Stripe is asked again"),
        "{seen}"
    );
    assert!(!seen.contains("canary"), "{seen}");
}
