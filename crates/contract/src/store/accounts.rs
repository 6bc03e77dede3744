//! Users and their credentials.

use anteroom_domain::accounts::{Email, Role};
use anteroom_ports::StoreError;
use anteroom_ports::accounts::EMAIL_TAKEN;

use super::samples::{at, stored_user, user};
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
    twin.id = unit.page_users(None, 1).await.unwrap()[0].id;
    let error = unit.insert_user(&twin).await.unwrap_err();
    assert!(error.conflicts_on("users_pkey"), "{error:?}");
}

/// Name, locale, role and time are written, the address and its proof are not.
pub async fn profiles_change_and_the_rest_stays(database: &dyn TestDatabase) {
    let store = ready(database).await;
    let before = stored_user(&store).await;
    let mut changed = before.clone();
    changed.name = None;
    changed.locale = "de-AT".into();
    changed.role = Role::Admin;
    changed.updated_at = at(9);
    let mut sneaky = changed.clone();
    sneaky.email = Email::parse("elsewhere@example.com").unwrap();
    sneaky.email_verified = true;
    sneaky.created_at = at(-9);
    let mut unit = begin(&store).await;
    assert!(unit.update_user(&sneaky).await.unwrap());
    assert!(!unit.update_user(&user("nobody@example.com")).await.unwrap());
    unit.commit().await.unwrap();
    let mut read = store.read().await.unwrap();
    assert_eq!(read.user(before.id).await.unwrap(), Some(changed));
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
    assert_eq!(read.page_users(None, 10).await.unwrap(), all);
    assert_eq!(read.page_users(None, 2).await.unwrap(), all[..2]);
    assert_eq!(read.page_users(Some(all[1].id), 2).await.unwrap(), all[2..4]);
    assert_eq!(read.page_users(Some(all[4].id), 2).await.unwrap(), []);
    assert_eq!(read.page_users(None, 0).await.unwrap(), []);
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
