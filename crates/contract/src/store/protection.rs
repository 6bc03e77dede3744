//! Counters of failed logins.

use std::sync::Arc;

use anteroom_domain::protection::LoginFailures;
use anteroom_ports::{Digest, Durability, Store};

use super::samples::{at, digest};
use super::{RACERS, TestDatabase, begin, race, ready};

fn failures(number: u32, second: i64) -> LoginFailures {
    LoginFailures {
        failures: number,
        forgiven_at: Some(at(second - 5)),
        last_failure_at: Some(at(second)),
        blocked_until: Some(at(second + 60)),
        told_at: Some(at(second + 1)),
    }
}

async fn put(store: &Arc<dyn Store>, key: &Digest, failures: &LoginFailures) {
    let mut unit = begin(store).await;
    unit.lock_login_failures(key, at(0)).await.unwrap();
    unit.put_login_failures(key, failures).await.unwrap();
    unit.commit().await.unwrap();
}

async fn known(store: &Arc<dyn Store>, keys: &[Digest]) -> Vec<LoginFailures> {
    store.read().await.unwrap().login_failures(keys).await.unwrap()
}

/// Every field, to the microsecond; and nothing is known of an untouched key.
pub async fn failures_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (one, other, unknown) = (digest(), digest(), digest());
    let bare = LoginFailures {
        failures: 1,
        last_failure_at: Some(at(9)),
        ..LoginFailures::default()
    };
    put(&store, &one, &failures(7, 3)).await;
    put(&store, &other, &bare).await;
    // In the order in which it is asked for them.
    let found = known(&store, &[other, unknown, one]).await;
    assert_eq!(found, [bare, LoginFailures::default(), failures(7, 3)]);
    assert_eq!(known(&store, &[]).await, []);
    // What was there goes away as well.
    put(&store, &one, &bare).await;
    assert_eq!(known(&store, &[one]).await, [bare]);
}

/// And the first time makes nothing that counts.
pub async fn an_untouched_key_is_locked_as_zero(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let key = digest();
    let mut unit = begin(&store).await;
    let zero = unit.lock_login_failures(&key, at(1)).await.unwrap();
    assert_eq!(zero, LoginFailures::default());
    unit.commit().await.unwrap();
    assert_eq!(known(&store, &[key]).await, [zero]);
    // Locking is reading, and changes nothing.
    put(&store, &key, &failures(2, 5)).await;
    let mut unit = begin(&store).await;
    assert_eq!(unit.lock_login_failures(&key, at(99)).await.unwrap(), failures(2, 5));
    unit.commit().await.unwrap();
    assert_eq!(known(&store, &[key]).await, [failures(2, 5)]);
}

/// The first time included, when there is no row to lock.
pub async fn parallel_bookings_count_one_another(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (account, address) = (digest(), digest());
    let numbers = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = store.begin(Durability::Relaxed).await.unwrap();
            let mut booked = Vec::new();
            for key in [account, address] {
                let known = unit.lock_login_failures(&key, at(0)).await.unwrap();
                let next = failures(known.failures + 1, 0);
                unit.put_login_failures(&key, &next).await.unwrap();
                booked.push(next.failures);
            }
            unit.commit().await.unwrap();
            booked
        }
    })
    .await;
    let mut seen: Vec<u32> = numbers.iter().map(|booked| booked[0]).collect();
    seen.sort_unstable();
    let all: Vec<u32> = (1..=u32::try_from(RACERS).unwrap()).collect();
    assert_eq!(seen, all);
    let counted: Vec<u32> = known(&store, &[account, address])
        .await
        .iter()
        .map(|f| f.failures)
        .collect();
    assert_eq!(counted, [u32::try_from(all.len()).unwrap(); 2]);
}

/// As part of a unit of work.
pub async fn failures_are_deleted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (key, other) = (digest(), digest());
    put(&store, &key, &failures(3, 0)).await;
    put(&store, &other, &failures(4, 0)).await;
    let mut unit = begin(&store).await;
    assert!(unit.delete_login_failures(&key).await.unwrap());
    drop(unit);
    assert_eq!(known(&store, &[key]).await, [failures(3, 0)]);
    let mut unit = begin(&store).await;
    assert!(unit.delete_login_failures(&key).await.unwrap());
    assert!(!unit.delete_login_failures(&key).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(
        known(&store, &[key, other]).await,
        [LoginFailures::default(), failures(4, 0)]
    );
}

/// Oldest first, so many at a time, and never one that still blocks.
pub async fn idle_failures_are_purged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let keys: Vec<Digest> = (0..5).map(|_| digest()).collect();
    for (key, second) in keys.iter().zip([0, 1, 2, 100, 3]) {
        put(&store, key, &failures(1, second)).await;
    }
    let mut unit = begin(&store).await;
    // The blocks end at 60, 61, 62, 160 and 63.
    assert_eq!(unit.purge_login_failures(at(50), at(59), 9).await.unwrap(), 0);
    assert_eq!(unit.purge_login_failures(at(50), at(62), 2).await.unwrap(), 2);
    assert_eq!(unit.purge_login_failures(at(50), at(62), 9).await.unwrap(), 1);
    assert_eq!(unit.purge_login_failures(at(50), at(999), 9).await.unwrap(), 1);
    assert_eq!(unit.purge_login_failures(at(50), at(999), 9).await.unwrap(), 0);
    unit.commit().await.unwrap();
    assert_eq!(known(&store, &keys[3..4]).await, [failures(1, 100)]);
}
