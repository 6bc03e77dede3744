//! A plan that is sold by the seat: bought, raised, lowered, and what it opens and brings in.

use anteroom_tests::{Ask, Setup, TestApp, User, on_every_store};
use jiff::SignedDuration;
use serde_json::{Value, json};

on_every_store![
    are_bought_raised_and_lowered,
    are_changed_with_the_plan,
    are_refused_where_they_are_not_sold,
    count_in_a_trial_and_for_what_is_granted,
];

const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [
        { key = "messages", kind = "metered", limit = 5, window = "day" },
        { key = "exports", kind = "metered", limit = 1, window = "month" },
    ] },
    { key = "solo", name = "Solo", version = 1, rank = 10, models = "all", prices = [{ amount = 1900, currency = "usd", interval = "month" }],
      entitlements = [{ key = "messages", kind = "metered", window = "day" }, { key = "exports", kind = "metered", limit = 10, window = "month" }] },
    { key = "team", name = "Team", version = 1, rank = 20, models = "all", prices = [{ amount = 1000, currency = "usd", interval = "month" }],
      seats = { min = 2, max = 50 }, entitlements = [
        { key = "messages", kind = "metered", window = "day" },
        { key = "exports", kind = "metered", limit = 20, window = "month", per_seat = true },
        { key = "users", kind = "metered", limit = 1, window = "always", per_seat = true },
        { key = "projects", kind = "metered", limit = 7, window = "always" },
        { key = "credits", kind = "metered", limit = 100, window = "month", rollover = 10, per_seat = true },
    ] },
    { key = "trial", name = "Trial", version = 1, rank = 5, trial_days = 14, models = "all", prices = [{ amount = 500, currency = "usd", interval = "month" }],
      seats = {}, entitlements = [{ key = "messages", kind = "metered", limit = 3, window = "day", per_seat = true }] },
]"#;

async fn app(setup: &Setup) -> TestApp {
    setup.app_with(&[("billing.plans", PLANS)]).await
}

async fn held(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me/subscription").by(user).await.is(200).json()
}

fn ask(app: &TestApp, user: &User, what: &str, ask: &Value) -> Ask {
    app.post(&format!("/v1/billing/{what}")).by(user).json(ask)
}

async fn post(app: &TestApp, user: &User, what: &str, body: Value) -> Value {
    ask(app, user, what, &body).await.is(200).json()
}

/// Goes to the checkout, reads its page, pays there, and waits until the server has heard of it.
async fn buy(app: &TestApp, user: &User, body: Value) -> String {
    let opened = ask(app, user, "checkout", &body).await.is(201).json();
    let path = opened["url"].as_str().unwrap().strip_prefix(app.url()).unwrap();
    let page = app.get(path).await.is(200).text();
    app.post(path).await.is(303);
    app.stub().settled().await;
    page
}

/// Lets the stub's time pass, and waits until the server has heard of everything.
async fn pass(app: &TestApp, days: i64) {
    app.stub().advance(SignedDuration::from_hours(24 * days)).await;
    app.stub().settled().await;
}

/// What has been paid since the stub began, oldest first.
fn payments(app: &TestApp) -> Vec<i64> {
    let events = app.stub().events().into_iter();
    let paid = events.filter(|event| event["type"] == "invoice.paid");
    paid.map(|event| event["data"]["object"]["amount_paid"].as_i64().unwrap())
        .collect()
}

/// The limit of an entitlement, and what of it is used up.
async fn level(app: &TestApp, user: &User, key: &str) -> (i64, i64) {
    let all = app.get("/v1/me/entitlements").by(user).await.is(200).json();
    let found = all["data"].as_array().unwrap().iter().find(|it| it["key"] == key);
    let found = found.unwrap_or_else(|| panic!("no `{key}` in {all}"));
    assert_eq!(
        found.get("per_seat"),
        None,
        "what somebody has is counted for all: {found}"
    );
    (found["limit"].as_i64().unwrap(), found["used"].as_i64().unwrap())
}

fn consume(app: &TestApp, user: &User, key: &str, amount: i64) -> Ask {
    let body = json!({ "key": key, "amount": amount });
    app.post("/v1/entitlements/consume").by(user).json(&body)
}

/// What all subscriptions bring in a month.
async fn monthly(app: &TestApp, admin: &User) -> Value {
    let summary = app.get("/v1/admin/billing/summary").by(admin).await.is(200).json();
    summary["totals"][0].clone()
}

fn moved(monthly: i64) -> Value {
    json!({ "subscriptions": 1, "monthly": monthly })
}

async fn are_bought_raised_and_lowered(setup: &Setup) {
    let app = app(setup).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let plans = app.get("/v1/plans").expect(200).await.json();
    let (solo, team) = (&plans["data"][1], &plans["data"][2]);
    assert_eq!(
        (solo.get("seats"), &team["seats"]),
        (None, &json!({ "min": 2, "max": 50 }))
    );
    assert_eq!(
        (&team["entitlements"][1]["per_seat"], &team["entitlements"][1]["limit"]),
        (&json!(true), &json!(20))
    );
    // Three seats are bought.
    let page = buy(&app, &user, json!({ "plan": "team", "seats": 3 })).await;
    assert!(page.contains("3 × Team") && page.contains("30.00 USD"), "{page}");
    assert_eq!(payments(&app), [3000]);
    let bought = held(&app, &user).await;
    assert_eq!(
        (&bought["plan"], &bought["details"]["seats"]),
        (&json!("team"), &json!(3))
    );
    assert_eq!(bought["details"]["price"]["amount"], 1000, "for a seat: {bought}");
    assert_eq!(level(&app, &user, "exports").await, (60, 0));
    assert_eq!(level(&app, &user, "users").await, (3, 0));
    assert_eq!(level(&app, &user, "projects").await, (7, 0));
    let credits = async || app.get("/v1/me/credits").by(&user).await.is(200).json()["available"].clone();
    assert_eq!(credits().await, json!(300.0));
    consume(&app, &user, "exports", 55).await.is(200);
    consume(&app, &user, "exports", 6)
        .expect(402)
        .events(&["entitlement.denied"])
        .code("quota_exceeded")
        .await;
    consume(&app, &user, "credits", 40).await.is(200);
    assert_eq!(monthly(&app, &admin).await["after"], moved(3000));
    // Five: what the preview says is what is paid, and what was used stays used.
    pass(&app, 10).await;
    let previewed = post(&app, &user, "preview", json!({ "plan": "team", "seats": 5 })).await;
    assert_eq!(previewed["when"], "now");
    let due = previewed["amount_due"].as_i64().unwrap();
    assert!((1000..2000).contains(&due), "two thirds of two seats: {previewed}");
    assert_eq!(
        held(&app, &user).await["details"]["seats"],
        3,
        "a preview changes nothing"
    );
    let raised = post(&app, &user, "change", json!({ "plan": "team", "seats": 5 })).await;
    assert_eq!(
        (&raised["details"]["seats"], &raised["details"]["next_seats"]),
        (&json!(5), &json!(null))
    );
    let paid = payments(&app);
    assert!(
        paid.len() == 2 && (due - 10..=due).contains(&paid[1]),
        "{due}: {paid:?}"
    );
    assert_eq!(level(&app, &user, "exports").await, (100, 55));
    assert_eq!(credits().await, json!(460.0));
    consume(&app, &user, "exports", 6).await.is(200);
    app.stub().settled().await;
    assert_eq!(held(&app, &user).await, raised, "what an event says later is the same");
    // Two, with the next period.
    let previewed = post(&app, &user, "preview", json!({ "plan": "team", "seats": 2 })).await;
    assert_eq!(previewed, json!({ "when": "period_end", "amount_due": 0, "credit": 0 }));
    let lowered = post(&app, &user, "change", json!({ "plan": "team", "seats": 2 })).await;
    let details = &lowered["details"];
    assert_eq!(
        (&details["seats"], &details["next_plan"], &details["next_seats"]),
        (&json!(5), &json!("team"), &json!(2))
    );
    assert_eq!(level(&app, &user, "exports").await, (100, 61));
    let total = monthly(&app, &admin).await;
    let seen = ["new", "expanded", "contracted", "after"].map(|name| total[name].clone());
    let none = json!({ "subscriptions": 0, "monthly": 0 });
    assert_eq!(seen, [moved(3000), moved(2000), none, moved(5000)]);
    pass(&app, 22).await;
    let renewed = held(&app, &user).await;
    let details = &renewed["details"];
    assert_eq!(
        (&details["seats"], &details["next_plan"], &details["next_seats"]),
        (&json!(2), &json!(null), &json!(null)),
        "{renewed}"
    );
    assert_eq!(payments(&app)[2..], [2000]);
    assert_eq!(level(&app, &user, "exports").await.0, 40);
    assert_eq!(level(&app, &user, "users").await, (2, 0));
    let total = monthly(&app, &admin).await;
    assert_eq!((&total["contracted"], &total["after"]), (&moved(3000), &moved(2000)));
    // The provider's page shows it too.
    let portal = ask(&app, &user, "portal", &json!({})).await.is(201).json();
    let path = portal["url"].as_str().unwrap().strip_prefix(app.url()).unwrap();
    let page = app.get(path).await.is(200).text();
    assert!(page.contains("2 × Team") && page.contains("20.00 USD"), "{page}");
    // What was written down is what the provider has.
    let compared = app.services().billing.reconcile().await.unwrap();
    assert_eq!(compared.changed, 0, "{compared:?}");
}

async fn are_changed_with_the_plan(setup: &Setup) {
    let app = app(setup).await;
    let user = app.user().await;
    app.buy(&user, "solo").await;
    assert_eq!(held(&app, &user).await["details"]["seats"], 1);
    // One seat is too few of the team's plan, so a number is needed.
    let refused = ask(&app, &user, "change", &json!({ "plan": "team" })).expect(422);
    let refused = refused.errors(&[("/seats", "invalid_seats")]).await.json();
    assert_eq!((&refused["min"], &refused["max"]), (&json!(2), &json!(50)));
    let upgraded = post(&app, &user, "change", json!({ "plan": "team", "seats": 4 })).await;
    assert_eq!(
        (&upgraded["plan"], &upgraded["details"]["seats"]),
        (&json!("team"), &json!(4))
    );
    let same = ask(&app, &user, "change", &json!({ "plan": "team", "seats": 4 }));
    same.expect(409).code("already_subscribed").await;
    let same = ask(&app, &user, "change", &json!({ "plan": "team" }));
    same.expect(409).code("already_subscribed").await;
    // A change that waits is taken back.
    post(&app, &user, "change", json!({ "plan": "team", "seats": 3 })).await;
    let resumed = post(&app, &user, "resume", json!({})).await;
    let details = &resumed["details"];
    assert_eq!((&details["seats"], &details["next_seats"]), (&json!(4), &json!(null)));
    // The smaller plan has one, from the next period on.
    let waiting = post(&app, &user, "change", json!({ "plan": "solo" })).await;
    let details = &waiting["details"];
    assert_eq!(
        (&details["seats"], &details["next_plan"], &details["next_seats"]),
        (&json!(4), &json!("solo"), &json!(1))
    );
    pass(&app, 32).await;
    let renewed = held(&app, &user).await;
    assert_eq!(
        (&renewed["plan"], &renewed["details"]["seats"]),
        (&json!("solo"), &json!(1))
    );
    assert_eq!(payments(&app).last(), Some(&1900));
}

async fn are_refused_where_they_are_not_sold(setup: &Setup) {
    let app = app(setup).await;
    let (buyer, holder) = (app.user().await, app.user().await);
    // Without a word it is as few as are sold.
    buy(&app, &holder, json!({ "plan": "team" })).await;
    let before = held(&app, &holder).await;
    assert_eq!(before["details"]["seats"], 2);
    for (plan, seats, (min, max)) in [
        ("team", json!(0), (2, 50)),
        ("team", json!(-1), (2, 50)),
        ("team", json!(1), (2, 50)),
        ("team", json!(51), (2, 50)),
        ("team", json!(i64::MAX), (2, 50)),
        ("trial", json!(0), (1, 999_999)),
        ("trial", json!(1_000_000), (1, 999_999)),
        ("solo", json!(0), (1, 1)),
        ("solo", json!(3), (1, 1)),
    ] {
        let body = json!({ "plan": plan, "seats": seats });
        for (what, by) in [("checkout", &buyer), ("preview", &holder), ("change", &holder)] {
            let refused = ask(&app, by, what, &body).expect(422);
            let refused = refused.errors(&[("/seats", "invalid_seats")]).await.json();
            assert_eq!(
                (&refused["min"], &refused["max"]),
                (&json!(min), &json!(max)),
                "{what} {body}"
            );
        }
    }
    for odd in [json!("3"), json!(2.5), json!([3])] {
        let body = json!({ "plan": "team", "seats": odd });
        ask(&app, &buyer, "checkout", &body).await.is(422);
    }
    assert_eq!(held(&app, &holder).await, before);
    assert_eq!(payments(&app), [2000]);
}

async fn count_in_a_trial_and_for_what_is_granted(setup: &Setup) {
    let app = app(setup).await;
    let (admin, user, given) = (app.admin().await, app.user().await, app.user().await);
    buy(&app, &user, json!({ "plan": "trial", "seats": 4 })).await;
    assert_eq!(held(&app, &user).await["status"], "trialing");
    assert_eq!(level(&app, &user, "messages").await, (12, 0));
    // A plan that was granted is for as few as it is sold for, or as many as are paid for.
    let grant = async |to: &User, body: Value| {
        let path = format!("/v1/admin/users/{}/overrides", to.id);
        app.post(&path).by(&admin).json(&body).await.is(201);
    };
    let team = json!({ "plan": "team", "reason": "a gift" });
    grant(&given, team.clone()).await;
    grant(&user, team).await;
    assert_eq!(level(&app, &given, "exports").await.0, 40);
    assert_eq!(level(&app, &user, "exports").await.0, 80);
    // An entitlement is what was granted.
    let exports = json!({ "key": "exports", "kind": "metered", "limit": 33, "window": "month" });
    grant(&given, json!({ "entitlement": exports, "reason": "by agreement" })).await;
    assert_eq!(level(&app, &given, "exports").await.0, 33);
}
