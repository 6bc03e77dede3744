//! From a model's public name to an answer: fallback, retries, weights, breakers, and who is paid for what.

use std::time::{Duration, Instant};

use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, ModelPrice, NanoUsd, Owner};
use anteroom_domain::chat::{BreakerPolicy, ModelAlias, Target};
use anteroom_ports::chat::{ProviderErrorKind, TimeoutStage};
use anteroom_services::access::Principal;
use anteroom_services::chat::{CallRefused, ChatAnswer, ChatError, Relayed, RoutingOptions};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::chat::{DEFAULT_USAGE, Step, provider_error, reply, text_step};
use jiff::SignedDuration;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::house::{House, Routed};

const PATIENT: RoutingOptions = RoutingOptions {
    breaker: BreakerPolicy {
        failures: 3,
        open_for: SignedDuration::from_secs(30),
    },
    retries: 0,
    retry_pause: Duration::from_millis(20),
};

fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

fn target(provider: &str, model: &str) -> Target {
    Target {
        provider: provider.into(),
        model: model.into(),
        weight: None,
        price: None,
    }
}

/// `fast`, answered by `m1` of the main provider, else by `m2` of the backup.
fn fast() -> ModelAlias {
    ModelAlias {
        targets: vec![target("main", "m1"), target("backup", "m2")],
        ..ModelAlias::plain("main", "fast")
    }
}

async fn house(alias: ModelAlias, options: RoutingOptions) -> House {
    let aliases = vec![alias];
    House::routed(Routed {
        aliases,
        options,
        ..Routed::plain(&[])
    })
    .await
}

fn upstream() -> ProviderErrorKind {
    ProviderErrorKind::Upstream { status: 500 }
}

fn refused() -> ProviderErrorKind {
    ProviderErrorKind::BadRequest {
        status: 400,
        error: None,
    }
}

async fn ask(house: &House, stream: bool) -> Result<ChatAnswer, ChatError> {
    let who = house.somebody("ada@example.com").await;
    ask_as(house, &who, stream).await
}

async fn ask_as(house: &House, who: &LiveSession, stream: bool) -> Result<ChatAnswer, ChatError> {
    let body = format!(
        r#"{{"model":"fast","x_custom":1.50,"stream":{stream},"max_tokens":100,"messages":[{{"role":"user","content":"hi"}}]}}"#
    );
    let (who, gone) = (by(who), CancellationToken::new());
    house.chat.complete_chat(&who, body.as_bytes(), gone).await
}

fn kind(outcome: Result<ChatAnswer, ChatError>) -> ProviderErrorKind {
    match outcome.unwrap_err() {
        ChatError::Provider(e) => e.kind,
        e => panic!("{e}"),
    }
}

fn asked(house: &House) -> (usize, usize) {
    (house.model.calls().len(), house.backup.calls().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_is_made_up_for_by_the_next() {
    let house = house(fast(), PATIENT).await;
    for failure in [
        upstream(),
        ProviderErrorKind::Auth,
        ProviderErrorKind::Unreachable,
        ProviderErrorKind::Transport,
        ProviderErrorKind::Timeout(TimeoutStage::FirstToken),
        ProviderErrorKind::RateLimited { retry_after: None },
        ProviderErrorKind::Unsupported {
            parameter: "logit_bias".into(),
        },
        ProviderErrorKind::BadRequest {
            status: 404,
            error: None,
        },
    ] {
        house.clock.advance(SignedDuration::from_mins(2));
        let who = house.somebody(&format!("{}@example.com", asked(&house).1)).await;
        house.model.script_reply(Err(provider_error(failure.clone())));
        let answer = ask_as(&house, &who, false).await;
        assert!(
            matches!(answer, Ok(ChatAnswer::Whole { .. })),
            "{failure:?}: {answer:?}"
        );
    }
    let call = &house.backup.calls()[0].call;
    let sent = String::from_utf8(call.body.to_vec()).unwrap();
    assert_eq!(call.model, "m2");
    assert!(sent.starts_with(r#"{"model":"m2","x_custom":1.50,"#), "{sent}");
    assert_eq!(asked(&house), (8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_target_cannot_help_is_told_at_once() {
    let house = house(fast(), PATIENT).await;
    for failure in [refused(), ProviderErrorKind::Timeout(TimeoutStage::Total)] {
        house.model.script_reply(Err(provider_error(failure.clone())));
        let who = house.somebody(&format!("{}@example.com", asked(&house).0)).await;
        assert_eq!(kind(ask_as(&house, &who, false).await), failure);
    }
    assert_eq!(asked(&house), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_up_for_only_before_its_first_chunk() {
    let house = house(fast(), PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    // It fails where its first chunk should come.
    house.model.script_stream([Step::Fail(provider_error(upstream()))]);
    let Ok(ChatAnswer::Stream { mut events, .. }) = ask_as(&house, &who, true).await else {
        panic!()
    };
    assert!(matches!(events.recv().await, Some(Relayed::Chunk(_))));
    assert_eq!(asked(&house), (1, 1));
    // It fails after it: the client has something already.
    let steps = [text_step("m1", "Hel"), Step::Fail(provider_error(upstream()))];
    house.model.script_stream(steps);
    let Ok(ChatAnswer::Stream { mut events, .. }) = ask_as(&house, &who, true).await else {
        panic!()
    };
    assert!(matches!(events.recv().await, Some(Relayed::Chunk(_))));
    assert!(matches!(
        events.recv().await,
        Some(Relayed::Failed(e)) if matches!(*e, ChatError::Provider(_))
    ));
    assert_eq!(asked(&house), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_targets_are_tried_again_after_a_pause_as_often_as_is_set() {
    let options = RoutingOptions { retries: 2, ..PATIENT };
    let house = house(fast(), options).await;
    for model in [&house.model, &house.backup] {
        for _ in 0..2 {
            model.script_reply(Err(provider_error(upstream())));
        }
    }
    let begun = Instant::now();
    assert!(ask(&house, false).await.is_ok());
    assert_eq!(asked(&house), (3, 2));
    // 20 ms and 40 ms, of which up to a half is left off.
    assert!(begun.elapsed() >= Duration::from_millis(30), "{:?}", begun.elapsed());
}

/// Else a provider that was down for a moment would be asked by all of them at once.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_failed_together_do_not_come_back_together() {
    const CALLS: usize = 6;
    let pause = Duration::from_secs(1);
    let options = RoutingOptions {
        breaker: BreakerPolicy {
            failures: 100,
            ..PATIENT.breaker
        },
        retries: 1,
        retry_pause: pause,
    };
    let house = house(ModelAlias::plain("main", "fast"), options).await;
    let mut users = Vec::new();
    for i in 0..CALLS {
        users.push(house.somebody(&format!("{i}@example.com")).await);
        house.model.script_reply(Err(provider_error(upstream())));
    }
    let calls = users.iter().map(async |who| {
        let begun = Instant::now();
        assert!(ask_as(&house, who, false).await.is_ok());
        begun.elapsed()
    });
    let took = futures_util::future::join_all(calls).await;
    assert_eq!(asked(&house), (2 * CALLS, 0));
    assert!(took.iter().all(|took| *took >= pause / 2), "{took:?}");
    // That none of six draws leaves off so much that it shows happens once in a million.
    assert!(took.iter().any(|took| *took < pause), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_a_pause_may_help_is_tried_again_whichever_failed_last() {
    for first in [upstream(), ProviderErrorKind::Auth] {
        let options = RoutingOptions { retries: 1, ..PATIENT };
        let house = house(fast(), options).await;
        let second = if first == upstream() {
            ProviderErrorKind::Auth
        } else {
            upstream()
        };
        house.model.script_reply(Err(provider_error(first.clone())));
        house.backup.script_reply(Err(provider_error(second)));
        assert!(ask(&house, false).await.is_ok(), "{first:?}");
        let expected = if first == upstream() { (2, 1) } else { (1, 2) };
        assert_eq!(asked(&house), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_target_was_never_asked_says_nothing_of_it() {
    let house = house(ModelAlias::plain("main", "fast"), PATIENT).await;
    for i in 0..3 {
        let who = house.somebody(&format!("{i}@example.com")).await;
        if i == 1 {
            // In between, a request that it has no words for.
            let parameter = "logit_bias".into();
            house
                .model
                .script_reply(Err(provider_error(ProviderErrorKind::Unsupported { parameter })));
            assert!(ask_as(&house, &who, false).await.is_err());
        }
        house.model.script_reply(Err(provider_error(upstream())));
        assert_eq!(kind(ask_as(&house, &who, false).await), upstream());
    }
    let who = house.somebody("ada@example.com").await;
    assert!(matches!(
        kind(ask_as(&house, &who, false).await),
        ProviderErrorKind::Resting { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_pause_can_help_is_not_tried_again() {
    let options = RoutingOptions { retries: 5, ..PATIENT };
    let house = house(fast(), options).await;
    house.model.script_reply(Err(provider_error(ProviderErrorKind::Auth)));
    house.backup.script_reply(Err(provider_error(ProviderErrorKind::Auth)));
    assert_eq!(kind(ask(&house, false).await), ProviderErrorKind::Auth);
    assert_eq!(asked(&house), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_asks_for_patience_is_given_it() {
    let house = house(fast(), PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    let busy = ProviderErrorKind::RateLimited {
        retry_after: Some(Duration::from_secs(20)),
    };
    house.model.script_reply(Err(provider_error(busy)));
    assert!(ask_as(&house, &who, false).await.is_ok());
    assert!(ask_as(&house, &who, false).await.is_ok());
    assert_eq!(asked(&house), (1, 2));
    house.clock.advance(SignedDuration::from_secs(21));
    assert!(ask_as(&house, &who, false).await.is_ok());
    assert_eq!(asked(&house), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nowhere_else_to_go_a_full_target_is_asked_all_the_same() {
    let house = house(ModelAlias::plain("main", "fast"), PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    let busy = ProviderErrorKind::RateLimited {
        retry_after: Some(Duration::from_secs(20)),
    };
    house.model.script_reply(Err(provider_error(busy.clone())));
    assert_eq!(kind(ask_as(&house, &who, false).await), busy);
    assert!(ask_as(&house, &who, false).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_as_long_as_its_only_target_asks_and_no_longer_than_anybody_would() {
    let options = RoutingOptions { retries: 1, ..PATIENT };
    let house = house(ModelAlias::plain("main", "fast"), options).await;
    let who = house.somebody("ada@example.com").await;
    let busy = |after: Duration| {
        provider_error(ProviderErrorKind::RateLimited {
            retry_after: Some(after),
        })
    };
    house.model.script_reply(Err(busy(Duration::from_secs(1))));
    let begun = Instant::now();
    assert!(ask_as(&house, &who, false).await.is_ok());
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(asked(&house).0, 2);
    // Nobody waits a minute; the caller is told instead.
    house.model.script_reply(Err(busy(Duration::from_secs(60))));
    assert_eq!(
        kind(ask_as(&house, &who, false).await),
        busy(Duration::from_secs(60)).kind
    );
    assert_eq!(asked(&house).0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_open_the_breaker_and_one_call_at_a_time_tries() {
    let house = house(fast(), PATIENT).await;
    for i in 0..3 {
        let who = house.somebody(&format!("{i}@example.com")).await;
        house.model.script_reply(Err(provider_error(upstream())));
        assert!(ask_as(&house, &who, false).await.is_ok());
    }
    let who = house.somebody("ada@example.com").await;
    assert!(ask_as(&house, &who, false).await.is_ok());
    assert_eq!(asked(&house), (3, 4));
    // Half open: of two at once, one tries and the other goes to the next target.
    house.clock.advance(SignedDuration::from_secs(31));
    let slow = reply("m1", "slow", Some(DEFAULT_USAGE));
    house.model.script_reply_after(Duration::from_millis(200), Ok(slow));
    let (a, b) = tokio::join!(ask_as(&house, &who, false), ask_as(&house, &who, false));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(asked(&house), (4, 5));
    // It did well: closed.
    let other = house.somebody("eve@example.com").await;
    assert!(ask_as(&house, &other, false).await.is_ok());
    assert_eq!(asked(&house), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_left_alone_nobody_is_asked_and_the_caller_learns_when() {
    let house = house(ModelAlias::plain("main", "fast"), PATIENT).await;
    for i in 0..3 {
        let who = house.somebody(&format!("{i}@example.com")).await;
        house.model.script_reply(Err(provider_error(upstream())));
        assert_eq!(kind(ask_as(&house, &who, false).await), upstream());
    }
    let who = house.somebody("ada@example.com").await;
    let ProviderErrorKind::Resting { retry_after } = kind(ask_as(&house, &who, false).await) else {
        panic!()
    };
    assert_eq!(retry_after, Duration::from_secs(30));
    assert_eq!(asked(&house).0, 3);
    // Nothing of it is held or counted, once it is booked.
    house.chat.settled().await;
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_whose_client_went_away_leaves_it_to_the_next() {
    let house = house(ModelAlias::plain("main", "fast"), PATIENT).await;
    for i in 0..3 {
        let who = house.somebody(&format!("{i}@example.com")).await;
        house.model.script_reply(Err(provider_error(upstream())));
        assert!(ask_as(&house, &who, false).await.is_err());
    }
    house.clock.advance(SignedDuration::from_secs(31));
    let who = house.somebody("ada@example.com").await;
    house.model.script_stream([Step::Hang]);
    let (gone, asking) = (CancellationToken::new(), by(&who));
    let (chat, token) = (house.chat.clone(), gone.clone());
    let call = tokio::spawn(async move {
        let body = br#"{"model":"fast","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        chat.complete_chat(&asking, body, token).await
    });
    while asked(&house).0 < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gone.cancel();
    assert!(matches!(call.await.unwrap(), Err(ChatError::ClientGone)));
    assert!(ask_as(&house, &who, false).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_try_is_shared_out_by_weight() {
    let mut alias = fast();
    alias.targets[0].weight = Some(1);
    alias.targets[1].weight = Some(3);
    let house = house(alias, PATIENT).await;
    for i in 0..60 {
        let who = house.somebody(&format!("{i}@example.com")).await;
        assert!(ask_as(&house, &who, false).await.is_ok());
    }
    let (main, backup) = asked(&house);
    assert_eq!(main + backup, 60);
    // A quarter and three quarters; the identifiers are seeded, so this is the same each time.
    assert!((5..=25).contains(&main), "{main}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dearest_target_is_reserved_and_the_one_that_answered_is_booked() {
    let price = |usd: f64| {
        let tokens = NanoUsd::from_usd(usd);
        Some(ModelPrice {
            input: tokens,
            cached_input: tokens,
            output: tokens,
            cache_write: None,
        })
    };
    let mut alias = fast();
    alias.targets[0].price = price(1_000_000.0);
    alias.targets[1].price = price(10.0);
    let house = house(alias, PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    // A dollar a token: the call may cost more than the day's thousand dollars allow if it asks for that much.
    let body = br#"{"model":"fast","max_tokens":2000,"messages":[{"role":"user","content":"hi"}]}"#;
    let dear = house
        .chat
        .complete_chat(&by(&who), body, CancellationToken::new())
        .await;
    assert!(
        matches!(dear, Err(ChatError::Refused(CallRefused::ExceedsSpendCap { .. }))),
        "{dear:?}"
    );
    house.model.script_reply(Err(provider_error(upstream())));
    assert!(ask_as(&house, &who, false).await.is_ok());
    house.chat.settled().await;
    let level = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
    // 9 tokens at 10 dollars a million.
    assert_eq!((level.used, level.reserved), (90_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_for_the_plans_it_names() {
    let alias = ModelAlias {
        plans: Some(vec!["pro".into()]),
        ..fast()
    };
    let house = house(alias, PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    let outcome = ask_as(&house, &who, false).await;
    assert!(
        matches!(outcome, Err(ChatError::Refused(CallRefused::ModelNotInPlan { .. }))),
        "{outcome:?}"
    );
    assert!(house.chat.list_models(&by(&who)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_takes_longer_than_any_may_however_often_it_is_tried() {
    // The house's calls may take two seconds.
    let options = RoutingOptions {
        retries: 10,
        retry_pause: Duration::from_millis(700),
        ..PATIENT
    };
    let house = house(
        ModelAlias::plain("main", "fast"),
        RoutingOptions {
            breaker: BreakerPolicy {
                failures: 0,
                ..options.breaker
            },
            ..options
        },
    )
    .await;
    for _ in 0..10 {
        house.model.script_reply(Err(provider_error(upstream())));
    }
    let begun = Instant::now();
    assert_eq!(kind(ask(&house, false).await), upstream());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!((2..=4).contains(&asked(&house).0), "{}", asked(&house).0);
}

/// What a stream's first word says of a target is not all there is to say.
#[tokio::test(flavor = "multi_thread")]
async fn streams_in_a_row_that_break_off_open_the_breaker_and_clients_that_leave_do_not() {
    let house = house(fast(), PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    let ended = async |answer: ChatAnswer| {
        if let ChatAnswer::Stream { mut events, .. } = answer {
            while events.recv().await.is_some() {}
        }
        house.chat_calls_are(0).await;
    };
    let leaves = async || {
        house.model.script_stream([text_step("m1", "Hel"), Step::Hang]);
        drop(ask_as(&house, &who, true).await.unwrap());
        house.chat_calls_are(0).await;
    };
    let breaks_off = async || {
        let broken = Step::Fail(provider_error(ProviderErrorKind::Transport));
        house.model.script_stream([text_step("m1", "Hel"), broken]);
        ended(ask_as(&house, &who, true).await.unwrap()).await;
    };
    for _ in 0..3 {
        leaves().await;
    }
    breaks_off().await;
    breaks_off().await;
    assert_eq!(asked(&house), (5, 0), "no breaker has opened");
    breaks_off().await;
    ended(ask_as(&house, &who, true).await.unwrap()).await;
    assert_eq!(asked(&house), (6, 1), "the next is asked in its place");
    // The one that tries begins well and breaks off: it is left alone again.
    house.clock.advance(SignedDuration::from_secs(31));
    breaks_off().await;
    let other = house.somebody("eve@example.com").await;
    ended(ask_as(&house, &other, true).await.unwrap()).await;
    assert_eq!(asked(&house), (7, 2));
    // One that is whole makes it well.
    house.clock.advance(SignedDuration::from_secs(31));
    ended(ask_as(&house, &other, true).await.unwrap()).await;
    breaks_off().await;
    ended(ask_as(&house, &other, true).await.unwrap()).await;
    assert_eq!(asked(&house), (10, 2));
}

/// It was not asked, so it has nothing to say of why another failed, or of one that is left alone for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_hides_nothing_of_one_that_could() {
    let house = house(fast(), PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    let cannot = || {
        let parameter = "tools".to_owned();
        Err(provider_error(ProviderErrorKind::Unsupported { parameter }))
    };
    let late = ProviderErrorKind::Timeout(TimeoutStage::FirstToken);
    for _ in 0..3 {
        house.model.script_reply(Err(provider_error(late.clone())));
        house.backup.script_reply(cannot());
        assert_eq!(kind(ask_as(&house, &who, false).await), late);
    }
    // The one that could is left alone now.
    house.backup.script_reply(cannot());
    let resting = kind(ask_as(&house, &who, false).await);
    assert!(matches!(resting, ProviderErrorKind::Resting { .. }), "{resting:?}");
}

/// Anybody may send a request that every provider breaks off.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_at_fault_opens_no_breaker() {
    let house = house(fast(), PATIENT).await;
    let who = house.somebody("ada@example.com").await;
    for error in [json!({ "type": "invalid_request_error" }), json!({ "code": 400 })] {
        for _ in 0..3 {
            let fault = ProviderErrorKind::Protocol {
                error: Some(error.clone()),
            };
            house
                .model
                .script_stream([text_step("m1", "Hel"), Step::Fail(provider_error(fault))]);
            let Ok(ChatAnswer::Stream { mut events, .. }) = ask_as(&house, &who, true).await else {
                panic!()
            };
            while events.recv().await.is_some() {}
            house.chat_calls_are(0).await;
        }
    }
    assert_eq!(asked(&house), (6, 0));
}
