//! API keys and their secrets.

use std::collections::BTreeSet;

use anteroom_domain::access::{ApiKey, KeySecret, UsedWith};
use anteroom_domain::billing::{METER_KEY_BUDGET, Owner, QuotaKey};
use anteroom_domain::sessions::Change;
use anteroom_domain::{ApiKeyId, Timestamp};
use anteroom_ports::Durability;
use anteroom_ports::billing::Reserved;

use super::samples::{api_key, at, counter, digest, hold, id, reservation, settlement, stored_user};
use super::{RACERS, TestDatabase, begin, race, ready};

/// With every limit and with none, found by its owner only.
pub async fn keys_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (stored_user(&store).await, stored_user(&store).await);
    let full = api_key(&owner);
    let bare = ApiKey {
        models: None,
        budget: None,
        requests_per_minute: None,
        expires_at: None,
        rotated: Some((at(2), at(3))),
        last_used_at: Some(at(4)),
        ..api_key(&owner)
    };
    let mut unit = begin(&store).await;
    for key in [&full, &bare] {
        unit.insert_api_key(key, &digest()).await.unwrap();
        assert_eq!(unit.api_key(owner.id, key.id).await.unwrap().as_ref(), Some(key));
        assert_eq!(unit.api_key(other.id, key.id).await.unwrap(), None);
    }
    assert_eq!(
        unit.page_api_keys(owner.id, None, 9).await.unwrap(),
        [bare.clone(), full.clone()]
    );
    assert_eq!(
        unit.page_api_keys(owner.id, None, 1).await.unwrap(),
        std::slice::from_ref(&bare)
    );
    assert_eq!(unit.page_api_keys(owner.id, Some(bare.id), 9).await.unwrap(), [full]);
    assert_eq!(unit.page_api_keys(other.id, None, 9).await.unwrap(), []);
    assert_eq!(unit.count_api_keys(owner.id, at(999)).await.unwrap(), 2);
    assert_eq!(unit.count_api_keys(owner.id, at(1000)).await.unwrap(), 1);
    assert_eq!(unit.count_api_keys(other.id, at(0)).await.unwrap(), 0);
}

/// A key is found by its secret, with its owner; a digest belongs to one key.
pub async fn a_secret_belongs_to_one_key(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let (key, secret) = (api_key(&owner), digest());
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &secret).await.unwrap();
    let found = unit.api_key_by_secret(&secret).await.unwrap().unwrap();
    assert_eq!(found, (key.clone(), KeySecret { ends_at: None }, owner.clone()));
    assert_eq!(unit.api_key_by_secret(&digest()).await.unwrap(), None);
    unit.commit().await.unwrap();
    let error = begin(&store).await.insert_api_key(&api_key(&owner), &secret).await;
    assert!(error.unwrap_err().conflicts_on("api_key_secrets_digest_key"));
    // A key needs its user, and goes with them.
    let mut unit = begin(&store).await;
    unit.delete_user(owner.id).await.unwrap();
    assert_eq!(unit.api_key_by_secret(&secret).await.unwrap(), None);
    assert_eq!(unit.api_key(owner.id, key.id).await.unwrap(), None);
    unit.commit().await.unwrap();
    begin(&store).await.insert_api_key(&key, &secret).await.unwrap_err();
}

/// Everything but whose it is, since when, and when it was used.
pub async fn keys_change(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (stored_user(&store).await, stored_user(&store).await);
    let key = api_key(&owner);
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &digest()).await.unwrap();
    let bare = ApiKey {
        name: "other".into(),
        hint: "0000".into(),
        scopes: vec![],
        models: None,
        budget: None,
        requests_per_minute: None,
        expires_at: None,
        rotated: Some((at(2), at(3))),
        ..key.clone()
    };
    let said = ApiKey {
        created_at: at(77),
        last_used_at: Some(at(77)),
        ..bare.clone()
    };
    assert!(unit.update_api_key(&said).await.unwrap());
    assert_eq!(unit.api_key(owner.id, key.id).await.unwrap(), Some(bare.clone()));
    let stolen = ApiKey {
        user_id: other.id,
        ..key.clone()
    };
    assert!(!unit.update_api_key(&stolen).await.unwrap());
    assert_eq!(unit.api_key(owner.id, key.id).await.unwrap(), Some(bare));
    assert_eq!(unit.api_key(other.id, key.id).await.unwrap(), None);
}

/// Those before end when it is said, or earlier, if that was said before; what has ended is forgotten.
pub async fn secrets_are_exchanged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let key = api_key(&owner);
    let secrets: Vec<_> = (0..4).map(|_| digest()).collect();
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &secrets[0]).await.unwrap();
    let other = (api_key(&owner), digest());
    unit.insert_api_key(&other.0, &other.1).await.unwrap();
    assert_eq!(
        unit.rotate_api_key(&key, &secrets[1], at(10), at(100)).await.unwrap(),
        2
    );
    assert_eq!(
        unit.rotate_api_key(&key, &secrets[2], at(20), at(200)).await.unwrap(),
        3
    );
    let mut ends = Vec::new();
    for secret in &secrets[..3] {
        ends.push(unit.api_key_by_secret(secret).await.unwrap().unwrap().1.ends_at);
    }
    assert_eq!(ends, [Some(at(100)), Some(at(200)), None]);
    // At once: all of them.
    assert_eq!(unit.rotate_api_key(&key, &secrets[3], at(30), at(30)).await.unwrap(), 1);
    for secret in &secrets[..3] {
        assert_eq!(unit.api_key_by_secret(secret).await.unwrap(), None);
    }
    for (secret, of) in [(&secrets[3], &key), (&other.1, &other.0)] {
        let (found, secret, _) = unit.api_key_by_secret(secret).await.unwrap().unwrap();
        assert_eq!((found.id, secret.ends_at), (of.id, None));
    }
}

/// As many as it is, one of them is the newest.
pub async fn of_parallel_exchanges_one_secret_is_the_newest(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let key = api_key(&owner);
    let first = digest();
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &first).await.unwrap();
    unit.commit().await.unwrap();
    let exchanged = race(|_| {
        let (store, key) = (store.clone(), key.clone());
        async move {
            let secret = digest();
            let mut unit = begin(&store).await;
            unit.lock_user(key.user_id).await.unwrap();
            let live = unit.rotate_api_key(&key, &secret, at(10), at(100)).await.unwrap();
            unit.commit().await.unwrap();
            (live, secret)
        }
    })
    .await;
    let counted: BTreeSet<usize> = exchanged.iter().map(|(live, _)| *live).collect();
    assert_eq!(counted, (2..=RACERS + 1).collect());
    let mut newest = 0;
    for secret in exchanged.iter().map(|(_, secret)| secret).chain([&first]) {
        let (_, secret, _) = begin(&store).await.api_key_by_secret(secret).await.unwrap().unwrap();
        newest += usize::from(secret.ends_at.is_none());
    }
    assert_eq!(newest, 1);
}

/// By its owner only, with its secrets.
pub async fn keys_are_deleted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (owner, other) = (stored_user(&store).await, stored_user(&store).await);
    let (key, secret) = (api_key(&owner), digest());
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &secret).await.unwrap();
    assert!(!unit.delete_api_key(other.id, key.id).await.unwrap());
    assert!(unit.delete_api_key(owner.id, key.id).await.unwrap());
    assert!(!unit.delete_api_key(owner.id, key.id).await.unwrap());
    assert_eq!(unit.api_key_by_secret(&secret).await.unwrap(), None);
}

/// Never back.
pub async fn last_use_moves_forward_only(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let keys = [api_key(&owner), api_key(&owner)];
    let mut unit = begin(&store).await;
    for key in &keys {
        unit.insert_api_key(key, &digest()).await.unwrap();
    }
    let unheard = ApiKeyId(id());
    unit.touch_api_keys(&[]).await.unwrap();
    let used = [
        (keys[0].id, at(5)),
        (unheard, at(5)),
        (keys[0].id, at(7)),
        (keys[1].id, at(6)),
    ];
    unit.touch_api_keys(&used).await.unwrap();
    unit.touch_api_keys(&[(keys[0].id, at(6)), (keys[1].id, at(8))])
        .await
        .unwrap();
    let mut last: Vec<Option<Timestamp>> = Vec::new();
    for key in &keys {
        last.push(unit.api_key(owner.id, key.id).await.unwrap().unwrap().last_used_at);
    }
    assert_eq!(last, [Some(at(7)), Some(at(8))]);
}

/// The longest expired first; what never expires stays.
pub async fn expired_keys_are_purged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let mut unit = begin(&store).await;
    let mut keys = Vec::new();
    for end in [Some(30), Some(10), Some(20), None] {
        let key = ApiKey {
            expires_at: end.map(at),
            ..api_key(&owner)
        };
        unit.insert_api_key(&key, &digest()).await.unwrap();
        keys.push(key);
    }
    assert_eq!(unit.purge_api_keys(at(10), 9).await.unwrap(), 0);
    assert_eq!(unit.purge_api_keys(at(30), 1).await.unwrap(), 1);
    assert_eq!(unit.api_key(owner.id, keys[1].id).await.unwrap(), None);
    assert_eq!(unit.purge_api_keys(at(30), 9).await.unwrap(), 1);
    let left = unit.page_api_keys(owner.id, None, 9).await.unwrap();
    assert_eq!(
        left.iter().map(|key| key.id).collect::<Vec<_>>(),
        [keys[3].id, keys[0].id]
    );
}

/// Whatever changes what a key opens makes every node look at its owner anew.
pub async fn what_changes_a_key_is_told(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let owner = stored_user(&store).await;
    let (key, told) = (api_key(&owner), Change::User(owner.id));
    let mut unit = begin(&store).await;
    unit.insert_api_key(&key, &digest()).await.unwrap();
    unit.commit().await.unwrap();
    let heard = async || {
        let told_lately = store.read().await.unwrap().told_lately().await.unwrap();
        told_lately.iter().filter(|(_, change)| *change == told).count()
    };
    let before = heard().await;
    let mut unit = begin(&store).await;
    unit.update_api_key(&key).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(heard().await, before + 1);
    let mut unit = begin(&store).await;
    unit.rotate_api_key(&key, &digest(), at(1), at(1)).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(heard().await, before + 2);
    let mut unit = begin(&store).await;
    unit.delete_api_key(owner.id, key.id).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(heard().await, before + 3);
}

/// What is held on a key's budget is known by the key, and the limit holds whatever runs in parallel.
pub async fn a_budget_holds_exactly_under_parallel_calls(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let key = ApiKeyId(id());
    let budget = QuotaKey {
        owner: Owner::api_key(key),
        meter: METER_KEY_BUDGET,
        window_start: Timestamp::UNIX_EPOCH,
    };
    let held = race(|_| {
        let (store, budget) = (store.clone(), budget.clone());
        async move {
            let mut call = reservation(vec![hold(&counter(), 1, None), hold(&budget, 3, Some(30))]);
            call.used_with = UsedWith::ApiKey(key);
            let mut unit = store.begin(Durability::Relaxed).await.unwrap();
            let held = unit.reserve_quota(&[&call]).await.unwrap() == Reserved::Held;
            if held {
                unit.commit().await.unwrap();
            }
            held.then_some(call)
        }
    })
    .await;
    let mut held: Vec<_> = held.into_iter().flatten().collect();
    assert_eq!(held.len(), 10);
    let mut unit = begin(&store).await;
    let mut open = unit.expired_reservations(at(100), 99).await.unwrap();
    for calls in [&mut held, &mut open] {
        calls.sort_by_key(|call| call.id.0);
        for call in calls {
            call.holds.sort_by_key(|hold| hold.key.meter);
        }
    }
    assert_eq!(open, held);
    let settled = unit
        .settle_quota(&[settlement(held[0].id, &[(METER_KEY_BUDGET, 5)])])
        .await
        .unwrap();
    assert_eq!(settled, [held[0].id]);
    let level = unit.quota_level(&budget).await.unwrap();
    assert_eq!((level.used, level.reserved), (5, 27));
}
