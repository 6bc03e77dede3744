//! What all of the API has in common.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::bench::{Bench, KEY, id, send};

#[tokio::test]
async fn sixty_four_at_once_with_one_key_are_one() {
    let bench = Bench::start();
    let form = [("email", "ada@example.com")];
    let asked = (0..64).map(|_| send(&bench.client, &bench.base, "POST", "customers", &form, Some("one")));
    let mut ids = std::collections::BTreeSet::new();
    let mut replayed = 0;
    for answer in join_all(asked).await {
        assert_eq!(answer.status(), 200);
        replayed += usize::from(answer.headers().contains_key("idempotent-replayed"));
        ids.insert(id(&answer.json().await.unwrap()));
    }
    assert_eq!((ids.len(), replayed, bench.count()), (1, 63, 1));
    let other = [("email", "bob@example.com")];
    let answer = send(&bench.client, &bench.base, "POST", "customers", &other, Some("one")).await;
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["type"], "idempotency_error");
    bench.days(2).await;
    let answer = send(&bench.client, &bench.base, "POST", "customers", &other, Some("one")).await;
    assert_eq!(answer.status(), 200, "keys are forgotten after a day");
}

#[tokio::test]
async fn refusals_are_kept_for_their_key_unless_the_form_was_wrong() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_chargeCustomerFail")).await;
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", &price),
        ("payment_behavior", "error_if_incomplete"),
    ];
    for replayed in [false, true] {
        let answer = send(&bench.client, &bench.base, "POST", "subscriptions", &form, Some("k")).await;
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.headers().contains_key("idempotent-replayed")
            ),
            (402, replayed)
        );
    }
    let wrong = [("email", "a@b.example"), ("nonsense", "1")];
    let answer = send(&bench.client, &bench.base, "POST", "customers", &wrong, Some("form")).await;
    assert_eq!(answer.status(), 400);
    let answer = send(
        &bench.client,
        &bench.base,
        "POST",
        "customers",
        &wrong[..1],
        Some("form"),
    )
    .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn only_the_key_opens() {
    let bench = Bench::start();
    let url = format!("{}/v1/customers", bench.base);
    let ask = async |name: &str, value: String| bench.client.get(&url).header(name, value).send().await.unwrap();
    assert_eq!(ask("authorization", format!("Bearer {KEY}")).await.status(), 200);
    let basic = bench.client.get(&url).basic_auth(KEY, Some("")).send().await.unwrap();
    assert_eq!(basic.status(), 200);
    let long = format!("Bearer {KEY}x");
    for wrong in [
        "Bearer sk_test_other",
        "Bearer rk_test_stub",
        "Bearer ",
        "nothing",
        long.as_str(),
    ] {
        assert_eq!(ask("authorization", wrong.to_owned()).await.status(), 401, "{wrong}");
    }
    assert_eq!(ask("x-nothing", "1".into()).await.status(), 401);
    let live = ask("authorization", "Bearer sk_live_123".into()).await;
    assert_eq!(live.status(), 401);
    let body: Value = live.json().await.unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("live key"));
    let clock = bench
        .client
        .get(format!("{}/_stub/clock", bench.base))
        .send()
        .await
        .unwrap();
    assert_eq!(clock.status(), 401);
}

#[tokio::test]
async fn headers_are_stripes() {
    let bench = Bench::start();
    let answer = bench
        .client
        .get(format!("{}/v1/customers", bench.base))
        .bearer_auth(KEY)
        .header("stripe-version", "2020-01-01")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["stripe-version"], "2020-01-01");
    assert!(answer.headers()["request-id"].to_str().unwrap().starts_with("req_"));
    let answer = send(&bench.client, &bench.base, "POST", "customers", &[], Some("k1")).await;
    let request = answer.headers()["request-id"].to_str().unwrap().to_owned();
    let event = bench.stub.events().pop().unwrap();
    assert_eq!(event["request"], json!({"id": request, "idempotency_key": "k1"}));
    assert_eq!(event["api_version"], anteroom_stripe_stub::API_VERSION);
}

type Form<'a> = &'a [(&'a str, &'a str)];

/// What is asked, and what is answered: status, code, parameter.
async fn refuses(bench: &Bench, asked: (&str, &str, Form<'_>), expected: (u16, &str, &str)) {
    let (method, path, form) = asked;
    let (status, error) = bench.refused(method, path, form).await;
    let word = |key: &str| error[key].as_str().unwrap_or_default();
    assert_eq!(
        (status, word("code"), word("param")),
        expected,
        "{method} {path}: {error}"
    );
    assert!(error["type"].is_string() && error["message"].is_string());
}

#[tokio::test]
async fn what_is_wrong_is_said_as_stripe_says_it() {
    let bench = Bench::start();
    let customer = bench.customer(None).await;
    let price = bench.price("100", "month").await;
    let lookup = [
        ("currency", "usd"),
        ("unit_amount", "1"),
        ("product_data[name]", "X"),
        ("lookup_key", "k"),
    ];
    bench.post("prices", &lookup).await;
    let missing = |param| (400, "parameter_missing", param);
    let unknown = |param| (400, "parameter_unknown", param);
    let gone = |param| (404, "resource_missing", param);

    refuses(&bench, ("GET", "customers/cus_no", &[]), gone("id")).await;
    refuses(&bench, ("GET", "nothing", &[]), (404, "", "")).await;
    refuses(&bench, ("GET", "customers/a/b/c", &[]), (404, "", "")).await;
    refuses(&bench, ("POST", "products", &[]), missing("name")).await;
    refuses(&bench, ("POST", "customers", &[("emial", "x")]), unknown("emial")).await;
    let deep = [("invoice_settings[x]", "x")];
    refuses(&bench, ("POST", "customers", &deep), unknown("invoice_settings[x]")).await;
    refuses(
        &bench,
        ("GET", "customers?limit=101", &[]),
        (400, "parameter_invalid_integer", "limit"),
    )
    .await;
    refuses(
        &bench,
        ("GET", "customers?starting_after=cus_no", &[]),
        gone("starting_after"),
    )
    .await;
    refuses(
        &bench,
        ("GET", "customers?expand[]=data.nothing", &[]),
        (400, "", "expand"),
    )
    .await;
    refuses(
        &bench,
        ("POST", "prices", &lookup),
        (400, "resource_already_exists", "lookup_key"),
    )
    .await;
    let mut form = vec![("customer", customer.as_str())];
    refuses(&bench, ("POST", "subscriptions", &form), missing("items")).await;
    let attach = "payment_methods/pm_card_chargeDeclined/attach";
    refuses(&bench, ("POST", attach, &form), (402, "card_declined", "")).await;
    form.push(("items[0][price]", "price_no"));
    refuses(&bench, ("POST", "subscriptions", &form), gone("items[0][price]")).await;
    let form = [
        ("mode", "subscription"),
        ("line_items[0][price]", price.as_str()),
        ("line_items[0][quantity]", "1"),
        ("success_url", "nowhere"),
    ];
    refuses(
        &bench,
        ("POST", "checkout/sessions", &form),
        (400, "url_invalid", "success_url"),
    )
    .await;
}

#[tokio::test]
async fn lists_go_page_by_page_in_both_directions() {
    let bench = Bench::start();
    for number in 0..25 {
        bench.post("customers", &[("name", &number.to_string())]).await;
    }
    let names = |page: &Value| -> Vec<i64> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    let first = bench.get("customers?limit=10").await;
    assert_eq!(
        (names(&first), &first["has_more"], &first["url"]),
        ((15..25).rev().collect(), &json!(true), &json!("/v1/customers"))
    );
    let second = bench
        .get(&format!("customers?limit=10&starting_after={}", id(&first["data"][9])))
        .await;
    assert_eq!(
        (names(&second), &second["has_more"]),
        ((5..15).rev().collect(), &json!(true))
    );
    let third = bench
        .get(&format!("customers?limit=10&starting_after={}", id(&second["data"][9])))
        .await;
    assert_eq!(
        (names(&third), &third["has_more"]),
        ((0..5).rev().collect(), &json!(false))
    );
    let back = bench
        .get(&format!("customers?limit=10&ending_before={}", id(&third["data"][0])))
        .await;
    assert_eq!(
        (names(&back), &back["has_more"]),
        ((5..15).rev().collect(), &json!(true))
    );
    // Where a page ended was deleted meanwhile: it is gone from the list, and still a place to go on from.
    let last = id(&second["data"][9]);
    bench.delete(&format!("customers/{last}")).await;
    let third = bench.get(&format!("customers?limit=10&starting_after={last}")).await;
    assert_eq!(names(&third), (0..5).rev().collect::<Vec<_>>());
    let later = bench.get("customers?created[gt]=4000000000").await;
    assert_eq!(later["data"], json!([]));
}

#[tokio::test]
async fn identifiers_are_expanded_where_it_is_asked_for() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let sub = id(&bench.subscribe(&customer, &price, &[]).await);
    let query = "expand[]=customer.invoice_settings.default_payment_method&expand[]=latest_invoice&expand[]=schedule\
                 &expand[]=items.data.price.product&expand[]=default_payment_method&expand[]=latest_invoice.confirmation_secret";
    let subscription = bench.get(&format!("subscriptions/{sub}?{query}")).await;
    let card = &subscription["customer"]["invoice_settings"]["default_payment_method"]["card"];
    assert_eq!(card["fingerprint"], "Xt5EWLLDS7FJjR1c");
    assert_eq!(subscription["latest_invoice"]["object"], "invoice");
    assert_eq!(subscription["items"]["data"][0]["price"]["product"]["name"], "Plan");
    assert_eq!(subscription["schedule"], Value::Null);
    let list = bench
        .get("subscriptions?expand[]=data.customer&expand[]=data.latest_invoice")
        .await;
    assert_eq!(list["data"][0]["customer"]["id"], customer.as_str());
    // A price is shown as it is now, wherever it stands.
    bench
        .post(
            &format!("prices/{price}"),
            &[("metadata[plan]", "pro"), ("lookup_key", "pro")],
        )
        .await;
    let subscription = bench.get(&format!("subscriptions/{sub}")).await;
    assert_eq!(subscription["items"]["data"][0]["price"]["metadata"]["plan"], "pro");
    assert!(!subscription.to_string().contains("_stub"));
}

#[tokio::test]
async fn lookup_keys_find_prices_and_can_move() {
    let bench = Bench::start();
    let one = bench.price("1000", "month").await;
    bench.post(&format!("prices/{one}"), &[("lookup_key", "pro")]).await;
    let found = bench
        .get("prices?lookup_keys[]=pro&lookup_keys[]=other&active=true&expand[]=data.product")
        .await;
    assert_eq!(
        (
            found["data"].as_array().unwrap().len(),
            &found["data"][0]["product"]["name"]
        ),
        (1, &json!("Plan"))
    );
    let form = [
        ("currency", "USD"),
        ("unit_amount", "2000"),
        ("recurring[interval]", "month"),
        ("product_data[name]", "X"),
        ("lookup_key", "pro"),
        ("transfer_lookup_key", "true"),
    ];
    let two = bench.post("prices", &form).await;
    assert_eq!((&two["currency"], &two["lookup_key"]), (&json!("usd"), &json!("pro")));
    assert_eq!(bench.get(&format!("prices/{one}")).await["lookup_key"], Value::Null);
    let keys = (0..11)
        .map(|n| format!("lookup_keys[]=k{n}"))
        .collect::<Vec<_>>()
        .join("&");
    let (status, _) = bench.refused("GET", &format!("prices?{keys}"), &[]).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn customers_and_their_cards_go() {
    let bench = Bench::start();
    let price = bench.price("1000", "month").await;
    let customer = bench.customer(Some("pm_card_visa")).await;
    let sub = id(&bench.subscribe(&customer, &price, &[]).await);
    let cards = bench.get(&format!("customers/{customer}/payment_methods")).await;
    assert_eq!(cards["data"].as_array().unwrap().len(), 1);
    bench
        .post(&format!("payment_methods/{}/detach", id(&cards["data"][0])), &[])
        .await;
    let owner = bench.get(&format!("customers/{customer}")).await;
    assert_eq!(owner["invoice_settings"]["default_payment_method"], Value::Null);
    let before = bench.count();
    bench.delete(&format!("customers/{customer}")).await;
    assert_eq!(
        bench.kinds_from(before),
        ["customer.subscription.deleted", "customer.deleted"]
    );
    assert_eq!(bench.get(&format!("customers/{customer}")).await["deleted"], true);
    assert_eq!(bench.subscription(&sub).await["status"], "canceled");
    assert_eq!(bench.get("customers?email=ada@example.com").await["data"], json!([]));
    let (status, _) = bench
        .refused("POST", &format!("customers/{customer}"), &[("name", "x")])
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn test_clocks_move_the_one_clock() {
    let bench = Bench::start();
    let start = bench.stub.now().as_second();
    let clock = bench
        .post(
            "test_helpers/test_clocks",
            &[("frozen_time", &start.to_string()), ("name", "n")],
        )
        .await;
    let path = format!("test_helpers/test_clocks/{}", id(&clock));
    let customer = bench
        .post(
            "customers",
            &[
                ("test_clock", &id(&clock)),
                ("payment_method", "pm_card_visa"),
                ("invoice_settings[default_payment_method]", "pm_card_visa"),
            ],
        )
        .await;
    let price = bench.price("1000", "month").await;
    let sub = id(&bench.subscribe(&id(&customer), &price, &[]).await);
    let later = (start + 32 * 86_400).to_string();
    let clock = bench.post(&format!("{path}/advance"), &[("frozen_time", &later)]).await;
    assert_eq!(
        (&clock["status"], clock["frozen_time"].to_string()),
        (&json!("ready"), later.clone())
    );
    assert_eq!(
        bench.subscription(&sub).await["latest_invoice"]["billing_reason"],
        "subscription_cycle"
    );
    let (status, _) = bench
        .refused("POST", &format!("{path}/advance"), &[("frozen_time", &later)])
        .await;
    assert_eq!(status, 400);
    bench.delete(&path).await;
    assert_eq!(bench.subscription(&sub).await["status"], "canceled");
}

#[tokio::test]
async fn objects_can_be_put_as_they_are() {
    let bench = Bench::start();
    bench
        .stub
        .put(json!({"id": "sub_x", "object": "subscription", "status": "active", "created": 5, "customer": "cus_x"}));
    assert_eq!(bench.get("subscriptions/sub_x").await["customer"], "cus_x");
    assert_eq!(bench.stub.object("sub_x").unwrap()["created"], 5);
    assert_eq!(bench.count(), 0);
    let put = bench
        .client
        .put(format!("{}/_stub/objects", bench.base))
        .bearer_auth(KEY)
        .json(&json!({"id": "sub_x", "object": "subscription", "status": "odd"}))
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(bench.get("subscriptions/sub_x").await["status"], "odd");
    let reset = bench
        .client
        .post(format!("{}/_stub/reset", bench.base))
        .bearer_auth(KEY)
        .send()
        .await
        .unwrap();
    assert_eq!(reset.status(), 200);
    assert!(bench.stub.object("sub_x").is_none());
    assert_eq!(
        bench.get("webhook_endpoints").await["data"].as_array().unwrap().len(),
        1
    );
}
