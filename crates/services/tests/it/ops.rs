//! Health, the deployment's key, repeated requests.

use anteroom_domain::sessions::Transport;
use anteroom_services::ops::{Repeat, RepeatError};

use crate::house::House;

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
            Ok(None) => fresh += 1,
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
    assert!(house.ops.claim_request(&ask(b"one")).await.unwrap().is_none());
    house.ops.forget_request(user_id, "k").await.unwrap();
    assert!(
        house.ops.claim_request(&ask(b"one")).await.unwrap().is_none(),
        "given back"
    );
    house.ops.keep_answer(user_id, "k", 201, "{\"id\":1}").await.unwrap();
    assert_eq!(
        house.ops.claim_request(&ask(b"one")).await.unwrap(),
        Some((201, "{\"id\":1}".to_owned()))
    );
    assert!(matches!(
        house.ops.claim_request(&ask(b"two")).await,
        Err(RepeatError::Mismatch)
    ));
    house.clock.advance_seconds(86_401);
    assert_eq!(house.ops.purge_answers().await.unwrap(), 1);
    assert!(house.ops.claim_request(&ask(b"two")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_request_whose_process_died_can_be_made_again() {
    let house = House::new().await;
    let user_id = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    let ask = Repeat {
        user_id,
        key: "k",
        request: b"one",
    };
    assert!(house.ops.claim_request(&ask).await.unwrap().is_none());
    assert!(matches!(house.ops.claim_request(&ask).await, Err(RepeatError::Running)));
    house.clock.advance_seconds(16 * 60);
    assert!(house.ops.claim_request(&ask).await.unwrap().is_none());
}

#[tokio::test]
async fn the_store_knows_its_key() {
    let house = House::new().await;
    house.ops.check_key().await.unwrap();
    house.ops.check_key().await.unwrap();
    assert!(house.ops.check_health().await.unwrap().schema_current);
    let mut unit = house.store.begin(anteroom_ports::Durability::Full).await.unwrap();
    let kept = unit.deployment_value("secret_key_check", "another").await.unwrap();
    assert_ne!(kept, "another");
}
