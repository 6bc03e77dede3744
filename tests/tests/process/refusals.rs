//! When it does not start, and that it says why.

use std::path::Path;

use anteroom_tests::process::{Server, command, output};
use anteroom_tests::{Kind, Setup, on_every_store};

on_every_store![
    another_key_than_the_stores,
    another_key_before_anything_is_migrated,
    a_schema_of_a_newer_version,
    production_with_what_is_unsafe,
    production_without_a_disk,
    settings_that_do_not_exist,
    a_port_that_is_taken,
];

const KEY: &str = "one-long-enough-Key-4711-of-the-tests-abcdef";
const OTHER_KEY: &str = "another-long-enough-Key-of-the-tests-0815-xyz";

async fn refused(setup: &Setup, set: &[(&str, &str)]) -> String {
    match Server::try_start(setup.folder(), &setup.variables(set)).await {
        Err(said) => said,
        Ok(server) => panic!("it has started: {}", server.said()),
    }
}

async fn another_key_than_the_stores(setup: &Setup) {
    let first = Server::start(setup.folder(), &setup.variables(&[("secret.key", KEY)])).await;
    super::sign_up(&first.url, "ada@example.com").await;
    drop(first);
    let said = refused(setup, &[("secret.key", OTHER_KEY)]).await;
    assert!(
        said.contains("SECRET_KEY is not the key this store was filled under"),
        "{said}"
    );
    assert!(!said.contains(KEY) && !said.contains(OTHER_KEY), "{said}");
    // Nor does a command of the operator's work under it.
    let admin = anteroom_tests::process::command(
        setup.folder(),
        &setup.variables(&[("secret.key", OTHER_KEY)]),
        &["admin", "create", "--email", "ada@example.com", "--password-stdin"],
    );
    let output = anteroom_tests::process::output(admin, "quiet-lantern-over-the-canal\n");
    assert!(!output.status.success());
    Server::start(setup.folder(), &setup.variables(&[("secret.key", KEY)])).await;
}

/// Runs a command of the operator's; whether it succeeded, and what it said.
fn operate(setup: &Setup, key: &str, words: &[&str]) -> (bool, String) {
    let variables = setup.variables(&[("secret.key", key)]);
    let output = output(command(setup.folder(), &variables, words), "");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), said.concat())
}

async fn another_key_before_anything_is_migrated(setup: &Setup) {
    // On a store that has no key yet the doctor says so, and notes none.
    let (good, said) = operate(setup, OTHER_KEY, &["migrate", "up"]);
    assert!(good, "{said}");
    let (good, said) = operate(setup, OTHER_KEY, &["doctor"]);
    assert!(
        good && said.contains("ok    secret key: the store has none yet"),
        "{said}"
    );
    drop(Server::start(setup.folder(), &setup.variables(&[("secret.key", KEY)])).await);
    let (good, said) = operate(setup, KEY, &["doctor"]);
    assert!(good && said.contains("ok    secret key: the one"), "{said}");

    // As the version before left it.
    setup.execute(&newest_migration(setup.kind()).1).await;
    let version = newest_migration(setup.kind()).0;
    let forget = format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'");
    setup.execute(&forget).await;
    let pending = format!("pending       {version}");
    let (_, said) = operate(setup, KEY, &["migrate", "status"]);
    assert!(said.contains(&pending), "{said}");

    let (good, said) = operate(setup, OTHER_KEY, &["doctor"]);
    assert!(
        !good && said.contains("FAIL  secret key: SECRET_KEY is not the key"),
        "{said}"
    );
    let said = refused(setup, &[("secret.key", OTHER_KEY)]).await;
    assert!(
        said.contains("SECRET_KEY is not the key") && !said.contains("migration.applied"),
        "{said}"
    );
    for words in [
        "users list",
        "keys list",
        "admin create --email ada@example.com --password-stdin",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let (good, said) = operate(setup, OTHER_KEY, &words);
        assert!(!good && said.contains("SECRET_KEY is not the key"), "{words:?}: {said}");
    }
    let (_, said) = operate(setup, KEY, &["migrate", "status"]);
    assert!(said.contains(&pending), "nothing was brought up: {said}");
    let server = Server::start(setup.folder(), &setup.variables(&[("secret.key", KEY)])).await;
    anteroom_tests::eventually("what was brought up is logged", || {
        server.said().contains(&version).then_some(())
    })
    .await;
}

/// Its version, and how it is taken back.
fn newest_migration(kind: Kind) -> (String, String) {
    let database = match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../migrations")
        .join(database);
    let newest = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max()
        .unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    let version = name.split('_').next().unwrap().replace('-', "");
    (version, std::fs::read_to_string(newest.join("down.sql")).unwrap())
}

async fn a_schema_of_a_newer_version(setup: &Setup) {
    let key = [("secret.key", KEY)];
    drop(Server::start(setup.folder(), &setup.variables(&key)).await);
    setup
        .execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99999999999999')")
        .await;
    let said = refused(setup, &key).await;
    assert!(
        said.contains("a newer version of anteroom has been at the database") && said.contains("99999999999999"),
        "{said}"
    );
    let (good, said) = operate(setup, KEY, &["doctor"]);
    assert!(
        !good && said.contains("FAIL  store: a newer version has been here"),
        "{said}"
    );
    let (good, said) = operate(setup, KEY, &["migrate", "status"]);
    assert!(good && said.contains("unknown       99999999999999"), "{said}");
}

async fn production_with_what_is_unsafe(setup: &Setup) {
    // What production asks for, with bcrypt as cheap as it allows.
    let good = [
        ("secret.key", KEY),
        ("database.migrate", "always"),
        ("passwords.bcrypt_cost", "10"),
        ("protection.enabled", "true"),
        ("server.public_url", "https://anteroom.example.test"),
    ];
    let production = |more: &[(&'static str, &'static str)]| {
        let mut variables = setup.variables(&good);
        variables.extend(setup.variables(more).into_iter().filter(|(name, _)| {
            more.iter()
                .any(|(key, _)| *name == format!("ANTEROOM__{}", key.to_uppercase().replace('.', "__")))
        }));
        variables.insert("ANTEROOM_ENV".to_owned(), "production".to_owned());
        variables
    };
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("secret.key", "")], "SECRET_KEY"),
        (&[("secret.key", "too short")], "secret.key"),
        (&[("secret.key", "changeme-changeme-changeme-changeme-1")], "secret.key"),
        (&[("passwords.bcrypt_cost", "4")], "passwords.bcrypt_cost"),
        (&[("protection.enabled", "false")], "protection.enabled"),
        (&[("mail.transport", "folder")], "mail.transport"),
        (&[("cookie.secure", "false")], "cookie.secure"),
    ];
    for (more, named) in table {
        match Server::try_start(setup.folder(), &production(more)).await {
            Err(said) => assert!(said.contains(named), "{more:?}: {said}"),
            Ok(_) => panic!("it has started with {more:?}"),
        }
    }
    let server = Server::start(setup.folder(), &production(&[])).await;
    assert!(
        server.said().lines().all(|line| line.starts_with('{')),
        "JSON lines: {}",
        server.said()
    );
}

/// With a database elsewhere and the key given, it needs no disk: hosting platforms have none that stays.
async fn production_without_a_disk(setup: &Setup) {
    // Nobody can make a folder there, not even root.
    let nowhere = [
        ("data.dir", "/dev/null/data"),
        ("secret.key", KEY),
        ("database.migrate", "always"),
        ("passwords.bcrypt_cost", "10"),
        ("protection.enabled", "true"),
        ("server.public_url", "https://anteroom.example.test"),
    ];
    let mut variables = setup.variables(&nowhere);
    variables.insert("ANTEROOM_ENV".to_owned(), "production".to_owned());
    let started = Server::try_start(setup.folder(), &variables).await;
    match (setup.kind(), started) {
        (Kind::Postgres, Ok(server)) => {
            super::sign_up(&server.url, "ada@example.com").await;
            let client = anteroom_tests::app::http_client();
            assert_eq!(super::log_in(&client, &server.url, "ada@example.com").await, 200);
            // Nor does it warn of what it does not need.
            let said = server.said();
            assert!(!said.contains("/dev/null") && !said.contains("disk"), "{said}");
        }
        // The embedded database is a file: this says so, and which variable helps.
        (Kind::Sqlite, Err(said)) => assert!(said.contains("/dev/null/data") && said.contains("DATA_DIR"), "{said}"),
        (Kind::Postgres, Err(said)) => panic!("it needs a disk: {said}"),
        (Kind::Sqlite, Ok(_)) => panic!("it has started without a place for its database"),
    }
    // Without a key there is one to be kept, in development: that needs the disk, on either store.
    let mut variables = setup.variables(&[("data.dir", "/dev/null/data")]);
    variables.remove("ANTEROOM__SECRET__KEY");
    let said = Server::try_start(setup.folder(), &variables)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(said.contains("DATA_DIR"), "{said}");
}

async fn settings_that_do_not_exist(setup: &Setup) {
    let said = refused(setup, &[("server.prot", "1")]).await;
    assert!(
        said.contains("server.prot") && said.contains("server.port"),
        "the nearest one is named: {said}"
    );
    let said = refused(
        setup,
        &[
            ("passwords.bcrypt_cost", "3"),
            ("accounts.signup", "ajar"),
            ("database.url", "mysql://x"),
        ],
    )
    .await;
    for named in ["passwords.bcrypt_cost", "accounts.signup", "database.url"] {
        assert!(said.contains(named), "all that is wrong is told at once: {said}");
    }
}

async fn a_port_that_is_taken(setup: &Setup) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = refused(setup, &[("server.port", &port)]).await;
    assert!(said.contains(&port) && said.contains("PORT"), "{said}");
}
