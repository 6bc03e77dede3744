//! Files that change, come late or are wrong; and schemas that somebody else changes.

use anteroom_domain::migrations::{Change, Refusal};
use anteroom_services::migrations::{DriftError, MigrateError, Repair, RepairError, UpOptions};

use super::{Files, TestApplication, on, states, try_on, up, versions};

const ONE: Files<'_> = &[(
    "1_a/up.sql",
    "CREATE TABLE a (id INTEGER, b TEXT); CREATE TABLE c (d INTEGER)",
)];

/// And a repair forgets the difference, where there is none for the server.
pub async fn a_file_that_changed_is_refused_and_one_that_was_reformatted_is_not(app: &dyn TestApplication) {
    up(app, ONE).await.unwrap();
    let reformatted: Files<'_> = &[(
        "1_a/up.sql",
        "-- (c) somebody\r\nCREATE TABLE a (\r\n  id INTEGER, -- its number\r\n  b TEXT\r\n);\r\nCREATE TABLE c (d INTEGER);\r\n",
    )];
    assert_eq!(states(app, reformatted).await, ["1 reformatted"]);
    assert_eq!(up(app, reformatted).await.unwrap(), []);
    let repaired = on(app.open(), reformatted).repair(&Repair::Files).await.unwrap();
    assert_eq!(repaired.len(), 1);
    assert_eq!(states(app, reformatted).await, ["1 applied"]);
    assert_eq!(states(app, ONE).await, ["1 reformatted"]);

    let changed: Files<'_> = &[
        (
            "1_a/up.sql",
            "CREATE TABLE a (id BIGINT, b TEXT); CREATE TABLE c (d INTEGER)",
        ),
        ("2_b/up.sql", "CREATE TABLE b (id INTEGER)"),
    ];
    assert_eq!(states(app, changed).await, ["1 changed", "2 pending"]);
    let error = up(app, changed).await.unwrap_err();
    assert!(matches!(error, MigrateError::Refused(Refusal::Changed(_))), "{error:?}");
    assert_eq!(app.open().catalogue().await.unwrap().len(), 2);
}

/// By running all files on an empty database.
pub async fn a_changed_file_is_vouched_for_if_the_schema_proves_it(app: &dyn TestApplication) {
    up(app, ONE).await.unwrap();
    let swapped: Files<'_> = &[(
        "1_a/up.sql",
        "CREATE TABLE c (d INTEGER); CREATE TABLE a (id INTEGER, b TEXT)",
    )];
    assert_eq!(states(app, swapped).await, ["1 changed"]);
    let repaired = on(app.open(), swapped).repair(&Repair::Files).await.unwrap();
    assert_eq!(repaired.len(), 1);
    assert_eq!(states(app, swapped).await, ["1 applied"]);

    let other: Files<'_> = &[(
        "1_a/up.sql",
        "CREATE TABLE c (d INTEGER); CREATE TABLE a (id INTEGER, x TEXT)",
    )];
    let error = on(app.open(), other).repair(&Repair::Files).await.unwrap_err();
    let RepairError::Differs(differences) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((differences.len(), differences[0].change), (1, Change::Changed));
    assert!(differences[0].missing[0].contains('x') && differences[0].unexpected[0].contains('b'));
    assert_eq!(states(app, other).await, ["1 changed"]);
}

/// With what it was and what it is.
pub async fn what_was_changed_past_migrations_is_found(app: &dyn TestApplication) {
    let error = on(app.open(), ONE).drift().await.unwrap_err();
    assert_eq!(error, DriftError::NothingRecorded);
    up(app, ONE).await.unwrap();
    assert_eq!(on(app.open(), ONE).drift().await.unwrap().differences, []);
    app.execute(
        "ALTER TABLE a ADD COLUMN e INTEGER; CREATE INDEX a_b ON a (b); DROP TABLE c; CREATE TABLE f (g INTEGER)",
    )
    .await;
    let drift = on(app.open(), ONE).drift().await.unwrap();
    assert_eq!(drift.since.version.as_str(), "1");
    let found: Vec<(&str, Change)> = drift.differences.iter().map(|d| (&*d.object, d.change)).collect();
    assert_eq!(
        found,
        [
            ("table a", Change::Changed),
            ("table c", Change::Missing),
            ("table f", Change::Unexpected)
        ]
    );
    let new = &drift.differences[0].unexpected;
    assert!(new.len() == 2 && new.iter().any(|line| line.contains("a_b")), "{new:?}");
    assert_eq!(drift.differences[0].missing, [""; 0]);
}

/// Nobody notices otherwise that a database misses one.
pub async fn what_came_late_is_refused_unless_asked_for(app: &dyn TestApplication) {
    let (one, two) = (
        ("1_a/up.sql", "CREATE TABLE a (id INTEGER)"),
        ("2_b/up.sql", "CREATE TABLE b (id INTEGER)"),
    );
    up(app, &[two]).await.unwrap();
    let error = up(app, &[one, two]).await.unwrap_err();
    assert!(
        matches!(error, MigrateError::Refused(Refusal::OutOfOrder { .. })),
        "{error:?}"
    );
    assert_eq!(states(app, &[one, two]).await, ["1 out_of_order", "2 applied"]);
    let options = UpOptions {
        out_of_order: true,
        ..UpOptions::default()
    };
    let runs = on(app.open(), &[one, two]).up(&options).await.unwrap();
    assert_eq!(versions(&runs), ["1"]);
    let error = up(app, &[one]).await.unwrap_err();
    assert!(matches!(error, MigrateError::Refused(Refusal::Unknown(_))), "{error:?}");
}

/// Not even those that are right.
pub async fn nothing_runs_while_a_file_is_wrong(app: &dyn TestApplication) {
    let list: Files<'_> = &[ONE[0], ("v2__b/up.sql", "CREATE TABLE b (id INTEGER)")];
    let error = try_on(app.open(), list).err().unwrap();
    assert!(error.to_string().contains("v2__b"), "{error}");
}
