//! Changes of what is paid for.

use serde_json::{Value, json};

use crate::bench::{Bench, DAY, id, period};

struct Changing {
    bench: Bench,
    small: String,
    big: String,
    yearly: String,
    customer: String,
    sub: String,
    item: String,
}

async fn changing() -> Changing {
    let bench = Bench::start();
    let (small, big, yearly) = (
        bench.price("1000", "month").await,
        bench.price("3000", "month").await,
        bench.price("10000", "year").await,
    );
    let customer = bench.customer(Some("pm_card_visa")).await;
    let subscription = bench.subscribe(&customer, &small, &[]).await;
    let item = id(&subscription["items"]["data"][0]);
    Changing {
        small,
        big,
        yearly,
        customer,
        sub: id(&subscription),
        item,
        bench,
    }
}

impl Changing {
    async fn change(&self, price: &str, more: &[(&str, &str)]) -> Value {
        let form = [
            &[("items[0][id]", self.item.as_str()), ("items[0][price]", price)],
            more,
        ]
        .concat();
        self.bench.post(&format!("subscriptions/{}", self.sub), &form).await;
        self.bench.subscription(&self.sub).await
    }

    async fn preview(&self, price: &str, proration: &str, date: &str) -> Value {
        let form = [
            ("subscription", self.sub.as_str()),
            ("subscription_details[items][0][id]", &self.item),
            ("subscription_details[items][0][price]", price),
            ("subscription_details[proration_behavior]", proration),
            ("subscription_details[proration_date]", date),
        ];
        self.bench.post("invoices/create_preview", &form).await
    }
}

#[tokio::test]
async fn an_upgrade_now_costs_what_its_preview_says() {
    let the = changing().await;
    let (start, end) = period(&the.bench.subscription(&the.sub).await);
    the.bench.days(10).await;
    let date = start + 10 * DAY;
    let date_text = date.to_string();
    let preview = the.preview(&the.big, "always_invoice", &date_text).await;
    let now = [
        ("proration_behavior", "always_invoice"),
        ("payment_behavior", "error_if_incomplete"),
        ("proration_date", date_text.as_str()),
    ];
    let subscription = the.change(&the.big, &now).await;
    let invoice = &subscription["latest_invoice"];
    // In proportion to the second.
    let rest = |amount: i64| (2 * amount * (end - date) + (end - start)) / (2 * (end - start));
    assert_eq!(invoice["amount_due"], rest(3000) - rest(1000));
    assert_eq!(invoice["amount_due"], preview["amount_due"]);
    assert_eq!(
        (&invoice["billing_reason"], &invoice["status"]),
        (&json!("subscription_update"), &json!("paid"))
    );
    let lines = invoice["lines"]["data"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line["parent"]["subscription_item_details"]["proration"] == true)
    );
    assert_eq!(lines[0]["amount"], -rest(1000));
    assert_eq!(invoice["parent"]["subscription_details"]["subscription"], the.sub);
    assert_eq!(period(&subscription), (start, end), "the period stays");
    the.bench.days(25).await;
    assert_eq!(
        the.bench.subscription(&the.sub).await["latest_invoice"]["amount_paid"],
        3000
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_paid_changes_nothing() {
    let the = changing().await;
    let path = format!("subscriptions/{}", the.sub);
    the.bench
        .post(&path, &[("default_payment_method", "pm_card_chargeCustomerFail")])
        .await;
    let (before, events) = (the.bench.subscription(&the.sub).await, the.bench.count());
    let form = [
        ("items[0][id]", the.item.as_str()),
        ("items[0][price]", &the.big),
        ("proration_behavior", "always_invoice"),
        ("payment_behavior", "error_if_incomplete"),
    ];
    let (status, error) = the.bench.refused("POST", &path, &form).await;
    assert_eq!(
        (status, &error["code"], &error["type"]),
        (402, &json!("card_declined"), &json!("card_error"))
    );
    assert_eq!(the.bench.subscription(&the.sub).await, before);
    assert_eq!(the.bench.count(), events);
    assert_eq!(the.bench.get("invoices").await["data"].as_array().unwrap().len(), 1);

    // The default is to change it all the same, and to be past due.
    let subscription = the.change(&the.big, &[("proration_behavior", "always_invoice")]).await;
    assert_eq!(
        (&subscription["status"], &subscription["latest_invoice"]["status"]),
        (&json!("past_due"), &json!("open"))
    );
}

#[tokio::test]
async fn a_change_can_wait_for_its_payment() {
    let the = changing().await;
    let path = format!("subscriptions/{}", the.sub);
    the.bench
        .post(&path, &[("default_payment_method", "pm_card_chargeCustomerFail")])
        .await;
    let wait = [
        ("proration_behavior", "always_invoice"),
        ("payment_behavior", "pending_if_incomplete"),
    ];
    let subscription = the.change(&the.big, &wait).await;
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["items"]["data"][0]["price"]["id"], the.small);
    assert_eq!(
        subscription["pending_update"]["subscription_items"][0]["price"]["id"],
        the.big
    );
    let invoice = id(&subscription["latest_invoice"]);
    the.bench
        .post(
            &format!("invoices/{invoice}/pay"),
            &[("payment_method", "pm_card_visa")],
        )
        .await;
    let subscription = the.bench.subscription(&the.sub).await;
    assert_eq!(subscription["items"]["data"][0]["price"]["id"], the.big);
    assert_eq!(subscription["pending_update"], Value::Null);

    let subscription = the.change(&the.small, &wait).await;
    assert_eq!(subscription["pending_update"], Value::Null, "a credit needs no payment");
    let subscription = the
        .change(&the.big, &[("items[0][quantity]", "9"), wait[0], wait[1]])
        .await;
    assert_ne!(subscription["pending_update"], Value::Null);
    let invoice = id(&subscription["latest_invoice"]);
    the.bench.days(1).await;
    assert_eq!(the.bench.get(&format!("invoices/{invoice}")).await["status"], "void");
    let subscription = the.bench.subscription(&the.sub).await;
    assert_eq!(subscription["pending_update"], Value::Null);
    assert_eq!(subscription["items"]["data"][0]["price"]["id"], the.small);
}

#[tokio::test]
async fn a_downgrade_now_is_credit_for_later() {
    let the = changing().await;
    the.change(&the.big, &[("proration_behavior", "always_invoice")]).await;
    the.bench.days(1).await;
    let preview = the
        .preview(
            &the.small,
            "always_invoice",
            &the.bench.stub.now().as_second().to_string(),
        )
        .await;
    let subscription = the
        .change(&the.small, &[("proration_behavior", "always_invoice")])
        .await;
    let invoice = &subscription["latest_invoice"];
    assert_eq!(
        (&invoice["status"], &invoice["amount_due"]),
        (&json!("paid"), &json!(0))
    );
    let credit = invoice["ending_balance"].as_i64().unwrap();
    assert!((-2000..-1900).contains(&credit), "{credit}");
    assert!((preview["ending_balance"].as_i64().unwrap() - credit).abs() <= 1);
    let customer = the.bench.get(&format!("customers/{}", the.customer)).await;
    assert_eq!(customer["balance"], credit);
    the.bench.days(30).await;
    let invoice = the.bench.subscription(&the.sub).await["latest_invoice"].clone();
    assert_eq!(
        (&invoice["starting_balance"], &invoice["amount_due"]),
        (&json!(credit), &json!(0))
    );
    assert_eq!(invoice["ending_balance"], credit + 1000);
}

#[tokio::test]
async fn another_interval_begins_a_new_period() {
    let the = changing().await;
    the.bench.days(10).await;
    let subscription = the
        .change(&the.yearly, &[("proration_behavior", "always_invoice")])
        .await;
    let (start, end) = period(&subscription);
    assert!((the.bench.stub.now().as_second() - start).abs() < 5 && end - start >= 365 * DAY);
    assert_eq!(subscription["billing_cycle_anchor"], start);
    let due = subscription["latest_invoice"]["amount_due"].as_i64().unwrap();
    assert!((9300..9400).contains(&due), "a year less the rest of the month: {due}");
    the.bench.days(366).await;
    assert_eq!(
        the.bench.subscription(&the.sub).await["latest_invoice"]["amount_due"],
        10000
    );
}

#[tokio::test]
async fn proportions_wait_for_the_next_invoice_or_are_not_made() {
    let the = changing().await;
    the.bench.days(10).await;
    let first = the.bench.subscription(&the.sub).await["latest_invoice"].clone();
    let subscription = the.change(&the.big, &[("proration_behavior", "none")]).await;
    assert_eq!(id(&subscription["latest_invoice"]), id(&first));
    let subscription = the.change(&the.small, &[]).await;
    assert_eq!(id(&subscription["latest_invoice"]), id(&first));
    let now = the.bench.stub.now().as_second().to_string();
    let upcoming = the.preview(&the.small, "create_prorations", &now).await;
    the.bench.days(25).await;
    let invoice = the.bench.subscription(&the.sub).await["latest_invoice"].clone();
    assert_eq!(invoice["lines"]["data"].as_array().unwrap().len(), 3);
    assert_eq!(invoice["total"], upcoming["total"]);
    let total = invoice["total"].as_i64().unwrap();
    assert!((-400..0).contains(&total), "1000 less two thirds of 2000: {total}");
}

#[tokio::test]
async fn quantities_items_and_ends_are_settled() {
    let the = changing().await;
    let path = format!("subscriptions/{}", the.sub);
    let seats = [
        ("items[0][id]", the.item.as_str()),
        ("items[0][quantity]", "3"),
        ("proration_behavior", "always_invoice"),
    ];
    the.bench.post(&path, &seats).await;
    let due = the.bench.subscription(&the.sub).await["latest_invoice"]["amount_due"]
        .as_i64()
        .unwrap();
    assert!((1990..=2000).contains(&due), "{due}");
    let more = [("items[0][price]", the.big.as_str()), ("proration_behavior", "none")];
    let subscription = the.bench.post(&path, &more).await;
    assert_eq!(subscription["items"]["total_count"], 2);
    let added = id(&subscription["items"]["data"][1]);
    let less = [
        ("items[0][id]", added.as_str()),
        ("items[0][deleted]", "true"),
        ("proration_behavior", "none"),
    ];
    assert_eq!(the.bench.post(&path, &less).await["items"]["total_count"], 1);
    the.bench.days(15).await;
    let ended = the.bench.delete(&format!("{path}?invoice_now=true&prorate=true")).await;
    assert_eq!(ended["status"], "canceled");
    let balance = the.bench.get(&format!("customers/{}", the.customer)).await["balance"]
        .as_i64()
        .unwrap();
    assert!((-1600..-1400).contains(&balance), "half of three seats: {balance}");
}

#[tokio::test]
async fn coupons_apply_as_long_as_they_say() {
    let the = changing().await;
    let bench = &the.bench;
    for (duration, months, totals) in [
        ("once", "", [500, 1000, 1000]),
        ("repeating", "2", [500, 500, 1000]),
        ("forever", "", [500, 500, 500]),
    ] {
        let mut form = vec![("percent_off", "50"), ("duration", duration)];
        if !months.is_empty() {
            form.push(("duration_in_months", months));
        }
        let coupon = id(&bench.post("coupons", &form).await);
        let sub = id(&bench
            .subscribe(&the.customer, &the.small, &[("discounts[0][coupon]", &coupon)])
            .await);
        for total in totals {
            let invoice = bench.subscription(&sub).await["latest_invoice"].clone();
            assert_eq!(
                (&invoice["total"], &invoice["subtotal"]),
                (&json!(total), &json!(1000)),
                "{duration}"
            );
            // Months have 28 to 31 days; the anchor keeps them apart.
            let (_, end) = period(&bench.subscription(&sub).await);
            let left = end - bench.stub.now().as_second();
            bench.stub.advance(jiff::SignedDuration::from_secs(left + 1)).await;
        }
        assert_eq!(bench.get(&format!("coupons/{coupon}")).await["times_redeemed"], 1);
    }
}

#[tokio::test]
async fn a_schedule_can_turn_a_subscription_in_the_middle_of_a_period_and_end_it() {
    let the = changing().await;
    let (start, end) = period(&the.bench.subscription(&the.sub).await);
    let (middle, last) = (start + 10 * DAY, start + 20 * DAY);
    let schedule = id(&the
        .bench
        .post("subscription_schedules", &[("from_subscription", &the.sub)])
        .await);
    let (start_text, middle_text, last_text) = (start.to_string(), middle.to_string(), last.to_string());
    let form = [
        ("end_behavior", "cancel"),
        ("phases[0][start_date]", start_text.as_str()),
        ("phases[0][end_date]", &middle_text),
        ("phases[0][items][0][price]", &the.small),
        ("phases[1][end_date]", &last_text),
        ("phases[1][items][0][price]", &the.big),
        ("phases[1][proration_behavior]", "always_invoice"),
        ("phases[1][metadata][turned]", "yes"),
    ];
    let path = format!("subscription_schedules/{schedule}");
    the.bench.post(&path, &form).await;
    the.bench.days(11).await;
    let subscription = the.bench.subscription(&the.sub).await;
    let rest = |amount: i64| (2 * amount * (end - middle) + (end - start)) / (2 * (end - start));
    assert_eq!(subscription["latest_invoice"]["amount_paid"], rest(3000) - rest(1000));
    assert_eq!(
        (&subscription["metadata"]["turned"], period(&subscription)),
        (&json!("yes"), (start, end))
    );
    assert_eq!(the.bench.get(&path).await["current_phase"]["start_date"], middle);
    the.bench.days(10).await;
    let subscription = the.bench.subscription(&the.sub).await;
    assert_eq!(
        (&subscription["status"], &subscription["ended_at"]),
        (&json!("canceled"), &json!(last))
    );
    assert_eq!(the.bench.get(&path).await["status"], "completed");
}

#[tokio::test]
async fn a_subscription_keeps_its_currency() {
    let the = changing().await;
    let form = [
        ("currency", "eur"),
        ("unit_amount", "500"),
        ("recurring[interval]", "month"),
        ("product_data[name]", "X"),
    ];
    let euros = id(&the.bench.post("prices", &form).await);
    let form = [("items[0][id]", the.item.as_str()), ("items[0][price]", &euros)];
    let (status, _) = the
        .bench
        .refused("POST", &format!("subscriptions/{}", the.sub), &form)
        .await;
    assert_eq!(status, 400);
}
