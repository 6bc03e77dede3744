//! Checking, renewing and ending sessions.

use std::sync::Arc;

use anteroom_domain::accounts::User;
use anteroom_domain::sessions::{EndReason, SessionLimit, Transport, WhenFull};
use anteroom_ports::{Clock as _, Durability};
use anteroom_services::Client;
use anteroom_services::accounts::{LogIn, LogInError};
use anteroom_services::sessions::{
    AuthenticateError, Credential, Grant, RefreshError, RevokeByLinkError, RevokeError, SessionsOptions,
};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};

use crate::house::{House, PASSWORD, SESSIONS, cookie, signed_in, tokens};

async fn opens(house: &House, credential: Credential<'_>) -> bool {
    match house.sessions.authenticate(credential).await {
        Ok(_) => true,
        Err(AuthenticateError::Unauthenticated) => false,
        Err(e) => panic!("{e}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c38_of_64_refreshes_at_once_all_get_the_one_successor() {
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
async fn c38_reuse_after_the_grace_time_ends_the_family() {
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

async fn log_in_from(house: &House, email: &str, device: &str, country: Option<&str>) -> Result<Grant, LogInError> {
    let ask = LogIn {
        email: email.into(),
        password: PASSWORD.into(),
        transport: Transport::Token,
        client: Client {
            // A stranger's; many at once from nowhere are not counted together.
            address: (!device.is_empty()).then(|| "192.0.2.7".into()),
            user_agent: (!device.is_empty()).then(|| device.into()),
            country: country.map(str::to_owned),
            ..Client::default()
        },
    };
    house.accounts.log_in_with_password(ask).await.map(signed_in)
}

async fn disable(house: &House, user: &User) {
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut user = unit.lock_user(user.id).await.unwrap().unwrap();
    user.disabled_at = Some(house.clock.now());
    unit.update_user(&user).await.unwrap();
    unit.end_sessions_of(user.id, None, house.clock.now(), EndReason::AccountDisabled)
        .await
        .unwrap();
    unit.commit().await.unwrap();
    house.sessions.forget_cached_state();
}

/// The tokens of the links that were mailed.
async fn mailed_tokens(house: &House) -> Vec<SecretString> {
    while house.webhooks.deliver_outbox().await.unwrap() > 0 {}
    let mails = house.mailer.take();
    let token = |text: &str| {
        text.find("anv_")
            .map(|at| SecretString::from(text[at..at + 68].to_owned()))
    };
    mails.iter().filter_map(|mail| token(&mail.text)).collect()
}

#[tokio::test]
async fn an_unused_session_ends_and_a_used_one_goes_on() {
    let house = House::with_sessions(SessionsOptions {
        idle: Some(SignedDuration::from_mins(30)),
        ..SESSIONS
    })
    .await;
    let (_, refresh) = tokens(&house.sign_up("ada@example.com", Transport::Token).await);
    let ada = house.sign_up("bob@example.com", Transport::Cookie).await;
    let text = cookie(&ada);
    // Used every ten minutes, and written down now and then: it goes on for hours.
    for _ in 0..20 {
        house.clock.advance_seconds(600);
        house.sessions.forget_cached_state();
        assert!(opens(&house, Credential::Cookie(&text)).await);
        house.sessions.flush_seen().await.unwrap();
    }
    assert!(matches!(
        house.sessions.refresh(&refresh, &Client::default()).await,
        Err(RefreshError::Invalid)
    ));
    // Half an hour and what the note of its last use may lag.
    house.clock.advance_seconds(30 * 60 + 119);
    assert_eq!(house.sessions.list(ada.user.id).await.unwrap().len(), 1);
    house.clock.advance_seconds(1);
    house.sessions.forget_cached_state();
    assert!(house.sessions.list(ada.user.id).await.unwrap().is_empty());
    assert!(!opens(&house, Credential::Cookie(&text)).await);
}

#[tokio::test]
async fn a_refresh_is_a_use() {
    let house = House::with_sessions(SessionsOptions {
        idle: Some(SignedDuration::from_mins(30)),
        ..SESSIONS
    })
    .await;
    let (_, mut refresh) = tokens(&house.sign_up("ada@example.com", Transport::Token).await);
    for _ in 0..5 {
        house.clock.advance_seconds(29 * 60);
        refresh = tokens(&house.sessions.refresh(&refresh, &Client::default()).await.unwrap()).1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_logins_exactly_as_many_as_may_stay() {
    const MOST: usize = 8;
    for when_full in [WhenFull::EvictOldest, WhenFull::Refuse] {
        let house = Arc::new(
            House::with_sessions_locking_after(
                1000,
                SessionsOptions {
                    limit: Some(SessionLimit { most: MOST, when_full }),
                    ..SESSIONS
                },
            )
            .await,
        );
        let ada = house.sign_up("ada@example.com", Transport::Token).await;
        let logins = (0..64).map(|_| {
            let house = house.clone();
            tokio::spawn(async move { log_in_from(&house, "ada@example.com", "", None).await })
        });
        let mut granted = Vec::new();
        for login in futures_util::future::join_all(logins).await {
            match login.unwrap() {
                Ok(grant) => granted.push(grant),
                Err(LogInError::TooManySessions { limit: MOST }) => {}
                Err(e) => panic!("{e}"),
            }
        }
        let live = house.sessions.list(ada.user.id).await.unwrap();
        assert_eq!(live.len(), MOST, "{when_full:?}");
        let mut open = 0;
        for grant in &granted {
            open += usize::from(opens(&house, Credential::Bearer(&tokens(grant).0)).await);
        }
        if when_full == WhenFull::Refuse {
            // The one of the signup is there still.
            assert_eq!((granted.len(), open), (MOST - 1, MOST - 1));
        } else {
            assert_eq!((granted.len(), open), (64, MOST));
        }
    }
}

#[tokio::test]
async fn a_login_refused_for_want_of_room_is_no_failed_one() {
    let house = House::with_sessions(SessionsOptions {
        limit: Some(SessionLimit {
            most: 1,
            when_full: WhenFull::Refuse,
        }),
        ..SESSIONS
    })
    .await;
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    // More than the lockout lets pass.
    for _ in 0..20 {
        let refused = log_in_from(&house, "ada@example.com", "", None).await;
        assert!(
            matches!(refused, Err(LogInError::TooManySessions { limit: 1 })),
            "{refused:?}"
        );
    }
    house.sessions.log_out(&ada.session, &Client::default()).await.unwrap();
    log_in_from(&house, "ada@example.com", "", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mailed_link_ends_its_session_once_of_64_tries() {
    let house = Arc::new(House::new().await);
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    for (device, country) in [("curl/8", None), ("curl/9", Some("DE"))] {
        let stranger = log_in_from(&house, "ada@example.com", device, country).await.unwrap();
        let links = mailed_tokens(&house).await;
        assert_eq!(links.len(), 1, "{device} {country:?}");
        let tries = (0..64).map(|_| {
            let (house, token) = (house.clone(), links[0].clone());
            tokio::spawn(async move { house.sessions.revoke_by_link(&token, &Client::default()).await })
        });
        let mut done = 0;
        for outcome in futures_util::future::join_all(tries).await {
            match outcome.unwrap() {
                Ok(()) => done += 1,
                Err(RevokeByLinkError::InvalidToken) => {}
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(done, 1);
        assert!(!opens(&house, Credential::Bearer(&tokens(&stranger).0)).await);
        assert!(opens(&house, Credential::Bearer(&tokens(&ada).0)).await);
        // From there once more: it is known now.
        log_in_from(&house, "ada@example.com", device, country).await.unwrap();
        assert!(mailed_tokens(&house).await.is_empty());
    }
    // A link that nobody followed for a week opens nothing any more.
    log_in_from(&house, "ada@example.com", "wget/1", None).await.unwrap();
    let links = mailed_tokens(&house).await;
    house.clock.advance_seconds(7 * 86_400);
    let outcome = house.sessions.revoke_by_link(&links[0], &Client::default()).await;
    assert!(matches!(outcome, Err(RevokeByLinkError::InvalidToken)));
}

#[tokio::test]
async fn reuse_of_a_refresh_token_is_told_to_its_user() {
    let house = House::new().await;
    let (_, first) = tokens(&house.sign_up("ada@example.com", Transport::Token).await);
    house.sessions.refresh(&first, &Client::default()).await.unwrap();
    house.clock.advance_seconds(11);
    assert!(house.sessions.refresh(&first, &Client::default()).await.is_err());
    while house.webhooks.deliver_outbox().await.unwrap() > 0 {}
    let subjects: Vec<String> = house.mailer.take().into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects.len(), 2, "the welcome, and this: {subjects:?}");
    // Once more tells nobody anything new.
    assert!(house.sessions.refresh(&first, &Client::default()).await.is_err());
    assert_eq!(house.webhooks.deliver_outbox().await.unwrap(), 0);
}

#[tokio::test]
async fn only_ones_own_sessions_are_ended() {
    let house = House::new().await;
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    let eve = house.sign_up("eve@example.com", Transport::Token).await;
    let host = Client::default();
    let outcome = house.sessions.revoke(eve.user.id, ada.session.id, &host).await;
    assert!(matches!(outcome, Err(RevokeError::NotFound)));
    assert_eq!(house.sessions.revoke_others(&eve.session, &host).await.unwrap(), 0);
    assert!(opens(&house, Credential::Bearer(&tokens(&ada).0)).await);
    house.sessions.revoke(ada.user.id, ada.session.id, &host).await.unwrap();
    let outcome = house.sessions.revoke(ada.user.id, ada.session.id, &host).await;
    assert!(matches!(outcome, Err(RevokeError::NotFound)));
}

/// Security case B 25: a disabled account enters by no path, however its requests meet the moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b25_a_disabled_account_enters_by_no_path() {
    let house = Arc::new(House::new().await);
    let ada = house.sign_up("ada@example.com", Transport::Token).await;
    let (access, refresh) = tokens(&ada);
    let logins = (0..32).map(|_| {
        let house = house.clone();
        tokio::spawn(async move { log_in_from(&house, "ada@example.com", "", None).await })
    });
    let refreshes = (0..32).map(|_| {
        let (house, refresh) = (house.clone(), refresh.clone());
        tokio::spawn(async move { house.sessions.refresh(&refresh, &Client::default()).await })
    });
    let closing = tokio::spawn({
        let (house, user) = (house.clone(), ada.user.clone());
        async move { disable(&house, &user).await }
    });
    let (logins, refreshes, closed) = futures_util::future::join3(
        futures_util::future::join_all(logins),
        futures_util::future::join_all(refreshes),
        closing,
    )
    .await;
    closed.unwrap();
    // Whatever was granted before the end opens nothing after it.
    let granted = logins.into_iter().filter_map(|login| login.unwrap().ok());
    let renewed = refreshes.into_iter().filter_map(|refresh| refresh.unwrap().ok());
    for grant in granted.chain(renewed) {
        assert!(!opens(&house, Credential::Bearer(&tokens(&grant).0)).await);
        assert!(
            house
                .sessions
                .refresh(&tokens(&grant).1, &Client::default())
                .await
                .is_err()
        );
    }
    assert!(!opens(&house, Credential::Bearer(&access)).await);
    assert!(house.sessions.refresh(&refresh, &Client::default()).await.is_err());
    let login = log_in_from(&house, "ada@example.com", "", None).await;
    assert!(matches!(login, Err(LogInError::Disabled)), "{login:?}");
    assert!(house.sessions.list(ada.user.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_check_writes_nothing() {
    let house = House::new().await;
    let by_token = house.sign_up("ada@example.com", Transport::Token).await;
    let by_cookie = house.sign_up("bob@example.com", Transport::Cookie).await;
    let (access, cookie) = (tokens(&by_token).0, cookie(&by_cookie));
    house.clock.advance_seconds(120);
    let before = house.guarded.begun();
    for _ in 0..10 {
        house.sessions.forget_cached_state();
        assert!(opens(&house, Credential::Bearer(&access)).await);
        assert!(opens(&house, Credential::Cookie(&cookie)).await);
        assert!(!opens(&house, Credential::Cookie("nobody's")).await);
        house.sessions.list(by_token.user.id).await.unwrap();
    }
    assert_eq!(house.guarded.begun(), before);
    // When both were last seen is one write, for as many as there are; then there is nothing left to write.
    assert_eq!(house.sessions.flush_seen().await.unwrap(), 2);
    assert_eq!(house.guarded.begun(), before + 1);
    assert_eq!(house.sessions.flush_seen().await.unwrap(), 0);
    assert_eq!(house.guarded.begun(), before + 1);
}
