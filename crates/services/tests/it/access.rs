//! API keys: what is kept in memory of them, and what becomes of calls that were made with one.

use std::time::{Duration, Instant};

use anteroom_domain::access::{ApiKey, BudgetWindow, Scope};
use anteroom_domain::billing::{METER_KEY_BUDGET, Owner, SubscriptionStatus};
use anteroom_ports::Clock as _;
use anteroom_services::access::{ChangeApiKey, CreateKeyError, CreatedKey, NewBudget, Principal};
use anteroom_services::chat::ChatError;
use anteroom_services::sessions::{AuthenticateError, LiveSession};
use anteroom_services::{Access, Client};
use anteroom_testkit::chat::{Step, text_step};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::house::{House, LEASE, MAX_KEYS};

async fn made(house: &House, live: &LiveSession, said: ChangeApiKey) -> CreatedKey {
    let said = ChangeApiKey {
        name: Some("nightly".into()),
        ..said
    };
    house
        .access
        .create_api_key(live, said, &Client::default())
        .await
        .unwrap()
}

async fn opens(access: &Access, key: &CreatedKey) -> bool {
    match access.key(key.text.expose_secret()).await {
        Ok(_) => true,
        Err(AuthenticateError::Unauthenticated) => false,
        Err(e) => panic!("{e}"),
    }
}

/// Waits until the key opens nothing; answers how long that took.
async fn closed(access: &Access, key: &CreatedKey) -> Duration {
    let begun = Instant::now();
    while opens(access, key).await {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// Nobody tells it, as where the link is down: it looks again, well within the second.
#[tokio::test]
async fn a_node_that_hears_nothing_notices_by_itself() {
    let house = House::new().await;
    let other = house.another_access();
    let live = house.somebody("ada@example.com").await;
    let key = made(&house, &live, ChangeApiKey::default()).await;
    assert!(opens(&house.access, &key).await && opens(&other, &key).await);
    assert!(
        other.key_cached(key.text.expose_secret()).is_some(),
        "it is kept in memory"
    );
    house
        .access
        .delete_api_key(&live, key.state.key.id, &Client::default())
        .await
        .unwrap();
    assert!(!opens(&house.access, &key).await, "at once where it was done");
    let took = closed(&other, &key).await;
    assert!(took < Duration::from_millis(700), "{took:?}");
}

/// Neither an end of its own nor that of an exchanged secret needs anybody to say so.
#[tokio::test]
async fn the_clock_ends_keys_that_are_kept_in_memory() {
    let house = House::new().await;
    let live = house.somebody("ada@example.com").await;
    let expiring = ChangeApiKey {
        expires_at: Some(Some(house.clock.now() + SignedDuration::from_secs(100))),
        ..ChangeApiKey::default()
    };
    let expiring = made(&house, &live, expiring).await;
    let old = made(&house, &live, ChangeApiKey::default()).await;
    let overlap = SignedDuration::from_secs(50);
    let id = old.state.key.id;
    let new = house
        .access
        .rotate_api_key(&live, id, overlap, &Client::default())
        .await
        .unwrap();
    let open = async || {
        [
            opens(&house.access, &expiring).await,
            opens(&house.access, &old).await,
            opens(&house.access, &new).await,
        ]
    };
    assert_eq!(open().await, [true; 3]);
    house.clock.advance_seconds(49);
    assert_eq!(open().await, [true; 3]);
    house.clock.advance_seconds(1);
    assert_eq!(open().await, [true, false, true]);
    house.clock.advance_seconds(50);
    assert_eq!(open().await, [false, false, true]);
    assert_eq!(house.access.purge_expired().await.unwrap(), 0);
    house.clock.advance(SignedDuration::from_hours(24 * 30 + 1));
    assert_eq!(house.access.purge_expired().await.unwrap(), 1);
    let page = house.access.list_api_keys(live.user.id, None, 10).await.unwrap();
    let left: Vec<_> = page.items.iter().map(|state| state.key.id).collect();
    assert_eq!(left, [id]);
}

/// However often a wrong one is presented.
#[tokio::test]
async fn unknown_keys_fill_no_memory() {
    let house = House::new().await;
    for number in 0..100_u8 {
        let text = anteroom_domain::access::api_key_text(&[number; 32]);
        assert!(house.access.key(text.expose_secret()).await.is_err());
        assert!(house.access.key(&format!("ar_{number}")).await.is_err());
    }
    assert_eq!(house.access.keys_kept(), 0);
}

#[tokio::test]
async fn an_account_has_room_for_so_many() {
    let house = House::new().await;
    let live = house.somebody("ada@example.com").await;
    for _ in 0..MAX_KEYS {
        made(&house, &live, ChangeApiKey::default()).await;
    }
    let said = ChangeApiKey {
        name: Some("one more".into()),
        ..ChangeApiKey::default()
    };
    let refused = house.access.create_api_key(&live, said, &Client::default()).await;
    assert!(
        matches!(refused, Err(CreateKeyError::TooMany { limit: MAX_KEYS })),
        "{refused:?}"
    );
}

fn spending() -> ChangeApiKey {
    ChangeApiKey {
        budget: Some(Some(NewBudget {
            limit_usd: 1.0,
            window: BudgetWindow::Day,
        })),
        ..ChangeApiKey::default()
    }
}

async fn principal(house: &House, key: &CreatedKey) -> Principal {
    let live = house.access.key(key.text.expose_secret()).await.unwrap();
    Principal::Key(live, Scope::Chat)
}

const BODY: &str = r#"{"model":"large","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;

/// What it held is given back to the key as well, and the usage is the key's.
#[tokio::test]
async fn the_call_of_a_key_whose_process_died_is_swept() {
    let house = House::new().await;
    let live = house.payer("ada@example.com", SubscriptionStatus::Active).await;
    let key = made(&house, &live, spending()).await;
    let owner = Owner::api_key(key.state.key.id);
    house.model.script_stream([text_step("large", "Hel"), Step::Hang]);
    let who = principal(&house, &key).await;
    let answer = house
        .chat
        .complete_chat(&who, BODY.as_bytes(), CancellationToken::new())
        .await
        .unwrap();
    let held = house.level(owner, METER_KEY_BUDGET).await;
    assert!(held.reserved > 0 && held.used == 0, "{held:?}");
    house.clock.advance(LEASE * 2 + SignedDuration::from_secs(1));
    assert_eq!(house.chat.sweep_calls().await.unwrap(), 1);
    let swept = house.level(owner, METER_KEY_BUDGET).await;
    assert!(swept.reserved == 0 && swept.used > 0, "{swept:?}");
    drop(answer);
}

/// Whatever narrows a key ends what it may no longer do, and a new name ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_key_may_no_longer_make_it() {
    for (change, ends) in [
        (
            ChangeApiKey {
                name: Some("other".into()),
                ..ChangeApiKey::default()
            },
            false,
        ),
        (
            ChangeApiKey {
                models: Some(Some(vec!["large".into()])),
                ..ChangeApiKey::default()
            },
            false,
        ),
        (
            ChangeApiKey {
                models: Some(Some(vec!["small".into()])),
                ..ChangeApiKey::default()
            },
            true,
        ),
        (
            ChangeApiKey {
                scopes: Some(vec!["models".into()]),
                ..ChangeApiKey::default()
            },
            true,
        ),
    ] {
        let house = House::new().await;
        let live = house.payer("ada@example.com", SubscriptionStatus::Active).await;
        let key = made(&house, &live, ChangeApiKey::default()).await;
        house.model.script_stream([text_step("large", "Hel"), Step::Hang]);
        let who = principal(&house, &key).await;
        let answer = house
            .chat
            .complete_chat(&who, BODY.as_bytes(), CancellationToken::new())
            .await
            .unwrap();
        let anteroom_services::chat::ChatAnswer::Stream { mut events, .. } = answer else {
            panic!("not a stream")
        };
        events.recv().await.unwrap();
        let before: ApiKey = key.state.key.clone();
        let id = before.id;
        house
            .access
            .change_api_key(&live, id, change.clone(), &Client::default())
            .await
            .unwrap();
        let next = tokio::time::timeout(Duration::from_millis(800), events.recv()).await;
        match next {
            Ok(Some(anteroom_services::chat::Relayed::Failed(e))) if matches!(*e, ChatError::SessionEnded) => {
                assert!(ends, "{change:?}");
            }
            Err(_) => assert!(!ends, "{change:?}"),
            other => panic!("{change:?}: {other:?}"),
        }
    }
}
