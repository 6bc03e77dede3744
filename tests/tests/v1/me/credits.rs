//! `/v1/me/credits` and what calls take of them; `/v1/admin/users/{id}/credits`.

use anteroom_tests::upstream::{chunk, completion, usage_chunk};
use anteroom_tests::{Answer, Ask, Script, Setup, TestApp, Upstream, User, eventually_asking, on_every_store};
use futures_util::future::join_all;
use serde_json::{Value, json};

on_every_store![
    pay_for_calls_as_their_price_weighs,
    of_64_at_once_none_is_overdrawn,
    are_shown_with_their_ledger,
    are_granted_by_admins_and_taken_back,
    end_by_the_clock,
    serve_the_operators_own_product,
    are_left_alone_by_a_plan_that_takes_none,
];

/// A plan that includes 100 credits a month; a credit pays for a cent's worth of calls.
const PLANS: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "all", entitlements = [
        { key = "credits", kind = "metered", limit = 100, window = "month", rollover = 20 },
    ] },
    { key = "flat", name = "Flat", version = 1, rank = 1, models = "all", entitlements = [
        { key = "messages", kind = "metered", window = "day" },
    ] },
]"#;

/// 10 and 20 credits for a hundred tokens of prompt and of answer.
const PRICES: &str = "[{ model = 'm', input_usd_per_million = 1000.0, output_usd_per_million = 2000.0 }]";

async fn app(setup: &Setup, upstream: &Upstream) -> TestApp {
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([("billing.plans", PLANS), ("ai.prices", PRICES)]);
    setup.app_with(&settings).await
}

/// A question whose answer has so many tokens at most.
fn ask(app: &TestApp, user: &User, max_tokens: i64) -> Ask {
    app.post("/v1/chat/completions").by(user).json(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "What is an anteroom?" }], "max_tokens": max_tokens,
    }))
}

/// An answer that used so many tokens.
fn using(prompt: i64, completion_tokens: i64) -> Script {
    let mut answer: Value = serde_json::from_str(&completion("hello")).unwrap();
    answer["usage"] = json!({
        "prompt_tokens": prompt, "completion_tokens": completion_tokens, "total_tokens": prompt + completion_tokens,
    });
    Script::json(&answer.to_string())
}

async fn credits(app: &TestApp, user: &User) -> Value {
    app.get("/v1/me/credits").by(user).await.is(200).json()
}

/// All lines, the first one first.
async fn ledger(app: &TestApp, user: &User) -> Vec<Value> {
    let page = app.get("/v1/me/credits/entries?limit=100").by(user).await;
    let mut lines = page.is(200).json()["data"].as_array().unwrap().clone();
    lines.reverse();
    lines
}

/// Kind and amount of each line; they sum to the balance of the last.
fn told(lines: &[Value]) -> Vec<(String, f64)> {
    let told: Vec<(String, f64)> = lines
        .iter()
        .map(|line| {
            (
                line["kind"].as_str().unwrap().to_owned(),
                line["amount"].as_f64().unwrap(),
            )
        })
        .collect();
    let sum: f64 = told.iter().map(|(_, amount)| amount).sum();
    let balance = lines.last().map_or(0.0, |line| line["balance"].as_f64().unwrap());
    assert!((sum - balance).abs() < 1e-6, "{lines:?}");
    told
}

async fn pay_for_calls_as_their_price_weighs(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let user = app.user().await;
    upstream.on("m", using(100, 100));
    ask(&app, &user, 200).expect(200).events(&["chat.call.ended"]).await;
    let there = credits(&app, &user).await;
    let shown = json!([
        there["available"],
        there["held"],
        there["owed"],
        there["included"],
        there["used_by_plan"]
    ]);
    assert_eq!(shown, json!([70.0, 0.0, 0.0, 100.0, true]), "{there}");
    let lines = ledger(&app, &user).await;
    assert_eq!(told(&lines), [("grant".into(), 100.0), ("spend".into(), -30.0)]);
    let usage = app.get("/v1/me/usage").by(&user).await.is(200).json();
    assert_eq!(usage["data"][0]["calls"], 1, "{usage}");

    // A stream takes the same; and nothing is taken for what the provider refused.
    upstream.on("m", Script::data(&[&chunk("hi"), &usage_chunk(50, 10), "[DONE]"]));
    let streamed = app.post("/v1/chat/completions").by(&user).json(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 100, "stream": true,
    }));
    let mut answer = streamed.stream().await;
    answer.rest().await;
    answer.logged(&["chat.call.ended"]).await;
    upstream.on("m", Script::answer(400, &[], r#"{"error":{"message":"no"}}"#));
    let refused = ask(&app, &user, 100).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    eventually_asking("all is settled", async || {
        (credits(&app, &user).await["available"] == json!(63.0)).then_some(())
    })
    .await;

    // Too few are left for what the next one may take, though not none.
    let refused = ask(&app, &user, 1000)
        .expect(402)
        .code("insufficient_credits")
        .events(&["quota.denied"])
        .await
        .json();
    let error = &refused["error"];
    assert_eq!(error["available"], json!(63.0), "{refused}");
    assert!(error["needed"].as_f64().unwrap() > 200.0, "{refused}");
    assert!(error["message"].as_str().unwrap().contains("max_tokens"), "{refused}");
    assert!(error["resets_at"].is_string(), "{refused}");
    let entitlements = app.get("/v1/me/entitlements").by(&user).await.is(200).json();
    let shown = entitlements["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "credits");
    let shown = shown.unwrap();
    assert_eq!((&shown["limit"], &shown["used"]), (&json!(100), &json!(37)), "{shown}");

    // In a conversation as well, and where a call used more than anybody thought, the rest is owed and paid later.
    upstream.on("m", using(1000, 100));
    let room = app
        .post("/v1/conversations")
        .by(&user)
        .json(&json!({ "model": "m" }))
        .await
        .is(201)
        .json();
    let path = format!("/v1/conversations/{}/messages", room["id"].as_str().unwrap());
    let said = json!({ "content": "Hi", "max_tokens": 100 });
    let answer: Answer = app
        .post(&path)
        .by(&user)
        .json(&json!({ "content": said["content"] }))
        .await;
    assert_eq!(
        answer.code(),
        "insufficient_credits",
        "an answer without an end may take more: {answer:?}"
    );
    ask(&app, &user, 200).expect(200).events(&["chat.call.ended"]).await;
    let there = credits(&app, &user).await;
    assert_eq!(
        (&there["available"], &there["owed"]),
        (&json!(0.0), &json!(57.0)),
        "{there}"
    );
    told(&ledger(&app, &user).await);
    let paying = json!({ "credits": 60, "reason": "To go on" });
    let granted = app
        .post(&of(&user))
        .by(&app.admin().await)
        .json(&paying)
        .await
        .is(201)
        .json();
    assert_eq!(
        (&granted["amount"], &granted["left"]),
        (&json!(60.0), &json!(3.0)),
        "{granted}"
    );
    let there = credits(&app, &user).await;
    assert_eq!(
        (&there["available"], &there["owed"]),
        (&json!(3.0), &json!(0.0)),
        "{there}"
    );
    told(&ledger(&app, &user).await);
}

async fn of_64_at_once_none_is_overdrawn(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let user = app.user().await;
    upstream.on("m", using(10, 10));
    // Three credits each, and a good eight are held for each: the first window is opened by them as well.
    let answers = join_all((0..64).map(|_| async { ask(&app, &user, 30).await })).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 402).count();
    assert_eq!(served + refused, 64, "{answers:?}");
    assert!(served >= 100 / 9 - 1, "{served}");
    eventually_asking("all is settled", async || {
        (credits(&app, &user).await["held"] == json!(0.0)).then_some(())
    })
    .await;
    let spent = 3.0 * f64::from(u32::try_from(served).unwrap());
    let there = credits(&app, &user).await;
    assert_eq!(
        (&there["available"], &there["owed"]),
        (&json!(100.0 - spent), &json!(0.0)),
        "{there}"
    );
    let told = told(&ledger(&app, &user).await);
    assert_eq!(told.len(), served + 1);
    assert_eq!(told.iter().filter(|(kind, _)| kind == "grant").count(), 1);
}

async fn are_shown_with_their_ledger(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let user = app.user().await;
    // What the plan includes is there before anything was used, and once.
    for _ in 0..2 {
        let there = credits(&app, &user).await;
        assert_eq!(there["available"], json!(100.0), "{there}");
        assert_eq!(there["usd_per_credit"], json!(0.01));
        let grant = &there["grants"][0];
        assert_eq!(
            (&grant["source"], &grant["expires_at"]),
            (&json!("plan"), &there["resets_at"])
        );
    }
    upstream.on("m", using(1, 1));
    for _ in 0..4 {
        ask(&app, &user, 10).await.is(200);
    }
    eventually_asking("all is settled", async || {
        (credits(&app, &user).await["available"] == json!(98.8)).then_some(())
    })
    .await;
    let first = app.get("/v1/me/credits/entries?limit=3").by(&user).await.is(200).json();
    let seqs = |page: &Value| -> Vec<i64> {
        let lines = page["data"].as_array().unwrap();
        lines.iter().map(|line| line["seq"].as_i64().unwrap()).collect()
    };
    assert_eq!(seqs(&first), [5, 4, 3]);
    let path = format!(
        "/v1/me/credits/entries?limit=3&cursor={}",
        first["next_cursor"].as_str().unwrap()
    );
    let second = app.get(&path).by(&user).await.is(200).json();
    assert_eq!((seqs(&second), second.get("next_cursor")), (vec![2, 1], None));
    // Others see nothing of it.
    let other = app.user().await;
    assert_eq!(
        seqs(&app.get("/v1/me/credits/entries").by(&other).await.is(200).json()),
        [0; 0]
    );
    app.get("/v1/me/credits").expect(401).code("unauthenticated").await;
    app.get("/v1/me/credits/entries?cursor=x")
        .by(&user)
        .expect(400)
        .code("invalid_query")
        .await;
}

fn of(user: &User) -> String {
    format!("/v1/admin/users/{}/credits", user.id)
}

async fn are_granted_by_admins_and_taken_back(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let ask_for = json!({ "credits": 12.5, "reason": "For the outage in May" });
    let grant = || {
        app.post(&of(&user))
            .by(&admin)
            .json(&ask_for)
            .header("idempotency-key", "once")
    };
    let granted = grant()
        .expect(201)
        .events(&["billing.credits.granted"])
        .audit(&["billing.credits.grant succeeded"])
        .await
        .json();
    let shown = json!([
        granted["source"],
        granted["amount"],
        granted["left"],
        granted["priority"],
        granted["reason"]
    ]);
    assert_eq!(shown, json!(["admin", 12.5, 12.5, 30, "For the outage in May"]));
    assert_eq!(
        grant().await.is(201).json(),
        granted,
        "the same again grants nothing more"
    );
    let there = app.get(&of(&user)).by(&admin).await.is(200).json();
    assert_eq!(
        (&there["available"], &there),
        (&json!(112.5), &credits(&app, &user).await)
    );

    // What the plan includes goes first; what is left of the grant is taken back.
    upstream.on("m", using(50, 250));
    ask(&app, &user, 600)
        .expect(402)
        .code("insufficient_credits")
        .events(&["quota.denied"])
        .await;
    ask(&app, &user, 260).expect(200).events(&["chat.call.ended"]).await;
    let more = json!({ "credits": 60, "reason": "More", "priority": 0 });
    app.post(&of(&user)).by(&admin).json(&more).await.is(201);
    upstream.on("m", using(0, 250));
    ask(&app, &user, 260).expect(200).events(&["chat.call.ended"]).await;
    let grants = credits(&app, &user).await["grants"].clone();
    let left: Vec<_> = grants
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["left"].as_f64().unwrap())
        .collect();
    assert_eq!(left, [10.0, 45.0, 12.5], "{grants}");
    let path = format!("{}/{}", of(&user), granted["id"].as_str().unwrap());
    let revoke = || app.delete(&path).by(&admin);
    let revoked = revoke().expect(204).events(&["billing.credits.revoked"]);
    revoked.audit(&["billing.credits.revoke succeeded"]).await;
    revoke().expect(404).code("not_found").await;
    assert_eq!(credits(&app, &user).await["available"], json!(55.0));
    let lines = app
        .get(&format!("{}/entries", of(&user)))
        .by(&admin)
        .await
        .is(200)
        .json();
    assert_eq!(lines["data"][0]["kind"], "revoke");
    let mut lines = lines["data"].as_array().unwrap().clone();
    lines.reverse();
    told(&lines);

    for (ask, pointer) in [
        (json!({ "credits": 0, "reason": "x" }), "/credits"),
        (json!({ "credits": -1, "reason": "x" }), "/credits"),
        (json!({ "credits": 0.000_000_1, "reason": "x" }), "/credits"),
        (json!({ "credits": 1e9, "reason": "x" }), "/credits"),
        (json!({ "credits": 1, "reason": " " }), "/reason"),
        (json!({ "credits": 1, "reason": "x", "priority": 101 }), "/priority"),
        (
            json!({ "credits": 1, "reason": "x", "expires_at": "2020-01-01T00:00:00Z" }),
            "/expires_at",
        ),
    ] {
        let refused = app.post(&of(&user)).by(&admin).json(&ask).expect(422);
        refused.errors(&[(pointer, "refused")]).await;
    }
    let nobody = "/v1/admin/users/01890000-0000-7000-8000-000000000000/credits".to_owned();
    app.post(&nobody)
        .by(&admin)
        .json(&ask_for)
        .expect(404)
        .code("not_found")
        .await;
    for path in [nobody.clone(), format!("{nobody}/entries")] {
        app.get(&path).by(&admin).expect(404).code("not_found").await;
    }
    for refused in [
        app.post(&of(&user)).json(&ask_for),
        app.get(&of(&user)),
        app.get(&format!("{}/entries", of(&user))),
        app.delete(&path),
    ] {
        refused.by(&user).expect(403).code("forbidden").await;
    }
}

async fn end_by_the_clock(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let soon = anteroom_tests::now() + jiff::SignedDuration::from_millis(1500);
    let ask = json!({ "credits": 50, "reason": "For today", "expires_at": soon.to_string() });
    app.post(&of(&user)).by(&admin).json(&ask).await.is(201);
    assert_eq!(credits(&app, &user).await["available"], json!(150.0));
    eventually_asking("they have ended", async || {
        let there = credits(&app, &user).await;
        (there["available"] == json!(100.0)).then_some(())
    })
    .await;
    let grants = credits(&app, &user).await["grants"].clone();
    assert_eq!(
        (&grants[1]["source"], &grants[1]["left"]),
        (&json!("admin"), &json!(0.0)),
        "{grants}"
    );
}

async fn serve_the_operators_own_product(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let user = app.user().await;
    let say = async |what: &str, amount: i64| {
        let path = format!("/v1/entitlements/{what}");
        let ask = json!({ "key": "credits", "amount": amount });
        app.post(&path).by(&user).json(&ask).await
    };
    let said = say("check", 100).await.is(200).json();
    assert_eq!(
        (&said["allowed"], &said["remaining"]),
        (&json!(true), &json!(100)),
        "{said}"
    );
    let said = say("check", 101).await.is(200).json();
    assert_eq!(
        (&said["allowed"], &said["reason"]),
        (&json!(false), &json!("insufficient_credits")),
        "{said}"
    );
    let consume = || {
        let ask = json!({ "key": "credits", "amount": 40 });
        app.post("/v1/entitlements/consume")
            .by(&user)
            .json(&ask)
            .header("idempotency-key", "picture-7")
    };
    for _ in 0..3 {
        let said = consume().await.is(200).json();
        assert_eq!(said["remaining"], json!(60), "{said}");
    }
    let lines = ledger(&app, &user).await;
    assert_eq!(told(&lines), [("grant".into(), 100.0), ("spend".into(), -40.0)]);
    assert_eq!(lines[1]["reference"], "picture-7");
    let refused = app
        .post("/v1/entitlements/consume")
        .by(&user)
        .json(&json!({ "key": "credits", "amount": 61 }));
    let refused = refused
        .expect(402)
        .code("insufficient_credits")
        .events(&["entitlement.denied"])
        .await;
    assert_eq!(refused.json()["available"], json!(60));
    // Calls and the product draw on one balance.
    upstream.on("m", using(100, 100));
    ask(&app, &user, 200).expect(200).events(&["chat.call.ended"]).await;
    assert_eq!(credits(&app, &user).await["available"], json!(30.0));
    let race = join_all((0..64).map(|_| async { say("consume", 1).await.status })).await;
    assert_eq!(race.iter().filter(|status| **status == 200).count(), 30, "{race:?}");
    assert_eq!(credits(&app, &user).await["available"], json!(0.0));
    told(&ledger(&app, &user).await);
}

async fn are_left_alone_by_a_plan_that_takes_none(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app(setup, &upstream).await;
    let (admin, user) = (app.admin().await, app.user().await);
    let flat = json!({ "plan": "flat", "reason": "A friend" });
    let path = format!("/v1/admin/users/{}/overrides", user.id);
    app.post(&path).by(&admin).json(&flat).await.is(201);
    // Calls take none there, however many there are.
    let ask_for = json!({ "credits": 5, "reason": "For later" });
    app.post(&of(&user)).by(&admin).json(&ask_for).await.is(201);
    upstream.on("m", using(100, 100));
    ask(&app, &user, 9000).expect(200).events(&["chat.call.ended"]).await;
    let there = credits(&app, &user).await;
    let shown = json!([
        there["available"],
        there["used_by_plan"],
        there["included"],
        there["resets_at"]
    ]);
    assert_eq!(shown, json!([5.0, false, null, null]), "{there}");
    let said = app
        .post("/v1/entitlements/check")
        .by(&user)
        .json(&json!({ "key": "credits" }))
        .await
        .is(200)
        .json();
    assert_eq!(
        (&said["allowed"], &said["reason"]),
        (&json!(false), &json!("feature_not_in_plan")),
        "{said}"
    );
}
