//! Making, exchanging and revoking the keys that access tokens are signed with.

use std::sync::Arc;

use anteroom_domain::audit::Actor;
use anteroom_domain::sessions::{KeyState, PUBLISHED_BEFORE, SigningAlgorithm, SigningKey, Transport};
use anteroom_ports::audit::AuditFilter;
use anteroom_ports::{Clock as _, Durability, SigningKeyError};
use anteroom_services::sessions::{AuthenticateError, Credential, HoldKeysError, RevokeKeyError, RotateKeys};
use anteroom_services::{Client, Sessions};
use futures_util::future::join_all;
use jiff::SignedDuration;

use crate::house::{House, tokens};

const DAY: i64 = 86_400;
const NINETY_DAYS: Option<SignedDuration> = Some(SignedDuration::from_hours(24 * 90));
const AT_ONCE: RotateKeys = RotateKeys {
    algorithm: None,
    at_once: true,
};

async fn opens(sessions: &Sessions, token: &str) -> bool {
    match sessions.authenticate(Credential::Bearer(token)).await {
        Ok(_) => true,
        Err(AuthenticateError::Unauthenticated) => false,
        Err(e) => panic!("{e}"),
    }
}

async fn keys(house: &House) -> Vec<SigningKey> {
    house.store.read().await.unwrap().signing_keys().await.unwrap()
}

/// What the audit log says about keys, oldest first.
async fn acts(house: &House) -> Vec<(String, Actor)> {
    let filter = AuditFilter {
        act: Some("signing_key".into()),
        ..AuditFilter::default()
    };
    let rows = house.store.read().await.unwrap().page_audit(&filter, None, 100).await;
    let rows = rows.unwrap().into_iter().rev();
    rows.map(|row| {
        (
            format!("{} {}", row.act, row.details["kid"].as_str().unwrap()),
            row.actor,
        )
    })
    .collect()
}

async fn states(house: &House) -> Vec<KeyState> {
    let listed = house.sessions.list_signing_keys().await.unwrap();
    listed.into_iter().map(|(_, state)| state).collect()
}

async fn forget_all_keys(house: &House) {
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    for key in unit.lock_signing_keys().await.unwrap() {
        unit.delete_signing_key(&key.kid).await.unwrap();
    }
    unit.commit().await.unwrap();
}

async fn access_token(house: &House, email: &str) -> String {
    tokens(&house.sign_up(email, Transport::Token).await).0
}

fn kid(token: &str) -> &str {
    token.split('.').nth(1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_nodes_that_start_at_once_one_makes_the_first_key() {
    let house = House::new().await;
    access_token(&house, "ada@example.com").await;
    forget_all_keys(&house).await;
    let nodes: Vec<_> = (0..64).map(|_| house.another_node(None)).collect();
    let starts = nodes.iter().map(|(sessions, _)| {
        let sessions = Arc::clone(sessions);
        tokio::spawn(async move { sessions.prepare_signing_keys().await.unwrap() })
    });
    for start in join_all(starts).await {
        start.unwrap();
    }
    let made = keys(&house).await;
    assert_eq!(made.len(), 1);
    assert_ne!(
        made[0].kid, "former",
        "the store is not new, but it had a key of its own before"
    );
    for (sessions, _) in &nodes {
        assert_eq!(sessions.public_keys(), nodes[0].0.public_keys());
    }
}

#[tokio::test]
async fn a_store_of_a_former_version_goes_on_with_its_key_once() {
    let house = House::new().await;
    assert_ne!(
        keys(&house).await[0].kid,
        "former",
        "an empty store begins with a random one"
    );
    access_token(&house, "ada@example.com").await;
    // As a former version left it: with users, without keys, and without a word on them.
    let house = House::of_former_version().await;
    assert_eq!(keys(&house).await[0].kid, "former");
    let token = access_token(&house, "bob@example.com").await;
    assert_eq!(kid(&token), "former");
    forget_all_keys(&house).await;
    house.sessions.prepare_signing_keys().await.unwrap();
    let now = keys(&house).await;
    assert_ne!(now[0].kid, "former", "somebody deleted it; it does not come back");
    assert!(!opens(&house.sessions, &token).await);
}

#[tokio::test]
async fn a_key_takes_over_after_it_was_published_and_the_old_ones_tokens_stay_good() {
    let house = House::new().await;
    let before = access_token(&house, "ada@example.com").await;
    let ask = RotateKeys {
        algorithm: Some(SigningAlgorithm::Es256),
        at_once: false,
    };
    let new = house.sessions.rotate_signing_key(ask).await.unwrap();
    assert_eq!(new.algorithm, SigningAlgorithm::Es256);
    assert!(
        house.sessions.public_keys().json.contains(&new.kid),
        "published at once"
    );
    assert_eq!(states(&house).await, [KeyState::Signing, KeyState::Pending]);
    let still = access_token(&house, "bob@example.com").await;
    assert_eq!(kid(&still), kid(&before));
    house.clock.advance_seconds(PUBLISHED_BEFORE.as_secs());
    let after = access_token(&house, "eve@example.com").await;
    assert_eq!(kid(&after), new.kid);
    assert_eq!(states(&house).await, [KeyState::Verifying, KeyState::Signing]);
    for token in [&before, &still, &after] {
        assert!(opens(&house.sessions, token).await);
    }
    // Its last token has expired: it is deleted.
    house.clock.advance_seconds(15 * 60 + 119);
    house.sessions.tend_signing_keys().await.unwrap();
    assert_eq!(keys(&house).await.len(), 2);
    house.clock.advance_seconds(1);
    assert_eq!(states(&house).await[0], KeyState::Outlived);
    house.sessions.tend_signing_keys().await.unwrap();
    assert_eq!(keys(&house).await.len(), 1);
    assert_eq!(states(&house).await, [KeyState::Signing]);
    let expected = [
        (format!("signing_key.create {}", kid(&before)), Actor::System),
        (format!("signing_key.create {}", new.kid), Actor::Operator),
        (format!("signing_key.delete {}", kid(&before)), Actor::System),
    ];
    assert_eq!(acts(&house).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_nodes_one_makes_the_key_that_is_due() {
    let house = House::new().await;
    let mut nodes = Vec::new();
    for _ in 0..64 {
        let (sessions, _) = house.another_node(NINETY_DAYS);
        sessions.prepare_signing_keys().await.unwrap();
        nodes.push(sessions);
    }
    let (never, _) = house.another_node(None);
    never.prepare_signing_keys().await.unwrap();
    house.clock.advance_seconds(90 * DAY - PUBLISHED_BEFORE.as_secs() - 1);
    nodes[0].tend_signing_keys().await.unwrap();
    assert_eq!(keys(&house).await.len(), 1, "not yet");
    house.clock.advance_seconds(1);
    never.tend_signing_keys().await.unwrap();
    assert_eq!(keys(&house).await.len(), 1, "that one was told not to");
    let tends = nodes
        .into_iter()
        .map(|node| tokio::spawn(async move { node.tend_signing_keys().await.unwrap() }));
    for tend in join_all(tends).await {
        tend.unwrap();
    }
    let made = keys(&house).await;
    assert_eq!(made.len(), 2);
    assert_eq!(made[0].retired_at, Some(made[1].active_from));
    assert_eq!(
        made[1].active_from,
        made[0].active_from + SignedDuration::from_hours(24 * 90)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_rotations_at_once_each_makes_a_key_and_one_is_the_last() {
    let house = House::new().await;
    let tries = (0..64).map(|number| {
        let sessions = Arc::clone(&house.sessions);
        let ask = RotateKeys {
            algorithm: None,
            at_once: number % 2 == 0,
        };
        tokio::spawn(async move { sessions.rotate_signing_key(ask).await.unwrap() })
    });
    for made in join_all(tries).await {
        made.unwrap();
    }
    let made = keys(&house).await;
    assert_eq!(made.len(), 65);
    assert_eq!(made.iter().filter(|key| key.retired_at.is_none()).count(), 1);
    assert!(opens(&house.sessions, &access_token(&house, "ada@example.com").await).await);
    house.clock.advance_seconds(PUBLISHED_BEFORE.as_secs());
    assert!(opens(&house.sessions, &access_token(&house, "bob@example.com").await).await);
}

#[tokio::test]
async fn revoking_ends_a_keys_tokens_on_every_node_and_replaces_it() {
    let house = House::new().await;
    let (there, _) = house.another_node(None);
    there.prepare_signing_keys().await.unwrap();
    let grant = house.sign_up("ada@example.com", Transport::Token).await;
    let (token, refresh) = tokens(&grant);
    let old = kid(&token).to_owned();
    assert!(opens(&there, &token).await && opens(&house.sessions, &token).await);
    assert!(there.authenticate_cached(Credential::Bearer(&token)).is_some());
    house.clock.advance_seconds(1);
    let new = house
        .sessions
        .revoke_signing_key(&old)
        .await
        .unwrap()
        .expect("it was needed");
    // Here at once, although it was verified and kept before; there as soon as that node looks.
    assert!(house.sessions.authenticate_cached(Credential::Bearer(&token)).is_none());
    assert!(!opens(&house.sessions, &token).await);
    there.reload_signing_keys().await.unwrap();
    assert!(there.authenticate_cached(Credential::Bearer(&token)).is_none());
    assert!(!opens(&there, &token).await);
    assert!(!house.sessions.public_keys().json.contains(&old));
    // The session lives on.
    let (fresh, _) = tokens(&house.sessions.refresh(&refresh, &Client::default()).await.unwrap());
    assert_eq!(kid(&fresh), new.kid);
    assert!(opens(&there, &fresh).await && opens(&house.sessions, &fresh).await);
    let again = house.sessions.revoke_signing_key(&old).await;
    assert!(matches!(again, Err(RevokeKeyError::Already(_))), "{again:?}");
    let none = house.sessions.revoke_signing_key("nobody's").await;
    assert!(matches!(none, Err(RevokeKeyError::Unknown(_))), "{none:?}");
    assert_eq!(states(&house).await, [KeyState::Revoked, KeyState::Signing]);
    let expected = [
        (format!("signing_key.create {old}"), Actor::System),
        (format!("signing_key.revoke {old}"), Actor::Operator),
        (format!("signing_key.create {}", new.kid), Actor::Operator),
    ];
    assert_eq!(acts(&house).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_revocations_at_once_one_counts_and_one_key_replaces_it() {
    let house = House::new().await;
    let old = keys(&house).await[0].kid.clone();
    let tries = (0..64).map(|_| {
        let (sessions, old) = (Arc::clone(&house.sessions), old.clone());
        tokio::spawn(async move { sessions.revoke_signing_key(&old).await.is_ok() })
    });
    let counted = join_all(tries).await.into_iter().filter(|done| *done.as_ref().unwrap());
    assert_eq!(counted.count(), 1);
    assert_eq!(keys(&house).await.len(), 2);
}

#[tokio::test]
async fn revoking_a_key_that_signs_no_more_changes_nothing_else() {
    let house = House::new().await;
    let old = keys(&house).await[0].kid.clone();
    house.clock.advance_seconds(1);
    let new = house.sessions.rotate_signing_key(AT_ONCE).await.unwrap();
    house.clock.advance_seconds(1);
    assert!(house.sessions.revoke_signing_key(&old).await.unwrap().is_none());
    assert_eq!(kid(&access_token(&house, "ada@example.com").await), new.kid);
    assert_eq!(states(&house).await, [KeyState::Revoked, KeyState::Signing]);
}

#[tokio::test]
async fn a_token_under_a_new_key_is_good_on_a_node_that_has_not_heard_of_it() {
    let house = House::new().await;
    let (there, signer) = house.another_node(None);
    there.prepare_signing_keys().await.unwrap();
    house.sessions.rotate_signing_key(AT_ONCE).await.unwrap();
    let token = access_token(&house, "ada@example.com").await;
    assert_eq!(signer.loads(), 1);
    assert!(opens(&there, &token).await);
    assert_eq!(signer.loads(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_name_unknown_keys_do_not_make_a_node_ask_the_store_each() {
    let house = House::new().await;
    let good = access_token(&house, "ada@example.com").await;
    let (there, signer) = house.another_node(None);
    there.prepare_signing_keys().await.unwrap();
    assert_eq!(signer.loads(), 1);
    let begun = std::time::Instant::now();
    let tries = (0..1000).map(|number| {
        let there = Arc::clone(&there);
        let garbage = good.replace(kid(&good), &format!("unheard-of-{number}"));
        tokio::spawn(async move { opens(&there, &garbage).await })
    });
    for opened in join_all(tries).await {
        assert!(!opened.unwrap());
    }
    let most = 2 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(
        (2..=most).contains(&signer.loads()),
        "{} loads, at most {most}",
        signer.loads()
    );
    assert!(opens(&there, &good).await, "and nobody else is kept out");
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_refuses_the_start_until_it_is_given_up() {
    let house = House::new().await;
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    let mut damaged = keys(&house).await[0].clone();
    damaged.kid = "damaged".into();
    damaged.sealed = b"else".to_vec();
    damaged.active_from = house.clock.now();
    damaged.retired_at = Some(house.clock.now());
    unit.insert_signing_key(&damaged).await.unwrap();
    unit.commit().await.unwrap();
    let (there, _) = house.another_node(None);
    let refused = there.prepare_signing_keys().await.unwrap_err();
    let named = SigningKeyError::Sealed { kid: "damaged".into() };
    assert!(matches!(&refused, HoldKeysError::Key(e) if *e == named), "{refused}");
    assert!(
        refused.to_string().contains("anteroom keys revoke damaged"),
        "{refused}"
    );
    // A node that runs goes on with the others.
    house.sessions.reload_signing_keys().await.unwrap();
    assert!(opens(&house.sessions, &access_token(&house, "ada@example.com").await).await);
    there.revoke_signing_key("damaged").await.unwrap();
    there.prepare_signing_keys().await.unwrap();
}
