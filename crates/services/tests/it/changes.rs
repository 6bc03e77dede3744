//! What one node ends or changes, another one hears of; and one that hears nothing notices by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anteroom_domain::SessionId;
use anteroom_domain::accounts::Role;
use anteroom_domain::migrations::SourceFile;
use anteroom_domain::sessions::{Change, EndReason, Transport};
use anteroom_ports::migrations::MigrationDatabase;
use anteroom_ports::sessions::Heard;
use anteroom_ports::{
    Clock as _, Durability, Listener, OwnSchema, ReadUnit, Store, StoreError, StoreResult, UnitOfWork,
};
use anteroom_services::sessions::{AuthenticateError, LiveSession};
use anteroom_services::{Client, Sessions};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::house::House;

/// What is promised.
const SECOND: Duration = Duration::from_secs(1);

/// How a store calls out.
#[derive(Clone)]
enum Calls {
    /// It does not; what was told is read.
    Never,
    /// It did, and then the link froze: it says neither anything nor that it is broken.
    Frozen,
    /// It does, all the time, and has nothing to say.
    Stands,
    /// It cannot be reached.
    Refused,
    /// It cannot be reached the first time.
    RefusedOnce,
}

/// A store as another node reaches it.
struct OtherNode {
    inner: Arc<dyn Store>,
    calls: Calls,
    listened: AtomicUsize,
    reads: AtomicUsize,
}

struct Frozen(mpsc::Receiver<Heard>);

struct Standing;

#[async_trait]
impl Listener for Standing {
    async fn next(&mut self) -> StoreResult<Heard> {
        let as_of = Some(Instant::now());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let changes = Vec::new();
        Ok(Heard { changes, as_of })
    }
}

#[async_trait]
impl Listener for Frozen {
    async fn next(&mut self) -> StoreResult<Heard> {
        match self.0.recv().await {
            Some(heard) => Ok(heard),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Store for OtherNode {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn begin(&self, durability: Durability) -> StoreResult<Box<dyn UnitOfWork>> {
        self.inner.begin(durability).await
    }

    async fn read(&self) -> StoreResult<Box<dyn ReadUnit>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read().await
    }

    async fn listen(&self) -> StoreResult<Option<Box<dyn Listener>>> {
        let refused = StoreError::Unavailable {
            reason: "a test".into(),
        };
        let first = self.listened.fetch_add(1, Ordering::SeqCst) == 0;
        match self.calls {
            Calls::Never => Ok(None),
            Calls::RefusedOnce if !first => Ok(None),
            Calls::Refused | Calls::RefusedOnce => Err(refused),
            Calls::Stands => Ok(Some(Box::new(Standing))),
            Calls::Frozen => {
                let (said, heard) = mpsc::channel(1);
                let stood = Heard {
                    changes: Vec::new(),
                    as_of: Some(Instant::now()),
                };
                said.try_send(stood).unwrap();
                Ok(Some(Box::new(Frozen(heard))))
            }
        }
    }

    async fn ping(&self) -> StoreResult<()> {
        self.inner.ping().await
    }
}

impl OwnSchema for OtherNode {
    fn schema(&self) -> Arc<dyn MigrationDatabase> {
        self.inner.schema()
    }

    fn own_migrations(&self) -> Vec<SourceFile> {
        self.inner.own_migrations()
    }
}

/// Another node on the house's store, which follows.
struct Node {
    store: Arc<OtherNode>,
    sessions: Arc<Sessions>,
    following: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Node {
    fn beside(house: &House, calls: Calls) -> Self {
        let store = Arc::new(OtherNode {
            inner: house.store.clone(),
            calls,
            listened: AtomicUsize::default(),
            reads: AtomicUsize::default(),
        });
        let sessions = house.node_on(store.clone());
        let following = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.follow_changes().await }
        });
        Self {
            store,
            sessions,
            following,
        }
    }

    /// Looks at a session until it is as it should be, as a client would.
    async fn until(&self, id: SessionId, what: impl Fn(Option<&LiveSession>) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let found = match self.sessions.live_session(id).await {
                Ok(live) => Some(live),
                Err(AuthenticateError::Unauthenticated) => None,
                Err(e) => panic!("{e}"),
            };
            if what(found.as_deref()) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < 10 * SECOND,
                "{:?}",
                self.sessions.live_session(id).await
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b24_a_logout_is_noticed_within_a_second_whatever_the_link_does() {
    let house = House::new().await;
    let all = [Calls::Never, Calls::Frozen, Calls::Refused, Calls::RefusedOnce];
    for (number, calls) in all.into_iter().enumerate() {
        let node = Node::beside(&house, calls);
        for round in 0..3 {
            let email = format!("ada{number}-{round}@example.com");
            let grant = house.sign_up(&email, Transport::Token).await;
            // It is known on the other node, for as long as it is kept there, and a stream runs there.
            let id = grant.session.id;
            tokio::time::sleep(Duration::from_millis(300 + 250 * round)).await;
            node.until(id, |live| live.is_some()).await;
            let stream = tokio::spawn({
                let sessions = node.sessions.clone();
                async move { sessions.wait_until_ended(id).await }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            house
                .sessions
                .log_out(&grant.session, &Client::default())
                .await
                .unwrap();
            let begun = Instant::now();
            let took = node.until(id, |live| live.is_none()).await;
            assert!(took < SECOND, "{took:?}");
            stream.await.unwrap();
            assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_asks_the_store_once_in_a_long_while() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Token).await;
    let node = Node::beside(&house, Calls::Stands);
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.until(grant.session.id, |live| live.is_some()).await;
    let before = node.store.reads.load(Ordering::SeqCst);
    let begun = Instant::now();
    while begun.elapsed() < 2 * SECOND {
        node.sessions.live_session(grant.session.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Once, should the machine have stood still for long.
    let reads = node.store.reads.load(Ordering::SeqCst) - before;
    assert!(reads <= 1, "{reads}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_of_a_user_is_seen_on_another_node() {
    let house = House::new().await;
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    let bob = house.sign_up("bob@example.com", Transport::Token).await;
    let node = Node::beside(&house, Calls::Never);
    tokio::time::sleep(Duration::from_millis(600)).await;
    for id in [ada.session.id, bob.session.id] {
        node.until(id, |live| live.is_some_and(|live| live.user.role == Role::User))
            .await;
    }
    // As from the command line.
    house.accounts.make_admin("ada@example.com", None, None).await.unwrap();
    let took = node.until(ada.session.id, |live| {
        live.is_some_and(|live| live.user.role == Role::Admin)
    });
    assert!(took.await < SECOND);
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut user = unit.lock_user(ada.user.id).await.unwrap().unwrap();
    user.disabled_at = Some(house.clock.now());
    unit.update_user(&user).await.unwrap();
    unit.commit().await.unwrap();
    let took = node.until(ada.session.id, |live| live.is_none());
    assert!(
        took.await < SECOND,
        "the account is closed, although its session has not ended"
    );
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.put_subscription(&house.subscription(
        bob.user.id,
        "sub_1",
        anteroom_domain::billing::SubscriptionStatus::Active,
    ))
    .await
    .unwrap();
    unit.commit().await.unwrap();
    let took = node.until(bob.session.id, |live| {
        live.is_some_and(|live| live.holdings.subscription.is_some())
    });
    assert!(took.await < SECOND);
    let proven = house.clock.advance_seconds(60);
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    assert!(unit.authenticate_session(bob.session.id, proven).await.unwrap());
    unit.commit().await.unwrap();
    let took = node.until(bob.session.id, |live| {
        live.is_some_and(|live| live.session.authenticated_at == proven)
    });
    assert!(took.await < SECOND);
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.tell(&[Change::Unknown]).await.unwrap();
    unit.end_session(bob.session.id, house.clock.now(), EndReason::AdminRevoked)
        .await
        .unwrap();
    unit.commit().await.unwrap();
    assert!(node.until(bob.session.id, |live| live.is_none()).await < SECOND);
}
