//! `/v1/billing/preview`, `change`, `cancel`, `resume` and `portal`: what a subscriber does after buying.

use anteroom_tests::{FRONTEND, Setup, TestApp, User, eventually_asking, logs, on_every_store};
use jiff::SignedDuration;
use serde_json::{Value, json};

on_every_store![
    goes_up_at_once_and_pays_the_difference,
    goes_down_with_the_next_period,
    changes_its_interval,
    ends_with_the_period_and_is_taken_back,
    ends_at_once,
    shows_the_portal,
    says_what_cannot_be_done,
    says_when_a_payment_was_declined,
    begins_with_a_trial_once,
    lives_a_life,
];

/// What the subscriber holds: the plan in force and the subscription behind it.
async fn held(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me/subscription").by(user).await.is(200).json()
}

async fn post(app: &TestApp, user: &User, what: &str, ask: Value) -> Value {
    let path = format!("/v1/billing/{what}");
    app.post(&path).by(user).json(&ask).await.is(200).json()
}

/// Lets the stub's time pass, and waits until the server has heard of everything.
async fn pass(app: &TestApp, days: i64) {
    let stub = app.stub();
    stub.advance(SignedDuration::from_hours(24 * days)).await;
    stub.settled().await;
}

async fn goes_up_at_once_and_pays_the_difference(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let previewed = post(&app, &user, "preview", json!({ "plan": "business" })).await;
    assert_eq!(
        (&previewed["when"], &previewed["currency"]),
        (&json!("now"), &json!("usd")),
        "{previewed}"
    );
    // All of the period is left, but for the moments since.
    let due = previewed["amount_due"].as_i64().unwrap();
    assert!((5990..=6000).contains(&due), "{previewed}");
    assert_eq!(held(&app, &user).await["plan"], "pro", "a preview changes nothing");
    let changed = post(&app, &user, "change", json!({ "plan": "business" })).await;
    assert_eq!(
        (&changed["plan"], &changed["active"]),
        (&json!("business"), &json!(true)),
        "{changed}"
    );
    assert_eq!(
        changed["details"]["price"],
        json!({ "amount": 7900, "currency": "usd", "interval": "month" })
    );
    let paid = app
        .stub()
        .events()
        .into_iter()
        .rfind(|event| event["type"] == "invoice.paid");
    let paid = paid.unwrap()["data"]["object"]["amount_paid"].as_i64().unwrap();
    assert!(
        (due - 10..=due).contains(&paid),
        "what was previewed is what is paid: {due}, {paid}"
    );
    // What an event says later is the same.
    app.stub().settled().await;
    assert_eq!(held(&app, &user).await, changed);
}

async fn goes_down_with_the_next_period(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "business").await;
    let previewed = post(&app, &user, "preview", json!({ "plan": "pro" })).await;
    assert_eq!(previewed, json!({ "when": "period_end", "amount_due": 0, "credit": 0 }));
    let changed = post(&app, &user, "change", json!({ "plan": "pro" })).await;
    assert_eq!(
        (&changed["plan"], &changed["details"]["next_plan"]),
        (&json!("business"), &json!("pro"))
    );
    // It can be taken back, and asked for again.
    let resumed = post(&app, &user, "resume", json!({})).await;
    assert_eq!(resumed["details"]["next_plan"], json!(null), "{resumed}");
    post(&app, &user, "change", json!({ "plan": "pro" })).await;
    pass(&app, 32).await;
    let renewed = held(&app, &user).await;
    assert_eq!(
        (&renewed["plan"], &renewed["details"]["next_plan"]),
        (&json!("pro"), &json!(null)),
        "{renewed}"
    );
    assert_eq!(renewed["details"]["price"]["amount"], 1900);
}

async fn changes_its_interval(setup: &Setup) {
    let plans = r#"[
        { key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 5, window = "day" }] },
        { key = "pro", name = "Pro", version = 1, rank = 1, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }],
          prices = [{ amount = 1900, currency = "usd", interval = "month" }, { amount = 19000, currency = "usd", interval = "year" }] },
    ]"#;
    let app = setup.app_with(&[("billing.plans", plans)]).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let changed = post(&app, &user, "change", json!({ "plan": "pro", "interval": "year" })).await;
    assert_eq!(changed["details"]["price"]["interval"], "year", "{changed}");
    let back = post(&app, &user, "change", json!({ "plan": "pro", "interval": "month" })).await;
    assert_eq!(back["details"]["price"]["interval"], "year", "a year is paid: {back}");
    assert_eq!(back["details"]["next_plan"], "pro");
    let bought = app.user().await;
    let ask = json!({ "plan": "pro", "interval": "year" });
    let url = app
        .post("/v1/billing/checkout")
        .by(&bought)
        .json(&ask)
        .await
        .is(201)
        .json()["url"]
        .clone();
    app.post(url.as_str().unwrap().strip_prefix(app.url()).unwrap())
        .await
        .is(303);
    assert_eq!(held(&app, &bought).await["details"]["price"]["amount"], 19000);
    let ask = json!({ "plan": "pro", "currency": "eur" });
    let none = app.post("/v1/billing/checkout").by(&app.user().await).json(&ask);
    none.expect(422).errors(&[("/interval", "no_such_price")]).await;
}

async fn ends_with_the_period_and_is_taken_back(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let ending = post(&app, &user, "cancel", json!({})).await;
    assert_eq!(
        (&ending["plan"], &ending["reason"]),
        (&json!("pro"), &json!("cancels_at_period_end"))
    );
    assert_eq!(ending["until"], ending["details"]["current_period_end"]);
    let resumed = post(&app, &user, "resume", json!({})).await;
    assert_eq!(
        (&resumed["reason"], &resumed["details"]["ends_at"]),
        (&json!("active"), &json!(null))
    );
    post(&app, &user, "cancel", json!({ "when": "period_end" })).await;
    pass(&app, 32).await;
    let over = held(&app, &user).await;
    assert_eq!(
        (&over["plan"], &over["status"], over.get("details")),
        (&json!("free"), &json!("canceled"), None)
    );
}

async fn ends_at_once(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let over = post(&app, &user, "cancel", json!({ "when": "now" })).await;
    assert_eq!(
        (&over["plan"], &over["active"], &over["reason"]),
        (&json!("free"), &json!(false), &json!("canceled"))
    );
    let again = app.post("/v1/billing/cancel").by(&user).json(&json!({}));
    again.expect(409).code("no_subscription").await;
}

async fn shows_the_portal(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let ask = json!({ "return_url": format!("{FRONTEND}/account") });
    let opened = app.post("/v1/billing/portal").by(&user).json(&ask).expect(201);
    let url = opened.events(&["subscription.portal.opened"]).await.json()["url"].clone();
    let page = app
        .get(url.as_str().unwrap().strip_prefix(app.url()).unwrap())
        .await
        .is(200)
        .text();
    assert!(
        page.contains("19.00") && page.contains(&format!("{FRONTEND}/account")),
        "{page}"
    );
    let foreign = json!({ "return_url": "https://evil.example/" });
    let ask = app.post("/v1/billing/portal").by(&user).json(&foreign);
    ask.expect(422).errors(&[("/return_url", "url_not_allowed")]).await;
    // One's own only, and also of somebody who has bought nothing yet.
    let other = app.user().await;
    let opened = app
        .post("/v1/billing/portal")
        .by(&other)
        .json(&json!({}))
        .await
        .is(201)
        .json();
    let page = app
        .get(opened["url"].as_str().unwrap().strip_prefix(app.url()).unwrap())
        .await
        .is(200)
        .text();
    assert!(!page.contains("19.00"), "{page}");
}

async fn says_what_cannot_be_done(setup: &Setup) {
    let app = setup.app().await;
    let (user, nobody) = (app.user().await, app.user().await);
    app.buy(&user, "pro").await;
    for what in ["preview", "change"] {
        let path = format!("/v1/billing/{what}");
        let ask = |by: &User, plan: &str| app.post(&path).by(by).json(&json!({ "plan": plan }));
        ask(&nobody, "pro").expect(409).code("no_subscription").await;
        ask(&user, "pro").expect(409).code("already_subscribed").await;
        ask(&user, "free")
            .expect(422)
            .errors(&[("/plan", "plan_not_for_sale")])
            .await;
        ask(&user, "gold")
            .expect(422)
            .errors(&[("/plan", "unknown_plan")])
            .await;
        let odd = app
            .post(&path)
            .by(&user)
            .json(&json!({ "plan": "business", "when": "soon" }));
        odd.await.is(422);
        app.post(&path)
            .json(&json!({ "plan": "pro" }))
            .expect(401)
            .code("unauthenticated")
            .await;
    }
    let ask = app.post("/v1/billing/resume").by(&user);
    ask.expect(409).code("nothing_to_resume").await;
    let none = setup.app_with(&[("billing.provider", "none")]).await;
    let user = none.user().await;
    for what in ["preview", "change", "cancel", "resume", "portal"] {
        let ask = none.post(&format!("/v1/billing/{what}")).by(&user);
        let ask = if what == "resume" {
            ask
        } else {
            ask.json(
                &json!({ "plan": "pro" })
                    .as_object()
                    .filter(|_| matches!(what, "preview" | "change"))
                    .map_or(json!({}), |o| json!(o)),
            )
        };
        ask.expect(501).code("payments_not_configured").await;
    }
}

/// The page's button for a card that pays now and fails later.
async fn buy_with(app: &TestApp, user: &User, plan: &str, outcome: &str) {
    let ask = json!({ "plan": plan });
    let url = app
        .post("/v1/billing/checkout")
        .by(user)
        .json(&ask)
        .await
        .is(201)
        .json()["url"]
        .clone();
    let path = url.as_str().unwrap().strip_prefix(app.url()).unwrap().to_owned();
    let form = app
        .post(&path)
        .header("content-type", "application/x-www-form-urlencoded");
    form.body(format!("outcome={outcome}").into_bytes()).await.is(303);
    app.stub().settled().await;
}

async fn says_when_a_payment_was_declined(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let mut events = app.stub().events().into_iter().rev();
    let made = events.find(|event| event["type"] == "customer.subscription.created");
    let sub = made.unwrap()["data"]["object"].clone();
    let (sub, customer) = (sub["id"].as_str().unwrap(), sub["customer"].as_str().unwrap());
    let attach = "payment_methods/pm_card_chargeCustomerFail/attach";
    let card = app.stripe(attach, &[("customer", customer)]).await;
    let card = card["id"].as_str().unwrap();
    let with_card = [("default_payment_method", card)];
    app.stripe(&format!("subscriptions/{sub}"), &with_card).await;
    let ask = app
        .post("/v1/billing/change")
        .by(&user)
        .json(&json!({ "plan": "business" }));
    let refused = ask.expect(402).code("payment_declined").await.json();
    assert_eq!(refused["decline_code"], "card_declined", "{refused}");
    let held = held(&app, &user).await;
    assert_eq!(
        (&held["plan"], &held["status"]),
        (&json!("pro"), &json!("active")),
        "nothing changed"
    );
}

const WITH_TRIAL: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 5, window = "day" }] },
    { key = "pro", name = "Pro", version = 1, rank = 10, trial_days = 14, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }],
      prices = [{ amount = 1900, currency = "usd", interval = "month" }] },
    { key = "business", name = "Business", version = 1, rank = 20, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }],
      prices = [{ amount = 7900, currency = "usd", interval = "month" }] },
]"#;

async fn begins_with_a_trial_once(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", WITH_TRIAL)]).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    let trying = held(&app, &user).await;
    assert_eq!(
        (&trying["plan"], &trying["status"], &trying["reason"]),
        (&json!("pro"), &json!("trialing"), &json!("trialing"))
    );
    assert_eq!(trying["until"], trying["details"]["trial_end"]);
    post(&app, &user, "cancel", json!({ "when": "now" })).await;
    app.buy(&user, "pro").await;
    assert_eq!(
        held(&app, &user).await["status"],
        "active",
        "the second one is paid at once"
    );
    // Another account with the same card has no second trial either: it pays.
    let other = app.user().await;
    app.buy(&other, "pro").await;
    eventually_asking("the trial ends", async || {
        (held(&app, &other).await["status"] == "active").then_some(())
    })
    .await;
    assert_eq!(logs::about("subscription.trial.repeated", &other.id).len(), 1);
}

/// A month and more in moments: a trial that converts, a payment that fails, recovers, a downgrade, and the end.
async fn lives_a_life(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", WITH_TRIAL)]).await;
    let user = app.user().await;
    let seen = async || {
        let held = held(&app, &user).await;
        let text = |key: &str| held[key].as_str().unwrap().to_owned();
        (text("plan"), text("status"))
    };
    let is = |plan: &str, status: &str| (plan.to_owned(), status.to_owned());
    buy_with(&app, &user, "pro", "fails_at_renewal").await;
    assert_eq!(seen().await, is("pro", "trialing"));
    // The trial converts, and its first payment fails.
    pass(&app, 15).await;
    assert_eq!(seen().await, is("pro", "past_due"));
    let ask = app
        .post("/v1/billing/change")
        .by(&user)
        .json(&json!({ "plan": "business" }));
    ask.expect(409).code("subscription_not_changeable").await;
    // A good card, at the portal, and the next try recovers it.
    let portal = app
        .post("/v1/billing/portal")
        .by(&user)
        .json(&json!({}))
        .await
        .is(201)
        .json();
    let path = portal["url"]
        .as_str()
        .unwrap()
        .strip_prefix(app.url())
        .unwrap()
        .to_owned();
    let form = app
        .post(&path)
        .header("content-type", "application/x-www-form-urlencoded");
    form.body(b"action=card&card=good".to_vec()).await.is(303);
    pass(&app, 8).await;
    assert_eq!(seen().await, is("pro", "active"));
    post(&app, &user, "change", json!({ "plan": "business" })).await;
    assert_eq!(seen().await, is("business", "active"));
    post(&app, &user, "change", json!({ "plan": "pro" })).await;
    pass(&app, 31).await;
    assert_eq!(seen().await, is("pro", "active"));
    post(&app, &user, "cancel", json!({})).await;
    assert_eq!(seen().await, is("pro", "active"));
    pass(&app, 31).await;
    assert_eq!(seen().await, is("free", "canceled"));
    // What was written down is what the provider has.
    let compared = app.services().billing.reconcile().await.unwrap();
    assert_eq!(compared.changed, 0, "{compared:?}");
}
