//! Users and their credentials.

use anteroom_domain::accounts::{Email, Purpose, Role};
use anteroom_ports::StoreError;
use anteroom_ports::accounts::{DeviceSeen, EMAIL_TAKEN, UserFilter};

use super::samples::{at, digest, one_time_token, session, stored_user, user};
use super::{TestDatabase, begin, race, ready};

/// Every field, to the microsecond.
pub async fn users_survive_a_round_trip(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut admin = user("Ada.Lovelace@Example.com");
    admin.email_verified = true;
    admin.role = Role::Admin;
    admin.updated_at = at(7);
    let mut plain = user("plain@example.com");
    plain.name = None;
    let mut unit = begin(&store).await;
    unit.insert_user(&admin).await.unwrap();
    unit.insert_user(&plain).await.unwrap();
    // A unit sees what it wrote itself.
    assert_eq!(unit.user(admin.id).await.unwrap(), Some(admin.clone()));
    unit.commit().await.unwrap();

    let mut read = store.read().await.unwrap();
    assert_eq!(read.user(admin.id).await.unwrap(), Some(admin.clone()));
    assert_eq!(read.user(plain.id).await.unwrap(), Some(plain));
    let found = read.user_by_email("ada.lovelace@example.com").await.unwrap();
    assert_eq!(found, Some((admin, None)));
    assert_eq!(read.user(user("x@example.com").id).await.unwrap(), None);
    assert_eq!(read.user_by_email("nobody@example.com").await.unwrap(), None);
}

/// Whatever the case of its letters.
pub async fn an_address_belongs_to_one_user(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    unit.insert_user(&user("ÄDA@example.com")).await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = begin(&store).await;
    let error = unit.insert_user(&user("äda@EXAMPLE.com")).await.unwrap_err();
    assert!(error.conflicts_on(EMAIL_TAKEN), "{error:?}");
    drop(unit);
    let mut unit = begin(&store).await;
    let mut twin = user("other@example.com");
    twin.id = unit.page_users(&UserFilter::default(), None, 1).await.unwrap()[0].id;
    let error = unit.insert_user(&twin).await.unwrap_err();
    assert!(error.conflicts_on("users_pkey"), "{error:?}");
}

/// Everything is written but who it is and since when.
pub async fn users_change_and_stay_who_they_are(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let before = stored_user(&store).await;
    let mut changed = before.clone();
    changed.email = Email::parse("Elsewhere@example.com").unwrap();
    changed.email_verified = true;
    changed.name = None;
    changed.locale = "de-AT".into();
    changed.role = Role::Admin;
    changed.updated_at = at(9);
    changed.disabled_at = Some(at(8));
    changed.delete_after = Some(at(7));
    let mut sneaky = changed.clone();
    sneaky.created_at = at(-9);
    let mut unit = begin(&store).await;
    assert_eq!(unit.lock_user(before.id).await.unwrap(), Some(before.clone()));
    assert_eq!(unit.lock_user(user("nobody@example.com").id).await.unwrap(), None);
    assert!(unit.update_user(&sneaky).await.unwrap());
    assert!(!unit.update_user(&user("nobody@example.com")).await.unwrap());
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.user(before.id).await.unwrap(), Some(changed.clone()));
    let found = read.user_by_email("elsewhere@example.com").await.unwrap();
    assert_eq!(found, Some((changed.clone(), None)));
    assert_eq!(read.user_by_email(before.email.folded()).await.unwrap(), None);

    let mut other = stored_user(&store).await;
    other.email = Email::parse("ELSEWHERE@example.com").unwrap();
    let mut unit = begin(&store).await;
    let error = unit.update_user(&other).await.unwrap_err();
    assert!(error.conflicts_on(EMAIL_TAKEN), "{error:?}");
}

/// Whoever reads a user to change them waits for whoever did so before: no change is lost.
pub async fn of_parallel_changes_none_is_lost(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let mut unit = begin(&store).await;
    let mut empty = ada.clone();
    empty.name = Some(String::new());
    unit.update_user(&empty).await.unwrap();
    unit.commit().await.unwrap();
    race(|_| {
        let (store, id) = (store.clone(), ada.id);
        async move {
            let mut unit = begin(&store).await;
            let mut user = unit.lock_user(id).await.unwrap().unwrap();
            user.name = user.name.map(|name| name + "x");
            unit.update_user(&user).await.unwrap();
            unit.commit().await.unwrap();
        }
    })
    .await;
    let user = store.read().await.unwrap().user(ada.id).await.unwrap().unwrap();
    assert_eq!(user.name, Some("x".repeat(super::RACERS)));
}

/// Of two who step down together the second sees that the first has.
pub async fn admins_are_counted_one_at_a_time(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut admins = Vec::new();
    for _ in 0..4 {
        let mut admin = stored_user(&store).await;
        admin.role = Role::Admin;
        let mut unit = begin(&store).await;
        unit.update_user(&admin).await.unwrap();
        unit.commit().await.unwrap();
        admins.push(admin);
    }
    let mut unit = begin(&store).await;
    assert_eq!(unit.count_admins().await.unwrap(), 4);
    admins[3].disabled_at = Some(at(5));
    unit.update_user(&admins[3]).await.unwrap();
    assert_eq!(unit.count_admins().await.unwrap(), 3);
    unit.commit().await.unwrap();
    let stepped_down = race(|number| {
        let (store, mut admin) = (store.clone(), admins[number % 3].clone());
        async move {
            let mut unit = begin(&store).await;
            let count = unit.count_admins().await.unwrap();
            if unit.lock_user(admin.id).await.unwrap().unwrap().role == Role::User || count < 2 {
                return false;
            }
            admin.role = Role::User;
            unit.update_user(&admin).await.unwrap();
            unit.commit().await.unwrap();
            true
        }
    })
    .await;
    assert_eq!(stepped_down.iter().filter(|done| **done).count(), 2);
    assert_eq!(begin(&store).await.count_admins().await.unwrap(), 1);
}

/// With its purpose, within its time.
pub async fn a_one_time_token_is_taken_once(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (token, digest) = (one_time_token(&ada), digest());
    let mut unit = begin(&store).await;
    unit.insert_one_time_token(&token, &digest).await.unwrap();
    let error = unit
        .insert_one_time_token(&one_time_token(&ada), &digest)
        .await
        .unwrap_err();
    assert!(error.conflicts_on("one_time_tokens_digest_key"), "{error:?}");
    drop(unit);
    let mut unit = begin(&store).await;
    unit.insert_one_time_token(&token, &digest).await.unwrap();
    unit.commit().await.unwrap();
    let take = async |purpose, digest, now| {
        let mut unit = begin(&store).await;
        let taken = unit.take_one_time_token(purpose, &digest, now).await.unwrap();
        unit.commit().await.unwrap();
        taken
    };
    let mut read = store.read().await.unwrap();
    assert_eq!(
        read.one_time_token(token.purpose, &digest, at(5)).await.unwrap(),
        Some(token.clone())
    );
    assert_eq!(
        read.one_time_token(Purpose::VerifyEmail, &digest, at(5)).await.unwrap(),
        None
    );
    assert_eq!(
        read.one_time_token(token.purpose, &digest, token.expires_at)
            .await
            .unwrap(),
        None
    );
    drop(read);
    assert_eq!(take(Purpose::VerifyEmail, digest, at(5)).await, None);
    assert_eq!(take(token.purpose, super::samples::digest(), at(5)).await, None);
    assert_eq!(take(token.purpose, digest, token.expires_at).await, None);
    let taken = race(|_| {
        let (store, purpose) = (store.clone(), token.purpose);
        async move {
            let mut unit = begin(&store).await;
            let taken = unit.take_one_time_token(purpose, &digest, at(6)).await.unwrap();
            unit.commit().await.unwrap();
            taken
        }
    })
    .await;
    let taken: Vec<_> = taken.into_iter().flatten().collect();
    let mut used = token.clone();
    used.used_at = Some(at(6));
    assert_eq!(taken, [used]);
    let mut unit = begin(&store).await;
    assert_eq!(unit.one_time_token(token.purpose, &digest, at(7)).await.unwrap(), None);
    assert_eq!(
        unit.count_one_time_tokens(ada.id, token.purpose, at(2)).await.unwrap(),
        1
    );
    assert_eq!(
        unit.count_one_time_tokens(ada.id, token.purpose, at(3)).await.unwrap(),
        0
    );
    assert_eq!(
        unit.count_one_time_tokens(ada.id, Purpose::VerifyEmail, at(2))
            .await
            .unwrap(),
        0
    );
}

/// As long as its former owner may go back to it, whatever the case of its letters.
pub async fn an_address_is_reserved_while_it_can_be_taken_back(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    let (mut undo, secret) = (one_time_token(&ada), digest());
    undo.purpose = Purpose::UndoEmailChange;
    let mut unit = begin(&store).await;
    unit.insert_one_time_token(&one_time_token(&ada), &digest())
        .await
        .unwrap();
    let folded = "ada@example.com";
    assert!(!unit.address_is_reserved(folded, None, at(5)).await.unwrap());
    unit.insert_one_time_token(&undo, &secret).await.unwrap();
    assert!(unit.address_is_reserved(folded, None, at(5)).await.unwrap());
    assert!(!unit.address_is_reserved(folded, Some(ada.id), at(5)).await.unwrap());
    assert!(!unit.address_is_reserved("bob@example.com", None, at(5)).await.unwrap());
    assert!(!unit.address_is_reserved(folded, None, undo.expires_at).await.unwrap());
    unit.take_one_time_token(undo.purpose, &secret, at(6)).await.unwrap();
    assert!(!unit.address_is_reserved(folded, None, at(7)).await.unwrap());
}

/// The others stay; and those that are long over go.
pub async fn one_time_tokens_are_made_void_and_purged(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob) = (stored_user(&store).await, stored_user(&store).await);
    let digests = [digest(), digest(), digest()];
    let mut verify = one_time_token(&ada);
    verify.purpose = Purpose::VerifyEmail;
    verify.expires_at = at(5000);
    let mut unit = begin(&store).await;
    unit.insert_one_time_token(&one_time_token(&ada), &digests[0])
        .await
        .unwrap();
    unit.insert_one_time_token(&verify, &digests[1]).await.unwrap();
    unit.insert_one_time_token(&one_time_token(&bob), &digests[2])
        .await
        .unwrap();
    unit.void_one_time_tokens(ada.id, Purpose::ResetPassword, at(4))
        .await
        .unwrap();
    unit.commit().await.unwrap();
    let mut unit = begin(&store).await;
    let reset = Purpose::ResetPassword;
    assert_eq!(unit.take_one_time_token(reset, &digests[0], at(5)).await.unwrap(), None);
    assert!(
        unit.take_one_time_token(reset, &digests[2], at(5))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(unit.purge_one_time_tokens(at(1), 10).await.unwrap(), 0);
    assert_eq!(unit.purge_one_time_tokens(at(2000), 1).await.unwrap(), 1);
    assert_eq!(unit.purge_one_time_tokens(at(2000), 10).await.unwrap(), 1);
    let left = unit.take_one_time_token(Purpose::VerifyEmail, &digests[1], at(5)).await;
    assert!(left.unwrap().is_some());
    let hash = unit.password_hash(ada.id).await.unwrap();
    assert_eq!(hash, None);
    unit.put_password_hash(ada.id, "hash", at(1)).await.unwrap();
    assert_eq!(unit.password_hash(ada.id).await.unwrap().as_deref(), Some("hash"));
}

/// With what is theirs alone, when their time has come.
pub async fn users_are_erased_when_they_are_due(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut due = Vec::new();
    for second in [30, 10, 20] {
        let mut user = stored_user(&store).await;
        user.delete_after = Some(at(second));
        let mut unit = begin(&store).await;
        unit.update_user(&user).await.unwrap();
        unit.insert_session(&session(&user), None).await.unwrap();
        unit.put_password_hash(user.id, "hash", at(1)).await.unwrap();
        unit.insert_one_time_token(&one_time_token(&user), &digest())
            .await
            .unwrap();
        unit.note_device(user.id, "Firefox on Linux", "DE", at(1))
            .await
            .unwrap();
        unit.commit().await.unwrap();
        due.push(user);
    }
    stored_user(&store).await;
    let mut unit = begin(&store).await;
    assert_eq!(unit.users_to_erase(at(9), 10).await.unwrap(), []);
    let found = unit.users_to_erase(at(20), 10).await.unwrap();
    assert_eq!(found, [due[1].clone(), due[2].clone()]);
    assert_eq!(unit.users_to_erase(at(99), 1).await.unwrap(), due[1..2]);
    assert!(unit.delete_user(due[1].id).await.unwrap());
    assert!(!unit.delete_user(due[1].id).await.unwrap());
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.user(due[1].id).await.unwrap(), None);
    assert_eq!(read.live_sessions(due[1].id, at(2)).await.unwrap(), []);
}

/// The first of all, one that is new, and one that was seen before.
pub async fn devices_are_noted(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let (ada, bob) = (stored_user(&store).await, stored_user(&store).await);
    let note = async |user: &anteroom_domain::accounts::User, device: &str, country: &str| {
        let mut unit = begin(&store).await;
        let seen = unit.note_device(user.id, device, country, at(1)).await.unwrap();
        unit.commit().await.unwrap();
        seen
    };
    assert_eq!(note(&ada, "Firefox on Linux", "DE").await, DeviceSeen::First);
    assert_eq!(note(&ada, "Firefox on Linux", "DE").await, DeviceSeen::Known);
    assert_eq!(note(&ada, "Firefox on Linux", "AT").await, DeviceSeen::New);
    assert_eq!(note(&ada, "Safari on iPhone", "DE").await, DeviceSeen::New);
    assert_eq!(note(&ada, "Safari on iPhone", "DE").await, DeviceSeen::Known);
    assert_eq!(note(&bob, "Firefox on Linux", "").await, DeviceSeen::First);
    let seen = race(|_| {
        let (store, id) = (store.clone(), bob.id);
        async move {
            let mut unit = begin(&store).await;
            let seen = unit.note_device(id, "curl", "", at(2)).await.unwrap();
            unit.commit().await.unwrap();
            seen
        }
    })
    .await;
    assert_eq!(seen.iter().filter(|seen| **seen == DeviceSeen::New).count(), 1);
    assert_eq!(
        seen.iter().filter(|seen| **seen == DeviceSeen::Known).count(),
        super::RACERS - 1
    );
}

/// One hash for each user.
pub async fn password_hashes_are_set_and_replaced(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    for hash in ["first", "second"] {
        let mut unit = begin(&store).await;
        unit.put_password_hash(ada.id, hash, at(1)).await.unwrap();
        unit.commit().await.unwrap();
        let mut read = store.read().await.unwrap();
        let found = read.user_by_email(ada.email.folded()).await.unwrap();
        assert_eq!(found, Some((ada.clone(), Some(hash.to_owned()))));
    }
    let mut unit = begin(&store).await;
    let stranger = user("stranger@example.com").id;
    let error = unit.put_password_hash(stranger, "hash", at(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
}

/// Pages neither repeat nor miss one.
pub async fn users_are_paged_newest_first(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.insert(0, stored_user(&store).await);
    }
    let mut read = store.read().await.unwrap();
    assert_eq!(read.page_users(&UserFilter::default(), None, 10).await.unwrap(), all);
    assert_eq!(
        read.page_users(&UserFilter::default(), None, 2).await.unwrap(),
        all[..2]
    );
    assert_eq!(
        read.page_users(&UserFilter::default(), Some(all[1].id), 2)
            .await
            .unwrap(),
        all[2..4]
    );
    assert_eq!(
        read.page_users(&UserFilter::default(), Some(all[4].id), 2)
            .await
            .unwrap(),
        []
    );
    assert_eq!(read.page_users(&UserFilter::default(), None, 0).await.unwrap(), []);
}

/// Each filter alone and all together; and nothing in a search has a meaning of its own.
pub async fn users_are_filtered_and_searched(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut unit = begin(&store).await;
    let mut all = Vec::new();
    for (email, name) in [
        ("Ada.L@Example.com", Some("Ada Lovelace")),
        ("grace_h@example.com", Some("GRACE HOPPER 100%")),
        ("emmy@b\u{fc}cher.example", Some("\u{c9}mmy N\u{d6}THER")),
        ("nobody@example.com", None),
    ] {
        let mut one = user(email);
        one.name = name.map(str::to_owned);
        unit.insert_user(&one).await.unwrap();
        all.push(one);
    }
    all[1].role = Role::Admin;
    all[1].disabled_at = Some(at(3));
    all[2].email_verified = true;
    all[2].role = Role::Admin;
    for one in &all {
        unit.update_user(one).await.unwrap();
    }
    unit.commit().await.unwrap();
    let filter = UserFilter::default;
    let text = |text: &str| UserFilter {
        text: Some(text.to_owned()),
        ..UserFilter::default()
    };
    let admins = UserFilter {
        role: Some(Role::Admin),
        ..filter()
    };
    let closed_admins = UserFilter {
        disabled: Some(true),
        text: Some("grace".into()),
        ..admins.clone()
    };
    let verified = UserFilter {
        verified: Some(true),
        ..filter()
    };
    let open = UserFilter {
        disabled: Some(false),
        verified: Some(false),
        ..filter()
    };
    let mut read = store.read().await.unwrap();
    for (filter, expected) in [
        (admins, &[2, 1][..]),
        (closed_admins, &[1]),
        (verified, &[2]),
        (open, &[3, 0]),
        (text("ada.l@"), &[0]),
        (text("LOVE"), &[0]),
        (text("hopper"), &[1]),
        (text("n\u{f6}ther"), &[2]),
        (text("E\u{301}MMY"), &[2]),
        (text("emmy@b\u{fc}cher.example"), &[2]),
        (text("grace_h"), &[1]),
        (text("grace.h"), &[]),
        (text("100%"), &[1]),
        (text("a%a"), &[]),
        (text("!"), &[]),
        (text("\0"), &[]),
        (text("' OR 1 = 1 --"), &[]),
        (text("@example.com"), &[3, 1, 0]),
    ] {
        let found = read.page_users(&filter, None, 10).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|number: &usize| all[*number].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let page = read
        .page_users(&text("@example.com"), Some(all[1].id), 1)
        .await
        .unwrap();
    assert_eq!(page, [all[0].clone()]);
}

/// The others learn why.
pub async fn of_parallel_signups_with_one_address_one_succeeds(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let outcomes = race(|_| {
        let store = store.clone();
        async move {
            let mut unit = begin(&store).await;
            let inserted = unit.insert_user(&user("ada@example.com")).await;
            match inserted {
                Ok(()) => {
                    unit.commit().await.unwrap();
                    true
                }
                Err(error) => {
                    assert!(error.conflicts_on(EMAIL_TAKEN), "{error:?}");
                    false
                }
            }
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
}

/// U+0000 in people's text becomes U+FFFD, on every database.
pub async fn what_postgresql_cannot_hold_is_replaced(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let mut ada = user("ada@example.com");
    ada.name = Some("A\0da".into());
    let mut unit = begin(&store).await;
    unit.insert_user(&ada).await.unwrap();
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    let found = read.user(ada.id).await.unwrap().unwrap();
    assert_eq!(found.name.as_deref(), Some("A\u{FFFD}da"));
}

/// A word that no version writes is an error, not a guess.
pub async fn an_unknown_word_is_corrupt(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let ada = stored_user(&store).await;
    database.execute("UPDATE users SET role = 'root'").await;
    let mut read = store.read().await.unwrap();
    let error = read.user(ada.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}
