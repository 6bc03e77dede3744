//! Several at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anteroom_domain::migrations::Dialect;
use anteroom_ports::migrations::{Holder, MigrationFault, Waiting};
use anteroom_services::migrations::{Left, MigrateError, Patience, Progress, UpOptions, Watch};
use tokio::task::JoinSet;

use super::{Files, TestApplication, on, patience, runner, up, versions};

/// How many there are at once.
const RUNNERS: usize = 16;

/// With `CREATE INDEX CONCURRENTLY` among them, which waits for everybody else's snapshots.
pub async fn of_16_runners_each_migration_is_run_by_one(app: &dyn TestApplication) {
    let index = match app.open().dialect() {
        Dialect::Postgres => "CREATE INDEX CONCURRENTLY a_b ON a (b)",
        Dialect::Sqlite => "CREATE INDEX a_b ON a (b)",
    };
    let list: Files<'_> = &[
        (
            "1_a/up.sql",
            "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER); INSERT INTO a VALUES (1, 2)",
        ),
        ("2_i/up.sql", index),
        ("2_i/migration.toml", "transaction = false"),
        ("3_c/up.sql", "INSERT INTO a VALUES (2, 3); CREATE TABLE c (id INTEGER)"),
    ];
    let mut runners = JoinSet::new();
    for _ in 0..RUNNERS {
        let migrations = on(app.open(), list);
        runners.spawn(async move { migrations.up(&UpOptions::default()).await.unwrap() });
    }
    let runs: Vec<_> = runners.join_all().await.into_iter().flatten().collect();
    let mut applied = versions(&runs);
    applied.sort_unstable();
    assert_eq!(applied, ["1", "2", "3"]);
    assert_eq!(app.number("SELECT count(*) FROM a").await, 2);
    assert_eq!(on(app.open(), list).history().await.unwrap().len(), 3);
    assert_eq!(on(app.open(), list).drift().await.unwrap().differences, []);
}

/// Who, since when, and with which statement.
pub async fn who_waits_hears_who_is_at_it(app: &dyn TestApplication) {
    let (first, second) = (app.open(), app.open());
    let nobody = |_: Option<&Holder>| {};
    let waiting = Waiting {
        patience: Duration::from_secs(5),
        told: &nobody,
    };
    let mut held = first.lock(&runner("ada"), &waiting).await.unwrap();
    held.begin(Duration::from_secs(1), true).await.unwrap();
    held.announce("CREATE TABLE slow (id INTEGER)").await.unwrap();
    held.execute("CREATE TABLE slow (id INTEGER)").await.unwrap();
    let heard: Arc<Mutex<Vec<Option<Holder>>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let waits = tokio::spawn(async move {
        let told = move |holder: Option<&Holder>| {
            hears
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(holder.cloned());
        };
        let waiting = Waiting {
            patience: Duration::from_secs(30),
            told: &told,
        };
        second.lock(&runner("bob"), &waiting).await.map(|_| ())
    });
    while heard.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let holder = heard.lock().unwrap()[0].clone().unwrap();
    assert!(holder.who.contains("ada") && holder.who.contains("here"), "{holder:?}");
    assert!(holder.since.is_some(), "{holder:?}");
    assert_eq!(holder.statement.as_deref(), Some("CREATE TABLE slow (id INTEGER)"));
    held.rollback().await.unwrap();
    drop(held);
    waits.await.unwrap().unwrap();
}

/// And nothing is done.
pub async fn who_waits_for_too_long_is_told(app: &dyn TestApplication) {
    let nobody = |_: Option<&Holder>| {};
    let waiting = Waiting {
        patience: Duration::from_secs(5),
        told: &nobody,
    };
    let held = app.open().lock(&runner("ada"), &waiting).await.unwrap();
    let list: Files<'_> = &[("1_a/up.sql", "CREATE TABLE a (id INTEGER)")];
    let hasty = Patience {
        lock: Duration::from_millis(300),
        ..patience()
    };
    let started = Instant::now();
    let error = on(app.open(), list)
        .patient(hasty)
        .up(&UpOptions::default())
        .await
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let MigrateError::Fault(MigrationFault::Locked(Some(holder))) = error else {
        panic!("{error:?}");
    };
    assert!(holder.who.contains("ada"), "{holder:?}");
    drop(held);
    assert_eq!(versions(&up(app, list).await.unwrap()), ["1"]);
}

/// Who was said to hold a lock, each time that it is tried again.
struct Holders(Arc<Mutex<Vec<String>>>);

impl Watch for Holders {
    fn see(&self, progress: &Progress<'_>) {
        if let Progress::Retries { held_by, .. } = progress {
            let said = held_by.unwrap_or_default().to_owned();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(said);
        }
    }
}

/// To read what a table's indexes, constraints and defaults are takes a lock of it, before anything is run.
pub async fn a_table_that_somebody_has_for_himself_is_not_waited_for_without_end(app: &dyn TestApplication) {
    if app.open().dialect() != Dialect::Postgres {
        return;
    }
    let list: Files<'_> = &[
        ("1_a/up.sql", "CREATE TABLE a (id INTEGER PRIMARY KEY)"),
        ("2_b/up.sql", "CREATE TABLE b (id INTEGER)"),
    ];
    up(app, &list[..1]).await.unwrap();
    let held = app.hold("LOCK TABLE a IN ACCESS EXCLUSIVE MODE").await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let twice = Patience {
        lock_timeout: Duration::from_secs(1),
        retries: 1,
        ..patience()
    };
    let both = on(app.open(), list)
        .watched(Arc::new(Holders(Arc::clone(&heard))))
        .patient(twice);
    let error = both.up(&UpOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, MigrateError::Fault(fault) if fault.is_lock()),
        "{error:?}"
    );
    assert!(error.to_string().contains("held by server process"), "{error}");
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("held by server process"), "{heard:?}");
    drop(held);
    assert_eq!(versions(&both.up(&UpOptions::default()).await.unwrap()), ["2"]);
}

/// And asked for again: those who queue behind it get their turn.
pub async fn a_lock_on_a_table_is_given_way_to(app: &dyn TestApplication) {
    let list: Files<'_> = &[
        ("1_a/up.sql", "CREATE TABLE a (id INTEGER)"),
        ("2_b/up.sql", "ALTER TABLE a ADD COLUMN b INTEGER"),
        ("2_b/migration.toml", "lock_timeout = \"100ms\""),
    ];
    up(app, &list[..1]).await.unwrap();
    let held = app.hold("INSERT INTO a VALUES (1)").await;
    let slow: Files<'_> = &[list[0], list[1], ("2_b/migration.toml", "lock_timeout = \"2s\"")];
    let twice = Patience {
        retries: 1,
        ..patience()
    };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let error = on(app.open(), slow)
        .watched(Arc::new(Holders(Arc::clone(&heard))))
        .patient(twice)
        .up(&UpOptions::default())
        .await
        .unwrap_err();
    let MigrateError::Failed(failure) = &error else {
        panic!("{error:?}");
    };
    assert!(failure.fault.is_lock() && failure.left == Left::AsBefore, "{error:?}");
    let said = error.to_string();
    assert!(said.contains("Others hold a lock"), "{said}");
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(heard.len(), 1, "{heard:?}");
    if app.open().dialect() == Dialect::Postgres {
        // Before it is tried again, too.
        assert!(heard[0].contains("held by server process"), "{heard:?}");
        // Who and how they stand; not what they said, which may be a secret of theirs.
        assert!(
            said.contains("held by server process") && said.contains("idle in transaction"),
            "{said}"
        );
    }
    let patient = Patience {
        retries: 100,
        ..patience()
    };
    let waits = on(app.open(), list).patient(patient);
    let waits = tokio::spawn(async move { waits.up(&UpOptions::default()).await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    drop(held);
    assert_eq!(versions(&waits.await.unwrap().unwrap()), ["2"]);
}
