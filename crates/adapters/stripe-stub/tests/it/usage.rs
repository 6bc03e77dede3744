//! Meters.

use serde_json::{Value, json};

use crate::bench::{Bench, id, period};

#[tokio::test]
async fn what_was_used_is_paid_with_the_renewal() {
    let bench = Bench::start();
    let meter = bench
        .post(
            "billing/meters",
            &[
                ("display_name", "Tokens"),
                ("event_name", "tokens"),
                ("default_aggregation[formula]", "sum"),
            ],
        )
        .await;
    let form = [
        ("currency", "usd"),
        ("unit_amount_decimal", "0.05"),
        ("recurring[interval]", "month"),
        ("recurring[usage_type]", "metered"),
        ("recurring[meter]", meter["id"].as_str().unwrap()),
        ("product_data[name]", "Tokens"),
    ];
    let metered = bench.post("prices", &form).await;
    assert_eq!(
        (&metered["unit_amount"], &metered["unit_amount_decimal"]),
        (&Value::Null, &json!("0.05"))
    );
    let flat = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let sub = bench
        .subscribe(&customer, &flat, &[("items[1][price]", &id(&metered))])
        .await;
    assert!(sub["items"]["data"][1].get("quantity").is_none());
    let report = async |identifier: &str, value: &str| {
        let form = [
            ("event_name", "tokens"),
            ("identifier", identifier),
            ("payload[stripe_customer_id]", &customer),
            ("payload[value]", value),
        ];
        bench.send("POST", "billing/meter_events", &form).await
    };
    let first = report("u1", "1000").await;
    assert_eq!(first.status(), 200);
    let first: Value = first.json().await.unwrap();
    assert_eq!(
        (&first["object"], &first["identifier"], &first["payload"]["value"]),
        (&json!("billing.meter_event"), &json!("u1"), &json!("1000"))
    );
    let again = report("u1", "1000").await;
    assert_eq!(again.status(), 400);
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["error"]["message"], "An event already exists with identifier u1.");
    assert_eq!(report("u2", "500").await.status(), 200);
    let now = bench.stub.now().as_second() / 60 * 60;
    let query = format!("customer={customer}&start_time={}&end_time={}", now - 600, now + 600);
    let sums = bench
        .get(&format!("billing/meters/{}/event_summaries?{query}", id(&meter)))
        .await;
    assert_eq!(sums["data"][0]["aggregated_value"], 1500);
    bench.days(31).await;
    let subscription = bench.subscription(&id(&sub)).await;
    assert_eq!(subscription["latest_invoice"]["total"], 1000 + 75);
    bench.days(31).await;
    assert_eq!(
        bench.subscription(&id(&sub)).await["latest_invoice"]["total"],
        1000,
        "counted once"
    );
    assert!(period(&subscription).1 > 0);
}

#[tokio::test]
async fn events_out_of_time_or_of_nobody_are_refused() {
    let bench = Bench::start();
    let customer = bench.customer(None).await;
    let meter = bench
        .post(
            "billing/meters",
            &[
                ("display_name", "T"),
                ("event_name", "t"),
                ("default_aggregation[formula]", "sum"),
            ],
        )
        .await;
    let now = bench.stub.now().as_second();
    for (name, who, value, at, status) in [
        ("t", customer.as_str(), "1", now - 34 * 86_400, 200),
        ("t", &customer, "1", now + 200, 200),
        ("t", &customer, "1", now - 36 * 86_400, 400),
        ("t", &customer, "1", now + 900, 400),
        ("t", &customer, "many", now, 400),
        ("t", "cus_no", "1", now, 404),
        ("other", &customer, "1", now, 400),
    ] {
        let form = [
            ("event_name", name),
            ("timestamp", &at.to_string()),
            ("payload[stripe_customer_id]", who),
            ("payload[value]", value),
        ];
        assert_eq!(
            bench.send("POST", "billing/meter_events", &form).await.status(),
            status,
            "{form:?}"
        );
    }
    let path = format!("billing/meters/{}", id(&meter));
    assert_eq!(
        bench.post(&format!("{path}/deactivate"), &[]).await["status"],
        "inactive"
    );
    assert_eq!(bench.get("billing/meters?status=active").await["data"], json!([]));
}
