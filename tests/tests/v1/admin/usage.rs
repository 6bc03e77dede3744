//! `GET /v1/admin/usage`

use anteroom_tests::{Setup, TestApp, Upstream, User, on_every_store};
use serde_json::{Value, json};

use crate::v1::me::usage::{asked, settings};

on_every_store![shows_everybodys_by_account_plan_and_key, comes_as_csv];

async fn rows(app: &TestApp, admin: &User, query: &str) -> Vec<Value> {
    let ask = app.get(&format!("/v1/admin/usage{query}")).by(admin);
    let answer = ask.expect(200).audit(&[]).await.json();
    answer["data"].as_array().unwrap().clone()
}

async fn shows_everybodys_by_account_plan_and_key(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    let (admin, one, two) = (app.admin().await, app.user().await, app.user().await);
    app.get("/v1/admin/usage").expect(401).code("unauthenticated").await;
    app.get("/v1/admin/usage").by(&one).expect(403).code("forbidden").await;
    assert_eq!(rows(&app, &admin, "").await, Vec::<Value>::new());
    asked(&app, &one, "small").await;
    app.buy(&one, "pro").await;
    asked(&app, &one, "small").await;
    asked(&app, &one, "large").await;
    asked(&app, &two, "small").await;
    let short = |rows: &[Value], name: &str| -> Vec<(Value, Value)> {
        let of = |row: &Value| (row[name].clone(), row["calls"].clone());
        rows.iter().map(of).collect()
    };
    let accounts = rows(&app, &admin, "?group_by=account").await;
    assert_eq!(
        short(&accounts, "account_id"),
        [(json!(one.id), json!(3)), (json!(two.id), json!(1))]
    );
    assert_eq!(accounts[0]["cost_usd"], json!(0.04));
    // The plan is that of the call, not that of now.
    let plans = rows(&app, &admin, "?group_by=plan").await;
    assert_eq!(
        short(&plans, "plan"),
        [(json!("free"), json!(2)), (json!("pro"), json!(2))]
    );
    let models = rows(&app, &admin, "?group_by=model").await;
    assert_eq!(
        short(&models, "model"),
        [(json!("large"), json!(1)), (json!("small"), json!(3))]
    );
    let keys = rows(&app, &admin, "?group_by=api_key,account").await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.iter().all(|row| row["api_key_id"] == Value::Null), "{keys:?}");
    let by_all = rows(&app, &admin, "?group_by=day,account,model,plan,api_key").await;
    assert!(by_all.len() >= 4, "{by_all:?}");
    let ask = app.get("/v1/admin/usage?group_by=user").by(&admin);
    ask.expect(400).code("invalid_query").await;
    // Added up anew it is the same.
    assert_eq!(app.services().billing.rebuild_usage().await.unwrap(), 2);
    assert_eq!(
        rows(&app, &admin, "?group_by=day,account,model,plan,api_key").await,
        by_all
    );
}

async fn comes_as_csv(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&settings(&upstream)).await;
    let (admin, user) = (app.admin().await, app.user().await);
    asked(&app, &user, "small").await;
    let ask = app.get("/v1/admin/usage?group_by=plan,account").by(&admin);
    let answer = ask.header("accept", "text/csv").expect(200).await;
    let expected = format!(
        "account_id,plan,calls,failed_calls,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,\
         total_tokens,cost_usd,unpriced_calls\r\n{},free,1,0,5,0,2,0,7,0.02,0\r\n",
        user.id
    );
    assert_eq!(answer.text(), expected);
}
