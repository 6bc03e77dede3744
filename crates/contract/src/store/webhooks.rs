//! The outbox.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_ports::Store;
use anteroom_ports::webhooks::OutboxItem;

use super::samples::{at, id};
use super::{RACERS, TestDatabase, begin, race, ready};

fn item(second: i64) -> OutboxItem {
    OutboxItem {
        id: id(),
        topic: "mail".into(),
        payload: r#"{"to":"ada@example.com"}"#.into(),
        attempts: 0,
        created_at: at(second),
    }
}

async fn claim(store: &Arc<dyn Store>, now: i64, limit: i64) -> Vec<OutboxItem> {
    let mut unit = begin(store).await;
    let items = unit.claim_outbox(at(now), at(now + 10), limit).await.unwrap();
    unit.commit().await.unwrap();
    items
}

fn tried(item: &OutboxItem, attempts: i32) -> OutboxItem {
    OutboxItem {
        attempts,
        ..item.clone()
    }
}

/// Until the lease ends; then they are anybody's again.
pub async fn items_are_claimed_oldest_first_and_hidden(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (first, second, third) = (item(1), item(2), item(3));
    let mut unit = begin(&store).await;
    for item in [&third, &first, &second] {
        unit.insert_outbox(item).await.unwrap();
    }
    unit.commit().await.unwrap();
    assert_eq!(claim(&store, 0, 9).await, []);
    assert_eq!(claim(&store, 5, 2).await, [tried(&first, 1), tried(&second, 1)]);
    assert_eq!(claim(&store, 6, 9).await, [tried(&third, 1)]);
    assert_eq!(claim(&store, 14, 9).await, []);
    assert_eq!(claim(&store, 15, 9).await, [tried(&first, 2), tried(&second, 2)]);
    let mut unit = begin(&store).await;
    for item in [&first, &third] {
        unit.finish_outbox(item.id).await.unwrap();
    }
    unit.finish_outbox(id()).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(claim(&store, 99, 9).await, [tried(&second, 3)]);
}

/// When it was told to.
pub async fn a_failed_item_comes_back(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let only = item(1);
    let mut unit = begin(&store).await;
    unit.insert_outbox(&only).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(claim(&store, 1, 9).await, [tried(&only, 1)]);
    let mut unit = begin(&store).await;
    unit.retry_outbox(only.id, at(50)).await.unwrap();
    unit.retry_outbox(id(), at(50)).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(claim(&store, 49, 9).await, []);
    assert_eq!(claim(&store, 50, 9).await, [tried(&only, 2)]);
}

/// And vanish with a unit that is dropped.
pub async fn items_wait_for_the_commit(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    unit.insert_outbox(&item(1)).await.unwrap();
    drop(unit);
    assert_eq!(claim(&store, 9, 9).await, []);
}

/// And together they get all.
pub async fn parallel_claims_never_share_an_item(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    for second in 0..i64::try_from(RACERS).unwrap() {
        unit.insert_outbox(&item(second)).await.unwrap();
    }
    unit.commit().await.unwrap();
    let claims = race(|number| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let items = unit.claim_outbox(at(900), at(990), 3).await.unwrap();
            // Every fourth dies with its claim.
            if number % 4 == 0 {
                return Vec::new();
            }
            unit.commit().await.unwrap();
            items
        }
    })
    .await;
    let mut ids: Vec<_> = claims.into_iter().flatten().map(|item| item.id).collect();
    // Those of the dead claims come back; the last of them may still be being undone.
    let started = Instant::now();
    while ids.len() < RACERS && started.elapsed() < Duration::from_secs(5) {
        ids.extend(claim(&store, 900, 3).await.into_iter().map(|item| item.id));
    }
    assert_eq!(ids.len(), RACERS);
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), RACERS);
}
