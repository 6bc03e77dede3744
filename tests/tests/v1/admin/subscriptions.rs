//! `/v1/admin/subscriptions`, `/v1/admin/users/{id}/subscriptions` and `/v1/admin/billing/summary`

use anteroom_tests::{Setup, TestApp, User, on_every_store};
use jiff::SignedDuration;
use serde_json::{Value, json};

on_every_store![
    figures_follow_what_people_do,
    subscriptions_are_listed_and_filtered,
    a_persons_subscriptions_are_shown_with_their_history,
    what_is_used_is_counted_by_plan,
    is_for_admins,
];

const WITH_TRIAL: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 5, window = "day" }] },
    { key = "pro", name = "Pro", version = 1, rank = 10, trial_days = 14, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }],
      prices = [{ amount = 1900, currency = "usd", interval = "month" }] },
    { key = "business", name = "Business", version = 1, rank = 20, models = "all",
      entitlements = [{ key = "messages", kind = "metered", window = "day" }, { key = "exports", kind = "metered", limit = 9, window = "month" }],
      prices = [{ amount = 7900, currency = "usd", interval = "month" }] },
]"#;

async fn with_trial(setup: &Setup) -> TestApp {
    setup.app_with(&[("billing.plans", WITH_TRIAL)]).await
}

async fn buy(app: &TestApp, user: &User, plan: &str) {
    app.buy(user, plan).await;
    app.stub().settled().await;
}

async fn ask(app: &TestApp, admin: &User, path: &str) -> Value {
    app.get(path).by(admin).expect(200).audit(&[]).await.json()
}

async fn summary(app: &TestApp, admin: &User) -> Value {
    ask(app, admin, "/v1/admin/billing/summary").await
}

fn moved(subscriptions: i64, monthly: i64) -> Value {
    json!({ "subscriptions": subscriptions, "monthly": monthly })
}

/// What a plan brings in, in its one currency.
fn of_plan<'a>(summary: &'a Value, plan: &str) -> &'a Value {
    let plans = summary["plans"].as_array().unwrap();
    plans
        .iter()
        .find(|it| it["plan"] == plan)
        .unwrap_or_else(|| panic!("{plan} in {summary}"))
}

async fn figures_follow_what_people_do(setup: &Setup) {
    let app = with_trial(setup).await;
    let (admin, ada, bob) = (app.admin().await, app.user().await, app.user().await);
    let nothing = summary(&app, &admin).await;
    assert_eq!((&nothing["plans"], &nothing["totals"]), (&json!([]), &json!([])));
    assert_eq!(nothing["conversion"], json!({ "accounts": 3, "paid": 0, "rate": 0.0 }));
    // Ada begins with a trial, Bob pays at once.
    buy(&app, &ada, "pro").await;
    buy(&app, &bob, "business").await;
    let begun = summary(&app, &admin).await;
    let pro = of_plan(&begun, "pro");
    assert_eq!(
        (&pro["trialing"], &pro["active"], &pro["revenue"]),
        (&json!(1), &json!(0), &json!([]))
    );
    let total = &begun["totals"][0];
    assert_eq!((&total["currency"], &total["new"]), (&json!("usd"), &moved(1, 7900)));
    assert_eq!((&total["before"], &total["after"]), (&moved(0, 0), &moved(1, 7900)));
    assert_eq!(total["lifetime_value"], Value::Null, "nobody has gone: {total}");
    let trials = |paid, running, rate: Value| json!([{ "plan": "pro", "began": 1, "paid": paid, "running": running, "rate": rate }]);
    assert_eq!(begun["trials"], trials(0, 1, Value::Null));
    // The trial becomes a payment.
    app.stub().advance(SignedDuration::from_hours(24 * 15)).await;
    app.stub().settled().await;
    let paid = summary(&app, &admin).await;
    assert_eq!(paid["trials"], trials(1, 0, json!(1.0)));
    assert_eq!(
        (&paid["totals"][0]["new"], &paid["totals"][0]["after"]),
        (&moved(2, 9800), &moved(2, 9800))
    );
    assert_eq!(paid["totals"][0]["average"], 4900);
    assert_eq!(
        (&paid["conversion"]["accounts"], &paid["conversion"]["paid"]),
        (&json!(3), &json!(2))
    );
    let month = &paid["cohorts"][0];
    assert_eq!(
        (&month["accounts"], &month["paying"]),
        (&json!(2), &json!([])),
        "the month is not over"
    );
    // Ada goes up, and Bob goes.
    let change = json!({ "plan": "business" });
    app.post("/v1/billing/change").by(&ada).json(&change).await.is(200);
    let when = json!({ "when": "now" });
    app.post("/v1/billing/cancel").by(&bob).json(&when).await.is(200);
    app.stub().settled().await;
    let gone = summary(&app, &admin).await;
    let pro = &of_plan(&gone, "pro")["revenue"][0];
    assert_eq!(
        (&pro["new"], &pro["moved_out"], &pro["after"]),
        (&moved(1, 1900), &moved(1, 1900), &moved(0, 0))
    );
    let business = of_plan(&gone, "business");
    assert_eq!(
        (&business["active"], &business["other"], &business["unpriced"]),
        (&json!(1), &json!(0), &json!(0))
    );
    let business = &business["revenue"][0];
    let seen = ["new", "moved_in", "expanded", "churned", "after"].map(|name| business[name].clone());
    assert_eq!(
        seen,
        [
            moved(1, 7900),
            moved(1, 1900),
            moved(1, 6000),
            moved(1, 7900),
            moved(1, 7900)
        ]
    );
    let total = &gone["totals"][0];
    let seen = ["new", "expanded", "churned", "after"].map(|name| total[name].clone());
    assert_eq!(seen, [moved(2, 9800), moved(1, 6000), moved(1, 7900), moved(1, 7900)]);
    assert!(total["lifetime_value"].as_i64().unwrap() > 0, "{total}");
    // He comes back, which is no first payment.
    buy(&app, &bob, "business").await;
    let back = summary(&app, &admin).await;
    assert_eq!(
        (&back["totals"][0]["returned"], &back["totals"][0]["after"]),
        (&moved(1, 7900), &moved(2, 15_800))
    );
    // Of days before all that there is nothing.
    let path = "/v1/admin/billing/summary?from=2026-01-01&until=2026-02-01";
    let before = ask(&app, &admin, path).await;
    assert_eq!((&before["plans"], &before["cohorts"]), (&json!([]), &json!([])));
    assert_eq!(before["conversion"], json!({ "accounts": 0, "paid": 0, "rate": null }));
    assert_eq!(before["as_of"], "2026-02-01T00:00:00Z");
}

async fn subscriptions_are_listed_and_filtered(setup: &Setup) {
    let app = with_trial(setup).await;
    let (admin, ada, bob) = (app.admin().await, app.user().await, app.user().await);
    let none = ask(&app, &admin, "/v1/admin/subscriptions").await;
    assert_eq!(none, json!({ "data": [] }));
    buy(&app, &ada, "business").await;
    buy(&app, &bob, "pro").await;
    let when = json!({ "when": "period_end" });
    app.post("/v1/billing/cancel").by(&ada).json(&when).await.is(200);
    // Whatever is told of it makes the server look again.
    app.stub().settled().await;
    let all = ask(&app, &admin, "/v1/admin/subscriptions").await;
    let [bobs, adas] = all["data"].as_array().unwrap().as_slice() else {
        panic!("{all}")
    };
    assert_eq!(
        (&bobs["account_id"], &adas["account_id"]),
        (&json!(bob.id), &json!(ada.id))
    );
    assert_eq!(
        json!([
            bobs["status"],
            bobs["active"],
            bobs["reason"],
            bobs["monthly"],
            bobs["until"]
        ]),
        json!(["trialing", true, "trialing", 0, bobs["details"]["trial_end"]])
    );
    assert_eq!(
        json!([
            adas["status"],
            adas["active"],
            adas["reason"],
            adas["monthly"],
            adas["until"]
        ]),
        json!([
            "active",
            true,
            "cancels_at_period_end",
            7900,
            adas["details"]["current_period_end"]
        ])
    );
    assert_eq!(
        adas["details"]["price"],
        json!({ "amount": 7900, "currency": "usd", "interval": "month" })
    );
    assert_eq!(adas["provider"], "stripe-stub");
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    assert!(text(adas, "provider_id").starts_with("sub_") && text(adas, "customer").starts_with("cus_"));
    // A page at a time.
    let first = ask(&app, &admin, "/v1/admin/subscriptions?limit=1").await;
    assert_eq!(first["data"], json!([bobs]));
    let cursor = text(&first, "next_cursor");
    let second = ask(
        &app,
        &admin,
        &format!("/v1/admin/subscriptions?limit=1&cursor={cursor}"),
    )
    .await;
    assert_eq!(second, json!({ "data": [adas] }));
    for (query, expected) in [
        ("status=trialing".to_owned(), json!([bobs])),
        ("plan=business".to_owned(), json!([adas])),
        (format!("user={}", bob.id), json!([bobs])),
        (format!("user={}&plan=business", bob.id), json!([])),
        ("status=canceled".to_owned(), json!([])),
    ] {
        let found = ask(&app, &admin, &format!("/v1/admin/subscriptions?{query}")).await;
        assert_eq!(found["data"], expected, "{query}");
    }
    for query in ["limit=0", "cursor=sub_1", "user=ada", "owner=x"] {
        let refused = app.get(&format!("/v1/admin/subscriptions?{query}")).by(&admin);
        refused.expect(400).code("invalid_query").await;
    }
}

async fn a_persons_subscriptions_are_shown_with_their_history(setup: &Setup) {
    let app = with_trial(setup).await;
    let (admin, ada) = (app.admin().await, app.user().await);
    let path = format!("/v1/admin/users/{}/subscriptions", ada.id);
    let none = ask(&app, &admin, &path).await;
    assert_eq!((&none["data"], &none["changes"]), (&json!([]), &json!([])));
    assert_eq!(
        (&none["held"]["plan"], &none["held"]["reason"]),
        (&json!("free"), &json!("no_subscription"))
    );
    buy(&app, &ada, "pro").await;
    let when = json!({ "when": "now" });
    app.post("/v1/billing/cancel").by(&ada).json(&when).await.is(200);
    app.stub().settled().await;
    buy(&app, &ada, "business").await;
    let grant = json!({ "plan": "business", "reason": "a friend", "expires_at": "2999-01-01T00:00:00Z" });
    let overrides = format!("/v1/admin/users/{}/overrides", ada.id);
    app.post(&overrides).by(&admin).json(&grant).await.is(201);
    let shown = ask(&app, &admin, &path).await;
    assert_eq!(shown["held"]["reason"], "granted", "{shown}");
    let brief: Vec<Value> = shown["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| json!([it["details"]["plan"], it["status"], it["reason"]]))
        .collect();
    // What each opens by itself, the grant aside.
    assert_eq!(
        brief,
        [
            json!(["business", "active", "active"]),
            json!(["pro", "canceled", "canceled"])
        ]
    );
    let changes = shown["changes"].as_array().unwrap();
    let of = |plan: &str| {
        let theirs = changes.iter().filter(|it| it["into"]["plan"] == plan).rev();
        let step = |it: &Value| json!([it["from"]["status"], it["into"]["status"], it["into"]["monthly"]]);
        theirs.map(step).collect::<Vec<_>>()
    };
    assert_eq!(
        of("pro"),
        [json!([null, "trialing", 0]), json!(["trialing", "canceled", 0])]
    );
    assert_eq!(of("business").last().unwrap()[1], "active", "{changes:?}");
    assert_eq!(changes[0]["into"]["monthly"], 7900);
    let nobody = "/v1/admin/users/00000000-0000-7000-8000-000000000000/subscriptions";
    app.get(nobody).by(&admin).expect(404).code("not_found").await;
}

async fn what_is_used_is_counted_by_plan(setup: &Setup) {
    let app = with_trial(setup).await;
    let (admin, ada) = (app.admin().await, app.user().await);
    let call = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] });
    app.post("/v1/chat/completions").by(&ada).json(&call).await.is(200);
    buy(&app, &ada, "business").await;
    app.post("/v1/chat/completions").by(&ada).json(&call).await.is(200);
    let export = json!({ "key": "exports", "user_id": ada.id });
    for _ in 0..2 {
        app.post("/v1/entitlements/consume")
            .by(&admin)
            .json(&export)
            .await
            .is(200);
    }
    let expected = json!([
        { "feature": "exports", "plan": "business", "accounts": 1 },
        { "feature": "messages", "plan": "business", "accounts": 1 },
        { "feature": "messages", "plan": "free", "accounts": 1 },
    ]);
    // A call is booked a moment after its answer.
    let told = anteroom_tests::eventually_asking("what was used is counted", async || {
        let told = summary(&app, &admin).await;
        (told["features"] == expected && told["usage"][0]["calls"] == 1).then_some(told)
    })
    .await;
    let plans: Vec<_> = told["usage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["plan"].clone())
        .collect();
    assert_eq!(plans, ["business", "free"]);
}

async fn is_for_admins(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    let paths = [
        "/v1/admin/subscriptions".to_owned(),
        format!("/v1/admin/users/{}/subscriptions", user.id),
        "/v1/admin/billing/summary".to_owned(),
    ];
    for path in &paths {
        app.get(path).expect(401).code("unauthenticated").await;
        app.get(path).by(&user).expect(403).code("forbidden").await;
    }
    let admin = app.admin().await;
    for query in [
        "from=today",
        "from=2026-02-02&until=2026-02-02",
        "from=2024-01-01&until=2026-01-01",
        "by=plan",
    ] {
        let refused = app.get(&format!("/v1/admin/billing/summary?{query}")).by(&admin);
        refused.expect(400).code("invalid_query").await;
    }
}
