//! Migrations up and down.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anteroom_domain::migrations::{Back, Dialect, Direction, Outcome, Refusal, Scope, SourceFile};
use anteroom_services::Migrations;
use anteroom_services::migrations::{Left, MigrateError, Progress, Repair, RepairError, UpOptions, Watch};

use anteroom_testkit::FixedClock;

use super::cut::Cut;
use super::{Files, TestApplication, on, patience, runner, states, up, versions};

const SHOP: Files<'_> = &[
    (
        "1_goods/up.sql",
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\nINSERT INTO goods VALUES (1, 'tea'), (2, 'cups');\n",
    ),
    ("1_goods/down.sql", "DROP TABLE goods"),
    (
        "2_orders/up.sql",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, good INTEGER NOT NULL REFERENCES goods (id)); CREATE INDEX orders_good ON orders (good);",
    ),
    ("2_orders/down.sql", "DROP TABLE orders"),
];

/// With who, what and how long.
pub async fn what_is_pending_is_applied_once_and_written_down(app: &dyn TestApplication) {
    assert_eq!(states(app, SHOP).await, ["1 pending", "2 pending"]);
    let runs = up(app, SHOP).await.unwrap();
    assert_eq!(versions(&runs), ["1", "2"]);
    assert_eq!(up(app, SHOP).await.unwrap(), []);
    assert_eq!(states(app, SHOP).await, ["1 applied", "2 applied"]);
    assert_eq!(app.number("SELECT count(*) FROM goods").await, 2);

    let shop = on(app.open(), SHOP);
    let history = shop.history().await.unwrap();
    assert_eq!(history, runs);
    let first = &history[0];
    assert_eq!(
        (first.id, &*first.name, first.direction, first.outcome),
        (1, "goods", Direction::Up, Outcome::Succeeded)
    );
    assert_eq!((&*first.runner.user, &*first.runner.host), ("ada", "here"));
    assert_eq!((first.total, first.statements.len(), first.rows()), (2, 2, 2));
    assert_eq!((first.exact_checksum.len(), first.normal_checksum.len()), (64, 64));
    assert!(first.finished_at.is_some() && first.error.is_none());
    let prints: Vec<_> = history.iter().map(|run| run.fingerprint.clone().unwrap()).collect();
    assert_ne!(prints[0], prints[1]);
    assert_eq!(prints[1], shop.database().catalogue().await.unwrap().fingerprint());
}

/// The statement, its line, and what the database said; and the way on.
pub async fn a_failure_leaves_nothing_and_says_where(app: &dyn TestApplication) {
    let broken: Files<'_> = &[
        SHOP[0],
        (
            "2_more/up.sql",
            "CREATE TABLE more (id INTEGER PRIMARY KEY);\n-- here\nINSERT INTO nowhere VALUES (1);\nCREATE TABLE never (id INTEGER);",
        ),
        ("3_later/up.sql", "CREATE TABLE later (id INTEGER)"),
    ];
    let error = up(app, broken).await.unwrap_err();
    let MigrateError::Failed(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!((failure.at, failure.left), (Some((2, 3)), Left::AsBefore));
    assert_eq!(failure.sql.as_deref(), Some("INSERT INTO nowhere VALUES (1)"));
    for named in [
        "2_more",
        "statement 2 (up.sql, line 3)",
        "nowhere",
        "Nothing of it was kept",
        "anteroom migrate up",
    ] {
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
    assert_eq!(states(app, broken).await, ["1 applied", "2 pending", "3 pending"]);
    let history = on(app.open(), broken).history().await.unwrap();
    assert_eq!(history[1].outcome, Outcome::Failed);
    assert!(history[1].error.as_deref().unwrap().contains("nowhere"));
    let mended: Files<'_> = &[
        SHOP[0],
        ("2_more/up.sql", "CREATE TABLE more (id INTEGER PRIMARY KEY)"),
        broken[2],
    ];
    assert_eq!(versions(&up(app, mended).await.unwrap()), ["2", "3"]);
}

/// Whether drift was told of.
struct Drifted(Arc<AtomicBool>);

impl Watch for Drifted {
    fn see(&self, progress: &Progress<'_>) {
        if matches!(progress, Progress::Drifted(_)) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A concurrent build that is refused leaves its index behind as an invalid one, and `status` is not told that nothing is
/// there. The next run builds it anew.
pub async fn what_a_refused_build_leaves_is_said(app: &dyn TestApplication) {
    if app.open().dialect() == Dialect::Sqlite {
        return;
    }
    let list: Files<'_> = &[
        (
            "1_a/up.sql",
            "CREATE TABLE a (id INTEGER); INSERT INTO a VALUES (1), (1)",
        ),
        ("2_u/migration.toml", "transaction = false"),
        ("2_u/up.sql", "CREATE UNIQUE INDEX CONCURRENTLY a_once ON a (id)"),
    ];
    let error = up(app, list).await.unwrap_err().to_string();
    assert!(error.contains("What it has done stays"), "{error}");
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(app.number(invalid).await, 1);
    app.execute("UPDATE a SET id = 2 WHERE ctid = (SELECT max(ctid) FROM a)")
        .await;
    // Nobody has changed the schema past migrations.
    let drifted = Arc::new(AtomicBool::new(false));
    let watched = on(app.open(), list).watched(Arc::new(Drifted(Arc::clone(&drifted))));
    assert_eq!(versions(&watched.up(&UpOptions::default()).await.unwrap()), ["2"]);
    assert!(!drifted.load(Ordering::Relaxed));
    assert_eq!(app.number(invalid).await, 0);
}

/// Not even what the engine had planned on it.
pub async fn what_a_file_takes_from_the_connection_is_made_anew(app: &dyn TestApplication) {
    if app.open().dialect() == Dialect::Sqlite {
        return;
    }
    let list: Files<'_> = &[
        ("1_a/up.sql", "CREATE TABLE a (id INTEGER)"),
        ("2_b/up.sql", "DEALLOCATE ALL; CREATE TABLE b (id INTEGER)"),
        ("3_c/up.sql", "CREATE TABLE c (id INTEGER); DEALLOCATE ALL"),
    ];
    assert_eq!(versions(&up(app, list).await.unwrap()), ["1", "2", "3"]);
}

/// What others cannot see yet keeps nobody waiting; of what only the server knows nothing is claimed.
pub async fn a_plan_says_what_others_feel(app: &dyn TestApplication) {
    let list: Files<'_> = &[
        (
            "1_a/up.sql",
            "CREATE TABLE a (id INTEGER); CREATE INDEX a_id ON a (id); SELECT lower('A')",
        ),
        ("2_b/up.sql", "CREATE INDEX a_ids ON a (id)"),
    ];
    let planned = on(app.open(), list).plan(&UpOptions::default()).await.unwrap();
    let blocks: Vec<&str> = planned
        .iter()
        .flat_map(|migration| &migration.statements)
        .map(|statement| statement.blocks)
        .collect();
    let expected = match app.open().dialect() {
        Dialect::Postgres => ["nobody", "nobody", "unknown", "writers"],
        Dialect::Sqlite => ["writers", "writers", "unknown", "writers"],
    };
    assert_eq!(blocks, expected);
    assert!(planned[0].statements[1].locks.is_empty(), "{planned:?}");
}

const PIECES: Files<'_> = &[
    SHOP[0],
    ("2_pieces/migration.toml", "transaction = false"),
    (
        "2_pieces/up.sql",
        "INSERT INTO goods VALUES (3, 'pots');\nINSERT INTO stock VALUES (3);\nINSERT INTO goods VALUES (4, 'trays');",
    ),
    (
        "2_pieces/down.sql",
        "DELETE FROM goods WHERE id = 4;\nDELETE FROM stock;\nDELETE FROM goods WHERE id = 3;",
    ),
];

/// Not from the beginning: what was done stays done.
pub async fn without_a_transaction_it_goes_on_where_it_stopped(app: &dyn TestApplication) {
    let error = up(app, PIECES).await.unwrap_err();
    let MigrateError::Failed(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.left, Left::Partly { done: 1, total: 3 });
    assert!(
        error.to_string().contains("1 of its 3 statements are done and stay"),
        "{error}"
    );
    assert_eq!(states(app, PIECES).await, ["1 applied", "2 partly_up"]);
    assert_eq!(app.number("SELECT count(*) FROM goods").await, 3);
    let back = on(app.open(), PIECES).down(&Back::Steps(1)).await.unwrap_err();
    assert!(matches!(back, MigrateError::Refused(Refusal::PartlyUp(_))), "{back:?}");

    app.execute("CREATE TABLE stock (good INTEGER)").await;
    // Its first statement would be refused a second time.
    let runs = up(app, PIECES).await.unwrap();
    assert_eq!((versions(&runs), runs[0].statements.len()), (vec!["2"], 3));
    assert_eq!(app.number("SELECT count(*) FROM goods").await, 4);
    assert_eq!(states(app, PIECES).await, ["1 applied", "2 applied"]);
}

/// What comes after may be.
pub async fn what_was_run_must_not_be_edited(app: &dyn TestApplication) {
    up(app, PIECES).await.unwrap_err();
    let edited: Files<'_> = &[
        PIECES[0],
        PIECES[1],
        ("2_pieces/up.sql", "INSERT INTO goods VALUES (3, 'jars');"),
    ];
    let error = up(app, edited).await.unwrap_err();
    assert!(
        matches!(&error, MigrateError::Refused(Refusal::EditedSince { statement: 1, .. })),
        "{error:?}"
    );
    let files = on(app.open(), edited);
    let entries = files.status().await.unwrap();
    let error = files.check_parts(&entries).unwrap_err();
    assert!(
        matches!(&error, MigrateError::Refused(Refusal::EditedSince { .. })),
        "{error:?}"
    );
    let mended: Files<'_> = &[
        PIECES[0],
        PIECES[1],
        (
            "2_pieces/up.sql",
            "INSERT INTO goods VALUES (3, 'pots'); -- and no stock\nINSERT INTO goods VALUES (5, 'jugs')",
        ),
    ];
    up(app, mended).await.unwrap();
    assert_eq!(app.number("SELECT max(id) FROM goods").await, 5);
    assert_eq!(states(app, mended).await, ["1 applied", "2 applied"]);
}

/// And the schema is the same as the first time, with the rows that were there.
pub async fn what_is_taken_back_can_be_applied_again(app: &dyn TestApplication) {
    up(app, SHOP).await.unwrap();
    let shop = on(app.open(), SHOP);
    let whole = shop.database().catalogue().await.unwrap();
    assert_eq!(
        versions(&shop.down(&Back::To("1".parse().unwrap())).await.unwrap()),
        ["2"]
    );
    assert_eq!(app.number("SELECT count(*) FROM goods").await, 2);
    assert_eq!(versions(&up(app, SHOP).await.unwrap()), ["2"]);
    assert_eq!(shop.database().catalogue().await.unwrap(), whole);
    assert_eq!(versions(&shop.down(&Back::All).await.unwrap()), ["2", "1"]);
    assert!(shop.database().catalogue().await.unwrap().is_empty());
    let words: Vec<String> = shop
        .history()
        .await
        .unwrap()
        .iter()
        .map(|run| format!("{} {} {}", run.direction.as_str(), run.version, run.outcome.as_str()))
        .collect();
    let expected = ["up 1", "up 2", "down 2", "up 2", "down 2", "down 1"].map(|run| format!("{run} succeeded"));
    assert_eq!(words, expected);
    let none = shop.down(&Back::Steps(1)).await.unwrap_err();
    assert!(matches!(none, MigrateError::Refused(Refusal::TooFew(0))), "{none:?}");
}

/// Nothing is applied on top of what is half gone.
pub async fn what_is_undone_in_part_goes_on(app: &dyn TestApplication) {
    up(app, SHOP[..1].iter().as_slice()).await.unwrap();
    app.execute("CREATE TABLE stock (good INTEGER)").await;
    up(app, PIECES).await.unwrap();
    app.execute("DROP TABLE stock").await;
    let pieces = on(app.open(), PIECES);
    let error = pieces.down(&Back::Steps(1)).await.unwrap_err();
    assert!(error.to_string().contains("down.sql, line 2"), "{error}");
    assert_eq!(states(app, PIECES).await, ["1 applied", "2 partly_down"]);
    let refused = up(app, PIECES).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Refused(Refusal::PartlyDown(_))),
        "{refused:?}"
    );
    app.execute("CREATE TABLE stock (good INTEGER)").await;
    assert_eq!(versions(&pieces.down(&Back::Steps(1)).await.unwrap()), ["2"]);
    assert_eq!(app.number("SELECT count(*) FROM goods").await, 2);
    assert_eq!(states(app, PIECES).await, ["1 applied", "2 pending"]);
}

/// As files do that a dump was made into.
pub async fn settings_of_a_file_do_not_reach_the_history(app: &dyn TestApplication) {
    let dumped = match app.open().dialect() {
        Dialect::Postgres => {
            "CREATE TABLE t (id INTEGER); SELECT pg_catalog.set_config('search_path', '', false); SET lock_timeout = 1"
        }
        Dialect::Sqlite => "CREATE TABLE t (id INTEGER); PRAGMA query_only = ON",
    };
    let list: Files<'_> = &[
        ("1_dump/up.sql", dumped),
        ("2_next/up.sql", "CREATE TABLE u (id INTEGER)"),
    ];
    assert_eq!(versions(&up(app, list).await.unwrap()), ["1", "2"]);
    assert_eq!(app.number("SELECT count(*) FROM u").await, 0);
}

/// And so does an empty file.
pub async fn irreversible_means_irreversible(app: &dyn TestApplication) {
    let list: Files<'_> = &[
        ("1_a/up.sql", "CREATE TABLE a (id INTEGER)"),
        ("1_a/down.sql", "-- nothing\n"),
        ("2_b/up.sql", "DROP TABLE a"),
        ("2_b/migration.toml", "irreversible = \"its rows are gone\""),
    ];
    up(app, list).await.unwrap();
    let error = on(app.open(), list).down(&Back::Steps(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "2 cannot be taken back: its rows are gone");
    let error = on(app.open(), &list[..2]).down(&Back::All).await.unwrap_err();
    assert!(matches!(error, MigrateError::Refused(Refusal::Unknown(_))), "{error:?}");
    assert_eq!(states(app, list).await, ["1 applied", "2 applied"]);
}

/// While it is being written.
pub async fn the_newest_is_done_anew(app: &dyn TestApplication) {
    up(app, SHOP).await.unwrap();
    app.execute("INSERT INTO orders VALUES (1, 1)").await;
    let runs = on(app.open(), SHOP).redo().await.unwrap();
    assert_eq!(versions(&runs), ["2", "2"]);
    assert_eq!(app.number("SELECT count(*) FROM orders").await, 0);
}

/// By hand, and says so.
pub async fn the_operator_ends_what_was_left_in_part(app: &dyn TestApplication) {
    up(app, PIECES).await.unwrap_err();
    let pieces = on(app.open(), PIECES);
    let one = "1".parse().unwrap();
    let refused = pieces.repair(&Repair::Applied(one)).await.unwrap_err();
    assert!(matches!(refused, RepairError::NotPartial(_)), "{refused:?}");
    let two = || "2".parse().unwrap();
    app.execute("DELETE FROM goods WHERE id = 3").await;
    pieces.repair(&Repair::NotApplied(two())).await.unwrap();
    assert_eq!(states(app, PIECES).await, ["1 applied", "2 pending"]);
    up(app, PIECES).await.unwrap_err();
    pieces.repair(&Repair::Applied(two())).await.unwrap();
    assert_eq!(states(app, PIECES).await, ["1 applied", "2 applied"]);
    assert_eq!(up(app, PIECES).await.unwrap(), []);
}

/// To the byte, comments within statements included.
pub async fn what_is_run_is_what_was_planned(app: &dyn TestApplication) {
    let list: Files<'_> = &[
        SHOP[0],
        (
            "2_more/up.sql",
            "-- why\r\nCREATE TABLE more (\r\n  id INTEGER, -- its number\r\n\tb TEXT);;\n/* and */ INSERT  INTO more VALUES (1, 'a;b') ; ",
        ),
        ("3_last/migration.toml", "transaction = false"),
        (
            "3_last/up.sql",
            "DELETE FROM more WHERE id = 7; ALTER TABLE more ADD COLUMN c INTEGER",
        ),
    ];
    let planned = on(app.open(), list).plan(&UpOptions::default()).await.unwrap();
    let planned: Vec<String> = planned.into_iter().flat_map(|p| p.statements).map(|s| s.sql).collect();
    let recorder = Arc::new(Cut::new(app.open(), usize::MAX, false));
    on(recorder.clone(), list).up(&UpOptions::default()).await.unwrap();
    assert_eq!(recorder.executed(), planned);
    assert_eq!(
        planned[2],
        "CREATE TABLE more (\r\n  id INTEGER, -- its number\r\n\tb TEXT)"
    );
}

/// As projects write them: functions, triggers, dollar signs, comments everywhere. What takes them back leaves nothing.
pub async fn a_corpus_goes_up_down_and_up(app: &dyn TestApplication) {
    let folder = match app.open().dialect() {
        Dialect::Postgres => "postgres",
        Dialect::Sqlite => "sqlite",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/migrations")
        .join(folder);
    let mut list = Vec::new();
    for directory in std::fs::read_dir(&root).unwrap() {
        let directory = directory.unwrap().path();
        for file in std::fs::read_dir(&directory).unwrap() {
            let path = file.unwrap().path();
            list.push(SourceFile {
                path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
                bytes: std::fs::read(&path).unwrap(),
            });
        }
    }
    let corpus = Migrations::new(
        app.open(),
        &list,
        Scope::Application,
        Arc::new(FixedClock::new()),
        runner("ada"),
    );
    let corpus = corpus.unwrap().patient(patience());
    let all = corpus.up(&UpOptions::default()).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(all.len() >= 24, "{}", all.len());
    assert_eq!(corpus.up(&UpOptions::default()).await.unwrap(), []);
    assert_eq!(corpus.drift().await.unwrap().differences, []);
    let whole = corpus.database().catalogue().await.unwrap();
    // As far as it can be.
    let irreversible = corpus
        .files()
        .iter()
        .rposition(|file| file.options.irreversible.is_some());
    let back = irreversible.map_or(Back::All, |place| Back::To(corpus.files()[place].version.clone()));
    let undone = corpus.down(&back).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(!undone.is_empty());
    corpus.up(&UpOptions::default()).await.unwrap_or_else(|e| panic!("{e}"));
    let again = corpus.database().catalogue().await.unwrap();
    assert_eq!(whole.differences(&again), []);
    assert_eq!(corpus.history().await.unwrap().len(), all.len() + 2 * undone.len());
}

/// With what the last statement cannot know: whether the whole may be kept.
pub async fn what_fails_at_the_end_is_written_down(app: &dyn TestApplication) {
    let deferred = match app.open().dialect() {
        Dialect::Postgres => "CREATE TABLE o (g INTEGER REFERENCES goods (id) DEFERRABLE INITIALLY DEFERRED)",
        Dialect::Sqlite => "CREATE TABLE o (g INTEGER REFERENCES goods (id))",
    };
    let list: Files<'_> = &[
        SHOP[0],
        ("2_o/up.sql", deferred),
        ("3_wrong/up.sql", "INSERT INTO o VALUES (1), (77)"),
    ];
    let error = up(app, list).await.unwrap_err();
    assert!(
        matches!(&error, MigrateError::Failed(failure) if failure.left == Left::AsBefore),
        "{error:?}"
    );
    let history = on(app.open(), list).history().await.unwrap();
    assert_eq!((history[2].outcome, history[1].rows()), (Outcome::Failed, 0));
    assert_eq!(app.number("SELECT count(*) FROM o").await, 0);
    let mended: Files<'_> = &[list[0], list[1], ("3_wrong/up.sql", "INSERT INTO o VALUES (1), (2)")];
    assert_eq!(up(app, mended).await.unwrap()[0].rows(), 2);
}

/// Nothing is run on top of it, and the operator can end it.
pub async fn what_was_left_in_part_is_seen_without_its_folder(app: &dyn TestApplication) {
    up(app, PIECES).await.unwrap_err();
    let without: Files<'_> = &[PIECES[0], ("3_next/up.sql", "CREATE TABLE next (id INTEGER)")];
    assert_eq!(states(app, without).await, ["1 applied", "2 unknown", "3 pending"]);
    let refused = up(app, without).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Refused(Refusal::Unknown(_))),
        "{refused:?}"
    );
    let two = "2".parse().unwrap();
    on(app.open(), without).repair(&Repair::NotApplied(two)).await.unwrap();
    assert_eq!(versions(&up(app, without).await.unwrap()), ["3"]);
}

/// Each migration has a connection as if it were the first.
pub async fn what_one_leaves_on_the_connection_is_gone_for_the_next(app: &dyn TestApplication) {
    let leaves = match app.open().dialect() {
        Dialect::Postgres => "CREATE TEMPORARY TABLE goods (id INTEGER); SET search_path = pg_temp",
        Dialect::Sqlite => "CREATE TEMPORARY TABLE goods (id INTEGER); PRAGMA ignore_check_constraints = ON",
    };
    let list: Files<'_> = &[
        SHOP[0],
        ("2_leaves/up.sql", leaves),
        ("3_next/up.sql", "INSERT INTO goods VALUES (9, 'x')"),
    ];
    up(app, list).await.unwrap();
    assert_eq!(app.number("SELECT count(*) FROM goods WHERE id = 9").await, 1);
}
