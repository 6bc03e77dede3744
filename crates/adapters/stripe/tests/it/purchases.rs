//! What is asked of Stripe when something is bought once, to the letter, and how its answers are read.

use anteroom_ports::PaymentProvider as _;
use anteroom_ports::billing::{CreditPack, PaymentError, PurchaseOrder};
use serde_json::{Value, json};

use crate::server::{Line, Server, answer};
use crate::{owner, stripe};

const OWNER_ID: &str = "00000000-0000-0000-0000-000000000007";

fn order() -> PurchaseOrder {
    PurchaseOrder {
        owner: owner(),
        customer: "cus_1".into(),
        pack: CreditPack {
            key: "small".into(),
            name: "500 credits".into(),
            credits: 500_000_000,
            amount: 700,
            currency: "eur".into(),
        },
        quantity: 3,
        success_url: "https://app.example/done?s={CHECKOUT_SESSION_ID}".into(),
        cancel_url: "https://app.example/".into(),
    }
}

fn session(charge: &Value) -> Value {
    json!({
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "status": "complete", "payment_status": "paid",
        "amount_total": 2100, "currency": "eur", "created": 1000, "customer": "cus_1",
        "client_reference_id": format!("account:{OWNER_ID}"),
        "metadata": {"anteroom_pack": "small", "anteroom_pack_credits": "500000000", "anteroom_credits": "1500000000"},
        "payment_intent": {"id": "pi_1", "object": "payment_intent", "latest_charge": charge},
    })
}

fn charge(refunded: i64, disputed: bool) -> Value {
    json!({"id": "ch_1", "object": "charge", "amount": 2100, "amount_refunded": refunded, "disputed": disputed})
}

fn list(found: &[Value]) -> Value {
    json!({"object": "list", "data": found, "has_more": false})
}

fn missing() -> Line {
    let error = json!({"error": {
        "type": "invalid_request_error", "code": "resource_missing", "param": "payment_intent", "message": "No such thing",
    }});
    answer(404, &error)
}

#[tokio::test]
async fn a_checkout_says_what_is_sold_and_to_whom() {
    let opened = json!({"id": "cs_1", "object": "checkout.session", "url": "https://checkout.example/cs_1"});
    let server = Server::start([answer(200, &opened)]).await;
    let checkout = stripe(&server.base).checkout_purchase(&order(), "k1").await.unwrap();
    assert_eq!(
        (checkout.id.as_str(), checkout.url.as_str()),
        ("cs_1", "https://checkout.example/cs_1")
    );
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/checkout/sessions");
    assert_eq!(asked.header("idempotency-key"), Some("k1"));
    let reference = format!("account:{OWNER_ID}");
    let mut expected = vec![
        ("mode", "payment"),
        ("customer", "cus_1"),
        ("client_reference_id", reference.as_str()),
        ("line_items[0][price_data][currency]", "eur"),
        ("line_items[0][price_data][unit_amount]", "700"),
        ("line_items[0][price_data][product_data][name]", "500 credits"),
        ("line_items[0][quantity]", "3"),
        ("success_url", "https://app.example/done?s={CHECKOUT_SESSION_ID}"),
        ("cancel_url", "https://app.example/"),
        ("metadata[anteroom_owner_kind]", "account"),
        ("metadata[anteroom_owner_id]", OWNER_ID),
        ("metadata[anteroom_pack]", "small"),
        ("metadata[anteroom_pack_credits]", "500000000"),
        ("metadata[anteroom_credits]", "1500000000"),
        ("payment_intent_data[metadata][anteroom_owner_kind]", "account"),
        ("payment_intent_data[metadata][anteroom_owner_id]", OWNER_ID),
        ("payment_intent_data[metadata][anteroom_pack]", "small"),
        ("payment_intent_data[metadata][anteroom_pack_credits]", "500000000"),
        ("payment_intent_data[metadata][anteroom_credits]", "1500000000"),
    ];
    let mut form: Vec<_> = asked.form.iter().map(|(name, value)| (&**name, &**value)).collect();
    form.sort_unstable();
    expected.sort_unstable();
    assert_eq!(form, expected);
}

#[tokio::test]
async fn a_checkout_is_tried_again_with_its_key() {
    let opened = json!({"id": "cs_1", "object": "checkout.session", "url": "https://checkout.example/cs_1"});
    let server = Server::start([Line::Hangup, answer(503, &json!({})), answer(200, &opened)]).await;
    stripe(&server.base).checkout_purchase(&order(), "k1").await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for again in &asked {
        assert_eq!(
            (again.header("idempotency-key"), &again.body),
            (Some("k1"), &asked[0].body)
        );
    }
}

#[tokio::test]
async fn what_cannot_be_sold_is_not_asked_for() {
    let server = Server::start([]).await;
    let none = PurchaseOrder { quantity: 0, ..order() };
    let refused = stripe(&server.base).checkout_purchase(&none, "k1").await;
    assert!(matches!(refused, Err(PaymentError::Refused { .. })), "{refused:?}");
    assert_eq!(server.lines(), [""; 0]);
}

#[tokio::test]
async fn a_purchase_is_found_by_its_checkout_and_by_its_payment() {
    let session = session(&charge(300, false));
    let found = answer(200, &list(std::slice::from_ref(&session)));
    let server = Server::start([answer(200, &session), found]).await;
    let stripe = stripe(&server.base);
    let by_checkout = stripe.purchase("cs_1").await.unwrap().unwrap();
    assert_eq!((by_checkout.id.as_str(), by_checkout.owner), ("cs_1", Some(owner())));
    assert_eq!((by_checkout.credits, by_checkout.refunded), (1_500_000_000, 300));
    assert_eq!(stripe.purchase("pi_1").await.unwrap(), Some(by_checkout));
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /v1/checkout/sessions/cs_1");
    assert_eq!(asked[0].value("expand[]"), Some("payment_intent.latest_charge"));
    assert_eq!(asked[1].line, "GET /v1/checkout/sessions");
    assert_eq!(asked[1].value("payment_intent"), Some("pi_1"));
    assert_eq!(asked[1].value("expand[]"), Some("data.payment_intent.latest_charge"));
}

#[tokio::test]
async fn disputes_are_asked_for_where_there_are_any() {
    let dispute =
        |status: &str, amount: i64| json!({"id": "du_1", "object": "dispute", "status": status, "amount": amount});
    for (refunded, disputes, gone) in [
        (0, vec![dispute("needs_response", 2100)], 2100),
        (0, vec![dispute("won", 2100)], 0),
        (300, vec![dispute("lost", 1800)], 2100),
        (300, vec![dispute("lost", 2100)], 2100),
        (0, vec![dispute("won", 2100), dispute("lost", 700)], 700),
        (300, vec![dispute("warning_needs_response", 2100)], 300),
    ] {
        let found = answer(200, &list(&disputes));
        let server = Server::start([answer(200, &session(&charge(refunded, true))), found]).await;
        let purchase = stripe(&server.base).purchase("cs_1").await.unwrap().unwrap();
        assert_eq!((purchase.paid, purchase.refunded), (true, gone), "{disputes:?}");
        let asked = &server.asked()[1];
        assert_eq!(
            (asked.line.as_str(), asked.value("payment_intent")),
            ("GET /v1/disputes", Some("pi_1"))
        );
    }
}

#[tokio::test]
async fn purchases_are_listed_with_what_went_back() {
    let since = anteroom_domain::Timestamp::from_second(20_000_000).unwrap();
    let more = |mut found: Value| {
        found["has_more"] = json!(true);
        answer(200, &found)
    };
    let subscribed = json!({"id": "cs_2", "object": "checkout.session", "mode": "subscription", "metadata": {}});
    let refund = |id: &str, payment: &Value| json!({"id": id, "object": "refund", "payment_intent": payment});
    let found = || answer(200, &list(&[session(&charge(300, false))]));
    let server = Server::start([
        more(list(&[session(&charge(0, false)), subscribed])),
        answer(200, &list(&[])),
        // Two of one payment, and one of no payment that can be looked up.
        more(list(&[
            refund("re_3", &json!("pi_1")),
            refund("re_2", &json!("pi_1")),
            refund("re_1", &json!(null)),
        ])),
        found(),
        answer(200, &list(&[])),
        answer(
            200,
            &list(&[json!({"id": "du_1", "object": "dispute", "payment_intent": "pi_1"})]),
        ),
        found(),
    ])
    .await;
    let stripe = stripe(&server.base);
    let (mut after, mut pages) = (None::<String>, Vec::new());
    loop {
        let page = stripe.list_purchases(since, after.as_deref(), 1000).await.unwrap();
        pages.push((
            page.items.iter().map(|it| it.refunded).collect::<Vec<_>>(),
            page.next.clone(),
        ));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let next = |next: &str| Some(next.to_owned());
    assert_eq!(
        pages,
        [
            (vec![0], next("checkouts:cs_2")),
            (vec![], next("refunds")),
            (vec![300], next("refunds:re_1")),
            (vec![], next("disputes")),
            (vec![300], None),
        ]
    );
    let asked = server.asked();
    let said = |name: &str| asked.iter().map(|asked| asked.value(name)).collect::<Vec<_>>();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let (sessions, refunds) = ("GET /v1/checkout/sessions", "GET /v1/refunds");
    assert_eq!(
        lines,
        [
            sessions,
            sessions,
            refunds,
            sessions,
            refunds,
            "GET /v1/disputes",
            sessions
        ]
    );
    let (from, disputed) = (Some("20000000"), Some("9632000"));
    assert_eq!(said("created[gte]"), [from, from, from, None, from, disputed, None]);
    assert_eq!(
        said("starting_after"),
        [None, Some("cs_2"), None, None, Some("re_1"), None, None]
    );
    assert_eq!((said("status")[0], said("limit")[0]), (Some("complete"), Some("100")));
    let odd = stripe.list_purchases(since, Some("charges:ch_1"), 10).await;
    assert_eq!(odd, Err(PaymentError::NotFound("purchase")));
}

#[tokio::test]
async fn what_is_not_there_is_nothing_and_what_failed_is_no_answer() {
    let other = json!({"id": "cs_2", "object": "checkout.session", "mode": "subscription", "metadata": {}});
    let server = Server::start([
        missing(),
        missing(),
        answer(200, &list(&[])),
        answer(200, &list(std::slice::from_ref(&other))),
        answer(200, &other),
    ])
    .await;
    let stripe_ = stripe(&server.base);
    for id in ["cs_1", "pi_1", "pi_2", "pi_3", "cs_2"] {
        assert_eq!(stripe_.purchase(id).await, Ok(None), "{id}");
    }
    assert_eq!(server.lines().len(), 5);
    for id in ["", "..", "cs_1/../../charges", "cs_1?x"] {
        assert_eq!(stripe_.purchase(id).await, Ok(None), "{id}");
    }
    assert_eq!(server.lines().len(), 5, "nothing is asked for what nobody made");

    let forbidden = json!({"error": {"type": "invalid_request_error", "message": "The key lacks a permission"}});
    let disputed = answer(200, &session(&charge(0, true)));
    let server = Server::start([answer(403, &forbidden), disputed, answer(403, &forbidden)]).await;
    for _ in 0..2 {
        let outcome = stripe(&server.base).purchase("cs_1").await;
        assert!(matches!(outcome, Err(PaymentError::Key(_))), "{outcome:?}");
    }
}
