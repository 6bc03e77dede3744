//! Webhooks: signed over the raw body, for five minutes, and read only then.
#![expect(clippy::unused_async, reason = "the cases of a suite are awaited, each of them")]

use anteroom_domain::Timestamp;
use anteroom_ports::billing::WebhookRejected;
use jiff::SignedDuration;

use super::{Bench, Card, Headers, basic, customer, later, order, pay, publish, sent, verify};

/// Sixteen minutes past some hour, so that a minute's arithmetic shows.
fn noon() -> Timestamp {
    "2026-11-20T09:16:00Z".parse().unwrap()
}

fn body(bench: &dyn Bench) -> Vec<u8> {
    bench.body("evt_1", Some("sub_1"), noon())
}

/// Only what is signed as it stands is taken.
pub async fn signatures(bench: &dyn Bench) {
    let body = body(bench);
    let right = bench.headers(0, &body, noon());
    assert!(verify(bench, &right, &body, noon()).is_ok());

    let rejected = |headers: &Headers, body: &[u8], what: &str| {
        let outcome = verify(bench, headers, body, noon());
        assert_eq!(outcome, Err(WebhookRejected::BadSignature), "{what}: {headers:?}");
    };
    rejected(&Headers::new(), &body, "no signature");
    rejected(&bench.headers(0, b"{}", noon()), &body, "another body's signature");
    for (number, (_, value)) in right.iter().enumerate() {
        let with = |value: String| {
            let mut headers = right.clone();
            headers[number].1 = value;
            headers
        };
        for cut in 0..value.len() {
            rejected(&with(value[..cut].to_owned()), &body, "a truncated signature");
        }
        for padding in [" ", "0", "00", "=", "\0", &",v1=00".repeat(100_000)] {
            rejected(&with(format!("{value}{padding}")), &body, "a padded signature");
        }
        rejected(&with(value.to_uppercase()), &body, "a signature in capitals");
    }
    for byte in 0..body.len() {
        let mut changed = body.clone();
        changed[byte] ^= 1;
        rejected(&right, &changed, "a changed body");
        rejected(&right, &body[..byte], "a truncated body");
    }
    rejected(&right, &[&body[..], b"\n"].concat(), "a longer body");
}

/// An event is taken for five minutes.
pub async fn ages(bench: &dyn Bench) {
    let body = body(bench);
    let headers = bench.headers(0, &body, noon());
    for (age, fresh) in [
        (0, true),
        (299, true),
        (-299, true),
        (301, false),
        (86_400, false),
        (-301, false),
    ] {
        let outcome = verify(bench, &headers, &body, later(noon(), SignedDuration::from_secs(age)));
        if fresh {
            assert!(outcome.is_ok(), "{age} s: {outcome:?}");
        } else {
            assert_eq!(outcome, Err(WebhookRejected::Stale), "{age} s");
        }
    }
}

/// What is signed and no event is malformed; what is about nothing of ours is an event all the same.
pub async fn bodies(bench: &dyn Bench) {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    for body in [&b""[..], b"null", b"[]", b"{}", b"{\"id\":7}", b"\xff\xfe", &deep] {
        let outcome = verify(bench, &bench.headers(0, body, noon()), body, noon());
        assert!(matches!(outcome, Err(WebhookRejected::Malformed(_))), "{outcome:?}");
    }
    let read = |body: &[u8]| verify(bench, &bench.headers(0, body, noon()), body, noon()).unwrap();
    let event = read(&body(bench));
    assert_eq!((event.id.as_str(), event.created), ("evt_1", noon()));
    assert_eq!(event.subscription.as_deref(), Some("sub_1"));
    let event = read(&bench.body("evt_2", None, noon()));
    assert_eq!(
        (event.id.as_str(), event.subscription, event.customer),
        ("evt_2", None, None)
    );
}

/// While a secret is being replaced both are taken, and no third.
pub async fn secrets(bench: &dyn Bench) {
    let body = body(bench);
    for (secret, known) in [(0, true), (1, true), (2, false)] {
        let outcome = verify(bench, &bench.headers(secret, &body, noon()), &body, noon());
        if known {
            assert!(outcome.is_ok(), "{secret}: {outcome:?}");
        } else {
            assert_eq!(outcome, Err(WebhookRejected::BadSignature));
        }
    }
}

/// What the provider sends by itself is taken, and leads to what was bought and to who bought it.
pub async fn deliveries(bench: &dyn Bench) {
    publish(bench).await;
    let customer = customer(bench, 1).await;
    let bought = pay(bench, &order(&customer, 1, basic()), Card::Good).await;
    bench.advance(super::days(32)).await;
    let events = sent(bench).await;
    let about = events
        .iter()
        .filter(|event| event.subscription.as_deref() == Some(&bought.id));
    let kinds: Vec<_> = about.map(|event| event.kind.as_str()).collect();
    assert!(!kinds.is_empty(), "a renewal is told: {events:?}");
    assert!(
        events
            .iter()
            .all(|event| event.customer.as_deref().is_none_or(|who| who == customer))
    );
    let mut ids: Vec<_> = events.iter().map(|event| &event.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "each event has an identifier of its own");
}
