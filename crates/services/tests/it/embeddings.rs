//! Embeddings: who may, what is held and booked, in every ending.

use std::time::Duration;

use anteroom_domain::access::UsedWith;
use anteroom_domain::billing::{METER_MESSAGES, METER_SPEND, NanoUsd, Owner};
use anteroom_domain::chat::{Outcome, TokenUsage, UsageEvent};
use anteroom_ports::chat::ProviderErrorKind;
use anteroom_ports::{Clock as _, Durability};
use anteroom_services::Client;
use anteroom_services::access::Principal;
use anteroom_services::chat::{CallRefused, ChatError, Embeddings};
use anteroom_services::sessions::LiveSession;
use anteroom_testkit::StreamEnd;
use anteroom_testkit::chat::provider_error;
use anteroom_testkit::embedder::{DEFAULT_VECTORS, vectors};
use tokio_util::sync::CancellationToken;

use crate::house::{FREE_LIMIT, House};

const BODY: &str = r#"{"model":"small","input":["eight by","eight by"],"dimensions":3}"#;

fn by(who: &LiveSession) -> Principal {
    who.clone().into()
}

async fn embed(house: &House, who: &LiveSession, body: &str) -> Result<Embeddings, ChatError> {
    let gone = CancellationToken::new();
    house.chat.create_embeddings(&by(who), body.as_bytes(), gone).await
}

/// Whether the last call is booked once: a second booking under its id is refused.
async fn booked(house: &House, who: &LiveSession) -> bool {
    let (call, _) = house.embedder.calls().pop().unwrap();
    let event = UsageEvent {
        request_id: call.request_id,
        owner: Owner::account(who.user.id),
        used_with: UsedWith::Session(who.session.id),
        served_by: None,
        plan: "free".into(),
        model: "x".into(),
        usage: TokenUsage::default(),
        exact: true,
        cost: None,
        first_token_ms: None,
        total_ms: 0,
        outcome: Outcome::Complete,
        created_at: house.clock.now(),
    };
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.insert_usage(&[&event]).await.unwrap() == 0
}

#[tokio::test]
async fn a_request_is_relayed_as_it_came_and_its_answer_too() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let mut reply = vectors(None);
    reply.dropped = vec!["user".to_owned()];
    house.embedder.script(Duration::ZERO, Ok(reply));
    let answer = embed(&house, &who, BODY).await.unwrap();
    assert_eq!(answer.body, DEFAULT_VECTORS);
    assert_eq!(answer.dropped, ["user"]);
    let (call, end) = house.embedder.calls().pop().unwrap();
    assert_eq!((call.body.as_ref(), call.model.as_str()), (BODY.as_bytes(), "small"));
    assert_eq!(end, StreamEnd::Finished);
}

#[tokio::test]
async fn a_target_that_makes_embeddings_is_counted_too() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let used = TokenUsage {
        prompt_tokens: 7,
        ..TokenUsage::default()
    };
    let failed = Err(provider_error(ProviderErrorKind::Upstream { status: 500 }));
    for reply in [Ok(vectors(Some(used))), failed] {
        house.embedder.script(Duration::ZERO, reply);
        let _ = embed(&house, &who, BODY).await;
        house.chat_calls_are(0).await;
    }
    let calls = house.observer.calls();
    let counted: Vec<_> = calls
        .iter()
        .map(|call| (call.operation, call.outcome, call.failure, call.usage, call.first_chunk))
        .collect();
    assert_eq!(
        counted,
        [
            ("embeddings", Outcome::Complete, None, Some(used), false),
            ("embeddings", Outcome::Failed, Some("upstream"), None, false),
        ]
    );
}

#[tokio::test]
async fn what_was_used_is_booked_once_in_every_ending() {
    let failed = || Err(provider_error(ProviderErrorKind::Upstream { status: 500 }));
    let said = |tokens| TokenUsage {
        prompt_tokens: tokens,
        ..TokenUsage::default()
    };
    // What the provider does, whether that is an answer, how many messages it counts as, and tokens.
    for (answer, whole, counted, tokens) in [
        (Ok(vectors(Some(said(7)))), true, 1, 7),
        // Eight bytes of text twice are four tokens at least.
        (Ok(vectors(None)), true, 1, 4),
        (failed(), false, 0, 0),
    ] {
        let house = House::new().await;
        let who = house.somebody("ada@example.com").await;
        house.embedder.script(Duration::ZERO, answer);
        assert_eq!(embed(&house, &who, BODY).await.is_ok(), whole);
        house.chat.settled().await;
        let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
        assert_eq!((level.used, level.reserved), (counted, 0));
        let spend = house.level(Owner::DEPLOYMENT, METER_SPEND).await;
        assert_eq!((spend.used, spend.reserved), (tokens * 1000, 0), "a dollar a million");
        assert!(booked(&house, &who).await);
    }
}

#[tokio::test]
async fn a_client_or_a_session_that_goes_ends_the_call() {
    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    for client_leaves in [true, false] {
        house.embedder.script(Duration::from_secs(3600), Ok(vectors(None)));
        let number = house.embedder.calls().len();
        let gone = CancellationToken::new();
        let (chat, caller, leaving) = (house.chat.clone(), who.clone(), gone.clone());
        let call = tokio::spawn(async move { chat.create_embeddings(&by(&caller), BODY.as_bytes(), leaving).await });
        while house.embedder.calls().len() == number {
            tokio::task::yield_now().await;
        }
        if client_leaves {
            gone.cancel();
            assert!(matches!(call.await.unwrap(), Err(ChatError::ClientGone)));
        } else {
            house.sessions.log_out(&who.session, &Client::default()).await.unwrap();
            assert!(matches!(call.await.unwrap(), Err(ChatError::SessionEnded)));
        }
        assert_eq!(house.embedder.calls()[number].1, StreamEnd::Dropped);
    }
    house.chat.settled().await;
    assert!(booked(&house, &who).await);
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (2, 0), "what was sent was used");
}

#[tokio::test]
async fn plans_limits_and_the_cap_hold() {
    let house = House::with(true, NanoUsd(10_000), &["small", "large"]).await;
    let who = house.somebody("ada@example.com").await;
    let refused = |outcome: Result<Embeddings, ChatError>| match outcome.unwrap_err() {
        ChatError::Refused(refused) => refused,
        e => panic!("{e}"),
    };
    let large = BODY.replace("small", "large");
    let not_in_plan = refused(embed(&house, &who, &large).await);
    assert!(matches!(not_in_plan, CallRefused::ModelNotInPlan { .. }));
    let dear = BODY.replace("eight by", &"x".repeat(1000));
    let too_dear = refused(embed(&house, &who, &dear).await);
    assert!(matches!(too_dear, CallRefused::ExceedsSpendCap { .. }));
    assert!(house.embedder.calls().is_empty());

    let house = House::new().await;
    let who = house.somebody("ada@example.com").await;
    let tries = (0..64).map(|_| {
        let (chat, who) = (house.chat.clone(), who.clone());
        tokio::spawn(async move {
            chat.create_embeddings(&by(&who), BODY.as_bytes(), CancellationToken::new())
                .await
        })
    });
    let mut through = 0;
    for outcome in futures_util::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(_) => through += 1,
            Err(ChatError::Refused(CallRefused::QuotaExceeded { .. })) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(through, FREE_LIMIT);
    house.chat.settled().await;
    let level = house.level(Owner::account(who.user.id), METER_MESSAGES).await;
    assert_eq!((level.used, level.reserved), (FREE_LIMIT, 0));
}
