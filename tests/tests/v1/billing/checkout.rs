//! `POST /v1/billing/checkout`, and the stub's page behind it.

use anteroom_tests::{FRONTEND, Setup, TestApp, User, logs, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    sells_a_plan,
    can_be_paid_by_whoever_holds_its_address,
    has_its_effect_once_however_often_it_is_paid,
    sends_buyers_to_pages_of_the_product_only,
    refuses_what_is_not_for_sale,
    refuses_what_is_held_already,
    takes_a_coupon_that_is_there,
    sells_at_the_price_that_is_offered_now,
    happens_once_under_an_idempotency_key,
    needs_a_session,
    sells_nothing_without_a_payment_provider,
    has_no_page_for_an_unknown_or_altered_checkout,
    is_where_the_public_url_says_whatever_the_request_says,
];

async fn open(app: &TestApp, user: &User, ask: Value) -> String {
    let answer = app
        .post("/v1/billing/checkout")
        .by(user)
        .json(&ask)
        .expect(201)
        .events(&["subscription.checkout.opened"])
        .await
        .json();
    let (id, url) = (answer["id"].as_str().unwrap(), answer["url"].as_str().unwrap());
    let path = url.strip_prefix(app.url()).expect("the page is one of Anteroom's own");
    assert_eq!(path, format!("/stripe-stub/checkout/{id}"));
    path.to_owned()
}

async fn held(app: &TestApp, user: &User) -> (String, String, bool) {
    let held = app.get("/v1/me/subscription").by(user).await.is(200).json();
    let text = |key: &str| held[key].as_str().unwrap().to_owned();
    (text("plan"), text("status"), held["active"].as_bool().unwrap())
}

async fn sells_a_plan(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let success = format!("{FRONTEND}/thanks?plan=pro");
    let page = open(
        &app,
        &user,
        json!({ "plan": "pro", "success_url": success, "cancel_url": FRONTEND }),
    )
    .await;
    assert!(!held(&app, &user).await.2, "nothing is held before it is paid");

    let html = app.get(&page).expect(200).await;
    assert_eq!(html.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    let csp = html.header("content-security-policy").unwrap();
    assert!(
        csp.contains(&format!("form-action 'self' {FRONTEND}")) && csp.contains("default-src 'none'"),
        "{csp}"
    );
    let text = html.text();
    assert!(text.contains("19.00 USD") && text.contains("stripe-stub"), "{text}");
    // The first form has no fields, so that whatever posts to the page pays.
    let (first, _) = text.split_once("</form>").unwrap();
    assert!(
        first.contains("<form method=\"post\">") && !first.contains("<input"),
        "{text}"
    );
    assert!(!text.contains("<script"));
    assert!(!held(&app, &user).await.2, "looking at it buys nothing");

    let paid = app.post(&page).expect(303).events(&["stripe_stub.paid"]).await;
    assert_eq!(paid.header("location").as_deref(), Some(success.as_str()));
    assert_eq!(held(&app, &user).await, ("pro".into(), "active".into(), true));
    // The stub's events came over HTTP: in requests of their own, with a line each.
    let changed = logs::about("subscription.changed", &user.id);
    assert_eq!(changed.len(), 1);
    let webhook = logs::request_line(changed[0].request_id.as_deref().unwrap()).unwrap();
    assert_eq!(webhook.fields["route"], "/v1/billing/webhooks/{provider}");
    let session = app.get("/v1/auth/session").by(&user).await.json();
    assert_eq!(session["subscription"]["plan"], "pro");
}

async fn can_be_paid_by_whoever_holds_its_address(setup: &Setup) {
    let app = setup.app().await;
    let (user, other) = (app.user().await, app.user().await);
    let page = open(&app, &user, json!({ "plan": "business" })).await;
    // Without naming a page, buyers end at the frontend.
    let paid = app.post(&page).by(&other).header("origin", app.url());
    let paid = paid.expect(303).events(&["stripe_stub.paid"]).await;
    assert_eq!(paid.header("location"), Some(format!("{FRONTEND}/?checkout=success")));
    assert_eq!(held(&app, &user).await.0, "business");
    assert_eq!(held(&app, &other).await.0, "free");
    // A page of another site cannot press the button in its visitors' name.
    let page = open(&app, &other, json!({ "plan": "pro" })).await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", FRONTEND),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        app.post(&page).header(name, value).await.is(403);
    }
    assert_eq!(held(&app, &other).await.0, "free");
}

async fn has_its_effect_once_however_often_it_is_paid(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let page = open(&app, &user, json!({ "plan": "pro" })).await;
    let paid = join_all((0..8).map(|_| app.post(&page).into_future())).await;
    assert!(paid.iter().all(|a| a.status == 303), "{paid:?}");
    app.post(&page).await.is(303);
    let bought = app.stub().events();
    let made = bought
        .iter()
        .filter(|event| event["type"] == "customer.subscription.created");
    assert_eq!(made.count(), 1);
    assert_eq!(held(&app, &user).await, ("pro".into(), "active".into(), true));
}

async fn sends_buyers_to_pages_of_the_product_only(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let host = FRONTEND.strip_prefix("https://").unwrap();
    for foreign in [
        "https://evil.example/".to_owned(),
        format!("https://{host}.evil.example/"),
        format!("https://{host}@evil.example/"),
        format!("https://x@{host}/"),
        format!("http://{host}/"),
        format!("https://{host}:8443/"),
        format!("//{host}/"),
        "/relative".to_owned(),
        "javascript:alert(1)".to_owned(),
        "data:text/html,x".to_owned(),
        String::new(),
    ] {
        for member in ["success_url", "cancel_url"] {
            let pointer = format!("/{member}");
            app.post("/v1/billing/checkout")
                .by(&user)
                .json(&json!({ "plan": "pro", member: foreign }))
                .expect(422)
                .errors(&[(&pointer, "url_not_allowed")])
                .await;
        }
    }
    let own = format!("{}/docs", app.url());
    open(
        &app,
        &user,
        json!({ "plan": "pro", "success_url": own, "cancel_url": format!("{FRONTEND}/a?b#c") }),
    )
    .await;
}

async fn refuses_what_is_not_for_sale(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for (plan, code) in [
        ("none such", "unknown_plan"),
        ("", "unknown_plan"),
        ("free", "plan_not_for_sale"),
        ("enterprise", "plan_not_for_sale"),
    ] {
        app.post("/v1/billing/checkout")
            .by(&user)
            .json(&json!({ "plan": plan }))
            .expect(422)
            .errors(&[("/plan", code)])
            .await;
    }
    let ask = app
        .post("/v1/billing/checkout")
        .by(&user)
        .json(&json!({ "plan": "pro", "user_id": user.id }));
    ask.expect(422).errors(&[("/user_id", "unknown_field")]).await;
    let ask = app.post("/v1/billing/checkout").by(&user).json(&json!({}));
    ask.expect(422).errors(&[("/plan", "required")]).await;
}

async fn refuses_what_is_held_already(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let again = app
        .post("/v1/billing/checkout")
        .by(&user)
        .json(&json!({ "plan": "pro" }));
    again.expect(409).code("already_subscribed").await;
    // Nor another one beside it: a subscription is changed.
    let another = app
        .post("/v1/billing/checkout")
        .by(&user)
        .json(&json!({ "plan": "business" }));
    another.expect(409).code("already_subscribed").await;
    // Who ended theirs can buy again.
    let ask = app.post("/v1/billing/cancel").by(&user).json(&json!({ "when": "now" }));
    ask.await.is(200);
    open(&app, &user, json!({ "plan": "business" })).await;
}

async fn takes_a_coupon_that_is_there(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let coupon = [("id", "SPRING"), ("percent_off", "50"), ("duration", "once")];
    app.stripe("coupons", &coupon).await;
    let page = open(&app, &user, json!({ "plan": "pro", "coupon": "SPRING" })).await;
    let text = app.get(&page).await.is(200).text();
    assert!(text.contains("SPRING") && text.contains("9.50 USD"), "{text}");
    for coupon in ["AUTUMN", ""] {
        let ask = json!({ "plan": "pro", "coupon": coupon });
        let ask = app.post("/v1/billing/checkout").by(&user).json(&ask);
        ask.expect(422).errors(&[("/coupon", "coupon_refused")]).await;
    }
}

/// Somebody who tries plans out changes a price and starts again.
async fn sells_at_the_price_that_is_offered_now(setup: &Setup) {
    let at = |amount: u32| {
        format!(
            r#"[{{ key = "free", name = "Free", version = 1, models = "first" }},
                {{ key = "pro", name = "Pro", version = 1, models = "all", prices = [{{ amount = {amount}, currency = "usd", interval = "month" }}] }}]"#
        )
    };
    let app = setup.app_with(&[("billing.plans", &at(1900))]).await;
    let early = app.user().await;
    app.buy(&early, "pro").await;
    app.stop().await;
    let app = setup.app_with(&[("billing.plans", &at(2900))]).await;
    let late = app.user().await;
    let page = open(&app, &late, json!({ "plan": "pro" })).await;
    assert!(app.get(&page).await.is(200).text().contains("29.00 USD"));
    app.post(&page).await.is(303);
    let paid = app.get("/v1/me/subscription").by(&late).await.is(200).json();
    assert_eq!(
        (&paid["plan"], &paid["details"]["price"]["amount"]),
        (&json!("pro"), &json!(2900))
    );
}

async fn happens_once_under_an_idempotency_key(setup: &Setup) {
    let app = setup.app().await;
    let (user, other) = (app.user().await, app.user().await);
    let ask = |user: &User, key: &str, plan: &str| {
        let ask = app.post("/v1/billing/checkout").by(user).header("idempotency-key", key);
        ask.json(&json!({ "plan": plan }))
    };
    let opened = &["subscription.checkout.opened"];
    let first = ask(&user, "key-1", "pro").expect(201).events(opened).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = ask(&user, "key-1", "pro").expect(201).await;
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.body, first.body);
    ask(&user, "key-1", "business")
        .expect(409)
        .code("idempotency_key_reused")
        .await;
    // Keys are a user's own.
    let others = ask(&other, "key-1", "pro").expect(201).events(opened).await;
    assert_ne!(others.body, first.body);
    // A failure gives the key back.
    ask(&user, "key-2", "free")
        .expect(422)
        .errors(&[("/plan", "plan_not_for_sale")])
        .await;
    ask(&user, "key-2", "pro").expect(201).events(opened).await;
    for key in ["", "with space", &"x".repeat(256)] {
        ask(&user, key, "pro").expect(400).code("invalid_idempotency_key").await;
    }
    // Of parallel tries one is carried out; the others get its answer, or are told to wait for it.
    let tries = join_all((0..32).map(|_| ask(&user, "key-3", "pro").into_future())).await;
    let mut made: Vec<_> = tries
        .iter()
        .filter(|a| a.status == 201)
        .map(|a| a.body.clone())
        .collect();
    made.dedup();
    assert_eq!(made.len(), 1, "{tries:?}");
    for told in tries.iter().filter(|a| a.status != 201) {
        assert_eq!(told.told(), (409, "idempotency_key_in_use".to_owned()));
        assert!(told.header("retry-after").is_some());
    }
}

async fn needs_a_session(setup: &Setup) {
    let app = setup.app().await;
    let ask = app.post("/v1/billing/checkout").json(&json!({ "plan": "pro" }));
    ask.expect(401).code("unauthenticated").await;
}

async fn sells_nothing_without_a_payment_provider(setup: &Setup) {
    let app = setup.app_with(&[("billing.provider", "none")]).await;
    let user = app.user().await;
    let ask = app
        .post("/v1/billing/checkout")
        .by(&user)
        .json(&json!({ "plan": "pro" }));
    ask.expect(501).code("payments_not_configured").await;
    let ask = app.post("/v1/billing/webhooks/stripe-stub").json(&json!({}));
    ask.expect(404).code("not_found").await;
}

async fn has_no_page_for_an_unknown_or_altered_checkout(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let page = open(&app, &user, json!({ "plan": "pro" })).await;
    let last = if page.ends_with('A') { "B" } else { "A" };
    let altered = format!("{}{last}", &page[..page.len() - 1]);
    for path in [
        altered.as_str(),
        &page[..page.len() - 4],
        "/stripe-stub/checkout/cs_test_x",
        "/stripe-stub/checkout/%00",
    ] {
        app.get(path).await.is(404);
        app.post(path).await.is(404);
    }
    assert_eq!(held(&app, &user).await.0, "free");
}

async fn is_where_the_public_url_says_whatever_the_request_says(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for (name, value) in [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example"),
    ] {
        let ask = app.post("/v1/billing/checkout").by(&user).header(name, value);
        let answer = ask.json(&json!({ "plan": "pro" })).await.is(201).json();
        assert!(
            answer["url"].as_str().unwrap().starts_with(app.url()),
            "{name}: {answer}"
        );
    }
}
