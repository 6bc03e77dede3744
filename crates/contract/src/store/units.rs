//! Units of work: what is kept, what is undone, and that nothing is held longer than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use anteroom_ports::{Durability, Store, StoreError};
use futures_util::future::poll_immediate;

use super::samples::{at, counter, hold, id, reservation, session, stored_user, user};
use super::{TestDatabase, begin, migrate_up, ready};

/// Not before it is committed.
pub async fn what_is_committed_is_seen_by_others(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let other_node = database.open(Duration::from_secs(20)).await;
    let ada = user("ada@example.com");
    let mut unit = begin(&store).await;
    unit.insert_user(&ada).await.unwrap();
    for node in [&store, &other_node] {
        assert_eq!(node.read().await.unwrap().user(ada.id).await.unwrap(), None);
    }
    unit.commit().await.unwrap();
    for node in [&store, &other_node] {
        assert_eq!(
            node.read().await.unwrap().user(ada.id).await.unwrap(),
            Some(ada.clone())
        );
    }
}

/// Once it is visible to others; never for one that was dropped or failed.
pub async fn what_follows_a_commit_follows_it(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let done = Arc::<AtomicUsize>::default();
    let act = |by| {
        let done = Arc::clone(&done);
        Box::new(move || {
            done.fetch_add(by, Ordering::SeqCst);
        })
    };
    let mut unit = begin(&store).await;
    unit.after_commit(act(1));
    drop(unit);
    let mut unit = begin(&store).await;
    unit.after_commit(act(10));
    unit.insert_session(&session(&user("nobody@example.com")), None)
        .await
        .unwrap_err();
    unit.commit().await.unwrap_err();
    assert_eq!(done.load(Ordering::SeqCst), 0);
    let mut unit = begin(&store).await;
    unit.after_commit(act(100));
    unit.after_commit(act(100));
    unit.insert_user(&user("ada@example.com")).await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 0);
    unit.commit().await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 200);
}

/// The next one that needs the same lock has it at once.
pub async fn a_dropped_unit_leaves_nothing_and_holds_nothing(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let started = Instant::now();
    for _ in 0..10 {
        let mut unit = begin(&store).await;
        unit.put_password_hash(ada.id, "never", at(1)).await.unwrap();
        drop(unit);
        // One with nothing done on it is dropped as well.
        drop(begin(&store).await);
    }
    let mut unit = begin(&store).await;
    unit.put_password_hash(ada.id, "kept", at(1)).await.unwrap();
    unit.commit().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let found = store
        .read()
        .await
        .unwrap()
        .user_by_email(ada.email.folded())
        .await
        .unwrap();
    assert_eq!(found, Some((ada, Some("kept".to_owned()))));
}

/// PostgreSQL would answer its COMMIT with a silent rollback, SQLite would keep what went before.
pub async fn a_unit_that_failed_cannot_be_committed(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let bob = user("bob@example.com");
    let mut unit = begin(&store).await;
    unit.insert_user(&bob).await.unwrap();
    let conflict = unit.insert_user(&ada).await.unwrap_err();
    assert!(matches!(conflict, StoreError::Conflict { .. }), "{conflict:?}");
    assert!(unit.user(ada.id).await.is_err());
    assert!(unit.commit().await.is_err());
    let mut read = store.read().await.unwrap();
    assert_eq!(read.user(bob.id).await.unwrap(), None);
    // A failure on one unit is no failure of the next.
    let mut unit = begin(&store).await;
    unit.insert_user(&bob).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(read.user(bob.id).await.unwrap(), Some(bob));
}

/// Its future was dropped while it ran: the unit cannot be committed, and what it holds is let go.
pub async fn a_cancelled_statement_is_undone(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    for _ in 0..10 {
        let mut unit = begin(&store).await;
        let statement = unit.put_password_hash(ada.id, "never", at(1));
        if poll_immediate(statement).await.is_some() {
            continue;
        }
        assert!(unit.commit().await.is_err());
        let mut unit = begin(&store).await;
        // Dropped in the middle of the commit: kept or not, but not held.
        unit.insert_user(&user(&format!("{}@example.com", id().simple())))
            .await
            .unwrap();
        let mut commit = unit.commit();
        assert!(matches!(
            futures_util::poll!(&mut commit),
            Poll::Pending | Poll::Ready(Ok(()))
        ));
        drop(commit);
    }
    let mut unit = begin(&store).await;
    unit.put_password_hash(ada.id, "kept", at(1)).await.unwrap();
    unit.commit().await.unwrap();
    let found = store
        .read()
        .await
        .unwrap()
        .user_by_email(ada.email.folded())
        .await
        .unwrap();
    assert_eq!(found, Some((ada, Some("kept".to_owned()))));
}

/// However far it came.
pub async fn a_cancelled_begin_holds_nothing(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    for polls in 0..20 {
        let mut beginning = store.begin(Durability::Full);
        for _ in 0..polls {
            if futures_util::poll!(&mut beginning).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let mut unit = begin(&store).await;
    unit.put_password_hash(ada.id, "kept", at(1)).await.unwrap();
    unit.commit().await.unwrap();
}

/// Nor does a writer wait for them.
pub async fn reads_do_not_wait_for_a_writer(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut read = store.read().await.unwrap();
    assert!(read.user(ada.id).await.unwrap().is_some());
    let mut unit = begin(&store).await;
    unit.put_password_hash(ada.id, "hash", at(1)).await.unwrap();
    let found = read.user_by_email(ada.email.folded()).await.unwrap();
    assert_eq!(found, Some((ada.clone(), None)));
    unit.commit().await.unwrap();
    let found = read.user_by_email(ada.email.folded()).await.unwrap();
    assert_eq!(found, Some((ada, Some("hash".to_owned()))));
}

/// With `Unavailable`, when the acquire timeout is over.
pub async fn waiting_for_a_connection_ends(database: &dyn TestDatabase) {
    let patience = Duration::from_millis(300);
    let store = database.open(patience).await;
    migrate_up(&store).await.unwrap();
    let mut held = Vec::new();
    let (error, waited) = loop {
        let started = Instant::now();
        match store.begin(Durability::Full).await {
            Ok(unit) => held.push(unit),
            Err(error) => break (error, started.elapsed()),
        }
        assert!(held.len() <= 8, "the store has no bound");
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(waited >= patience && waited < patience * 8, "{waited:?}");
    drop(held);
    eventually_begins(&store).await;
}

async fn eventually_begins(store: &Arc<dyn Store>) {
    let started = Instant::now();
    while store.begin(Durability::Full).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(5), "nothing was given back");
    }
}

/// Relaxed or not, a commit is a commit for whoever reads.
pub async fn a_relaxed_unit_is_seen_by_others(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let key = counter();
    for round in 1..=6 {
        let durability = if round % 3 == 0 {
            Durability::Full
        } else {
            Durability::Relaxed
        };
        let mut unit = store.begin(durability).await.unwrap();
        unit.reserve_quota(&[&reservation(vec![hold(&key, 1, None)])])
            .await
            .unwrap();
        unit.commit().await.unwrap();
        let level = store.read().await.unwrap().quota_level(&key).await.unwrap();
        assert_eq!(level.reserved, round);
    }
}

/// It has a name, too.
pub async fn a_store_answers_a_ping(database: &dyn TestDatabase) {
    let store = ready(database).await;
    store.ping().await.unwrap();
    assert!(["sqlite", "postgres"].contains(&store.kind()));
}
