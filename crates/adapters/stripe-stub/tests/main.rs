//! The contract of payment providers, and what becomes of events on their way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod receiver;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use anteroom_contract::payment_provider::{self, Bench, Headers};
use anteroom_domain::billing::{Owner, Subscription, SubscriptionStatus};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{CheckoutOrder, PaymentError};
use anteroom_stripe_stub::{
    SIGNATURE_HEADER, StripeStub, StubOptions, SubscriptionEvent, SubscriptionObject, subscription_event,
};

use receiver::Receiver;

fn stub(webhook_url: &str) -> StripeStub {
    StripeStub::new(StubOptions {
        public_url: Url::parse("https://id.example/base/").unwrap(),
        webhook_url: Url::parse(webhook_url).unwrap(),
        webhook_secret: SecretString::from("whsec_test"),
    })
}

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn object(state: &Subscription) -> SubscriptionObject {
    SubscriptionObject {
        id: state.provider_id.clone(),
        customer: "cus_1".into(),
        owner: state.owner,
        plan: state.plan.clone(),
        plan_version: state.plan_version,
        status: state.status.as_str().to_owned(),
        amount: 1900,
        currency: "usd".into(),
        interval: "month".into(),
        created: state.as_of,
        current_period_start: state.as_of,
        current_period_end: state.current_period_end.unwrap(),
        cancel_at_period_end: state.cancel_at_period_end,
        trial_end: state.trial_end,
    }
}

struct StubBench {
    stub: StripeStub,
    receiver: Receiver,
}

impl Bench for StubBench {
    fn provider(&self) -> &dyn PaymentProvider {
        &self.stub
    }

    fn headers(&self, body: &[u8], now: Timestamp) -> Headers {
        vec![(SIGNATURE_HEADER.to_owned(), self.stub.sign(body, now))]
    }

    fn subscription_body(&self, event_id: &str, state: &Subscription) -> Vec<u8> {
        subscription_event(SubscriptionEvent::Updated, event_id, state.as_of, &object(state))
    }

    fn other_body(&self, event_id: &str) -> Vec<u8> {
        let event = serde_json::json!({
            "id": event_id, "object": "event", "created": 1, "type": "invoice.paid",
            "data": { "object": { "id": "in_1", "object": "invoice" } },
        });
        event.to_string().into_bytes()
    }

    fn take_sent(&self) -> Vec<(Headers, Vec<u8>)> {
        self.receiver.take()
    }
}

async fn bench() -> StubBench {
    let receiver = Receiver::start(&["200 OK"]).await;
    StubBench {
        stub: stub(&receiver.url()),
        receiver,
    }
}

fn order() -> CheckoutOrder {
    CheckoutOrder {
        user_id: UserId(Uuid::from_u128(5)),
        plan: "pro".into(),
        plan_version: 1,
        plan_name: "Pro".into(),
        amount: 1900,
        currency: "usd".into(),
        interval: "month".into(),
        success_url: "https://app.example/done".into(),
        cancel_url: "https://app.example/".into(),
    }
}

#[tokio::test]
async fn e60_webhooks_keep_the_contract() {
    payment_provider::webhooks(&bench().await);
}

#[tokio::test]
async fn checkouts_keep_the_contract() {
    payment_provider::checkouts(&bench().await).await;
}

#[tokio::test]
async fn hosted_pages_keep_the_contract() {
    payment_provider::hosted_pages(&bench().await).await;
}

#[tokio::test]
async fn a_payment_sends_what_stripe_would() {
    let bench = bench().await;
    let checkout = bench.stub.checkout(&order(), now()).await.unwrap();
    assert_eq!(
        checkout.url,
        format!("https://id.example/base/stripe-stub/checkout/{}", checkout.id)
    );
    bench.stub.pay_hosted(&checkout.id, now()).await.unwrap();
    let sent = bench.receiver.take();
    let events: Vec<serde_json::Value> = sent
        .iter()
        .map(|(_, body)| serde_json::from_slice(body).unwrap())
        .collect();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["customer.subscription.created", "checkout.session.completed"]);

    let subscription = &events[0]["data"]["object"];
    let item = &subscription["items"]["data"][0];
    assert_eq!(
        subscription["metadata"]["anteroom_owner_id"],
        order().user_id.to_string()
    );
    assert_eq!(item["price"]["lookup_key"], "pro");
    assert_eq!(item["price"]["recurring"]["interval"], "month");
    // A month after the 31st of January is the last of February.
    let end: Timestamp = "2026-02-28T12:00:00Z".parse().unwrap();
    assert_eq!(item["current_period_end"], end.as_second());
    let session = &events[1]["data"]["object"];
    assert_eq!(session["client_reference_id"], order().user_id.to_string());
    assert_eq!(
        (&session["payment_status"], &session["subscription"]),
        (&"paid".into(), &subscription["id"])
    );
    let (headers, _) = &sent[0];
    assert!(headers.contains(&("content-type".into(), "application/json; charset=utf-8".into())));
}

#[tokio::test]
async fn a_webhook_that_refuses_fails_the_payment() {
    for status in ["400 Bad Request", "503 Service Unavailable", "302 Found"] {
        let receiver = Receiver::start(&[status]).await;
        let stub = stub(&receiver.url());
        let checkout = stub.checkout(&order(), now()).await.unwrap();
        let failed = stub.pay_hosted(&checkout.id, now()).await.unwrap_err();
        assert!(
            matches!(&failed, PaymentError::Unavailable(why) if why.contains(&status[..3])),
            "{failed}"
        );
        assert_eq!(
            receiver.take().len(),
            1,
            "an answer is final, and no redirect is followed"
        );
    }
}

#[tokio::test]
async fn the_second_event_follows_when_the_payment_is_tried_again() {
    let receiver = Receiver::start(&["200 OK", "503 Service Unavailable", "200 OK"]).await;
    let stub = stub(&receiver.url());
    let checkout = stub.checkout(&order(), now()).await.unwrap();
    assert!(stub.pay_hosted(&checkout.id, now()).await.is_err());
    assert!(stub.pay_hosted(&checkout.id, now()).await.is_ok());
    assert_eq!(receiver.take().len(), 4);
}

#[tokio::test]
async fn a_server_that_is_just_starting_is_waited_for_one_that_is_down_is_not() {
    let address = Receiver::free_address().await;
    let stub = stub(&format!("http://{address}/"));
    let checkout = stub.checkout(&order(), now()).await.unwrap();
    let down = stub.pay_hosted(&checkout.id, now()).await;
    assert!(matches!(down, Err(PaymentError::Unavailable(_))), "{down:?}");
    let starting = async {
        tokio::time::sleep(Duration::from_millis(120)).await;
        Receiver::start_at(address, &["200 OK"]).await
    };
    let (paid, receiver) = tokio::join!(stub.pay_hosted(&checkout.id, now()), starting);
    assert_eq!(paid, Ok(order().success_url));
    assert_eq!(receiver.take().len(), 2);
}

#[tokio::test]
async fn the_life_of_a_subscription_can_be_simulated() {
    let bench = bench().await;
    let state = Subscription {
        provider: "stripe-stub".into(),
        provider_id: "sub_1".into(),
        owner: Owner::account(UserId(Uuid::from_u128(5))),
        plan: "pro".into(),
        plan_version: 1,
        status: SubscriptionStatus::Active,
        current_period_end: Some(now()),
        cancel_at_period_end: false,
        trial_end: None,
        past_due_since: None,
        as_of: now(),
    };
    // Whatever status the object still carries: it is over.
    let body = subscription_event(SubscriptionEvent::Deleted, "evt_1", now(), &object(&state));
    bench.stub.send(body, now()).await.unwrap();
    let (headers, body) = bench.receiver.take().remove(0);
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let event = bench.stub.verify_webhook(&header, &body, now()).unwrap();
    assert_eq!(event.subscription.unwrap().status, SubscriptionStatus::Canceled);
}

#[tokio::test]
async fn shapes_of_other_versions_and_strangers_subscriptions_are_told_apart() {
    let stub = stub("http://127.0.0.1:1/");
    let read = |object: serde_json::Value| {
        let event = serde_json::json!({
            "id": "evt_1", "created": 1_700_000_000, "type": "customer.subscription.updated", "data": { "object": object },
        });
        let body = event.to_string();
        let signature = stub.sign(body.as_bytes(), now());
        let header = |name: &str| (name == SIGNATURE_HEADER).then(|| signature.clone());
        stub.verify_webhook(&header, body.as_bytes(), now())
    };
    let owner = Uuid::from_u128(5).to_string();
    let ours = serde_json::json!({
        "id": "sub_1", "status": "past_due", "current_period_end": 1_800_000_000, "items": { "data": [] },
        "metadata": { "anteroom_owner_kind": "organization", "anteroom_owner_id": owner, "anteroom_plan": "pro" },
    });
    let subscription = read(ours.clone()).unwrap().subscription.unwrap();
    assert_eq!(subscription.owner.kind.as_str(), "organization");
    assert_eq!(subscription.current_period_end.unwrap().as_second(), 1_800_000_000);
    assert_eq!(subscription.past_due_since.unwrap().as_second(), 1_700_000_000);
    assert_eq!((subscription.plan.as_str(), subscription.plan_version), ("pro", 1));

    // The plan was changed at the provider: the price says so, the metadata do not.
    let mut changed = ours.clone();
    changed["items"] = serde_json::json!({ "data": [{ "price": { "lookup_key": "business" } }] });
    assert_eq!(read(changed).unwrap().subscription.unwrap().plan, "business");

    let stranger = serde_json::json!({ "id": "sub_2", "status": "active", "metadata": { "customer": "7" } });
    assert_eq!(read(stranger).unwrap().subscription, None);

    for (pointer, value) in [
        ("id", serde_json::json!("")),
        ("status", serde_json::json!(1)),
        ("current_period_end", serde_json::json!("1800000000")),
        ("trial_end", serde_json::json!(i64::MAX)),
        ("cancel_at_period_end", serde_json::json!("false")),
    ] {
        let mut odd = ours.clone();
        odd[pointer] = value;
        assert!(read(odd).is_err(), "{pointer}");
    }
    for (key, value) in [
        ("anteroom_owner_kind", "planet"),
        ("anteroom_owner_id", "ada"),
        ("anteroom_plan_version", "new"),
    ] {
        let mut odd = ours.clone();
        odd["metadata"][key] = value.into();
        assert!(read(odd).is_err(), "{key}");
    }
}
