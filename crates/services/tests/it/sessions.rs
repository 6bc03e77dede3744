//! Checking, renewing and ending sessions.

use anteroom_domain::sessions::Transport;
use anteroom_services::Client;
use anteroom_services::sessions::{AuthenticateError, Credential, RefreshError};
use secrecy::ExposeSecret as _;

use crate::house::{House, cookie, tokens};

async fn opens(house: &House, credential: Credential<'_>) -> bool {
    match house.sessions.authenticate(credential).await {
        Ok(_) => true,
        Err(AuthenticateError::Unauthenticated) => false,
        Err(e) => panic!("{e}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_refreshes_at_once_all_get_the_one_successor() {
    let house = House::new().await;
    let (_, refresh) = tokens(&house.sign_up("ada@example.com", Transport::Token).await);
    let tries = (0..64).map(|_| {
        let (sessions, refresh) = (house.sessions.clone(), refresh.clone());
        tokio::spawn(async move { tokens(&sessions.refresh(&refresh, &Client::default()).await.unwrap()).1 })
    });
    let mut successors: Vec<String> = Vec::new();
    for successor in futures_util::future::join_all(tries).await {
        successors.push(successor.unwrap().expose_secret().to_owned());
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    assert_ne!(successors[0], refresh.expose_secret());
    assert!(
        house
            .sessions
            .refresh(&successors[0].as_str().into(), &Client::default())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn reuse_after_the_grace_time_ends_the_family() {
    let house = House::new().await;
    let (access, first) = tokens(&house.sign_up("ada@example.com", Transport::Token).await);
    let (_, second) = tokens(&house.sessions.refresh(&first, &Client::default()).await.unwrap());
    house.clock.advance_seconds(10);
    assert_eq!(
        tokens(&house.sessions.refresh(&first, &Client::default()).await.unwrap())
            .1
            .expose_secret(),
        second.expose_secret()
    );
    house.clock.advance_seconds(1);
    assert!(opens(&house, Credential::Bearer(&access)).await);
    assert!(matches!(
        house.sessions.refresh(&first, &Client::default()).await,
        Err(RefreshError::Invalid)
    ));
    // Whoever holds the family's newest token is out as well, and so are its access tokens.
    assert!(matches!(
        house.sessions.refresh(&second, &Client::default()).await,
        Err(RefreshError::Invalid)
    ));
    assert!(!opens(&house, Credential::Bearer(&access)).await);
    assert!(matches!(
        house
            .sessions
            .refresh(&"anr_unheard-of".into(), &Client::default())
            .await,
        Err(RefreshError::Invalid)
    ));
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_end_whatever_is_renewed() {
    let house = House::new().await;
    let by_cookie = cookie(&house.sign_up("ada@example.com", Transport::Cookie).await);
    let (access, refresh) = tokens(&house.sign_up("bob@example.com", Transport::Token).await);
    assert!(opens(&house, Credential::Cookie(&by_cookie)).await);
    house.clock.advance_seconds(15 * 60);
    assert!(
        !opens(&house, Credential::Bearer(&access)).await,
        "an access token lives 15 minutes"
    );
    let (access, refresh) = tokens(&house.sessions.refresh(&refresh, &Client::default()).await.unwrap());
    assert!(opens(&house, Credential::Bearer(&access)).await);
    house.clock.advance_seconds(7 * 86_400 - 16 * 60);
    assert!(opens(&house, Credential::Cookie(&by_cookie)).await);
    let (_, refresh) = tokens(&house.sessions.refresh(&refresh, &Client::default()).await.unwrap());
    house.clock.advance_seconds(60);
    assert!(!opens(&house, Credential::Cookie(&by_cookie)).await);
    assert!(matches!(
        house.sessions.refresh(&refresh, &Client::default()).await,
        Err(RefreshError::Invalid)
    ));
}

#[tokio::test]
async fn logging_out_closes_every_door_at_once() {
    let house = House::new().await;
    for transport in [Transport::Cookie, Transport::Token] {
        let grant = house
            .sign_up(&format!("{}@example.com", transport.as_str()), transport)
            .await;
        let text = if transport == Transport::Cookie {
            cookie(&grant)
        } else {
            tokens(&grant).0
        };
        let credential = if transport == Transport::Cookie {
            Credential::Cookie(&text)
        } else {
            Credential::Bearer(&text)
        };
        assert!(opens(&house, credential).await);
        assert!(
            house.sessions.authenticate_cached(credential).is_some(),
            "the second look costs no query"
        );
        house
            .sessions
            .log_out(&grant.session, &Client::default())
            .await
            .unwrap();
        assert!(house.sessions.authenticate_cached(credential).is_none());
        assert!(!opens(&house, credential).await);
        if transport == Transport::Token {
            assert!(matches!(
                house.sessions.refresh(&tokens(&grant).1, &Client::default()).await,
                Err(RefreshError::Invalid)
            ));
        }
        house
            .sessions
            .log_out(&grant.session, &Client::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_no_credential_opens_nothing() {
    let house = House::new().await;
    let long = "x".repeat(5000);
    for credential in [
        Credential::Cookie(""),
        Credential::Cookie("nope"),
        Credential::Bearer(""),
        Credential::Bearer("a.b.c"),
        Credential::Cookie(&long),
        Credential::Bearer(&long),
    ] {
        assert!(house.sessions.authenticate_cached(credential).is_none());
        assert!(!opens(&house, credential).await, "{credential:?}");
    }
}

#[tokio::test]
async fn last_seen_is_written_in_batches() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Cookie).await;
    let text = cookie(&grant);
    assert!(opens(&house, Credential::Cookie(&text)).await);
    assert_eq!(house.sessions.flush_seen().await.unwrap(), 0, "a minute has not passed");
    let now = house.clock.advance_seconds(61);
    house.sessions.forget_cached_state();
    assert!(opens(&house, Credential::Cookie(&text)).await);
    assert_eq!(house.sessions.flush_seen().await.unwrap(), 1);
    let (session, _) = house
        .store
        .read()
        .await
        .unwrap()
        .session(grant.session.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.last_seen_at, now);
}

#[tokio::test]
async fn sessions_long_over_are_deleted() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Token).await;
    house.clock.advance_seconds(36 * 86_400);
    assert_eq!(house.sessions.purge_expired().await.unwrap(), 0);
    house.clock.advance_seconds(2 * 86_400);
    assert_eq!(house.sessions.purge_expired().await.unwrap(), 1);
    assert!(
        house
            .store
            .read()
            .await
            .unwrap()
            .session(grant.session.id)
            .await
            .unwrap()
            .is_none()
    );
}
