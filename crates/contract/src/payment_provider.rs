//! What every payment provider does, whoever takes the money.
//!
//! An adapter's tests implement [`Bench`] and call [`webhooks`] and [`checkouts`]; one whose checkout pages Anteroom
//! serves itself also calls [`hosted_pages`].
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

use jiff::SignedDuration;
use uuid::Uuid;

use anteroom_domain::billing::{Owner, Subscription, SubscriptionStatus};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{CheckoutOrder, PaymentError, ProviderEvent, WebhookRejected};

/// Names and values of headers.
pub type Headers = Vec<(String, String)>;

/// What a suite needs of a provider beyond its port: to play the provider's part.
pub trait Bench: Sync {
    /// The adapter.
    fn provider(&self) -> &dyn PaymentProvider;

    /// The headers under which the provider would send this body at this time, the signature's only.
    fn headers(&self, body: &[u8], now: Timestamp) -> Headers;

    /// The body of an event that says that a subscription has come to this state.
    fn subscription_body(&self, event_id: &str, state: &Subscription) -> Vec<u8>;

    /// The body of an event that is about no subscription of ours.
    fn other_body(&self, event_id: &str) -> Vec<u8>;

    /// Takes what the provider has sent Anteroom since the last call, oldest first.
    fn take_sent(&self) -> Vec<(Headers, Vec<u8>)>;
}

/// Sixteen minutes past some hour, so that a minute's arithmetic shows.
fn now() -> Timestamp {
    "2026-11-20T09:16:00Z".parse().unwrap()
}

fn seconds(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn verify(bench: &dyn Bench, headers: &Headers, body: &[u8], now: Timestamp) -> Result<ProviderEvent, WebhookRejected> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    bench.provider().verify_webhook(&header, body, now)
}

fn order(user: u128) -> CheckoutOrder {
    CheckoutOrder {
        user_id: UserId(Uuid::from_u128(user)),
        plan: "pro".to_owned(),
        plan_version: 3,
        plan_name: "Pro".to_owned(),
        amount: 1900,
        currency: "usd".to_owned(),
        interval: "month".to_owned(),
        success_url: "https://app.example/billing?paid=1&session=a%20b".to_owned(),
        cancel_url: "https://app.example/billing".to_owned(),
    }
}

fn state(provider: &str, status: &str) -> Subscription {
    let status = SubscriptionStatus::parse(status);
    Subscription {
        provider: provider.to_owned(),
        provider_id: "sub_contract".to_owned(),
        owner: Owner::account(UserId(Uuid::from_u128(9))),
        plan: "pro".to_owned(),
        plan_version: 3,
        current_period_end: Some(seconds(now(), 30 * 86_400)),
        cancel_at_period_end: false,
        trial_end: None,
        past_due_since: (status == SubscriptionStatus::PastDue).then(now),
        status,
        as_of: now(),
    }
}

/// Signatures are checked over the raw body, for five minutes, and events read into states.
pub fn webhooks(bench: &dyn Bench) {
    signatures(bench);
    ages(bench);
    bodies(bench);
    states(bench);
}

fn signatures(bench: &dyn Bench) {
    let body = bench.subscription_body("evt_1", &state(bench.provider().name(), "active"));
    let right = bench.headers(&body, now());
    assert!(verify(bench, &right, &body, now()).is_ok());

    let rejected = |headers: &Headers, body: &[u8], what: &str| {
        let outcome = verify(bench, headers, body, now());
        assert_eq!(outcome, Err(WebhookRejected::BadSignature), "{what}: {headers:?}");
    };
    rejected(&Headers::new(), &body, "no signature");
    rejected(&bench.headers(b"{}", now()), &body, "another body's signature");
    for (number, (_, value)) in right.iter().enumerate() {
        let with = |value: String| {
            let mut headers = right.clone();
            headers[number].1 = value;
            headers
        };
        for cut in 0..value.len() {
            rejected(&with(value[..cut].to_owned()), &body, "a truncated signature");
        }
        for padding in [" ", "0", "00", "=", "\0"] {
            rejected(&with(format!("{value}{padding}")), &body, "a padded signature");
        }
        rejected(&with(value.to_uppercase()), &body, "a signature in capitals");
    }
    for byte in 0..body.len() {
        let mut changed = body.clone();
        changed[byte] ^= 1;
        rejected(&right, &changed, "a changed body");
    }
    rejected(&right, &body[..body.len() - 1], "a truncated body");
    rejected(&right, &[&body[..], b"\n"].concat(), "a longer body");
}

fn ages(bench: &dyn Bench) {
    let body = bench.subscription_body("evt_1", &state(bench.provider().name(), "active"));
    let headers = bench.headers(&body, now());
    for (age, fresh) in [(0, true), (299, true), (301, false), (86_400, false), (-301, false)] {
        let outcome = verify(bench, &headers, &body, seconds(now(), age));
        if fresh {
            assert!(outcome.is_ok(), "{age} s: {outcome:?}");
        } else {
            assert_eq!(outcome, Err(WebhookRejected::Stale), "{age} s");
        }
    }
}

fn bodies(bench: &dyn Bench) {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    for body in [&b""[..], b"null", b"[]", b"{}", b"{\"id\":7}", b"\xff\xfe", &deep] {
        let outcome = verify(bench, &bench.headers(body, now()), body, now());
        assert!(matches!(outcome, Err(WebhookRejected::Malformed(_))), "{outcome:?}");
    }
    let body = bench.other_body("evt_other");
    let event = verify(bench, &bench.headers(&body, now()), &body, now()).unwrap();
    assert_eq!((event.id.as_str(), event.subscription), ("evt_other", None));
}

fn states(bench: &dyn Bench) {
    let name = bench.provider().name();
    let mut states: Vec<_> = [
        "incomplete",
        "incomplete_expired",
        "active",
        "past_due",
        "unpaid",
        "canceled",
        "paused",
        "a_word_of_tomorrow",
    ]
    .map(|status| state(name, status))
    .into();
    let trial_end = Some(seconds(now(), 86_400));
    states.push(Subscription {
        trial_end,
        ..state(name, "trialing")
    });
    states.push(Subscription {
        cancel_at_period_end: true,
        ..state(name, "active")
    });
    for state in states {
        let body = bench.subscription_body("evt_state", &state);
        let event = verify(bench, &bench.headers(&body, now()), &body, now()).unwrap();
        assert_eq!(event.id, "evt_state");
        assert_eq!(event.subscription, Some(state));
    }
}

/// A checkout has an identifier and an address of its own.
pub async fn checkouts(bench: &dyn Bench) {
    let provider = bench.provider();
    let first = provider.checkout(&order(1), now()).await.unwrap();
    let second = provider.checkout(&order(1), now()).await.unwrap();
    assert_ne!(first.id, second.id, "two checkouts of one order are two");
    for checkout in [&first, &second] {
        assert!(checkout.url.starts_with("http"), "{}", checkout.url);
        assert!(checkout.url.contains(&checkout.id), "{}", checkout.url);
    }
}

/// Pages that Anteroom serves: they show their order for a day, and paying twice is paying once.
pub async fn hosted_pages(bench: &dyn Bench) {
    let provider = bench.provider();
    let checkout = provider.checkout(&order(1), now()).await.unwrap();
    let page = provider.hosted_checkout(&checkout.id, now()).unwrap();
    assert_eq!(page.order, order(1));
    assert!(page.expires_at > now());
    over_and_unknown_pages(bench, &checkout.id, page.expires_at).await;

    drop(bench.take_sent());
    let paid_at = seconds(now(), 60);
    let goes_to = provider.pay_hosted(&checkout.id, paid_at).await.unwrap();
    assert_eq!(goes_to, order(1).success_url);
    let first = sent_events(bench, paid_at);
    let bought: Vec<_> = first.iter().filter_map(|event| event.subscription.as_ref()).collect();
    assert!(!bought.is_empty(), "paying brings a subscription");
    for subscription in bought {
        assert_eq!(subscription.owner, Owner::account(order(1).user_id));
        assert_eq!((subscription.plan.as_str(), subscription.plan_version), ("pro", 3));
        assert_eq!(subscription.status, SubscriptionStatus::Active);
        assert!(subscription.current_period_end.unwrap() > seconds(paid_at, 27 * 86_400));
        assert!(!subscription.cancel_at_period_end);
    }

    let paid_again_at = seconds(now(), 120);
    provider.pay_hosted(&checkout.id, paid_again_at).await.unwrap();
    let ids = |events: &[ProviderEvent]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
    let second = sent_events(bench, paid_again_at);
    assert_eq!(ids(&first), ids(&second), "paying again tells nothing new");

    let other = provider.checkout(&order(1), now()).await.unwrap();
    provider.pay_hosted(&other.id, paid_at).await.unwrap();
    let other = sent_events(bench, paid_at);
    assert!(
        ids(&other).iter().all(|id| !ids(&first).contains(id)),
        "another checkout does"
    );
}

async fn over_and_unknown_pages(bench: &dyn Bench, id: &str, expires_at: Timestamp) {
    let provider = bench.provider();
    let last = id.len() - 1;
    let forged = format!("{}{}", &id[..last], if id.ends_with('A') { 'B' } else { 'A' });
    for (id, when) in [(id, expires_at), (&id[..last], now()), (&forged, now()), ("", now())] {
        assert_eq!(provider.hosted_checkout(id, when), None, "{id}");
        let paid = provider.pay_hosted(id, when).await;
        assert_eq!(paid, Err(PaymentError::NoSuchCheckout), "{id}");
    }
    assert!(
        bench.take_sent().is_empty(),
        "nothing is sent for a checkout that is none"
    );
}

/// What was sent, each of it verified as Anteroom would.
fn sent_events(bench: &dyn Bench, now: Timestamp) -> Vec<ProviderEvent> {
    let sent = bench.take_sent();
    assert!(!sent.is_empty(), "paying sends an event");
    sent.iter()
        .map(|(headers, body)| verify(bench, headers, body, now).unwrap())
        .collect()
}
