//! What strangers and users send fills no memory: the caches of the session check.

use std::sync::Arc;

use anteroom_domain::SessionId;
use anteroom_domain::sessions::Transport;
use anteroom_ports::{Clock as _, Durability, Ids as _, Secrets as _};
use anteroom_services::sessions::{AuthenticateError, Credential, Sessions};
use anteroom_testkit::ops::SeededIds;
use anteroom_testkit::sessions::FakeSecrets;

use crate::house::{House, tokens};

/// What one cache may hold.
const MOST: u64 = 20_000;
/// How many tokens are sent that are good, and as many that are not.
const HALF_A_MILLION: usize = 500_000;
/// How many sessions there are, more than a cache may hold.
const SESSIONS: usize = 22_000;

fn kept(sessions: &Sessions, cache: &str) -> u64 {
    let found = sessions.entries_kept().into_iter().find(|(name, _)| *name == cache);
    found.unwrap().1
}

fn bounded(sessions: &Sessions) {
    for (name, entries) in sessions.entries_kept() {
        let most = if name == "users" { 5 * MOST } else { MOST };
        assert!(entries <= most, "{name}: {entries}");
    }
}

/// Presents half a million tokens, on four tasks, and looks now and then at what is kept of them. `opens`: whether they
/// are good.
async fn present(house: &House, opens: bool, credential: impl Fn(usize) -> String + Send + Sync + 'static) {
    let credential = Arc::new(credential);
    let tasks = (0..4).map(|task| {
        let (sessions, credential) = (house.sessions.clone(), credential.clone());
        tokio::spawn(async move {
            for number in (task..HALF_A_MILLION).step_by(4) {
                let text = credential(number);
                let found = sessions.authenticate(Credential::Bearer(&text)).await;
                match found {
                    Ok(_) => assert!(opens, "{text}"),
                    Err(AuthenticateError::Unauthenticated) => assert!(!opens, "{text}"),
                    Err(e) => panic!("{text}: {e}"),
                }
                if number % 100_000 < 4 {
                    bounded(&sessions);
                }
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    bounded(&house.sessions);
}

/// Security case G 70 (CVE-2025-2559): a cache of tokens that grows with every token.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g70_a_million_tokens_fill_no_cache() {
    let house = House::new().await;
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    let (token, _) = tokens(&ada);
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let [fake, kid, user, session, _, expiry] = <[String; 6]>::try_from(parts).unwrap();
    // Half of them are good, each another text.
    let good = format!("{fake}.{kid}.{user}.{session}");
    let until = expiry.clone();
    present(&house, true, move |number| format!("{good}.{number}.{until}")).await;
    let after_good = kept(&house.sessions, "tokens");
    assert!(after_good > MOST / 2, "they are what the cache is for: {after_good}");
    // Half look like some: of another key, of another time, of nobody.
    present(&house, false, move |number| match number % 3 {
        0 => format!("fake.{number}.{user}.{session}.0.{expiry}"),
        1 => format!("fake.{kid}.{user}.{session}.{number}.0"),
        _ => format!("{number:064x}"),
    })
    .await;
    assert!(kept(&house.sessions, "tokens") <= after_good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g70_more_cookies_and_sessions_than_caches_hold_fill_none() {
    let house = House::new().await;
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    let ids = SeededIds::new(77);
    let cookie = |number: usize| format!("{number:064x}");
    let mut unit = house.store.begin(Durability::Relaxed).await.unwrap();
    for number in 0..SESSIONS {
        let mut session = ada.session.clone();
        session.id = SessionId(ids.uuid());
        session.transport = Transport::Cookie;
        let digest = FakeSecrets.digest(cookie(number).as_bytes());
        unit.insert_session(&session, Some(&digest)).await.unwrap();
    }
    unit.commit().await.unwrap();
    for number in 0..SESSIONS {
        let text = cookie(number);
        assert!(house.sessions.authenticate(Credential::Cookie(&text)).await.is_ok());
        if number % 5000 == 0 {
            bounded(&house.sessions);
        }
    }
    bounded(&house.sessions);
    assert!(kept(&house.sessions, "cookies") > MOST / 2);
    assert!(kept(&house.sessions, "states") > MOST / 2);
    // One that is nobody's is kept nowhere.
    let before = kept(&house.sessions, "cookies");
    for number in SESSIONS..SESSIONS + 5000 {
        let text = cookie(number);
        let found = house.sessions.authenticate(Credential::Cookie(&text)).await;
        assert!(matches!(found, Err(AuthenticateError::Unauthenticated)));
    }
    assert!(kept(&house.sessions, "cookies") <= before);
    // And they all end at once.
    let mut unit = house.store.begin(Durability::Relaxed).await.unwrap();
    let now = house.clock.now();
    let reason = anteroom_domain::sessions::EndReason::Revoked;
    assert_eq!(
        unit.end_sessions_of(ada.user.id, None, now, reason)
            .await
            .unwrap()
            .len(),
        SESSIONS + 1
    );
    unit.commit().await.unwrap();
    house.sessions.forget_cached_state();
    bounded(&house.sessions);
    for number in (0..SESSIONS).step_by(97) {
        let text = cookie(number);
        assert!(house.sessions.authenticate(Credential::Cookie(&text)).await.is_err());
    }
}
