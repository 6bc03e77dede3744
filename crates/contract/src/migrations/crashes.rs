//! Runs that are cut off.

use std::ops::Range;
use std::sync::Arc;

use anteroom_domain::migrations::{Back, Catalogue, Dialect, Migration, Runner, Scope, SourceFile, Version};
use anteroom_ports::MigrationDatabase;
use anteroom_services::Migrations;
use anteroom_services::migrations::UpOptions;
use anteroom_testkit::FixedClock;

use super::cut::Cut;
use super::{Files, TestApplication, files, patience, runner};

const SQLITE: Files<'_> = &[
    (
        "1_a/up.sql",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b INTEGER); INSERT INTO a VALUES (1, 1), (2, 2)",
    ),
    ("1_a/down.sql", "DROP TABLE a"),
    ("2_b/migration.toml", "transaction = false"),
    (
        "2_b/up.sql",
        "CREATE INDEX a_b ON a (b); VACUUM; INSERT INTO a VALUES (3, 3)",
    ),
    (
        "2_b/down.sql",
        "DELETE FROM a WHERE id = 3; PRAGMA optimize; DROP INDEX a_b",
    ),
    ("3_c/migration.toml", "batch = 1"),
    (
        "3_c/up.sql",
        "UPDATE a SET b = b + 100 WHERE id BETWEEN :first AND :last",
    ),
    ("3_c/down.sql", "UPDATE a SET b = b - 100"),
    (
        "4_d/up.sql",
        "ALTER TABLE a ADD COLUMN c INTEGER; UPDATE a SET c = b * 2",
    ),
    ("4_d/down.sql", "ALTER TABLE a DROP COLUMN c"),
];

const POSTGRES: Files<'_> = &[
    SQLITE[0],
    SQLITE[1],
    SQLITE[2],
    (
        "2_b/up.sql",
        "CREATE INDEX CONCURRENTLY a_b ON a (b); VACUUM a; CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_u ON a (b); REINDEX INDEX CONCURRENTLY a_b; INSERT INTO a VALUES (3, 3)",
    ),
    (
        "2_b/down.sql",
        "DELETE FROM a WHERE id = 3; DROP INDEX CONCURRENTLY a_u; DROP INDEX CONCURRENTLY IF EXISTS a_b",
    ),
    SQLITE[5],
    SQLITE[6],
    SQLITE[7],
    SQLITE[8],
    SQLITE[9],
];

/// Whether what was asked for last was still done or not, and its answer never came.
pub async fn a_cut_at_any_moment_up_and_down_ends_in_the_same_schema(app: &dyn TestApplication) {
    let list = match app.open().dialect() {
        Dialect::Postgres => POSTGRES,
        Dialect::Sqlite => SQLITE,
    };
    let after_each = converges(
        &|| app.open(),
        &files(list),
        Scope::Application,
        &[false, true],
        0..usize::MAX,
    )
    .await;
    assert!(after_each > 60, "only {after_each} cuts");
    assert!(app.open().catalogue().await.unwrap().is_empty());
}

/// Cuts a runner off after each of its calls, for each migration up and then down, and has another go on. Every time the
/// schema is what it is without a cut. With `after` the last call is carried out, and only its answer is lost. Only
/// migrations in these places are tried. Ends with the schema before the first of them. Answers how many cuts there were.
pub async fn converges(
    open: &(dyn Fn() -> Arc<dyn MigrationDatabase> + Send + Sync),
    list: &[SourceFile],
    scope: Scope,
    after: &[bool],
    places: Range<usize>,
) -> usize {
    let whole = migrations(open(), list, scope);
    let versions: Vec<Version> = whole
        .files()
        .iter()
        .map(|file: &Migration| file.version.clone())
        .collect();
    let mut cuts = 0;
    let mut expected: Vec<Catalogue> = Vec::new();
    for version in versions.iter().take(places.end) {
        let options = UpOptions {
            to: Some(version.clone()),
            ..UpOptions::default()
        };
        whole.up(&options).await.unwrap();
        expected.push(open().catalogue().await.unwrap());
    }
    for (place, version) in versions.iter().enumerate().take(places.end).skip(places.start).rev() {
        let before = place.checked_sub(1);
        let back = before.map_or(Back::All, |before| Back::To(versions[before].clone()));
        let options = UpOptions {
            to: Some(version.clone()),
            ..UpOptions::default()
        };
        let lower = before.map_or_else(Catalogue::default, |before| expected[before].clone());
        for after in after.iter().copied() {
            // Down from here and up again, cut after one call, after two, … until neither is cut any more.
            for calls in 1.. {
                let down = migrations(Arc::new(Cut::new(open(), calls, after)), list, scope)
                    .down(&back)
                    .await;
                whole.down(&back).await.unwrap();
                assert_eq!(
                    lower.differences(&open().catalogue().await.unwrap()),
                    [],
                    "{version} down, {calls} {after}"
                );
                let up = migrations(Arc::new(Cut::new(open(), calls, after)), list, scope)
                    .up(&options)
                    .await;
                whole.up(&options).await.unwrap();
                let there = open().catalogue().await.unwrap();
                assert_eq!(expected[place].differences(&there), [], "{version} up, {calls} {after}");
                cuts += usize::from(down.is_err()) + usize::from(up.is_err());
                if down.is_ok() && up.is_ok() {
                    break;
                }
            }
        }
        whole.down(&back).await.unwrap();
    }
    cuts
}

fn migrations(database: Arc<dyn MigrationDatabase>, list: &[SourceFile], scope: Scope) -> Migrations {
    let ada: Runner = runner("ada");
    let migrations = Migrations::new(database, list, scope, Arc::new(FixedClock::new()), ada);
    migrations.unwrap().patient(patience())
}
