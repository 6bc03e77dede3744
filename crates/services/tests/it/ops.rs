//! Health, the deployment's key, repeated requests.

use anteroom_domain::sessions::Transport;
use anteroom_ports::Durability;
use anteroom_services::ops::{CheckKeyError, Claimed, HeldKey, Repeat, RepeatError};

use crate::house::{House, LEASE};

/// Claims a key that must be free.
async fn held(house: &House, ask: &Repeat<'_>) -> HeldKey {
    match house.ops.claim_request(ask).await {
        Ok(Claimed::Fresh(held)) => held,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_equal_requests_at_once_one_is_carried_out() {
    let house = House::new().await;
    let user_id = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let tries = (0..64).map(|_| {
        let ops = house.ops.clone();
        tokio::spawn(async move {
            ops.claim_request(&Repeat {
                user_id,
                key: "k",
                request: b"POST /x\n{}",
            })
            .await
        })
    });
    let (mut fresh, mut running) = (0, 0);
    for outcome in futures_util::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(Claimed::Fresh(_)) => fresh += 1,
            Err(RepeatError::Running) => running += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((fresh, running), (1, 63));
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let house = House::new().await;
    let user_id = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let ask = |request: &'static [u8]| Repeat {
        user_id,
        key: "k",
        request,
    };
    let first = held(&house, &ask(b"one")).await;
    assert!(house.ops.forget_request(&first).await.unwrap());
    let second = held(&house, &ask(b"one")).await;
    assert!(house.ops.keep_answer(&second, 201, "{\"id\":1}").await.unwrap());
    let answered = house.ops.claim_request(&ask(b"one")).await.unwrap();
    assert!(
        matches!(&answered, Claimed::Answered { status: 201, body } if body == "{\"id\":1}"),
        "{answered:?}"
    );
    assert!(matches!(
        house.ops.claim_request(&ask(b"two")).await,
        Err(RepeatError::Mismatch)
    ));
    house.clock.advance_seconds(86_401);
    assert_eq!(house.ops.purge_answers().await.unwrap(), 1);
    held(&house, &ask(b"two")).await;
}

#[tokio::test]
async fn a_request_whose_process_died_can_be_made_again_after_a_lease() {
    let house = House::new().await;
    let user_id = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let ask = Repeat {
        user_id,
        key: "k",
        request: b"one",
    };
    let first = held(&house, &ask).await;
    let running = async || matches!(house.ops.claim_request(&ask).await, Err(RepeatError::Running));
    // While it runs it is renewed, every third of a lease and not more often.
    for _ in 0..10 {
        house.clock.advance_seconds(LEASE.as_secs() / 3);
        assert_eq!(house.ops.tend_requests().await.unwrap(), 1);
        assert_eq!(house.ops.tend_requests().await.unwrap(), 0);
        assert!(running().await);
    }
    // Then its node stands still for longer than a lease.
    house.clock.advance_seconds(LEASE.as_secs() - 1);
    assert!(running().await);
    house.clock.advance_seconds(1);
    let second = held(&house, &ask).await;
    assert_eq!(second.made_id, first.made_id, "it makes what the first would have made");
    // What it has to say when it wakes up is not heard.
    assert!(!house.ops.keep_answer(&first, 201, "first").await.unwrap());
    assert!(!house.ops.forget_request(&first).await.unwrap());
    assert!(running().await);
    assert!(house.ops.keep_answer(&second, 201, "second").await.unwrap());
    let answered = house.ops.claim_request(&ask).await.unwrap();
    assert!(matches!(answered, Claimed::Answered { body, .. } if body == "second"));
    // Who has ended holds nothing that would be renewed.
    drop((first, second));
    house.clock.advance_seconds(LEASE.as_secs());
    assert_eq!(house.ops.tend_requests().await.unwrap(), 0);
}

#[tokio::test]
async fn the_store_knows_its_key() {
    let house = House::new().await;
    assert!(!house.ops.compare_key().await.unwrap(), "none is kept yet");
    assert!(!house.ops.compare_key().await.unwrap(), "comparing keeps none");
    house.ops.check_key().await.unwrap();
    house.ops.check_key().await.unwrap();
    assert!(house.ops.compare_key().await.unwrap());
    assert!(house.ops.check_health().await.unwrap().schema_current);
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let kept = unit.deployment_value("secret_key_check", "another").await.unwrap();
    assert_ne!(kept, "another");
}

#[tokio::test]
async fn another_key_is_recognised_whatever_the_schema() {
    let house = House::new().await;
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.deployment_value("secret_key_check", "another").await.unwrap();
    unit.commit().await.unwrap();
    let refused = |outcome: Result<bool, CheckKeyError>| matches!(outcome, Err(CheckKeyError::AnotherKey));
    assert!(refused(house.ops.compare_key().await));
    assert!(refused(house.ops.check_key().await.map(|()| true)));
    house.take_back_newest().await;
    assert!(refused(house.ops.compare_key().await));
    // Down to nothing: there is none to compare with.
    while house.take_back_newest().await.is_some() {}
    assert!(!house.ops.compare_key().await.unwrap());
}
