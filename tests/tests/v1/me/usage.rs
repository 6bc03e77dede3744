//! `GET /v1/me/usage`

use anteroom_tests::upstream::completion;
use anteroom_tests::{Script, Setup, TestApp, Upstream, User, eventually_asking, now, on_every_store};
use serde_json::{Value, json};

use super::api_keys::{made, secret};

on_every_store![
    adds_up_by_days_and_models,
    shows_which_key_it_was,
    counts_what_failed_and_what_has_no_price,
    comes_as_csv,
    refuses_what_it_cannot_read,
    has_an_end,
];

/// Today in UTC, unless it has just become tomorrow.
pub fn today() -> String {
    now().to_string()[..10].to_owned()
}

fn question(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "What is an anteroom?" }] })
}

/// Asks a model and waits for its answer; the upstream counts 5 tokens in and 2 out.
pub async fn asked(app: &TestApp, user: &User, model: &str) {
    let ask = app.post("/v1/chat/completions").by(user).json(&question(model));
    ask.expect(200).events(&["chat.call.ended"]).await;
}

/// Answers as [`completion`] says and priced with a cent for each token that comes.
pub fn settings(upstream: &Upstream) -> Vec<(&str, &str)> {
    for model in ["small", "large"] {
        upstream.on(model, Script::json(&completion("A room.")));
    }
    let mut settings = upstream.settings("small,large").to_vec();
    settings.push((
        "ai.prices",
        r#"[{ model = "small", input_usd_per_million = 0.0, output_usd_per_million = 10000.0 }]"#,
    ));
    settings.push(("ai.daily_spend_cap_usd", "100000"));
    settings
}

async fn rows(app: &TestApp, user: &User, query: &str) -> Vec<Value> {
    let ask = app.get(&format!("/v1/me/usage{query}")).by(user);
    let answer = ask.expect(200).audit(&[]).await.json();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    answer["data"].as_array().unwrap().clone()
}

async fn adds_up_by_days_and_models(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    app.get("/v1/me/usage").expect(401).code("unauthenticated").await;
    let (user, stranger) = (app.user().await, app.user().await);
    app.buy(&user, "pro").await;
    assert_eq!(rows(&app, &user, "").await, Vec::<Value>::new());
    let begun = today();
    for model in ["small", "large", "small"] {
        asked(&app, &user, model).await;
    }
    asked(&app, &stranger, "small").await;
    let found = rows(&app, &user, "?group_by=day,model").await;
    if begun != today() {
        return; // At midnight there are more rows, and all is well.
    }
    let row = |model: &str, calls: i64, cost: Value, unpriced: i64| {
        json!({
            "day": begun, "model": model, "calls": calls, "failed_calls": 0, "prompt_tokens": 5 * calls,
            "cached_tokens": 0, "completion_tokens": 2 * calls, "reasoning_tokens": 0, "total_tokens": 7 * calls,
            "cost_usd": cost, "unpriced_calls": unpriced,
        })
    };
    let expected = [row("large", 1, Value::Null, 1), row("small", 2, json!(0.04), 0)];
    assert_eq!(found, expected);
    // By days, which is what is meant where nothing is said; by nothing; and on other days.
    let days = rows(&app, &user, "").await;
    assert_eq!(
        (days.len(), &days[0]["calls"], &days[0]["day"], &days[0]["model"]),
        (1, &json!(3), &json!(begun), &Value::Null)
    );
    assert_eq!(
        (&days[0]["cost_usd"], &days[0]["unpriced_calls"]),
        (&json!(0.04), &json!(1))
    );
    let all = rows(&app, &user, "?group_by=").await;
    assert_eq!(
        (all.len(), &all[0]["calls"], &all[0]["day"]),
        (1, &json!(3), &Value::Null)
    );
    let until = rows(&app, &user, &format!("?until={begun}")).await;
    assert_eq!(until, Vec::<Value>::new());
    assert_eq!(rows(&app, &user, &format!("?from={begun}")).await, days);
    assert_eq!(
        rows(&app, &user, "?from=2025-12-01&until=2026-01-01").await,
        Vec::<Value>::new()
    );
    let nothing = rows(&app, &user, "?from=2025-12-01&until=2026-01-01&group_by=").await;
    assert_eq!(
        (&nothing[0]["calls"], &nothing[0]["cost_usd"]),
        (&json!(0), &json!(0.0))
    );
    let theirs = rows(&app, &stranger, "?group_by=model").await;
    assert_eq!((theirs.len(), &theirs[0]["calls"]), (1, &json!(1)));
}

async fn shows_which_key_it_was(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    let user = app.user().await;
    let key = made(&app, &user, &json!({ "name": "x", "scopes": ["chat", "usage:read"] })).await;
    let mute = made(&app, &user, &json!({ "name": "y", "scopes": ["chat", "account:read"] })).await;
    asked(&app, &user, "small").await;
    let ask = app.post("/v1/chat/completions").bearer(secret(&key));
    ask.json(&question("small"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    let by_key = rows(&app, &user, "?group_by=api_key").await;
    assert_eq!(by_key.len(), 2);
    assert!(by_key[0].as_object().unwrap().contains_key("api_key_id"), "{by_key:?}");
    assert_eq!(
        (&by_key[0]["api_key_id"], &by_key[1]["api_key_id"]),
        (&Value::Null, &key["id"])
    );
    // A key sees what its owner used, if it is for that.
    let usage = |key: &Value| app.get("/v1/me/usage?group_by=api_key").bearer(secret(key));
    assert_eq!(usage(&key).await.is(200).json()["data"], json!(by_key));
    usage(&mute).expect(403).code("insufficient_scope").await;
}

async fn counts_what_failed_and_what_has_no_price(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    let user = app.user().await;
    asked(&app, &user, "small").await;
    let headers = [("content-type", "application/json")];
    upstream.on("small", Script::answer(500, &headers, r#"{"error":{"message":"no"}}"#));
    let ask = app.post("/v1/chat/completions").by(&user).json(&question("small"));
    ask.await.is(502);
    let found = eventually_asking("the failed call is booked", async || {
        let found = rows(&app, &user, "?group_by=model").await;
        (found[0]["calls"] == 2).then_some(found)
    })
    .await;
    assert_eq!(
        (
            &found[0]["failed_calls"],
            &found[0]["total_tokens"],
            &found[0]["cost_usd"]
        ),
        (&json!(1), &json!(7), &json!(0.02))
    );
}

async fn comes_as_csv(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    asked(&app, &user, "small").await;
    asked(&app, &user, "large").await;
    let names = "calls,failed_calls,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,total_tokens,\
                 cost_usd,unpriced_calls";
    let expected = format!("model,{names}\r\nlarge,1,0,5,0,2,0,7,,1\r\nsmall,1,0,5,0,2,0,7,0.02,0\r\n");
    let at = "/v1/me/usage?group_by=model";
    for ask in [
        app.get(at).by(&user).header("accept", "text/csv"),
        app.get(&format!("{at}&format=csv")).by(&user),
        app.get(&format!("{at}&format=csv"))
            .by(&user)
            .header("accept", "application/json"),
    ] {
        let answer = ask.expect(200).await;
        assert_eq!(answer.text(), expected);
        let header = |name: &str| answer.header(name).unwrap();
        assert!(header("content-type").starts_with("text/csv"), "{answer:?}");
        assert_eq!(header("content-disposition"), "attachment; filename=\"usage.csv\"");
    }
    for ask in [
        app.get(at).by(&user),
        app.get(&format!("{at}&format=json"))
            .by(&user)
            .header("accept", "text/csv"),
    ] {
        assert_eq!(ask.await.is(200).json()["data"].as_array().unwrap().len(), 2);
    }
    // What a spreadsheet would run.
    setup
        .execute("UPDATE usage_days SET model = '=HYPERLINK(\"x\",1)' WHERE model = 'large'")
        .await;
    let answer = app.get(&format!("{at}&format=csv")).by(&user).await.is(200);
    let line = "\"'=HYPERLINK(\"\"x\"\",1)\",1,0,5,0,2,0,7,,1";
    assert!(answer.text().lines().any(|found| found == line), "{answer:?}");
}

async fn refuses_what_it_cannot_read(setup: &Setup) {
    let app = setup.app().await;
    let user = app.user().await;
    for (query, why) in [
        ("from=2026-02-30", "`from`"),
        ("from=yesterday", "`from`"),
        ("until=2026-02-01T00:00:00Z", "`until`"),
        ("from=2026-02-02&until=2026-02-02", "later than `from`"),
        ("from=2026-02-02&until=2026-02-01", "later than `from`"),
        ("from=2025-01-01&until=2026-01-03", "at most 366 days"),
        ("from=0001-01-01", "at most 366 days"),
        ("group_by=month", "`month`"),
        ("group_by=day,,model", "day, model, api_key"),
        // For admins.
        ("group_by=account", "`account`"),
        ("group_by=plan", "`plan`"),
        ("format=xml", "xml"),
        ("account=me", "account"),
    ] {
        let ask = app.get(&format!("/v1/me/usage?{query}")).by(&user);
        let problem = ask.expect(400).code("invalid_query").await.json();
        assert!(problem["detail"].as_str().unwrap().contains(why), "{query}: {problem}");
    }
    rows(&app, &user, "?from=2024-01-01&until=2025-01-01").await;
}

async fn has_an_end(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    let user = app.user().await;
    asked(&app, &user, "small").await;
    let more = "INSERT INTO usage_days (owner_kind, owner_id, day, model, plan, api_key_id, calls, failed_calls, \
                prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, cost, unpriced_calls) \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                SELECT owner_kind, owner_id, day, 'm' || n.i, plan, api_key_id, 1, 0, 5, 0, 2, 0, 0, 1 \
                FROM usage_days CROSS JOIN n WHERE model = 'small'";
    setup.execute(more).await;
    assert_eq!(rows(&app, &user, "?group_by=model").await.len(), 10_000);
    setup
        .execute(&more.replace("'m' || n.i", "'one more'").replace("i < 9999", "i < 1"))
        .await;
    for form in ["", "&format=csv"] {
        let ask = app.get(&format!("/v1/me/usage?group_by=model{form}")).by(&user);
        ask.expect(400).code("too_many_rows").await;
    }
    let all = rows(&app, &user, "?group_by=day").await;
    assert_eq!((all.len(), &all[0]["calls"]), (1, &json!(10_001)));
}
