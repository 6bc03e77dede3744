//! Checkout and portal as a browser sees them.

use serde_json::json;

use crate::bench::{Bench, id, period};

async fn session(bench: &Bench, more: &[(&str, &str)]) -> serde_json::Value {
    let price = bench.price("1900", "month").await;
    let form = [
        &[
            ("mode", "subscription"),
            ("line_items[0][price]", price.as_str()),
            ("line_items[0][quantity]", "1"),
            ("success_url", "https://app.example/ok"),
            ("cancel_url", "https://app.example/no?a=1&b=<x>"),
        ],
        more,
    ]
    .concat();
    bench.post("checkout/sessions", &form).await
}

#[tokio::test]
async fn the_page_says_what_is_bought_and_paying_twice_is_paying_once() {
    let bench = Bench::start();
    let session = session(
        &bench,
        &[("customer_email", "ada@example.com"), ("allow_promotion_codes", "true")],
    )
    .await;
    let url = session["url"].as_str().unwrap();
    let page = bench.client.get(url).send().await.unwrap();
    let headers = page.headers().clone();
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://app.example;"), "{policy}");
    assert_eq!(
        (&headers["referrer-policy"], &headers["cache-control"]),
        (&"same-origin".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let text = page.text().await.unwrap();
    for part in [
        "Plan",
        "19.00 USD",
        "/ month",
        "stripe-stub",
        "No money is taken",
        "b=&lt;x&gt;",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<x>"));

    let declined = bench.submit(url, &[("outcome", "declined")]).await;
    assert_eq!(declined.status(), 402);
    assert!(declined.text().await.unwrap().contains("Your card was declined."));
    assert_eq!(bench.get("subscriptions?status=all").await["data"], json!([]));
    assert_eq!(bench.submit(url, &[("promotion_code", "NOPE")]).await.status(), 400);
    assert_eq!(bench.submit(url, &[("outcome", "odd")]).await.status(), 400);
    assert_eq!(bench.submit(url, &[("outcome", "without_card")]).await.status(), 400);

    let coupon = id(&bench
        .post("coupons", &[("percent_off", "10"), ("duration", "once")])
        .await);
    bench
        .post(
            "promotion_codes",
            &[
                ("promotion[type]", "coupon"),
                ("promotion[coupon]", &coupon),
                ("code", "TEN"),
            ],
        )
        .await;
    for _ in 0..2 {
        let paid = bench.submit(url, &[("promotion_code", "ten")]).await;
        assert_eq!(
            (paid.status().as_u16(), &paid.headers()["location"]),
            (303, &"https://app.example/ok".parse().unwrap())
        );
    }
    let subscriptions = bench.get("subscriptions?expand[]=data.latest_invoice").await;
    assert_eq!(subscriptions["data"].as_array().unwrap().len(), 1);
    assert_eq!(subscriptions["data"][0]["latest_invoice"]["amount_paid"], 1710);
    let customers = bench.get("customers?email=ada@example.com").await;
    assert_eq!(customers["data"].as_array().unwrap().len(), 1);
    assert!(
        bench
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("paid for")
    );
}

#[tokio::test]
async fn sixty_four_payments_at_once_are_one() {
    let bench = Bench::start();
    let session = session(&bench, &[]).await;
    let url = session["url"].as_str().unwrap();
    let pays = (0..64).map(|_| bench.submit(url, &[]));
    for answer in futures_util::future::join_all(pays).await {
        assert_eq!(answer.status(), 303);
    }
    assert_eq!(bench.get("subscriptions").await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn checkouts_end_after_a_day_or_when_they_are_told_to() {
    let bench = Bench::start();
    let (late, told) = (session(&bench, &[]).await, session(&bench, &[]).await);
    let ended = bench
        .post(&format!("checkout/sessions/{}/expire", id(&told)), &[])
        .await;
    assert_eq!(ended["status"], "expired");
    bench.days(1).await;
    assert_eq!(
        bench.get(&format!("checkout/sessions/{}", id(&late))).await["status"],
        "expired"
    );
    for session in [&late, &told] {
        let url = session["url"].as_str().unwrap();
        let page = bench.client.get(url).send().await.unwrap();
        assert_eq!(page.status(), 404);
        assert!(page.text().await.unwrap().contains("open a new one"));
        assert_eq!(bench.submit(url, &[]).await.status(), 404);
    }
    let expired = bench.get("events?type=checkout.session.expired").await;
    assert_eq!(expired["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        bench
            .client
            .get(format!("{}/checkout/cs_test_no", bench.base))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    // An identifier of something else is no checkout.
    let customer = bench.customer(None).await;
    assert_eq!(
        bench
            .submit(&format!("{}/checkout/{customer}", bench.base), &[])
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn a_trial_needs_no_card_where_the_session_says_so() {
    let bench = Bench::start();
    let more = [
        ("subscription_data[trial_period_days]", "14"),
        (
            "subscription_data[trial_settings][end_behavior][missing_payment_method]",
            "pause",
        ),
        ("payment_method_collection", "if_required"),
    ];
    let session = session(&bench, &more).await;
    assert_eq!(session["amount_total"], 0);
    let url = session["url"].as_str().unwrap();
    assert!(
        bench
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("Free until")
    );
    assert_eq!(bench.submit(url, &[("outcome", "without_card")]).await.status(), 303);
    let session = bench
        .get(&format!(
            "checkout/sessions/{}?expand[]=subscription&expand[]=line_items",
            id(&session)
        ))
        .await;
    assert_eq!(session["payment_status"], "no_payment_required");
    assert_eq!(session["line_items"]["data"][0]["quantity"], 1);
    let subscription = &session["subscription"];
    assert_eq!(
        (&subscription["status"], &subscription["default_payment_method"]),
        (&json!("trialing"), &json!(null))
    );
    bench.days(14).await;
    assert_eq!(bench.subscription(&id(subscription)).await["status"], "paused");
}

#[tokio::test]
async fn a_debit_arrives_days_later_or_does_not() {
    let bench = Bench::start();
    for (outcome, event, status, payment) in [
        ("debit", "checkout.session.async_payment_succeeded", "active", "paid"),
        (
            "debit_fails",
            "checkout.session.async_payment_failed",
            "past_due",
            "unpaid",
        ),
    ] {
        let session = session(&bench, &[]).await;
        assert_eq!(
            bench
                .submit(session["url"].as_str().unwrap(), &[("outcome", outcome)])
                .await
                .status(),
            303
        );
        let path = format!(
            "checkout/sessions/{}?expand[]=subscription.latest_invoice",
            id(&session)
        );
        let session = bench.get(&path).await;
        assert_eq!(
            (&session["status"], &session["payment_status"]),
            (&json!("complete"), &json!("unpaid"))
        );
        let subscription = &session["subscription"];
        assert_eq!(
            (&subscription["status"], &subscription["latest_invoice"]["status"]),
            (&json!("active"), &json!("open"))
        );
        let before = bench.count();
        bench.days(3).await;
        assert!(bench.kinds_from(before).contains(&event.to_owned()));
        let session = bench.get(&path).await;
        assert_eq!(
            (&session["subscription"]["status"], &session["payment_status"]),
            (&json!(status), &json!(payment))
        );
        bench.days(15).await;
        let last = if outcome == "debit" { "active" } else { "canceled" };
        assert_eq!(bench.get(&path).await["subscription"]["status"], last);
    }
}

#[tokio::test]
async fn the_portal_cancels_keeps_and_changes_the_card() {
    let bench = Bench::start();
    let price = bench.price("1900", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let sub = id(&bench.subscribe(&customer, &price, &[]).await);
    let form = [("customer", customer.as_str()), ("return_url", "https://app.example/")];
    let portal = bench.post("billing_portal/sessions", &form).await;
    let url = portal["url"].as_str().unwrap();
    let page = async || bench.client.get(url).send().await.unwrap().text().await.unwrap();
    let text = page().await;
    for part in [
        "19.00 USD",
        "The next payment is on",
        "Cancel with the end",
        "paid",
        "https://app.example/",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // So many of it are shown with what they come to.
    let item = id(&bench.subscription(&sub).await["items"]["data"][0]);
    let three = [("items[0][id]", item.as_str()), ("items[0][quantity]", "3")];
    bench.post(&format!("subscriptions/{sub}"), &three).await;
    let text = page().await;
    assert!(text.contains("<h2>3 × ") && text.contains("57.00 USD"), "{text}");
    assert_eq!(
        bench
            .submit(url, &[("action", "cancel"), ("subject", &sub)])
            .await
            .status(),
        303
    );
    // As in Stripe's own portal, where billing is flexible.
    let subscription = bench.subscription(&sub).await;
    assert_eq!(subscription["cancel_at_period_end"], false);
    assert_eq!(subscription["cancel_at"], period(&subscription).1);
    assert!(page().await.contains("It ends on"));
    bench.submit(url, &[("action", "keep"), ("subject", &sub)]).await;
    assert_eq!(bench.subscription(&sub).await["cancel_at"], json!(null));

    assert_eq!(
        bench
            .submit(url, &[("action", "card"), ("card", "fails_at_renewal")])
            .await
            .status(),
        303
    );
    bench.days(31).await;
    assert_eq!(bench.subscription(&sub).await["status"], "past_due");
    assert_eq!(
        bench.client.get(url).send().await.unwrap().status(),
        404,
        "an address serves for an hour"
    );
    let portal = bench.post("billing_portal/sessions", &form).await;
    let url = portal["url"].as_str().unwrap();
    let invoice = bench.subscription(&sub).await["latest_invoice"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        bench
            .submit(url, &[("action", "pay"), ("subject", &invoice)])
            .await
            .status(),
        402
    );
    bench.submit(url, &[("action", "card"), ("card", "good")]).await;
    assert_eq!(
        bench
            .submit(url, &[("action", "pay"), ("subject", &invoice)])
            .await
            .status(),
        303
    );
    assert_eq!(bench.subscription(&sub).await["status"], "active");

    // Somebody else's is not theirs to change.
    let other = bench.customer(Some("pm_card_visa")).await;
    let foreign = id(&bench.subscribe(&other, &price, &[]).await);
    assert_eq!(
        bench
            .submit(url, &[("action", "cancel"), ("subject", &foreign)])
            .await
            .status(),
        404
    );
}
