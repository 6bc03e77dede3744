//! Sessions, their refresh tokens, and signing keys.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anteroom_domain::accounts::Role;
use anteroom_domain::sessions::{Change, EndReason, SigningAlgorithm, Transport};
use anteroom_domain::{SessionId, UserId};
use anteroom_ports::{Listener, Store, StoreError};

use super::samples::{at, digest, id, refresh_token, session, signing_key, stored_user, user};
use super::{TestDatabase, begin, race, ready};

/// Every field, with and without what may be missing, by id and by cookie.
pub async fn sessions_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let cookie = digest();
    let mut by_cookie = session(&ada);
    by_cookie.transport = Transport::Cookie;
    let mut ended = session(&ada);
    ended.address = None;
    ended.user_agent = None;
    ended.ended = Some((at(5), EndReason::RefreshTokenReuse));
    let mut unit = begin(&store).await;
    unit.insert_session(&by_cookie, Some(&cookie)).await.unwrap();
    unit.insert_session(&ended, None).await.unwrap();
    unit.commit().await.unwrap();

    let mut read = store.read().await.unwrap();
    let found = read.session_by_cookie(&cookie).await.unwrap();
    assert_eq!(found, Some((by_cookie.clone(), ada.clone())));
    assert_eq!(
        read.session(by_cookie.id).await.unwrap(),
        Some((by_cookie, ada.clone()))
    );
    // Ended ones are found too.
    assert_eq!(read.session(ended.id).await.unwrap(), Some((ended, ada)));
    assert_eq!(read.session(SessionId(id())).await.unwrap(), None);
    assert_eq!(read.session_by_cookie(&digest()).await.unwrap(), None);
}

/// And a session without one meets no other.
pub async fn a_cookie_belongs_to_one_session(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let cookie = digest();
    let mut unit = begin(&store).await;
    unit.insert_session(&session(&ada), None).await.unwrap();
    unit.insert_session(&session(&ada), None).await.unwrap();
    unit.insert_session(&session(&ada), Some(&cookie)).await.unwrap();
    let error = unit.insert_session(&session(&ada), Some(&cookie)).await.unwrap_err();
    assert!(error.conflicts_on("sessions_cookie_digest_key"), "{error:?}");
}

/// The database knows what belongs to what.
pub async fn a_session_needs_its_user(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    let stranger = session(&user("stranger@example.com"));
    let error = unit.insert_session(&stranger, None).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

/// Of parallel ends one counts, and it stays.
pub async fn a_session_ends_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = session(&ada);
    let mut unit = begin(&store).await;
    unit.insert_session(&mine, None).await.unwrap();
    assert!(
        !unit
            .end_session(SessionId(id()), at(5), EndReason::Logout)
            .await
            .unwrap()
    );
    unit.commit().await.unwrap();
    let outcomes = race(|number| {
        let (store, id) = (store.clone(), mine.id);
        async move {
            let mut unit = begin(&store).await;
            let when = at(5 + i64::try_from(number).unwrap());
            let ended = unit.end_session(id, when, EndReason::Logout).await.unwrap();
            unit.commit().await.unwrap();
            ended.then_some(when)
        }
    })
    .await;
    let ended: Vec<_> = outcomes.into_iter().flatten().collect();
    assert_eq!(ended.len(), 1);
    let (found, _) = store.read().await.unwrap().session(mine.id).await.unwrap().unwrap();
    assert_eq!(found.ended, Some((ended[0], EndReason::Logout)));
}

/// Whatever order the news come in.
pub async fn last_seen_moves_forward_only(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (early, late) = (session(&ada), session(&ada));
    let mut unit = begin(&store).await;
    unit.insert_session(&early, None).await.unwrap();
    unit.insert_session(&late, None).await.unwrap();
    unit.touch_sessions(&[]).await.unwrap();
    let seen = [
        (late.id, at(20)),
        (SessionId(id()), at(30)),
        (early.id, at(-20)),
        (late.id, at(25)),
        (late.id, at(21)),
    ];
    unit.touch_sessions(&seen).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let mut last_seen = Vec::new();
    for id in [early.id, late.id] {
        last_seen.push(read.session(id).await.unwrap().unwrap().0.last_seen_at);
    }
    assert_eq!(last_seen, [early.last_seen_at, at(25)]);
}

/// Of parallel refreshes one exchanges the token; the others see that it was.
pub async fn a_refresh_token_is_used_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mine = session(&ada);
    let (token, secret) = (refresh_token(&mine), digest());
    let mut unit = begin(&store).await;
    unit.insert_session(&mine, None).await.unwrap();
    unit.insert_refresh_token(&token, &secret).await.unwrap();
    assert_eq!(unit.lock_refresh_token(&digest()).await.unwrap(), None);
    assert_eq!(unit.lock_refresh_token(&secret).await.unwrap(), Some(token.clone()));
    unit.commit().await.unwrap();
    let outcomes = race(|_| {
        let (store, id, mine) = (store.clone(), token.id, mine.clone());
        async move {
            let mut unit = begin(&store).await;
            let found = unit.lock_refresh_token(&secret).await.unwrap().unwrap();
            let fresh = found.used_at.is_none();
            assert_eq!(unit.use_refresh_token(id, at(9)).await.unwrap(), fresh);
            if fresh {
                unit.insert_refresh_token(&refresh_token(&mine), &digest())
                    .await
                    .unwrap();
            }
            unit.commit().await.unwrap();
            fresh
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|fresh| **fresh).count(), 1);
    let mut unit = begin(&store).await;
    let error = unit
        .insert_refresh_token(&refresh_token(&mine), &secret)
        .await
        .unwrap_err();
    assert!(error.conflicts_on("refresh_tokens_digest_key"), "{error:?}");
}

/// The oldest first, at most as many as asked for.
pub async fn expired_sessions_are_purged_with_their_tokens(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut unit = begin(&store).await;
    let mut ids = Vec::new();
    let mut secrets = Vec::new();
    for expires in [30, 10, 20, 40] {
        let mut mine = session(&ada);
        mine.expires_at = at(expires);
        unit.insert_session(&mine, None).await.unwrap();
        let secret = digest();
        unit.insert_refresh_token(&refresh_token(&mine), &secret).await.unwrap();
        ids.push(mine.id);
        secrets.push(secret);
    }
    assert_eq!(unit.purge_sessions(at(40), 2).await.unwrap(), 2);
    let mut left = Vec::new();
    for (id, secret) in ids.iter().zip(&secrets) {
        let stands = unit.session(*id).await.unwrap().is_some();
        assert_eq!(unit.lock_refresh_token(secret).await.unwrap().is_some(), stands);
        left.push(stands);
    }
    assert_eq!(left, [true, false, false, true]);
    assert_eq!(unit.purge_sessions(at(40), 10).await.unwrap(), 1);
    assert_eq!(unit.purge_sessions(at(40), 10).await.unwrap(), 0);
}

/// Oldest first; those that ended or expired are not.
pub async fn a_users_live_sessions_are_listed(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob) = (stored_user(&store).await, stored_user(&store).await);
    let (first, second, ended) = (session(&ada), session(&ada), session(&ada));
    let mut short = session(&ada);
    short.expires_at = at(10);
    let mut unit = begin(&store).await;
    for session in [&second, &first, &ended, &short, &session(&bob)] {
        unit.insert_session(session, None).await.unwrap();
    }
    unit.end_session(ended.id, at(3), EndReason::Logout).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let live = read.live_sessions(ada.id, at(9)).await.unwrap();
    assert_eq!(live, [first.clone(), second.clone(), short]);
    assert_eq!(read.live_sessions(ada.id, at(10)).await.unwrap(), [first, second]);
}

/// But for the one that asks; those that ended before keep their reason.
pub async fn a_users_sessions_end_together(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob) = (stored_user(&store).await, stored_user(&store).await);
    let (asking, other, ended, stranger) = (session(&ada), session(&ada), session(&ada), session(&bob));
    let mut unit = begin(&store).await;
    for session in [&asking, &other, &ended, &stranger] {
        unit.insert_session(session, None).await.unwrap();
    }
    unit.end_session(ended.id, at(3), EndReason::Logout).await.unwrap();
    let reason = EndReason::PasswordChanged;
    let done = unit.end_sessions_of(ada.id, Some(asking.id), at(4), reason).await;
    assert_eq!(done.unwrap(), [other.id]);
    assert_eq!(
        unit.session(other.id).await.unwrap().unwrap().0.ended,
        Some((at(4), reason))
    );
    let before = unit.session(ended.id).await.unwrap().unwrap().0.ended;
    assert_eq!(before, Some((at(3), EndReason::Logout)));
    let done = unit.end_sessions_of(ada.id, None, at(5), reason).await;
    assert_eq!(done.unwrap(), [asking.id]);
    assert_eq!(unit.session(stranger.id).await.unwrap().unwrap().0.ended, None);
}

/// As long as it lives.
pub async fn proving_oneself_again_is_noted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let session = session(&ada);
    let mut unit = begin(&store).await;
    unit.insert_session(&session, None).await.unwrap();
    assert!(unit.authenticate_session(session.id, at(50)).await.unwrap());
    assert_eq!(
        unit.session(session.id).await.unwrap().unwrap().0.authenticated_at,
        at(50)
    );
    unit.end_session(session.id, at(60), EndReason::Logout).await.unwrap();
    assert!(!unit.authenticate_session(session.id, at(70)).await.unwrap());
}

/// Every field, with and without what may be missing, oldest first.
pub async fn signing_keys_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    assert_eq!(store.read().await.unwrap().signing_keys().await.unwrap(), []);
    let (later, mut ended) = (signing_key(20), signing_key(10));
    ended.algorithm = SigningAlgorithm::Es256;
    ended.sealed = vec![0, 255, 0];
    ended.wrapping_version = 7;
    ended.retired_at = Some(at(20));
    ended.revoked_at = Some(at(15));
    let mut unit = begin(&store).await;
    unit.insert_signing_key(&later).await.unwrap();
    unit.insert_signing_key(&ended).await.unwrap();
    unit.commit().await.unwrap();
    let keys = [ended, later];
    assert_eq!(store.read().await.unwrap().signing_keys().await.unwrap(), keys);
    let mut unit = begin(&store).await;
    assert_eq!(unit.lock_signing_keys().await.unwrap(), keys);
    let error = unit.insert_signing_key(&keys[0]).await.unwrap_err();
    assert!(error.conflicts_on("signing_keys_pkey"), "{error:?}");
    drop(unit);
    database
        .execute("UPDATE signing_keys SET wrapping_version = 8 WHERE wrapping_version = 7")
        .await;
    let mut unit = begin(&store).await;
    assert_eq!(unit.lock_signing_keys().await.unwrap()[0].wrapping_version, 8);
    assert!(unit.delete_signing_key(&keys[0].kid).await.unwrap());
    assert!(!unit.delete_signing_key(&keys[0].kid).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(store.read().await.unwrap().signing_keys().await.unwrap(), keys[1..]);
}

/// Retired: earlier, never later. Revoked: once.
pub async fn signing_keys_are_retired_and_revoked(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (mine, other) = (signing_key(0), signing_key(1));
    let mut unit = begin(&store).await;
    unit.insert_signing_key(&mine).await.unwrap();
    unit.insert_signing_key(&other).await.unwrap();
    for (second, changes) in [(30, true), (40, false), (30, false), (20, true)] {
        let changed = unit.retire_signing_key(&mine.kid, at(second)).await.unwrap();
        assert_eq!(changed, changes, "{second}");
    }
    assert!(unit.revoke_signing_key(&mine.kid, at(5)).await.unwrap());
    assert!(!unit.revoke_signing_key(&mine.kid, at(4)).await.unwrap());
    assert!(!unit.revoke_signing_key("none", at(4)).await.unwrap());
    assert!(!unit.retire_signing_key("none", at(4)).await.unwrap());
    unit.commit().await.unwrap();
    let keys = store.read().await.unwrap().signing_keys().await.unwrap();
    assert_eq!((keys[0].retired_at, keys[0].revoked_at), (Some(at(20)), Some(at(5))));
    assert_eq!(keys[1], other);
}

/// Of parallel callers that find no key and make one, one makes it, although there is no row to lock.
pub async fn of_parallel_callers_one_makes_the_first_signing_key(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let outcomes = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let first = unit.lock_signing_keys().await.unwrap().is_empty();
            if first {
                unit.insert_signing_key(&signing_key(0)).await.unwrap();
            }
            unit.commit().await.unwrap();
            first
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|first| **first).count(), 1);
    assert_eq!(store.read().await.unwrap().signing_keys().await.unwrap().len(), 1);
}

async fn told(store: &Arc<dyn Store>) -> HashSet<Change> {
    let told = store.read().await.unwrap().told_lately().await.unwrap();
    told.into_iter().map(|(_, change)| change).collect()
}

/// With the commit of what has changed, and only then; each once.
pub async fn what_ends_or_changes_is_told(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (one, two, three) = (session(&ada), session(&ada), session(&ada));
    let mut unit = begin(&store).await;
    for session in [&one, &two, &three] {
        unit.insert_session(session, None).await.unwrap();
    }
    unit.commit().await.unwrap();
    assert!(told(&store).await.is_empty(), "what begins is looked up");
    let mut unit = begin(&store).await;
    unit.end_session(one.id, at(5), EndReason::Logout).await.unwrap();
    drop(unit);
    let mut unit = begin(&store).await;
    assert!(unit.end_session(one.id, at(5), EndReason::Logout).await.unwrap());
    assert!(told(&store).await.is_empty(), "it is not committed");
    unit.commit().await.unwrap();
    assert_eq!(told(&store).await, HashSet::from([Change::SessionEnded(one.id)]));
    let mut unit = begin(&store).await;
    assert!(!unit.end_session(one.id, at(5), EndReason::Logout).await.unwrap());
    let all = unit
        .end_sessions_of(ada.id, Some(three.id), at(6), EndReason::Revoked)
        .await;
    assert_eq!(all.unwrap(), [two.id]);
    unit.commit().await.unwrap();
    let ended = HashSet::from([one.id, two.id].map(Change::SessionEnded));
    assert_eq!(told(&store).await, ended);
    let lately = store.read().await.unwrap().told_lately().await.unwrap();
    assert_eq!(lately.len(), 2, "what changed nothing is not told: {lately:?}");
    for act in 0..3 {
        let user = stored_user(&store).await;
        let mine = session(&user);
        let mut unit = begin(&store).await;
        unit.insert_session(&mine, None).await.unwrap();
        match act {
            0 => {
                let mut user = user.clone();
                user.role = Role::Admin;
                assert!(unit.update_user(&user).await.unwrap());
            }
            1 => assert!(unit.authenticate_session(mine.id, at(9)).await.unwrap()),
            _ => assert!(unit.delete_user(user.id).await.unwrap()),
        }
        unit.commit().await.unwrap();
        assert!(told(&store).await.contains(&Change::User(user.id)), "{act}");
    }
    let mut unit = begin(&store).await;
    assert_eq!(unit.purge_told().await.unwrap(), 0, "it is not two minutes old");
    unit.commit().await.unwrap();
    database
        .execute("UPDATE broadcasts SET created_at = (SELECT created_at FROM users LIMIT 1)")
        .await;
    // The users of this suite are of another year: what is told in the future is news, and kept.
    assert_eq!(told(&store).await.len(), 5);
    database.execute("DELETE FROM broadcasts").await;
    assert!(told(&store).await.is_empty());
}

async fn hears(listener: &mut Box<dyn Listener>, change: Change) -> Duration {
    let begun = Instant::now();
    while !listener.next().await.unwrap().changes.contains(&change) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{change:?} was not heard");
    }
    begun.elapsed()
}

/// Where the store can call out: at once, on other nodes and on the one that tells, in order, and not before the commit.
/// The link is tried all the time.
pub async fn a_listener_hears_what_is_told(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let other = database.open(Duration::from_secs(20)).await;
    let Some(mut here) = store.listen().await.unwrap() else {
        return;
    };
    let mut there = other.listen().await.unwrap().unwrap();
    let change = |number: u128| Change::User(UserId(uuid::Uuid::from_u128(number)));
    let mut unit = begin(&store).await;
    unit.tell(&[change(1)]).await.unwrap();
    drop(unit);
    let mut unit = begin(&store).await;
    unit.tell(&[change(2)]).await.unwrap();
    for _ in 0..4 {
        let heard = there.next().await.unwrap();
        assert!(heard.changes.is_empty(), "{heard:?}");
        assert!(heard.as_of.is_some(), "the link was tried");
    }
    unit.commit().await.unwrap();
    for listener in [&mut here, &mut there] {
        let took = hears(listener, change(2)).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    // Whatever was committed before the link was tried has been heard then.
    let mut unit = begin(&other).await;
    let many: Vec<Change> = (10..1010).map(change).collect();
    unit.tell(&many).await.unwrap();
    unit.commit().await.unwrap();
    let committed = Instant::now();
    let mut heard = Vec::new();
    loop {
        let next = here.next().await.unwrap();
        heard.extend(next.changes);
        if next.as_of.is_some_and(|as_of| as_of > committed) {
            break;
        }
    }
    assert_eq!(heard, many);
}
