//! What is bought once: the page, the payment behind it, and what goes back.

use serde_json::{Value, json};

use crate::bench::{Bench, id, send};

async fn session(bench: &Bench, more: &[(&str, &str)]) -> Value {
    let form = [
        &[
            ("mode", "payment"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", "1000"),
            ("line_items[0][price_data][product_data][name]", "<b>1,000</b> credits"),
            ("line_items[0][quantity]", "3"),
            ("metadata[pack]", "big"),
            ("payment_intent_data[metadata][pack]", "big"),
            ("success_url", "https://app.example/ok?s={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "https://app.example/no"),
        ],
        more,
    ]
    .concat();
    bench.post("checkout/sessions", &form).await
}

/// The session with its payment and charge.
async fn whole(bench: &Bench, session: &Value) -> Value {
    let path = format!(
        "checkout/sessions/{}?expand[]=payment_intent.latest_charge&expand[]=line_items",
        id(session)
    );
    bench.get(&path).await
}

/// A session that is paid, and its payment's identifier.
async fn paid(bench: &Bench, outcome: &str) -> (Value, String) {
    let session = session(bench, &[]).await;
    let answer = bench
        .submit(session["url"].as_str().unwrap(), &[("outcome", outcome)])
        .await;
    assert_eq!(answer.status(), 303);
    let session = whole(bench, &session).await;
    let intent = id(&session["payment_intent"]);
    (session, intent)
}

fn kinds(list: &[&str]) -> Vec<String> {
    list.iter().map(|kind| (*kind).to_owned()).collect()
}

#[tokio::test]
async fn the_page_says_what_it_costs_and_a_declined_card_leaves_its_traces() {
    let bench = Bench::start();
    let customer = bench.customer(None).await;
    let session = session(&bench, &[("customer", &customer)]).await;
    assert_eq!(
        (&session["amount_total"], &session["payment_intent"], &session["mode"]),
        (&json!(3000), &json!(null), &json!("payment"))
    );
    let url = session["url"].as_str().unwrap();
    let page = bench.client.get(url).send().await.unwrap().text().await.unwrap();
    for part in [
        "3 × &lt;b&gt;1,000&lt;/b&gt; credits",
        "30.00 USD",
        "10.00 USD each",
        "Pay 30.00 USD",
        "No money is taken",
        "takes the money back",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for part in ["/ month", "renewal", "without a card", "<b>"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
    for outcome in ["fails_at_renewal", "without_card", "odd"] {
        assert_eq!(bench.submit(url, &[("outcome", outcome)]).await.status(), 400);
    }

    let before = bench.count();
    let declined = bench.submit(url, &[("outcome", "declined")]).await;
    assert_eq!(declined.status(), 402);
    assert!(declined.text().await.unwrap().contains("Your card was declined."));
    let open = whole(&bench, &session).await;
    let intent = &open["payment_intent"];
    assert_eq!(
        (&open["status"], &open["payment_status"]),
        (&json!("open"), &json!("unpaid"))
    );
    assert_eq!(intent["status"], "requires_payment_method");
    assert_eq!(intent["last_payment_error"]["decline_code"], "generic_decline");
    assert_eq!(
        (
            &intent["latest_charge"]["status"],
            &intent["latest_charge"]["failure_code"]
        ),
        (&json!("failed"), &json!("card_declined"))
    );

    assert_eq!(bench.submit(url, &[]).await.status(), 303);
    let expected = [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ];
    assert_eq!(bench.kinds_from(before), kinds(&expected));
    let done = whole(&bench, &session).await;
    assert_eq!(
        id(&done["payment_intent"]),
        id(intent),
        "another attempt is no other payment"
    );
    assert_eq!(
        (&done["status"], &done["payment_status"]),
        (&json!("complete"), &json!("paid"))
    );
    assert_eq!(done["customer_details"]["email"], "ada@example.com");
    assert_eq!(done["line_items"]["data"][0]["amount_total"], 3000);
    let charges = bench.get(&format!("charges?payment_intent={}", id(intent))).await;
    let statuses: Vec<_> = charges["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["status"])
        .collect();
    assert_eq!(statuses, ["succeeded", "failed"]);
    assert!(page_of(&bench, url).await.contains("paid for"));
}

async fn page_of(bench: &Bench, url: &str) -> String {
    bench.client.get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_payment_has_its_charge_its_buyer_and_its_metadata() {
    let bench = Bench::start();
    let (session, intent) = paid(&bench, "paid").await;
    assert_eq!(session["metadata"], json!({"pack": "big"}));
    // Nobody's customer stays nobody's, and no card is kept.
    assert_eq!(
        (&session["customer"], &session["subscription"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(bench.get("customers").await["data"], json!([]));
    let found = bench.get(&format!("payment_intents/{intent}")).await;
    assert_eq!(
        (&found["status"], &found["amount_received"], &found["metadata"]),
        (&json!("succeeded"), &json!(3000), &json!({"pack": "big"}))
    );
    let charge = bench
        .get(&format!("charges/{}", found["latest_charge"].as_str().unwrap()))
        .await;
    assert_eq!(
        (&charge["paid"], &charge["amount_captured"], &charge["payment_intent"]),
        (&json!(true), &json!(3000), &json!(intent))
    );
    assert_eq!(charge["payment_method_details"]["card"]["last4"], "4242");
    let found = bench.get(&format!("checkout/sessions?payment_intent={intent}")).await;
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(id(&found["data"][0]), id(&session));
    let none = bench.get("checkout/sessions?payment_intent=pi_other").await;
    assert_eq!(none["data"], json!([]));
    assert_eq!(bench.get("payment_intents").await["data"].as_array().unwrap().len(), 1);
    for path in [
        "payment_intents/pi_no",
        "charges/ch_no",
        "refunds/re_no",
        "disputes/du_no",
    ] {
        assert_eq!(bench.refused("GET", path, &[]).await.0, 404, "{path}");
    }

    let made = session_with_customer(&bench).await;
    assert_eq!(made["customer_details"]["email"], "eve@example.com");
    let customer = bench
        .get(&format!("customers/{}", made["customer"].as_str().unwrap()))
        .await;
    assert_eq!(customer["email"], "eve@example.com");
}

async fn session_with_customer(bench: &Bench) -> Value {
    let more = [("customer_creation", "always"), ("customer_email", "eve@example.com")];
    let session = session(bench, &more).await;
    bench.submit(session["url"].as_str().unwrap(), &[]).await;
    whole(bench, &session).await
}

#[tokio::test]
async fn sixty_four_payments_at_once_are_one() {
    let bench = Bench::start();
    let session = session(&bench, &[]).await;
    let url = session["url"].as_str().unwrap();
    for answer in futures_util::future::join_all((0..64).map(|_| bench.submit(url, &[]))).await {
        assert_eq!(answer.status(), 303);
    }
    assert_eq!(
        bench.get("charges?limit=100").await["data"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_refund_is_a_part_or_what_is_left_and_never_more() {
    let bench = Bench::start();
    let (session, intent) = paid(&bench, "paid").await;
    let charge = id(&session["payment_intent"]["latest_charge"]);
    let before = bench.count();
    let form = [
        ("payment_intent", intent.as_str()),
        ("amount", "1200"),
        ("reason", "requested_by_customer"),
        ("metadata[a]", "b"),
    ];
    let mut made = Vec::new();
    for _ in 0..2 {
        // Asked twice with one key it is given back once.
        let answer = send(&bench.client, &bench.base, "POST", "refunds", &form, Some("r1")).await;
        assert_eq!(answer.status(), 200);
        made.push(answer.json::<Value>().await.unwrap());
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(
        (
            &made[0]["amount"],
            &made[0]["status"],
            &made[0]["charge"],
            &made[0]["reason"]
        ),
        (
            &json!(1200),
            &json!("succeeded"),
            &json!(charge),
            &json!("requested_by_customer")
        )
    );
    assert_eq!(bench.kinds_from(before), kinds(&["refund.created", "charge.refunded"]));
    let told = bench.stub.events().pop().unwrap();
    assert_eq!(told["data"]["previous_attributes"], json!({"amount_refunded": 0}));
    assert_eq!(told["data"]["object"]["payment_intent"], json!(intent));

    let more = [("charge", charge.as_str()), ("amount", "1801")];
    let (status, error) = bench.refused("POST", "refunds", &more).await;
    assert_eq!((status, &error["param"]), (400, &json!("amount")));
    bench.post("refunds", &[("charge", &charge)]).await;
    let found = bench.get(&format!("charges/{charge}")).await;
    assert_eq!(
        (&found["amount_refunded"], &found["refunded"]),
        (&json!(3000), &json!(true))
    );
    let (_, error) = bench.refused("POST", "refunds", &[("charge", &charge)]).await;
    assert_eq!(error["code"], "charge_already_refunded");
    let refunds = bench.get(&format!("refunds?payment_intent={intent}")).await;
    let amounts: Vec<_> = refunds["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["amount"])
        .collect();
    assert_eq!(amounts, [1800, 1200]);
    assert_eq!(bench.get(&format!("refunds/{}", id(&made[0]))).await, made[0]);
    let still = whole(&bench, &session).await;
    assert_eq!(still["payment_status"], "paid", "Stripe's word stays");
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused() {
    let bench = Bench::start();
    let (_, intent) = paid(&bench, "debit").await;
    for form in [
        &[][..],
        &[("amount", "1")],
        &[("payment_intent", "pi_no")],
        &[("charge", "ch_no")],
        &[("payment_intent", intent.as_str())],
        &[("payment_intent", intent.as_str()), ("amount", "0")],
        &[("payment_intent", intent.as_str()), ("reason", "whim")],
        &[("payment_intent", intent.as_str()), ("nonsense", "1")],
    ] {
        let (status, error) = bench.refused("POST", "refunds", form).await;
        assert!(matches!(status, 400 | 404), "{form:?}: {error}");
    }
    assert_eq!(bench.get("refunds").await["data"], json!([]));
}

#[tokio::test]
async fn a_debit_arrives_days_later_or_does_not() {
    let bench = Bench::start();
    for (outcome, payment, intent, events) in [
        (
            "debit",
            "paid",
            "succeeded",
            [
                "charge.succeeded",
                "payment_intent.succeeded",
                "checkout.session.async_payment_succeeded",
            ],
        ),
        (
            "debit_fails",
            "unpaid",
            "requires_payment_method",
            [
                "charge.failed",
                "payment_intent.payment_failed",
                "checkout.session.async_payment_failed",
            ],
        ),
    ] {
        let (session, _) = paid(&bench, outcome).await;
        assert_eq!(
            (&session["status"], &session["payment_status"]),
            (&json!("complete"), &json!("unpaid"))
        );
        assert_eq!(session["payment_intent"]["status"], "processing");
        let charge = &session["payment_intent"]["latest_charge"];
        assert_eq!((&charge["status"], &charge["paid"]), (&json!("pending"), &json!(false)));
        let before = bench.count();
        bench.days(3).await;
        assert_eq!(bench.kinds_from(before), kinds(&events));
        let session = whole(&bench, &session).await;
        assert_eq!(
            (&session["payment_status"], &session["payment_intent"]["status"]),
            (&json!(payment), &json!(intent))
        );
        bench.days(30).await;
        assert_eq!(bench.kinds_from(before), kinds(&events), "and that is all");
    }
}

#[tokio::test]
async fn a_dispute_takes_the_money_until_it_is_won() {
    let bench = Bench::start();
    for (evidence, status) in [("winning_evidence", "won"), ("losing_evidence", "lost")] {
        let before = bench.count();
        let (session, intent) = paid(&bench, "disputed").await;
        let charge = &session["payment_intent"]["latest_charge"];
        assert_eq!(
            (&charge["disputed"], &charge["refunded"]),
            (&json!(true), &json!(false))
        );
        let made = bench.kinds_from(before);
        assert_eq!(
            made[made.len() - 2..],
            kinds(&["charge.dispute.created", "charge.dispute.funds_withdrawn"])
        );
        let refund = [("payment_intent", intent.as_str())];
        let (_, error) = bench.refused("POST", "refunds", &refund).await;
        assert_eq!(error["code"], "charge_disputed");
        let found = bench.get(&format!("disputes?charge={}", id(charge))).await;
        let dispute = &found["data"][0];
        assert_eq!(
            (&dispute["status"], &dispute["amount"], &dispute["payment_intent"]),
            (&json!("needs_response"), &json!(3000), &json!(intent))
        );
        let path = format!("disputes/{}", id(dispute));
        let answer = async |text: &str, submit: &str| {
            let form = [("evidence[uncategorized_text]", text), ("submit", submit)];
            bench.post(&path, &form).await["status"].clone()
        };
        assert_eq!(answer("a draft", "false").await, "needs_response");
        assert_eq!(answer("they got it", "true").await, "under_review");
        let before = bench.count();
        assert_eq!(answer(evidence, "true").await, status);
        let mut expected = vec!["charge.dispute.updated", "charge.dispute.closed"];
        if status == "won" {
            expected.push("charge.dispute.funds_reinstated");
        }
        assert_eq!(bench.kinds_from(before), kinds(&expected));
        assert_eq!(bench.refused("POST", &format!("{path}/close"), &[]).await.0, 400);
        let refunds = bench.send("POST", "refunds", &refund).await.status();
        assert_eq!(refunds, if status == "won" { 200 } else { 400 });
    }
    let (_, intent) = paid(&bench, "disputed").await;
    let found = bench.get(&format!("disputes?payment_intent={intent}")).await;
    let closed = bench
        .post(&format!("disputes/{}/close", id(&found["data"][0])), &[])
        .await;
    assert_eq!(closed["status"], "lost");
}

#[tokio::test]
async fn a_checkout_ends_with_what_was_tried() {
    let bench = Bench::start();
    let (tried, untried) = (session(&bench, &[]).await, session(&bench, &[]).await);
    let url = tried["url"].as_str().unwrap();
    bench.submit(url, &[("outcome", "declined")]).await;
    let before = bench.count();
    bench.days(1).await;
    let mut made = bench.kinds_from(before);
    made.sort();
    assert_eq!(
        made,
        kinds(&[
            "checkout.session.expired",
            "checkout.session.expired",
            "payment_intent.canceled"
        ])
    );
    assert_eq!(whole(&bench, &tried).await["payment_intent"]["status"], "canceled");
    assert_eq!(whole(&bench, &untried).await["payment_intent"], json!(null));
    assert_eq!(bench.submit(url, &[]).await.status(), 404);
}

#[tokio::test]
async fn a_coupon_may_leave_nothing_to_pay() {
    let bench = Bench::start();
    let all = [("id", "ALL"), ("percent_off", "100"), ("duration", "once")];
    bench.post("coupons", &all).await;
    let session = session(&bench, &[("discounts[0][coupon]", "ALL")]).await;
    assert_eq!(session["amount_total"], 0);
    let url = session["url"].as_str().unwrap();
    assert!(page_of(&bench, url).await.contains("without a card"));
    assert_eq!(bench.submit(url, &[("outcome", "without_card")]).await.status(), 303);
    let session = whole(&bench, &session).await;
    assert_eq!(
        (&session["payment_status"], &session["payment_intent"]),
        (&json!("no_payment_required"), &json!(null))
    );
    assert_eq!(bench.get("coupons/ALL").await["times_redeemed"], 1);
}

#[tokio::test]
async fn each_mode_has_its_own_prices_and_parameters() {
    let bench = Bench::start();
    let monthly = bench.price("1900", "month").await;
    let product = [
        ("currency", "usd"),
        ("unit_amount", "500"),
        ("product_data[name]", "Once"),
    ];
    let once = id(&bench.post("prices", &product).await);
    let open = async |mode: &str, price: &str, more: (&str, &str)| {
        let form = [
            ("mode", mode),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "2"),
            ("success_url", "https://app.example/"),
            more,
        ];
        bench.send("POST", "checkout/sessions", &form).await
    };
    let none = ("locale", "de");
    let answer = open("payment", &once, none).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["amount_total"], 1000);
    assert_eq!(open("subscription", &monthly, none).await.status(), 200);
    for (mode, price, more) in [
        ("payment", &monthly, none),
        ("subscription", &once, none),
        ("setup", &once, none),
        ("payment", &once, ("subscription_data[trial_period_days]", "7")),
        ("payment", &once, ("payment_method_collection", "if_required")),
        ("payment", &once, ("payment_intent_data[capture_method]", "manual")),
        ("subscription", &monthly, ("payment_intent_data[metadata][a]", "b")),
    ] {
        assert_eq!(open(mode, price, more).await.status(), 400, "{mode}, {more:?}");
    }
    let session = open("subscription", &monthly, none)
        .await
        .json::<Value>()
        .await
        .unwrap();
    let url = session["url"].as_str().unwrap();
    assert_eq!(bench.submit(url, &[("outcome", "disputed")]).await.status(), 400);
}
