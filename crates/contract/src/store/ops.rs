//! Answers kept for repeated requests, and the deployment's values.

use std::time::Duration;

use anteroom_domain::UserId;
use anteroom_ports::ops::{Claim, IdempotentRequest};

use anteroom_services::migrations::schema_status;

use super::samples::{at, id, stored_user};
use super::{TestDatabase, begin, migrate_up, race, ready};

fn request(user_id: UserId, key: &str, second: i64) -> IdempotentRequest {
    IdempotentRequest {
        user_id,
        key: key.into(),
        fingerprint: [7; 32],
        created_at: at(second),
        running_until: at(second + 60),
        held_by: id(),
        made_id: id(),
    }
}

/// The request is to be carried out, as this try or an earlier one would have.
fn fresh(request: &IdempotentRequest) -> Claim {
    Claim::Fresh {
        made_id: request.made_id,
    }
}

/// In every order that can happen.
pub async fn an_idempotency_key_is_claimed_answered_and_given_back(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, eve) = (stored_user(&store).await.id, stored_user(&store).await.id);
    let mut unit = begin(&store).await;
    let mine = request(ada, "key", 0);
    let mut other = mine.clone();
    other.fingerprint = [8; 32];
    assert_eq!(unit.claim_idempotent(&mine).await.unwrap(), fresh(&mine));
    assert_eq!(unit.claim_idempotent(&mine).await.unwrap(), Claim::Running);
    assert_eq!(unit.claim_idempotent(&other).await.unwrap(), Claim::Mismatch);
    // Another user's key, and another key, are others.
    for others in [request(eve, "key", 0), request(ada, "KEY", 0)] {
        assert_eq!(unit.claim_idempotent(&others).await.unwrap(), fresh(&others));
    }

    assert!(unit.drop_idempotent(ada, "key", mine.held_by).await.unwrap());
    assert_eq!(unit.claim_idempotent(&other).await.unwrap(), fresh(&other));
    assert!(unit.drop_idempotent(ada, "key", other.held_by).await.unwrap());
    assert_eq!(unit.claim_idempotent(&mine).await.unwrap(), fresh(&mine));
    let body = r#"{"id":1}"#;
    let finished = unit.finish_idempotent(ada, "key", mine.held_by, 201, body).await;
    assert!(finished.unwrap());
    let answered = Claim::Answered {
        status: 201,
        body: body.into(),
    };
    assert_eq!(unit.claim_idempotent(&mine).await.unwrap(), answered);
    assert_eq!(unit.claim_idempotent(&other).await.unwrap(), Claim::Mismatch);
    // An answer is not given back.
    assert!(!unit.drop_idempotent(ada, "key", mine.held_by).await.unwrap());
    assert_eq!(unit.claim_idempotent(&mine).await.unwrap(), answered);
}

/// By the same request, once its process must be dead; and it makes what the first would have made.
pub async fn a_dead_claim_is_taken_over(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await.id;
    let mut unit = begin(&store).await;
    let first = request(ada, "key", 0);
    assert_eq!(unit.claim_idempotent(&first).await.unwrap(), fresh(&first));
    let early = request(ada, "key", 59);
    assert_eq!(unit.claim_idempotent(&early).await.unwrap(), Claim::Running);
    let mut other = request(ada, "key", 60);
    other.fingerprint = [8; 32];
    assert_eq!(unit.claim_idempotent(&other).await.unwrap(), Claim::Mismatch);
    let second = request(ada, "key", 60);
    assert_eq!(unit.claim_idempotent(&second).await.unwrap(), fresh(&first));
    let third = request(ada, "key", 61);
    assert_eq!(unit.claim_idempotent(&third).await.unwrap(), Claim::Running);
    // The first was not dead after all: it has nothing to say any more.
    assert!(
        !unit
            .finish_idempotent(ada, "key", first.held_by, 201, "first")
            .await
            .unwrap()
    );
    assert!(!unit.drop_idempotent(ada, "key", first.held_by).await.unwrap());
    assert_eq!(unit.claim_idempotent(&third).await.unwrap(), Claim::Running);
    let finished = unit.finish_idempotent(ada, "key", second.held_by, 201, "second").await;
    assert!(finished.unwrap());
    let answered = Claim::Answered {
        status: 201,
        body: "second".into(),
    };
    assert_eq!(unit.claim_idempotent(&third).await.unwrap(), answered);
}

/// As long as the request runs; not by whoever lost it.
pub async fn keys_are_renewed(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await.id;
    let mut unit = begin(&store).await;
    let (renewed, left) = (request(ada, "renewed", 0), request(ada, "left", 0));
    for first in [&renewed, &left] {
        assert_eq!(unit.claim_idempotent(first).await.unwrap(), fresh(first));
    }
    unit.renew_idempotent(&[renewed.held_by, id()], at(120)).await.unwrap();
    unit.renew_idempotent(&[], at(999)).await.unwrap();
    let again = request(ada, "renewed", 119);
    assert_eq!(unit.claim_idempotent(&again).await.unwrap(), Claim::Running);
    let next = request(ada, "left", 60);
    assert_eq!(unit.claim_idempotent(&next).await.unwrap(), fresh(&left));
    unit.renew_idempotent(&[left.held_by], at(999)).await.unwrap();
    let after = request(ada, "left", 120);
    assert_eq!(unit.claim_idempotent(&after).await.unwrap(), fresh(&left));
}

/// Of a new key, and of a dead claim.
pub async fn of_parallel_claims_one_is_fresh(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await.id;
    for second in [0, 100] {
        let claims = race(|_| {
            let store = store.clone();
            async move {
                let mut unit = begin(&store).await;
                let claim = unit.claim_idempotent(&request(ada, "key", second)).await.unwrap();
                unit.commit().await.unwrap();
                claim
            }
        })
        .await;
        let fresh = claims.iter().filter(|c| matches!(c, Claim::Fresh { .. })).count();
        let running = claims.iter().filter(|claim| **claim == Claim::Running).count();
        assert_eq!((fresh, running), (1, claims.len() - 1));
    }
}

/// At most as many as asked for.
pub async fn old_keys_are_purged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await.id;
    let mut unit = begin(&store).await;
    for second in 0..5 {
        unit.claim_idempotent(&request(ada, &format!("key {second}"), second))
            .await
            .unwrap();
    }
    assert_eq!(unit.purge_idempotent(at(4), 3).await.unwrap(), 3);
    assert_eq!(unit.purge_idempotent(at(4), 3).await.unwrap(), 1);
    assert_eq!(unit.purge_idempotent(at(4), 3).await.unwrap(), 0);
    assert_eq!(
        unit.claim_idempotent(&request(ada, "key 4", 9)).await.unwrap(),
        Claim::Running
    );
}

/// Of parallel writers all get what one wrote.
pub async fn a_deployment_value_is_written_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let values = race(|number| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let value = unit.deployment_value("name", &number.to_string()).await.unwrap();
            unit.commit().await.unwrap();
            value
        }
    })
    .await;
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    let mut unit = begin(&store).await;
    assert_eq!(unit.deployment_value("other", "own").await.unwrap(), "own");
}

/// Reading it neither fails nor makes anything.
pub async fn without_a_schema_no_value_is_kept(database: &dyn TestDatabase) {
    let store = database.open(Duration::from_secs(20)).await;
    let kept = async || store.read().await.unwrap().kept_deployment_value("name").await.unwrap();
    assert_eq!(kept().await, None);
    assert_eq!(schema_status(&*store).await.unwrap().applied, []);
    migrate_up(&store).await.unwrap();
    assert_eq!(kept().await, None);
    let mut unit = begin(&store).await;
    unit.deployment_value("name", "value").await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(kept().await.as_deref(), Some("value"));
}
