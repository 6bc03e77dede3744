//! Signing up, logging in, changing oneself, the first admin.

use anteroom_domain::accounts::{ForeignHash, Kdf, Role};
use anteroom_domain::billing::NanoUsd;
use anteroom_domain::sessions::Transport;
use anteroom_ports::accounts::UserFilter;
use anteroom_ports::{Clock as _, Durability};
use anteroom_services::Client;
use anteroom_services::accounts::{
    ChangeProfile, ChangeProfileError, ImportUser, Imported, LogIn, LogInError, MadeAdmin, MakeAdminError, SignUp,
    SignUpError,
};
use anteroom_testkit::accounts::PlainHasher;

use crate::house::{House, PASSWORD, signed_in};

fn asking(email: &str, password: &str) -> SignUp {
    SignUp {
        email: email.into(),
        password: password.into(),
        name: Some("Ada".into()),
        locale: None,
        transport: Transport::Token,
        client: Client::default(),
    }
}

fn log_in(email: &str, password: &str) -> LogIn {
    LogIn {
        email: email.into(),
        password: password.into(),
        transport: Transport::Cookie,
        client: Client::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_sign_up_with_one_address_one_does() {
    let house = House::new().await;
    let tries = (0..64).map(|i| {
        let accounts = house.accounts.clone();
        let email = if i % 2 == 0 {
            "ada@example.com"
        } else {
            "ADA@Example.com"
        };
        tokio::spawn(async move { accounts.sign_up(asking(email, PASSWORD)).await })
    });
    let mut made = 0;
    for outcome in futures_util::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(_) => made += 1,
            Err(SignUpError::EmailTaken) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(made, 1);
    house.webhooks.deliver_outbox().await.unwrap();
    assert_eq!(house.mailer.sent().len(), 1, "one welcome");
}

#[tokio::test]
async fn all_faults_are_told_at_once_and_nothing_is_hashed() {
    let house = House::new().await;
    let mut ask = asking("no address", "short");
    ask.name = Some("\n".into());
    let SignUpError::Refused(faults) = house.accounts.sign_up(ask).await.unwrap_err() else {
        panic!("not refused")
    };
    assert_eq!(
        faults.iter().map(|f| (f.field, f.code)).collect::<Vec<_>>(),
        [
            ("email", "invalid_email"),
            ("password", "password_too_short"),
            ("name", "invalid_name"),
        ]
    );
    assert_eq!(house.hasher.calls().hashed, 0);
    let closed = House::with(false, NanoUsd(0), &[]).await;
    assert!(matches!(
        closed.accounts.sign_up(asking("a@example.com", PASSWORD)).await,
        Err(SignUpError::Closed)
    ));
}

#[tokio::test]
async fn each_rule_for_passwords_has_a_code() {
    let house = House::new().await;
    for (password, code) in [
        ("seven77", "password_too_short"),
        (&*"x7".repeat(513), "password_too_long"),
        ("Everybody's Favourite", "password_common"),
        ("Known From a Breach", "password_breached"),
        ("ada.turing1912", "password_similar_to_email"),
        ("abcabcabcabc", "password_too_weak"),
    ] {
        let refused = house.accounts.sign_up(asking("ada.turing@example.com", password)).await;
        let Err(SignUpError::Refused(faults)) = refused else {
            panic!("{password} was accepted")
        };
        let told: Vec<_> = faults.iter().map(|f| (f.field, f.code)).collect();
        assert_eq!(told, [("password", code)]);
        assert!(!faults[0].detail.contains(password));
        // The same rules for an admin.
        let refused = house
            .accounts
            .make_admin("ada.turing@example.com", None, Some(&password.into()))
            .await;
        let Err(MakeAdminError::SignUp(SignUpError::Refused(faults))) = refused else {
            panic!("{password} was accepted for an admin")
        };
        assert_eq!(faults[0].code, code);
    }
    assert_eq!(house.hasher.calls().hashed, 0);
}

#[tokio::test]
async fn an_unknown_address_costs_what_a_wrong_password_costs() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Token).await;
    for (email, password) in [
        ("ada@example.com", "wrong"),
        ("nobody@example.com", "wrong"),
        ("not an address", "wrong"),
    ] {
        let before = house.hasher.calls().verified + house.hasher.calls().decoys;
        assert!(matches!(
            house.accounts.log_in_with_password(log_in(email, password)).await,
            Err(LogInError::InvalidCredentials)
        ));
        assert_eq!(
            house.hasher.calls().verified + house.hasher.calls().decoys,
            before + 1,
            "{email}"
        );
    }
    assert_eq!(house.hasher.calls().decoys, 2);
    // What was never accepted is not worth hashing.
    let before = house.hasher.calls().verified;
    assert!(
        house
            .accounts
            .log_in_with_password(log_in("ada@example.com", &"x".repeat(1025)))
            .await
            .is_err()
    );
    assert_eq!(house.hasher.calls().verified, before);
    assert!(
        house
            .accounts
            .log_in_with_password(log_in(" ADA@example.com ", PASSWORD))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_busy_pool_refuses_and_writes_nothing() {
    let house = House::new().await;
    house.hasher.set_busy(Some(3));
    assert!(matches!(
        house.accounts.sign_up(asking("ada@example.com", PASSWORD)).await,
        Err(SignUpError::Hash(_))
    ));
    house.hasher.set_busy(None);
    assert!(
        house
            .accounts
            .sign_up(asking("ada@example.com", PASSWORD))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_weaker_hash_is_replaced_at_login() {
    let house = House::new().await;
    let grant = house.sign_up("ada@example.com", Transport::Token).await;
    let old = PlainHasher::outdated_hash(PASSWORD);
    let mut unit = house.store.begin(Durability::Full).await.unwrap();
    unit.put_password_hash(grant.user.id, &old, grant.user.created_at)
        .await
        .unwrap();
    unit.commit().await.unwrap();
    house
        .accounts
        .log_in_with_password(log_in("ada@example.com", PASSWORD))
        .await
        .unwrap();
    let (_, hash) = house
        .store
        .read()
        .await
        .unwrap()
        .user_by_email("ada@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_ne!(hash.unwrap(), old);
    assert!(
        house
            .accounts
            .log_in_with_password(log_in("ada@example.com", PASSWORD))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_profile_is_changed_member_by_member() {
    let house = House::new().await;
    let id = house.sign_up("ada@example.com", Transport::Token).await.user.id;
    house.clock.advance_seconds(5);
    let change = ChangeProfile {
        name: Some(Some(" Ada ".into())),
        locale: Some("de-AT".into()),
    };
    let user = house
        .accounts
        .change_profile(id, change, &Client::default())
        .await
        .unwrap();
    assert_eq!((user.name.as_deref(), user.locale.as_str()), (Some("Ada"), "de-AT"));
    assert!(user.updated_at > user.created_at);
    let user = house
        .accounts
        .change_profile(
            id,
            ChangeProfile {
                name: Some(None),
                locale: None,
            },
            &Client::default(),
        )
        .await
        .unwrap();
    assert_eq!((user.name, user.locale.as_str()), (None, "de-AT"));
    let bad = ChangeProfile {
        name: Some(Some(" ".into())),
        locale: Some("!".into()),
    };
    let ChangeProfileError::Refused(faults) = house
        .accounts
        .change_profile(id, bad, &Client::default())
        .await
        .unwrap_err()
    else {
        panic!("not refused")
    };
    assert_eq!(faults.len(), 2);
    assert_eq!(house.accounts.get_user(id).await.unwrap().unwrap().locale, "de-AT");
    let gone = anteroom_domain::UserId(uuid::Uuid::nil());
    assert!(matches!(
        house
            .accounts
            .change_profile(gone, ChangeProfile::default(), &Client::default())
            .await,
        Err(ChangeProfileError::NotFound)
    ));
}

#[tokio::test]
async fn the_operator_makes_admins() {
    let house = House::new().await;
    house.sign_up("ada@example.com", Transport::Token).await;
    assert!(house.accounts.has_account("Ada@example.com").await.unwrap());
    let MadeAdmin::Promoted(ada) = house.accounts.make_admin("ada@example.com", None, None).await.unwrap() else {
        panic!("not promoted")
    };
    assert_eq!(ada.role, Role::Admin);
    assert!(!house.accounts.has_account("root@example.com").await.unwrap());
    assert!(matches!(
        house.accounts.make_admin("root@example.com", None, None).await,
        Err(MakeAdminError::PasswordNeeded)
    ));
    let password = PASSWORD.into();
    let made = house
        .accounts
        .make_admin("root@example.com", Some("Root"), Some(&password))
        .await
        .unwrap();
    assert!(matches!(made, MadeAdmin::Created(user) if user.role == Role::Admin));
    assert!(
        house
            .accounts
            .log_in_with_password(log_in("root@example.com", PASSWORD))
            .await
            .is_ok()
    );
    let page = house
        .accounts
        .list_users(&UserFilter::default(), None, 1)
        .await
        .unwrap();
    assert!(page.more);
    assert_eq!(page.items[0].email.as_str(), "root@example.com");
    let rest = house
        .accounts
        .list_users(&UserFilter::default(), Some(page.items[0].id), 10)
        .await
        .unwrap();
    assert_eq!((rest.items.len(), rest.more), (1, false));
}

fn brought(email: &str, password: Option<&str>) -> ImportUser {
    // The fake hasher takes a foreign digest for the password itself.
    let foreign = |password: &str| {
        let kdf = Kdf::Bcrypt { cost: 10 };
        ForeignHash::new(kdf, vec![0; 16], password.as_bytes().to_vec()).unwrap()
    };
    ImportUser {
        email: email.into(),
        email_verified: true,
        name: Some(" Ada ".into()),
        locale: Some("de".into()),
        password: password.map(foreign),
        created_at: Some("2020-02-02T02:02:02.1234567Z".parse().unwrap()),
    }
}

#[tokio::test]
async fn users_are_brought_along_and_log_in_with_what_they_had() {
    let house = House::new().await;
    house.sign_up("there@example.com", Transport::Token).await;
    let before = house.clock.now();
    let batch = || {
        let mut bad = brought("not an address", None);
        (bad.name, bad.locale) = (Some("\n".into()), Some("!".into()));
        bad.created_at = Some(before + jiff::SignedDuration::from_hours(1));
        vec![
            brought("Ada@Example.com", Some(PASSWORD)),
            brought("THERE@example.com", Some("another's password")),
            bad,
            brought("ada@example.com", None),
            brought("nopassword@example.com", None),
        ]
    };
    let shape = |outcomes: Vec<Imported>| -> Vec<String> {
        let word = |outcome| match outcome {
            Imported::Added => "added".to_owned(),
            Imported::Known => "known".to_owned(),
            Imported::Refused(reasons) => reasons.len().to_string(),
        };
        outcomes.into_iter().map(word).collect()
    };
    // Trying it changes nothing.
    let tried = house.accounts.import_users(batch(), true).await.unwrap();
    assert_eq!(shape(tried), ["added", "known", "4", "known", "added"]);
    assert!(!house.accounts.has_account("ada@example.com").await.unwrap());
    let done = house.accounts.import_users(batch(), false).await.unwrap();
    assert_eq!(shape(done), ["added", "known", "4", "known", "added"]);
    // Nor does doing it again.
    let again = house.accounts.import_users(batch(), false).await.unwrap();
    assert_eq!(shape(again), ["known", "known", "4", "known", "known"]);

    let grant = house
        .accounts
        .log_in_with_password(log_in("ada@example.com", PASSWORD))
        .await
        .unwrap();
    let ada = signed_in(grant).user;
    assert_eq!(
        (ada.email.as_str(), ada.name.as_deref()),
        ("Ada@Example.com", Some("Ada"))
    );
    assert_eq!(
        (ada.locale.as_str(), ada.role, ada.email_verified),
        ("de", Role::User, true)
    );
    assert_eq!(ada.created_at, "2020-02-02T02:02:02.123456Z".parse().unwrap());
    // The first login has replaced the hash.
    let hash = async || {
        let mut read = house.store.read().await.unwrap();
        read.user_by_email("ada@example.com").await.unwrap().unwrap().1.unwrap()
    };
    let first = hash().await;
    assert_ne!(first, PlainHasher::outdated_hash(PASSWORD));
    house
        .accounts
        .log_in_with_password(log_in("ada@example.com", PASSWORD))
        .await
        .unwrap();
    assert_eq!(hash().await, first);
    // Whoever was there keeps their own password; whoever has none has no way in with one.
    for (email, password) in [
        ("there@example.com", "another's password"),
        ("nopassword@example.com", ""),
        ("nopassword@example.com", PASSWORD),
    ] {
        assert!(matches!(
            house.accounts.log_in_with_password(log_in(email, password)).await,
            Err(LogInError::InvalidCredentials)
        ));
    }
    // And nobody gets a mail for it.
    while house.webhooks.deliver_outbox().await.unwrap() > 0 {}
    assert_eq!(house.mailer.sent().len(), 1, "the welcome of the one who signed up");
}
