//! Many rows, a few at a time.

use anteroom_domain::migrations::{Dialect, State};
use anteroom_services::migrations::{Left, MigrateError};

use super::{Files, TestApplication, on, states, up};

const WALK: Files<'_> = &[
    (
        "1_a/up.sql",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, twice INTEGER, times INTEGER NOT NULL DEFAULT 0 CHECK (id <> 3000 OR times = 0))",
    ),
    (
        "2_fill/up.sql",
        "UPDATE a SET twice = id * 2, times = times + 1 WHERE id BETWEEN :first AND :last -- all of them",
    ),
    ("2_fill/migration.toml", "batch = 1000"),
];

async fn filled(app: &dyn TestApplication) {
    up(app, &WALK[..1]).await.unwrap();
    let numbers = match app.open().dialect() {
        Dialect::Postgres => "SELECT n FROM generate_series(1, 5000, 2) AS g (n)",
        Dialect::Sqlite => {
            "WITH RECURSIVE g (n) AS (VALUES (1) UNION ALL SELECT n + 2 FROM g WHERE n < 4999) SELECT n FROM g"
        }
    };
    app.execute(&format!("INSERT INTO a (id) {numbers}")).await;
}

/// Whatever gaps there are between them.
pub async fn a_backfill_walks_over_all_keys_once(app: &dyn TestApplication) {
    filled(app).await;
    let runs = up(app, WALK).await.unwrap();
    assert_eq!(runs[0].rows(), 2500);
    assert_eq!(
        runs[0].walked_to.as_deref().map(|key| key.trim_matches('\'')),
        Some("4999")
    );
    assert_eq!(
        app.number("SELECT count(*) FROM a WHERE times = 1 AND twice = id * 2")
            .await,
        2500
    );
    assert_eq!(states(app, WALK).await, ["1 applied", "2 applied"]);
    assert_eq!(up(app, WALK).await.unwrap(), []);
}

/// Not with the rows that are done.
pub async fn a_backfill_goes_on_where_it_stopped(app: &dyn TestApplication) {
    filled(app).await;
    app.execute("INSERT INTO a (id) VALUES (3000)").await;
    let error = up(app, WALK).await.unwrap_err();
    let MigrateError::Failed(failure) = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(failure.left, Left::Partly { .. }), "{error:?}");
    assert_eq!(app.number("SELECT count(*) FROM a WHERE times = 1").await, 1000);
    let entries = on(app.open(), WALK).status().await.unwrap();
    assert_eq!(entries[1].state, State::PartlyUp { done: 0, total: 1 });
    let history = on(app.open(), WALK).history().await.unwrap();
    assert_eq!((history[1].rows(), history[1].walked_to.is_some()), (1000, true));
    app.execute("DELETE FROM a WHERE id = 3000").await;
    assert_eq!(up(app, WALK).await.unwrap()[0].rows(), 2500);
    assert_eq!(app.number("SELECT count(*) FROM a WHERE times = 1").await, 2500);
}

/// It is nobody's work that is half done.
pub async fn a_backfill_that_is_wrong_can_be_mended(app: &dyn TestApplication) {
    filled(app).await;
    let wrong: Files<'_> = &[
        WALK[0],
        (
            "2_fill/up.sql",
            "UPDATE a SET nothing = 1 WHERE id BETWEEN :first AND :last",
        ),
        WALK[2],
    ];
    up(app, wrong).await.unwrap_err();
    assert_eq!(up(app, WALK).await.unwrap()[0].rows(), 2500);
}

/// They are in no range, and end none.
pub async fn rows_without_a_key_do_not_end_a_walk(app: &dyn TestApplication) {
    let list: Files<'_> = &[
        (
            "1_a/up.sql",
            "CREATE TABLE a (k INTEGER UNIQUE, b INTEGER); INSERT INTO a (k) VALUES (NULL), (1), (2), (3), (NULL)",
        ),
        ("2_fill/up.sql", "UPDATE a SET b = 1 WHERE k BETWEEN :first AND :last"),
        ("2_fill/migration.toml", "batch = 2"),
    ];
    up(app, list).await.unwrap();
    assert_eq!(app.number("SELECT count(*) FROM a WHERE b = 1").await, 3);
}
