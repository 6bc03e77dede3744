//! What subscribers are told by mail: of their plan, their payments, their trial and their limits.

use anteroom_tests::{Setup, TestApp, User, eventually_asking, on_every_store};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

on_every_store![
    tell_of_a_plan_that_changes,
    tell_of_a_payment_that_failed,
    tell_of_a_trial_that_ends,
    tell_of_a_limit_at_80_and_at_100_percent,
    tell_of_the_operators_own_with_its_use,
    tell_nobody_whose_address_is_not_proven,
    are_not_queued_without_a_mailer,
];

async fn post(app: &TestApp, user: &User, what: &str, ask: Value) {
    let path = format!("/v1/billing/{what}");
    app.post(&path).by(user).json(&ask).await.is(200);
    app.stub().settled().await;
}

/// Lets the stub's time pass, and waits until the server has heard of everything.
async fn pass(app: &TestApp, days: i64) {
    let stub = app.stub();
    stub.advance(SignedDuration::from_hours(24 * days)).await;
    stub.settled().await;
}

async fn tell_of_a_plan_that_changes(setup: &Setup) {
    let app = setup.app().await;
    let user = app.proven_user().await;
    app.buy(&user, "pro").await;
    let bought = app.mailed(&user, "Your plan at Anteroom is Pro now").await;
    assert!(
        bought.contains("from Free to Pro") && bought.contains("Price: 19.00 USD a month"),
        "{bought}"
    );
    assert!(bought.contains("/billing"), "{bought}");
    app.stub().settled().await;
    post(&app, &user, "change", json!({ "plan": "business" })).await;
    app.mailed(&user, "Your plan at Anteroom is Business now").await;
    post(&app, &user, "change", json!({ "plan": "pro" })).await;
    let planned = app.mailed(&user, "Your plan at Anteroom is going to change").await;
    assert!(
        planned.contains("stays Business until") && planned.contains("it is Pro."),
        "{planned}"
    );
    app.post("/v1/billing/resume").by(&user).await.is(200);
    app.stub().settled().await;
    app.mailed(&user, "Your plan at Anteroom stays Business").await;
    post(&app, &user, "cancel", json!({})).await;
    app.mailed(&user, "Your plan at Anteroom is going to change").await;
    pass(&app, 32).await;
    let over = app.mailed(&user, "Your plan at Anteroom is Free now").await;
    assert!(
        over.contains("Your subscription to Business at Anteroom has ended"),
        "{over}"
    );
    // Comparing with the provider, or hearing of it all again, tells nobody anything.
    app.services().billing.reconcile().await.unwrap();
    app.services()
        .billing
        .replay_events(Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
}

async fn tell_of_a_payment_that_failed(setup: &Setup) {
    let app = setup.app().await;
    let user = app.proven_user().await;
    let ask = json!({ "plan": "pro" });
    let opened = app
        .post("/v1/billing/checkout")
        .by(&user)
        .json(&ask)
        .await
        .is(201)
        .json();
    let path = opened["url"]
        .as_str()
        .unwrap()
        .strip_prefix(app.url())
        .unwrap()
        .to_owned();
    let form = app
        .post(&path)
        .header("content-type", "application/x-www-form-urlencoded");
    form.body(b"outcome=fails_at_renewal".to_vec()).await.is(303);
    app.mailed(&user, "Your plan at Anteroom is Pro now").await;
    pass(&app, 32).await;
    let failed = app.mailed(&user, "Your payment to Anteroom failed").await;
    assert!(
        failed.contains("The payment for Pro") && failed.contains("You keep Pro until"),
        "{failed}"
    );
    // Further tries fail, and are not told; then it is given up.
    pass(&app, 60).await;
    app.mailed(&user, "Your plan at Anteroom is Free now").await;
}

const WITH_TRIAL: &str = r#"[
    { key = "free", name = "Free", version = 1, models = "first", entitlements = [{ key = "messages", kind = "metered", limit = 5, window = "month" }, { key = "exports", kind = "metered", limit = 3, window = "month" }] },
    { key = "pro", name = "Pro", version = 1, rank = 10, trial_days = 14, models = "all", entitlements = [{ key = "messages", kind = "metered", window = "day" }],
      prices = [{ amount = 1900, currency = "usd", interval = "month" }] },
]"#;

async fn tell_of_a_trial_that_ends(setup: &Setup) {
    let set = [("billing.plans", WITH_TRIAL), ("billing.trial_ending_days", "20")];
    let app = setup.app_with(&set).await;
    let user = app.proven_user().await;
    app.buy(&user, "pro").await;
    let begun = app.mailed(&user, "Your plan at Anteroom is Pro now").await;
    assert!(begun.contains("It begins with a trial"), "{begun}");
    app.stub().settled().await;
    assert_eq!(app.services().billing.tell_of_ending_trials().await.unwrap(), 1);
    let ending = app.mailed(&user, "Your trial of Pro at Anteroom ends soon").await;
    assert!(ending.contains("19.00 USD a month is charged"), "{ending}");
    // It converts, and that is no other plan.
    pass(&app, 15).await;
    let held = app.get("/v1/me/subscription").by(&user).await.is(200).json();
    assert_eq!(held["status"], "active");
}

async fn tell_of_a_limit_at_80_and_at_100_percent(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", WITH_TRIAL)]).await;
    let user = app.proven_user().await;
    let begun = anteroom_tests::now();
    let look = async || app.services().billing.tell_of_quotas_since(begun).await.unwrap();
    let ask = json!({ "model": "echo", "messages": [{ "role": "user", "content": "hi" }] });
    // A call is booked a moment after its answer.
    let call = async |made: i64| {
        app.post("/v1/chat/completions").by(&user).json(&ask).await.is(200);
        eventually_asking("the call is booked", async || {
            let booked = setup.number("SELECT count(*) AS n FROM usage_events").await;
            (booked == made).then_some(())
        })
        .await;
    };
    for made in 1..=3 {
        call(made).await;
    }
    assert_eq!(look().await, 0);
    call(4).await;
    assert_eq!((look().await, look().await), (1, 0));
    let near = app
        .mailed(&user, "You have used 80 % of your messages at Anteroom")
        .await;
    assert!(near.contains("Used: 4 of 5"), "{near}");
    call(5).await;
    assert_eq!((look().await, look().await), (1, 0));
    let all = app.mailed(&user, "You have used up your messages at Anteroom").await;
    assert!(all.contains("Used: 5 of 5"), "{all}");
    app.post("/v1/chat/completions").by(&user).json(&ask).await.is(402);
    assert_eq!(look().await, 0);
}

async fn tell_of_the_operators_own_with_its_use(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", WITH_TRIAL)]).await;
    let user = app.proven_user().await;
    let consume = |amount: i64| {
        let ask = app.post("/v1/entitlements/consume").by(&user);
        ask.json(&json!({ "key": "exports", "amount": amount }))
    };
    consume(2).expect(200).await;
    let used_up = consume(1).expect(200).events(&["billing.notice.queued"]);
    used_up.mails(&[&user.email]).await;
    let text = app.mails().last().unwrap().text.clone();
    assert!(
        text.contains("Subject: You have used up your exports at Anteroom\r\n"),
        "{text}"
    );
    consume(1).expect(402).events(&["entitlement.denied"]).await;
}

async fn tell_nobody_whose_address_is_not_proven(setup: &Setup) {
    let app = setup.app_with(&[("billing.plans", WITH_TRIAL)]).await;
    let user = app.user().await;
    app.buy(&user, "pro").await;
    app.stub().settled().await;
    assert_eq!(setup.number("SELECT count(*) AS n FROM billing_notices").await, 0);
}

async fn are_not_queued_without_a_mailer(setup: &Setup) {
    let app = setup
        .app_with(&[("billing.plans", WITH_TRIAL), ("mail.transport", "none")])
        .await;
    let ask = json!({ "email": "ada@example.com", "password": anteroom_tests::PASSWORD });
    let user = User::of(&app.post("/v1/auth/signup").json(&ask).await.is(201).json());
    let proven = match setup.kind() {
        anteroom_tests::Kind::Sqlite => "UPDATE users SET email_verified = 1",
        anteroom_tests::Kind::Postgres => "UPDATE users SET email_verified = true",
    };
    setup.execute(proven).await;
    app.buy(&user, "pro").await;
    app.stub().settled().await;
    let spend = json!({ "key": "exports", "amount": 3 });
    app.post("/v1/entitlements/consume")
        .by(&user)
        .json(&spend)
        .await
        .is(403);
    assert_eq!(app.services().billing.tell_of_ending_trials().await.unwrap(), 0);
    for table in ["billing_notices", "outbox"] {
        assert_eq!(
            setup.number(&format!("SELECT count(*) AS n FROM {table}")).await,
            0,
            "{table}"
        );
    }
}
