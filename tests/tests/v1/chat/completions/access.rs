//! Who may use which model, and how often.

use anteroom_tests::{Script, Setup, Step, StripeSubscription, Upstream, eventually_asking, now, on_every_store};
use futures_util::future::join_all;
use serde_json::json;

use super::{ask, plans_with_limit, question, streamed, used};

on_every_store![
    keeps_models_to_their_plans,
    says_when_a_model_went_with_its_plan,
    ends_at_the_plans_limit,
    lets_exactly_as_many_through_as_the_limit_says,
    gives_back_what_failed_calls_held,
    stops_at_the_operators_daily_cap,
    holds_the_cap_against_64_at_once,
    leaves_the_others_their_share_of_the_cap,
    refuses_for_good_what_is_dearer_than_a_day,
];

async fn keeps_models_to_their_plans(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small,large")).await;
    let user = app.user().await;
    for model in ["large", "no such model", "echo", "SMALL", "small "] {
        for body in [question(model), streamed(model)] {
            let answer = ask(&app, &user, &body)
                .expect(403)
                .code("model_not_in_plan")
                .await
                .json();
            let error = &answer["error"];
            assert_eq!(
                (&error["param"], &error["type"]),
                (&json!("model"), &json!("permission_error"))
            );
        }
    }
    assert_eq!(upstream.calls().len(), 0);
    ask(&app, &user, &question("small"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    app.buy(&user, "pro").await;
    ask(&app, &user, &question("large"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    // What is not offered is in nobody's plan.
    ask(&app, &user, &question("no such model"))
        .expect(403)
        .code("model_not_in_plan")
        .await;
}

async fn says_when_a_model_went_with_its_plan(setup: &Setup) {
    let upstream = Upstream::start().await;
    let app = setup.app_with(&upstream.settings("small,large")).await;
    let user = app.user().await;
    app.subscription_is("evt_1", &StripeSubscription::new(&user, "sub_1", "active"))
        .await;
    ask(&app, &user, &question("large"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;

    app.subscription_is("evt_2", &StripeSubscription::new(&user, "sub_1", "canceled"))
        .await;
    for body in [question("large"), streamed("large")] {
        let answer = ask(&app, &user, &body)
            .expect(402)
            .code("subscription_inactive")
            .await
            .json();
        let error = &answer["error"];
        assert_eq!(
            (&error["param"], &error["type"]),
            (&json!("model"), &json!("insufficient_quota"))
        );
    }
    // The plan in force has its own models, and what no plan ever had is still not there.
    ask(&app, &user, &question("small"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    ask(&app, &user, &question("other"))
        .expect(403)
        .code("model_not_in_plan")
        .await;
    assert_eq!(upstream.calls().len(), 2);
}

async fn ends_at_the_plans_limit(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = plans_with_limit(3);
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("billing.plans", &plans));
    let app = setup.app_with(&settings).await;
    let (user, other) = (app.user().await, app.user().await);
    ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    ask(&app, &user, &streamed("m")).stream().await.rest().await;
    ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    for body in [question("m"), streamed("m")] {
        let answer = ask(&app, &user, &body)
            .expect(402)
            .code("quota_exceeded")
            .events(&["quota.denied"])
            .await;
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["limit"], &error["used"], &error["meter"]),
            (&json!(3), &json!(3), &json!("messages"))
        );
        assert_eq!(error["type"], "insufficient_quota");
        let resets: jiff::Timestamp = error["resets_at"].as_str().unwrap().parse().unwrap();
        let hours = resets.duration_since(now()).as_hours();
        assert!((0..24).contains(&hours) && resets.as_second() % 86_400 == 0, "{resets}");
    }
    assert_eq!(upstream.calls().len(), 3);
    // Others have limits of their own, and who pays has none.
    ask(&app, &other, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
    app.buy(&user, "pro").await;
    ask(&app, &user, &question("m"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
}

async fn lets_exactly_as_many_through_as_the_limit_says(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = plans_with_limit(10);
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([
        ("billing.plans", plans.as_str()),
        ("server.public_url", "http://anteroom.example.test"),
    ]);
    let nodes = [setup.app_with(&settings).await, setup.app_with(&settings).await];
    let user = nodes[0].user().await;
    let tries = (0..64).map(|number| {
        let body = question("m");
        ask(&nodes[number % 2], &user, &body).into_future()
    });
    let answers = join_all(tries).await;
    let passed = answers.iter().filter(|a| a.status == 200).count();
    let refused = answers
        .iter()
        .filter(|a| a.told() == (402, "quota_exceeded".to_owned()))
        .count();
    assert_eq!((passed, refused, upstream.calls().len()), (10, 54, 10), "{answers:?}");
    for answer in answers.iter().filter(|a| a.status == 402) {
        assert_eq!(answer.json()["error"]["used"], 10);
    }
    assert_eq!(used(&nodes[1], &user).await, 10);
}

async fn gives_back_what_failed_calls_held(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = plans_with_limit(2);
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("billing.plans", &plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    upstream.on("m", Script::answer(500, &[], ""));
    for _ in 0..5 {
        let failed = ["chat.call.failed", "chat.call.ended", "request.failed"];
        ask(&app, &user, &question("m"))
            .expect(502)
            .code("upstream_error")
            .events(&failed)
            .await;
    }
    upstream.on("m", Script::json(&anteroom_tests::upstream::completion("fine")));
    for _ in 0..2 {
        ask(&app, &user, &question("m"))
            .expect(200)
            .events(&["chat.call.ended"])
            .await;
    }
    ask(&app, &user, &question("m"))
        .expect(402)
        .code("quota_exceeded")
        .events(&["quota.denied"])
        .await;
}

async fn stops_at_the_operators_daily_cap(setup: &Setup) {
    let upstream = Upstream::start().await;
    // A call of 7 tokens at 100 dollars per million costs 0.0007; with its reserve of 100 tokens, about 0.012.
    let prices = r#"[{ model = "m", input_usd_per_million = 100.0, output_usd_per_million = 100.0 }, { model = "gift", input_usd_per_million = 0.0, output_usd_per_million = 0.0 }]"#;
    let mut settings = upstream.settings("m,gift").to_vec();
    settings.extend([
        ("ai.prices", prices),
        ("ai.daily_spend_cap_usd", "0.0145"),
        ("ai.max_output_tokens", "100"),
    ]);
    let app = setup.app_with(&settings).await;
    let (user, other) = (app.user().await, app.user().await);
    app.buy(&user, "pro").await;
    let mut passed = 0;
    let refused = loop {
        let answer = ask(&app, &user, &question("m")).await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
        // What was held is given back when the call is booked.
        anteroom_tests::scenario::logged(&app, &answer.request_id(), &["chat.call.ended"]).await;
        assert!(passed < 20, "the cap does not hold");
    };
    assert!(passed >= 1, "{refused:?}");
    for answer in [refused, ask(&app, &other, &streamed("m")).await] {
        let answer = answer.refused(503, "spend_cap_reached");
        assert_eq!(answer.header("retry-after").as_deref(), Some("3600"));
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
        assert!(answer.json()["error"]["resets_at"].is_string());
        anteroom_tests::scenario::logged(&app, &answer.request_id(), &["quota.spend_cap.reached"]).await;
    }
    ask(&app, &user, &question("gift"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;

    let app = setup.app_with(&[("ai.daily_spend_cap_usd", "0")]).await;
    let user = app.user().await;
    ask(&app, &user, &question("echo"))
        .expect(200)
        .events(&["chat.call.ended"])
        .await;
}

async fn holds_the_cap_against_64_at_once(setup: &Setup) {
    let upstream = Upstream::start().await;
    // A call may bring 100 tokens at 100 dollars per million: one cent each, of which there are five.
    let prices = r#"[{ model = "m", input_usd_per_million = 0.0, output_usd_per_million = 100.0 }]"#;
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([("ai.prices", prices), ("ai.daily_spend_cap_usd", "0.05")]);
    settings.push(("server.public_url", "http://anteroom.example.test"));
    let nodes = [setup.app_with(&settings).await, setup.app_with(&settings).await];
    let mut body = question("m");
    body["max_completion_tokens"] = 100.into();
    let users = [nodes[0].user().await, nodes[0].user().await];
    // While they run they hold what they may cost at most.
    upstream.on("m", Script::new(vec![Step::Hang]));
    let tries: Vec<_> = (0..64)
        .map(|number| tokio::spawn(ask(&nodes[number % 2], &users[number % 2], &body).into_future()))
        .collect();
    upstream.called(5).await;
    let refused = eventually_asking("the others are refused", async || {
        let over = tries.iter().filter(|t| t.is_finished()).count();
        (over >= 59).then_some(over)
    })
    .await;
    assert_eq!((refused, upstream.calls().len()), (59, 5));
    for one in tries {
        if one.is_finished() {
            one.await.unwrap().refused(503, "spend_cap_reached");
        } else {
            one.abort();
        }
    }
}

async fn leaves_the_others_their_share_of_the_cap(setup: &Setup) {
    let upstream = Upstream::start().await;
    // One cent for each call, five for a day, of which an account has three.
    let prices = r#"[{ model = "m", input_usd_per_million = 0.0, output_usd_per_million = 100.0 }]"#;
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([("ai.prices", prices), ("ai.daily_spend_cap_usd", "0.05")]);
    settings.push(("ai.spend_cap_share_percent", "60"));
    let app = setup.app_with(&settings).await;
    let (greedy, other) = (app.user().await, app.user().await);
    let mut body = question("m");
    body["max_completion_tokens"] = 100.into();
    upstream.on("m", Script::new(vec![Step::Hang]));
    let running: Vec<_> = (0..3)
        .map(|_| tokio::spawn(ask(&app, &greedy, &body).into_future()))
        .collect();
    upstream.called(3).await;
    let refused = ask(&app, &greedy, &body)
        .expect(429)
        .code("spend_share_reached")
        .events(&["quota.spend_share.reached"])
        .await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("3600"));
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("false"));
    assert!(refused.json()["error"]["resets_at"].is_string());
    upstream.on(
        "m",
        Script::json(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":100}}"#),
    );
    ask(&app, &other, &body).expect(200).events(&["chat.call.ended"]).await;
    for one in running {
        one.abort();
    }
}

async fn refuses_for_good_what_is_dearer_than_a_day(setup: &Setup) {
    let upstream = Upstream::start().await;
    let prices = r#"[{ model = "m", input_usd_per_million = 0.0, output_usd_per_million = 100.0 }]"#;
    let mut settings = upstream.settings("m").to_vec();
    settings.extend([("ai.prices", prices), ("ai.daily_spend_cap_usd", "0.05")]);
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    for mut body in [question("m"), streamed("m")] {
        // Six cents, of five that there are in a day: waiting does not help, asking for less does.
        body["max_completion_tokens"] = 600.into();
        let refused = ask(&app, &user, &body)
            .expect(400)
            .code("request_exceeds_spend_cap")
            .events(&[])
            .await;
        assert_eq!(refused.header("retry-after"), None);
        let error = &refused.json()["error"];
        assert_eq!((&error["needed_usd"], &error["most_usd"]), (&json!(0.06), &json!(0.05)));
    }
    assert_eq!((upstream.calls().len(), used(&app, &user).await), (0, 0));
    let mut body = question("m");
    body["max_completion_tokens"] = 500.into();
    ask(&app, &user, &body).expect(200).events(&["chat.call.ended"]).await;
}
