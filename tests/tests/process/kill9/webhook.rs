//! A process that dies between storing the payment provider's event and having its effect.

use anteroom_stripe_stub::sign;
use anteroom_tests::process::Server;
use anteroom_tests::{Setup, StripeSubscription, Upstream, WEBHOOK_SECRET, eventually_asking, now, on_every_store};
use rustix::process::Signal;
use secrecy::SecretString;
use serde_json::json;

on_every_store![an_event_that_was_stored_has_its_effect_however_the_process_died];

async fn an_event_that_was_stored_has_its_effect_however_the_process_died(setup: &Setup) {
    let app = setup.app().await;
    let (mute, _mute) = Upstream::mute_address().await;
    let provider = format!("http://{mute}/");
    let variables = setup.variables(&[("stripe_stub.url", &provider), ("stripe.timeout_ms", "60000")]);
    for (number, sent_again) in [(1, true), (2, false)] {
        let user = app.user().await;
        let subscription = StripeSubscription::new(&user, &format!("sub_{number}"), "active");
        app.stub_has(&subscription);
        let body = subscription.event("customer.subscription.updated", &format!("evt_{number}"));

        // The provider does not answer this process, which dies with the event stored and without its effect.
        let mut dies = Server::start(setup.folder(), &variables).await;
        let told = app
            .http()
            .post(format!("{}/v1/billing/webhooks/stripe-stub", dies.url))
            .header(
                "stripe-signature",
                sign(&SecretString::from(WEBHOOK_SECRET), &body, now()),
            )
            .header("content-type", "application/json")
            .body(body.clone());
        let told = tokio::spawn(told.send());
        eventually_asking("the event is stored", async || {
            let waiting = setup
                .number("SELECT count(*) AS n FROM billing_events WHERE state = 'waiting'")
                .await;
            (waiting == 1).then_some(())
        })
        .await;
        dies.signal(Signal::KILL);
        dies.ended().await;
        assert!(told.await.unwrap().is_err(), "nobody acknowledged it");
        let held = async || app.get("/v1/me/subscription").by(&user).await.is(200).json();
        assert_eq!(held().await["active"], json!(false));

        // Another takes it up: when it is sent again, or from what is stored.
        if sent_again {
            app.signed(body, now()).await.is(200);
        } else {
            let replayed = app
                .services()
                .billing
                .replay_event(&format!("evt_{number}"))
                .await
                .unwrap();
            assert_eq!((replayed.events, replayed.changed), (1, 1));
        }
        assert_eq!(held().await["active"], json!(true));
        let waiting = "SELECT count(*) AS n FROM billing_events WHERE state = 'waiting'";
        assert_eq!(setup.number(waiting).await, 0);
    }
}
