//! What is asked of Stripe, to the letter.

use anteroom_ports::PaymentProvider as _;
use anteroom_ports::billing::{CheckoutOrder, PaymentError, PlanChange, Published, Trial, UsageReport, When};
use anteroom_stripe::{API_VERSION, Stripe, StripeOptions};
use serde_json::{Value, json};

use crate::server::{Server, answer};
use crate::{options, owner, sale, stripe};

const OWNER_ID: &str = "00000000-0000-0000-0000-000000000007";

fn price(id: &str, plan: &str, amount: i64) -> Value {
    json!({
        "id": id, "object": "price", "active": true, "currency": "usd", "unit_amount": amount,
        "lookup_key": format!("anteroom_{plan}_v1_month_usd"),
        "metadata": {"anteroom_plan": plan, "anteroom_plan_version": "1"},
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
    })
}

fn prices(found: &[Value]) -> Value {
    json!({"object": "list", "data": found, "has_more": false})
}

fn subscription(status: &str, schedule: &Value) -> Value {
    json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status, "created": 900,
        "schedule": schedule,
        "items": {"object": "list", "data": [{
            "id": "si_1", "quantity": 1, "current_period_start": 1000, "current_period_end": 2000,
            "price": price("price_pro", "pro", 1900),
        }]},
    })
}

fn schedule(phases: &Value) -> Value {
    json!({
        "id": "sub_sched_1", "object": "subscription_schedule",
        "current_phase": {"start_date": 1000, "end_date": 2000}, "phases": phases,
    })
}

fn current() -> Value {
    json!({"start_date": 1000, "end_date": 2000, "items": [{"price": "price_pro", "quantity": 1}]})
}

fn then(price: &str) -> Value {
    json!({"start_date": 2000, "end_date": 3000, "items": [{"price": price, "quantity": 1}]})
}

fn order() -> CheckoutOrder {
    CheckoutOrder {
        owner: owner(),
        customer: "cus_1".into(),
        sale: sale("pro", 1900),
        quantity: 2,
        trial: None,
        coupon: None,
        success_url: "https://app.example/done?s={CHECKOUT_SESSION_ID}".into(),
        cancel_url: "https://app.example/".into(),
    }
}

fn to_basic(when: When) -> PlanChange {
    PlanChange {
        sale: sale("basic", 900),
        quantity: 1,
        when,
    }
}

#[tokio::test]
async fn every_request_says_who_asks_and_in_which_version() {
    let server = Server::start([answer(200, &json!({"id": "cus_1", "object": "customer"}))]).await;
    let id = stripe(&server.base)
        .create_customer(owner(), "a+b@c.example", "k")
        .await
        .unwrap();
    assert_eq!(id, "cus_1");
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/customers");
    assert_eq!(asked.header("stripe-version"), Some(API_VERSION));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert!(asked.header("user-agent").unwrap().starts_with("anteroom/"));
    assert_eq!(asked.value("email"), Some("a+b@c.example"));
    assert_eq!(asked.value("metadata[anteroom_owner_kind]"), Some("account"));
    assert_eq!(asked.value("metadata[anteroom_owner_id]"), Some(OWNER_ID));
}

#[tokio::test]
async fn a_checkout_has_its_price_its_owner_and_its_trial() {
    let session = json!({"id": "cs_1", "object": "checkout.session", "url": "https://checkout.example/cs_1"});
    let found = answer(200, &prices(&[price("price_pro", "pro", 1900)]));
    let server = Server::start([found, answer(200, &session), answer(200, &session)]).await;
    let stripe = stripe(&server.base);
    let checkout = stripe.checkout(&order(), "k1").await.unwrap();
    assert_eq!(
        (checkout.id.as_str(), checkout.url.as_str()),
        ("cs_1", "https://checkout.example/cs_1")
    );
    let trial = Some(Trial {
        days: 14,
        card_required: false,
    });
    let coupon = Some("TEN".to_owned());
    let tried = CheckoutOrder {
        trial,
        coupon,
        ..order()
    };
    stripe.checkout(&tried, "k2").await.unwrap();

    let asked = server.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let post = "POST /v1/checkout/sessions";
    assert_eq!(lines, ["GET /v1/prices", post, post], "a price is looked up once");
    assert_eq!(asked[0].value("lookup_keys[0]"), Some("anteroom_pro_v1_month_usd"));
    assert_eq!(asked[1].header("idempotency-key"), Some("k1"));
    for (name, value) in [
        ("mode", "subscription"),
        ("customer", "cus_1"),
        ("client_reference_id", &format!("account:{OWNER_ID}")),
        ("line_items[0][price]", "price_pro"),
        ("line_items[0][quantity]", "2"),
        ("success_url", "https://app.example/done?s={CHECKOUT_SESSION_ID}"),
        ("cancel_url", "https://app.example/"),
        ("metadata[anteroom_owner_kind]", "account"),
        ("metadata[anteroom_owner_id]", OWNER_ID),
        ("subscription_data[metadata][anteroom_owner_kind]", "account"),
        ("subscription_data[metadata][anteroom_owner_id]", OWNER_ID),
        ("allow_promotion_codes", "true"),
    ] {
        assert_eq!(asked[1].value(name), Some(value), "{name}");
    }
    assert_eq!(asked[1].form.len(), 12);
    for (name, value) in [
        ("discounts[0][coupon]", "TEN"),
        ("subscription_data[trial_period_days]", "14"),
        ("payment_method_collection", "if_required"),
        (
            "subscription_data[trial_settings][end_behavior][missing_payment_method]",
            "pause",
        ),
    ] {
        assert_eq!(asked[2].value(name), Some(value), "{name}");
    }
    assert_eq!(asked[2].form.len(), 15);
}

#[tokio::test]
async fn a_missing_price_is_named_or_made_on_demand() {
    let server = Server::start([answer(200, &prices(&[]))]).await;
    let outcome = stripe(&server.base).checkout(&order(), "k").await;
    let lookup_key = "anteroom_pro_v1_month_usd".to_owned();
    assert_eq!(outcome, Err(PaymentError::UnknownPrice(lookup_key)));

    let none = answer(
        404,
        &json!({"error": {"type": "invalid_request_error", "code": "resource_missing"}}),
    );
    let session = json!({"id": "cs_1", "object": "checkout.session", "url": "https://checkout.example/cs_1"});
    let server = Server::start([
        answer(200, &prices(&[])),
        none,
        answer(200, &json!({"id": "anteroom_pro", "object": "product"})),
        answer(200, &price("price_new", "pro", 1900)),
        answer(200, &prices(&[price("price_new", "pro", 1900)])),
        answer(200, &session),
    ])
    .await;
    let on_demand = StripeOptions {
        publish_on_demand: true,
        ..options(&server.base)
    };
    Stripe::new(on_demand).unwrap().checkout(&order(), "k").await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[2].value("id"), Some("anteroom_pro"));
    for (name, value) in [
        ("product", "anteroom_pro"),
        ("currency", "usd"),
        ("unit_amount", "1900"),
        ("recurring[interval]", "month"),
        ("lookup_key", "anteroom_pro_v1_month_usd"),
        ("metadata[anteroom_plan]", "pro"),
        ("metadata[anteroom_plan_version]", "1"),
    ] {
        assert_eq!(asked[3].value(name), Some(value), "{name}");
    }
    assert_eq!(asked[5].value("line_items[0][price]"), Some("price_new"));
}

#[tokio::test]
async fn publishing_asks_for_ten_prices_at_a_time_and_changes_none() {
    let sales: Vec<_> = (0..11)
        .map(|amount| {
            let mut sale = sale("pro", 100 + amount);
            sale.version = i32::try_from(amount).unwrap();
            sale
        })
        .collect();
    let there = |version: usize, amount: i64| {
        let mut price = price("price_x", "pro", amount);
        price["lookup_key"] = json!(sales[version].lookup_key());
        price
    };
    let first = answer(200, &prices(&[there(0, 100), there(1, 999)]));
    let server = Server::start([first.clone(), answer(200, &prices(&[]))]).await;
    let published = stripe(&server.base).publish(&sales, true).await.unwrap();
    assert_eq!(published[0], Published::Unchanged);
    let Published::Differs { there: Some(stands) } = &published[1] else {
        panic!("{published:?}")
    };
    assert_eq!(stands.amount, 999);
    assert_eq!(published[2..], vec![Published::Created; 9]);
    assert_eq!(
        server.lines(),
        ["GET /v1/prices", "GET /v1/prices"],
        "a dry run only looks"
    );

    // The product has another name; the price was made by somebody else meanwhile.
    let taken = answer(
        400,
        &json!({"error": {"type": "invalid_request_error", "message": "already uses that lookup key"}}),
    );
    let server = Server::start([
        answer(200, &prices(&[])),
        answer(200, &json!({"id": "anteroom_pro", "object": "product", "name": "Old"})),
        answer(200, &json!({"id": "anteroom_pro", "object": "product", "name": "PRO"})),
        taken,
        answer(200, &prices(&[there(0, 100)])),
    ])
    .await;
    let published = stripe(&server.base).publish(&sales[..1], false).await.unwrap();
    assert_eq!(published, [Published::Unchanged]);
    let asked = server.asked();
    assert_eq!(asked[2].line, "POST /v1/products/anteroom_pro");
    assert_eq!(asked[2].value("name"), Some("PRO"));
}

#[tokio::test]
async fn a_subscription_is_read_with_what_it_turns_into() {
    let waiting = subscription("active", &schedule(&json!([current(), then("price_basic")])));
    let missing = json!({"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "id"}});
    let server = Server::start([
        answer(200, &waiting),
        answer(200, &price("price_basic", "basic", 900)),
        answer(404, &missing),
    ])
    .await;
    let stripe = stripe(&server.base);
    let read = stripe.subscription("sub_1").await.unwrap().unwrap();
    assert_eq!(
        (read.next_price.unwrap().plan, read.next_quantity),
        (Some(("basic".into(), 1)), Some(1))
    );
    assert_eq!(stripe.subscription("sub_2").await, Ok(None));
    assert_eq!(
        stripe.subscription("../prices").await,
        Ok(None),
        "is not asked for at all"
    );
    let asked = server.asked();
    assert_eq!(asked[0].value("expand[0]"), Some("latest_invoice"));
    assert_eq!(asked[1].line, "GET /v1/prices/price_basic");
}

#[tokio::test]
async fn lists_go_on_after_the_last_of_a_page() {
    let page = |more: bool| {
        answer(
            200,
            &json!({
                "object": "list", "has_more": more, "data": [subscription("canceled", &json!(null))],
            }),
        )
    };
    let server = Server::start([page(true), page(false)]).await;
    let stripe = stripe(&server.base);
    let first = stripe.list_subscriptions(None, 500).await.unwrap();
    assert_eq!((first.items.len(), first.next.as_deref()), (1, Some("sub_1")));
    assert_eq!(stripe.list_subscriptions(Some("sub_1"), 0).await.unwrap().next, None);
    let asked = server.asked();
    assert_eq!(
        (asked[0].value("status"), asked[0].value("limit")),
        (Some("all"), Some("100"))
    );
    assert_eq!(asked[0].value("expand[0]"), Some("data.latest_invoice"));
    assert_eq!(
        (asked[1].value("starting_after"), asked[1].value("limit")),
        (Some("sub_1"), Some("1"))
    );
}

#[tokio::test]
async fn a_declined_change_leaves_what_was_scheduled() {
    let waiting = subscription("active", &schedule(&json!([current(), then("price_other")])));
    let declined =
        json!({"error": {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}});
    let server = Server::start([
        answer(200, &waiting),
        answer(200, &prices(&[price("price_basic", "basic", 900)])),
        answer(200, &json!({"id": "sub_sched_1", "object": "subscription_schedule"})),
        answer(402, &declined),
        answer(200, &price("price_other", "other", 900)),
        answer(200, &schedule(&json!([current()]))),
        answer(200, &schedule(&json!([current(), then("price_other")]))),
    ])
    .await;
    let outcome = stripe(&server.base)
        .change_plan("sub_1", &to_basic(When::Now), "k")
        .await;
    assert!(matches!(outcome, Err(PaymentError::Declined { .. })), "{outcome:?}");
    let asked = server.asked();
    let done: Vec<_> = asked
        .iter()
        .map(|asked| (asked.line.as_str(), asked.header("idempotency-key")))
        .collect();
    assert_eq!(
        done,
        [
            ("GET /v1/subscriptions/sub_1", None),
            ("GET /v1/prices", None),
            ("POST /v1/subscription_schedules/sub_sched_1/release", Some("k/release")),
            ("POST /v1/subscriptions/sub_1", Some("k/update")),
            ("GET /v1/prices/price_other", None),
            ("POST /v1/subscription_schedules", Some("k/restore")),
            ("POST /v1/subscription_schedules/sub_sched_1", Some("k/restore/phases")),
        ]
    );
    for (name, value) in [
        ("items[0][id]", "si_1"),
        ("items[0][price]", "price_basic"),
        ("items[0][quantity]", "1"),
        ("proration_behavior", "always_invoice"),
        ("payment_behavior", "error_if_incomplete"),
    ] {
        assert_eq!(asked[3].value(name), Some(value), "{name}");
    }
    assert_eq!(asked[6].value("phases[1][items][0][price]"), Some("price_other"));
}

#[tokio::test]
async fn a_change_that_may_have_been_made_is_not_undone() {
    let waiting = subscription("active", &schedule(&json!([current(), then("price_other")])));
    let down = answer(500, &json!({"error": {"type": "api_error", "message": "x"}}));
    let server = Server::start([
        answer(200, &waiting),
        answer(200, &prices(&[price("price_basic", "basic", 900)])),
        answer(200, &json!({"id": "sub_sched_1", "object": "subscription_schedule"})),
        down.clone(),
        down.clone(),
        down,
    ])
    .await;
    let outcome = stripe(&server.base)
        .change_plan("sub_1", &to_basic(When::Now), "k")
        .await;
    assert!(matches!(outcome, Err(PaymentError::Unavailable(_))), "{outcome:?}");
    assert_eq!(server.asked().len(), 6, "no schedule is made again");
}

#[tokio::test]
async fn a_change_at_the_periods_end_takes_back_an_end_and_goes_through_a_schedule() {
    let mut ending = subscription("active", &json!(null));
    ending["cancel_at_period_end"] = json!(true);
    let after = subscription("active", &schedule(&json!([current(), then("price_basic")])));
    let server = Server::start([
        answer(200, &ending),
        answer(200, &prices(&[price("price_basic", "basic", 900)])),
        answer(200, &subscription("active", &json!(null))),
        answer(200, &schedule(&json!([current()]))),
        answer(200, &schedule(&json!([current(), then("price_basic")]))),
        answer(200, &after),
        answer(200, &price("price_basic", "basic", 900)),
        // The same again has nothing left to do.
        answer(200, &after),
    ])
    .await;
    let stripe = stripe(&server.base);
    let changed = stripe
        .change_plan("sub_1", &to_basic(When::PeriodEnd), "k")
        .await
        .unwrap();
    assert_eq!(changed.next_price.unwrap().id, "price_basic");
    stripe
        .change_plan("sub_1", &to_basic(When::PeriodEnd), "k")
        .await
        .unwrap();
    let asked = server.asked();
    assert_eq!(asked[2].value("cancel_at_period_end"), Some("false"));
    assert_eq!(asked[3].value("from_subscription"), Some("sub_1"));
    assert_eq!(asked[4].value("phases[0][end_date]"), Some("2000"));
    assert_eq!(asked[4].value("phases[1][duration][interval]"), Some("month"));
}

#[tokio::test]
async fn ends_come_once_and_can_be_taken_back() {
    let gone = answer(
        404,
        &json!({"error": {"type": "invalid_request_error", "code": "resource_missing"}}),
    );
    let over = answer(200, &subscription("canceled", &json!(null)));
    let server = Server::start([
        over.clone(),
        gone.clone(),
        over.clone(),
        over.clone(),
        gone.clone(),
        gone,
        over,
    ])
    .await;
    let stripe = stripe(&server.base);
    stripe.cancel("sub_1", When::Now, "k1").await.unwrap();
    stripe.cancel("sub_1", When::Now, "k2").await.unwrap();
    stripe.cancel("sub_1", When::PeriodEnd, "k3").await.unwrap();
    assert_eq!(
        stripe.cancel("sub_9", When::Now, "k4").await,
        Err(PaymentError::NotFound("subscription"))
    );
    assert!(matches!(
        stripe.resume("sub_1", "k5").await,
        Err(PaymentError::Refused { .. })
    ));
    assert_eq!(server.asked()[0].line, "DELETE /v1/subscriptions/sub_1");

    let mut ending = subscription("active", &json!(null));
    ending["cancel_at"] = json!(2000);
    let server = Server::start([
        answer(200, &ending),
        answer(200, &ending),
        answer(200, &subscription("active", &json!(null))),
    ])
    .await;
    let stripe = crate::stripe(&server.base);
    stripe.cancel("sub_1", When::PeriodEnd, "k6").await.unwrap();
    let resumed = stripe.resume("sub_1", "k").await.unwrap();
    assert!(!resumed.cancel_at_period_end && resumed.cancel_at.is_none());
    assert_eq!(server.asked()[2].value("cancel_at"), Some(""));
}

#[tokio::test]
async fn what_is_paused_begins_anew_if_it_can_be_paid() {
    let paused = |card: &Value, invoice: &Value| {
        let mut object = subscription("paused", &json!(null));
        object["default_payment_method"] = card.clone();
        object["latest_invoice"] = invoice.clone();
        answer(200, &object)
    };
    let card = json!({"id": "pm_1", "type": "card"});
    let of_trial = json!({"id": "in_1", "status": "paid"});
    let (none, given) = (paused(&json!(null), &of_trial), paused(&card, &of_trial));
    let waits = paused(&card, &json!({"id": "in_2", "status": "open"}));
    let active = answer(200, &subscription("active", &json!(null)));
    let declined = answer(
        402,
        &json!({"error": {"type": "card_error", "code": "card_declined", "message": "No."}}),
    );
    let mut script = vec![none.clone(), none];
    // It stays paused; then its invoice is open, and is refused and paid.
    script.extend([given.clone(), given.clone(), waits.clone(), waits.clone()]);
    script.extend([waits.clone(), waits.clone(), declined, waits.clone()]);
    script.extend([
        waits.clone(),
        waits,
        answer(200, &json!({"id": "in_2"})),
        active.clone(),
    ]);
    // Somebody else was faster.
    let late = answer(
        400,
        &json!({"error": {"type": "invalid_request_error", "message": "not paused"}}),
    );
    script.extend([given.clone(), given, late, active]);
    let server = Server::start(script).await;
    let stripe = stripe(&server.base);
    for (key, code) in [
        ("k1", "no_payment_method"),
        ("k2", "payment_failed"),
        ("k3", "card_declined"),
    ] {
        let refused = stripe.resume("sub_1", key).await;
        let Err(PaymentError::Declined { code: told, .. }) = &refused else {
            panic!("{key}: {refused:?}");
        };
        assert_eq!(told, code);
    }
    for key in ["k4", "k5"] {
        let resumed = stripe.resume("sub_1", key).await.unwrap();
        assert_eq!(resumed.status.as_str(), "active");
    }
    let asked = server.asked();
    let done: Vec<_> = asked
        .iter()
        .filter_map(|asked| Some((asked.line.as_str(), asked.header("idempotency-key")?)))
        .collect();
    let (resume, pay) = ("POST /v1/subscriptions/sub_1/resume", "POST /v1/invoices/in_2/pay");
    assert_eq!(
        done,
        [
            (resume, "k2/anew"),
            (pay, "k3/pay"),
            (pay, "k4/pay"),
            (resume, "k5/anew")
        ]
    );
    assert_eq!(asked[4].value("billing_cycle_anchor"), Some("now"));
    assert_eq!(asked[4].value("payment_behavior"), Some("resume_on_payment_success"));
}

#[tokio::test]
async fn usage_that_is_known_already_is_reported() {
    let known = |error: Value| answer(400, &json!({ "error": error }));
    let words = "An event already exists with identifier u1.";
    let server = Server::start([
        answer(200, &json!({"object": "billing.meter_event", "identifier": "u1"})),
        known(json!({"type": "invalid_request_error", "message": words})),
        known(json!({"type": "invalid_request_error", "code": "duplicate_meter_event", "message": "x"})),
        known(json!({"type": "invalid_request_error", "message": "no such meter"})),
    ])
    .await;
    let stripe = stripe(&server.base);
    let report = UsageReport {
        id: "u1".into(),
        customer: "cus_1".into(),
        key: "tokens".into(),
        value: 1200,
        at: "2026-11-20T09:16:00Z".parse().unwrap(),
    };
    for _ in 0..3 {
        stripe.report_usage(&report).await.unwrap();
    }
    assert!(matches!(
        stripe.report_usage(&report).await,
        Err(PaymentError::Refused { .. })
    ));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/billing/meter_events");
    for (name, value) in [
        ("event_name", "anteroom_tokens"),
        ("identifier", "u1"),
        ("timestamp", "1795166160"),
        ("payload[stripe_customer_id]", "cus_1"),
        ("payload[value]", "1200"),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
}
