//! `GET /v1/me/subscription`

use anteroom_tests::{Setup, now, on_every_store};
use serde_json::json;

on_every_store![shows_none_and_then_what_was_bought];

async fn shows_none_and_then_what_was_bought(setup: &Setup) {
    let app = setup.app().await;
    app.get("/v1/me/subscription").expect(401).code("unauthenticated").await;
    let (user, other) = (app.user().await, app.user().await);
    let none = json!({ "plan": "free", "plan_version": 1, "status": "none", "active": false, "reason": "no_subscription", "until": null });
    assert_eq!(app.get("/v1/me/subscription").by(&user).expect(200).await.json(), none);
    app.buy(&user, "business").await;
    let held = app.get("/v1/me/subscription").by(&user).expect(200).await.json();
    assert_eq!(
        (&held["plan"], &held["status"], &held["active"]),
        (&json!("business"), &json!("active"), &json!(true))
    );
    let until: jiff::Timestamp = held["until"].as_str().unwrap().parse().unwrap();
    let days = until.duration_since(now()).as_hours() / 24;
    assert!((27..=31).contains(&days), "{days}");
    assert_eq!(app.get("/v1/me/subscription").by(&other).expect(200).await.json(), none);
}
