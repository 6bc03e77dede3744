//! What a plan limits: messages, tokens and money, in several windows at once.

use std::time::Duration;

use anteroom_tests::upstream::{chunk, completion, usage_chunk};
use anteroom_tests::{Script, Setup, TestApp, Upstream, User, eventually_asking, on_every_store};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{ask, question, streamed};

on_every_store![
    a_call_needs_room_in_every_window,
    what_is_held_is_given_back_and_what_was_used_stays,
    what_has_ended_is_in_no_later_calls_way,
    a_call_that_never_fits_is_told_so,
    of_64_at_once_no_window_is_overdrawn,
    a_plans_rate_is_told_and_kept,
];

const FREE: &str = r#"[{ key = "free", name = "Free", version = 1, models = "all", entitlements = [ENTITLEMENTS] }]"#;

/// A plan for everybody that grants this.
async fn app_granting(setup: &Setup, upstream: &Upstream, entitlements: &str) -> TestApp {
    let plans = FREE.replace("ENTITLEMENTS", &entitlements.replace('\n', " "));
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([
        ("billing.plans", plans.as_str()),
        ("billing.default_plan", "free"),
        (
            "ai.prices",
            "[{ model = 'm', input_usd_per_million = 1000.0, output_usd_per_million = 2000.0 }]",
        ),
    ]);
    setup.app_with(&settings).await
}

/// What stands on a counter: what is used, and the most.
async fn standing(app: &TestApp, user: &User, key: &str, window: &str) -> Value {
    let list = app.get("/v1/me/entitlements").by(user).expect(200).await.json()["data"].clone();
    let found = list
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["key"] == key && e["window"] == window);
    let found = found.unwrap_or_else(|| panic!("no `{key}` a {window} in {list}"));
    if key == "cost" {
        json!([found["used_usd"], found["limit_usd"]])
    } else {
        json!([found["used"], found["limit"]])
    }
}

/// An answer that used so many tokens.
fn using(prompt: i64, completion_tokens: i64) -> Script {
    let mut answer: Value = serde_json::from_str(&completion("hello")).unwrap();
    answer["usage"] = json!({
        "prompt_tokens": prompt, "completion_tokens": completion_tokens, "total_tokens": prompt + completion_tokens,
    });
    Script::json(&answer.to_string())
}

async fn a_call_needs_room_in_every_window(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_granting(
        setup,
        &upstream,
        r#"{ key = "messages", kind = "metered", limit = 2, window = "month" },
        { key = "messages", kind = "metered", limit = 100, window = "day" }"#,
    )
    .await;
    let user = app.user().await;
    for _ in 0..2 {
        ask(&app, &user, &question("m"))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    let refused = ask(&app, &user, &question("m"))
        .expect(402)
        .code("quota_exceeded")
        .events(&["quota.denied"])
        .await
        .json();
    let error = &refused["error"];
    assert_eq!(
        (&error["meter"], &error["window"], &error["limit"], &error["used"]),
        (&json!("messages"), &json!("month"), &json!(2), &json!(2)),
        "{refused}"
    );
    // The account was made just now, so its month ends in four weeks at least.
    let resets_at: jiff::Timestamp = error["resets_at"].as_str().unwrap().parse().unwrap();
    let days = resets_at.duration_since(anteroom_tests::now()).as_hours() / 24;
    assert!((27..=31).contains(&days), "{refused}");
    assert_eq!(standing(&app, &user, "messages", "month").await, json!([2, 2]));
    assert_eq!(standing(&app, &user, "messages", "day").await, json!([2, 100]));

    // What is limited by the minute is a rate, and SDKs wait.
    let app = app_granting(
        setup,
        &upstream,
        r#"{ key = "messages", kind = "metered", limit = 1, window = "minute" },
        { key = "messages", kind = "metered", window = "day" }"#,
    )
    .await;
    let user = app.user().await;
    // The second may be in the next minute, but no third is.
    let mut refused = None;
    for _ in 0..3 {
        let answer = ask(&app, &user, &question("m")).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("one a minute");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{refused:?}");
    assert_eq!(
        (&refused.json()["error"]["code"], &refused.json()["error"]["window"]),
        (&json!("rate_limited"), &json!("minute"))
    );
}

async fn what_is_held_is_given_back_and_what_was_used_stays(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_granting(
        setup,
        &upstream,
        r#"{ key = "messages", kind = "metered", window = "day" },
        { key = "tokens", kind = "metered", limit = 10000, window = "day" },
        { key = "tokens", kind = "metered", limit = 20000, window = "month" },
        { key = "cost", kind = "metered", limit_usd = 50.0, window = "month" }"#,
    )
    .await;
    let user = app.user().await;
    upstream.on("m", using(100, 1000));
    ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    // Nobody had set an end to the answer, so the plan has: what is held for it has to bound it.
    assert_eq!(upstream.last().json()["max_tokens"], 4096);
    for (window, limit) in [("day", 10000), ("month", 20000)] {
        assert_eq!(standing(&app, &user, "tokens", window).await, json!([1100, limit]));
    }
    // 100 at 1,000 and 1,000 at 2,000 dollars a million.
    assert_eq!(standing(&app, &user, "cost", "month").await, json!([2.1, 50.0]));

    // A stream counts the same, and what failed counts nothing.
    let mut bounded = streamed("m");
    bounded["max_completion_tokens"] = 2000.into();
    upstream.on("m", Script::data(&[&chunk("hi"), &usage_chunk(10, 20), "[DONE]"]));
    let mut answer = ask(&app, &user, &bounded).stream().await;
    assert_eq!(answer.rest().await.last().unwrap().data, "[DONE]");
    answer.logged(&["chat.call.ended"]).await;
    assert_eq!(upstream.last().json()["max_completion_tokens"], 2000);
    assert_eq!(upstream.last().json().get("max_tokens"), None);
    upstream.on("m", Script::answer(500, &[], ""));
    ask(&app, &user, &question("m"))
        .expect(502)
        .events(&["chat.call.failed", "chat.call.ended", "request.failed"])
        .await;
    assert_eq!(standing(&app, &user, "tokens", "day").await, json!([1130, 10000]));

    // Too little is left for what the next one may use, though not nothing.
    upstream.on("m", using(100, 5000));
    ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    let refused = ask(&app, &user, &question("m"))
        .expect(402)
        .code("quota_exceeded")
        .events(&["quota.denied"])
        .await
        .json();
    assert_eq!(
        (&refused["error"]["meter"], &refused["error"]["used"]),
        (&json!("tokens"), &json!(6230)),
        "{refused}"
    );
    let mut short = question("m");
    short["max_tokens"] = 100.into();
    ask(&app, &user, &short).expect(200).events(&["chat.call.ended"]).await;
}

/// Whoever has an answer may ask again at once, though a call may use far more than one used.
async fn what_has_ended_is_in_no_later_calls_way(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_granting(
        setup,
        &upstream,
        r#"{ key = "messages", kind = "metered", window = "day" },
        { key = "tokens", kind = "metered", limit = 10000, window = "day" }"#,
    )
    .await;
    let user = app.user().await;
    let room = app.post("/v1/conversations").by(&user).json(&json!({ "model": "m" }));
    let room = format!(
        "/v1/conversations/{}/messages",
        room.await.is(201).json()["id"].as_str().unwrap()
    );
    let mut bounded = question("m");
    bounded["max_tokens"] = 6000.into();
    for _ in 0..10 {
        upstream.on("m", using(5, 15));
        ask(&app, &user, &bounded).await.is(200);
        ask(&app, &user, &bounded).await.is(200);
        // Its answer may have 4096 tokens.
        upstream.on("m", Script::data(&[&chunk("hi"), &usage_chunk(5, 15), "[DONE]"]));
        let said = app.post(&room).by(&user).json(&json!({ "content": "hi" }));
        said.await.is(201);
    }
    // What is being answered still holds what it may use.
    upstream.on("m", using(5, 15).after(Duration::from_millis(600)));
    let (one, other) = (ask(&app, &user, &bounded), ask(&app, &user, &bounded));
    let (one, other) = join(one.into_future(), other.into_future()).await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 402], "{one:?} {other:?}");
    eventually_asking("what was used is booked", async || {
        (standing(&app, &user, "tokens", "day").await == json!([620, 10000])).then_some(())
    })
    .await;
}

async fn a_call_that_never_fits_is_told_so(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = app_granting(
        setup,
        &upstream,
        r#"{ key = "messages", kind = "metered", window = "day" },
        { key = "cost", kind = "metered", limit_usd = 0.5, window = "day" }"#,
    )
    .await;
    let user = app.user().await;
    let refused = ask(&app, &user, &question("m"))
        .expect(400)
        .code("request_exceeds_quota")
        .await
        .json();
    let error = &refused["error"];
    assert_eq!(
        (&error["meter"], &error["window"], &error["limit_usd"]),
        (&json!("cost"), &json!("day"), &json!(0.5)),
        "{refused}"
    );
    assert!(error["needed_usd"].as_f64().unwrap() > 8.0, "{refused}");
    assert!(error["message"].as_str().unwrap().contains("max_tokens"), "{refused}");
    let mut short = question("m");
    short["max_tokens"] = 10.into();
    ask(&app, &user, &short).expect(200).events(&["chat.call.ended"]).await;
}

async fn of_64_at_once_no_window_is_overdrawn(setup: &Setup) {
    let upstream = Upstream::start().await;
    upstream.on("m", using(10, 100));
    let app = app_granting(
        setup,
        &upstream,
        r#"{ key = "messages", kind = "metered", limit = 50, window = "day" },
        { key = "tokens", kind = "metered", limit = 4000, window = "day" },
        { key = "tokens", kind = "metered", limit = 1000000, window = "month" }"#,
    )
    .await;
    let user = app.user().await;
    let mut bounded = question("m");
    bounded["max_tokens"] = 100.into();
    let mut through = 0;
    // Two rounds: what the first gave back, the second has.
    for _ in 0..2 {
        let asked = (0..64).map(|_| {
            let asked = ask(&app, &user, &bounded);
            async move { asked.await.status }
        });
        for status in join_all(asked).await {
            match status {
                200 => through += 1,
                402 => {}
                other => panic!("{other}"),
            }
        }
        let all = json!([through * 110, 4000]);
        anteroom_tests::eventually_asking("all are booked", async || {
            (standing(&app, &user, "tokens", "day").await == all).then_some(())
        })
        .await;
    }
    // The first round stops at what is held, the second at what was used.
    assert!((30..=36).contains(&through), "{through}");
    assert_eq!(standing(&app, &user, "messages", "day").await, json!([through, 50]));
    assert_eq!(
        standing(&app, &user, "tokens", "month").await,
        json!([through * 110, 1_000_000])
    );
}

async fn a_plans_rate_is_told_and_kept(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = r#"[{ key = "free", name = "Free", version = 1, models = "all", requests_per_minute = 5,
        tokens_per_minute = 1000, entitlements = [{ key = "messages", kind = "metered", window = "day" }] }]"#
        .replace('\n', " ");
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([
        ("billing.plans", plans.as_str()),
        ("billing.default_plan", "free"),
        ("protection.enabled", "true"),
    ]);
    let app = setup.app_with(&settings).await;
    let (user, other) = (app.user().await, app.user().await);
    upstream.on("m", using(30, 470));
    let first = ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    let told = |answer: &anteroom_tests::Answer, name: &str| answer.header(&format!("x-ratelimit-{name}"));
    assert_eq!(told(&first, "limit-requests").as_deref(), Some("5"));
    assert_eq!(told(&first, "remaining-requests").as_deref(), Some("4"));
    assert_eq!(told(&first, "reset-requests").as_deref(), Some("12s"));
    assert_eq!(told(&first, "limit-tokens").as_deref(), Some("1000"));
    // What was used is known by now, and counted; the rest comes back with the time.
    upstream.on("m", Script::data(&[&chunk("hi"), &usage_chunk(30, 170), "[DONE]"]));
    let mut streaming = ask(&app, &user, &streamed("m")).stream().await;
    let left: u32 = streaming.headers["x-ratelimit-remaining-tokens"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((400..600).contains(&left), "{left}");
    streaming.rest().await;
    streaming.logged(&["chat.call.ended"]).await;
    // One that uses more than is left goes through; then it is made up for.
    upstream.on("m", using(30, 1970));
    let message = json!({ "model": "m", "max_tokens": 5000, "messages": [{ "role": "user", "content": "hi" }] });
    let third = app
        .post("/v1/messages")
        .by(&user)
        .json(&message)
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    assert_eq!(third.header("anthropic-ratelimit-requests-limit").as_deref(), Some("5"));
    let reset: jiff::Timestamp = third
        .header("anthropic-ratelimit-tokens-reset")
        .unwrap()
        .parse()
        .unwrap();
    assert!(reset > anteroom_tests::now(), "{third:?}");
    let refused = ask(&app, &user, &question("m")).expect(429).code("rate_limited").await;
    assert_eq!(refused.json()["error"]["limit"], "tokens");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((60..=120).contains(&after), "{after}");
    assert_eq!(told(&refused, "remaining-tokens").as_deref(), Some("0"));
    // A program with a key is of the same account; another account is not.
    let named = json!({ "name": "k" });
    let key = app
        .post("/v1/me/api-keys")
        .by(&user)
        .json(&named)
        .expect(201)
        .events(&["api_key.created"])
        .mails(&[&user.email])
        .await
        .json()["key"]
        .clone();
    let asked = app
        .post("/v1/chat/completions")
        .bearer(key.as_str().unwrap())
        .json(&question("m"));
    asked.await.refused(429, "rate_limited");
    upstream.on("m", using(1, 1));
    let answers = join_all((0..64).map(|_| ask(&app, &other, &question("m")).into_future())).await;
    let through = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(through, 5, "of 64 at once");
    let refused = answers.into_iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(
        refused.refused(429, "rate_limited").json()["error"]["limit"],
        "requests"
    );
}
