//! The lives of subscriptions.

use serde_json::{Value, json};

use crate::bench::{Bench, id, period};

fn kinds(list: &[&str]) -> Vec<String> {
    list.iter().map(|kind| (*kind).to_owned()).collect()
}

#[tokio::test]
async fn a_whole_life_from_checkout_to_the_end() {
    let bench = Bench::start();
    let (pro, basic) = (bench.price("1900", "month").await, bench.price("900", "month").await);
    let customer = bench.customer(None).await;
    let form = [
        ("mode", "subscription"),
        ("customer", &customer),
        ("client_reference_id", "account:1"),
        ("line_items[0][price]", &pro),
        ("line_items[0][quantity]", "2"),
        ("metadata[a]", "b"),
        ("subscription_data[metadata][owner]", "7"),
        ("success_url", "https://app.example/ok?s={CHECKOUT_SESSION_ID}"),
    ];
    let session = bench.post("checkout/sessions", &form).await;
    assert_eq!(
        (&session["status"], &session["amount_total"]),
        (&json!("open"), &json!(3800))
    );
    let paid = bench.submit(session["url"].as_str().unwrap(), &[]).await;
    assert_eq!(paid.status(), 303);
    let expected = format!("https://app.example/ok?s={}", id(&session));
    assert_eq!(paid.headers()["location"], expected.as_str());

    let session = bench.get(&format!("checkout/sessions/{}", id(&session))).await;
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&json!("complete"), &json!("paid"))
    );
    let sub = session["subscription"].as_str().unwrap().to_owned();
    let subscription = bench.subscription(&sub).await;
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["metadata"], json!({"owner": "7"}));
    assert_eq!(subscription["items"]["data"][0]["quantity"], 2);
    assert_eq!(subscription["latest_invoice"]["amount_paid"], 3800);
    assert_eq!(subscription["latest_invoice"]["billing_reason"], "subscription_create");

    renewals_and_failing_cards(&bench, &sub, &customer).await;
    downgrade_and_end(&bench, &sub, &basic).await;

    bench.stub.settled().await;
    let delivered: Vec<_> = bench.webhook.take().iter().map(id).collect();
    let made: Vec<_> = bench.stub.events().iter().map(id).collect();
    assert_eq!(delivered, made, "every event once, in order");
    assert!(bench.stub.events().iter().all(|event| event["pending_webhooks"] == 0));
}

async fn renewals_and_failing_cards(bench: &Bench, sub: &str, customer: &str) {
    let before = bench.count();
    let (_, end) = period(&bench.subscription(sub).await);
    bench.days(31).await;
    let subscription = bench.subscription(sub).await;
    assert_eq!(
        (period(&subscription).0, &subscription["status"]),
        (end, &json!("active"))
    );
    let expected = [
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ];
    assert_eq!(bench.kinds_from(before), kinds(&expected));
    let events = bench.stub.events();
    assert_eq!(events[before]["created"], end, "it happened when it was due");
    assert_eq!(
        events[before]["data"]["previous_attributes"]["items"]["data"][0]["current_period_end"],
        end
    );

    // The card fails from now on.
    let card = bench
        .post(
            "payment_methods/pm_card_chargeCustomerFail/attach",
            &[("customer", customer)],
        )
        .await;
    bench
        .post(
            &format!("subscriptions/{sub}"),
            &[("default_payment_method", &id(&card))],
        )
        .await;
    let before = bench.count();
    bench.days(31).await;
    let subscription = bench.subscription(sub).await;
    assert_eq!(subscription["status"], "past_due");
    assert_eq!(subscription["latest_invoice"]["status"], "open");
    let expected = [
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ];
    assert_eq!(bench.kinds_from(before)[..5], kinds(&expected));
    bench.days(3).await;
    let invoice = bench.subscription(sub).await["latest_invoice"].clone();
    assert_eq!(invoice["attempt_count"], 2);

    // A good card, and the next retry: recovered.
    bench
        .post(
            &format!("subscriptions/{sub}"),
            &[("default_payment_method", "pm_card_visa")],
        )
        .await;
    bench.days(6).await;
    let subscription = bench.subscription(sub).await;
    assert_eq!(
        (&subscription["status"], &subscription["latest_invoice"]["status"]),
        (&json!("active"), &json!("paid"))
    );
}

async fn downgrade_and_end(bench: &Bench, sub: &str, basic: &str) {
    let subscription = bench.subscription(sub).await;
    let (start, end) = period(&subscription);
    let price = subscription["items"]["data"][0]["price"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let schedule = bench
        .post("subscription_schedules", &[("from_subscription", sub)])
        .await;
    assert_eq!(schedule["phases"][0]["end_date"], end);
    let (start, end) = (start.to_string(), end.to_string());
    let form = [
        ("end_behavior", "release"),
        ("phases[0][start_date]", start.as_str()),
        ("phases[0][end_date]", end.as_str()),
        ("phases[0][items][0][price]", &price),
        ("phases[0][items][0][quantity]", "2"),
        ("phases[1][items][0][price]", basic),
        ("phases[1][items][0][quantity]", "1"),
        ("phases[1][proration_behavior]", "none"),
    ];
    let path = format!("subscription_schedules/{}", id(&schedule));
    let schedule = bench.post(&path, &form).await;
    assert_eq!(schedule["phases"].as_array().unwrap().len(), 2);
    let expanded = bench.get(&format!("subscriptions/{sub}?expand[]=schedule")).await;
    assert_eq!(expanded["schedule"]["phases"][1]["items"][0]["price"], basic);
    let (status, error) = bench
        .refused(
            "POST",
            &format!("subscriptions/{sub}"),
            &[("cancel_at_period_end", "true")],
        )
        .await;
    assert_eq!(status, 400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("managed by the subscription schedule")
    );

    bench.days(31).await;
    let subscription = bench.subscription(sub).await;
    let item = &subscription["items"]["data"][0];
    assert_eq!((&item["price"]["id"], &item["quantity"]), (&json!(basic), &json!(1)));
    assert_eq!(
        subscription["latest_invoice"]["total"], 900,
        "no proportions at the period's end"
    );
    assert_eq!(period(&subscription).0.to_string(), end);
    bench.days(31).await;
    assert_eq!(bench.get(&path).await["status"], "released");
    let subscription = bench.subscription(sub).await;
    assert_eq!(
        (&subscription["schedule"], &subscription["status"]),
        (&Value::Null, &json!("active"))
    );

    let subscription = bench
        .post(&format!("subscriptions/{sub}"), &[("cancel_at_period_end", "true")])
        .await;
    assert_eq!(subscription["cancel_at"], period(&subscription).1);
    let before = bench.count();
    bench.days(31).await;
    let subscription = bench.subscription(sub).await;
    assert_eq!(
        (&subscription["status"], &subscription["ended_at"]),
        (&json!("canceled"), &subscription["cancel_at"])
    );
    assert_eq!(bench.kinds_from(before), kinds(&["customer.subscription.deleted"]));
    let (status, error) = bench.refused("DELETE", &format!("subscriptions/{sub}"), &[]).await;
    assert_eq!((status, &error["code"]), (404, &json!("resource_missing")));
}

#[tokio::test]
async fn retries_that_fail_end_a_subscription() {
    for unpaid in [false, true] {
        let bench = Bench::start();
        bench.stub.set_unpaid(unpaid);
        let price = bench.price("1000", "year").await;
        let customer = bench.customer(Some("pm_card_visa")).await;
        let sub = id(&bench.subscribe(&customer, &price, &[]).await);
        bench
            .post(
                &format!("subscriptions/{sub}"),
                &[("default_payment_method", "pm_card_chargeCustomerFail")],
            )
            .await;
        bench.days(366).await;
        for (days, tries) in [(0, 1), (3, 2), (5, 3)] {
            bench.days(days).await;
            let subscription = bench.subscription(&sub).await;
            assert_eq!(
                (
                    &subscription["status"],
                    &subscription["latest_invoice"]["attempt_count"]
                ),
                (&json!("past_due"), &json!(tries))
            );
        }
        bench.days(7).await;
        let subscription = bench.subscription(&sub).await;
        assert_eq!(subscription["status"], if unpaid { "unpaid" } else { "canceled" });
        assert_eq!(subscription["latest_invoice"]["next_payment_attempt"], Value::Null);
        if !unpaid {
            assert_eq!(subscription["cancellation_details"]["reason"], "payment_failed");
            continue;
        }
        let invoice = id(&subscription["latest_invoice"]);
        let (status, error) = bench.refused("POST", &format!("invoices/{invoice}/pay"), &[]).await;
        assert_eq!((status, &error["code"]), (402, &json!("card_declined")));
        bench
            .post(
                &format!("invoices/{invoice}/pay"),
                &[("payment_method", "pm_card_visa")],
            )
            .await;
        assert_eq!(bench.subscription(&sub).await["status"], "active");
    }
}

#[tokio::test]
async fn a_first_payment_that_fails_leaves_it_incomplete_for_23_hours() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_chargeCustomerFail")).await;
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", &price),
        ("payment_behavior", "error_if_incomplete"),
    ];
    let before = bench.count();
    let (status, error) = bench.refused("POST", "subscriptions", &form).await;
    assert_eq!(
        (status, &error["type"], &error["decline_code"]),
        (402, &json!("card_error"), &json!("generic_decline"))
    );
    assert_eq!(bench.count(), before, "nothing was done");
    assert_eq!(bench.get("subscriptions?status=all").await["data"], json!([]));

    let paid = bench.subscribe(&customer, &price, &[]).await;
    let lost = bench
        .subscribe(&customer, &price, &[("payment_behavior", "default_incomplete")])
        .await;
    assert_eq!(
        (&paid["status"], &lost["status"]),
        (&json!("incomplete"), &json!("incomplete"))
    );
    assert_eq!(
        bench.subscription(&id(&lost)).await["latest_invoice"]["attempt_count"],
        0
    );
    let invoice = paid["latest_invoice"].as_str().unwrap();
    bench
        .post(
            &format!("invoices/{invoice}/pay"),
            &[("payment_method", "pm_card_visa")],
        )
        .await;
    assert_eq!(bench.subscription(&id(&paid)).await["status"], "active");
    bench.days(1).await;
    let lost = bench.subscription(&id(&lost)).await;
    assert_eq!(
        (&lost["status"], &lost["latest_invoice"]["status"]),
        (&json!("incomplete_expired"), &json!("void"))
    );
    assert_eq!(
        lost["ended_at"].as_i64().unwrap() - lost["created"].as_i64().unwrap(),
        23 * 3600
    );

    let nobody = bench.customer(None).await;
    let form = [("customer", nobody.as_str()), ("items[0][price]", &price)];
    let (status, error) = bench.refused("POST", "subscriptions", &form).await;
    assert_eq!((status, &error["code"]), (400, &json!("resource_missing")));
}

#[tokio::test]
async fn a_card_that_wants_its_owner_says_so() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_authenticationRequired")).await;
    let before = bench.count();
    let subscription = bench.subscribe(&customer, &price, &[]).await;
    assert_eq!(subscription["status"], "incomplete");
    assert!(
        bench
            .kinds_from(before)
            .contains(&"invoice.payment_action_required".to_owned())
    );
}

#[tokio::test]
async fn trials_end_with_a_payment_a_pause_or_an_end() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let (rich, poor) = (bench.customer(Some("pm_card_visa")).await, bench.customer(None).await);
    let missing = "trial_settings[end_behavior][missing_payment_method]";
    let pays = id(&bench.subscribe(&rich, &price, &[("trial_period_days", "14")]).await);
    let pauses = id(&bench
        .subscribe(&poor, &price, &[("trial_period_days", "14"), (missing, "pause")])
        .await);
    let ends = id(&bench
        .subscribe(&poor, &price, &[("trial_period_days", "14"), (missing, "cancel")])
        .await);
    let owes = id(&bench.subscribe(&poor, &price, &[("trial_period_days", "14")]).await);
    let trial = bench.subscription(&pays).await;
    assert_eq!(
        (&trial["status"], &trial["latest_invoice"]["total"]),
        (&json!("trialing"), &json!(0))
    );
    assert_eq!(trial["latest_invoice"]["status"], "paid");
    assert_eq!(trial["trial_end"], period(&trial).1);

    let before = bench.count();
    bench.days(11).await;
    assert_eq!(
        bench.kinds_from(before),
        kinds(&["customer.subscription.trial_will_end"; 4])
    );
    bench.days(3).await;
    let status = async |sub: &str| bench.subscription(sub).await["status"].as_str().unwrap().to_owned();
    assert_eq!(status(&pays).await, "active");
    assert_eq!(status(&pauses).await, "paused");
    assert_eq!(status(&ends).await, "canceled");
    assert_eq!(status(&owes).await, "past_due");
    assert_eq!(bench.subscription(&pays).await["latest_invoice"]["amount_paid"], 1000);
    assert!(
        bench
            .kinds_from(before)
            .contains(&"customer.subscription.paused".to_owned())
    );

    // Paused for long, and resumed: a new period from then on, once it is paid.
    bench.days(90).await;
    assert_eq!(status(&pauses).await, "paused");
    let resumed = bench.post(&format!("subscriptions/{pauses}/resume"), &[]).await;
    assert_eq!(resumed["status"], "paused", "without a card nothing is paid");
    bench
        .post(
            &format!("customers/{poor}"),
            &[("invoice_settings[default_payment_method]", "pm_card_visa")],
        )
        .await;
    let before = bench.count();
    let invoice = resumed["latest_invoice"].as_str().unwrap();
    bench.post(&format!("invoices/{invoice}/pay"), &[]).await;
    assert_eq!(status(&pauses).await, "active");
    assert!(
        bench
            .kinds_from(before)
            .contains(&"customer.subscription.resumed".to_owned())
    );
}

#[tokio::test]
async fn a_trial_that_is_short_is_told_of_at_once_and_can_be_ended_now() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let before = bench.count();
    let sub = id(&bench.subscribe(&customer, &price, &[("trial_period_days", "2")]).await);
    let told = |from| {
        bench
            .kinds_from(from)
            .iter()
            .filter(|kind| kind.ends_with("trial_will_end"))
            .count()
    };
    assert_eq!(told(before), 1);
    bench.days(1).await;
    assert_eq!(told(before), 1, "once");
    let subscription = bench
        .post(&format!("subscriptions/{sub}"), &[("trial_end", "now")])
        .await;
    assert_eq!(subscription["status"], "active");
    let now = bench.stub.now().as_second();
    assert!((period(&subscription).0 - now).abs() < 5);
    assert_eq!(bench.subscription(&sub).await["latest_invoice"]["amount_paid"], 1000);
}

#[tokio::test]
async fn collection_can_be_paused_and_ends_planned_at_any_time() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    for (behavior, status) in [
        ("void", "void"),
        ("mark_uncollectible", "uncollectible"),
        ("keep_as_draft", "draft"),
    ] {
        let sub = id(&bench.subscribe(&customer, &price, &[]).await);
        bench
            .post(
                &format!("subscriptions/{sub}"),
                &[("pause_collection[behavior]", behavior)],
            )
            .await;
        bench.days(31).await;
        let subscription = bench.subscription(&sub).await;
        assert_eq!(
            (&subscription["status"], &subscription["latest_invoice"]["status"]),
            (&json!("active"), &json!(status))
        );
        let subscription = bench
            .post(&format!("subscriptions/{sub}"), &[("pause_collection", "")])
            .await;
        assert_eq!(subscription["pause_collection"], Value::Null);
        let when = (bench.stub.now().as_second() + 86_400).to_string();
        bench
            .post(&format!("subscriptions/{sub}"), &[("cancel_at", &when)])
            .await;
        bench.days(2).await;
        let subscription = bench.subscription(&sub).await;
        assert_eq!(
            (&subscription["status"], subscription["ended_at"].to_string()),
            (&json!("canceled"), when)
        );
    }
}

#[tokio::test]
async fn a_planned_end_can_be_taken_back() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let sub = id(&bench.subscribe(&customer, &price, &[]).await);
    let path = format!("subscriptions/{sub}");
    bench.post(&path, &[("cancel_at_period_end", "true")]).await;
    let back = bench.post(&path, &[("cancel_at_period_end", "false")]).await;
    assert_eq!(
        (&back["cancel_at"], &back["canceled_at"], &back["cancel_at_period_end"]),
        (&Value::Null, &Value::Null, &json!(false))
    );
    bench.post(&path, &[("cancel_at", "min_period_end")]).await;
    // As the adapter does it: whatever was planned, nothing is any more.
    let back = bench
        .post(&path, &[("cancel_at_period_end", "false"), ("cancel_at", "")])
        .await;
    assert_eq!(back["cancel_at"], Value::Null);
    bench.days(31).await;
    assert_eq!(bench.subscription(&sub).await["status"], "active");
}

#[tokio::test]
async fn what_falls_due_in_the_same_second_all_happens() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let subscription = bench.subscribe(&customer, &price, &[]).await;
    let end = period(&subscription).1.to_string();
    let form = [
        ("pause_collection[behavior]", "void"),
        ("pause_collection[resumes_at]", end.as_str()),
    ];
    bench.post(&format!("subscriptions/{}", id(&subscription)), &form).await;
    bench.days(31).await;
    let subscription = bench.subscription(&id(&subscription)).await;
    assert_eq!(
        (&subscription["pause_collection"], period(&subscription).0.to_string()),
        (&Value::Null, end)
    );
    assert_eq!(subscription["latest_invoice"]["status"], "paid");
}

#[tokio::test]
async fn numbers_that_nobody_can_count_with_are_refused() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let huge = i64::MAX.to_string();
    for key in ["trial_period_days", "trial_end", "cancel_at", "items[0][quantity]"] {
        let form = [
            ("customer", customer.as_str()),
            ("items[0][price]", &price),
            (key, &huge),
        ];
        let (status, error) = bench.refused("POST", "subscriptions", &form).await;
        assert_eq!(
            (status, &error["code"]),
            (400, &json!("parameter_invalid_integer")),
            "{key}"
        );
    }
    let lowest = i64::MIN.to_string();
    let (status, _) = bench
        .refused("POST", "test_helpers/test_clocks", &[("frozen_time", &lowest)])
        .await;
    assert_eq!(status, 400);
    bench
        .stub
        .put(json!({"id": "sub_x", "object": "subscription", "status": "incomplete", "created": i64::MAX}));
    bench
        .stub
        .put(json!({"id": "sub_y", "object": "subscription", "status": "trialing", "trial_end": i64::MIN}));
    bench.days(400).await;
    assert!(bench.stub.object("sub_x").is_some());
    assert_eq!(bench.stub.object("sub_y").unwrap()["status"], "active");
}
